"""Purity of retrieved archives: precision at k on photos of known class."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from recoseg.errors import InputError
from recoseg.evaluation.provenance import provenance
from recoseg.evaluation.results import Report
from recoseg.index.index import Index
from recoseg.io import durable
from recoseg.io.progress import Progress
from recoseg.models import registry
from recoseg.models.base import JointModel
from recoseg.models.prompts import embed_concepts

_WNID = re.compile(r"n\d{8}_(.+)")


def measure(
    folder: str | Path,
    out: str | Path,
    models: Sequence[str],
    ks: Sequence[int],
    templates: str = "paper",
    device: str | None = None,
    *,
    progress: Progress = True,
) -> Report:
    """Precision of retrieval by several models, each at several k, on a labelled folder.

    Args:
        folder: photos in folders of their class, as ImageNet's are.
        out: folder for an index of each model, which are brought up to date, and ``report.json``.
        models: ids of language-image models.
        ks: photos looked at per class.
        templates: prompt ensemble (``recoseg.models.prompts``).
        device: where to compute.
        progress: as in ``recoseg.io.progress.track``.

    Raises:
        InputError: fewer than two classes, or no model or k.
    """
    if not models or not ks or min(ks) < 1:
        raise InputError("purity needs a model and numbers of photos from 1; name some.")
    found: list[dict[str, Any]] = []
    for id in dict.fromkeys(models):
        model = registry.load_joint(id, device)
        place = Path(out) / "indexes" / f"{model.fingerprint[:16]}.index"
        durable.make_folder(place.parent)
        index = Index.build(folder, place, model=model, progress=progress)
        name = Path(folder).resolve().name
        found += precisions(index, model, sorted(set(ks)), templates=templates, archive=name)
    report = Report(
        provenance=provenance(prompts=templates),
        dataset={"name": Path(folder).resolve().name, "images": len(index)},
        purity=found,
    )
    report.save(out)
    return report


def precision(index: Index, model: JointModel, k: int = 50, **options: Any) -> dict[str, Any]:
    """``precisions`` at one k."""
    return precisions(index, model, [k], **options)[0]


def precisions(
    index: Index,
    model: JointModel,
    ks: Sequence[int],
    *,
    label: Callable[[str], str | None] | None = None,
    templates: str = "lite",
    archive: str = "",
) -> list[dict[str, Any]]:
    """Precision@k of retrieval by the classes' own names (paper section 3.1), for several k.

    A class with fewer photos than k is judged by as many as it has, so that 1 can be reached.

    Args:
        index: of a labelled archive.
        model: the index's model.
        ks: photos looked at per class.
        label: class of an image's id; by default as ``class_of`` tells it.
        templates: prompt ensemble (``recoseg.models.prompts``).
        archive: what to call it in the report.

    Returns:
        For each k ``archive``, ``model``, ``k``, ``mean`` and ``per_concept`` with ``name``,
        ``precision`` in [0, 1] and ``positives``, the photos of the class.

    Raises:
        InputError: fewer than two classes are found.
    """
    index.check(model)
    labels = {id: name for id in index.ids if (name := (label or class_of)(id)) is not None}
    sizes = Counter(labels.values())
    if len(sizes) < 2:
        raise InputError(
            "the archive shows fewer than two classes; keep each class in a folder of its name."
        )
    names = sorted(sizes)
    vectors = embed_concepts(model, {name: [name] for name in names}, templates)
    hits = index.search(torch.as_tensor(vectors), min(max(ks), max(sizes.values())))
    found = {name: [hit.id for hit in row] for name, row in zip(names, hits, strict=True)}
    results = []
    for k in ks:
        rows = [_row(name, found[name][: min(k, sizes[name])], labels, sizes) for name in names]
        mean = round(sum(row["precision"] for row in rows) / len(rows), 6)
        facts = {"archive": archive, "model": model.id, "k": k, "mean": mean}
        results.append({**facts, "per_concept": rows})
    return results


def class_of(id: str) -> str | None:
    """A photo's class by its id: the name after a WordNet id, else its folder; None for neither.

    ``n01440764_tench.jpg`` is a tench, ``images/grand_piano/0001.jpg`` a grand piano, and
    ``val/n01440764/1.JPEG``, as ImageNet-1K lies on disk, a tench too.
    """
    path = PurePosixPath(id)
    wnid = _WNID.fullmatch(path.stem)
    if wnid is not None:
        return _words(wnid.group(1))
    known = _imagenet().get(path.parent.name)
    return known or (_words(path.parent.name) if path.parent.name else None)


@functools.cache
def _imagenet() -> Mapping[str, str]:
    """WordNet id to the name that CLIP's authors gave each of ImageNet-1K's classes."""
    from open_clip import IMAGENET_CLASSNAMES
    from timm.data.imagenet_info import ImageNetInfo

    information: Any = ImageNetInfo("imagenet-1k")
    # Two pairs of classes share a name (missile, sunglasses), and are one class here.
    return dict(zip(information.label_names(), IMAGENET_CLASSNAMES, strict=True))


def _row(
    name: str, ids: Sequence[str], labels: Mapping[str, str], sizes: Mapping[str, int]
) -> dict[str, Any]:
    right = sum(labels.get(id) == name for id in ids)
    return {
        "name": name,
        "precision": round(right / len(ids), 6) if ids else 0.0,
        "positives": sizes[name],
    }


def _words(text: str) -> str:
    return text.replace("_", " ").strip().lower()
