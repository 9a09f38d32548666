"""Text of ``recoseg --help``, and formatting of docstrings as help."""

from __future__ import annotations

import inspect
import re
from typing import Any

from typer.core import TyperGroup

GUIDE = """
Name a concept, point at a folder of unlabelled photos, get a segmenter.

[bold]1. See it work[/bold], on photos that the extra `demo` brings, or on yours:

    recoseg demo
    recoseg demo --photos photos --concepts sky,grass

[bold]2. Segment[/bold] with the bank of everyday concepts that comes with it:

    recoseg segment photos --concepts cat,grass,sky --out seen

[bold]3. Learn your own words[/bold] from your own photos (no labels are needed):

    recoseg index photos photos.index
    recoseg search photos.index "fire hydrant"
    recoseg concept build street.bank road "fire hydrant" -i photos.index
    recoseg segment photos --bank street.bank --out streets

Then look at what was learnt (`report`, `concept show`), hand the masks to other
tools (`export`), segment films (`video`), do all of it in a browser (`serve`),
measure it on labelled photos (`evaluate`), or train a small network (`adapt`).

`recoseg VERB --help` has an example of each. If something fails, `recoseg doctor`
says what to mend, and docs/faq.md what each error means.

Results go to stdout (a table; lines with tabs in a pipe; or --json), progress
to stderr. Exit status: 0 done, 2 wrong usage, 3 bad input, 130 interrupted.
"""

_EXAMPLES = re.compile(r"^(Examples?):\n(?=    )", flags=re.MULTILINE)


class Verbs(TyperGroup):
    """A group whose verbs are explained by their docstrings, reflowed for any terminal."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The verb, with its help made ready to be shown."""
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            found.help = format_help(found.help or "")
        return found

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that the first words name; ``index import`` is one, and so is ``index``."""
        if " ".join(args[:2]) in self.commands and len(args) > 1:
            args = [" ".join(args[:2]), *args[2:]]
        return super().resolve_command(ctx, args)


def format_help(docstring: str) -> str:
    """Each paragraph on one line, to be wrapped where it is shown; examples as they stand."""
    text = _EXAMPLES.sub(r"[bold]\1[/bold]\n\n", inspect.cleandoc(docstring))
    return "\n\n".join(_join_lines(paragraph) for paragraph in text.split("\n\n"))


def _join_lines(paragraph: str) -> str:
    if re.search(r"^ ", paragraph, flags=re.MULTILINE):
        return paragraph
    return paragraph.replace("\n", " ")
