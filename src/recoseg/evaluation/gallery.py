"""Gallery of the best and worst cases: ground truth and predictions side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recoseg.datasets import Dataset, Sample
from recoseg.drawing import palette
from recoseg.evaluation.clock import Clock
from recoseg.evaluation.metrics import VOID
from recoseg.evaluation.protocols import Protocol
from recoseg.evaluation.results import Json, Report
from recoseg.evaluation.systems import Labels, Panel, System
from recoseg.io import durable
from recoseg.io.images import RGB, save_image

FOLDER = "gallery"
# What the last system is called in the gallery where it has the CRF.
_VIEWS = {"reco+crf": "crf"}


def gallery(
    report: Report,
    panel: Panel,
    dataset: Dataset,
    protocol: Protocol,
    out: Path,
    cases: int = 4,
) -> Report:
    """The report with pictures of its best and worst cases, by the last system's mIoU.

    Args:
        report: from ``evaluate``, of the same panel, dataset and protocol.
        panel: the systems.
        dataset: the images.
        protocol: how they are prepared.
        out: the report's folder; pictures go into ``gallery/`` there.
        cases: how many of each kind.
    """
    entry = report[panel.systems[-1].name]
    scored = [row for row in entry["per_image"] if row["miou"] is not None]
    ranked = sorted(scored, key=lambda row: (row["miou"], row["id"]))
    best = ranked[::-1][:cases]
    worst = [row for row in ranked[:cases] if row not in best]
    samples = {sample.id: sample for sample in dataset}
    shown = [
        {
            "id": row["id"],
            "files": _pictures(samples[row["id"]], report, panel, dataset, protocol, out),
            "miou": row["miou"],
            "case": case,
        }
        for case, rows in (("best", best), ("worst", worst))
        for row in rows
    ]
    return report.replace(gallery=shown)


def _pictures(
    sample: Sample, report: Report, panel: Panel, dataset: Dataset, protocol: Protocol, out: Path
) -> dict[str, str]:
    """View to file, relative to the report's folder."""
    image, truth = dataset.read(sample)
    image, truth = protocol.image(image), protocol.labels(truth)
    colours = np.array(dataset.table.colours, np.uint8)
    views: dict[str, RGB] = {"image": image, "truth": _overlay(image, truth, colours)}
    names = [system.name for system in panel.systems]
    columns = {s.name: _classes(s, report[s.name], dataset) for s in panel.systems}
    for name, labels in panel.run(image, sample, names, Clock()):
        views[_VIEWS.get(name, name)] = _overlay(image, columns[name][labels], colours)
    return {view: _save(picture, sample, view, out) for view, picture in views.items()}


def _classes(system: System, entry: Json, dataset: Dataset) -> NDArray[np.int64]:
    """The class that each label of a system is drawn as; clusters that no class has are not."""
    columns = system.columns(dataset.table)
    if not system.matched:
        return columns
    matching = entry["matching"].values()
    classes = np.full_like(columns, VOID)
    for number, cluster in enumerate(matching):
        if cluster is not None:
            classes[cluster] = number
    return classes


def _overlay(image: RGB, labels: Labels, colours: NDArray[np.uint8]) -> RGB:
    return palette.overlay(image, labels, colours, 0.6)


def _save(picture: RGB, sample: Sample, view: str, out: Path) -> str:
    name = f"{FOLDER}/{sample.id.replace('/', '__')}-{view}.jpg"
    durable.make_folder(out / FOLDER)
    save_image(out / name, picture, quality=88)
    return name
