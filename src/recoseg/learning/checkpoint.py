"""Checkpoints of a training, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recoseg.errors import TrainingError
from recoseg.io.sealed import Seal
from recoseg.learning.trainer import Trainer

SEAL = Seal(
    "recoseg_training",
    "a checkpoint of training",
    1,
    TrainingError,
    "delete it to train from the beginning",
)


@dataclass(frozen=True)
class Checkpoint:
    """The file that a trainer's state is written to and read from.

    Attributes:
        path: the file.
        settings: all that decides the training, of plain JSON types; a file of others is refused.
    """

    path: Path
    settings: Mapping[str, Any]
    scores: list[tuple[int, float]] = field(default_factory=list)

    def save(self, trainer: Trainer) -> None:
        """Replace the file at once; the old one stays if that cannot be done."""
        header = {
            "iteration": trainer.iteration,
            "settings": dict(self.settings),
            "scores": self.scores,
        }
        SEAL.write(self.path, header, _tensors(trainer))

    def restore(self, trainer: Trainer) -> bool:
        """Bring a trainer to the file's state; False if there is no file.

        Raises:
            TrainingError: damaged, foreign, or of a training with other settings.
        """
        if not self.path.exists():
            return False
        header, tensors = SEAL.read(self.path)
        held, wanted = header.get("settings"), dict(self.settings)
        if held != wanted:
            names = [k for k in wanted if not isinstance(held, dict) or held.get(k) != wanted[k]]
            raise TrainingError(
                f"{self.path} is of a training with another {names[0] if names else 'setting'}; "
                "choose another folder, or delete it to train anew."
            )
        try:
            _load(trainer, tensors)
            trainer.iteration = int(header["iteration"])
            trainer.losses = tensors["losses"].tolist()
            self.scores[:] = [(int(t), float(score)) for t, score in header["scores"]]
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise TrainingError(
                f"{self.path} does not fit this version's training; {SEAL.remedy}."
            ) from error
        return True


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    tensors = {f"network.{k}": v for k, v in trainer.network.state_dict().items()}
    if trainer.average is not None:
        tensors.update({f"average.{k}": v for k, v in trainer.average.state_dict().items()})
    tensors.update(optimiser_tensors(trainer.optimiser))
    return {**tensors, "losses": torch.tensor(trainer.losses, dtype=torch.float64)}


def _load(trainer: Trainer, tensors: Mapping[str, Tensor]) -> None:
    trainer.network.load_state_dict(select_prefix("network.", tensors))
    if trainer.average is not None:
        trainer.average.load_state_dict(select_prefix("average.", tensors))
    load_optimiser(trainer.optimiser, tensors)


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser remembers of each parameter, under ``adam.``."""
    return {
        f"adam.{i}.{k}": torch.as_tensor(v)
        for i, state in optimiser.state_dict()["state"].items()
        for k, v in state.items()
    }


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of ``optimiser_tensors``, among other tensors."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in select_prefix("adam.", tensors).items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def select_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, which is removed."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
