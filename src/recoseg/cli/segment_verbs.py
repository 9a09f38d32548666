"""``recoseg segment``: images in, label maps and overlays out, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recoseg.cli.concept_options import open_bank
from recoseg.cli.output import Device, Json, Quiet, say, show

if TYPE_CHECKING:
    from recoseg import Segmenter
    from recoseg.batch import Outcome

BAD_INPUT = 3
SHORTLIST = 16

Images = Annotated[
    list[str],
    typer.Argument(metavar="IMAGES", help="Images, folders of images, or quoted patterns."),
]
Unknown = Annotated[
    bool,
    typer.Option(
        "--unknown", help="Label what fits no concept `unknown`; the bank must be calibrated."
    ),
]
Shortlist = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Let only the N likeliest concepts of an image compete; 0 for all.",
        show_default="16 for the whole everyday bank, else 0",
    ),
]
Temperature = Annotated[
    float | None, typer.Option(min=1e-6, help="Of the CRF: smaller trusts the scores more.")
]


def segment(
    images: Images,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    bank: Annotated[
        str, typer.Option(help="A bank's file, or `everyday` for the one shipped.")
    ] = "everyday",
    concepts: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="Only these concepts of the bank.", show_default="all"),
    ] = None,
    refine: Annotated[
        bool, typer.Option("--refine/--no-refine", help="Sharpen borders with the CRF.")
    ] = True,
    unknown: Unknown = False,
    shortlist: Shortlist = None,
    temperature: Temperature = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Name every pixel of every image.

    Fills the folder with labels/ (indexed PNG, and names.json for what each index means),
    overlays/ (to look at) and manifest.json. Run it again after an interruption or with more
    images: what is there already, made from the same bytes with the same bank and settings, is
    kept. An image that cannot be read is reported and the others go on; the exit status is then 3.
    """
    from recoseg import Segmenter, batch, jobs

    found = jobs.gather(images, leave_out=out)
    chosen = [name.strip() for name in concepts.split(",")] if concepts is not None else None
    if shortlist is None and bank == "everyday" and chosen is None:
        shortlist = SHORTLIST
    segmenter = Segmenter(
        open_bank(bank),
        chosen,
        refine,
        unknown,
        shortlist=shortlist or None,
        temperature=temperature,
        device=device,
    )
    outcomes = []
    for outcome in batch.run(found, segmenter, out, _settings(segmenter), progress=not quiet):
        outcomes.append(outcome)
        if outcome.state == "failed":
            say(f"failed {outcome.id}: {outcome.reason}")
    _report(outcomes, as_json)


def _settings(segmenter: Segmenter) -> dict[str, Any]:
    from recoseg import batch

    return {
        "bank": batch.bank_digest(segmenter.bank),
        "names": segmenter.names,
        "refine": segmenter.refine,
        "unknown": segmenter.unknown,
        "shortlist": segmenter.shortlist,
        "crf": asdict(segmenter.crf),
    }


def _report(outcomes: Sequence[Outcome], as_json: bool) -> None:
    rows = [(done.state, done.id, done.summary(), done.labels or "") for done in outcomes]
    data = [outcome.to_dict() for outcome in outcomes]
    show(data, ("", "image", "largest areas", "labels"), rows, as_json=as_json)
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(BAD_INPUT)
