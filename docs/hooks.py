"""What mkdocs does beside Markdown: the page of the command line, formulas, links to the sources.

``cli.md`` is written from the application itself at every build, so that it cannot go stale.
Formulas become MathML, which browsers draw without a script.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer
from latex2mathml.converter import convert
from mkdocs.structure.files import File

from recoseg.cli.app import app
from recoseg.cli.guide import format_help

HEAD = """# Command line

`recoseg --help` is a guide in the order of work, and each verb explains itself with `--help`. This
page is made from the same text.

Results go to stdout: a table on a terminal, lines with tabs in a pipe, JSON with `--json`. Progress
and notes go to stderr. Whatever was interrupted goes on when the same command is given again.

| exit status | meaning |
|---|---|
| 0 | done |
| 1 | unexpected error: a fault of recoseg; `recoseg --debug VERB ...` shows where |
| 2 | wrong usage: a verb or an option that does not exist |
| 3 | bad input: one sentence says which and what to do ([failures](faq.md)) |
| 130 | interrupted by Ctrl-C; what was finished is kept |
"""
_MATH = re.compile(r"\$\$(?P<block>.+?)\$\$|(?<![\w$])\$(?P<inline>[^$\n]+?)\$(?!\w)", re.DOTALL)
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]*`)", re.DOTALL | re.MULTILINE)
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not written by hand."""
    for name, text in generated().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Formulas to MathML; files of the repository, which the site does not hold, to their names."""
    parts = _CODE.split(markdown)
    parts[::2] = [_MATH.sub(_formula, part) for part in parts[::2]]
    return _OUTSIDE.sub(lambda link: f"`{link[1].strip('`')}`", "".join(parts))


def generated() -> dict[str, str]:
    """Name to Markdown of the pages that are not written by hand."""
    return {"cli.md": command_line()}


def command_line() -> str:
    """The page of all verbs in Markdown."""
    root = typer.main.get_command(app)
    context = root.make_context("recoseg", [], resilient_parsing=True)
    return "\n".join([HEAD, *_verbs(root, context, ("recoseg",))])


def _verbs(group: Any, context: Any, words: tuple[str, ...]) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        path = (*words, name)
        yield f"{'#' * len(path)} {' '.join(path)}\n\n{_prose(command)}\n\n{_parameters(command)}"
        if hasattr(command, "list_commands"):
            yield from _verbs(command, context, path)


def _prose(command: Any) -> str:
    """The help with its examples fenced."""
    paragraphs = re.sub(r"\[/?bold\]", "**", format_help(command.help)).split("\n\n")
    return "\n\n".join(
        f"```sh\n{inspect.cleandoc(text)}\n```" if text.startswith("    ") else text
        for text in paragraphs
    )


def _parameters(command: Any) -> str:
    rows = []
    for parameter in command.params:
        if parameter.name in ("help", "context"):
            continue
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        if parameter.param_type_name == "argument":
            names = f"`{parameter.metavar or parameter.name.upper()}`"
        rows.append(f"| {names} | {_text(parameter.help)} | {_default(parameter)} |")
    return "\n".join(["| | what | default |", "|---|---|---|", *rows, ""]) if rows else ""


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    shown = getattr(parameter, "show_default", None)
    if isinstance(shown, str):
        return _text(shown)
    value = parameter.default
    return "" if value is None or value is False or value == "" else f"`{value}`"


def _text(words: str | None) -> str:
    return (words or "").replace("|", "\\|").replace("<", "&lt;")


def _formula(found: re.Match[str]) -> str:
    if found["block"] is not None:
        return f"\n\n<div>{convert(found['block'].strip(), display='block')}</div>\n\n"
    # A line that begins with <math> would be taken for a block of HTML.
    return f"<span>{convert(found['inline'])}</span>"
