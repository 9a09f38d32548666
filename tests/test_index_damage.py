"""Damage to an index is noticed, told in one sentence, and mended by embedding what it met."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch

from recoseg.errors import IndexDamaged, RecosegError
from recoseg.index import blocks, compaction, journal, ledgerfile, stamp, update
from recoseg.index.index import Index
from tests.test_index import Counting
from tests.test_index import add as added
from tests.toys import Toy, paint

COUNT = 40
COLOURS = ("red", "green", "blue", "yellow", "white")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four rows a block and eleven a shard, so that there are many of both."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4 * 2 * 16)
    monkeypatch.setattr(update, "SHARD_ROWS", 11)
    monkeypatch.setattr(journal, "FLUSH_ROWS", 3)
    monkeypatch.setattr(compaction, "BLOCKS_AT_ONCE", 2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(COUNT):
        paint(tmp_path / "photos" / f"{i:02d}.png", COLOURS[i % 5], "black", size=16 + 2 * i)
    return tmp_path / "photos"


@pytest.fixture
def built(small: None, photos: Path) -> Index:
    return Index.build(photos, photos.parent / "x.index", model=Encoder(), progress=False)


class Encoder(Counting):
    """Its vectors do not depend on what else is in a batch."""

    def embed_images(self, batch: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(batch))
        return torch.cat([Toy.embed_images(self, image[None]) for image in batch])


def asked(index: Index) -> tuple[object, ...]:
    rows = index.vectors(index.ids)
    mean = [round(float(value), 6) for value in index.mean()]
    return index.ids, rows.tobytes(), index.search(rows[:3], 5), mean, index.hash


def check(index: Index, photos: Path) -> int:
    """Mend an index; how many photos were embedded for it."""
    model = Encoder()
    Index.build(photos, index.path, model=model, check=True, progress=False)
    return sum(model.batches)


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_of_a_shard_is_refused_and_mended(built, photos, seed):
    before = asked(built)
    shards = sorted((built.path / "shards").iterdir())
    assert len(shards) == 4
    dice = random.Random(seed)
    path = dice.choice(shards)
    flip(path, dice.randrange(path.stat().st_size))
    opened = Index.open(built.path)
    with pytest.raises(IndexDamaged, match=rf"{path.name} is damaged.*--check` embeds again"):
        opened.search(np.ones((1, 16)), 5)
    with pytest.raises(IndexDamaged):
        opened.vectors(opened.ids)
    with pytest.raises(IndexDamaged):
        opened.mean()
    with pytest.raises(IndexDamaged, match="--check"):
        added(opened, model=Encoder())
    assert 0 < check(built, photos) <= 4
    assert asked(Index.open(built.path)) == before


def test_only_rows_that_are_asked_for_are_checked_and_each_block_once(built, monkeypatch):
    index = Index.open(built.path)
    flip(built.path / "shards" / "000003.f16", 0)
    last = [id for id in index.ids if built._ask(lambda v, id=id: v.snapshot.find(id).row) == 33]
    rest = [id for id in index.ids if id < last[0]]
    index.vectors(rest)
    with pytest.raises(IndexDamaged):
        index.vectors(last)
    monkeypatch.setattr(blocks, "is_sound", lambda *_: pytest.fail("checked again"))
    index.vectors(rest)


def test_checks_can_be_turned_off(built):
    flip(built.path / "shards" / "000000.f16", 1)
    assert len(Index.open(built.path, verify=False).search(np.ones((1, 16)), 99)[0]) == COUNT


@pytest.mark.parametrize("harm", ["short", "missing", "zeros", "empty"])
def test_a_shard_that_is_short_missing_or_zeroed(built, photos, harm):
    before = asked(built)
    path = built.path / "shards" / "000001.f16"
    data = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes({"short": data[:-33], "zeros": bytes(len(data)), "empty": b""}[harm])
    with pytest.raises(IndexDamaged, match="--check"):
        Index.open(built.path).search(np.ones((1, 16)), 5)
    assert 0 < check(built, photos) <= 11
    assert asked(Index.open(built.path)) == before


def test_every_byte_of_a_ledger(built, photos):
    """Flip, zero and cut the ledger in many places: never other results, never another error."""
    before = asked(built)
    ledger = built.path / update.LEDGER
    whole = ledger.read_bytes()
    dice = random.Random(1)
    noticed = 0
    for number in range(150):
        data = bytearray(whole)
        place = dice.randrange(len(data))
        match number % 3:
            case 0:
                data[place] ^= 1 << dice.randrange(8)
            case 1:
                data[place : place + 64] = bytes(len(data[place : place + 64]))
            case 2:
                del data[place:]
        ledger.write_bytes(data)
        try:
            assert asked(Index.open(built.path)) == before
        except IndexDamaged:
            noticed += 1
        if number % 10 == 2:
            check(built, photos)
            assert asked(Index.open(built.path)) == before
            shutil.rmtree(built.path)
            Index.build(photos, built.path, model=Encoder(), progress=False)
            whole = ledger.read_bytes()
    assert noticed > 60


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE images SET row = 3 WHERE id = '07.png'",
        "UPDATE images SET id = 'other' WHERE id = '07.png'",
        "DELETE FROM images WHERE id = '07.png'",
        "DELETE FROM vectors WHERE row = 7",
        "UPDATE vectors SET hash = x'00' WHERE row = 7",
        "UPDATE blocks SET vectors = x'00' WHERE first = 4",
        "DELETE FROM blocks",
        "INSERT INTO skipped VALUES ('x', 'y')",
    ],
)
def test_a_ledger_that_says_something_else_is_refused_and_mended(built, photos, change):
    before = asked(built)
    with sqlite3.connect(built.path / update.LEDGER) as connection:
        connection.execute(change)
    connection.close()
    with pytest.raises(IndexDamaged, match="does not say what was written"):
        Index.open(built.path).search(np.ones((1, 16)), 3)
    assert check(built, photos) <= (COUNT if change == "DELETE FROM blocks" else 4)
    assert asked(Index.open(built.path)) == before


def test_a_lost_ledger_is_made_again(built, photos):
    before = asked(built)[2]
    (built.path / update.LEDGER).unlink()
    with pytest.raises(IndexDamaged, match=r"ledger.sqlite is missing.*--check"):
        Index.open(built.path)
    assert check(built, photos) == COUNT
    assert asked(Index.open(built.path))[2] == before


def test_nothing_is_embedded_again_where_nothing_is_damaged(built, photos):
    before = asked(built)
    assert check(built, photos) == 0
    assert asked(built) == before


def test_a_manifest_that_says_something_else_is_refused(built):
    path = built.path / "manifest.json"
    path.write_text(path.read_text().replace('"toy"', '"boy"'))
    with pytest.raises(IndexDamaged, match="does not say what was written"):
        Index.open(built.path)


def old(index: Index) -> None:
    """Make an index what it was before there were digests."""
    with sqlite3.connect(index.path / update.LEDGER) as connection:
        connection.executescript(
            "DROP TABLE seal; DROP TABLE blocks;"
            "ALTER TABLE images DROP COLUMN ctime_ns; ALTER TABLE images DROP COLUMN inode;"
            "ALTER TABLE images DROP COLUMN read_ns;"
        )
    connection.close()


def test_an_old_index_is_read_as_it_is_and_gets_digests_at_its_next_update(built, photos):
    before = asked(built)
    old(built)
    assert asked(Index.open(built.path)) == before
    model = Encoder()
    assert added(Index.open(built.path), model=model).unchanged == COUNT
    assert model.batches == []
    assert asked(Index.open(built.path)) == before
    with ledgerfile.open_reading(built.path / update.LEDGER) as snapshot:
        assert sum(block.rows for block in snapshot.blocks()) == COUNT
        assert snapshot.seal() is not None
    flip(built.path / "shards" / "000002.f16", 5)
    with pytest.raises(IndexDamaged):
        asked(Index.open(built.path))


def test_what_an_older_version_appends_is_no_damage(built, photos):
    """It knows no digests: they then cover what was there before, until the next update."""
    connection = sqlite3.connect(built.path / update.LEDGER)
    with connection:
        connection.execute("INSERT INTO vectors VALUES (40, x'aa')")
        connection.execute("INSERT INTO images(id,row,size,mtime_ns) VALUES ('new.png',40,1,1)")
        connection.execute("UPDATE revision SET number = number + 1")
    connection.close()
    with (built.path / "shards" / "000003.f16").open("ab") as stream:
        stream.write(bytes(32))
    assert len(Index.open(built.path).vectors(["new.png", "39.png"])) == 2
    added(Index.open(built.path))
    with ledgerfile.open_reading(built.path / update.LEDGER) as snapshot:
        snapshot.check()


def test_a_block_is_damaged_if_an_update_finds_it_so_before_it_appends(built, photos, monkeypatch):
    index = Index.open(built.path)
    paint(photos / "zz.png", "yellow", "red")
    sound = blocks.is_sound
    monkeypatch.setattr(blocks, "is_sound", lambda s, b: b.first == 0 and sound(s, b))
    with pytest.raises(IndexDamaged):
        added(index, model=Encoder())


class TestCompaction:
    def test_most_rows_without_an_image_are_dropped(self, built, photos):
        for turn in range(10):
            for i in range(COUNT):
                paint(photos / f"{i:02d}.png", COLOURS[(i + turn) % 5], "red", size=20 + i + turn)
            added(built, model=Encoder())
        with ledgerfile.open_reading(built.path / update.LEDGER) as snapshot:
            assert snapshot.rows() <= 2 * COUNT
        fresh = Index.build(photos, photos.parent / "fresh", model=Encoder(), progress=False)
        assert fresh.hash == built.hash
        np.testing.assert_array_equal(fresh.vectors(fresh.ids), built.vectors(fresh.ids))

    def test_it_can_be_asked_for(self, built, photos):
        reader = Index.open(built.path)
        for i in range(10):
            (photos / f"{i:02d}.png").unlink()
        model = Encoder()
        built.add(model=model, progress=False)
        query = np.ones((1, 16))
        before, mean = reader.search(query, 50), reader.mean()
        built.add(model=model, compact=True, progress=False)
        assert model.batches == []
        with ledgerfile.open_reading(built.path / update.LEDGER) as snapshot:
            assert snapshot.rows() == COUNT - 10
            snapshot.check()
        stored = sum(path.stat().st_size for path in (built.path / "shards-1").iterdir())
        assert stored == 30 * 32
        assert not (built.path / "shards").exists()
        # Scores, too, since they are of the same rows.
        for index in (reader, Index.open(built.path)):
            assert index.search(query, 50) == before
            np.testing.assert_allclose(index.mean(), mean, atol=1e-7)
        paint(photos / "new.png", "yellow", "blue")
        built.add(model=model, progress=False)
        assert len(Index.open(built.path).search(query, 50)[0]) == 31

    def test_a_reader_that_is_overtaken_asks_again(self, built, photos, monkeypatch):
        reader = Index.open(built.path)
        before = reader.search(np.ones((1, 16)), 9)
        reader = Index.open(built.path)
        check_once, overtakes = stamp.check, []

        def overtaken(snapshot):
            check_once(snapshot)
            monkeypatch.setattr(stamp, "check", check_once)
            overtakes.append(built.add(model=Encoder(), compact=True, progress=False))

        monkeypatch.setattr(stamp, "check", overtaken)
        assert reader.search(np.ones((1, 16)), 9) == before
        assert overtakes

    def test_a_damaged_row_is_not_copied(self, built, photos):
        flip(built.path / "shards" / "000000.f16", 0)
        with (
            ledgerfile.open_writing(built.path / update.LEDGER) as writer,
            pytest.raises(IndexDamaged),
        ):
            compaction.compact(built.path, update.shards_of(built.path, built._manifest), writer)
        assert not (built.path / "shards-1").exists()

    @pytest.mark.parametrize("moment", ["_copy_rows", "sweep"])
    def test_an_interrupt_loses_nothing(self, built, photos, monkeypatch, moment):
        before = asked(built)
        monkeypatch.setattr(compaction, moment, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            built.add(model=Encoder(), compact=True, progress=False)
        monkeypatch.undo()
        assert asked(Index.open(built.path)) == before
        assert added(built, model=Encoder()).unchanged == COUNT
        assert len([path for path in built.path.iterdir() if path.is_dir()]) == 1


def test_a_full_disk_does_not_suggest_to_delete_the_index(built, monkeypatch):
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    with (
        pytest.raises(RecosegError, match=r"make room or give permission.*work is kept") as caught,
        ledgerfile.open_reading(built.path / update.LEDGER),
    ):
        raise full
    assert not isinstance(caught.value, IndexDamaged)
    assert "delete" not in str(caught.value)


class TestUnchanged:
    def test_the_same_size_and_time_with_other_content(self, built, photos):
        import os

        path = photos / "05.png"
        for other in (photos / "06.png",):
            state = path.stat()
            data = other.read_bytes()[: state.st_size].ljust(state.st_size, b"\0")
            path.write_bytes(data)
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        changes = added(built, model=Encoder())
        assert changes.changed == 1

    def test_what_is_younger_than_the_last_look_is_read_again(self, built, photos, monkeypatch):
        """A change within one tick of the file system's clock leaves no other trace."""
        settled(built)
        assert reads(built, monkeypatch) == []
        with ledgerfile.open_writing(built.path / update.LEDGER) as writer, writer.change() as c:
            c.execute("UPDATE images SET read_ns = ctime_ns + 1000 WHERE id = '07.png'")
        assert reads(built, monkeypatch) == ["07.png"]
        assert reads(built, monkeypatch) == ["07.png"]  # the file is still young


def settled(index: Index) -> None:
    """Let the photos have been written long before they were read."""
    with (
        ledgerfile.open_writing(index.path / update.LEDGER) as writer,
        writer.change() as connection,
    ):
        connection.execute("UPDATE images SET read_ns = read_ns + 10000000000")


def reads(index: Index, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from recoseg.io.archive import Archive

    read: list[str] = []
    real = Archive.read
    with monkeypatch.context() as patch:
        patch.setattr(Archive, "read", lambda self, id: read.append(id) or real(self, id))
        added(index, model=Encoder())
    return read
