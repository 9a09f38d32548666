"""How to segment, as options of a verb: each is spelt out once, here, for all that segment."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from recoseg.cli.concept_options import open_bank
from recoseg.cli.output import Device
from recoseg.errors import InputError

if TYPE_CHECKING:
    from recoseg.segmenting.interface import ImageSegmenter
    from recoseg.segmenting.options import Options


@dataclass(frozen=True)
class SegmentOptions:
    """What the command line says of how to segment; None where an option was not given."""

    bank: Annotated[
        str | None,
        typer.Option(
            help="A bank's file, or `everyday` for the one shipped.", show_default="everyday"
        ),
    ] = None
    student: Annotated[
        Path | None, typer.Option(help="A student's file (see `adapt`) in place of a bank.")
    ] = None
    concepts: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Only these concepts.", show_default="all")
    ] = None
    refine: Annotated[
        bool | None,
        typer.Option(
            "--refine/--no-refine",
            help="Sharpen borders with the CRF.",
            show_default="with a bank, not with a student",
        ),
    ] = None
    unknown: Annotated[
        bool,
        typer.Option(
            "--unknown", help="Label what fits no concept `unknown`; the bank must be calibrated."
        ),
    ] = False
    strictness: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Implies --unknown: a pixel must score above this share of an archive's, "
            "0.5 to 0.99.",
            show_default="the bank's thresholds",
        ),
    ] = None
    sure: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            min=0,
            max=0.99,
            help="Implies --unknown: name a pixel only if it is so probable, by its concept, else "
            "by its concept's group; 0 names all.",
            show_default="0.5 for the whole everyday bank, else 0",
        ),
    ] = None
    shortlist: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Let only the N likeliest concepts of an image compete; 0 for all.",
            show_default="16 for the whole everyday bank, else 0",
        ),
    ] = None
    strength: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            help="Of the CRF: how much neighbours and edges count, times the usual.",
            show_default="1",
        ),
    ] = None
    temperature: Annotated[
        float | None, typer.Option(min=1e-6, help="Of the CRF: smaller trusts the scores more.")
    ] = None
    device: Device = None

    def options(self) -> Options:
        """``Options`` of those that were given; InputError for what does not go together."""
        from recoseg.segmenting.options import USUAL_SHORTLIST, USUAL_SURE, Options

        told = {n: v for n, v in vars(self).items() if v is not None and v is not False}
        given = {field.name: told[field.name] for field in fields(Options) if field.name in told}
        if self.concepts is not None:
            given["concepts"] = [name.strip() for name in self.concepts.split(",")]
        if self.student is not None:
            strange = sorted({*given, *told} - {"student", "concepts", "refine", "device"})
            if strange:
                raise InputError(f"--{strange[0]} is of banks, not of students; leave it out.")
            return Options(**{**given, "refine": bool(self.refine)})
        if self.refine is False and self.strength is not None:
            raise InputError("--strength is of the CRF, which --no-refine leaves out; drop one.")
        whole = self.bank in (None, "everyday") and self.concepts is None
        usual = USUAL_SHORTLIST if whole and self.shortlist is None else self.shortlist
        sure = USUAL_SURE if whole and self.sure is None else self.sure
        given.update(refine=self.refine is not False, shortlist=usual or None, sure=sure or None)
        return Options(**given)

    def segmenter(self) -> ImageSegmenter:
        """A bank's segmenter, or a student, as the options say."""
        options = self.options()
        if self.student is not None:
            from recoseg import Student

            return Student.open(self.student, self.device, options=options)
        from recoseg import Segmenter

        return Segmenter(open_bank(self.bank or "everyday"), options=options, device=self.device)


def with_segment_options(verb: Callable[..., None]) -> Callable[..., None]:
    """``verb`` with all of ``SegmentOptions`` in the place of its parameter ``how``."""
    hints = get_type_hints(SegmentOptions, include_extras=True)
    options = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(SegmentOptions)
    ]

    @functools.wraps(verb)
    def run(**given: Any) -> None:
        how = SegmentOptions(**{option.name: given.pop(option.name) for option in options})
        verb(how=how, **given)

    own = inspect.signature(verb, eval_str=True).parameters
    parameters = [
        each
        for name, parameter in own.items()
        for each in (options if name == "how" else [parameter.replace(kind=options[0].kind)])
    ]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(run)["__signature__"] = inspect.Signature(parameters)
    return run
