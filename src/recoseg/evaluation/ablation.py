"""Ablations of the method's components and settings (paper section 4.3).

Every point of every sweep is a row of one evaluation, so that an image is encoded once for all of
them; banks and counts are kept by the digest of what decides them, so that a grid that was
stopped, or grows, goes on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recoseg.building.calibration import calibrate
from recoseg.concepts.bank import ConceptBank
from recoseg.datasets import ClassTable, Dataset
from recoseg.evaluation import protocols, published
from recoseg.evaluation.class_banks import build_bank
from recoseg.evaluation.encoding_cache import cache_encodings
from recoseg.evaluation.evaluate import evaluate
from recoseg.evaluation.gallery import gallery as drawn
from recoseg.evaluation.protocols import Protocol
from recoseg.evaluation.results import Report
from recoseg.evaluation.subsets import Subset
from recoseg.evaluation.sweeps import Point, Sweeps, points
from recoseg.evaluation.system_groups import Row, Rows
from recoseg.evaluation.systems import digest
from recoseg.evaluation.wordlists import WordList, word_list
from recoseg.index.index import Index
from recoseg.io import durable
from recoseg.io.progress import Progress
from recoseg.models.registry import Models
from recoseg.recipe import LITE, Recipe
from recoseg.segmenting.segmenter import Segmenter

# Rows of the grid that a gallery shows side by side.
PICTURED = ("denseclip", "reco", "reco+crf")
_LABELS = {
    "cosegmentation": "co-segmentation",
    "denseclip": "DenseCLIP",
    "lgc": "LGC",
    "ce": "CE",
    "crf": "CRF",
}
_SHOWN = ("miou", "accuracy", "fw_iou", "boundary_iou")


def ablate(
    dataset: Dataset,
    index: Index,
    recipe: Recipe = LITE,
    sweeps: Sweeps = Sweeps(),
    protocol: str | Protocol = "original",
    *,
    out: str | Path,
    workers: int | None = None,
    gallery: int = 0,
    models: Callable[[Recipe], Models] = Models.load,
    progress: Progress = True,
) -> Report:
    """Measure every point of the sweeps on a dataset.

    Args:
        dataset: from ``recoseg.datasets.open``; its classes are the concepts.
        index: the archive to retrieve from.
        recipe: what is varied.
        sweeps: how.
        protocol: as in ``evaluate``; it also says which words ask for the classes.
        out: folder for banks, counts and ``report.json``.
        workers: as in ``evaluate``.
        gallery: best and worst cases of the grid's last row to draw.
        models: loads the models of a recipe.
        progress: as in ``track``.
    """
    shown = protocols.protocol(protocol)
    words = word_list(shown.words)
    bench = Bench(dataset.table, words, index, Path(out), sweeps.seed, models, progress)
    rows: dict[str, Row] = {}
    placed: list[tuple[Point, str]] = []
    for point in points(recipe, sweeps, len(index)):
        row = bench.row(point)
        rows.setdefault(row.system.key, row)
        placed.append((point, rows[row.system.key].system.name))
    panel = Rows(list(rows.values()))
    report = evaluate(panel, dataset, shown, out=out, workers=workers, progress=progress)
    report = report.replace(
        grid=[_grid_row(p, report[name]) for p, name in placed if p.sweep == "grid"],
        sweeps=_series([(p, report[name]) for p, name in placed if p.sweep != "grid"]),
        provenance={**report.provenance, "archive": index.hash, "seed": sweeps.seed},
    )
    shots = [row for row in rows.values() if row.system.name in PICTURED]
    if gallery and shots:
        report = drawn(report, Rows(shots), dataset, shown, Path(out), gallery)
    report.save(out)
    return report


@dataclass(frozen=True)
class Bench:
    """Builds and caches the banks of sweep points.

    Attributes:
        table: the classes to build.
        words: what asks for them.
        index: the archive.
        out: where banks are kept.
        seed: of subsets.
        models: loads the models of a recipe.
        progress: as in ``track``.
    """

    table: ClassTable
    words: WordList
    index: Index
    out: Path
    seed: int
    models: Callable[[Recipe], Models]
    progress: Progress
    _loaded: dict[str, tuple[Models, Models]] = field(default_factory=dict)

    def row(self, point: Point) -> Row:
        """The row of a point; its bank is built or opened."""
        plain, _ = self._models(point.recipe)
        segmenter = Segmenter(
            self.bank(point),
            refine=point.refine,
            unknown=point.strictness is not None,
            system=point.kind,
            models=plain,
        )
        return Row.of(segmenter, point.refine, *_name_row(point))

    def bank(self, point: Point) -> ConceptBank:
        """The bank of a point, with thresholds if it asks for them."""
        # What happens at inference alone does not decide a bank.
        built = point.recipe.replace(denseclip=True, name="ablation")
        part = self.index if point.size is None else Subset(self.index, point.size, self.seed)
        plain, memory = self._models(point.recipe)
        asked = (self.words.words(self.table), dict(self.words.answered))
        facts = (built.hash, plain.fingerprints, *asked, part.hash, point.strictness)
        file = self.out / "banks" / f"{digest(*facts)}.bank"
        if file.is_file():
            bank = ConceptBank.open(file)
        else:
            bank = build_bank(
                self.table, self.words, part, built, models=memory, progress=self.progress
            )
            if point.strictness is not None:
                bank = calibrate(
                    bank, part, strictness=point.strictness, models=plain, progress=self.progress
                )
            durable.make_folder(file.parent)
            bank.save(file, dtype="float32", evidence="none")
        return dataclasses.replace(bank, recipe=point.recipe)

    def _models(self, recipe: Recipe) -> tuple[Models, Models]:
        """A recipe's models as they are, and with memory."""
        key = digest(recipe.retrieval, recipe.dense, recipe.encoder)
        if key not in self._loaded:
            loaded = self.models(recipe)
            self._loaded[key] = (loaded, cache_encodings(loaded))
        return self._loaded[key]


def _name_row(point: Point) -> tuple[str, str]:
    """Name and label of a point's row."""
    if point.sweep != "grid":
        place = f"{point.x}, {point.line}" if point.line != "reco" else str(point.x)
        return f"{point.sweep}={place}", f"{point.sweep} {place}"
    parts = [part for part, used in point.x.items() if used]
    if parts[:4] == ["cosegmentation", "denseclip", "lgc", "ce"]:
        return "reco" + "+crf" * point.refine, "ReCo" + " + CRF" * point.refine
    # LGC and CE are parts of co-segmentation; the word is needed where neither says it.
    if point.x["lgc"] or point.x["ce"]:
        parts.remove("cosegmentation")
    return "+".join(parts), " + ".join(_LABELS[part] for part in parts)


def _grid_row(point: Point, system: Any) -> dict[str, Any]:
    figures = {name: system[name] for name in _SHOWN}
    printed = published.ablation(point.x)
    return {**point.x, "system": system["name"], **figures, "published": printed}


def _series(found: Sequence[tuple[Point, Any]]) -> list[dict[str, Any]]:
    axes = {"archive size": "images", "k": "k", "k by encoder": "k", "unknown": "quantile"}
    series: dict[str, list[dict[str, Any]]] = {}
    for point, system in found:
        figures = {name: system[name] for name in _SHOWN}
        series.setdefault(point.sweep, []).append({"x": point.x, "system": point.line, **figures})
    return [
        {"name": name, "x": axes.get(name, name), "points": rows} for name, rows in series.items()
    ]
