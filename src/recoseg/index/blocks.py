"""Digests of blocks of rows, to notice damage in the shards and to bound it.

A block is a quarter of a megabyte of rows that follow each other in one shard. Its record has a
digest of the rows and one of the contents' hashes that they belong to, so that what a damaged
ledger still says can be believed block by block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recoseg.errors import IndexDamaged
from recoseg.index.shards import REMEDY, Rows, Shards

BLOCK_BYTES = 256 * 2**10
BYTES = 16


class BlockRecord(NamedTuple):
    """Digests of ``rows`` rows from ``first`` on: of their bytes, and of their contents' hashes.

    Rows that were appended later are not covered by it.
    """

    first: int
    rows: int
    vectors: bytes
    hashes: bytes


def record_block(first: int, rows: bytes, hashes: Sequence[bytes]) -> BlockRecord:
    """The record of rows whose bytes are given; a row without a content has an empty hash."""
    return BlockRecord(first, len(hashes), _digest(first, rows), _digest(first, b"|".join(hashes)))


def covers(block: BlockRecord, hashes: Sequence[bytes]) -> bool:
    """Whether these are the contents' hashes of the block's rows."""
    found = _digest(block.first, b"|".join(hashes))
    return len(hashes) == block.rows and found == block.hashes


def list_spans(shards: Shards, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """(first, last + 1) row of each block that holds a row from ``start`` to ``stop``."""
    step = max(1, BLOCK_BYTES // (2 * shards.dim))
    while start < stop:
        shard, inside = divmod(start, shards.size)
        first = shard * shards.size + inside // step * step
        start = min(first + step, (shard + 1) * shards.size)
        yield first, start


def is_sound(shards: Shards, block: BlockRecord) -> bool:
    """Whether the bytes of the block's rows have the digest that was recorded."""
    return _digest(block.first, shards.raw(block.first, block.rows)) == block.vectors


def extend_records(
    shards: Shards,
    known: Mapping[int, BlockRecord],
    before: Sequence[bytes],
    first: int,
    rows: Rows,
    hashes: Sequence[bytes],
) -> list[BlockRecord]:
    """The records of the blocks that change when rows are appended.

    Args:
        shards: what is on the disk already.
        known: the records of blocks by their first row.
        before: the contents' hashes of the rows that precede ``first`` in its block.
        first: where the new rows begin.
        rows: (n, d), the new rows.
        hashes: their contents'.

    Raises:
        IndexDamaged: the rows before are not what they were.
    """
    begin = first - len(before)
    data, names = b"", [*before, *hashes]
    if before:
        data = shards.raw(begin, len(before))
        old = known.get(begin)
        if old is not None and not is_sound(shards, old):
            raise damage_error(shards, old)
    data += np.ascontiguousarray(rows, dtype="<f2").tobytes()
    made = []
    for start, stop in list_spans(shards, begin, first + len(rows)):
        count = min(stop, first + len(rows)) - start
        inside = slice((start - begin) * 2 * shards.dim, (start - begin + count) * 2 * shards.dim)
        made.append(record_block(start, data[inside], names[start - begin : start - begin + count]))
    return made


def damage_error(shards: Shards, block: BlockRecord) -> IndexDamaged:
    """The error for a block whose digest differs from the recorded one."""
    return IndexDamaged(
        f"{shards.path(block.first // shards.size)} is damaged; its vectors are not what was "
        f"written: {REMEDY}."
    )


class CheckedShards(Shards):
    """Shards whose blocks are checked once each, when they are first read."""

    def __init__(
        self,
        folder: Path,
        dim: int,
        size: int,
        blocks: Sequence[BlockRecord],
        earlier: Shards | None,
    ) -> None:
        """``earlier``: what was read of the same index before; it need not be checked again."""
        super().__init__(folder, dim, size)
        self._known = {block.first: block for block in blocks}
        self._sound = set[BlockRecord]()
        if isinstance(earlier, CheckedShards) and earlier.folder == folder:
            self._sound = earlier._sound

    @property
    def sealed(self) -> list[BlockRecord]:
        """The records by which it is checked."""
        return list(self._known.values())

    def _map(self, shard: int, start: int, stop: int) -> Rows:
        self._check(shard * self.size + start, shard * self.size + stop)
        return super()._map(shard, start, stop)

    def gather(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """As ``Shards.gather``; IndexDamaged if one of the rows is not what it was."""
        for row in np.unique(np.asarray(rows, dtype=np.int64)).tolist():
            self._check(row, row + 1)
        return super().gather(rows)

    def _check(self, start: int, stop: int) -> None:
        for first, _ in list_spans(self, start, stop):
            block = self._known.get(first)
            if block is not None and block not in self._sound:
                if not is_sound(self, block):
                    raise damage_error(self, block)
                self._sound.add(block)


def _digest(first: int, data: bytes) -> bytes:
    total = hashlib.sha256(first.to_bytes(8, "big"))
    total.update(data)
    return total.digest()[:BYTES]
