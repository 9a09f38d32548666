"""Recall of text-to-image search: whether a caption's own photo is among the first k."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recoseg.errors import InputError
from recoseg.io import images
from recoseg.io.progress import Progress, track
from recoseg.models.base import JointModel
from recoseg.models.prompts import embed_concepts

KS = (1, 5, 10)


def measure(
    folder: str | Path,
    model: JointModel,
    ks: Sequence[int] = KS,
    *,
    only: Collection[str] | None = None,
    progress: Progress = True,
) -> dict[str, Any]:
    """Search a folder's photos by each of their captions, as ``recoseg search`` does.

    Args:
        folder: holds ``images/`` and ``captions.tsv`` of lines ``name TAB caption``.
        model: embeds both.
        ks: how many photos are looked at.
        only: names of the photos to be searched, and whose captions count; by default all.
        progress: as in ``track``.

    Returns:
        ``model``, ``photos``, ``captions`` and ``recall``, k to a share in [0, 1].

    Raises:
        InputError: no caption names a photo that is there.
    """
    rows = [row for row in read(Path(folder)) if only is None or row[0] in only]
    names = sorted({name for name, _ in rows})
    if not names:
        raise InputError(
            f"{folder} has no captioned photo; it needs images/ and captions.tsv of lines "
            "'name TAB caption'."
        )
    files = track(names, len(names), "embedding photos", progress)
    photos = torch.cat([_embed(model, Path(folder) / "images" / name) for name in files])
    at = {name: i for i, name in enumerate(names)}
    owners = torch.tensor([at[name] for name, _ in rows])
    texts = embed_concepts(model, {str(i): [text] for i, (_, text) in enumerate(rows)}, "lite")
    return {
        "model": model.id,
        "photos": len(names),
        "captions": len(rows),
        "recall": recall(photos.float().cpu(), texts.float().cpu(), owners, ks),
    }


def recall(
    photos: Tensor, texts: Tensor, owners: Tensor, ks: Sequence[int] = KS
) -> dict[int, float]:
    """Share of texts whose photo is among the k nearest; of equally near ones it comes last.

    Args:
        photos: (N, d), unit.
        texts: (T, d), unit.
        owners: (T,), the row of each text's photo.
        ks: how many photos are looked at.
    """
    scores = texts @ photos.T
    own = scores.gather(1, owners[:, None])
    others = (scores >= own).sum(dim=1) - 1
    return {k: float((others < k).float().mean()) for k in ks}


def read(folder: Path) -> list[tuple[str, str]]:
    """(name, caption) of every line whose photo is there."""
    file = folder / "captions.tsv"
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as text ({error}); check the folder.") from error
    parts = [line.partition("\t") for line in lines]
    there = {path.name for path in (folder / "images").glob("*")}
    return [(name, text.strip()) for name, _, text in parts if name in there and text.strip()]


def _embed(model: JointModel, file: Path) -> Tensor:
    return model.embed_images(model.preprocess(images.read(file))[None])
