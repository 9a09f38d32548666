"""Repair of an index: damaged parts are found and dropped, and an update embeds them again."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recoseg.errors import IndexDamaged
from recoseg.index import blocks, compaction, ledgerfile, stamp
from recoseg.index.blocks import BlockRecord
from recoseg.index.ledger import Writer
from recoseg.index.shards import Shards
from recoseg.io import durable

FRESH = "ledger.sqlite.fresh"


def seal_all(shards: Shards, writer: Writer) -> None:
    """Give blocks that have no record one, as in an index of an older version."""
    known = {block.first: block for block in writer.blocks()}
    made = []
    for first, stop in blocks.list_spans(shards, 0, rows := writer.rows()):
        count = min(stop, rows) - first
        old = known.get(first)
        if old is None or old.rows < count:
            if old is not None and not blocks.is_sound(shards, old):
                raise blocks.damage_error(shards, old)
            hashes = writer.hashes(first, first + count)
            made.append(blocks.record_block(first, shards.raw(first, count), hashes))
    if made:
        writer.commit(blocks=made)


def verify(shards: Shards, writer: Writer) -> None:
    """IndexDamaged unless the ledger and every row are what was written; reads all of both."""
    stamp.check(writer)
    shards.check(writer.rows())
    for block in writer.blocks():
        if not blocks.is_sound(shards, block):
            raise blocks.damage_error(shards, block)


def repair(index: Path, ledger: Path, dim: int, size: int) -> int:
    """Drop what is damaged; an update then embeds it again. The caller holds the lock.

    Returns:
        How many vectors were dropped.
    """
    lost = 0
    try:
        with ledgerfile.open_writing(ledger) as writer:
            writer.check()
    except IndexDamaged:
        lost = _rebuild(index, ledger, dim, size)
    with ledgerfile.open_writing(ledger) as writer:
        shards = Shards(compaction.folder_of(index, writer.generation()), dim, size)
        spans = list(_find_damaged(shards, writer))
        before = _vectors(writer)
        if spans:
            with writer.change() as connection:
                for table in ("images", "vectors"):
                    query = f"DELETE FROM {table} WHERE row >= ? AND row < ?"
                    connection.executemany(query, spans)
                connection.executemany("DELETE FROM blocks WHERE first = ?", [s[:1] for s in spans])
            lost += before - _vectors(writer)
            compaction.compact(index, shards, writer)
    return lost


def _vectors(writer: Writer) -> int:
    return sum(bool(digest) for digest in writer.hashes(0, writer.rows()))


def _find_damaged(shards: Shards, writer: Writer) -> Iterator[tuple[int, int]]:
    """(first row, last + 1) of what is not what it was, or not there at all."""
    known = {block.first: block for block in writer.blocks()}
    for first, stop in blocks.list_spans(shards, 0, rows := writer.rows()):
        stop = min(stop, rows)
        block = known.get(first)
        short = len(shards.raw(first, stop - first)) < (stop - first) * 2 * shards.dim
        if short or (block is not None and not blocks.is_sound(shards, block)):
            yield first, stop


def _rebuild(index: Path, ledger: Path, dim: int, size: int) -> int:
    """A new ledger of what can be believed in the old one: contents and rows, block by block.

    Which image has which content is not believed: an update reads the images again.
    """
    held, known, generation = _salvage(ledger)
    folders = [compaction.folder_of(index, generation), *sorted(index.glob("shards*"))]
    folder = next((f for f in folders if f.is_dir()), folders[0])
    shards = Shards(folder, dim, size)
    good = [block for block in set(known) if _is_intact(block, held, shards)]
    rows = {row for block in good for row in range(block.first, block.first + block.rows)}
    fresh = ledger.with_name(FRESH)
    _remove(fresh)
    with ledgerfile.open_writing(fresh, create=True) as writer, writer.change() as connection:
        pairs = [(row, digest) for row, digest in held.items() if row in rows]
        connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", pairs)
        connection.executemany("INSERT OR IGNORE INTO blocks VALUES (?, ?, ?, ?)", good)
        name = folder.name.partition("-")[2]
        connection.execute("UPDATE seal SET generation = ?", (int(name or 0),))
    # The log belongs to the damaged file, and must not be applied to the new one.
    _remove(ledger, but=ledger)
    fresh.replace(ledger)
    _remove(fresh)  # what lay beside it
    durable.sync_folder(index)
    return max(0, len(held) - len(pairs))


def _is_intact(block: BlockRecord, held: dict[int, bytes], shards: Shards) -> bool:
    hashes = [held.get(row, b"") for row in range(block.first, block.first + block.rows)]
    return blocks.covers(block, hashes) and blocks.is_sound(shards, block)


def _salvage(ledger: Path) -> tuple[dict[int, bytes], list[BlockRecord], int]:
    """Rows and their contents' hashes, records of blocks, and the generation, as far as told."""
    held: dict[int, bytes] = {}
    known: list[BlockRecord] = []
    generation = 0
    with (
        contextlib.suppress(sqlite3.Error, OSError),
        contextlib.closing(
            sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=ro", uri=True)
        ) as connection,
    ):
        for row in _read_until_damage(connection, "SELECT generation FROM seal", (int,)):
            generation = row[0]
        # From both ends, and by the index over the hashes: one damaged page then hides little.
        for order in ("row", "row DESC", "hash", "hash DESC"):
            query = f"SELECT row, hash FROM vectors ORDER BY {order}"
            for row in _read_until_damage(connection, query, (int, bytes)):
                held.setdefault(row[0], row[1])
        for order in ("first", "first DESC"):
            query = f"SELECT first, count, vectors, hashes FROM blocks ORDER BY {order}"
            for row in _read_until_damage(connection, query, (int, int, bytes, bytes)):
                if row[0] >= 0 and 0 < row[1] <= blocks.BLOCK_BYTES:
                    known.append(BlockRecord(*row))
    return held, known, generation


def _read_until_damage(
    connection: sqlite3.Connection, query: str, kinds: tuple[type, ...]
) -> Iterator[tuple[Any, ...]]:
    """Rows of these types, until one cannot be read."""
    with contextlib.suppress(sqlite3.Error):
        for row in connection.execute(query):
            if len(row) == len(kinds) and all(map(isinstance, row, kinds)):
                yield row


def _remove(path: Path, but: Path | None = None) -> None:
    for ending in ("", "-wal", "-shm", "-journal", stamp.SUFFIX):
        name = path.name + ending
        if path.with_name(name) != but:
            path.with_name(name).unlink(missing_ok=True)
