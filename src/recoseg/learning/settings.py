"""Validated ``adapt()`` arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from recoseg.datasets import ClassTable
from recoseg.errors import InputError
from recoseg.io.machines import Cluster
from recoseg.io.progress import Progress
from recoseg.learning.plan import Plan
from recoseg.learning.pseudolabels import Ignoring
from recoseg.learning.training import SAVE_EVERY
from recoseg.student.student import Student
from recoseg.typecheck import check_fields

SEEDS = 2**32

Validation = Callable[[Student], float]


@dataclass(frozen=True)
class Settings:
    """Validated arguments of ``adapt``, beside the segmenter and the images."""

    plan: Plan
    seed: int = 0
    rounds: int = 1
    ignoring: Ignoring = field(default_factory=Ignoring)
    validate: Validation | None = None
    validate_every: int = 0
    select: bool = False
    save_every: float = SAVE_EVERY
    progress: Progress = True
    table: ClassTable | None = None
    cluster: Cluster | None = None

    def __post_init__(self) -> None:
        """Check every type and range."""
        check_fields(self, InputError)
        if not 0 <= self.seed < SEEDS:
            raise InputError(f"seed must be a whole number from 0 to {SEEDS - 1}.")
        if not 1 <= self.rounds <= 10:
            raise InputError(f"rounds must be from 1 to 10, not {self.rounds!r}.")
        if self.select and self.validate is None:
            raise InputError("selection needs labelled images; give some, or keep the last.")
