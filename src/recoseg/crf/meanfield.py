"""Mean-field inference of a fully connected CRF: any points, any Potts kernels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from recoseg.crf.lattice import Lattice
from recoseg.io.parallel import threads
from recoseg.io.progress import Step, quiet_step

_CLASSES = 32


# A caller's inference mode is not that of the thread that does the updates.
@torch.inference_mode(mode=False)
@torch.no_grad()
def mean_field(
    unary: Tensor,
    kernels: Sequence[tuple[float, Lattice]],
    iterations: int,
    step: Step = quiet_step,
) -> Tensor:
    """Mean-field inference with Potts potentials (algorithm 1 of the paper, updated in parallel).

    Args:
        unary: (C, n) float32, logits of the unary potentials; finite, of any range.
        kernels: weight and filter of each pairwise potential of the n points.
        iterations: updates of all points.
        step: called after each.

    Returns:
        (C, n) float32, marginal probabilities.
    """
    _retain_memory()
    filters = [kernel.scale(weight) for weight, kernel in kernels if weight]
    # A block of classes at a time stays in cache.
    parts = (unary - unary.amax(0)).tensor_split(-(-len(unary) // _CLASSES))
    blocks = [part.t().contiguous() for part in parts]
    marginals = [torch.empty_like(block) for block in blocks]
    _softmax(blocks, marginals)

    @torch.no_grad()
    def update() -> None:
        _softmax(
            [_logits(*pair, filters) for pair in zip(blocks, marginals, strict=True)], marginals
        )

    _repeat(update, iterations if filters else 0, step)
    return torch.cat([block.t() for block in marginals])


def _retain_memory() -> None:
    # glibc holds on to freed memory up to twice the largest block it has seen freed (at most
    # 32 MiB); else it would return the filters' results to the system and fetch them anew, page
    # by page, at every step. Elsewhere this does nothing.
    torch.empty((32 << 20) - (1 << 16), dtype=torch.uint8, device="cpu")


def _repeat(update: Callable[[], None], times: int, step: Step) -> None:
    """Call ``update``, each time by all of torch's threads or by one, as was faster last.

    On a busy machine a team of threads waits for its last member at every operation, and takes
    several times longer than one thread. The results are the same to the bit.
    """
    if torch.get_num_threads() == 1:
        for _ in range(times):
            update()
            step()
        return
    with threads(1) as pool:
        ways = [lambda: pool.submit(update).result(), update]
        seconds = [0.0, 0.0]
        for _ in range(times):
            way = seconds.index(min(seconds))
            start = time.perf_counter()
            ways[way]()
            seconds[way] = time.perf_counter() - start
            step()


def _logits(unary: Tensor, marginals: Tensor, filters: Sequence[Lattice]) -> Tensor:
    """Unary and messages of a block of classes, (n, c)."""
    logits = unary
    for kernel in filters:
        logits = kernel.filter(marginals).add_(logits)
    return logits


def _softmax(logits: list[Tensor], out: list[Tensor]) -> None:
    """Softmax over the columns of all blocks (n, c) together, into ``out``."""
    total = _exponentials(logits, out)
    # Messages are not negative, so the largest logit is at least that of the unary, 0: there is no
    # underflow, and overflow takes weights far above the usual.
    if not math.isfinite(total.sum()):
        peak = torch.stack([logit.amax(1) for logit in logits]).amax(0).unsqueeze(1)
        total = _exponentials([logit - peak for logit in logits], out)
    for block in out:
        block.div_(total.unsqueeze(1))


def _exponentials(logits: list[Tensor], out: list[Tensor]) -> Tensor:
    """Exponentials of all blocks into ``out``; their sum over all columns, (n,)."""
    sums = []
    with np.errstate(over="ignore"):
        for logit, block in zip(logits, out, strict=True):
            np.exp(logit.numpy(), out=block.numpy())
            sums.append(block @ block.new_ones(block.shape[1]))
    return sums[0] if len(sums) == 1 else torch.stack(sums).sum(0)
