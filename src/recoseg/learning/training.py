"""Training loop: checkpoints, interruption, progress, validation."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from recoseg.io.progress import Progress, reporting
from recoseg.learning.checkpoint import Checkpoint
from recoseg.learning.sampling import CropBatch, Sampler
from recoseg.learning.team import Team
from recoseg.learning.trainer import Trainer

SAVE_EVERY = 60.0

Score = Callable[[Trainer], float]


@dataclass(frozen=True)
class TrainingHooks:
    """Checkpointing, validation and progress of a training.

    Attributes:
        save_every: seconds between checkpoints; 0 saves after every step.
        score: gives the trainer's result a mark, for example mIoU on labelled images.
        score_every: steps between marks, and one at the end; 0 for none.
        best: where the network of the best mark is kept; None if marks decide nothing.
        progress: as in ``track``.
    """

    save_every: float = SAVE_EVERY
    score: Score | None = None
    score_every: int = 0
    best: Path | None = None
    progress: Progress = True


def train(trainer: Trainer, sampler: Sampler, checkpoint: Checkpoint, watch: TrainingHooks) -> None:
    """Train to the plan's last iteration, from the checkpoint if there is one.

    Only the leading process writes. The end, Ctrl-C and every ``watch.save_every`` seconds leave a
    checkpoint; a kill at any moment loses what came after the last one, and a resumed run repeats
    it exactly.

    Raises:
        KeyboardInterrupt: it was interrupted; all is saved.
        TrainingError: the loss is not finite, or the checkpoint is of another training.
        RecosegError: the checkpoint cannot be written.
    """
    checkpoint.restore(trainer)
    start, end = trainer.iteration, trainer.plan.iterations
    state = f"on from iteration {start:,}" if start else "from the beginning"
    team = trainer.team
    shown: Progress = watch.progress if team.is_main else False
    batches = sampler.batches(start, team.rank, team.world)
    with (
        interruptible() as stopped,
        reporting(lambda: f"training, {state}", end - start, shown) as advance,
    ):
        saved = time.monotonic()
        for batch in _stop_together(stopped, batches, team):
            loss = trainer.step(batch)
            _score(trainer, checkpoint, watch)
            rate = trainer.optimiser.param_groups[0]["lr"]
            state = f"loss {loss:.3f}, rate {rate:.1e}"
            advance(1)
            if team.is_main and time.monotonic() - saved >= watch.save_every:
                checkpoint.save(trainer)
                saved = time.monotonic()
        if team.is_main and trainer.iteration > start:
            checkpoint.save(trainer)
    if trainer.iteration < end:
        raise KeyboardInterrupt


def _stop_together(
    stopped: Callable[[], bool], batches: Iterator[CropBatch], team: Team
) -> Iterator[CropBatch]:
    """The batches, until one process was told to stop; all stop at the same one."""
    try:
        for batch in batches:
            if team.sum(torch.tensor(float(stopped()), device=team.device)) > 0:
                return
            yield batch
    finally:
        batches.close()  # type: ignore[attr-defined]


def _score(trainer: Trainer, checkpoint: Checkpoint, watch: TrainingHooks) -> None:
    if watch.score is None or not watch.score_every or not trainer.team.is_main:
        return
    if trainer.iteration % watch.score_every and trainer.iteration < trainer.plan.iterations:
        return
    score = watch.score(trainer)
    best = max((mark for _, mark in checkpoint.scores), default=float("-inf"))
    checkpoint.scores.append((trainer.iteration, score))
    if watch.best is not None and score > best:
        Checkpoint(watch.best, checkpoint.settings).save(trainer)


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C (or a launcher's SIGTERM) has come; a second one ends at once."""
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told.is_set
        return

    def tell(number: int, frame: FrameType | None) -> None:
        if told.is_set():
            raise KeyboardInterrupt
        told.set()

    before: dict[int, Any] = {s: signal.signal(s, tell) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
