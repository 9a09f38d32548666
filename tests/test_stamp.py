"""The digest of the ledger's file spares the look at its rows, and never hides what they say."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import subprocess

import numpy as np
import pytest

from recoseg.errors import IndexDamaged
from recoseg.index import ledgerfile, stamp, update
from recoseg.index.index import Index
from recoseg.index.ledger import Snapshot
from recoseg.io.sources import Skipped
from tests.test_ledger import NAME, digest, record
from tests.toys import Toy, paint

QUERY = np.ones((1, 16))


@pytest.fixture
def looks(monkeypatch):
    """The ledgers whose rows were looked at."""
    found, check = [], Snapshot.check
    monkeypatch.setattr(Snapshot, "check", lambda self: (found.append(self.path), check(self))[1])
    return found


@pytest.fixture
def built(tmp_path):
    for colour in ("red", "green", "blue"):
        paint(tmp_path / "photos" / f"{colour}.png", colour)
    return Index.build(tmp_path / "photos", tmp_path / "index", model=Toy(), progress=False)


@pytest.fixture
def ledger(built):
    return built.path / update.LEDGER


@pytest.fixture
def note(ledger):
    return ledger.with_name(ledger.name + stamp.SUFFIX)


def ask(index):
    opened = Index.open(index.path)
    return opened.ids, opened.search(QUERY, 3)


def test_the_note_is_one_that_sha256sum_reads(ledger, note):
    assert note.read_text() == f"{hashlib.sha256(ledger.read_bytes()).hexdigest()}  {ledger.name}\n"
    if shutil.which("sha256sum"):
        words = ["sha256sum", "--check", "--quiet", note.name]
        subprocess.run(words, cwd=note.parent, check=True)


def test_neither_opening_nor_an_update_with_nothing_changed_looks_at_rows(
    built, looks, monkeypatch
):
    monkeypatch.setattr(update, "COARSE_NS", -60 * 10**9)  # the photos are young
    before = ask(built)
    assert built.add(model=Toy(), progress=False).unchanged == 3
    assert ask(built) == before
    assert looks == []


def test_a_change_is_looked_at_once_by_its_writer(built, looks, tmp_path, ledger):
    paint(tmp_path / "photos" / "new.png", "white")
    built.add(model=Toy(), progress=False)
    assert looks == [ledger]
    assert len(ask(built)[0]) == 4
    assert looks == [ledger]


@pytest.mark.parametrize("harm", ["none", "empty", "other", "folder"])
def test_without_its_note_a_ledger_is_looked_at(built, looks, note, harm, ledger):
    before = ask(built)
    note.unlink()
    if harm == "folder":
        note.mkdir()
    elif harm != "none":
        note.write_bytes({"empty": b"", "other": b"\xff" * 80}[harm])
    assert ask(built) == before
    assert looks == [ledger]


def test_each_changed_byte_of_the_file_is_looked_at(built, looks, ledger):
    whole = bytearray(ledger.read_bytes())
    for place in range(0, len(whole), 1531):
        whole[place] ^= 4
        ledger.write_bytes(whole)
        looks.clear()
        try:
            assert len(ask(built)[0]) == 3
        except IndexDamaged:
            pass
        else:
            assert looks == [ledger]
        whole[place] ^= 4


def test_a_damaged_ledger_gets_no_note(built, ledger, note):
    with sqlite3.connect(ledger) as connection:
        connection.execute("DELETE FROM images WHERE id = 'red.png'")
    connection.close()
    before = note.read_bytes()
    with ledgerfile.open_writing(ledger) as writer:
        writer.commit(skipped=[Skipped("odd.png", "unreadable")])
    assert note.read_bytes() == before
    with pytest.raises(IndexDamaged, match="does not say what was written"):
        ask(built)


def test_damage_while_the_writer_looks_gets_no_note(built, ledger, note, monkeypatch):
    """What is noted is the file as it was before the look, if it is so after it."""
    check = Snapshot.check

    def damaged(self):
        check(self)
        data = ledger.read_bytes()
        ledger.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    monkeypatch.setattr(Snapshot, "check", damaged)
    before = note.read_bytes()
    with ledgerfile.open_writing(ledger) as writer:
        writer.commit(skipped=[Skipped("odd.png", "unreadable")])
    assert note.read_bytes() == before


def test_what_is_in_the_log_alone_is_looked_at(tmp_path, looks):
    path = tmp_path / NAME
    with ledgerfile.open_writing(path, create=True) as writer:
        record(writer, range(3))
    looks.clear()
    with ledgerfile.open_writing(path) as writer:
        record(writer, range(3, 6))
        with ledgerfile.open_reading(path) as snapshot:
            stamp.check(snapshot)
            assert snapshot.size() == 6
        assert looks == [path]


def test_a_writer_that_fails_leaves_the_old_note_which_then_holds_for_nothing(tmp_path, looks):
    path = tmp_path / NAME
    with ledgerfile.open_writing(path, create=True) as writer:
        record(writer, range(3))
    looks.clear()

    def killed():
        with ledgerfile.open_writing(path) as writer:
            record(writer, range(3, 6))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    with ledgerfile.open_reading(path) as snapshot:
        stamp.check(snapshot)
        assert snapshot.row_of(digest(5)) == 5
    assert looks == [path]


def test_a_disk_without_room_for_the_note_loses_nothing_else(built, ledger, note, monkeypatch):
    def full(path, data):
        raise ledgerfile.RecosegError(f"{path} cannot be written")

    monkeypatch.setattr(stamp.durable, "write", full)
    with ledgerfile.open_writing(ledger) as writer:
        writer.commit(skipped=[Skipped("odd.png", "unreadable")])
    monkeypatch.undo()
    assert len(ask(built)[0]) == 3
    assert built.skipped == [Skipped("odd.png", "unreadable")]
