"""Segmentation metrics: confusion matrix, IoU, accuracy, boundary IoU, matching.

Label maps are integers (H, W): a truth's are classes 0 .. C - 1 or VOID, which does not count; a
prediction's are 0 .. P - 1 or VOID, which is no class at all ("unknown") and never right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoseg.errors import InputError

VOID = -1
BOUNDARY = 0.02

Labels = NDArray[np.integer[Any]]
Matrix = NDArray[np.int64]
Shares = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Counts:
    """Pixel counts of one or many images; counts of images are added.

    Attributes:
        confusion: (C, P + 1) pixels by truth and prediction; the last column is "no class".
        shared: the same of the pixels that lie in the boundary bands of both.
        truth_band: (C,) pixels in the truth's band.
        predicted_band: (P + 1,) pixels in the prediction's band.
    """

    confusion: Matrix
    shared: Matrix
    truth_band: Matrix
    predicted_band: Matrix

    @classmethod
    def none(cls, classes: int, predictions: int) -> Counts:
        """Counts of no image: all zero."""
        square = np.zeros((classes, predictions + 1), np.int64)
        return cls(square, square, square[:, 0], square[0])

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.confusion + other.confusion,
            self.shared + other.shared,
            self.truth_band + other.truth_band,
            self.predicted_band + other.predicted_band,
        )

    def take(self, columns: NDArray[np.int64]) -> Counts:
        """Counts whose prediction c is that of column ``columns[c]``; VOID for none.

        What the other columns hold counts as "no class".
        """
        named = columns[columns != VOID]
        if len(set(named.tolist())) < len(named):
            raise InputError("a prediction is taken for two classes; take each once.")
        return Counts(
            _take_columns(self.confusion, columns),
            _take_columns(self.shared, columns),
            self.truth_band,
            _take_columns(self.predicted_band[None], columns)[0],
        )


@dataclass(frozen=True, eq=False)
class Scores:
    """Metrics of counts (C, C + 1), as fractions; NaN where undefined.

    Attributes:
        miou: mean of ``iou``.
        accuracy: share of pixels that are right.
        fw_iou: mean of ``iou`` weighted by the pixels of the truth.
        boundary_iou: mean of ``boundary``.
        iou: (C,) intersection over union; NaN for a class neither present nor predicted, so that
            it is left out of the mean, and 0 for one that is predicted but absent.
        recall: (C,) share of a class's pixels that are right.
        boundary: (C,) IoU of the boundary bands (Cheng et al. 2021).
    """

    miou: float
    accuracy: float
    fw_iou: float
    boundary_iou: float
    iou: Shares
    recall: Shares
    boundary: Shares


def count(truth: Labels, predicted: Labels, classes: int, predictions: int) -> Counts:
    """Counts of one image.

    Args:
        truth: (H, W) in -1 .. C - 1.
        predicted: (H, W) in -1 .. P - 1.
        classes: C.
        predictions: P.
    """
    if truth.shape != predicted.shape:
        raise InputError(f"truth is {truth.shape} and prediction {predicted.shape}; resize one.")
    valid = truth != VOID
    # A border with void is a border of both, else a perfect prediction would miss it.
    seen = np.where(valid, np.where(predicted == VOID, predictions, predicted), VOID)
    _check("truth", truth, classes)
    _check("prediction", seen, predictions + 1)
    distance = max(1, round(BOUNDARY * math.hypot(*truth.shape)))
    true_band, seen_band = band(truth, distance) & valid, band(seen, distance) & valid
    shape, both = (classes, predictions + 1), true_band & seen_band
    return Counts(
        _table(truth[valid], seen[valid], shape),
        _table(truth[both], seen[both], shape),
        np.bincount(truth[true_band], minlength=classes),
        np.bincount(seen[seen_band], minlength=predictions + 1),
    )


def band(labels: Labels, distance: int) -> NDArray[np.bool_]:
    """Pixels within ``distance`` (rows or columns) of another label or of the image's border.

    For each class this is its mask less the mask eroded ``distance`` times by a 3 x 3 square.
    """
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    outside = int(labels.min()) - 1
    low = high = np.ascontiguousarray(labels, dtype=np.int32)
    for axis in (0, 1):
        low = minimum_filter1d(low, 2 * distance + 1, axis, mode="constant", cval=outside)
        high = maximum_filter1d(high, 2 * distance + 1, axis, mode="constant", cval=outside)
    different: NDArray[np.bool_] = low != high
    return different


def scores(counts: Counts) -> Scores:
    """Compute the metrics of counts (C, C + 1)."""
    confusion = counts.confusion
    classes = len(confusion)
    if confusion.shape[1] != classes + 1:
        raise InputError(f"{confusion.shape} counts are not (C, C + 1); match the predictions.")
    hits = np.diagonal(confusion)
    pixels, predicted = confusion.sum(axis=1), confusion.sum(axis=0)[:classes]
    iou = _ratio(hits, pixels + predicted - hits)
    inside = np.diagonal(counts.shared)
    boundary = _ratio(inside, counts.truth_band + counts.predicted_band[:classes] - inside)
    total = int(pixels.sum())
    return Scores(
        miou=_mean(iou),
        accuracy=int(hits.sum()) / total if total else math.nan,
        fw_iou=float(np.nansum(iou * pixels)) / total if total else math.nan,
        boundary_iou=_mean(boundary),
        iou=iou,
        recall=_ratio(hits, pixels),
        boundary=boundary,
    )


def hungarian(confusion: Matrix) -> NDArray[np.int64]:
    """The cluster of each class that together give the most right pixels.

    Args:
        confusion: (C, P + 1) of classes and unnamed clusters; the last column stays "no class".

    Returns:
        (C,) cluster of each class; VOID where there are fewer clusters than classes. Clusters in
        excess are not matched.
    """
    from scipy.optimize import linear_sum_assignment

    columns = np.full(len(confusion), VOID, np.int64)
    rows, matched = linear_sum_assignment(confusion[:, :-1], maximize=True)
    columns[rows] = matched
    return columns


def _table(truth: Labels, predicted: Labels, shape: tuple[int, int]) -> Matrix:
    flat = truth.astype(np.int64) * shape[1] + predicted
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)


def _check(role: str, labels: Labels, count: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < VOID or high >= count:
        found = low if low < VOID else high
        raise InputError(f"the {role} holds the label {found}; labels go from 0 to {count - 1}.")


def _take_columns(table: Matrix, columns: NDArray[np.int64]) -> Matrix:
    found = columns != VOID
    kept = np.zeros((len(table), len(columns) + 1), np.int64)
    kept[:, :-1][:, found] = table[:, columns[found]]
    kept[:, -1] = table.sum(axis=1) - kept.sum(axis=1)
    return kept


def _ratio(part: Matrix, whole: Matrix) -> Shares:
    result = np.full(len(whole), math.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def _mean(values: Shares) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
