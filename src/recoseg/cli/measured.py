"""What ``recoseg evaluate`` measures: baselines and stages of a bank, a student, or predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoseg.cli.concept_options import open_bank, open_index
from recoseg.errors import InputError

if TYPE_CHECKING:
    from recoseg import ConceptBank
    from recoseg.datasets import Dataset
    from recoseg.evaluation.protocols import Protocol
    from recoseg.evaluation.systems import Panel
    from recoseg.models.model_set import Models

SYSTEMS = ("denseclip", "denseclip+crf", "reco", "reco+crf")
USUAL = ("denseclip", "reco", "reco+crf")


@dataclass(frozen=True)
class Measured:
    """What was asked for; exactly one of bank, index and predictions, or a student alone.

    Attributes:
        bank: of concepts that are classes.
        index: of an archive that a bank of the dataset's classes is built from.
        student: file of a trained network, the row ``reco+``.
        predictions: folder of label maps.
        match: of the predictions: ``"name"``, or ``"hungarian"`` for unnamed clusters.
        systems: rows made from the bank.
        preset: of the method, where a bank is built.
        device: where the models compute.
        quiet: no progress.
    """

    bank: str | None = None
    index: Path | None = None
    student: Path | None = None
    predictions: Path | None = None
    match: str = "name"
    systems: Sequence[str] = USUAL
    preset: str = "lite"
    device: str | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        """Refuse what does not go together before anything is loaded."""
        if self.match not in ("name", "hungarian"):
            raise InputError(f"no match {self.match!r}; choose name or hungarian.")
        unknown = [name for name in self.systems if name not in SYSTEMS]
        if unknown:
            raise InputError(f"no system {unknown[0]!r}; choose {', '.join(SYSTEMS)}.")
        given = [self.bank is not None, self.index is not None, self.predictions is not None]
        if sum(given) > 1 or not (any(given) or self.student is not None):
            raise InputError("give one of --bank, --index, --predictions and --student.")
        if self.predictions is not None and self.student is not None:
            raise InputError("measure --predictions and --student one after the other.")

    def panel(self, dataset: Dataset, protocol: Protocol) -> Panel:
        """The systems, side by side."""
        from recoseg.evaluation.systems import Several

        if self.predictions is not None:
            from recoseg.evaluation.predictions import Predictions

            match: Any = self.match
            return Predictions(self.predictions, dataset, protocol, match=match)
        panels: list[Panel] = []
        if self.bank is not None or self.index is not None:
            panels.append(self._rows(dataset))
        if self.student is not None:
            panels.append(self._taught(self.student))
        return Several(panels)

    def _rows(self, dataset: Dataset) -> Panel:
        from recoseg import Segmenter
        from recoseg.evaluation.system_groups import Row, Rows

        bank, models = self._bank(dataset)
        rows = []
        for name in dict.fromkeys(self.systems):
            kind, _, crf = name.partition("+")
            wanted: Any = kind
            rows.append(Row.of(Segmenter(bank, system=wanted, models=models), bool(crf)))
        return Rows(rows)

    def _bank(self, dataset: Dataset) -> tuple[ConceptBank, Models]:
        from recoseg import ConceptBank
        from recoseg.models.model_set import Models
        from recoseg.recipe import preset

        if self.bank is not None:
            chosen = open_bank(self.bank)
            chosen = chosen.subset([name for name in dataset.table.names if name in chosen])
            return chosen, Models.load(chosen.recipe, self.device)
        recipe = preset(self.preset)
        models = Models.load(recipe, self.device)
        aliases = {name: dataset.table.aliases[name] for name in dataset.table.names}
        index = open_index(self.index)
        built = ConceptBank.build(aliases, index, recipe, models=models, progress=not self.quiet)
        return built, models

    def _taught(self, file: Path) -> Panel:
        from recoseg.evaluation.systems import Single
        from recoseg.student.student import Student

        return Single(Student.open(file, device=self.device), "reco+", "ReCo+")
