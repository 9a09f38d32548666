"""Training curves: loss, learning rate, and validation mIoU if measured."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recoseg.errors import TrainingError, optional_import
from recoseg.io import durable
from recoseg.learning.plan import Plan


def check() -> None:
    """TrainingError unless matplotlib is installed."""
    with optional_import("curves need matplotlib", "train", TrainingError):
        import matplotlib.figure  # noqa: F401


def draw_curves(
    path: Path, losses: Sequence[float], plan: Plan, marks: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Write a PNG of the loss (raw and smoothed), the learning rate, and the marks if any.

    Raises:
        TrainingError: matplotlib is not installed.
    """
    check()
    from matplotlib.figure import Figure

    panels = 3 if marks else 2
    figure = Figure(figsize=(8, 2.6 * panels), layout="constrained")
    axes = figure.subplots(panels, 1, sharex=True)
    axes[0].plot(losses, color="0.8", linewidth=0.8)
    axes[0].plot(_smooth(losses), color="C0")
    axes[0].set_ylabel("cross-entropy")
    axes[1].plot([plan.head_rate * plan.rate(t) for t in range(len(losses))], label="head")
    axes[1].plot([plan.encoder_rate * plan.rate(t) for t in range(len(losses))], label="encoder")
    axes[1].set_ylabel("learning rate")
    axes[1].legend()
    if marks:
        iterations, scores = ([mark[key] for mark in marks] for key in ("iteration", "score"))
        axes[2].plot(iterations, scores, marker="o")
        axes[2].set_ylabel("mIoU, %")
    axes[-1].set_xlabel("iteration")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    durable.write(path, stream.getvalue())


def _smooth(losses: Sequence[float]) -> list[float]:
    """Mean of each loss and the last few before it, a twentieth of the whole."""
    width = max(1, len(losses) // 20)
    total = np.concatenate([[0.0], np.cumsum(losses)])
    ends = np.arange(1, len(losses) + 1)
    starts = np.maximum(ends - width, 0)
    return [float(v) for v in (total[ends] - total[starts]) / (ends - starts)]
