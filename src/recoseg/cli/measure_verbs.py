"""``recoseg evaluate`` and ``recoseg ablate``: the paper's tables on any labelled photos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recoseg.cli.concept_options import IndexOption
from recoseg.cli.dataset_verbs import Classes, Listing, Name, Split, opened
from recoseg.cli.measured import USUAL, Measured, protocol_names
from recoseg.cli.output import Device, Json, Quiet, check_output_folder, say, show
from recoseg.errors import InputError
from recoseg.evaluation.wordlists import LISTS
from recoseg.recipe import PRESETS, preset

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
System = Annotated[
    list[str] | None,
    typer.Option(help="denseclip, reco, each also with +crf; repeatable.", show_default="all"),
]
Taught = Annotated[
    Path | None, typer.Option(help="A student's file (see `adapt`), as the row ReCo+.")
]
Predicted = Annotated[
    list[str] | None,
    typer.Option(metavar="[NAME=]DIR", help="Label maps made elsewhere, as a row; repeatable."),
]
Matching = Annotated[
    str, typer.Option(help="Of --predictions: by `name`, or `hungarian` for unnamed clusters.")
]
Cases = Annotated[int, typer.Option(min=0, help="Best and worst cases to draw.")]
Bank = Annotated[str | None, typer.Option(help="A bank whose names are classes, or `everyday`.")]
Archive = Annotated[Path, typer.Option("--index", "-i", help="Index of the archive.")]
Grid = Annotated[bool, typer.Option("--grid/--no-grid", help="The component grid.")]
Sizes = Annotated[str, typer.Option(metavar="N,N", help="Archive sizes to compare.")]
Ks = Annotated[str, typer.Option("--k", metavar="K,K", help="Photos per concept.")]
Encoders = Annotated[str, typer.Option(metavar="ID,ID", help="Encoders to compare.")]
Contexts = Annotated[
    list[str] | None,
    typer.Option(metavar="A,B", help="Contexts to eliminate, `none` for none; repeatable."),
]
Quantiles = Annotated[
    str, typer.Option(metavar="Q,Q", help="Quantiles of the thresholds for unknown.")
]
Seed = Annotated[int, typer.Option(help="Of the archive's subsets.")]


def evaluate(
    dataset: Name,
    folder: Folder,
    out: OutFolder,
    bank: Bank = None,
    index: IndexOption = None,
    recipe: Preset = "lite",
    system: System = None,
    student: Taught = None,
    predictions: Predicted = None,
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
    """Measure a bank or one built from --index, a --student, predictions, or all side by side.

    Prints the rows beside the paper's where it has some of this protocol, and writes report.json.
    Run it again after an interruption: images that were counted are not counted again.

    Example:
        recoseg evaluate folder labelled --classes road,tree --bank street.bank --out measured
    """
    from recoseg.evaluation import protocols
    from recoseg.evaluation.evaluate import evaluate as run
    from recoseg.evaluation.gallery import gallery as draw

    check_output_folder(out)
    found = opened(dataset, folder, protocol, split, classes, listing, limit)
    shown = protocols.protocol(protocol).asked_by(words)
    if bank is not None:
        if words is not None:
            raise InputError(
                "a bank was built by its own words; leave --words out, or use --index."
            )
        shown = shown.asked_by("bank")
    source = (bank, index, student, predictions or (), match)
    asked = Measured(*source, system or USUAL, recipe, device, quiet)
    panel = asked.panel(found, shown)
    report = run(panel, found, shown, out=out, workers=workers, progress=not quiet)
    if gallery:
        report = draw(report, panel, found, shown, out, gallery)
        report.save(out)
    _print(report, as_json)


def ablate(
    dataset: Name,
    folder: Folder,
    index: Archive,
    out: OutFolder,
    recipe: Preset = "lite",
    grid: Grid = True,
    sizes: Sizes = "",
    ks: Ks = "",
    encoders: Encoders = "",
    contexts: Contexts = None,
    unknown: Quantiles = "",
    seed: Seed = 0,
    protocol: ProtocolName = "original",
    words: WordsOf = None,
    split: Split = None,
    classes: Classes = None,
    listing: Listing = None,
    limit: Limit = None,
    workers: Workers = None,
    gallery: Cases = 4,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure what each part of the method does: the component grid, and sweeps of its settings.

    Banks and counts are kept in the folder, so that a grid goes on where it was stopped and a
    larger one starts from it. Images are encoded once for all points.

    Example:
        recoseg ablate folder labelled --classes road,tree -i photos.index --out grid
    """
    from recoseg import Index
    from recoseg.evaluation import protocols
    from recoseg.evaluation.ablation import ablate as run
    from recoseg.evaluation.sweeps import Sweeps

    check_output_folder(out)
    found = opened(dataset, folder, protocol, split, classes, listing, limit)
    sweeps = Sweeps(
        grid=grid,
        sizes=_numbers(sizes, int),
        ks=_numbers(ks, int),
        encoders=_words(encoders),
        contexts=[_words("" if text == "none" else text) for text in contexts or ()],
        unknown=_numbers(unknown, float),
        seed=seed,
    )
    shown = protocols.protocol(protocol).asked_by(words)
    material = (found, Index.open(index), preset(recipe), sweeps, shown)
    report = run(*material, out=out, workers=workers, gallery=gallery, progress=not quiet)
    _print(report, as_json)


def _print(report: Report, as_json: bool) -> None:
    dataset, protocol = report.dataset, report.protocol
    title = (
        f"{dataset['name']} {dataset['split']}, {dataset['images']} images, "
        f"{len(dataset['classes'])} classes; protocol {protocol['name']}: {protocol['geometry']}, "
        f"words: {protocol['words']}"
    )
    say(title)
    rows = [
        (s["label"], *(_percent(s[name]) for name in FIGURES), _remark(s)) for s in report.systems
    ]
    rows += [
        (row["system"], _percent(row["miou"]), _percent(row["accuracy"]), "", "", "published")
        for row in report.published
    ]
    show(report.to_dict(), HEADINGS, rows, as_json=as_json, title=title)


def _remark(system: Mapping[str, Any]) -> str:
    """What must be known beside a row's figures, and the paper's own figures of it."""
    printed = system["published"]
    matched = system["match"] == "hungarian"
    parts = ["clusters matched by the truth" if matched else "", system["note"]]
    if printed:
        parts.append(f"published {_percent(printed['miou'])} ({_percent(printed['accuracy'])})")
    return "; ".join(part for part in parts if part)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str, kind: type[Any]) -> list[Any]:
    try:
        return [kind(word) for word in _words(text)]
    except ValueError as error:
        raise InputError(f"{text!r} is not a list of numbers such as 10,20,50.") from error
