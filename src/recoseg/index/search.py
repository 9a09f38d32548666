"""Exact cosine search over shards, block by block, in memory that does not grow with the index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recoseg.errors import InputError
from recoseg.index.ledger import Snapshot
from recoseg.index.shards import Rows, Shards
from recoseg.index.view import View
from recoseg.io.parallel import parallel_map
from recoseg.similarity import unit

BLOCK_BYTES = 16 * 2**20
SCORE_BYTES = 64 * 2**20
TILE = 512
THREADS = 8
# Rows are unit vectors rounded to fp16: a row's norm is within 2**-11 of 1, so a dot product is
# that close to the cosine, and two of them keep their order if they differ by twice that. The rest
# is for fp32 sums.
MARGIN = 2.0**-10 + 1e-5


class Hit(NamedTuple):
    """One image found: its id and its cosine with the query."""

    id: str
    score: float


# Query number, row and score of each row that may be among the best, sorted by query.
Survivors = tuple[Tensor, Tensor, Tensor]
# Rows and cosines of one query, best first.
Found = tuple[NDArray[np.int64], NDArray[np.float64]]
# Finds what each query is nearest to among rows of which a mask says which count.
Scan = Callable[[Shards, NDArray[np.bool_], Tensor, int], list[Found]]


def check_queries(queries: Tensor | NDArray[np.floating], k: int, dim: int, model: str) -> Tensor:
    """Unit (Q, ``dim``) of queries of any scale; InputError if they, or k, cannot be searched."""
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise InputError(f"k must be a whole number of at least 1, not {k!r}.")
    vectors = torch.as_tensor(queries).detach().to("cpu", torch.float32)
    if vectors.ndim != 2 or vectors.shape[1] != dim or not vectors.isfinite().all():
        raise InputError(
            f"queries must be finite numbers of shape (Q, {dim}), not {tuple(vectors.shape)}; "
            f"embed them with the index's model, {model!r}."
        )
    return unit(vectors)


def nearest(
    shards: Shards, alive: NDArray[np.bool_], queries: Tensor, k: int, first: int = 0
) -> list[Found]:
    """The rows of largest cosine with each query.

    Every row is scored in fp32; those that may be among the k best are scored again in fp64 from
    their stored values, so the result depends neither on the block size nor on the other queries,
    and equal rows get equal scores.

    Args:
        shards: the rows.
        alive: (rows,) False for rows to pass over.
        queries: (Q, d) unit vectors.
        k: at least 1.
        first: the row that ``alive`` begins with; it and those after it are searched.

    Returns:
        For each query the rows and their cosines, best first: all that reach the k-th best score,
        so more than k where scores tie there; fewer if fewer rows are alive.
    """
    queries = queries.to("cpu", torch.float32)
    k = min(k, int(alive.sum()))
    if not k or not len(queries):
        return [(np.empty(0, dtype=np.int64), np.empty(0)) for _ in queries]
    found = _find_candidates(shards, torch.from_numpy(alive), queries, k, first)
    exact = unit(queries.double()).numpy()
    return [
        _rank_rows(shards, rows + first, query, k) for rows, query in zip(found, exact, strict=True)
    ]


def search(
    view: View,
    queries: Tensor,
    k: int,
    exclude: Collection[str] = (),
    scan: Scan = nearest,
) -> list[list[Hit]]:
    """The k images of largest cosine with each query, equal scores in the order of ids.

    Args:
        view: ledger and rows.
        queries: (Q, d) unit vectors.
        k: at least 1.
        exclude: ids to pass over; a row is passed over when all its images are.
        scan: ``nearest``, or what equals it.
    """
    left_out = frozenset(exclude)
    alive = view.counts > 0
    entries = (view.snapshot.find(id) for id in left_out)
    for row, number in Counter(entry.row for entry in entries if entry is not None).items():
        alive[row] = view.counts[row] > number
    return [
        _hits(view.snapshot, rows, scores, left_out)[:k]
        for rows, scores in scan(view.shards, alive, queries, k)
    ]


def _hits(
    snapshot: Snapshot,
    rows: NDArray[np.int64],
    scores: NDArray[np.float64],
    left_out: frozenset[str],
) -> list[Hit]:
    names = snapshot.ids_at(rows.tolist())
    hits = [
        Hit(id, score)
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        for id in names[row]
        if id not in left_out
    ]
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))


def mean(shards: Shards, counts: NDArray[np.int32]) -> NDArray[np.float32]:
    """(d,) mean of the unit rows, each as often as ``counts`` (rows,) says; zeros if never."""
    total = np.zeros(shards.dim)
    for first, block in shards.blocks(len(counts), _rows(shards.dim, 1)):
        alive = counts[first : first + len(block)]
        weights = alive[alive > 0].astype(np.float32)
        rows = block[alive > 0].astype(np.float32)
        norms = np.maximum(np.linalg.norm(rows, axis=1), np.finfo(np.float32).tiny)
        total += (weights / norms) @ rows
    return (total / max(1, int(counts.sum()))).astype(np.float32)


def _find_candidates(
    shards: Shards, alive: Tensor, queries: Tensor, k: int, first: int
) -> list[NDArray[np.int64]]:
    """Rows, counted from ``first``, that may be among the k best of each query, by fp32."""
    best = torch.full((len(queries), k), -torch.inf)
    kept: list[Survivors] = []

    def scan(part: tuple[int, Rows]) -> Survivors:
        # The bound may be late by a block or two: then a few more rows survive, and none is lost.
        return _find_survivors(queries, part, alive, best[:, -1:], k)

    step = _rows(shards.dim, len(queries))
    found = shards.blocks(first + len(alive), step, first)
    blocks = ((begin - first, block) for begin, block in found)
    workers = min(THREADS, torch.get_num_threads())
    for query, row, score in parallel_map(scan, blocks, workers):
        kept.append((query, row, score))
        best = _raise_bounds(best, query, score)
        if sum(len(part[0]) for part in kept) > 4 * k * len(queries) + SCORE_BYTES // 64:
            kept = [_prune(kept, best[:, -1])]
    query, row, _ = _prune(kept, best[:, -1])
    counts = torch.bincount(query, minlength=len(queries)).tolist()
    return [part.numpy() for part in torch.split(row[query.argsort()], counts)]


def _find_survivors(
    queries: Tensor, part: tuple[int, Rows], alive: Tensor, bound: Tensor, k: int
) -> Survivors:
    """Rows of one block that reach a bound (Q, 1), or the block's own k-th best if that is more."""
    first, block = part
    scores = _dot(queries, torch.from_numpy(block))
    mask = alive[first : first + len(block)]
    if not mask.all():
        scores.masked_fill_(~mask, -torch.inf)
    if len(block) >= k:
        bound = torch.maximum(bound, scores.topk(k).values[:, -1:])
    query, column = ((scores >= bound - MARGIN) & mask).nonzero(as_tuple=True)
    return query, column + first, scores[query, column]


def _raise_bounds(best: Tensor, query: Tensor, found: Tensor) -> Tensor:
    """The k best scores of each query (Q, k), with those ``found``, which are sorted by query."""
    counts = torch.bincount(query, minlength=len(best))
    first = counts.cumsum(0) - counts
    table = torch.full((len(best), max(1, int(counts.max()))), -torch.inf)
    table[query, torch.arange(len(query)) - first[query]] = found
    return torch.cat([best, table], dim=1).topk(best.shape[1]).values


def _prune(kept: list[Survivors], floor: Tensor) -> Survivors:
    query, row, score = (torch.cat(parts) for parts in zip(*kept, strict=True))
    good = score >= floor[query] - MARGIN
    return query[good], row[good], score[good]


def _dot(queries: Tensor, rows: Tensor) -> Tensor:
    """(Q, n) products; converted tile by tile, which stays in the processor's cache."""
    scores = torch.empty(len(queries), len(rows))
    tile = torch.empty(min(TILE, len(rows)), rows.shape[1])
    for start in range(0, len(rows), TILE):
        piece = rows[start : start + TILE]
        fp32 = tile[: len(piece)].copy_(piece)
        scores[:, start : start + len(piece)] = (fp32 @ queries.T).T
    return scores


def _rank_rows(
    shards: Shards, rows: NDArray[np.int64], query: NDArray[np.float64], k: int
) -> Found:
    scores = np.empty(len(rows))
    for start in range(0, len(rows), TILE):
        part = shards.gather(rows[start : start + TILE]).astype(np.float64)
        norms = np.sqrt((part * part).sum(axis=1))
        dots = (part * query).sum(axis=1)
        scores[start : start + TILE] = dots / np.maximum(norms, np.finfo(np.float64).tiny)
    return pick_best(rows, scores, k)


def pick_best(rows: NDArray[np.int64], scores: NDArray[np.float64], k: int) -> Found:
    """The rows that reach the k-th best score, best first, equal scores in the order of rows."""
    order = np.lexsort((rows, -scores))
    rows, scores = rows[order], scores[order]
    if len(scores) > k:
        enough = scores >= scores[k - 1]
        rows, scores = rows[enough], scores[enough]
    return rows, scores


def _rows(dim: int, queries: int) -> int:
    """Rows per block: a few dozen megabytes of vectors and of scores."""
    return max(256, min(BLOCK_BYTES // (2 * dim), SCORE_BYTES // (4 * queries)))
