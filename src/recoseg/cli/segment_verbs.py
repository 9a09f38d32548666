"""``recoseg segment``: images in, label maps and overlays out, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoseg.cli.concept_options import open_bank
from recoseg.cli.output import Device, Json, Quiet, gathered, say, show
from recoseg.errors import InputError

if TYPE_CHECKING:
    from recoseg import Segmenter
    from recoseg.batch import Outcome
    from recoseg.learning.student import Student

BAD_INPUT = 3

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

Bank = Annotated[
    str | None,
    typer.Option(help="A bank's file, or `everyday` for the one shipped.", show_default="everyday"),
]
StudentFile = Annotated[
    Path | None, typer.Option(help="A student's file (see `adapt`) in place of a bank.")
]
Concepts = Annotated[
    str | None, typer.Option(metavar="A,B,C", help="Only these concepts.", show_default="all")
]
Refine = Annotated[
    bool | None,
    typer.Option(
        "--refine/--no-refine",
        help="Sharpen borders with the CRF.",
        show_default="with a bank, not with a student",
    ),
]


def segment(
    images: Images,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    bank: Bank = None,
    student: StudentFile = None,
    concepts: Concepts = None,
    refine: Refine = None,
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

    Examples:
        recoseg segment photos --concepts cat,grass,sky --out seen
        recoseg segment "photos/*.jpg" --bank street.bank --out streets
    """
    found = gathered(images, out)
    from recoseg import batch
    from recoseg.learning import adaptation

    settings = (refine, unknown, shortlist, temperature, device)
    segmenter = chosen_segmenter(bank, student, concepts, *settings)
    outcomes = []
    facts = adaptation.teacher_facts(segmenter)
    for outcome in batch.run(found, segmenter, out, facts, progress=not quiet):
        outcomes.append(outcome)
        if outcome.state == "failed":
            say(f"failed {outcome.id}: {outcome.reason}")
    _report(outcomes, as_json)


def chosen_segmenter(
    bank: str | None,
    student: Path | None,
    concepts: str | None,
    refine: bool | None,
    unknown: bool,
    shortlist: int | None,
    temperature: float | None,
    device: str | None,
) -> Segmenter | Student:
    """A bank's segmenter, or a student, as the options say."""
    chosen = [name.strip() for name in concepts.split(",")] if concepts is not None else None
    if student is not None:
        _refuse(bank=bank, unknown=unknown or None, shortlist=shortlist, temperature=temperature)
        return _of_student(student, chosen, refine, device)
    settings = (refine is not False, unknown, shortlist, temperature, device)
    return _of_bank(bank or "everyday", chosen, *settings)


def _of_bank(
    bank: str,
    concepts: Sequence[str] | None,
    refine: bool,
    unknown: bool,
    shortlist: int | None,
    temperature: float | None,
    device: str | None,
) -> Segmenter:
    from recoseg import Segmenter
    from recoseg.shortlist import USUAL

    if shortlist is None and bank == "everyday" and concepts is None:
        shortlist = USUAL
    return Segmenter(
        open_bank(bank),
        concepts,
        refine,
        unknown,
        shortlist=shortlist or None,
        temperature=temperature,
        device=device,
    )


def _refuse(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise InputError(f"--{name} is of banks, not of students; leave it out.")


def _of_student(
    path: Path, concepts: Sequence[str] | None, refine: bool | None, device: str | None
) -> Student:
    from recoseg.learning.student import Student

    student = Student.open(path, device)
    student.refine = bool(refine)
    return student if concepts is None else student.choose(concepts)


def _report(outcomes: Sequence[Outcome], as_json: bool) -> None:
    rows = [(done.state, done.id, done.summary(), done.labels or "") for done in outcomes]
    data = [outcome.to_dict() for outcome in outcomes]
    show(data, ("", "image", "largest areas", "labels"), rows, as_json=as_json)
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(BAD_INPUT)
