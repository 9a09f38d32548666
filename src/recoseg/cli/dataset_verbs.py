"""``recoseg datasets``: list known layouts, and check a folder of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoseg.cli.guide import Verbs
from recoseg.cli.output import Json, Quiet, say, show

if TYPE_CHECKING:
    from recoseg.datasets import Dataset

BAD_INPUT = 3

Name = Annotated[
    str, typer.Argument(metavar="DATASET", help="Its name, or `auto`; see `recoseg datasets`.")
]
Split = Annotated[
    str | None, typer.Option(help="Part of the dataset.", show_default="the protocol's, or val")
]
Classes = Annotated[
    str | None,
    typer.Option(metavar="A,B,C", help="What the ids 0, 1, 2 ... of a plain folder mean."),
]
Listing = Annotated[
    Path | None, typer.Option("--list", metavar="FILE", help="Ids to use, one per line.")
]

GUIDE = """List the labelled datasets that can be read, or check a folder of one.

Examples:
    recoseg datasets
    recoseg datasets check labelled --classes road,tree
"""

app = typer.Typer(cls=Verbs, rich_markup_mode="rich", help=GUIDE)


@app.callback(invoke_without_command=True)
def datasets(context: typer.Context, as_json: Json = False) -> None:
    """List the datasets whose official layouts are read, and the evaluation protocols."""
    if context.invoked_subcommand is not None:
        return
    from recoseg import datasets as known

    entries = known.available()
    rows = [(entry.name, ", ".join(entry.variants), entry.layout) for entry in entries]
    data = [{"name": e.name, "variants": list(e.variants), "layout": e.layout} for e in entries]
    show(data, ("dataset", "classes", "layout"), rows, as_json=as_json)


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The dataset's folder.")],
    dataset: Annotated[str, typer.Option(help="Its name; `auto` tells it by the layout.")] = "auto",
    split: Split = None,
    variant: Annotated[str | None, typer.Option(help="Of its classes, such as 27 or 19.")] = None,
    classes: Classes = None,
    listing: Listing = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Read every label map of a split once and tell what is there and what is wrong.

    Exit status 3 if there are problems: they would stop an evaluation.

    Example:
        recoseg datasets check labelled --classes road,tree
    """
    from recoseg import datasets
    from recoseg.datasets.inspection import inspect

    found = datasets.open(
        dataset, folder, split, variant, names=split_names(classes), listing=listing, strict=False
    )
    findings = inspect(found, progress=not quiet)
    total = max(1, sum(findings.pixels))
    rows = [
        (name, images, f"{100 * pixels / total:.2f} %")
        for name, images, pixels in zip(
            found.table.classes, findings.images, findings.pixels, strict=True
        )
    ]
    sizes = ", ".join(f"{w}x{h} ({count})" for (h, w), count in findings.sizes[:3])
    say(
        f"{found.name}, split {found.split}, {len(found)} pairs, "
        f"{len(found.table.classes)} classes; sizes {sizes or 'none'}; "
        f"{100 * findings.void:.1f} % void"
    )
    show(findings.to_dict(), ("class", "images", "pixels"), rows, as_json=as_json)
    for problem in findings.problems:
        say(f"problem: {problem}")
    if findings.problems:
        raise typer.Exit(BAD_INPUT)


def split_names(classes: str | None) -> list[str] | None:
    """Names of a comma-separated list."""
    return None if classes is None else [name.strip() for name in classes.split(",")]


def open_dataset(
    name: str,
    folder: Path,
    protocol: str,
    split: str | None,
    classes: str | None,
    listing: Path | None,
    limit: int | None,
) -> Dataset:
    """The dataset that a verb is asked to measure on, as its protocol wants it."""
    from recoseg import datasets
    from recoseg.evaluation import protocols

    wanted = protocols.protocol(protocol)
    found = datasets.open(
        name,
        folder,
        split or wanted.split,
        wanted.variant,
        names=split_names(classes),
        listing=listing,
    )
    return found if limit is None else found.sample(limit)
