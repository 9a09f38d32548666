"""What ``recoseg evaluate`` measures: stages of a bank, a student, predictions, baselines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoseg.cli.concept_options import open_bank
from recoseg.errors import InputError

if TYPE_CHECKING:
    from recoseg import ConceptBank, Options
    from recoseg.datasets import Dataset
    from recoseg.evaluation.protocols import Protocol
    from recoseg.evaluation.systems import Panel
    from recoseg.models.registry import Models

_PROTOCOLS = Path(__file__).parents[1] / "data" / "protocols.json"
SYSTEMS = ("denseclip", "denseclip+crf", "reco", "reco+crf")
USUAL = ("denseclip", "reco", "reco+crf")


def protocol_names() -> list[str]:
    """Every protocol, without waiting for the packages that apply one."""
    rows = json.loads(_PROTOCOLS.read_text(encoding="utf-8"))["protocols"]
    return [row["name"] for row in rows]


def choose_protocol(name: str, words: str | None, bank: str | None = None) -> Protocol:
    """The protocol of a name, with the words asked for, or those of a bank."""
    from recoseg.evaluation import protocols

    found = protocols.protocol(name).with_words(words)
    if bank is None:
        return found
    if words is not None:
        raise InputError("a bank was built by its own words; leave --words out, or use --index.")
    return found.with_words(protocols.BANK)


@dataclass(frozen=True)
class Measured:
    """Systems to be evaluated: of a bank or an index, a student, predictions, baselines.

    Attributes:
        bank: of concepts that are classes.
        index: of an archive that a bank of the dataset's classes is built from.
        student: file of a trained network, the row ``reco+``.
        predictions: folders of label maps, each ``"NAME=FOLDER"`` or a folder alone.
        match: of the predictions: ``"name"``, or ``"hungarian"`` for unnamed clusters.
        systems: rows made from the bank.
        preset: of the method, where a bank is built.
        device: where the models compute.
        quiet: no progress.
        baselines: files of `recoseg baseline`, each ``"NAME=FILE"`` or a file alone.
    """

    bank: str | None = None
    index: Path | None = None
    student: Path | None = None
    predictions: Sequence[str] = ()
    match: str = "name"
    systems: Sequence[str] = USUAL
    preset: str = "lite"
    device: str | None = None
    quiet: bool = False
    baselines: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse what does not go together before anything is loaded."""
        if self.match not in ("name", "hungarian"):
            raise InputError(f"no match {self.match!r}; choose name or hungarian.")
        unknown = [name for name in self.systems if name not in SYSTEMS]
        if unknown:
            raise InputError(f"no system {unknown[0]!r}; choose {', '.join(SYSTEMS)}.")
        if self.bank is not None and self.index is not None:
            raise InputError("give --bank or --index, not both: one of them makes the rows.")
        given = (self.bank, self.index, self.student, self.predictions, self.baselines)
        if not any(given):
            raise InputError("give --bank, --index, --student, --predictions or --baseline.")
        if self.match != "name" and not self.predictions:
            raise InputError(
                "--match hungarian is for --predictions, whose clusters have no names; what a bank "
                "or a student says has names, so leave it out."
            )

    def panel(self, dataset: Dataset, protocol: Protocol) -> Panel:
        """The systems, side by side."""
        from recoseg.evaluation.systems import Several

        panels: list[Panel] = []
        if self.bank is not None or self.index is not None:
            panels.append(self._rows(dataset, protocol))
        if self.student is not None:
            panels.append(self._student_row(self.student))
        if self.baselines:
            panels.append(self._open_baselines())
        panels += [self._open_predictions(given, dataset, protocol) for given in self.predictions]
        return Several(panels)

    def _open_baselines(self) -> Panel:
        from recoseg.baselines.baseline import Baseline
        from recoseg.baselines.rows import BaselineRows

        rows: dict[str, Baseline] = {}
        for given in self.baselines:
            name, equals, file = given.partition("=")
            if not equals or Path(given).is_file():
                name, file = "", given
            made = Baseline.open(file, device=self.device)
            name = name or made.plan.method
            if name in rows:
                raise InputError(f"two baselines are called {name}; write NAME={file} for one.")
            rows[name] = made
        return BaselineRows(rows)

    def _open_predictions(self, given: str, dataset: Dataset, protocol: Protocol) -> Panel:
        from recoseg.evaluation.predictions import Predictions

        name, equals, folder = given.partition("=")
        if not equals or Path(given).is_dir():
            name, folder = "predictions", given
        match: Any = self.match
        return Predictions(Path(folder), dataset, protocol, match=match, name=name)

    def _rows(self, dataset: Dataset, protocol: Protocol) -> Panel:
        from recoseg import Segmenter
        from recoseg.evaluation.system_groups import Row, Rows

        bank, models = self._bank(dataset, protocol)
        made = [Segmenter(bank, options=chosen, models=models) for chosen in self.options()]
        return Rows([Row.of(segmenter, segmenter.options.refine) for segmenter in made])

    def options(self) -> list[Options]:
        """How each of ``systems`` segments; one that is named twice counts once."""
        from recoseg import Options

        pairs = [name.partition("+") for name in dict.fromkeys(self.systems)]
        return [Options.from_dict({"system": kind, "refine": bool(crf)}) for kind, _, crf in pairs]

    def _bank(self, dataset: Dataset, protocol: Protocol) -> tuple[ConceptBank, Models]:
        from recoseg import Index
        from recoseg.evaluation.class_banks import build_bank
        from recoseg.evaluation.wordlists import word_list
        from recoseg.models.registry import Models
        from recoseg.recipe import preset

        if self.bank is not None:
            chosen = open_bank(self.bank)
            chosen = chosen.subset([name for name in dataset.table.names if name in chosen])
            return chosen, Models.load(chosen.recipe, self.device)
        recipe = preset(self.preset)
        models = Models.load(recipe, self.device)
        index = Index.open(self.index or "")
        material = (dataset.table, word_list(protocol.words), index, recipe)
        return build_bank(*material, models=models, progress=not self.quiet), models

    def _student_row(self, file: Path) -> Panel:
        from recoseg.evaluation.systems import Single
        from recoseg.student.student import Student

        return Single(Student.open(file, device=self.device), "reco+", "ReCo+")
