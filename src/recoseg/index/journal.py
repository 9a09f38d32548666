"""Pending writes of an index: what is done and not yet on disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recoseg.index import blocks
from recoseg.index.blocks import BlockRecord
from recoseg.index.ledger import Writer
from recoseg.index.shards import Shards
from recoseg.io.archive import Item, Skipped

FLUSH_SECONDS = 2.0
FLUSH_ROWS = 4096


@dataclass
class Journal:
    """Pending writes; ``flush`` makes them durable, rows first.

    Attributes:
        shards: where rows go.
        writer: where everything else goes.
        outcome: called with each image's item and content hash once they are recorded.
        skipped: called with each file left out once that is recorded.
    """

    shards: Shards
    writer: Writer
    outcome: Callable[[Item, bytes], None]
    skipped: Callable[[Skipped], None]
    _vectors: dict[bytes, NDArray[np.float16]] = field(default_factory=dict)
    _images: list[tuple[Item, bytes]] = field(default_factory=list)
    _skipped: list[Skipped] = field(default_factory=list)
    _since: float = field(default_factory=time.monotonic)

    def holds(self, digest: bytes) -> bool:
        """Whether this content has a vector, on disk or about to be."""
        return digest in self._vectors or self.writer.row_of(digest) is not None

    def vector(self, digest: bytes, row: NDArray[np.float16]) -> None:
        """Note the vector (d,) of a content."""
        self._vectors[digest] = row

    def image(self, item: Item, digest: bytes) -> None:
        """Note that a file has a content whose vector is noted."""
        self._images.append((item, digest))
        self._maybe_flush()

    def skip(self, item: Item, reason: str) -> None:
        """Note that a file is left out."""
        self._skipped.append(Skipped(item.id, reason))
        self._maybe_flush()

    def _maybe_flush(self) -> None:
        late = time.monotonic() - self._since > FLUSH_SECONDS
        if late or len(self._images) + len(self._skipped) >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Sync the rows, then commit the records of them and of all else in one transaction."""
        # An interrupt may have come between the last commit and here; what is stored stays once.
        fresh = {d: row for d, row in self._vectors.items() if self.writer.row_of(d) is None}
        sealed = self._append(fresh) if fresh else []
        if self._images or self._skipped:
            vectors = list(enumerate(fresh, start=self.writer.rows()))
            self.writer.commit(vectors, self._images, self._skipped, blocks=sealed)
        for item, digest in self._images:
            self.outcome(item, digest)
        for skipped in self._skipped:
            self.skipped(skipped)
        self._vectors.clear()
        self._images.clear()
        self._skipped.clear()
        self._since = time.monotonic()

    def _append(self, fresh: dict[bytes, NDArray[np.float16]]) -> list[BlockRecord]:
        """Sync new rows; the records of the blocks that they are in."""
        first, rows = self.writer.rows(), np.stack(list(fresh.values()))
        begin = next(blocks.list_spans(self.shards, first, first + 1))[0]
        before = self.writer.hashes(begin, first)
        old = {block.first: block for block in self.writer.blocks(begin)}
        sealed = blocks.extend_records(self.shards, old, before, first, rows, list(fresh))
        self.shards.append(first, rows)
        return sealed
