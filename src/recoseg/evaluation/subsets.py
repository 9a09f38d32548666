"""Random subset of an index."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recoseg.errors import InputError
from recoseg.index.index import Hit, Index


class Subset(Index):
    """Images of an index chosen at random, without building another one.

    Of one seed, a smaller subset is part of a larger one.
    """

    def __init__(self, index: Index, size: int, seed: int = 0) -> None:
        """Choose ``size`` images; InputError if there are not so many."""
        super().__init__(index.path, index._manifest)
        ids = sorted(index.ids)
        if not 1 <= size <= len(ids):
            raise InputError(f"a subset of {size} images needs 1 to {len(ids)}, the index's own.")
        order = np.random.default_rng(seed).permutation(len(ids))
        self._chosen = frozenset(ids[place] for place in order[:size])
        self._others = frozenset(ids) - self._chosen

    def search(
        self, queries: Tensor | NDArray[np.floating], k: int, *, exclude: Collection[str] = ()
    ) -> list[list[Hit]]:
        """As ``Index.search``, among the chosen images."""
        return super().search(queries, k, exclude=self._others.union(exclude))

    @property
    def ids(self) -> list[str]:
        """The ids of the chosen images, in order."""
        return sorted(self._chosen)

    @functools.cached_property
    def _digest(self) -> str:
        text = "\n".join([super().hash, *self.ids])
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def hash(self) -> str:
        """Sha256 of the archive and of what is chosen from it, in hex."""
        return self._digest

    def __len__(self) -> int:
        return len(self._chosen)
