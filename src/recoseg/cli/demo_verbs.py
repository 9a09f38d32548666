"""``recoseg demo``: see it work before anything is learnt or read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.output import Json, Quiet, check_output_folder, say, show, warn_unread
from recoseg.errors import InputError

CONCEPTS = "sky,tree,grass,water,building,road,person"


def demo(
    photos: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Photos of yours, to learn concepts from as well."),
    ] = None,
    concepts: Annotated[
        str, typer.Option(metavar="A,B,C", help="What to learn from them.")
    ] = CONCEPTS,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Segment a handful of real photos, or a folder of yours, and make a page to look at.

    The photos come with scikit-image and scikit-learn (the extra `demo` brings both) and
    are segmented with the bank of everyday concepts. With --photos, your folder is also indexed,
    the concepts are learnt from it without labels, and some of it is segmented.

    Examples:
        recoseg demo
        recoseg demo --photos photos --concepts sky,grass
    """
    from recoseg.io.archive import Archive
    from recoseg.reporting import showcase

    names = [name.strip() for name in concepts.split(",") if name.strip()]
    if not names:
        raise InputError("--concepts names nothing; give names with commas between.")
    check_output_folder(out)
    if photos is not None:
        warn_unread(Archive.open(photos).unread_note)  # a wrong path is told before minutes of work
    tell = (lambda line: None) if quiet else say
    made = []
    if photos is None or showcase.load_shipped_photos()[0]:
        made.append(showcase.demo_everyday(out, tell))
    if photos is not None:
        made.append(showcase.demo_own_photos(out, str(photos), names, tell, progress=not quiet))
    tell("Look at:")
    found = [str(page.resolve()) for page in made]
    show({"pages": found}, ("page",), [(page,) for page in found], as_json=as_json)
