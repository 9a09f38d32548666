"""Output of every verb: a table, tab-separated lines, or JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recoseg.errors import InputError, RecosegError

if TYPE_CHECKING:
    from recoseg.index.index import Index
    from recoseg.runs.inputs import InputImage

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Preset = Annotated[
    str, typer.Option(help="Models and settings of the method: lite, paper or modern.")
]
Device = Annotated[
    str | None,
    typer.Option(help="Where to compute: cpu, cuda, cuda:1.", show_default="cuda if present"),
]


Server = Annotated[
    str | None,
    typer.Option(
        metavar="SERVER",
        help="Let a server answer that `index sync` has filled.",
        show_default="exact",
    ),
]


def open_served(index: Index, server: str | None) -> Index:
    """The index, searched by the server at an address if one is given."""
    if server is None:
        return index
    from recoseg.servers.served import ServedIndex

    return ServedIndex.of(index, server)


def show(
    data: Any,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    as_json: bool,
    title: str | None = None,
) -> None:
    """Print one result on stdout.

    Args:
        data: what ``--json`` prints, of plain JSON types.
        columns: headings of the table; they are left out where stdout is not a terminal.
        rows: the cells.
        as_json: print ``data`` and no table.
        title: a line above the table on a terminal.
    """
    if sys.stdout is None:  # it was closed
        return
    with _writable_stdout():
        if as_json:
            typer.echo(json.dumps(data, indent=2))
        elif sys.stdout.isatty():
            _table(columns, rows, title)
        else:
            for row in rows:
                typer.echo("\t".join(_cell(value) for value in row))
        sys.stdout.flush()


@contextlib.contextmanager
def _writable_stdout() -> Iterator[None]:
    """Full disks are told in one sentence; a reader that went away is left to typer."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is left in the buffer would be tried again, and fail, at the very end.
        sys.stdout = None
        raise RecosegError(
            f"the results cannot be written to the standard output ({error.strerror}); make room "
            "and run the same again: finished work is kept."
        ) from error


def say(message: str) -> None:
    """One line on stderr, if that can be written."""
    with contextlib.suppress(OSError):
        typer.echo(message, err=True)


def check_output_file(path: Path) -> Path:
    """``path``, where a file will be written: refused before the work, not after it.

    Raises:
        InputError: it is a folder, or its folder is missing or must not be written.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; make it first.")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"nothing may be written in {path.parent}; choose another folder.")
    return path


def check_output_folder(path: Path) -> Path:
    """``path``, a folder to be filled; RecosegError before the work if it cannot be."""
    from recoseg.io import durable

    return durable.check_writable(path)


def gather_images(given: Sequence[str], out: Path) -> list[InputImage]:
    """The images to segment into ``out``, both looked at before a model is loaded.

    What is passed over because its format cannot be read, though it is a photo, is said.
    """
    from recoseg.io import filetypes
    from recoseg.runs import batch, inputs

    passed = Counter[str]()
    unlisted = list[str]()
    found = inputs.gather(given, leave_out=out, others=passed, unlisted=unlisted)
    for note in unlisted:
        say(f"note: {note}.")
    batch.ready(out)
    if passed:
        warn_unread(filetypes.unread_note(passed))
    return found


def warn_unread(unread: str | None) -> None:
    """A note on stderr about photos that are left out; nothing for None."""
    if unread is not None:
        say(f"note: {unread}.")


def _cell(value: object) -> str:
    # A file name may hold a tab or a newline; a row must stay one line with its own columns.
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row))
    Console(markup=False, highlight=False, emoji=False).print(table)
