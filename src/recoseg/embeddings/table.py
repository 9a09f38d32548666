"""Interface of tables of embeddings: vectors of photos, part by part, never all in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from recoseg.io.imported import ImportedSource

BLOCK_ROWS = 4096


class Block(NamedTuple):
    """Photos that follow each other.

    Attributes:
        ids: n ids; an empty one is of a row that names no photo.
        vectors: (n, d) of any floating type and scale, perhaps not yet read from the disk.
    """

    ids: Sequence[str]
    vectors: NDArray[np.floating]


class Part(Protocol):
    """A file, or files that belong together."""

    @property
    def name(self) -> str:
        """The path, for messages."""
        ...

    def blocks(self) -> Iterator[Block]:
        """All rows in their order."""
        ...


class Table(Protocol):
    """Vectors of one archive. What is wrong with its files is told when it is opened.

    Attributes:
        dim: d, numbers per vector.
        parts: the files.
        source: where the photos are read.
    """

    dim: int
    parts: Sequence[Part]
    source: ImportedSource
