"""Vector server inside this process: faiss, kept in a folder.

    photos.faiss/
      images.sqlite    ids, contents' hashes, numbers, and which file of vectors belongs to them
      vectors-3.faiss  half-precision rows by number, in inverted lists or flat
      lock             held by the one writer

A file of vectors is whole and synced before a transaction speaks of it, so a reader or the next
writer sees one state of both.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recoseg.errors import ServerError, optional_import
from recoseg.io import durable, locks
from recoseg.servers import inverted_lists
from recoseg.servers.server import Sample, State, Vectors

DATABASE = "images.sqlite"
PAGE = 4096
# Rows between two writes of the whole file, which an interruption loses at most.
CHECKPOINT = 250_000
SCHEMA = """
CREATE TABLE images(number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, hash BLOB);
CREATE TABLE state(
    dim INTEGER NOT NULL, fingerprint TEXT NOT NULL, digest TEXT, seal BLOB,
    file INTEGER NOT NULL, sum TEXT NOT NULL, planned INTEGER NOT NULL
);
"""


class FaissFolder:
    """The vectors of one index in a folder, loaded when first asked for."""

    def __init__(self, folder: Path) -> None:
        """``folder``: made by the first session.

        Raises:
            InputError: faiss is missing.
            ServerError: the folder holds something else.
        """
        with optional_import("a server inside this process needs faiss", "faiss"):
            import faiss  # noqa: F401
        self.folder, self.where = folder, str(folder)
        if folder.exists() and not (folder / DATABASE).is_file() and any(folder.iterdir()):
            raise ServerError(f"{folder} holds other files; choose another folder.")
        self._writing: sqlite3.Connection | None = None
        self._loaded: tuple[int, Any] | None = None
        self._pending = 0
        self._lock = threading.Lock()

    def nearest(self, vectors: Vectors, k: int) -> tuple[list[list[str]], list[list[float]]]:
        """As the protocol says; ids and vectors of one state."""
        with self._lock, self._reading() as database:
            index = self._index(database)
            scores, numbers = inverted_lists.search(index, vectors, k)
            query = "SELECT id FROM images WHERE number = ?"
            ids = [
                [database.execute(query, (n,)).fetchone()[0] for n in row if n >= 0]
                for row in numbers.tolist()
            ]
        kept = [row[: len(found)] for row, found in zip(scores.tolist(), ids, strict=True)]
        return ids, kept

    def state(self) -> State | None:
        """What the folder holds."""
        if not (self.folder / DATABASE).is_file():
            return None
        with self._reading() as database:
            found = database.execute("SELECT dim, fingerprint, digest, seal FROM state").fetchone()
        return State(*found) if found else None

    @contextlib.contextmanager
    def session(self, dim: int, fingerprint: str, rows: int, sample: Sample) -> Iterator[None]:
        """Hold the folder's lock. Lists that were planned for far fewer rows are made anew."""
        durable.make_folder(self.folder)
        with (
            locks.hold(self.folder / "lock", self.where),
            _explain_errors(self.folder),
            contextlib.closing(self._connect()) as database,
        ):
            # Readers are kept out only while a transaction ends.
            database.execute("PRAGMA cache_spill = OFF")
            if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
                database.executescript(f"BEGIN; {SCHEMA} COMMIT;")
            self._writing = database
            try:
                self._begin(dim, fingerprint, rows, sample)
                yield
                if self._pending:
                    self._keep()
            finally:
                self._writing, self._loaded, self._pending = None, None, 0

    def list_images(self) -> Iterator[tuple[str, bytes]]:
        """Page by page, so that changes can be made beside."""
        after, query = "", "SELECT id, hash FROM images WHERE id > ? ORDER BY id LIMIT ?"
        while found := self._database.execute(query, (after, PAGE)).fetchall():
            after = found[-1][0]
            yield from found

    def put(self, ids: Sequence[str], hashes: Sequence[bytes], vectors: Vectors) -> None:
        """Rows in memory; they are kept with every 250,000 and at the end."""
        index = self._index(self._database)
        self._remove(ids)
        query = "INSERT INTO images(id, hash) VALUES (?, ?)"
        pairs = zip(ids, hashes, strict=True)
        numbers = [self._database.execute(query, pair).lastrowid for pair in pairs]
        index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.array(numbers, np.int64))
        self._count(len(ids))

    def drop(self, ids: Sequence[str]) -> None:
        """Take rows out of memory and, with the next that are kept, out of the folder."""
        self._remove(ids)
        self._count(len(ids))

    def finish(self, digest: str, seal: bytes) -> None:
        """Keep everything, and note the index's state."""
        self._database.execute("UPDATE state SET digest = ?, seal = ?", (digest, seal))
        self._keep()

    def clear(self) -> None:
        """Forget all, at once or not at all."""
        with locks.hold(self.folder / "lock", self.where), _explain_errors(self.folder):
            if self.state() is None:
                return
            with contextlib.closing(self._connect()) as database:
                database.executescript("BEGIN; DELETE FROM images; DELETE FROM state; COMMIT;")
            self._sweep(None)

    def close(self) -> None:
        """Let go of the vectors in memory."""
        self._loaded = None

    @property
    def _database(self) -> sqlite3.Connection:
        if self._writing is None:
            raise ServerError(f"{self.where} is changed outside of a session; begin one.")
        return self._writing

    def _begin(self, dim: int, fingerprint: str, rows: int, sample: Sample) -> None:
        database = self._database
        held = database.execute("SELECT file, planned FROM state").fetchone()
        if held is not None and inverted_lists.fits(held[1], rows):
            self._sweep(held[0])
            database.execute("BEGIN IMMEDIATE")
            self._index(database)
            database.execute("UPDATE state SET digest = NULL, seal = NULL")
            return
        database.execute("BEGIN IMMEDIATE")
        database.execute("DELETE FROM images")
        database.execute("DELETE FROM state")
        number = 0 if held is None else held[0]
        values = (dim, fingerprint, None, None, number, "", rows)
        database.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        self._loaded = (number, inverted_lists.make(dim, rows, sample))
        self._keep()

    def _remove(self, ids: Sequence[str]) -> None:
        database, numbers = self._database, list[int]()
        for id in ids:
            found = database.execute("DELETE FROM images WHERE id = ? RETURNING number", (id,))
            numbers.extend(number for (number,) in found.fetchall())
        if numbers:
            self._index(database).remove_ids(np.array(numbers, np.int64))

    def _count(self, rows: int) -> None:
        self._pending += rows
        if self._pending >= CHECKPOINT:
            self._keep()

    def _keep(self) -> None:
        """Write the vectors under a new number, and then commit what speaks of them."""
        database = self._database
        ((before,),) = database.execute("SELECT file FROM state").fetchall()
        index = self._index(database)
        total = inverted_lists.write(index, self._path(before + 1))
        database.execute("UPDATE state SET file = ?, sum = ?", (before + 1, total))
        database.execute("COMMIT")
        self._loaded, self._pending = (before + 1, index), 0
        self._sweep(before + 1)
        database.execute("BEGIN IMMEDIATE")

    def _index(self, database: sqlite3.Connection) -> Any:
        """The vectors that belong to the database's state."""
        number, total = database.execute("SELECT file, sum FROM state").fetchone() or (None, "")
        if number is None:
            raise ServerError(f"{self.where} holds nothing; run `recoseg index sync`.")
        if self._loaded is None or self._loaded[0] != number:
            self._loaded = (number, inverted_lists.read(self._path(number), total))
        return self._loaded[1]

    def _path(self, number: int) -> Path:
        return self.folder / f"vectors-{number}.faiss"

    def _sweep(self, number: int | None) -> None:
        for path in self.folder.glob("vectors-*.faiss"):
            if number is None or path != self._path(number):
                path.unlink(missing_ok=True)

    def _connect(self) -> sqlite3.Connection:
        path = self.folder / DATABASE
        return sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with _explain_errors(self.folder):
            if not (self.folder / DATABASE).is_file():
                raise ServerError(f"{self.where} does not exist; run `recoseg index sync`.")
            with contextlib.closing(self._connect()) as database:
                database.execute("BEGIN")
                yield database


@contextlib.contextmanager
def _explain_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, TypeError) as error:
        raise ServerError(
            f"{folder} is damaged or cannot be written ({error}); delete it and run `recoseg index "
            "sync` again."
        ) from error
