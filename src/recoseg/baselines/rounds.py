"""The loop around a learner's rounds: checkpoints, interruption, progress."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recoseg.baselines.learner import Figures, Learner
from recoseg.errors import TrainingError
from recoseg.io.progress import Progress, reporting
from recoseg.io.sealed import Seal
from recoseg.learning.training import interruptible

SAVE_EVERY = 20.0
_CHECKPOINT = Seal(
    "recoseg_baseline_training",
    "a checkpoint of a baseline",
    1,
    TrainingError,
    "delete it to train from the beginning",
)


@dataclass(frozen=True)
class RoundCheckpoint:
    """The state after some round.

    Attributes:
        path: the file.
        settings: all that decides the training; a file of others is refused.
        every: seconds between writes.
    """

    path: Path
    settings: Mapping[str, Any]
    every: float

    def save(self, learner: Learner, log: list[Figures]) -> None:
        """Replace the file at once."""
        _CHECKPOINT.write(self.path, {"settings": dict(self.settings), "log": log}, learner.state())

    def restore(self, learner: Learner) -> list[Figures]:
        """Bring a learner to the file's state; what its rounds said, none without a file."""
        if not self.path.exists():
            return []
        header, tensors = _CHECKPOINT.read(self.path)
        if header.get("settings") != self.settings:
            raise TrainingError(
                f"{self.path} is of a training with other settings or photos; delete it to train "
                "from the beginning, or choose another file."
            )
        try:
            learner.load(tensors)
            return [dict(figures) for figures in header["log"]]
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise TrainingError(
                f"{self.path} does not fit this version's training; {_CHECKPOINT.remedy}."
            ) from error


def run_rounds(learner: Learner, checkpoint: RoundCheckpoint, progress: Progress) -> list[Figures]:
    """Run every round that was not run yet; returns what all rounds reported.

    Ctrl-C, and the end of a round every ``checkpoint.every`` seconds, leave a checkpoint; a kill
    loses what came after the last one, and a resumed training repeats it exactly.

    Raises:
        KeyboardInterrupt: it was interrupted; all is saved.
        TrainingError: the checkpoint is of another training, or the loss is lost.
    """
    log = checkpoint.restore(learner)
    total = learner.plan.rounds
    with (
        interruptible() as stopped,
        reporting(f"training {learner.plan.label}", total, progress) as advance,
    ):
        advance(len(log))
        saved = time.monotonic()
        while len(log) < total and not stopped():
            log.append(learner.run_round(len(log)))
            advance(1)
            if time.monotonic() - saved >= checkpoint.every:
                checkpoint.save(learner, log)
                saved = time.monotonic()
        if len(log) < total:
            checkpoint.save(learner, log)
            raise KeyboardInterrupt
    return log
