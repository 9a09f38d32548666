"""Segmenters by bank and options, kept for the next request; the models are the registry's."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recoseg.errors import BankError, UnknownConcept
from recoseg.segmenting.candidates import USUAL
from recoseg.segmenting.decision import limits
from recoseg.segmenting.segmenter import Segmenter
from recoseg.web.banks import BankLibrary
from recoseg.web.failures import Refused

if TYPE_CHECKING:
    from recoseg.student.student import Student

STUDENT = "student"
KEPT = 16


@dataclass(frozen=True)
class Options:
    """How to segment.

    Attributes:
        bank: id of a bank, or "student".
        concepts: some of its names; empty for all of them.
        refine: sharpen borders with the CRF.
        strength: of the CRF.
        unknown: label what fits no concept.
        strictness: of unknown; None for the bank's thresholds.
        temperature: of the CRF; None for the recipe's.
    """

    bank: str
    concepts: tuple[str, ...] = ()
    refine: bool = True
    strength: float = 1.0
    unknown: bool = False
    strictness: float | None = None
    temperature: float | None = None


class Segmenters:
    """Made on the worker's thread, when first asked for."""

    def __init__(self, shelf: BankLibrary, student: Path | None, device: str | None) -> None:
        """Serve the banks of ``shelf``, and a student if there is one."""
        self.shelf = shelf
        self.device = device
        self.student = self._open(student) if student is not None else None
        self._made: OrderedDict[object, Segmenter] = OrderedDict()

    def check(self, options: Options) -> None:
        """Refuse, before anything is queued, what ``get`` could not make."""
        known = self.names(options.bank)
        for name in options.concepts:
            if name not in known:
                raise UnknownConcept(f"no concept {name!r} in this bank; see /api/banks.")
        if options.bank == STUDENT:
            _check_student(options)
        elif options.unknown or options.strictness is not None:
            bank = self.shelf.find(options.bank).bank.subset(options.concepts or known)
            try:
                limits(bank, options.strictness)
            except BankError as error:
                raise Refused(
                    "unknown needs a calibrated bank; calibrate it on an index first."
                ) from error

    def names(self, bank: str) -> tuple[str, ...]:
        """The concepts of a bank or of the student."""
        if bank == STUDENT and self.student is not None:
            return self.student.names
        return self.shelf.find(bank).bank.names

    def get(self, options: Options) -> Segmenter | Student:
        """The segmenter for these options, made once."""
        names = list(options.concepts) or None
        if options.bank == STUDENT and self.student is not None:
            return self.student if names is None else self.student.choose(names)
        entry = self.shelf.find(options.bank)
        key = (entry.stamp, dataclasses.replace(options, refine=True))
        if key not in self._made:
            large = names is None and entry.calibrated and len(entry.bank) > USUAL
            self._made[key] = Segmenter(
                entry.bank,
                names,
                unknown=options.unknown,
                strictness=options.strictness,
                strength=options.strength,
                shortlist=USUAL if large else None,
                temperature=options.temperature,
                device=self.device,
            )
        self._made.move_to_end(key)
        while len(self._made) > KEPT:
            self._made.popitem(last=False)
        return self._made[key]

    def subject(self, options: Options) -> Hashable:
        """What is looked for, however it is decided: the same for the same maps of an image."""
        stamp = None if options.bank == STUDENT else self.shelf.find(options.bank).stamp
        return options.bank, stamp, options.concepts

    def _open(self, path: Path) -> Student:
        from recoseg.student.student import Student

        return Student.open(path, self.device)


def _check_student(options: Options) -> None:
    """Refuse what only a bank's segmenter has."""
    plain = Options(STUDENT, options.concepts, options.refine)
    if options != plain:
        raise Refused(
            "unknown, strictness, strength and temperature are of banks, not of students; leave "
            "them out."
        )
