"""Base class of all methods: a network, its optimiser, repeatable rounds, and a result."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recoseg.baselines import networks
from recoseg.baselines.inputs import Inputs
from recoseg.baselines.networks import BaselineArchitecture
from recoseg.baselines.plan import BaselinePlan
from recoseg.errors import TrainingError
from recoseg.learning.checkpoint import load_optimiser, optimiser_tensors, select_prefix
from recoseg.similarity import cosine_map, unit

Figures = dict[str, float]


@dataclass(frozen=True, eq=False)
class Classifier:
    """Codes to clusters.

    Attributes:
        weight: (K, dim).
        bias: (K,) where scores are the softmax of linear logits; None where they are the cosines
            to ``weight``.
        directions: whether codes are brought to unit length first; for cosines they always are.
    """

    weight: Tensor
    bias: Tensor | None = None
    directions: bool = True

    def __call__(self, codes: Tensor) -> Tensor:
        """(B, dim, h, w) as the network gives them to scores (B, K, h, w) in [0, 1]."""
        if self.bias is None:
            return (1 + cosine_map(codes, self.weight)) / 2
        return torch.softmax(self.logits(codes), dim=1)

    def logits(self, codes: Tensor) -> Tensor:
        """(B, K, h, w) before the softmax."""
        scaled = unit(codes, dim=1) if self.directions else codes
        found = torch.einsum("bdhw,kd->bkhw", scaled, self.weight)
        return found if self.bias is None else found + self.bias[:, None, None]


class Learner(abc.ABC):
    """A training of one method, round by round.

    Each round begins from the state alone and draws all randomness from seed and round, so that a
    training that was stopped after any round goes on as if it had not been.
    """

    def __init__(
        self, inputs: Inputs, clusters: int, plan: BaselinePlan, seed: int, device: torch.device
    ) -> None:
        """A training before its first round."""
        self.inputs, self.clusters, self.plan, self.seed = inputs, clusters, plan, seed
        self.device = device
        self.architecture = self._architecture()
        self.network: nn.Module = networks.start_network(self.architecture, plan.encoder, seed).to(
            device
        )
        self.extra: dict[str, Tensor] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            self.begin()
        self.optimiser = self._optimiser()

    @abc.abstractmethod
    def begin(self) -> None:
        """Prepare what all rounds share; it depends on inputs and seed alone."""

    @abc.abstractmethod
    def round(self, number: int) -> Figures:
        """Train for one round; returns its figures, such as the loss."""

    @abc.abstractmethod
    def result(self) -> Classifier:
        """The clusters of the trained network."""

    def run_round(self, number: int) -> Figures:
        """``round`` with its own random numbers; TrainingError if weights are no longer finite."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + number)
            self.network.train()
            figures = self.round(number)
        if not all(np.isfinite(value) for value in figures.values()):
            raise TrainingError(
                f"round {number + 1} ended in {figures}; train with a lower rate, or another seed."
            )
        return figures

    def state(self) -> dict[str, Tensor]:
        """The tensors that the next round starts from."""
        parts = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        parts |= {f"extra.{name}": value.detach() for name, value in self.extra.items()}
        return parts | (optimiser_tensors(self.optimiser) if self.optimiser else {})

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Bring the training to a state; KeyError or RuntimeError if it does not fit."""
        self.network.load_state_dict(select_prefix("network.", state))
        for name, value in select_prefix("extra.", state).items():
            self.extra[name].data.copy_(value)
        if self.optimiser:
            load_optimiser(self.optimiser, state)

    def codes(self, inputs: Tensor) -> Tensor:
        """Unit codes (B, dim, h, w) of a batch of inputs."""
        codes: Tensor = self.network(inputs.to(self.device))
        return unit(codes, dim=1)

    def batches(self, number: int) -> Iterator[list[int]]:
        """The photos of an epoch in an order of its own, in batches of nearly equal size."""
        order = np.random.default_rng([self.seed, 3, number]).permutation(self.inputs.count)
        parts = -(-self.inputs.count // self.plan.batch)
        return (part.tolist() for part in np.array_split(order, parts))

    def in_order(self) -> Iterator[list[int]]:
        """All photos, in batches, as they lie."""
        for start in range(0, self.inputs.count, self.plan.batch):
            yield list(range(start, min(start + self.plan.batch, self.inputs.count)))

    def optimise(self, loss: Tensor) -> float:
        """Take one step of the optimiser; returns the loss."""
        if self.optimiser is None:
            raise TrainingError(f"{self.plan.label} trains no network; it has no steps.")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(loss.detach())

    def parameters(self) -> list[dict[str, object]]:
        """Groups of what the optimiser changes; by default the network."""
        return [{"params": list(self.network.parameters()), "lr": self.plan.rate}]

    def head(self) -> str:
        """The kind of network on frozen features."""
        return "linear"

    def _architecture(self) -> BaselineArchitecture:
        if self.plan.network == "pyramid":
            return networks.describe_pyramid(self.plan.encoder, self.plan.dim)
        if self.plan.network == "shallow":
            return BaselineArchitecture("shallow", 3, self.plan.dim)
        kind = self.head()
        dim = self.inputs.channels if kind == "identity" else self.plan.dim
        return BaselineArchitecture(kind, self.inputs.channels, dim)

    def _optimiser(self) -> torch.optim.Optimizer | None:
        groups = [group for group in self.parameters() if group["params"]]
        return torch.optim.Adam(groups) if groups else None


def pixels(maps: Tensor) -> Tensor:
    """(B, d, h, w) to (B * h * w, d)."""
    return maps.movedim(1, -1).reshape(-1, maps.shape[1])
