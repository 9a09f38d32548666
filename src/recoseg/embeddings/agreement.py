"""Agreement of imported vectors with the model that is said to have made them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from recoseg.embeddings.table import Part, Table
from recoseg.errors import ArchiveError, ImageError, IndexMismatch
from recoseg.index.ingest import encode
from recoseg.io import images
from recoseg.io.imported import ImportedSource
from recoseg.models.base import JointModel, input_size
from recoseg.similarity import unit

LEAST = 0.99
WANTED = 16
# Rows to choose from: many photos of an old archive may be gone.
CANDIDATES = 256
PARTS = 8
# A norm that rounding to half precision cannot explain.
NORM_TOLERANCE = 0.01


class Agreement(NamedTuple):
    """Result of comparing a sample of the rows.

    Attributes:
        compared: photos that could be read and were embedded anew.
        least: the smallest cosine among them; None if none could be read.
        normalised: whether the vectors came with length 1.
    """

    compared: int
    least: float | None
    normalised: bool


class _CheckedRow(NamedTuple):
    id: str
    vector: NDArray[np.float32]


def compare(table: Table, model: JointModel, *, trust: bool = False) -> Agreement:
    """Embed some of a table's photos again and compare.

    Args:
        table: the vectors.
        model: which is said to have made them.
        trust: go on if no photo can be read.

    Raises:
        IndexMismatch: the model has another dimension, or a cosine is not above 0.99.
        ArchiveError: no photo can be read.
    """
    where = table.source.where
    if table.dim != model.dim:
        raise IndexMismatch(
            f"the vectors of {where} have {table.dim} numbers and those of {model.id!r} "
            f"{model.dim}; name the model that made them."
        )
    rows = _sample(_spread(table.parts))
    if not rows:
        raise ArchiveError(f"{where} holds no usable vector; there is nothing to import.")
    norms = np.array([np.linalg.norm(row.vector) for row in rows])
    normalised = bool((np.abs(norms - 1) < NORM_TOLERANCE).all())
    cosines, reason = _cosines(rows, table.source, model)
    if not cosines:
        if not trust:
            raise ArchiveError(
                f"none of {len(rows)} photos of {where} can be read ({reason.rstrip('.')}), so its "
                "vectors cannot be compared with the model; say where the photos are (--photos), "
                "or take them on trust (--trust)."
            )
        return Agreement(0, None, normalised)
    worst = min(cosines, key=cosines.__getitem__)
    if not cosines[worst] > LEAST:
        raise IndexMismatch(
            f"the vector of {worst} has cosine {cosines[worst]:.3f} with that of {model.id!r}, not "
            f"above {LEAST}; name the model that made the vectors of {where}, or check that its "
            "photos and vectors have the same order."
        )
    return Agreement(len(cosines), cosines[worst], normalised)


def _cosines(
    rows: Sequence[_CheckedRow], source: ImportedSource, model: JointModel
) -> tuple[dict[str, float], str]:
    """Of the first photos that can be read, and why the first other one could not be."""
    cosines: dict[str, float] = {}
    reason = ""
    for row in rows:
        try:
            cosines[row.id] = _cosine(row, source, model)
        except (ArchiveError, ImageError, OSError) as error:
            reason = reason or str(error)
        if len(cosines) == WANTED:
            break
    return cosines, reason


def _cosine(row: _CheckedRow, source: ImportedSource, model: JointModel) -> float:
    image = images.read(source.read(row.id), at_least=input_size(model), name=row.id)
    (ours,) = encode(model, [model.preprocess(image)])
    theirs = unit(torch.from_numpy(row.vector)).double().numpy()
    ours64 = ours.astype(np.float64)
    return float(theirs @ ours64 / np.linalg.norm(ours64))


def _spread(parts: Sequence[Part]) -> list[Part]:
    if not parts:
        return []
    places = np.unique(np.linspace(0, len(parts) - 1, PARTS).astype(int))
    return [parts[place] for place in places.tolist()]


def _sample(parts: Sequence[Part]) -> list[_CheckedRow]:
    """Usable rows, drawn evenly from parts of unknown length; always the same."""
    draw = random.Random(0)
    kept: list[_CheckedRow] = []
    seen = 0
    for part in parts:
        for block in part.blocks():
            for place, id in enumerate(block.ids):
                seen += 1
                slot = len(kept) if len(kept) < CANDIDATES else draw.randrange(seen)
                if slot >= CANDIDATES or not id:
                    continue
                vector = np.array(block.vectors[place], dtype=np.float32)
                if not np.isfinite(vector).all() or not vector.any():
                    continue
                kept[slot : slot + 1] = [_CheckedRow(id, vector)]
    draw.shuffle(kept)
    return kept
