"""Retrieval of the archive images nearest to each concept (step 3 of the method)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from recoseg.index.index import Hit, Index


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
        Name to hits, best first, in the order of ``vectors``.
    """
    groups: dict[frozenset[str], list[str]] = {}
    for name in vectors:
        groups.setdefault(frozenset((exclude or {}).get(name, ())), []).append(name)
    found: dict[str, list[Hit]] = {}
    # Concepts that exclude the same images share one pass over the index.
    for excluded, names in groups.items():
        queries = torch.stack([vectors[name] for name in names])
        found.update(zip(names, index.search(queries, k, exclude=excluded), strict=True))
    return {name: found[name] for name in vectors}
