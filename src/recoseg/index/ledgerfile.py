"""SQLite file of the ledger: its tables, how it is opened, and what its errors mean.

Write-ahead logging lets readers work beside the one writer, each on the last committed state. A
connection lives for one operation, so any thread may ask.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from recoseg.errors import IndexDamaged, RecosegError
from recoseg.index import seals, stamp
from recoseg.index.ledger import Snapshot, Writer, transaction
from recoseg.index.shards import REMEDY

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
# What ledgers did not have from the beginning; older versions of recoseg do not look at it.
DIGESTS = """
ALTER TABLE images ADD COLUMN ctime_ns INTEGER;
ALTER TABLE images ADD COLUMN inode INTEGER;
ALTER TABLE images ADD COLUMN read_ns INTEGER;
CREATE TABLE blocks(
    first INTEGER PRIMARY KEY, count INTEGER NOT NULL, vectors BLOB NOT NULL, hashes BLOB NOT NULL
);
CREATE TABLE seal(revision INTEGER NOT NULL, digest BLOB NOT NULL, generation INTEGER NOT NULL);
"""
_UNWRITABLE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
)


@contextlib.contextmanager
def open_reading(path: Path) -> Iterator[Snapshot]:
    """The last committed state; works beside a writer, and on a read-only drive."""
    with (
        _explain_errors(path),
        contextlib.closing(_open(path)) as connection,
        transaction(connection, "DEFERRED"),
    ):
        yield Snapshot(connection, path)


@contextlib.contextmanager
def open_writing(path: Path, *, create: bool = False) -> Iterator[Writer]:
    """The ledger for its one writer, who holds the index's lock; an old one gets its digests."""
    mode = "rwc" if create else "rw"
    with _explain_errors(path):
        with contextlib.closing(_connect(path, mode)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            # A power cut may undo the last commits, but tears none; a killed process undoes none.
            connection.execute("PRAGMA synchronous = NORMAL")
            if create:
                connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
            _upgrade(connection)
            yield Writer(connection, path)
        # Read as if nobody writes, because then no log is made anew.
        with contextlib.closing(_connect(path, "ro&immutable=1")) as connection:
            stamp.write(Snapshot(connection, path))


def _upgrade(connection: sqlite3.Connection) -> None:
    """Give a ledger its seal, or another one if an older version has written since."""
    snapshot = Snapshot(connection, Path())
    if snapshot.seal() is not None:
        return
    generation = snapshot.generation()
    with transaction(connection, "IMMEDIATE"):
        if not snapshot.has("seal"):
            for statement in DIGESTS.split(";"):
                connection.execute(statement)
        digest = seals.encode_digest(seals.digest_rows(connection.execute), generation)
        connection.execute("DELETE FROM seal")
        connection.execute(
            "INSERT INTO seal VALUES (?, ?, ?)", (snapshot.revision(), digest, generation)
        )


def _open(path: Path) -> sqlite3.Connection:
    try:
        return _probe(_connect(path, "ro"))
    except sqlite3.OperationalError:
        wal = path.with_name(path.name + "-wal")
        if not path.is_file() or (wal.is_file() and wal.stat().st_size):
            raise
        # Without a log nobody is writing, so a folder that cannot be written is safe to read.
        return _probe(_connect(path, "ro&immutable=1"))


def _probe(connection: sqlite3.Connection) -> sqlite3.Connection:
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
def _explain_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(path, error) from error


def _explain(path: Path, error: sqlite3.Error) -> RecosegError:
    """Damage is told from a full or unwritable disk, on which nothing is lost."""
    code = getattr(error, "sqlite_errorcode", None)
    kind = None if code is None else code & 0xFF
    if not path.is_file():
        return IndexDamaged(f"{path} is missing: {REMEDY}.")
    if kind in _UNWRITABLE or code in _UNWRITABLE:
        return RecosegError(
            f"{path} cannot be written ({error}); make room or give permission and run the same "
            "again: finished work is kept."
        )
    if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return RecosegError(f"{path} is held by another program ({error}); end it and run again.")
    return IndexDamaged(f"{path} is damaged ({error}): {REMEDY}.")
