"""DenseCLIP, ReCo and ReCo+ by name, as rows for the table of ``baselines.py``."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import default
import machine
import material

from recoseg import ConceptBank, Segmenter, adapt, evaluate
from recoseg.datasets import Dataset
from recoseg.models.registry import Models
from recoseg.recipe import LITE

FIGURES = ("miou", "accuracy")


def camvid() -> dict[str, Any]:
    """Of the val frames, as ``default.py`` and ``adapt.py`` measured them under this protocol."""
    told = read("default.json")
    found = told["datasets"]["camvid val"]
    note = f"zero-shot, by name; a bank built from the archive; default.json, {told['commit']}"
    made = {row["system"]: row_of(row, found["images"], note) for row in found["rows"]}
    return {**made, "reco+": camvid_student()}


def camvid_student() -> dict[str, Any]:
    """ReCo+ of the train frames: mean and deviation over the seeds of ``adapt.py``."""
    told = read("adapt.json")
    rows = [row for name, row in told["rows"].items() if name.startswith("student, seed")]
    made: dict[str, Any] = {"match": "name", "images": told["images"]}
    for figure in FIGURES:
        values = [each[figure] for each in rows]
        made |= {figure: round(statistics.mean(values), 1), f"{figure} of seeds": values}
        made[f"{figure} deviation"] = round(statistics.stdev(values), 1)
    return {**made, "note": f"by name; adapt.json, {told['commit']}"}


def msrc(
    whole: Dataset, parts: Mapping[str, Dataset], photos: Path, data: Path, index: Path, work: Path
) -> dict[str, dict[str, Any]]:
    """Of each part of MSRC, measured here; one student, trained on the photos of ``photos``.

    Args:
        whole: whose classes are named.
        parts: name to the labelled photos that are scored.
        photos: the folder that the student is trained on.
        data: of ``material.py``.
        index: of the archive; built if absent.
        work: keeps bank, counts and student, so that a run that was stopped goes on.
    """
    models = Models.load(LITE)
    aliases = {name: whole.table.aliases[name] for name in default.list_shown(whole)}
    archive = material.archive_index(data, index)
    bank = ConceptBank.build(aliases, archive, LITE, models=models, progress=False)
    student = adapt(Segmenter(bank, models=models), photos, work / "student", progress=False)
    made: dict[str, dict[str, Any]] = {}
    for name, part in parts.items():
        found = default.measure(part, bank, models, work / name)
        note = "zero-shot, by name; a bank built from the archive"
        made[name] = {row["system"]: row_of(row, len(part), note) for row in found["rows"]}
        learnt = evaluate({"reco+": student}, part, out=work / f"{name}, student", progress=False)
        note = "by name; one seed, trained on the photos of 'msrc, trained on'"
        made[name]["reco+"] = row_of(learnt["reco+"], len(part), note)
    return made


def row_of(row: Mapping[str, Any], images: int, note: str) -> dict[str, Any]:
    """Per cent."""
    figures = {figure: round(100 * row[figure], 1) for figure in FIGURES}
    return {**figures, "match": "name", "images": images, "note": note}


def read(name: str) -> Any:
    file = machine.ROOT / "benchmarks" / "results" / name
    return json.loads(file.read_text(encoding="utf-8"))
