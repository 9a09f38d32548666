"""Distributed training: sums and batch norms over several processes.

The processes are those of torch's own launcher (``torchrun``); without it there is one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recoseg.models.registry import device_of


@dataclass(frozen=True)
class Team:
    """The processes that train together.

    Attributes:
        rank: of this process.
        world: how many there are.
        device: where this one computes.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the processes, in place."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world > 1:
            dist.barrier()


@contextlib.contextmanager
def join_processes(device: str | torch.device | None = None) -> Iterator[Team]:
    """The team that the launcher's environment describes: RANK, WORLD_SIZE, LOCAL_RANK."""
    chosen = device_of(device)
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if world == 1:
        yield Team(0, 1, chosen)
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
    # One process may label for hours while the others wait.
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(days=7))
    try:
        yield Team(rank, world, chosen)
    finally:
        dist.destroy_process_group()


class SharedNorm(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, on any device; torch's own needs CUDA."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same; an activation that timm put into the norm is applied."""
        x = self._normalise(x) if self.training else super().forward(x)
        for name in ("drop", "act"):
            after: Any = self._modules.get(name)
            x = x if after is None else after(x)
        return x

    def _normalise(self, x: Tensor) -> Tensor:
        values = x.float()
        number = torch.tensor(float(values.numel() // values.shape[1]), device=x.device)
        dist.all_reduce(number)
        mean = _sum(values.sum((0, 2, 3))) / number
        centred = values - mean[:, None, None]
        variance = _sum(centred.square().sum((0, 2, 3))) / number
        self._remember(mean.detach(), variance.detach() * number / (number - 1).clamp_min(1))
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        share: Any = self.momentum
        for kept, new in ((self.running_mean, mean), (self.running_var, variance)):
            if kept is not None:
                kept.lerp_(new, share)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


class _Sum(torch.autograd.Function):
    """Sum over the processes whose gradient is the sum of the processes' gradients."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def _sum(values: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(values)
    return total


def share_norms(network: nn.Module) -> None:
    """Put ``SharedNorm`` in the place of every batch norm, with the same parameters."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, _share(child))


def _share(norm: nn.BatchNorm2d) -> SharedNorm:
    shared = SharedNorm(norm.num_features, norm.eps, norm.momentum)
    shared.load_state_dict(norm.state_dict())
    for name, child in norm.named_children():
        setattr(shared, name, child)
    return shared.to(norm.weight.device).train(norm.training)
