"""Vectors in a ``.npy`` file whose photos are named elsewhere, in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recoseg.embeddings.naming import Naming
from recoseg.embeddings.table import Block


@dataclass(frozen=True)
class NamedRows:
    """One array, and the names of its rows.

    Attributes:
        path: of the array.
        vectors: (n, d).
        names: gives the names from the beginning, block by block; an empty one names no photo.
        naming: turns a name into an id.
    """

    path: Path
    vectors: NDArray[np.floating]
    names: Callable[[], Iterable[Sequence[str | None]]]
    naming: Naming

    @property
    def name(self) -> str:
        """The array's path."""
        return str(self.path)

    def blocks(self) -> Iterator[Block]:
        """Rows in their order."""
        first = 0
        for names in self.names():
            ids = [self.naming(str(name)) if name else "" for name in names]
            yield Block(ids, self.vectors[first : first + len(ids)])
            first += len(ids)
