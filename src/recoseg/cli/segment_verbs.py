"""``recoseg segment``: images in, label maps and overlays out, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoseg.cli.output import Device, Json, Quiet, gather_images, say, show
from recoseg.cli.segment_options import (
    Bank,
    Concepts,
    How,
    Refine,
    Shortlist,
    Strength,
    Strictness,
    StudentFile,
    Temperature,
    Unknown,
    chosen_segmenter,
)

if TYPE_CHECKING:
    from recoseg.runs.batch import Outcome

BAD_INPUT = 3

Images = Annotated[
    list[str],
    typer.Argument(metavar="IMAGES", help="Images, folders of images, or quoted patterns."),
]


def segment(
    images: Images,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    bank: Bank = None,
    student: StudentFile = None,
    concepts: Concepts = None,
    refine: Refine = None,
    unknown: Unknown = False,
    strictness: Strictness = None,
    shortlist: Shortlist = None,
    strength: Strength = None,
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

    Examples:
        recoseg segment photos --concepts cat,grass,sky --out seen
        recoseg segment "photos/*.jpg" --bank street.bank --out streets
    """
    found = gather_images(images, out)
    from recoseg.learning import adaptation
    from recoseg.runs import batch

    how = How(refine, unknown, strictness, shortlist, strength, temperature, device)
    segmenter = chosen_segmenter(bank, student, concepts, how)
    outcomes = []
    facts = adaptation.teacher_facts(segmenter)
    for outcome in batch.run(found, segmenter, out, facts, progress=not quiet):
        outcomes.append(outcome)
        if outcome.state == "failed":
            say(f"failed {outcome.id}: {outcome.reason}")
    _report(outcomes, as_json)


def _report(outcomes: Sequence[Outcome], as_json: bool) -> None:
    rows = [(done.state, done.id, done.summary(), done.labels or "") for done in outcomes]
    data = [outcome.to_dict() for outcome in outcomes]
    show(data, ("", "image", "largest areas", "labels"), rows, as_json=as_json)
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(BAD_INPUT)
