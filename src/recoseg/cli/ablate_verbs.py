"""``recoseg ablate`` and ``recoseg purity``: what each part does, and how pure retrieval is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recoseg.cli.dataset_verbs import Classes, Listing, Name, Split, open_dataset
from recoseg.cli.measure_verbs import (
    Cases,
    Folder,
    Limit,
    OutFolder,
    Preset,
    ProtocolName,
    WordsOf,
    Workers,
    print_report,
)
from recoseg.cli.measured import choose_protocol
from recoseg.cli.output import Device, Json, Quiet, check_output_folder, show
from recoseg.errors import InputError
from recoseg.recipe import preset

Archive = Annotated[Path, typer.Option("--index", "-i", help="Index of the archive.")]
Grid = Annotated[bool, typer.Option("--grid/--no-grid", help="The component grid.")]
Sizes = Annotated[str, typer.Option(metavar="N,N", help="Archive sizes to compare.")]
Ks = Annotated[str, typer.Option("--k", metavar="K,K", help="Photos per concept.")]
Encoders = Annotated[str, typer.Option(metavar="ID,ID", help="Encoders to compare.")]
Crossed = Annotated[
    bool, typer.Option("--crossed", help="Every --k with every --encoders, as one figure.")
]
Contexts = Annotated[
    list[str] | None,
    typer.Option(metavar="A,B", help="Contexts to eliminate, `none` for none; repeatable."),
]
Strictnesses = Annotated[
    str, typer.Option(metavar="S,S", help="Strictnesses of the thresholds for unknown.")
]
Seed = Annotated[int, typer.Option(help="Of the archive's subsets.")]
Labelled = Annotated[
    Path, typer.Argument(metavar="DIR", help="Photos in folders of their class, as ImageNet has.")
]
JointModels = Annotated[
    list[str] | None,
    typer.Option("--model", help="Language-image model; repeatable.", show_default="lite"),
]
Templates = Annotated[str, typer.Option(help="Prompt forms: lite, plain, paper, inflected.")]


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
    crossed: Crossed = False,
    contexts: Contexts = None,
    unknown: Strictnesses = "",
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
    from recoseg.evaluation.ablation import ablate as run
    from recoseg.evaluation.sweeps import Sweeps

    check_output_folder(out)
    found = open_dataset(dataset, folder, protocol, split, classes, listing, limit)
    left_out = [_words("" if text == "none" else text) for text in contexts or ()]
    lists = (_numbers(sizes, int), _numbers(ks, int), _words(encoders), left_out)
    sweeps = Sweeps(grid, *lists, _numbers(unknown, float), seed, crossed=crossed)
    shown = choose_protocol(protocol, words)
    material = (found, Index.open(index), preset(recipe), sweeps, shown)
    report = run(*material, out=out, workers=workers, gallery=gallery, progress=not quiet)
    print_report(report, as_json)


def purity(
    folder: Labelled,
    out: OutFolder,
    model: JointModels = None,
    k: Annotated[str, typer.Option(metavar="K,K", help="Photos looked at per class.")] = (
        "5,10,15,20,25,30,35,40,45,50"
    ),
    templates: Templates = "paper",
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure how pure the photos are that names retrieve, on photos whose class is known.

    A class is the folder's name, or ImageNet's own name where that is a WordNet id. Indexes of the
    models are kept in the folder. `recoseg report` draws the precision by k, a line per model.

    Example:
        recoseg purity labelled/images --out pure
    """
    from recoseg.evaluation.purity import measure

    check_output_folder(out)
    ks = _numbers(k, int)
    asked = (folder, out, model or ["lite"], ks, templates, device)
    report = measure(*asked, progress=not quiet)
    rows = [
        (one["model"], one["k"], f"{100 * one['mean']:.1f}", len(one["per_concept"]))
        for one in report.purity
    ]
    headings = ("model", "k", "precision", "classes")
    show(report.to_dict(), headings, rows, as_json=as_json)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str, kind: type[Any]) -> list[Any]:
    try:
        return [kind(word) for word in _words(text)]
    except ValueError as error:
        raise InputError(f"{text!r} is not a list of numbers such as 10,20,50.") from error
