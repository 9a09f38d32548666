"""``recoseg evaluate``: the paper's tables on any labelled photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recoseg.cli.concept_options import IndexOption
from recoseg.cli.dataset_verbs import Classes, Listing, Name, Split, open_dataset
from recoseg.cli.measured import USUAL, Measured, choose_protocol, protocol_names
from recoseg.cli.output import Device, Json, Quiet, check_output_folder, say, show
from recoseg.evaluation.wordlists import LISTS
from recoseg.recipe import PRESETS

if TYPE_CHECKING:
    from recoseg.evaluation.results import Report

FIGURES = ("miou", "accuracy", "fw_iou", "boundary_iou")
HEADINGS = ("system", "mIoU", "accuracy", "fw IoU", "boundary IoU", "")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The dataset's folder.")]
OutFolder = Annotated[
    Path, typer.Option(help="Folder for report.json; counts are kept there, so it can go on.")
]
ProtocolName = Annotated[
    str, typer.Option("--protocol", help=f"Geometry and classes: {', '.join(protocol_names())}.")
]
Preset = Annotated[str, typer.Option(help=f"Preset of the method: {', '.join(sorted(PRESETS))}.")]
WordsOf = Annotated[
    str | None,
    typer.Option(
        "--words",
        help=f"Which words ask for the classes: {', '.join(LISTS)}.",
        show_default="the protocol's",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only so many images, chosen evenly.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Images worked on at a time.", show_default="cores")
]
SystemNames = Annotated[
    list[str] | None,
    typer.Option(help="denseclip, reco, each also with +crf; repeatable.", show_default="all"),
]
StudentFile = Annotated[
    Path | None, typer.Option(help="A student's file (see `adapt`), as the row ReCo+.")
]
Predicted = Annotated[
    list[str] | None,
    typer.Option(metavar="[NAME=]DIR", help="Label maps made elsewhere, as a row; repeatable."),
]
Compared = Annotated[
    list[str] | None,
    typer.Option(metavar="[NAME=]FILE", help="Trained by `baseline`, as a row; repeatable."),
]
Matching = Annotated[
    str, typer.Option(help="Of --predictions: by `name`, or `hungarian` for unnamed clusters.")
]
Cases = Annotated[int, typer.Option(min=0, help="Best and worst cases to draw.")]
Bank = Annotated[str | None, typer.Option(help="A bank whose names are classes, or `everyday`.")]


def evaluate(
    dataset: Name,
    folder: Folder,
    out: OutFolder,
    bank: Bank = None,
    index: IndexOption = None,
    recipe: Preset = "lite",
    system: SystemNames = None,
    student: StudentFile = None,
    predictions: Predicted = None,
    baseline: Compared = None,
    match: Matching = "name",
    protocol: ProtocolName = "original",
    words: WordsOf = None,
    split: Split = None,
    classes: Classes = None,
    listing: Listing = None,
    limit: Limit = None,
    workers: Workers = None,
    gallery: Cases = 4,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure a bank or --index, a student, predictions and baselines, alone or side by side.

    Prints the rows beside the paper's where it has some of this protocol, and writes report.json.
    Run it again after an interruption: images that were counted are not counted again.

    Example:
        recoseg evaluate folder labelled --classes road,tree --bank street.bank --out measured
    """
    from recoseg.evaluation.evaluate import evaluate as run
    from recoseg.evaluation.gallery import gallery as draw

    check_output_folder(out)
    found = open_dataset(dataset, folder, protocol, split, classes, listing, limit)
    shown = choose_protocol(protocol, words, bank)
    source = (bank, index, student, predictions or (), match)
    asked = Measured(*source, system or USUAL, recipe, device, quiet, baseline or ())
    panel = asked.panel(found, shown)
    report = run(panel, found, shown, out=out, workers=workers, progress=not quiet)
    if gallery:
        report = draw(report, panel, found, shown, out, gallery)
        report.save(out)
    print_report(report, as_json)


def print_report(report: Report, as_json: bool) -> None:
    """A line per row, the paper's after those measured here."""
    dataset, protocol = report.dataset, report.protocol
    title = (
        f"{dataset['name']} {dataset['split']}, {dataset['images']} images, "
        f"{len(dataset['classes'])} classes; protocol {protocol['name']}: {protocol['geometry']}, "
        f"words: {protocol['words']}"
    )
    say(title)
    grid = {row["system"]: row["published"] for row in report.grid}
    rows = [
        (s["label"], *(_percent(s[name]) for name in FIGURES), _remark(s, grid.get(s["name"], ())))
        for s in report.systems
    ]
    rows += [
        (row["system"], _percent(row["miou"]), _percent(row["accuracy"]), "", "", _source(row))
        for row in report.published
    ]
    show(report.to_dict(), HEADINGS, rows, as_json=as_json, title=title)


def _source(row: Mapping[str, Any]) -> str:
    return f"published ({row['footnote']})" if row.get("footnote") else "published"


def _remark(system: Mapping[str, Any], ablated: Sequence[Mapping[str, Any]] = ()) -> str:
    """What must be known beside a row's figures, and the paper's own figures of it."""
    printed = system["published"]
    matched = system["match"] == "hungarian"
    parts = ["clusters matched by the truth" if matched else "", system["note"]]
    if printed:
        parts.append(f"published {_percent(printed['miou'])} ({_percent(printed['accuracy'])})")
    parts += [
        f"published on {row['protocol']} {_percent(row['miou'])} ({_percent(row['accuracy'])})"
        for row in ablated
    ]
    return "; ".join(part for part in parts if part)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
