"""``recoseg models`` and ``recoseg doctor``: what this machine can do."""

from __future__ import annotations

import typer

from recoseg.cli.output import Json, say, show


def models(as_json: Json = False) -> None:
    """List the models that --model and recipes can name."""
    from recoseg.models import registry

    names = registry.available()
    show(list(names), ("model",), [(name,) for name in names], as_json=as_json)


def doctor(as_json: Json = False) -> None:
    """Check what is installed, cached or missing, with the remedy for each.

    Exit status 0 if the default model works here, 3 if it does not.
    """
    from recoseg import doctor as examination

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
