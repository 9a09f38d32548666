"""Retrieval of the archive images nearest to each concept (step 3 of the method)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from recoseg.index.index import Hit, Index

DEEPEST = 64


def retrieve(
    vectors: Mapping[str, Tensor],
    index: Index,
    k: int,
    exclude: Mapping[str, Collection[str]] | None = None,
) -> dict[str, list[Hit]]:
    """The k images of largest cosine with each concept's text embedding (paper section 3.1).

    Args:
        vectors: name to (d,), in the space of the index's model.
        index: what to search.
        k: images per concept; fewer if the index has fewer.
        exclude: name to image ids that must not be found for it.

    Returns:
        Name to hits, best first, in the order of ``vectors``. Of an index of imported vectors,
        photos that cannot be fetched stand among them and do not count, so there are more than k.
    """
    groups: dict[frozenset[str], list[str]] = {}
    for name in vectors:
        groups.setdefault(frozenset((exclude or {}).get(name, ())), []).append(name)
    found: dict[str, list[Hit]] = {}
    # Concepts that exclude the same images share one pass over the index.
    for excluded, names in groups.items():
        queries = torch.stack([vectors[name] for name in names])
        found.update(zip(names, _reachable(queries, index, k, excluded), strict=True))
    return {name: found[name] for name in vectors}


def _reachable(queries: Tensor, index: Index, k: int, excluded: Collection[str]) -> list[list[Hit]]:
    """The best up to the k-th whose photo can be fetched, at most ``DEEPEST`` times k."""
    if not index.archive.imported:
        return index.search(queries, k, exclude=excluded)
    has = functools.cache(index.archive.has)
    depth = k
    while True:
        ranked = index.search(queries, depth, exclude=excluded)
        found = [_take_fetchable(hits, k, has) for hits in ranked]
        short = any(n < k for _, n in found)
        if not short or depth >= DEEPEST * k or all(len(hits) < depth for hits in ranked):
            return [hits for hits, _ in found]
        depth *= 4


def _take_fetchable(
    hits: Sequence[Hit], k: int, has: Callable[[str], bool]
) -> tuple[list[Hit], int]:
    """The first hits, up to the k-th that can be fetched, and how many of them can be."""
    count = 0
    for place, hit in enumerate(hits, start=1):
        count += has(hit.id)
        if count == k:
            return list(hits[:place]), count
    return list(hits), count
