"""SQLite ledger of an index: which image has which vector, and what was left out."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
import time
from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recoseg.errors import IndexDamaged
from recoseg.index import seals
from recoseg.index.blocks import BlockRecord
from recoseg.index.shards import REMEDY
from recoseg.io.sources import Item, Skipped

CHUNK = 500


class Entry(NamedTuple):
    """One indexed image: its vector's row, its content's sha256, and its file as it was read."""

    row: int
    hash: bytes
    size: int
    mtime_ns: int


class Seen(NamedTuple):
    """An image's file as it was listed when it was last read; None is not known."""

    size: int
    mtime_ns: int
    ctime_ns: int | None
    inode: int | None
    read_ns: int | None


class Snapshot:
    """One consistent state of the ledger, for as long as the connection is open."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path
        self._lock = threading.Lock()

    def _each(self, query: str, values: Sequence[Any] = ()) -> Generator[Any, None, None]:
        """Row by row; nothing else may be asked before the last one."""
        with self._lock:
            yield from self._connection.execute(query, values)

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        return list(self._each(query, values))

    def _number(self, query: str) -> int:
        found = self._all(query)
        if not found or not isinstance(found[0][0], int) or found[0][0] < 0:
            raise IndexDamaged(f"{self.path} is damaged ({query} says {found}): {REMEDY}.")
        return found[0][0]

    def check(self) -> None:
        """IndexDamaged unless the ledger is whole and says what was written; reads all of it."""
        try:
            problem = self._all("PRAGMA integrity_check(1)")[0][0]
            seal = self.seal()
            if problem == "ok" and seal is not None:
                found = seals.encode_digest(seals.digest_rows(self._each), self.generation())
                problem = "ok" if found == seal else "it does not say what was written"
        except (sqlite3.DatabaseError, TypeError, ValueError, OverflowError) as error:
            problem = str(error)
        if problem != "ok":
            raise IndexDamaged(f"{self.path} is damaged ({problem}): {REMEDY}.")

    def has(self, table: str) -> bool:
        """Whether there is such a table; ledgers of older versions have fewer."""
        return bool(self._all("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)))

    def seal(self) -> bytes | None:
        """The digest of the whole ledger; None if a version without them wrote it last."""
        query = "SELECT digest FROM seal WHERE revision = ?"
        held = self._all(query, (self.revision(),)) if self.has("seal") else []
        return held[0][0] if held else None

    def generation(self) -> int:
        """How often the rows were moved together into other files."""
        return self._number("SELECT generation FROM seal") if self.has("seal") else 0

    def blocks(self, first: int = 0) -> list[BlockRecord]:
        """The records of the shards' blocks from row ``first`` on; none in an old index."""
        query = "SELECT * FROM blocks WHERE first >= ? ORDER BY first"
        return [BlockRecord(*b) for b in self._all(query, (first,))] if self.has("blocks") else []

    def hashes(self, start: int, stop: int) -> list[bytes]:
        """The content's hash of each row from ``start`` to ``stop``; empty where there is none."""
        query = "SELECT row, hash FROM vectors WHERE row >= ? AND row < ?"
        held = dict(self._all(query, (start, stop)))
        return [held.get(row, b"") for row in range(start, stop)]

    def revision(self) -> int:
        """A number that grows with every change."""
        return self._number("SELECT number FROM revision")

    def rows(self) -> int:
        """How many rows of the shards are committed."""
        return self._number("SELECT COALESCE(MAX(row) + 1, 0) FROM vectors")

    def counts(self) -> NDArray[np.int32]:
        """(rows,) the number of images that have each row; 0 where all were deleted."""
        rows = self.rows()
        try:
            with contextlib.closing(self._each("SELECT row FROM images")) as found:
                held = np.array(array("q", chain.from_iterable(found)))
            if held.size and not 0 <= held.min() <= held.max() < rows:
                raise ValueError(f"an image has a row that is not one of {rows}")
        except (TypeError, ValueError, OverflowError) as error:
            raise IndexDamaged(f"{self.path} is damaged ({error}): {REMEDY}.") from error
        return np.bincount(held, minlength=rows).astype(np.int32)

    def size(self) -> int:
        """How many images are indexed."""
        return self._number("SELECT COUNT(*) FROM images")

    def ids(self) -> list[str]:
        """All ids in order."""
        return [id for (id,) in self._each("SELECT id FROM images ORDER BY id")]

    def find(self, id: str) -> Entry | None:
        """The entry of an image, if it is indexed."""
        query = "SELECT row, hash, size, mtime_ns FROM images JOIN vectors USING(row) WHERE id = ?"
        found = self._all(query, (id,))
        return Entry(*found[0]) if found else None

    def page(self, after: str, count: int) -> list[tuple[str, int, bytes]]:
        """(id, row, content's hash) of the next images in the order of ids, after the one given."""
        query = "SELECT id, row, hash FROM images JOIN vectors USING(row) WHERE id > ?"
        return self._all(f"{query} ORDER BY id LIMIT ?", (after, count))

    def row_of(self, digest: bytes) -> int | None:
        """The row that holds the vector of this content, whether or not an image still has it."""
        found = self._all("SELECT row FROM vectors WHERE hash = ?", (digest,))
        return int(found[0][0]) if found else None

    def ids_at(self, rows: Sequence[int]) -> dict[int, list[str]]:
        """The ids of the images that have each of ``rows``, in order."""
        found: dict[int, list[str]] = {int(row): [] for row in rows}
        wanted = list(found)
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            marks = ",".join("?" * len(part))
            query = f"SELECT row, id FROM images WHERE row IN ({marks}) ORDER BY id"
            for row, id in self._all(query, part):
                found[row].append(id)
        return found

    def skipped(self) -> list[Skipped]:
        """What was left out, in order of ids."""
        return [Skipped(*row) for row in self._all("SELECT id, reason FROM skipped ORDER BY id")]

    def digest(self) -> str:
        """Sha256 of all ids and content hashes, in hex."""
        total = hashlib.sha256()
        query = "SELECT id, hash FROM images JOIN vectors USING(row) ORDER BY id"
        for id, digest in self._each(query):
            total.update(hashlib.sha256(id.encode()).digest() + digest)
        return total.hexdigest()


class Writer(Snapshot):
    """Write access to the ledger, for one writer; ``read_ns`` is a time before files were read."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        super().__init__(connection, path)
        self.read_ns = time.time_ns()
        self._tally = seals.Tally(connection)

    def seen_from(self, id: str, count: int) -> list[tuple[str, bytes, Seen]]:
        """Id, content's hash and file as it was then of the next images from ``id`` on."""
        columns = "id, hash, size, mtime_ns, ctime_ns, inode, read_ns"
        query = f"SELECT {columns} FROM images JOIN vectors USING(row) WHERE id >= ?"
        found = self._each(f"{query} ORDER BY id LIMIT ?", (id, count))
        return [(id, digest, Seen(*seen)) for id, digest, *seen in found]

    def commit(
        self,
        vectors: Sequence[tuple[int, bytes]] = (),
        images: Iterable[tuple[Item, bytes]] = (),
        skipped: Iterable[Skipped] = (),
        gone: Iterable[str] = (),
        blocks: Iterable[BlockRecord] = (),
    ) -> None:
        """Record all of it or, if the process dies, nothing.

        Args:
            vectors: (row, content hash) of rows that already lie in the shards, synced.
            images: the file and the content hash, of a recorded vector, of each image.
            skipped: files left out; an image of that id is forgotten.
            gone: ids to forget.
            blocks: digests of the rows.
        """
        left_out = list(skipped)
        forget = [(id,) for id in gone]
        with self.change() as connection:
            # An interrupt may come between a commit and its caller, who then commits again.
            connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", vectors)
            connection.executemany("DELETE FROM skipped WHERE id = ?", forget)
            lost = [*forget, *((s.id,) for s in left_out)]
            connection.executemany("DELETE FROM images WHERE id = ?", lost)
            for item, digest in images:
                connection.execute(
                    "INSERT OR REPLACE INTO images(id, row, size, mtime_ns, ctime_ns, inode, "
                    "read_ns) SELECT ?, row, ?, ?, ?, ?, ? FROM vectors WHERE hash = ?",
                    (*item, self.read_ns, digest),
                )
                connection.execute("DELETE FROM skipped WHERE id = ?", (item.id,))
            connection.executemany("INSERT OR REPLACE INTO skipped VALUES (?, ?)", left_out)
            connection.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?)", blocks)

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction, with a new revision and a new seal at its end."""
        with self._lock, transaction(self._connection, "IMMEDIATE") as connection:
            query = "SELECT digest, generation FROM seal"
            self._tally.total = seals.decode_digest(*connection.execute(query).fetchone())
            yield connection
            connection.execute("UPDATE revision SET number = number + 1")
            ((_, generation),) = connection.execute(query)
            connection.execute(
                "UPDATE seal SET digest = ?, revision = (SELECT number FROM revision)",
                (seals.encode_digest(self._tally.total, generation),),
            )


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, kind: str) -> Iterator[sqlite3.Connection]:
    """A transaction that is rolled back by an error."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield connection
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
