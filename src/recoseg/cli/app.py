"""Command-line application: verbs, help and exit codes."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any, NoReturn

import typer

from recoseg._version import VERSION
from recoseg.cli import (
    ablate_verbs,
    adapt_verbs,
    archive_verbs,
    baseline_verbs,
    concept_verbs,
    dataset_verbs,
    demo_verbs,
    embedding_verbs,
    export_verbs,
    machine_verbs,
    measure_verbs,
    report_verbs,
    segment_verbs,
    serve_verbs,
)
from recoseg.cli.cluster_options import ClusterVerb
from recoseg.cli.guide import GUIDE, Verbs, format_help
from recoseg.cli.output import say
from recoseg.errors import RecosegError

BAD_INPUT = 3
UNEXPECTED = 1
INTERRUPTED = 130

VERBS = (
    "demo",
    "index",
    "index export",
    "index import",
    "index sync",
    "search",
    "concept",
    "segment",
    "export",
    "video",
    "adapt",
    "onnx",
    "evaluate",
    "baseline",
    "ablate",
    "datasets",
    "report",
    "serve",
    "models",
    "doctor",
)


class Guide(Verbs):
    """The root command: turns every error into one sentence and an exit status."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs in the order a newcomer meets them."""
        return list(VERBS)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        debug = bool(ctx.params.get("debug"))
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _stop("stopped; what was finished is kept, and the same command goes on.", INTERRUPTED)
        except RecosegError as error:
            _stop(str(error), BAD_INPUT, error if debug else None)
        except Exception as error:
            if hasattr(error, "exit_code") or isinstance(error, typer.Abort | BrokenPipeError):
                raise  # usage errors and the like, which typer prints itself
            hint = "" if debug else "; see where with `recoseg --debug VERB ...` or RECOSEG_DEBUG=1"
            sentence = f"unexpected {type(error).__name__}: {_one_line(error)}{hint}."
            _stop(sentence, UNEXPECTED, error if debug else None)


app = typer.Typer(
    name="recoseg",
    cls=Guide,
    help=format_help(GUIDE),
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo", rich_help_panel="First")(demo_verbs.demo)
app.command("index", cls=ClusterVerb, rich_help_panel="Photos")(archive_verbs.index)
app.command("index import", rich_help_panel="Photos")(embedding_verbs.import_)
app.command("index export", rich_help_panel="Photos")(embedding_verbs.export)
app.command("index sync", rich_help_panel="Photos")(embedding_verbs.sync)
app.command("search", rich_help_panel="Photos")(archive_verbs.search)
app.add_typer(concept_verbs.app, name="concept", rich_help_panel="Concepts")
app.command("segment", cls=ClusterVerb, rich_help_panel="Segmentation")(segment_verbs.segment)
app.command("export", rich_help_panel="Segmentation")(export_verbs.export)
app.command("video", rich_help_panel="Segmentation")(export_verbs.video)
app.command("serve", rich_help_panel="Segmentation")(serve_verbs.serve)
app.command("adapt", cls=ClusterVerb, rich_help_panel="Segmentation")(adapt_verbs.adapt)
app.command("onnx", rich_help_panel="Segmentation")(adapt_verbs.onnx)
app.command("evaluate", rich_help_panel="Measurement")(measure_verbs.evaluate)
app.command("baseline", rich_help_panel="Measurement")(baseline_verbs.baseline)
app.command("ablate", rich_help_panel="Measurement")(ablate_verbs.ablate)
app.command("purity", rich_help_panel="Measurement")(ablate_verbs.purity)
app.add_typer(dataset_verbs.app, name="datasets", rich_help_panel="Measurement")
app.command("report", rich_help_panel="Measurement")(report_verbs.report)
app.add_typer(machine_verbs.models, name="models", rich_help_panel="This machine")
app.command("doctor", rich_help_panel="This machine")(machine_verbs.doctor)


def main() -> None:
    """Entry point of the ``recoseg`` command."""
    # A file name that the terminal's encoding cannot show must not stop the run.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    app()


@app.callback()
def root(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="RECOSEG_DEBUG", help="Show tracebacks of errors.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=lambda wanted: _version(wanted),
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    """Options of every verb; the guide itself is GUIDE."""


def _version(wanted: bool) -> None:
    """Show the version and exit."""
    if wanted:
        typer.echo(f"recoseg {VERSION}")
        raise typer.Exit


def _stop(sentence: str, status: int, error: Exception | None = None) -> NoReturn:
    if error is not None:
        traceback.print_exception(error)
    say(f"recoseg: {sentence}")
    raise typer.Exit(status)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
