"""IoU of rare concepts: all but some photos of a concept are hidden from the search.

The paper names concepts that are too rare for the archive as a limit of the method.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from recoseg.concepts.bank import ConceptBank
from recoseg.datasets import Dataset
from recoseg.errors import InputError
from recoseg.evaluation.evaluate import evaluate
from recoseg.evaluation.protocols import Protocol
from recoseg.evaluation.results import Report
from recoseg.evaluation.system_groups import Row, Rows
from recoseg.index.index import Index
from recoseg.io.progress import Progress
from recoseg.models.registry import Models
from recoseg.segmenting.segmenter import Segmenter

COUNTS = (0, 1, 3, 10)


def measure_rarity(
    dataset: Dataset,
    bank: ConceptBank,
    index: Index,
    shown: Mapping[str, Collection[str]],
    counts: Sequence[int] = COUNTS,
    protocol: str | Protocol = "original",
    *,
    seed: int = 0,
    refine: bool = False,
    models: Models | None = None,
    workers: int | None = None,
    progress: Progress = True,
) -> Report:
    """A concept's IoU when the archive holds so many photos of it, and when it holds all.

    Only the concept's own reference is built anew; all other concepts and the contexts stay.

    Args:
        dataset: where IoU is measured.
        bank: of the dataset's classes, built from the index.
        index: the archive.
        shown: concept to the ids of all archive photos that show it.
        counts: how many of these stay; those that stay for a smaller count stay for a larger one.
        protocol: as in ``evaluate``.
        seed: which of them stay.
        refine: with the CRF.
        models: the bank's models, if at hand.
        workers: as in ``evaluate``.
        progress: as in ``track``.

    Returns:
        A report whose one sweep has a line per concept: photos of it, and its IoU.

    Raises:
        InputError: a concept has no photo, or is no class of the dataset.
    """
    models = models or Models.load(bank.recipe)
    rows: list[Row] = []
    points: list[tuple[str, int, str]] = []
    for concept, ids in shown.items():
        if not ids or concept not in dataset.table.names:
            raise InputError(f"{concept!r} is no class, or no photo of the archive shows it.")
        for count in (*sorted({min(n, len(ids)) for n in counts} - {len(ids)}), len(ids)):
            made = _rebuild_with(bank, index, concept, ids, count, seed, models)
            name = f"{concept}, {count} photos"
            rows.append(Row.of(Segmenter(made, models=models), refine, name))
            points.append((concept, count, name))
    report = evaluate(Rows(rows), dataset, protocol, workers=workers, progress=progress)
    return report.replace(sweeps=[_series(report, points)])


def _rebuild_with(
    bank: ConceptBank,
    index: Index,
    concept: str,
    ids: Collection[str],
    count: int,
    seed: int,
    models: Models,
) -> ConceptBank:
    """The bank with one concept built from an archive in which ``count`` photos show it."""
    order = np.random.default_rng(seed).permutation(len(ids))
    hidden = {sorted(ids)[place] for place in order[count:]}
    if not hidden:
        return bank
    return bank.rebuild(concept, index, exclude=hidden, models=models, progress=False)


def _series(report: Report, points: Sequence[tuple[str, int, str]]) -> dict[str, Any]:
    rows = []
    for concept, count, name in points:
        scores = {row["name"]: row for row in report[name]["per_class"]}
        rows.append({"x": count, "system": concept, "miou": scores[concept]["iou"]})
    return {"name": "rarity", "x": "photos of the concept", "y": "IoU", "points": rows}
