"""How to segment, as one frozen, validated value: what a segmenter, a student or a run is given."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from recoseg.concepts.concept import STRICTNESSES
from recoseg.errors import InputError
from recoseg.recipe import CRF

SystemName = Literal["reco", "denseclip"]
SYSTEMS: tuple[SystemName, ...] = get_args(SystemName)
# How many of the whole everyday bank's concepts compete unless something else is asked for.
USUAL_SHORTLIST = 16
# How probable a name must be there: more likely than not.
USUAL_SURE = 0.5


@dataclass(frozen=True)
class Options:
    """How to segment.

    Attributes:
        concepts: names to look for, in the order the labels shall have; None for all.
        refine: whether the CRF sharpens borders (step 10).
        unknown: whether what fits no concept is labelled unknown; the bank must be calibrated.
        strictness: how well a pixel must fit to be known, which implies ``unknown``: it must score
            above this share of an archive's pixels, 0.5 to 0.99. None for the bank's thresholds,
            which are those of 0.85 unless ``calibrate`` was told otherwise.
        sure: how probable a name must be, in (0, 1), which implies ``unknown``: a pixel whose
            concept is less so gets the name of the concept's group if the group's concepts are
            together, else unknown; None names all that ``strictness`` leaves. Needs no thresholds.
        shortlist: how many concepts, those most likely in the image, compete for its pixels: for
            large banks, of which one image shows little; the bank must be calibrated. They compete
            by how far they score above their median over the archive, so that none wins because
            it scores high everywhere. None for all.
        strength: of the CRF: its kernels' weights are the recipe's times this, 0 to 100.
        temperature: of the CRF's unary, in place of the recipe's; smaller trusts scores more.
        system: ``"reco"``, or ``"denseclip"`` for the baseline that uses the names alone.
    """

    concepts: Sequence[str] | None = None
    refine: bool = True
    unknown: bool = False
    strictness: float | None = None
    sure: float | None = None
    shortlist: int | None = None
    strength: float = 1.0
    temperature: float | None = None
    system: SystemName = "reco"

    def __post_init__(self) -> None:
        """Check every value, and bring equal ones into one form."""
        if self.concepts is not None:
            self._set("concepts", _names(self.concepts))
        for name in ("refine", "unknown"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} must be True or False, not {getattr(self, name)!r}.")
        for name in ("strictness", "sure", "strength", "temperature"):
            self._set(name, _number(name, getattr(self, name)))
        if self.strictness is not None:
            if not STRICTNESSES[0] <= self.strictness <= STRICTNESSES[-1]:
                raise InputError(
                    f"strictness must lie between {STRICTNESSES[0]} and {STRICTNESSES[-1]}, "
                    f"not {self.strictness!r}."
                )
            self._set("unknown", True)
        if self.sure is not None:
            if not 0 < self.sure < 1:
                raise InputError(f"sure must lie between 0 and 1, not {self.sure!r}.")
            self._set("unknown", True)
        self.with_strength(CRF())  # refuses a strength or a temperature out of range
        if self.shortlist is not None:
            self._set("shortlist", _count(self.shortlist))
        self._check_system()

    def replace(self, **changes: Any) -> Options:
        """Options with some fields changed."""
        return dataclasses.replace(self, **changes)

    def with_strength(self, crf: CRF) -> CRF:
        """A recipe's CRF with this strength and temperature."""
        return crf.with_strength(self.strength, self.temperature)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        names = None if self.concepts is None else list(self.concepts)
        return {**dataclasses.asdict(self), "concepts": names}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Options:
        """The inverse of ``to_dict``; refuses unknown fields."""
        strange = sorted(set(data) - {field.name for field in dataclasses.fields(cls)})
        if strange:
            raise InputError(f"there is no option {strange[0]!r}; see the fields of Options.")
        return cls(**data)

    @property
    def digest(self) -> str:
        """SHA-256 of all fields, hex; equal only where the options are."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_system(self) -> None:
        if self.system not in SYSTEMS:
            raise InputError(f"no system {self.system!r}; choose 'reco' or 'denseclip'.")
        if (self.unknown or self.shortlist is not None) and self.system != "reco":
            raise InputError(
                "'unknown' and a shortlist need thresholds, which are of the scores of system "
                "'reco'; use that."
            )


def _names(concepts: Sequence[str]) -> tuple[str, ...]:
    if isinstance(concepts, str):
        raise InputError(f"concepts must be a list of names; write [{concepts!r}].")
    names = tuple(dict.fromkeys(concepts))
    strange = [name for name in names if not isinstance(name, str)]
    if strange:
        raise InputError(f"concepts must be a list of names, not of {strange[0]!r}.")
    return names


def _number(name: str, value: object) -> float | None:
    if value is None and name != "strength":
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InputError(f"{name} must be a number, not {value!r}.")
    return float(value)


def _count(shortlist: object) -> int:
    if isinstance(shortlist, bool) or not isinstance(shortlist, numbers.Integral) or shortlist < 1:
        raise InputError(f"shortlist must be at least one concept, not {shortlist!r}.")
    return int(shortlist)
