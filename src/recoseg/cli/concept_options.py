"""Options of the verbs that read or write banks, and their parsing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recoseg.cli.output import check_output_file, open_served
from recoseg.errors import InputError

if TYPE_CHECKING:
    from recoseg import ConceptBank, Index
    from recoseg.cluster.engine import RayCluster

BankPath = Annotated[Path, typer.Argument(metavar="BANK", help="The bank, a file.")]
AnyBank = Annotated[
    str, typer.Argument(metavar="BANK", help="A bank's file, or `everyday` for the one shipped.")
]
Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="NAME or NAME=WORD,WORD.")]
IndexOption = Annotated[
    Path | None, typer.Option("--index", "-i", help="Index of the photos to learn from.")
]
Examples = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=PATH", help="Photo or folder that shows NAME; repeatable."),
]
Nameless = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Let only its --examples speak, not the name; repeatable."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=PHOTO", help="Photo of the index that misleads; repeatable."),
]
Replace = Annotated[bool, typer.Option("--replace", help="Write over BANK if it is there already.")]
Out = Annotated[Path | None, typer.Option(help="Write here instead of changing BANK.")]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Refuse if another program is changing the bank.")
]
Pictures = Annotated[
    bool,
    typer.Option("--pictures/--no-pictures", help="Keep small pictures, to show evidence later."),
]


def open_bank(bank: str) -> ConceptBank:
    """The bank of a file, or the shipped one for ``everyday``."""
    from recoseg import ConceptBank

    if bank == "everyday" and not Path(bank).exists():
        return ConceptBank.everyday()
    return ConceptBank.open(Path(bank))


def check_new_bank(bank: Path, replace: bool) -> Path:
    """Where a new bank will be written; InputError if one is there and is not to be replaced."""
    if not replace and bank.is_file():
        raise InputError(
            f"{bank} is there already; add to it with `recoseg concept add`, or write over it with "
            "--replace."
        )
    return check_output_file(bank)


def open_index(
    index: Path | None,
    exclude: Mapping[str, Sequence[str]] | None = None,
    cluster: RayCluster | None = None,
    server: str | None = None,
) -> Index | None:
    """The index at a path, None for None, searched by a server if one is given.

    Raises:
        InputError: a photo to ``exclude`` is not in it.
    """
    from recoseg import Index

    if index is None:
        return None
    opened = Index.open(index, cluster=cluster)
    photos = {photo for photos in (exclude or {}).values() for photo in photos}
    strangers = sorted(photos.difference(opened.ids)) if photos else []
    if strangers:
        raise InputError(
            f"{strangers[0]} is no photo of {index}; give its name as `recoseg concept show` and "
            "`recoseg search` print it."
        )
    return open_served(opened, server)


def parse_concepts(texts: Sequence[str] | None) -> dict[str, list[str]]:
    """Name to words, from ``NAME`` and ``NAME=WORD,WORD``."""
    named: dict[str, list[str]] = {}
    for text in texts or ():
        name, _, words = text.partition("=")
        if name.strip() in named:
            raise InputError(f"concept {name.strip()!r} is named twice; name each once.")
        aliases = [word.strip() for word in words.split(",") if word.strip()]
        named[name.strip()] = aliases or [name.strip()]
    return named


def parse_examples(
    texts: Sequence[str] | None, nameless: Sequence[str] | None = None
) -> dict[str, Sequence[Path]] | None:
    """Name to photos, from ``NAME=PATH``, ``Unnamed`` of nameless ones; None if there are none."""
    from recoseg.concepts.concept import Unnamed

    paths = parse_pairs(texts) or {}
    for name in nameless or ():
        if name not in paths:
            raise InputError(f"--nameless {name!r} needs --examples {name}=PATH; give some.")
    found: dict[str, Sequence[Path]] = {name: find_photos(given) for name, given in paths.items()}
    silent: Any = {name: Unnamed(found[name]) for name in nameless or ()}
    return {**found, **silent} or None


def find_photos(given: Sequence[str]) -> list[Path]:
    """The images of files, folders and patterns."""
    from recoseg.runs.inputs import gather

    return [job.path for job in gather(given)]


def parse_pairs(texts: Sequence[str] | None) -> dict[str, list[str]] | None:
    """Name to values, from ``NAME=VALUE``; None if there are none."""
    pairs: dict[str, list[str]] = {}
    for text in texts or ():
        name, separator, value = text.partition("=")
        if not (name.strip() and separator and value):
            raise InputError(f"{text!r} is not NAME=VALUE; write for example car=photos/car.jpg.")
        pairs.setdefault(name.strip(), []).append(value)
    return pairs or None
