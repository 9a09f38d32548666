"""How to segment, as options: whose labels, of which concepts, refined how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoseg.cli.concept_options import open_bank
from recoseg.errors import InputError

if TYPE_CHECKING:
    from recoseg import Segmenter
    from recoseg.student.student import Student

Unknown = Annotated[
    bool,
    typer.Option(
        "--unknown", help="Label what fits no concept `unknown`; the bank must be calibrated."
    ),
]
Strictness = Annotated[
    float | None,
    typer.Option(
        metavar="Q",
        help="Implies --unknown: a pixel must score above this share of an archive's, 0.5 to 0.99.",
        show_default="the bank's thresholds",
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
Strength = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=100,
        help="Of the CRF: how much neighbours and edges count, times the usual.",
        show_default="1",
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


@dataclass(frozen=True)
class How:
    """What the options say; None where one was not given."""

    refine: bool | None
    unknown: bool
    strictness: float | None
    shortlist: int | None
    strength: float | None
    temperature: float | None
    device: str | None


def chosen_segmenter(
    bank: str | None, student: Path | None, concepts: str | None, how: How
) -> Segmenter | Student:
    """A bank's segmenter, or a student, as the options say."""
    chosen = [name.strip() for name in concepts.split(",")] if concepts is not None else None
    if student is None:
        return _of_bank(bank or "everyday", chosen, how)
    given = {**vars(how), "bank": bank, "unknown": how.unknown or None}
    for name in ("bank", "unknown", "strictness", "shortlist", "strength", "temperature"):
        if given[name] is not None:
            raise InputError(f"--{name} is of banks, not of students; leave it out.")
    return _of_student(student, chosen, how)


def _of_bank(bank: str, concepts: Sequence[str] | None, how: How) -> Segmenter:
    from recoseg import Segmenter
    from recoseg.segmenting.candidates import USUAL

    if how.refine is False and how.strength is not None:
        raise InputError("--strength is of the CRF, which --no-refine leaves out; drop one.")
    usual = USUAL if bank == "everyday" and concepts is None else None
    return Segmenter(
        open_bank(bank),
        concepts,
        how.refine is not False,
        how.unknown,
        strictness=how.strictness,
        shortlist=(usual if how.shortlist is None else how.shortlist) or None,
        strength=1.0 if how.strength is None else how.strength,
        temperature=how.temperature,
        device=how.device,
    )


def _of_student(path: Path, concepts: Sequence[str] | None, how: How) -> Student:
    from recoseg.student.student import Student

    student = Student.open(path, how.device)
    student.refine = bool(how.refine)
    return student if concepts is None else student.choose(concepts)
