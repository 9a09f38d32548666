"""Compaction of shards: rows that no image has any more are dropped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recoseg.errors import RecosegError
from recoseg.index import blocks
from recoseg.index.blocks import BlockRecord, CheckedShards
from recoseg.index.ledger import Writer
from recoseg.index.shards import Rows, Shards

FOLDER = "shards"
BLOCKS_AT_ONCE = 64


def folder_of(index: Path, generation: int) -> Path:
    """Where an index keeps the rows of a generation."""
    return index / (f"{FOLDER}-{generation}" if generation else FOLDER)


def is_wasteful(writer: Writer) -> bool:
    """Whether most rows belong to no image any more."""
    counts = writer.counts()
    return 2 * int((counts > 0).sum()) < len(counts)


def compact(index: Path, shards: Shards, writer: Writer) -> Shards:
    """Keep only rows that images have, in their order; the caller holds the index's lock.

    The new files are whole before the ledger speaks of them, and the old ones are removed after.

    Raises:
        IndexDamaged: a row that is to be kept is not what it was.
        RecosegError: the disk is full or the folder cannot be written.
    """
    generation = writer.generation() + 1
    kept = np.flatnonzero(writer.counts() > 0)
    old = CheckedShards(shards.folder, shards.dim, shards.size, writer.blocks(), None)
    new = Shards(folder_of(index, generation), shards.dim, shards.size)
    shutil.rmtree(new.folder, ignore_errors=True)  # of a writer that was killed here
    try:
        made = list(_copy_rows(old, new, kept, writer))
    except RecosegError:
        shutil.rmtree(new.folder, ignore_errors=True)
        raise
    with writer.change() as connection:
        connection.execute("CREATE TEMP TABLE kept(new INTEGER PRIMARY KEY, row INTEGER UNIQUE)")
        pairs = enumerate(kept.tolist())
        connection.executemany("INSERT INTO kept VALUES (?, ?)", pairs)
        connection.execute("DELETE FROM vectors WHERE row NOT IN (SELECT row FROM kept)")
        # In this order no row moves to a place that is still taken.
        moves = [(to, row) for to, row in enumerate(kept.tolist()) if to != row]
        connection.executemany("UPDATE vectors SET row = ? WHERE row = ?", moves)
        connection.execute(
            "UPDATE images SET row = (SELECT new FROM kept WHERE kept.row = images.row)"
        )
        connection.execute("DELETE FROM blocks")
        connection.executemany("INSERT INTO blocks VALUES (?, ?, ?, ?)", made)
        connection.execute("UPDATE seal SET generation = ?", (generation,))
        connection.execute("DROP TABLE kept")
    sweep(index, generation)
    return new


def sweep(index: Path, generation: int) -> None:
    """Remove shards of other generations, to which nothing refers any more."""
    current = folder_of(index, generation)
    for path in [index / FOLDER, *sorted(index.glob(f"{FOLDER}-*"))]:
        if path != current:
            shutil.rmtree(path, ignore_errors=True)


def _copy_rows(
    old: Shards, new: Shards, kept: NDArray[np.int64], writer: Writer
) -> Iterator[BlockRecord]:
    """Copy a few megabytes at a time, each synced once; the records of the new blocks."""
    new.folder.mkdir(parents=True, exist_ok=True)
    spans = [(first, min(stop, len(kept))) for first, stop in blocks.list_spans(new, 0, len(kept))]
    for start in range(0, len(spans), BLOCKS_AT_ONCE):
        part = spans[start : start + BLOCKS_AT_ONCE]
        begin = part[0][0]
        moved = kept[begin : part[-1][1]]
        rows: Rows = old.gather(moved).astype("<f2")
        new.append(begin, rows)
        held = writer.hashes(int(moved[0]), int(moved[-1]) + 1)
        hashes = [held[row] for row in (moved - moved[0]).tolist()]
        for first, stop in part:
            inside = slice(first - begin, stop - begin)
            yield blocks.record_block(first, rows[inside].tobytes(), hashes[inside])
