"""High-dimensional Gaussian filtering on a sparse permutohedral lattice, in linear time.

Adams, Baek and Davis 2010, "Fast High-Dimensional Filtering Using the Permutohedral Lattice":
every point is spread over the d + 1 corners of the simplex that holds it (splat), the corners are
blurred along the d + 1 lattice directions, and the points read their corners back (slice). Each
step is a fixed sparse matrix, so that filtering any number of channels is a few sparse products.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from recoseg.crf.hash_table import Ints, Keys, KeyTable

Floats = NDArray[np.float32]

_BLOCK = 1 << 14
# Odd multipliers without structure: a corner's key is the dot product of its coordinates with
# them, modulo 2^64, so that a step on the lattice is an addition of keys and no range of
# coordinates overflows. Two of a million corners share a key with probability 3e-8.
_MULTIPLIERS = np.random.default_rng(2010).integers(1 << 63, size=16, dtype=np.uint64) * 2 + 1


@dataclass(frozen=True)
class Sparse:
    """A sparse matrix (rows, columns); entries of row r are at ``starts[r] : starts[r + 1]``."""

    starts: Tensor
    columns: Tensor
    weights: Tensor

    def __matmul__(self, x: Tensor) -> Tensor:
        """Product with x (columns, C), float32; (rows, C)."""
        return F.embedding_bag(
            self.columns,
            x,
            self.starts,
            mode="sum",
            per_sample_weights=self.weights,
            include_last_offset=True,
        )


@dataclass(frozen=True)
class Lattice:
    """The Gaussian filter of one set of points.

    Attributes:
        splat: (m, n) matrix from points to lattice corners.
        blurs: (m, m) matrices, applied in this order.
        slice: (n, m) matrix from corners back to points.
    """

    splat: Sparse
    blurs: tuple[Sparse, ...]
    slice: Sparse

    def filter(self, x: Tensor) -> Tensor:
        """The filtered x (n, C) float32, same shape."""
        values = self.splat @ x
        for blur in self.blurs:
            values = blur @ values
        return self.slice @ values

    def scale(self, factor: float) -> Lattice:
        """The same filter times a constant."""
        return replace(self, slice=replace(self.slice, weights=self.slice.weights * factor))


def build(features: Floats) -> Lattice:
    """The filter of n points by exp(-|f_i - f_j|^2 / 2), normalised symmetrically.

    With K the filter's matrix and D = diag(K 1), it is D^-1/2 K D^-1/2. Built by as many threads
    as torch uses.

    Args:
        features: (d, n) float32 in standard deviations; d at most 16, |f| below about 1e6.
    """
    d, n = features.shape
    # The customary implementation works on four points at a time and fills up with the origin,
    # whose corners, though empty, link others. Doing so too, results agree to rounding.
    features = np.pad(features, [(0, 0), (0, -n % 4)])
    keys: Keys = np.empty((features.shape[1], d + 1), np.uint64)
    weights: Floats = np.empty((features.shape[1], d + 1), np.float32)

    def embed(start: int) -> None:
        rows = slice(start, start + _BLOCK)
        _embed(features[:, rows], keys[rows], weights[rows])

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(embed, range(0, len(keys), _BLOCK)))
        table = KeyTable.of(keys.ravel())
        neighbours = list(pool.map(table.neighbours, _steps(d)))
        blurs = tuple(pool.map(_blur, (neighbours[i : i + 2] for i in range(0, d + 1, 2))))
    corners = table.members.reshape(keys.shape)[:n]
    return _assemble(corners, weights[:n], blurs, len(table.keys))


def _embed(features: Floats, keys: Keys, weights: Floats) -> None:
    """Corners' keys and barycentric weights of points (d, n), into (n, d + 1) arrays.

    Section 3.1 of the paper: corner k of a simplex has coordinates that are k modulo d + 1; it is
    reached from corner k - 1 by a step of all ones, less d + 1 at the coordinate of rank
    d + 1 - k among the differences to corner 0.
    """
    d, n = features.shape
    lifted = _lift(features)
    corner, rank = _nearest(lifted)
    place = rank * np.int32(n) + np.arange(n, dtype=np.int32)
    ordered = np.empty((d + 1) * n, np.float32)
    ordered[place] = (lifted - corner * np.float32(d + 1)) * np.float32(1 / (d + 1))
    falling = ordered.reshape(d + 1, n)
    weights[:, 0] = 1 + falling[d] - falling[0]
    weights[:, 1:] = (falling[:-1] - falling[1:])[::-1].T
    steps = np.empty((d + 1) * n, np.uint64)
    steps[place] = _steps(d)[:, None]
    moves = steps.reshape(d + 1, n)
    units = _MULTIPLIERS[:d] * np.uint64(d + 1)
    keys[:, 0] = (corner[:d].astype(np.int64).view(np.uint64) * units[:, None]).sum(0)
    for k in range(1, d + 1):
        np.add(keys[:, k - 1], moves[d + 1 - k], out=keys[:, k])


def _lift(features: Floats) -> Floats:
    """(d, n) points to (d + 1, n) points of zero coordinate sum, isometric up to the scale.

    The scale gives splat, blur and slice together unit variance.
    """
    d, n = features.shape
    lifted = np.empty((d + 1, n), np.float32)
    total = np.zeros(n, np.float32)
    # Rounded to float32 before it is used: points on the border of two simplices then fall to the
    # side that single-precision implementations give them, and results can be compared.
    scale = np.float32(np.sqrt(2 / 3) * (d + 1))
    for i in range(d, 0, -1):
        scaled = features[i - 1] * np.float32(scale / np.sqrt(i * (i + 1)))
        lifted[i] = total - i * scaled
        total += scaled
    lifted[0] = total
    return lifted


def _nearest(lifted: Floats) -> tuple[Floats, Ints]:
    """Corner 0 of the simplices of lifted points in units of d + 1, and the differences' ranks."""
    size, n = lifted.shape
    corner = np.rint(lifted * np.float32(1 / size))
    excess = corner.sum(0)
    difference = lifted - corner * np.float32(size)
    count = np.zeros((size, n), np.int8)
    for i in range(size):
        for j in range(i + 1, size):
            less = difference[i] < difference[j]
            count[i] += less
            count[j] += ~less
    rank = count.astype(np.int32) + excess.astype(np.int32)
    # Where rounding left the plane, the coordinates that it moved furthest go back by one.
    wrap = (rank < 0).astype(np.int32) - (rank >= size)
    return corner + wrap.astype(np.float32), rank + wrap * size


def _steps(d: int) -> Keys:
    """Key of one step along each of the d + 1 directions: all ones, but -d at one coordinate."""
    multipliers = _MULTIPLIERS[:d]
    total: np.uint64 = multipliers.sum()
    return total - np.append(multipliers, np.uint64(0)) * np.uint64(d + 1)


def _blur(directions: Sequence[tuple[Ints, Ints]]) -> Sparse:
    """The blur by 1/2, 1, 1/2 along some directions in turn; absent corners count as zero."""
    m = len(directions[0][0]) - 1
    columns = np.arange(m, dtype=np.int32)[None]
    weights = np.ones(1, np.float32)
    for ahead, behind in reversed(directions):
        columns = np.concatenate([columns, ahead[columns], behind[columns]])
        weights = np.concatenate([weights, weights / 2, weights / 2])
    columns = columns.T.reshape(-1)
    present = columns < m
    starts = np.zeros(m + 1, np.int32)
    starts[1:] = np.cumsum(present, dtype=np.int32)[len(weights) - 1 :: len(weights)]
    kept = np.flatnonzero(present)
    return _sparse(starts, columns[kept], np.tile(weights, m)[kept])


def _assemble(corners: Ints, weights: Floats, blurs: tuple[Sparse, ...], m: int) -> Lattice:
    """The lattice with D^-1/2 folded into both ends."""
    n, size = corners.shape
    starts = np.arange(0, n * size + 1, size, dtype=np.int32)
    reading = csr_array((weights.reshape(-1), corners.reshape(-1), starts), shape=(n, m))
    values = reading.T @ np.ones(n, np.float32)
    for blur in blurs:
        parts = (blur.weights.numpy(), blur.columns.numpy(), blur.starts.numpy())
        values = csr_array(parts, shape=(m, m)) @ values
    reading.data /= np.sqrt(reading @ values).repeat(size)
    splat = reading.tocsc()
    return Lattice(
        _sparse(splat.indptr, splat.indices, splat.data),
        blurs,
        _sparse(reading.indptr, reading.indices, reading.data),
    )


def _sparse(starts: Ints, columns: Ints, weights: Floats) -> Sparse:
    return Sparse(*map(torch.from_numpy, (starts, columns, weights)))
