"""What an index knows, in SQLite: which image has which vector, and what was left out.

Write-ahead logging lets readers work beside the one writer, each on the last committed state. A
connection lives for one operation, so any thread may ask.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recoseg.errors import IndexDamaged
from recoseg.io.sources import Item, Skipped

SCHEMA = """
CREATE TABLE vectors(row INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE);
CREATE TABLE images(
    id TEXT PRIMARY KEY, row INTEGER NOT NULL REFERENCES vectors,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX images_by_row ON images(row);
CREATE TABLE skipped(id TEXT PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE revision(number INTEGER NOT NULL);
INSERT INTO revision VALUES (0);
"""
CHUNK = 500


class Entry(NamedTuple):
    """One indexed image: its vector's row, its content's sha256, and its file as it was read."""

    row: int
    hash: bytes
    size: int
    mtime_ns: int


class Snapshot:
    """One consistent state of the ledger, for as long as the connection is open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def revision(self) -> int:
        """A number that grows with every change."""
        return int(self._all("SELECT number FROM revision")[0][0])

    def rows(self) -> int:
        """How many rows of the shards are committed."""
        return int(self._all("SELECT COALESCE(MAX(row) + 1, 0) FROM vectors")[0][0])

    def counts(self) -> NDArray[np.int32]:
        """(rows,) the number of images that have each row; 0 where all were deleted."""
        counts = np.zeros(self.rows(), dtype=np.int32)
        query = "SELECT row, COUNT(*) FROM images GROUP BY row"
        for row, count in self._connection.execute(query):
            counts[row] = count
        return counts

    def size(self) -> int:
        """How many images are indexed."""
        return int(self._all("SELECT COUNT(*) FROM images")[0][0])

    def ids(self) -> list[str]:
        """All ids in order."""
        return [id for (id,) in self._connection.execute("SELECT id FROM images ORDER BY id")]

    def find(self, id: str) -> Entry | None:
        """The entry of an image, if it is indexed."""
        found = self._all(
            "SELECT row, hash, size, mtime_ns FROM images JOIN vectors USING(row) WHERE id = ?",
            (id,),
        )
        return Entry(*found[0]) if found else None

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
        for id, digest in self._connection.execute(query):
            total.update(hashlib.sha256(id.encode()).digest() + digest)
        return total.hexdigest()


class Writer(Snapshot):
    """The ledger as its one writer sees it."""

    def commit(
        self,
        vectors: Sequence[tuple[int, bytes]] = (),
        images: Iterable[tuple[Item, bytes]] = (),
        skipped: Iterable[Skipped] = (),
        gone: Iterable[str] = (),
    ) -> None:
        """Record all of it or, if the process dies, nothing.

        Args:
            vectors: (row, content hash) of rows that already lie in the shards, synced.
            images: the file and the content hash, of a recorded vector, of each image.
            skipped: files left out; an image of that id is forgotten.
            gone: ids to forget.
        """
        left_out = list(skipped)
        forget = [(id,) for id in gone]
        with self._lock, _transaction(self._connection, "IMMEDIATE") as connection:
            # An interrupt may come between a commit and its caller, who then commits again.
            connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", vectors)
            connection.executemany("DELETE FROM skipped WHERE id = ?", forget)
            connection.executemany(
                "DELETE FROM images WHERE id = ?", [*forget, *((s.id,) for s in left_out)]
            )
            for item, digest in images:
                connection.execute(
                    "INSERT OR REPLACE INTO images(id, row, size, mtime_ns) "
                    "SELECT ?, row, ?, ? FROM vectors WHERE hash = ?",
                    (*item, digest),
                )
                connection.execute("DELETE FROM skipped WHERE id = ?", (item.id,))
            connection.executemany("INSERT OR REPLACE INTO skipped VALUES (?, ?)", left_out)
            connection.execute("UPDATE revision SET number = number + 1")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Snapshot]:
    """The last committed state; works beside a writer, and on a read-only drive."""
    with (
        _guarded(path),
        contextlib.closing(_open(path)) as connection,
        _transaction(connection, "DEFERRED"),
    ):
        yield Snapshot(connection)


@contextlib.contextmanager
def writing(path: Path, *, create: bool = False) -> Iterator[Writer]:
    """The ledger for its one writer, who holds the index's lock."""
    mode = "rwc" if create else "rw"
    with _guarded(path), contextlib.closing(_connect(path, mode)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        # A power cut may undo the last commits but never tear one; a killed process undoes none.
        connection.execute("PRAGMA synchronous = NORMAL")
        if create:
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
        yield Writer(connection)


def _open(path: Path) -> sqlite3.Connection:
    try:
        return _probed(_connect(path, "ro"))
    except sqlite3.OperationalError:
        wal = path.with_name(path.name + "-wal")
        if not path.is_file() or (wal.is_file() and wal.stat().st_size):
            raise
        # Without a log nobody is writing, so a folder that cannot be written is safe to read.
        return _probed(_connect(path, "ro&immutable=1"))


def _probed(connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        connection.execute("SELECT number FROM revision").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=60,
        isolation_level=None,
        check_same_thread=False,
    )


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, kind: str) -> Iterator[sqlite3.Connection]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield connection
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


@contextlib.contextmanager
def _guarded(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise IndexDamaged(
            f"{path} cannot be used ({error}); check the free space and the permissions there, or "
            "delete the index and build it again."
        ) from error
