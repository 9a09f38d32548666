"""From directions of known words to a direction of any text: a Gaussian process in closed form."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from recoseg.models.alignment import SHARPNESS
from recoseg.models.alignment import directions as directions_of
from recoseg.models.minilm import MiniLM
from recoseg.models.packaged import TEXT_WEIGHTS
from recoseg.models.prompts import LITE
from recoseg.similarity import unit
from training.photos import Matrix

NOISE = 3.0
TEXT_SIDE = ("projection", "anchors", "coefficients", "text_mean")


def embed(names: Sequence[str]) -> Matrix:
    """Unit sentence embeddings (len(names), 384), the mean over ``lite``'s templates."""
    encoder = MiniLM(TEXT_WEIGHTS.find().parent, torch.device("cpu"))
    prompts = [form.replace("{}", name) for name in names for form in LITE]
    embedded = encoder.embed(prompts).view(len(names), len(LITE), -1).mean(dim=1)
    return unit(embedded).double().numpy()


def merge(
    names: Sequence[str], directions: Matrix, weights: Matrix
) -> tuple[list[str], Matrix, Matrix]:
    """Names that repeat as one: the weighted mean of their directions, the sum of their weights.

    The regression's solution is the same, and its matrix smaller.
    """
    places = {name: i for i, name in enumerate(dict.fromkeys(names))}
    at = np.array([places[name] for name in names])
    total = np.bincount(at, weights)
    summed = np.zeros((len(places), directions.shape[1]))
    np.add.at(summed, at, directions * weights[:, None])
    return list(places), summed / total[:, None], total


def fit(text: Matrix, directions: Matrix, weights: Matrix) -> dict[str, Tensor]:
    """The posterior mean of a Gaussian process from unit text embeddings to directions.

    The kernel of texts a and b is (a - m)(b - m) + exp(SHARPNESS (a b - 1)), m the weighted mean;
    the variance of a direction's noise is NOISE / weight.

    Args:
        text: (N, 384), all different.
        directions: (N, 1280).
        weights: (N,), positive.

    Returns:
        The tensors of ``Alignment`` that concern texts.
    """
    mean = np.average(text, axis=0, weights=weights)
    centred = text - mean
    kernel = centred @ centred.T + np.exp(SHARPNESS * (text @ text.T - 1))
    coefficients = np.linalg.solve(kernel + np.diag(NOISE / weights), directions)
    found = {
        "projection": centred.T @ coefficients,
        "anchors": text,
        "coefficients": coefficients,
        "text_mean": mean,
    }
    return {name: torch.from_numpy(array).contiguous() for name, array in found.items()}


def text_side(head: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """The fitted function, from unit sentence embeddings (T, 384) to unit directions (T, 1280)."""
    tensors = {name: head[name].float() for name in TEXT_SIDE}
    return functools.partial(directions_of, **tensors)
