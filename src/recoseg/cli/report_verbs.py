"""``recoseg report``: HTML page of an evaluation or of a bank."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.concept_options import open_bank
from recoseg.cli.output import Device, Json, check_output_file, say, show
from recoseg.errors import InputError


def report(
    source: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="A report.json, a folder that holds one, a bank's file, or `everyday`.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="HTML", help="The page.", show_default="beside PATH, as .html"),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option("--index", "-i", help="Of a bank: the archive that it was learnt from."),
    ] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Make a page of one HTML file, pictures included, from an evaluation or from a bank.

    Of an evaluation it shows the table beside the paper's, plots and a gallery. Of a bank it shows
    each concept's photos and seeds, what it may be confused with, and, with --index, whether it is
    too rare for the archive; and what to do about it.

    Examples:
        recoseg report street.bank -i photos.index
        recoseg report measured
    """
    path = Path(source)
    if out is not None:
        check_output_file(out)
    if path.is_dir() or path.suffix.lower() == ".json":
        if index is not None:
            raise InputError("--index belongs to a bank; leave it out for an evaluation's report.")
        _evaluation(path, out, as_json)
    else:
        _bank(source, out, index, device, as_json)


def _evaluation(path: Path, out: Path | None, as_json: bool) -> None:
    from recoseg.reporting import benchmarkpage, pages, reportfile

    read = reportfile.read(path)
    folder = path if path.is_dir() else path.parent
    page = pages.write(
        out or folder / "report.html", benchmarkpage.render_benchmark_page(read, folder)
    )
    say(f"wrote {page}")
    systems = [
        {"system": system.name, "accuracy": system.accuracy, "miou": system.miou}
        for system in read.systems
    ]
    rows = [
        (system.label, pages.percent(system.accuracy), pages.percent(system.miou))
        for system in read.systems
    ]
    data = {"page": str(page), "systems": systems}
    show(data, ("system", "Acc. %", "mIoU %"), rows, as_json=as_json)


def _bank(
    source: str, out: Path | None, index: Path | None, device: str | None, as_json: bool
) -> None:
    from recoseg import Index
    from recoseg.reporting import checkup, conceptpage, pages
    from recoseg.reporting.advice import Files, advise

    bank = open_bank(source)
    opened = Index.open(index) if index is not None else None
    files = Files(source) if index is None else Files(source, str(index))
    judged = checkup.judge_bank(bank, opened, device)
    html = conceptpage.render_concept_page(bank, judged, files, opened)
    page = pages.write(out or Path(source).with_suffix(".html"), html)
    say(f"wrote {page}")
    rows = [
        (
            one.name,
            one.photos,
            "" if one.agreement is None else f"{one.agreement:.2f}",
            "" if one.retrieval is None else f"{one.retrieval.standout:.2f}",
            ", ".join(advice.flag for advice in advise(one, files)),
        )
        for one in judged
    ]
    data = {
        "page": str(page),
        "index": None if index is None else str(index),
        "concepts": conceptpage.to_json(judged, files),
    }
    columns = ("concept", "photos", "agreement", "stands out", "findings")
    show(data, columns, rows, as_json=as_json)
