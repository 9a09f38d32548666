"""Exact search of many queries by many machines: each scans rows of its own, the best are merged.

Every score is computed from a row's stored values alone, so what is found does not depend on how
the rows are shared out.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recoseg.errors import RecosegError
from recoseg.index import search
from recoseg.index.blocks import BlockRecord, CheckedShards
from recoseg.index.search import Found, Scan
from recoseg.index.shards import Shards
from recoseg.io.machines import Cluster


class ShardRows(NamedTuple):
    """Rows of one shard file from row ``first`` of the index on.

    ``alive`` has a bit for each of ``number`` rows, ``sealed`` the records of their blocks, None if
    nothing is to be verified.
    """

    first: int
    number: int
    alive: bytes
    sealed: list[BlockRecord] | None


@dataclass(frozen=True)
class SearchRows:
    """A machine's work: the nearest of some rows."""

    shards: Shards
    queries: Tensor
    k: int

    def __call__(self, rows: ShardRows) -> list[Found]:
        """As ``search.nearest``; RecosegError if the rows are not seen from here."""
        shards = self.shards
        if not shards.folder.is_dir():
            raise RecosegError(
                f"{shards.folder} is not seen from {socket.gethostname()}; put the index on a "
                "drive that all nodes have under the same path."
            )
        if rows.sealed is not None:
            shards = CheckedShards(shards.folder, shards.dim, shards.size, rows.sealed, None)
        bits = np.unpackbits(np.frombuffer(rows.alive, np.uint8), count=rows.number)
        return search.nearest(shards, bits.astype(bool), self.queries, self.k, rows.first)


def scan_on(cluster: Cluster | None) -> Scan:
    """``search.nearest``, or the one that a cluster does."""
    return search.nearest if cluster is None else functools.partial(nearest, cluster=cluster)


def nearest(
    shards: Shards, alive: NDArray[np.bool_], queries: Tensor, k: int, cluster: Cluster
) -> list[Found]:
    """As ``search.nearest``, which this equals, scanned by a cluster shard by shard."""
    work = SearchRows(Shards(shards.folder.absolute(), shards.dim, shards.size), queries, k)
    if not len(queries):
        return []
    best: list[Found] = [(np.empty(0, dtype=np.int64), np.empty(0)) for _ in queries]
    for found in cluster.map(work, _share_out(shards, alive)):
        best = [_merge(*pair, k) for pair in zip(best, found, strict=True)]
    return best


def _share_out(shards: Shards, alive: NDArray[np.bool_]) -> Iterator[ShardRows]:
    known: dict[int, list[BlockRecord]] = {}
    sealed = shards.sealed if isinstance(shards, CheckedShards) else None
    for block in sealed or ():
        known.setdefault(block.first // shards.size, []).append(block)
    for first in range(0, len(alive), shards.size):
        here = alive[first : first + shards.size]
        if here.any():
            told = None if sealed is None else known.get(first // shards.size, [])
            yield ShardRows(first, len(here), np.packbits(here).tobytes(), told)


def _merge(one: Found, other: Found, k: int) -> Found:
    """All of both that reach the k-th best score, best first, equal scores by their rows."""
    rows, scores = (np.concatenate(pair) for pair in zip(one, other, strict=True))
    return search.pick_best(rows, scores, k)
