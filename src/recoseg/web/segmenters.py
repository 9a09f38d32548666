"""Segmenters by bank and options, kept for the next request; the models are the registry's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recoseg.errors import BankError, UnknownConcept
from recoseg.segmenting.decision import thresholds
from recoseg.segmenting.interface import ImageSegmenter
from recoseg.segmenting.options import USUAL_SHORTLIST, USUAL_SURE, Options
from recoseg.segmenting.segmenter import Segmenter
from recoseg.web.banks import BankLibrary
from recoseg.web.failures import Refused

if TYPE_CHECKING:
    from recoseg.student.student import Student

STUDENT = "student"
KEPT = 16


@dataclass(frozen=True)
class SegmentRequest:
    """What to segment with, and how.

    Attributes:
        bank: id of a bank, or "student".
        options: how.
    """

    bank: str
    options: Options = Options()


class Segmenters:
    """Made on the worker's thread, when first asked for."""

    def __init__(self, shelf: BankLibrary, student: Path | None, device: str | None) -> None:
        """Serve the banks of ``shelf``, and a student if there is one."""
        self.shelf = shelf
        self.device = device
        self.student = self._open(student) if student is not None else None
        self._made: OrderedDict[object, Segmenter] = OrderedDict()

    def check(self, order: SegmentRequest) -> None:
        """Refuse, before anything is queued, what ``get`` could not make."""
        known, options = self.names(order.bank), order.options
        for name in options.concepts or ():
            if name not in known:
                raise UnknownConcept(f"no concept {name!r} in this bank; see /api/banks.")
        if order.bank == STUDENT:
            _check_student(options)
        elif options.unknown and options.sure is None:
            bank = self.shelf.find(order.bank).bank.subset(options.concepts or known)
            try:
                thresholds(bank, options.strictness)
            except BankError as error:
                raise Refused(
                    "unknown needs a calibrated bank; calibrate it on an index first."
                ) from error

    def names(self, bank: str) -> tuple[str, ...]:
        """The concepts of a bank or of the student."""
        if bank == STUDENT and self.student is not None:
            return self.student.names
        return self.shelf.find(bank).bank.names

    def get(self, order: SegmentRequest) -> ImageSegmenter:
        """The segmenter for an order, made once whether it refines or not."""
        options = order.options
        if order.bank == STUDENT and self.student is not None:
            return self.student.replace(concepts=options.concepts or self.student.names)
        entry = self.shelf.find(order.bank)
        key = (entry.id, entry.stamp, options.replace(refine=True))
        if key not in self._made:
            large = not options.concepts and entry.calibrated and len(entry.bank) > USUAL_SHORTLIST
            sure = USUAL_SURE if large and options.strictness is None else None
            options = options.replace(shortlist=USUAL_SHORTLIST if large else None, sure=sure)
            self._made[key] = Segmenter(entry.bank, options=options, device=self.device)
        self._made.move_to_end(key)
        while len(self._made) > KEPT:
            self._made.popitem(last=False)
        return self._made[key]

    def subject(self, order: SegmentRequest) -> Hashable:
        """Key of an image's score maps: equal for orders that need equal maps."""
        stamp = None if order.bank == STUDENT else self.shelf.find(order.bank).stamp
        return order.bank, stamp, order.options.concepts

    def _open(self, path: Path) -> Student:
        from recoseg.student.student import Student

        return Student.open(path, self.device)


def _check_student(options: Options) -> None:
    """Refuse what only a bank's segmenter has."""
    if options != Options(options.concepts, options.refine):
        raise Refused(
            "unknown, strictness, strength and temperature are of banks, not of students; leave "
            "them out."
        )
