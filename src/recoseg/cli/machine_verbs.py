"""``recoseg models`` and ``recoseg doctor``: installed models and checks."""

from __future__ import annotations

from typing import Annotated

import typer

from recoseg.cli.guide import Verbs
from recoseg.cli.output import Json, say, show

models = typer.Typer(cls=Verbs, rich_markup_mode="rich")


@models.callback(invoke_without_command=True)
def list_(context: typer.Context, as_json: Json = False) -> None:
    """List the models worth naming: size, licence, and whether their weights are here.

    Any other model of open_clip (clip:ARCHITECTURE/TAG-OR-FILE) or timm (timm:ARCHITECTURE or
    timm:ARCHITECTURE/FILE) can be named too.

    Example:
        recoseg models
    """
    if context.invoked_subcommand is not None:
        return
    from recoseg.models import catalogue

    found = catalogue.list_models()
    rows = [
        (
            entry.id,
            ", ".join(entry.aliases),
            ", ".join(entry.roles),
            f"{entry.parameters:g} M",
            entry.licence,
            "here" if entry.file else "not here",
        )
        for entry in found
    ]
    columns = ("model", "also", "roles", "parameters", "licence", "weights")
    show([entry.to_dict() for entry in found], columns, rows, as_json=as_json)


@models.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="Presets (paper, modern) or model ids.")
    ],
    as_json: Json = False,
) -> None:
    """Download the weights of presets or models, on a machine with a network.

    What is here already stays. Copy the files that are printed to a machine without a network.

    Example:
        recoseg models fetch paper
    """
    from recoseg.models import catalogue
    from recoseg.recipe import PRESETS

    wanted: list[str] = []
    for name in names:
        preset = PRESETS.get(name)
        wanted += [preset.retrieval, preset.dense, preset.encoder] if preset else [name]
    found = catalogue.fetch(wanted)
    data = {model: str(file) for model, file in found.items()}
    show(data, ("model", "file"), list(data.items()), as_json=as_json)


def doctor(as_json: Json = False) -> None:
    """Check what is installed, cached or missing, with the remedy for each.

    Exit status 0 if the default model works here, 3 if it does not.

    Example:
        recoseg doctor
    """
    from recoseg.cli import doctor as examination

    checks = examination.examine()
    healthy = examination.healthy(checks)
    data = {"healthy": healthy, "checks": [check.to_dict() for check in checks]}
    rows = [(_mark(check), check.name, check.detail, check.fix) for check in checks]
    show(data, ("", "what", "found", "remedy"), rows, as_json=as_json)
    if not healthy:
        say("recoseg: the default model cannot work here yet; see the lines marked 'missing'.")
        raise typer.Exit(3)


def _mark(check: object) -> str:
    if getattr(check, "ok", False):
        return "ok"
    return "missing" if getattr(check, "needed", False) else "note"
