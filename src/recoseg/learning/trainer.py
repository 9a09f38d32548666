"""Optimiser steps on pseudo-labels (ReCo+, step 11)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from recoseg.errors import TrainingError
from recoseg.learning.augment import IGNORE
from recoseg.learning.plan import Plan
from recoseg.learning.sampling import CropBatch
from recoseg.learning.team import Team, share_norms
from recoseg.models.encoders import Encoder
from recoseg.similarity import upsample
from recoseg.student.deeplab import Architecture, Network, seed_draws


class Trainer:
    """A network in training; its state at an iteration depends on plan, seed and data alone.

    Attributes:
        network: what is trained.
        plan: how.
        seed: of dropout.
        team: the processes.
        iteration: steps done.
        losses: of each step, over the whole batch.
        weights: (C,) of the classes in the loss.
    """

    def __init__(
        self,
        network: Network,
        plan: Plan,
        seed: int,
        team: Team,
        shares: Sequence[float] | None = None,
    ) -> None:
        """Prepare for the first step; ``shares`` (C,) of the pixels per class are for balance."""
        check_batch(plan, team)
        self.network = network.to(team.device).to(memory_format=torch.channels_last)
        if plan.norm_momentum is not None:
            for module in self.network.encoder.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = plan.norm_momentum
        if team.world > 1:
            share_norms(self.network)
        self._averaging: AveragedModel | None = None
        if plan.average:
            self._averaging = AveragedModel(self.network, avg_fn=self._mix, use_buffers=True)
            self._averaging.requires_grad_(False)
        self.plan, self.seed, self.team = plan, seed, team
        self.iteration = 0
        self.losses: list[float] = []
        self.weights = balance_weights(shares or [1.0] * _classes(network), plan.balance).to(
            team.device
        )
        self.optimiser = _optimiser(self.network, plan)
        self._dtype = _dtype(plan, team.device)
        self._forward: nn.Module = self.network
        if team.world > 1:
            self._forward = nn.parallel.DistributedDataParallel(self.network)

    @property
    def average(self) -> Network | None:
        """The moving average of the network's weights and buffers, None if the plan has none."""
        return None if self._averaging is None else cast(Network, self._averaging.module)

    @property
    def result(self) -> Network:
        """The network to keep: the average if there is one."""
        return self.network if self.average is None else self.average

    def step(self, batch: CropBatch) -> float:
        """One update from this process's share of the batch; the loss over the whole batch.

        Raises:
            TrainingError: the loss or the gradient is not finite; the weights are as before.
        """
        pixels, labels = (tensor.to(self.team.device) for tensor in batch)
        self._begin()
        valid = self.team.sum(self.weights[labels[labels != IGNORE].long()].sum()).clamp_min(1)
        total = torch.zeros((), device=self.team.device)
        parts = list(
            zip(pixels.chunk(self.plan.accumulate), labels.chunk(self.plan.accumulate), strict=True)
        )
        # Dropout is drawn from the iteration, so that a resumed run draws the same.
        seed = (self.seed * 1_000_003 + self.iteration) * 1009 + self.team.rank
        with seed_draws(seed, self.team.device):
            for i, (part, truth) in enumerate(parts):
                with self._sync(last=i == len(parts) - 1):
                    loss = self._loss(part, truth) / valid
                    # The processes' gradients are averaged; the loss is a sum over all of them.
                    (loss * self.team.world).backward()  # type: ignore[no-untyped-call]
                total += loss.detach()
        value = float(self.team.sum(total))
        self._check(value)
        self.optimiser.step()
        self._follow()
        self.losses.append(value)
        self.iteration += 1
        return value

    def _begin(self) -> None:
        self.network.train()
        if self.plan.frozen_norms:
            for module in self.network.encoder.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        rate = self.plan.rate(self.iteration)
        for group, base in zip(
            self.optimiser.param_groups, (self.plan.head_rate, self.plan.encoder_rate), strict=True
        ):
            group["lr"] = max(base * rate, self.plan.least_rate)
        self.optimiser.zero_grad(set_to_none=True)

    def _loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        device = self.team.device.type
        enabled = self._dtype != torch.float32
        pixels = (pixels.float() / 255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, self._dtype, enabled=enabled):
            logits = self._forward(pixels)
        size = (int(labels.shape[-2]), int(labels.shape[-1]))
        whole = upsample(logits.float(), size)
        return F.cross_entropy(
            whole, labels.long(), self.weights, ignore_index=IGNORE, reduction="sum"
        )

    def _sync(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        if isinstance(self._forward, nn.parallel.DistributedDataParallel) and not last:
            return self._forward.no_sync()
        return contextlib.nullcontext()

    def _check(self, loss: float) -> None:
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        size = float(torch.nn.utils.get_total_norm(gradients))
        if not (math.isfinite(loss) and math.isfinite(size)):
            raise TrainingError(
                f"the loss is {loss} and its gradient {size} at iteration {self.iteration}; the "
                "last checkpoint is intact: lower head_rate and encoder_rate, or set precision to "
                "float32, in a new folder."
            )

    def _follow(self) -> None:
        if self._averaging is not None:
            # At nought it would copy, and a continued run begins at nought.
            self._averaging.n_averaged.fill_(1)
            self._averaging.update_parameters(self.network)

    def _mix(self, kept: Tensor, new: Tensor, _: Tensor | int) -> Tensor:
        # The average of a short past at first, because the beginning is worth forgetting.
        decay = min(self.plan.average, (1 + self.iteration) / (10 + self.iteration))
        return kept.lerp(new, 1 - decay) if kept.is_floating_point() else new


def check_batch(plan: Plan, team: Team) -> None:
    """TrainingError unless the processes can share a batch in equal parts."""
    parts = team.world * plan.accumulate
    if plan.batch % parts:
        raise TrainingError(
            f"a batch of {plan.batch} cannot be shared by {team.world} processes with "
            f"{plan.accumulate} parts each; choose a multiple of {parts}."
        )


def architecture_of(plan: Plan, encoder: Encoder, classes: int) -> Architecture:
    """The network that a plan trains on an encoder for so many classes."""
    return Architecture(
        encoder.name,
        plan.output_stride,
        plan.channels,
        plan.dropout,
        classes,
        encoder.mean,
        encoder.std,
        plan.short_side,
        plan.head,
    )


def _classes(network: Network) -> int:
    head: Any = network.head
    return int(head.out_channels)


def balance_weights(shares: Sequence[float], balance: float) -> Tensor:
    """Weights (C,) of classes with shares f of the pixels: f ** -balance, 1 in the mean pixel.

    A class without pixels weighs 1; it is in no loss.
    """
    found = torch.tensor(shares, dtype=torch.float64)
    present = found > 0
    if not present.any():
        return torch.ones(len(found))
    share = found[present] / found.sum()
    weights = torch.ones_like(found)
    weights[present] = share**-balance / (share ** (1 - balance)).sum()
    return weights.float()


def _optimiser(network: Network, plan: Plan) -> torch.optim.Optimizer:
    inside = {id(p) for p in network.encoder.parameters()}
    head = [p for p in network.parameters() if id(p) not in inside]
    groups = [
        {"params": head, "lr": plan.head_rate},
        {"params": list(network.encoder.parameters()), "lr": plan.encoder_rate},
    ]
    return torch.optim.Adam(groups, weight_decay=plan.weight_decay)


def _dtype(plan: Plan, device: torch.device) -> torch.dtype:
    """bfloat16 where it was asked for, or where a GPU computes in it.

    On CPUs with AVX-512 bf16 these networks were no faster than in float32, so it is not chosen.
    """
    if plan.precision != "auto":
        return torch.bfloat16 if plan.precision == "bfloat16" else torch.float32
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float32
