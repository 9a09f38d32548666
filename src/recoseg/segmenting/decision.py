"""From probabilities to labels: at which size, which concept wins, and what is too weak for any."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recoseg.concepts.bank import ConceptBank
from recoseg.concepts.concept import SHARES
from recoseg.errors import BankError, InputError
from recoseg.io.images import RGB
from recoseg.segmenting.scoremaps import ScoreMaps
from recoseg.similarity import upsample, upsample_rows

WORKING_PIXELS = 640_000
_BAND = 256


def working_size(image: RGB) -> tuple[int, int]:
    """(H, W) at which scores and the CRF are computed: the image's own, up to 0.64 megapixels."""
    height, width = image.shape[:2]
    shrink = min(1.0, (WORKING_PIXELS / (height * width)) ** 0.5)
    rows, columns = max(1, round(height * shrink)), max(1, round(width * shrink))
    return min(rows, WORKING_PIXELS), min(columns, WORKING_PIXELS)


def pick_winners(
    probabilities: Tensor, size: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Argmax of (C, h, w) and its probability at ``size``, by bands of rows if larger."""
    if tuple(probabilities.shape[-2:]) == size:
        confidence, labels = probabilities.max(dim=0)
        return labels.cpu().numpy(), confidence.cpu().numpy()
    bands = (slice(top, min(size[0], top + _BAND)) for top in range(0, size[0], _BAND))
    parts = [upsample_rows(probabilities, size, band).max(dim=0) for band in bands]
    labels = torch.cat([part.indices for part in parts])
    return labels.cpu().numpy(), torch.cat([part.values for part in parts]).cpu().numpy()


def probability(
    probabilities: Tensor, labels: NDArray[np.int64], size: tuple[int, int]
) -> NDArray[np.float32]:
    """(H, W) of (C, h, w) probabilities, that of each pixel's label; by bands of rows if larger."""
    chosen = torch.from_numpy(labels)[None].to(probabilities.device)
    if tuple(probabilities.shape[-2:]) == size:
        return probabilities.gather(0, chosen)[0].cpu().numpy()
    bands = (slice(top, min(size[0], top + _BAND)) for top in range(0, size[0], _BAND))
    parts = [upsample_rows(probabilities, size, b).gather(0, chosen[:, b])[0] for b in bands]
    return torch.cat(parts).cpu().numpy()


def mass(maps: ScoreMaps, chosen: Tensor, temperature: float, size: tuple[int, int]) -> Tensor:
    """(1, H, W) probability that the concepts left out leave to the chosen ones."""
    everything = torch.softmax(maps.at(maps.grid) / temperature, dim=0)
    return upsample(everything[chosen].sum(dim=0, keepdim=True)[None], size)[0]


def medians(bank: ConceptBank) -> Tensor | None:
    """(C,) each concept's median score over the archive; None if not all were calibrated so."""
    if any(concept.levels is None for concept in bank.concepts):
        return None
    return limits(bank, 0.5)


def level(values: Tensor, chosen: Tensor) -> Tensor:
    """(len(chosen), 1, 1) the values (C,) of some concepts, to be taken off their maps."""
    return values.to(chosen.device)[chosen][:, None, None]


def find_unknown(labels: NDArray[np.int64], scores: Tensor, limits: Tensor) -> NDArray[np.bool_]:
    """Where the working-grid score of a pixel's label is below that label's limit."""
    failed = (scores.cpu() < limits[:, None, None]).numpy()
    height, width = labels.shape
    rows = np.arange(height) * failed.shape[1] // height
    columns = np.arange(width) * failed.shape[2] // width
    return np.asarray(failed[labels, rows[:, None], columns[None]])


def limits(bank: ConceptBank, strictness: float | None = None) -> Tensor:
    """(C,) scores below which a pixel shows none of the concepts.

    Args:
        bank: the concepts.
        strictness: the share of an archive's pixels that must score lower, 0.5 to 0.99; None for
            the concepts' own thresholds.

    Raises:
        InputError: a strictness out of that range.
        BankError: a concept was never calibrated.
    """
    if strictness is not None and not SHARES[0] <= strictness <= SHARES[-1]:
        raise InputError(
            f"strictness must lie between {SHARES[0]} and {SHARES[-1]}, not {strictness!r}."
        )
    found = {
        c.name: c.threshold if strictness is None else c.level(strictness) for c in bank.concepts
    }
    missing = [name for name, limit in found.items() if limit is None]
    if missing and strictness is not None:
        raise BankError(
            f"{missing[0]!r} has no levels, which a strictness needs; calibrate the bank again "
            "with recoseg.calibrate(bank, index), which keeps its thresholds."
        )
    if missing:
        raise BankError(
            f"{missing[0]!r} has no threshold, which 'unknown' and a shortlist need; calibrate "
            "the bank on an archive with recoseg.calibrate(bank, index)."
        )
    return torch.tensor([float(limit or 0.0) for limit in found.values()])
