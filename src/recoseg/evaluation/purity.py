"""How pure retrieved archives are: precision of the search on photos whose class is known."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import torch

from recoseg.errors import InputError
from recoseg.index.index import Index
from recoseg.models.base import JointModel
from recoseg.models.prompts import embed_concepts

_WNID = re.compile(r"n\d{8}_(.+)")


def precision(
    index: Index,
    model: JointModel,
    k: int = 50,
    *,
    label: Callable[[str], str | None] | None = None,
    templates: str = "lite",
    archive: str = "",
) -> dict[str, Any]:
    """Precision@k of retrieval by the classes' own names (paper section 3.1).

    A class with fewer photos than k is judged by as many as it has, so that 1 can be reached.

    Args:
        index: of a labelled archive.
        model: the index's model.
        k: photos looked at per class.
        label: class of an image's id; by default as ``class_of`` tells it.
        templates: prompt ensemble (``recoseg.models.prompts``).
        archive: what to call it in the report.

    Returns:
        ``archive``, ``k``, ``mean`` and ``per_concept`` with ``name``, ``precision`` in [0, 1] and
        ``positives``, the photos of the class.

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
    hits = index.search(torch.as_tensor(vectors), min(k, max(sizes.values())))
    found = {name: [hit.id for hit in row] for name, row in zip(names, hits, strict=True)}
    rows = [_row(name, found[name][: min(k, sizes[name])], labels, sizes) for name in names]
    mean = sum(row["precision"] for row in rows) / len(rows)
    return {"archive": archive, "k": k, "mean": round(mean, 6), "per_concept": rows}


def class_of(id: str) -> str | None:
    """A photo's class by its id: the name after a WordNet id, else its folder; None for neither.

    ``n01440764_tench.jpg`` is a tench, ``images/grand_piano/0001.jpg`` a grand piano.
    """
    path = PurePosixPath(id)
    wnid = _WNID.fullmatch(path.stem)
    if wnid is not None:
        return _words(wnid.group(1))
    return _words(path.parent.name) if path.parent.name else None


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
