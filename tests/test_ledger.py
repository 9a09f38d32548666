"""The ledger: every hit comes back, what failed leaves nothing, and readers see the last commit."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import threading

import pytest

from recoseg.errors import IndexDamaged
from recoseg.index import ledger, ledgerfile
from recoseg.index.ledger import CHUNK
from recoseg.io.sources import Item, Skipped

NAME = "ledger.sqlite"


def digest(number):
    return number.to_bytes(32, "big")


def record(writer, numbers, prefix=""):
    """An image, named by its number, for each of some new rows."""
    writer.commit(
        [(n, digest(n)) for n in numbers],
        [(Item(f"{prefix}{n:05d}", 1, 1), digest(n)) for n in numbers],
    )


@pytest.fixture
def path(tmp_path):
    with ledgerfile.open_writing(tmp_path / NAME, create=True):
        pass
    return tmp_path / NAME


@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 203])
def test_the_ids_of_any_number_of_rows_are_found(path, count):
    with ledgerfile.open_writing(path) as writer:
        record(writer, range(count))
        record(writer, range(count), prefix="copy ")
    with ledgerfile.open_reading(path) as snapshot:
        found = snapshot.ids_at(range(count))
    assert found == {n: [f"{n:05d}", f"copy {n:05d}"] for n in range(count)}


def test_a_commit_that_fails_half_way_leaves_nothing(path):
    def images():
        yield Item("new", 1, 1), digest(7)
        raise OSError("the disk went away")

    with ledgerfile.open_writing(path) as writer:
        record(writer, [0, 1])
        writer.commit(skipped=[Skipped("odd", "unreadable")])
        before = state(writer)
        with pytest.raises(OSError, match="went away"):
            writer.commit([(2, digest(7))], images(), [Skipped("bad", "")], ["00000", "odd"])
        assert state(writer) == before
        record(writer, [2])
        assert writer.ids() == ["00000", "00001", "00002"]
    with ledgerfile.open_reading(path) as snapshot:
        assert snapshot.skipped() == [Skipped("odd", "unreadable")]
        assert snapshot.ids() == ["00000", "00001", "00002"]


def state(snapshot):
    return (
        snapshot.revision(),
        snapshot.rows(),
        snapshot.ids(),
        snapshot.skipped(),
        snapshot.digest(),
        snapshot.counts().tolist(),
        snapshot.size(),
    )


def test_a_reader_beside_a_writer_sees_what_lies_in_the_log_alone(path):
    with ledgerfile.open_writing(path) as writer:
        record(writer, [0])
        with ledgerfile.open_reading(path) as snapshot:
            assert snapshot.ids() == ["00000"]
            record(writer, [1])
            assert snapshot.ids() == ["00000"]
        with ledgerfile.open_reading(path) as snapshot:
            assert snapshot.ids() == ["00000", "00001"]


def test_a_log_that_cannot_be_read_is_an_error_and_not_an_older_state(path, tmp_path, monkeypatch):
    """On a read-only drive SQLite cannot open a log; without it the last commits would be lost."""
    drive = tmp_path / "drive"
    drive.mkdir()
    with ledgerfile.open_writing(path) as writer:
        record(writer, [0])
        for file in (path, path.with_name(f"{NAME}-wal")):
            shutil.copy(file, drive / file.name)
    real = sqlite3.connect

    def connect(place, **options):
        if "immutable" not in place:
            raise sqlite3.OperationalError("unable to open database file")
        return real(place, **options)

    monkeypatch.setattr(sqlite3, "connect", connect)
    assert (drive / f"{NAME}-wal").stat().st_size
    with pytest.raises(IndexDamaged, match="unable to open"), ledgerfile.open_reading(drive / NAME):
        pass


QUERIES = {
    "check": (),
    "has": ("seal",),
    "seal": (),
    "generation": (),
    "blocks": (),
    "hashes": (0, 3),
    "revision": (),
    "rows": (),
    "counts": (),
    "size": (),
    "ids": (),
    "page": ("00000", 2),
    "find": ("00000",),
    "row_of": (digest(0),),
    "ids_at": ([0],),
    "skipped": (),
    "digest": (),
}


def test_every_query_is_tried():
    public = {name for name in vars(ledger.Snapshot) if not name.startswith("_")}
    assert public == set(QUERIES)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_holds_the_lock_from_its_beginning_to_its_last_row(path, query):
    """Threads share a snapshot, and SQLite's cursors of one connection must not interleave."""
    with ledgerfile.open_writing(path) as writer:
        record(writer, range(3))
    with contextlib.closing(ledgerfile._connect(path, "ro")) as connection:
        snapshot = ledger.Snapshot(Watched(connection), path)
        snapshot._connection.lock = snapshot._lock
        getattr(snapshot, query)(*QUERIES[query])
        assert snapshot._connection.fetched
        assert not snapshot._lock.locked()


class Watched:
    """A connection that insists on the lock, and so do its cursors."""

    lock: threading.Lock

    def __init__(self, connection):
        self.connection, self.fetched = connection, 0

    def execute(self, *arguments):
        assert self.lock.locked()
        self.cursor = self.connection.execute(*arguments)
        return self

    def __iter__(self):
        while row := self.fetchone():
            yield row

    def fetchone(self):
        assert self.lock.locked()
        self.fetched += 1
        return self.cursor.fetchone()

    def fetchall(self):
        return list(self)
