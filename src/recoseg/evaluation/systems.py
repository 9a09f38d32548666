"""Systems under evaluation, alone or several side by side."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from recoseg.datasets import ClassTable, Sample
from recoseg.errors import InputError
from recoseg.evaluation.clock import Clock
from recoseg.evaluation.metrics import VOID
from recoseg.io.images import RGB
from recoseg.segmenting.interface import Identified, Labeller

Labels = NDArray[np.integer[Any]]
Match = Literal["name", "hungarian"]
MATCHES = ("name", "hungarian")


@runtime_checkable
class Matched(Protocol):
    """Optional: a labeller that says how its labels become classes; others go by name."""

    @property
    def match(self) -> Match:
        """As ``System`` has it."""
        ...


@dataclass(frozen=True)
class System:
    """A row of the table.

    Attributes:
        name: for programs, for example ``"reco+crf"``.
        label: for people, for example ``"ReCo + CRF"``.
        names: what its labels mean, in order.
        key: digest of all that decides its labels.
        recipe: its settings, in plain JSON types.
        match: how its names become classes: ``"name"`` looks them up, so that what has no class is
            wrong; ``"hungarian"`` takes them for unnamed clusters, which are assigned to classes by
            the truth after all is counted.
        note: what a reader of the table must know of it; may be empty.
        published: what the paper's tables call the system that it stands for; empty if nothing.
    """

    name: str
    label: str
    names: tuple[str, ...]
    key: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    match: Match = "name"
    note: str = ""
    published: str = ""

    def __post_init__(self) -> None:
        """Check how it is matched."""
        if self.match not in MATCHES:
            raise InputError(f"no match {self.match!r}; choose {' or '.join(MATCHES)}.")

    @property
    def matched(self) -> bool:
        """Whether its labels are clusters that the truth names."""
        return self.match == "hungarian"

    def predictions(self, table: ClassTable) -> int:
        """P, the columns of its confusion matrix besides "no class"."""
        return len(self.names) if self.matched else len(table.classes)

    def columns(self, table: ClassTable) -> NDArray[np.int64]:
        """For each label, and at the end for -1, the class it is counted as; -1 for none.

        Labels of a matched system are counted as they are.

        Raises:
            InputError: none of the names is one of the dataset's.
        """
        if self.matched:
            return np.array([*range(len(self.names)), VOID])
        known = dict(zip(table.classes, range(len(table.classes)), strict=True))
        known.update(zip(table.names, table.merge, strict=True))
        found = [known.get(name, VOID) for name in self.names]
        if set(found) <= {VOID}:
            raise InputError(
                f"{self.name} predicts {', '.join(self.names[:5])} ..., none of which is a class "
                f"of the dataset ({', '.join(table.names[:5])} ...); build it with those names."
            )
        return np.array([*found, VOID])


class Panel(Protocol):
    """Systems that are run side by side."""

    @property
    def systems(self) -> Sequence[System]:
        """The rows."""
        ...

    def run(
        self, image: RGB, sample: Sample, wanted: Collection[str], clock: Clock
    ) -> Iterator[tuple[str, Labels]]:
        """Name and labels (H, W) of each wanted system on one image."""
        ...


class Single:
    """A panel of one system that is called image by image."""

    def __init__(self, labeller: Labeller, name: str, label: str | None = None) -> None:
        self._labeller = labeller
        # What cannot say what it is must not be taken for what it was.
        key = labeller.digest if isinstance(labeller, Identified) else uuid.uuid4().hex
        match = labeller.match if isinstance(labeller, Matched) else "name"
        self.systems = (System(name, label or name, tuple(labeller.names), key, match=match),)

    def run(
        self, image: RGB, sample: Sample, wanted: Collection[str], clock: Clock
    ) -> Iterator[tuple[str, Labels]]:
        """Its labels of the image."""
        for system in self.systems:
            if system.name in wanted:
                with clock("models"):
                    found = self._labeller(image)
                yield system.name, found.labels


class Several:
    """Panels one after the other, as one; names must differ."""

    def __init__(self, panels: Sequence[Panel]) -> None:
        self._panels = tuple(panels)
        self.systems = tuple(system for panel in panels for system in panel.systems)
        names = [system.name for system in self.systems]
        if len(set(names)) < len(names) or not names:
            raise InputError("systems to be compared need names of their own, at least one.")

    def run(
        self, image: RGB, sample: Sample, wanted: Collection[str], clock: Clock
    ) -> Iterator[tuple[str, Labels]]:
        """Labels of the wanted systems of every panel."""
        for panel in self._panels:
            yield from panel.run(image, sample, wanted, clock)


def digest(*facts: object) -> str:
    """Sixteen hex digits of facts of plain JSON types."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
