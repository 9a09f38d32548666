"""The index: what it holds, what it refuses, and that its search is exact."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recoseg.errors import (
    ArchiveError,
    IndexDamaged,
    IndexMismatch,
    InputError,
    Locked,
    RecosegError,
    UnknownModel,
)
from recoseg.index import journal, ledger, search, update
from recoseg.index.index import Changes, Hit, Index
from recoseg.index.shards import Shards
from recoseg.io import locks
from recoseg.io.archive import Archive
from recoseg.models import registry
from tests.test_archive import png, tar
from tests.toys import COLOURS, Toy, paint

PAINTED = {
    "red.png": ("red", None),
    "green.png": ("green", None),
    "sub/blue.png": ("blue", None),
    "sub/blue in white.png": ("white", "blue"),
    "yellow.jpg": ("yellow", None),
}


class Counting(Toy):
    """Counts the images that are encoded and remembers the batch sizes."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.batches: list[int] = []

    def embed_images(self, batch: Tensor) -> Tensor:
        self.batches.append(len(batch))
        return super().embed_images(batch)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, (background, square) in PAINTED.items():
        paint(tmp_path / "photos" / name, background, square)
    return tmp_path / "photos"


@pytest.fixture
def built(photos: Path, toy: Toy) -> Index:
    return Index.build(photos, photos.parent / "x.index", model=toy, progress=False)


def add(index: Index, source: object = None, model: Toy | None = None) -> Changes:
    return index.add(source, model=model or Toy(), progress=False)


def direct(index: Index, photos: Path, toy: Toy) -> np.ndarray:
    archive = Archive.open(photos)
    batch = torch.stack([toy.preprocess(archive.image(id)) for id in index.ids])
    return toy.embed_images(batch).numpy()


class TestBuild:
    def test_one_unit_row_per_image(self, built, photos, toy):
        assert built.ids == sorted(PAINTED)
        assert len(built) == len(PAINTED)
        vectors = built.vectors(built.ids)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(vectors, direct(built, photos, toy), atol=1e-3)

    def test_facts_of_the_index(self, built, toy, tmp_path):
        assert (built.model_id, built.fingerprint, built.dim) == ("toy", toy.fingerprint, 16)
        assert built.path == tmp_path / "x.index"
        assert built.skipped == []
        assert repr(built).endswith("5 images, toy)")

    def test_opens_without_model_or_archive(self, built, photos, toy):
        shutil.rmtree(photos)
        index = Index.open(str(built.path))
        assert index.ids == sorted(PAINTED)
        assert index.search(toy.embed_texts(["red"]), 1)[0][0].id == "red.png"

    def test_moving_the_index_changes_nothing(self, built, tmp_path):
        built.path.rename(tmp_path / "moved")
        assert Index.open(tmp_path / "moved").image("red.png").shape == (64, 64, 3)

    @pytest.mark.parametrize("batch_size", [1, 3, 100])
    @pytest.mark.parametrize("workers", [1, 5])
    def test_batches_and_threads_change_no_row(self, built, photos, tmp_path, batch_size, workers):
        model = Counting()
        other = Index.build(
            photos,
            tmp_path / "y",
            model=model,
            batch_size=batch_size,
            workers=workers,
            progress=False,
        )
        np.testing.assert_array_equal(other.vectors(other.ids), built.vectors(built.ids))
        assert other.hash == built.hash
        assert max(model.batches) == min(batch_size, len(PAINTED))

    def test_running_again_encodes_nothing(self, built, photos):
        model = Counting()
        Index.build(photos, built.path, model=model, progress=False)
        assert model.batches == []

    def test_equal_contents_are_encoded_once(self, photos, tmp_path):
        for i in range(7):
            shutil.copy(photos / "red.png", photos / f"copy{i}.png")
        model = Counting()
        index = Index.build(photos, tmp_path / "y", model=model, batch_size=2, progress=False)
        assert sum(model.batches) == len(PAINTED)
        assert len(index) == len(PAINTED) + 7
        hits = index.search(model.embed_texts(["red"]), 8)[0]
        assert [hit.id for hit in hits] == [*(f"copy{i}.png" for i in range(7)), "red.png"]
        assert len({hit.score for hit in hits}) == 1

    @pytest.mark.parametrize("cores", [2, 4])
    def test_encoders_side_by_side_change_nothing(self, built, photos, tmp_path, cores):
        for i in range(30):
            shutil.copy(photos / "red.png", photos / f"copy {i}.png")
        torch.set_num_threads(cores)
        model = Counting()
        index = Index.build(photos, tmp_path / "y", model=model, batch_size=1, progress=False)
        assert sum(model.batches) == len(PAINTED)
        assert len(index) == len(PAINTED) + 30
        np.testing.assert_array_equal(index.vectors(built.ids), built.vectors(built.ids))
        assert torch.get_num_threads() == cores

    def test_from_tar_shards(self, tmp_path, toy):
        tar(tmp_path / "s.tar", {f"{colour}.png": png(colour) for colour in COLOURS})
        index = Index.build(tmp_path / "s.tar", tmp_path / "y", model=toy, progress=False)
        for colour in ("red", "green", "blue"):
            assert index.search(toy.embed_texts([colour]), 1)[0][0].id == f"s.tar/{colour}.png"
            assert index.image(f"s.tar/{colour}.png")[0, 0].tolist() == list(COLOURS[colour])

    def test_hostile_files_are_listed_with_reasons(self, photos, tmp_path, toy):
        (photos / "text.jpg").write_text("hello")
        (photos / "empty.png").touch()
        (photos / "half.png").write_bytes((photos / "red.png").read_bytes()[:90])
        (photos / "gone.png").symlink_to("nowhere")
        index = Index.build(photos, tmp_path / "y", model=toy, progress=False)
        assert index.ids == sorted(PAINTED)
        reasons = dict(index.skipped)
        assert list(reasons) == ["empty.png", "gone.png", "half.png", "text.jpg"]
        assert "is empty" in reasons["empty.png"]
        assert all(reason.startswith(id) for id, reason in reasons.items())

    def test_a_model_that_stumbles_over_one_image_skips_it(self, photos, tmp_path):
        class Fragile(Toy):
            def preprocess(self, image: np.ndarray) -> Tensor:
                if image[0, 0, 2] > 200 and image[0, 0, 0] < 100:
                    raise ZeroDivisionError("blue")
                return super().preprocess(image)

            def embed_images(self, batch: Tensor) -> Tensor:
                vectors = super().embed_images(batch)
                return torch.where((batch[:, 1, 0, 0] < 0.2)[:, None], torch.nan, vectors)

        index = Index.build(photos, tmp_path / "y", model=Fragile(), progress=False)
        reasons = dict(index.skipped)
        assert "ZeroDivisionError: blue" in reasons["sub/blue.png"]
        assert reasons["red.png"] == "red.png has no finite embedding in toy"
        assert len(index) == len(PAINTED) - 2

    def test_nothing_readable_is_an_error_with_the_first_reason(self, tmp_path, toy):
        (tmp_path / "p").mkdir()
        (tmp_path / "p" / "text.jpg").write_text("hello")
        with pytest.raises(ArchiveError, match=r"none of the 1 images .* text\.jpg cannot be read"):
            Index.build(tmp_path / "p", tmp_path / "y", model=toy, progress=False)

    def test_progress_reaches_the_total(self, photos, tmp_path, toy):
        shutil.copy(photos / "red.png", photos / "copy.png")
        (photos / "bad.png").touch()
        calls: list[tuple[int, int]] = []
        Index.build(
            photos,
            tmp_path / "y",
            model=toy,
            progress=lambda done, total: calls.append((done, total)),
        )
        total = len(PAINTED) + 2
        assert calls[0] == (0, total)
        assert calls[-1] == (total, total)
        assert [done for done, _ in calls] == sorted(done for done, _ in calls)

    def test_the_input_size_of_a_model_reaches_the_decoder(self, photos, tmp_path, monkeypatch):
        class Small(Toy):
            input_size = 32
            seen: list[int] = []  # noqa: RUF012

            def preprocess(self, image: np.ndarray) -> Tensor:
                self.seen.append(min(image.shape[:2]))
                return super().preprocess(image)

        paint(photos / "large.jpg", "red", size=640)
        Index.build(photos, tmp_path / "y", model=Small(), progress=False)
        assert max(Small.seen) == 80
        assert json.loads((tmp_path / "y" / "manifest.json").read_text())["preprocess"] == {
            "shape": [3, 32, 32],
            "input_size": 32,
        }

    def test_odd_names(self, tmp_path, toy):
        names = ["with space.png", "ünïcode 写真.png", "new\nline.png", "quo'te\".png", "%20#?.png"]
        for name in names:
            paint(tmp_path / "p" / name, "red", None)
        out = tmp_path / "in dex #1?%20é"
        index = Index.build(tmp_path / "p", out, model=toy, progress=False)
        assert index.ids == sorted(names)
        assert Index.open(out).image("new\nline.png").shape == (64, 64, 3)


class TestAdd:
    def test_only_the_difference_is_done(self, built, photos):
        paint(photos / "new.png", "black")
        paint(photos / "green.png", "white", "red")
        (photos / "red.png").unlink()
        (photos / "bad.png").touch()
        model = Counting()
        assert add(built, model=model) == Changes(1, 1, 1, 3, 1)
        assert sum(model.batches) == 2
        assert built.ids == sorted({*PAINTED, "new.png"} - {"red.png"})
        np.testing.assert_allclose(
            built.vectors(built.ids), direct(built, photos, model), atol=1e-3
        )

    def test_equals_an_index_built_afresh(self, built, photos, tmp_path, toy):
        paint(photos / "new.png", "black")
        (photos / "red.png").unlink()
        add(built)
        fresh = Index.build(photos, tmp_path / "fresh", model=toy, progress=False)
        assert fresh.hash == built.hash
        queries = toy.embed_texts(["red", "black"])
        assert fresh.search(queries, 9) == built.search(queries, 9)
        np.testing.assert_allclose(fresh.mean(), built.mean(), atol=1e-6)

    def test_a_touched_file_is_read_but_not_encoded(self, built, photos):
        (photos / "red.png").touch()
        model = Counting()
        assert add(built, model=model) == Changes(unchanged=5)
        assert model.batches == []

    def test_renamed_and_returned_files_are_not_encoded(self, built, photos):
        (photos / "red.png").rename(photos / "rot.png")
        model = Counting()
        assert add(built, model=model) == Changes(added=1, removed=1, unchanged=4)
        (photos / "rot.png").rename(photos / "red.png")
        assert add(built, model=model) == Changes(added=1, removed=1, unchanged=4)
        assert model.batches == []

    def test_a_repaired_file_leaves_the_list_of_skipped(self, built, photos):
        (photos / "bad.png").touch()
        assert add(built).skipped == 1
        assert add(built) == Changes(unchanged=5, skipped=1)
        paint(photos / "bad.png", "black")
        assert add(built).added == 1
        assert built.skipped == []
        (photos / "bad.png").write_bytes(b"broken again")
        assert add(built).skipped == 1
        assert "bad.png" not in built.ids
        (photos / "bad.png").unlink()
        add(built)
        assert built.skipped == []

    def test_deleted_rows_are_never_found(self, built, photos, toy):
        (photos / "red.png").unlink()
        add(built)
        hits = built.search(toy.embed_texts(["red"]), 10)[0]
        assert len(hits) == 4
        assert "red.png" not in {hit.id for hit in hits}
        with pytest.raises(ArchiveError, match=r"red\.png is not in"):
            built.vectors(["red.png"])

    def test_an_open_reader_sees_what_was_added(self, built, photos, toy):
        reader = Index.open(built.path)
        assert len(reader.search(toy.embed_texts(["red"]), 10)[0]) == 5
        paint(photos / "new.png", "red", "black")
        add(built)
        assert len(reader.search(toy.embed_texts(["red"]), 10)[0]) == 6

    def test_an_archive_that_moved(self, built, photos, tmp_path):
        photos.rename(tmp_path / "elsewhere")
        with pytest.raises(ArchiveError, match="holds no image"):
            add(built)
        assert len(built) == 5
        assert add(built, tmp_path / "elsewhere") == Changes(unchanged=5)
        assert Index.open(built.path).image("red.png").shape == (64, 64, 3)
        assert built.image("red.png").shape == (64, 64, 3)
        assert add(built) == Changes(unchanged=5)

    def test_another_archive_is_refused(self, built, tmp_path):
        paint(tmp_path / "other" / "o.png", "red")
        with pytest.raises(ArchiveError, match="holds none of the 5 images"):
            add(built, tmp_path / "other")
        with pytest.raises(ArchiveError, match=r"was built from .*photos, not from .*other; give"):
            Index.build(tmp_path / "other", built.path, model=Toy(), progress=False)

    def test_an_archive_object_is_listed_anew(self, built, photos):
        archive = Archive.open(photos)
        assert len(archive) == 5
        paint(photos / "new.png", "black")
        assert add(built, archive).added == 1

    def test_the_recorded_model_is_loaded(self, built, monkeypatch):
        monkeypatch.setattr(registry, "load", lambda model, device=None: Toy())
        assert built.add(progress=False).unchanged == 5


class TestRefusals:
    def test_a_foreign_model(self, built, photos):
        class Other(Toy):
            id = "other"

        foreign = Other(seed=1)
        with pytest.raises(IndexMismatch, match=r"built by the model 'toy', not by 'other'; use"):
            Index.build(photos, built.path, model=foreign, progress=False)
        with pytest.raises(IndexMismatch, match="'other'"):
            add(built, model=foreign)
        with pytest.raises(IndexMismatch, match="'other'"):
            built.check(foreign)

    def test_a_stale_model(self, built, photos):
        with pytest.raises(IndexMismatch, match=r"other weights .* of 'toy' .*; build a new index"):
            Index.build(photos, built.path, model=Toy(seed=1), progress=False)
        built.check(Toy())

    def test_an_unknown_model(self, photos, tmp_path):
        with pytest.raises(UnknownModel):
            Index.build(photos, tmp_path / "y", model="no such model", progress=False)
        assert not (tmp_path / "y").exists()

    def test_a_folder_of_something_else(self, photos, toy):
        before = sorted(photos.rglob("*"))
        with pytest.raises(IndexDamaged, match="holds other files"):
            Index.build(photos, photos, model=toy, progress=False)
        assert sorted(photos.rglob("*")) == before
        with pytest.raises(IndexDamaged, match="is a file"):
            Index.build(photos, photos / "red.png", model=toy, progress=False)

    @pytest.mark.parametrize(
        ("name", "what"),
        [
            ("missing", "does not exist"),
            ("photos", "is not an index"),
            ("photos/red.png", "is not an index"),
        ],
    )
    def test_no_index(self, photos, tmp_path, name, what):
        with pytest.raises(IndexDamaged, match=what):
            Index.open(tmp_path / name)

    @pytest.mark.parametrize(
        "text",
        ["", "{", "[]", '{"format": "recoseg index"}', '{"format": "x", "version": 1}', "\xff"],
    )
    def test_a_corrupt_manifest(self, built, photos, text):
        (built.path / "manifest.json").write_text(text, encoding="latin-1")
        with pytest.raises(IndexDamaged, match=r"manifest\.json is broken"):
            Index.open(built.path)
        with pytest.raises(IndexDamaged, match=r"manifest\.json is broken"):
            Index.build(photos, built.path, model=Toy(), progress=False)

    @pytest.mark.parametrize(
        ("field", "value"), [("dim", "16"), ("dim", 0), ("archive", []), ("model", None)]
    )
    def test_a_manifest_with_a_wrong_field(self, built, field, value):
        path = built.path / "manifest.json"
        data = {**json.loads(path.read_text()), field: value, "digest": None}
        path.write_text(json.dumps(data))
        with pytest.raises(IndexDamaged, match=field):
            Index.open(built.path)

    def test_a_future_format(self, built, photos):
        path = built.path / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
        for attempt in (
            lambda: Index.open(built.path),
            lambda: Index.build(photos, built.path, model=Toy(), progress=False),
        ):
            with pytest.raises(IndexMismatch, match=r"format 2 .* reads 1; upgrade"):
                attempt()

    @pytest.mark.parametrize("name", ["shards/000000.f16", "ledger.sqlite"])
    @pytest.mark.parametrize("harm", ["missing", "short"])
    def test_a_missing_or_short_part(self, built, photos, name, harm):
        path = built.path / name
        if harm == "missing":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:70])
        for attempt in (
            lambda: Index.open(built.path),
            lambda: Index.build(photos, built.path, model=Toy(), progress=False),
            lambda: add(built),
            lambda: built.search(torch.ones(1, 16), 1),
        ):
            with pytest.raises(IndexDamaged, match=r"000000\.f16|ledger\.sqlite"):
                attempt()

    def test_a_ledger_that_is_no_database(self, built):
        (built.path / "ledger.sqlite").write_bytes(b"x" * 8192)
        with pytest.raises(IndexDamaged, match="not a database"):
            Index.open(built.path)

    def test_two_writers_in_one_process(self, built, photos):
        with locks.hold(built.path / "lock", "it"):
            with pytest.raises(Locked, match=r"process \d+\) is at work on .*wait"):
                Index.build(photos, built.path, model=Toy(), progress=False)
            with pytest.raises(Locked):
                add(built)
        assert add(built).unchanged == 5

    def test_a_full_disk_is_told_and_loses_nothing(self, photos, tmp_path, toy, monkeypatch):
        def full(*_args: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(Shards, "_put", full)
            with pytest.raises(RecosegError, match=r"No space left .* make room"):
                Index.build(photos, tmp_path / "y", model=toy, progress=False)
        index = Index.build(photos, tmp_path / "y", model=toy, progress=False)
        np.testing.assert_allclose(index.vectors(index.ids), direct(index, photos, toy), atol=1e-3)


class TestTorn:
    def test_a_torn_tail_is_never_read_and_then_overwritten(self, built, photos, toy):
        before = built.search(toy.embed_texts(["red"]), 9)
        shard = built.path / "shards" / "000000.f16"
        with shard.open("ab") as stream:
            stream.write(b"\x7e" * 77)
        (built.path / "shards" / "000001.f16").write_bytes(b"\x7e" * 100)
        assert Index.open(built.path).search(toy.embed_texts(["red"]), 9) == before
        paint(photos / "new.png", "black")
        add(built)
        assert shard.stat().st_size == 6 * 16 * 2
        assert not (built.path / "shards" / "000001.f16").exists()
        np.testing.assert_allclose(built.vectors(built.ids), direct(built, photos, toy), atol=1e-3)

    @pytest.mark.parametrize("left", [("lock",), ("lock", "ledger.sqlite", "shards")])
    def test_a_build_that_died_before_its_manifest(self, built, photos, tmp_path, toy, left):
        for path in built.path.iterdir():
            if path.name not in left:
                path.unlink() if path.is_file() else shutil.rmtree(path)
        with pytest.raises(IndexDamaged, match="is not an index"):
            Index.open(built.path)
        again = Index.build(photos, built.path, model=toy, progress=False)
        assert again.ids == sorted(PAINTED)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
    def test_an_interrupt_keeps_what_was_done(self, photos, tmp_path, error):
        class Interrupted(Counting):
            def embed_images(self, batch: Tensor) -> Tensor:
                if len(self.batches) == 3:
                    raise error
                return super().embed_images(batch)

        first = Interrupted()
        with pytest.raises(error):
            Index.build(photos, tmp_path / "y", model=first, batch_size=1, progress=False)
        assert len(Index.open(tmp_path / "y")) == 3
        second = Counting()
        index = Index.build(photos, tmp_path / "y", model=second, batch_size=1, progress=False)
        assert sum(second.batches) == 2
        assert index.ids == sorted(PAINTED)

    @pytest.mark.parametrize("moment", ["append", "commit", "clear"])
    def test_an_interrupt_inside_a_flush(self, photos, tmp_path, monkeypatch, moment):
        monkeypatch.setattr(journal, "FLUSH_ROWS", 2)
        armed = [True]

        def once(function):
            def wrapped(*args, **options):
                result = function(*args, **options)
                if armed and moment != "append":
                    armed.clear()
                    raise KeyboardInterrupt
                return result

            return wrapped

        def torn(self, first, rows):
            if armed:
                armed.clear()
                append(self, first, rows[:1])
                raise KeyboardInterrupt
            append(self, first, rows)

        append = Shards.append
        if moment == "append":
            monkeypatch.setattr(Shards, "append", torn)
        elif moment == "commit":
            monkeypatch.setattr(Shards, "append", once(append))
        else:
            monkeypatch.setattr(ledger.Writer, "commit", once(ledger.Writer.commit))
        with pytest.raises(KeyboardInterrupt):
            Index.build(photos, tmp_path / "y", model=Toy(), batch_size=1, progress=False)
        model = Counting()
        index = Index.build(photos, tmp_path / "y", model=model, progress=False)
        assert sum(model.batches) <= 3
        assert index.ids == sorted(PAINTED)
        np.testing.assert_allclose(
            index.vectors(index.ids), direct(index, photos, model), atol=1e-3
        )

    def test_readers_beside_a_writer_see_whole_states(self, photos, tmp_path, monkeypatch):
        monkeypatch.setattr(journal, "FLUSH_ROWS", 1)
        monkeypatch.setattr(update, "SHARD_ROWS", 3)
        for i in range(30):
            paint(photos / f"{i}.png", "red", "black", size=20 + 2 * i)
        Index.build([photos / "red.png"], tmp_path / "warm", model=Toy(), progress=False)
        writer = threading.Thread(
            target=lambda: Index.build(
                photos, tmp_path / "y", model=Toy(), batch_size=1, progress=False
            )
        )
        writer.start()
        seen = []
        while writer.is_alive():
            with contextlib.suppress(IndexDamaged):  # no manifest yet
                index = Index.open(tmp_path / "y")
                seen.append(len(index.search(torch.ones(2, 16), 99)[1]))
        writer.join()
        assert seen == sorted(seen)
        assert len(Index.open(tmp_path / "y")) == 35

    def test_an_index_on_a_read_only_drive(self, built, toy, monkeypatch):
        """Where SQLite cannot make its side files, a log-free ledger is read as it is."""
        real = sqlite3.connect

        def connect(place: str, **options: object) -> sqlite3.Connection:
            if "immutable" not in place:
                raise sqlite3.OperationalError("unable to open database file")
            return real(place, **options)

        monkeypatch.setattr(sqlite3, "connect", connect)
        assert not (built.path / "ledger.sqlite-wal").exists()
        assert built.search(toy.embed_texts(["red"]), 1)[0][0].id == "red.png"


class TestImage:
    def test_pixels(self, built):
        assert built.image("sub/blue.png")[0, 0].tolist() == list(COLOURS["blue"])

    def test_unknown(self, built):
        with pytest.raises(ArchiveError, match=r"nope\.png is not in .*x\.index"):
            built.image("nope.png")

    def test_vanished(self, built, photos):
        (photos / "red.png").unlink()
        with pytest.raises(ArchiveError, match=r"red\.png cannot be read .*restore"):
            built.image("red.png")

    def test_changed(self, built, photos):
        paint(photos / "red.png", "green")
        with pytest.raises(
            ArchiveError, match=r"red\.png in .* was changed after .* `recoseg index`"
        ):
            built.image("red.png")


class TestHash:
    def test_depends_on_ids_and_contents_only(self, built, photos, tmp_path, toy):
        shutil.copytree(photos, tmp_path / "copy")
        other = Index.build(tmp_path / "copy", tmp_path / "y", model=toy, progress=False)
        assert other.hash == built.hash
        before = built.hash
        (photos / "red.png").rename(photos / "rot.png")
        add(built)
        assert built.hash != before


# Search against the plain definition, on shards made by hand.


def store(folder: Path, rows: np.ndarray, size: int) -> tuple[Shards, np.ndarray]:
    shards = Shards(folder, rows.shape[1], size)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    half = unit.astype(np.float16)
    shards.append(0, half)
    return shards, half


def oracle(
    half: np.ndarray, alive: np.ndarray, query: np.ndarray, k: int
) -> list[tuple[int, float]]:
    query = query / np.linalg.norm(query)
    rows = half.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1)
    scores = (rows * query).sum(1) / np.where(norms > 0, norms, 1)
    ranked = sorted((-scores[i], i) for i in np.flatnonzero(alive))
    best = [(int(i), float(-score)) for score, i in ranked]
    return [hit for hit in best if len(best) <= k or hit[1] >= best[k - 1][1]]


@given(
    st.integers(1, 60),
    st.integers(1, 9),
    st.integers(1, 70),
    st.integers(1, 20),
    st.integers(1, 5),
    st.integers(0, 2**31),
)
@settings(max_examples=80, deadline=None)
def test_search_is_exact(n, dim, k, size, q, seed):
    import tempfile

    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, dim))
    rows[rng.random(n) < 0.3] = rows[0]  # ties
    alive = rng.random(n) < 0.8
    queries = F.normalize(torch.from_numpy(rng.standard_normal((q, dim))).float(), dim=1)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_rows", lambda _dim, _queries: 1 + seed % 7)
        patch.setattr(search, "TILE", 3)
        patch.setattr(search, "SCORE_BYTES", 64 * (seed % 3))
        shards, half = store(Path(folder) / "s", rows, size)
        found = search.nearest(shards, alive, queries, k)
    for query, (got, scores) in zip(queries.double().numpy(), found, strict=True):
        want = oracle(half, alive, query, k)
        np.testing.assert_allclose(scores, [score for _, score in want], atol=1e-12)
        assert (np.diff(scores) <= 0).all()
        exact = [s for _, s in oracle(half, np.ones(n, bool), query, n)]
        gaps = np.diff(sorted(set(exact)))
        if not len(gaps) or gaps.min() > 1e-12:
            assert sorted(got.tolist()) == sorted(i for i, _ in want)


def test_neither_blocks_nor_other_queries_change_a_result(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    shards, _ = store(tmp_path, rng.standard_normal((3000, 32)), 1000)
    queries = F.normalize(torch.randn(8, 32, generator=torch.Generator().manual_seed(0)), dim=1)
    alive = np.ones(3000, dtype=bool)
    together = search.nearest(shards, alive, queries, 10)
    monkeypatch.setattr(search, "_rows", lambda _dim, _queries: 37)
    for query, (rows, scores) in zip(queries, together, strict=True):
        [(alone, same)] = search.nearest(shards, alive, query[None], 10)
        np.testing.assert_array_equal(alone, rows)
        np.testing.assert_array_equal(same, scores)


def test_threads_change_no_result(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "_rows", lambda _dim, _queries: 50)
    shards, _ = store(tmp_path, np.random.default_rng(0).standard_normal((2000, 16)), 300)
    queries = F.normalize(torch.randn(4, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    alive = np.arange(2000) % 5 > 0
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        results.append(search.nearest(shards, alive, queries, 30))
    for other in results[1:]:
        for (rows, scores), (same, equal) in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(rows, same)
            np.testing.assert_array_equal(scores, equal)


def test_fp16_rounding_does_not_reorder(tmp_path):
    """Rows within one rounding step of each other are ranked by their exact cosines."""
    rng = np.random.default_rng(1)
    rows = rng.standard_normal(64) + 1e-3 * rng.standard_normal((500, 64))
    shards, half = store(tmp_path, rows, 128)
    query = rows[0] / np.linalg.norm(rows[0])
    [(got, _)] = search.nearest(shards, np.ones(500, bool), torch.from_numpy(query)[None], 20)
    exact = (half.astype(np.float64) * query.astype(np.float32)).sum(1)
    exact /= np.linalg.norm(half.astype(np.float64), axis=1)
    np.testing.assert_array_equal(got[:20], np.argsort(-exact, kind="stable")[:20])


def test_mean_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "_rows", lambda _dim, _queries: 7)
    rng = np.random.default_rng(0)
    shards, half = store(tmp_path, rng.standard_normal((50, 8)), 20)
    counts = rng.integers(0, 3, 50).astype(np.int32)
    unit = half.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    expected = (unit * counts[:, None]).sum(0) / counts.sum()
    np.testing.assert_allclose(search.mean(shards, counts), expected, atol=1e-6)
    assert not search.mean(shards, np.zeros(50, dtype=np.int32)).any()


class TestSearch:
    def test_finds_the_colour(self, built, toy):
        found = built.search(toy.embed_texts(["red", "blue"]), 2)
        assert [hits[0].id for hits in found] == ["red.png", "sub/blue.png"]
        assert all(isinstance(hit, Hit) for hits in found for hit in hits)
        assert all(hits[0].score >= hits[1].score for hits in found)

    def test_queries_of_any_kind_and_scale(self, built, toy):
        texts = toy.embed_texts(["red", "blue"])
        expected = built.search(texts, 3)
        double = texts.double().numpy() * 250
        for other in (texts.numpy(), double, texts.clone().requires_grad_()):
            found = built.search(other, 3)
            assert [[h.id for h in hits] for hits in found] == [[h.id for h in e] for e in expected]
            np.testing.assert_allclose(
                [h.score for hits in found for h in hits],
                [h.score for hits in expected for h in hits],
                atol=1e-6,
            )

    def test_more_than_there_are(self, built, toy):
        assert len(built.search(toy.embed_texts(["red"]), 10**9)[0]) == 5

    def test_no_queries(self, built):
        assert built.search(torch.zeros(0, 16), 3) == []

    def test_exclude(self, built, photos, toy):
        shutil.copy(photos / "red.png", photos / "red copy.png")
        add(built)
        red = toy.embed_texts(["red"])
        names = [hit.id for hit in built.search(red, 2)[0]]
        assert names == ["red copy.png", "red.png"]
        assert built.search(red, 1, exclude=["red copy.png", "unknown"])[0][0].id == "red.png"
        both = built.search(red, 9, exclude={"red copy.png", "red.png"})[0]
        assert len(both) == 4
        assert built.search(red, 3, exclude=built.ids) == [[]]

    def test_a_zero_query_scores_zero_in_the_order_of_ids(self, built):
        hits = built.search(torch.zeros(1, 16), 5)[0]
        assert [hit.id for hit in hits] == sorted(PAINTED)
        assert {hit.score for hit in hits} == {0.0}

    @pytest.mark.parametrize(
        "queries", [torch.zeros(16), torch.zeros(1, 15), torch.full((1, 16), torch.nan)]
    )
    def test_unfit_queries(self, built, queries):
        with pytest.raises(InputError, match=r"shape \(Q, 16\).*'toy'"):
            built.search(queries, 3)

    @pytest.mark.parametrize("k", [0, -1, 1.5, True, "3"])
    def test_unfit_k(self, built, k):
        with pytest.raises(InputError, match="k must be a whole number"):
            built.search(torch.zeros(1, 16), k)

    def test_over_several_shards(self, photos, tmp_path, toy, monkeypatch, built):
        monkeypatch.setattr(update, "SHARD_ROWS", 2)
        index = Index.build(photos, tmp_path / "y", model=toy, progress=False)
        assert len(list((index.path / "shards").iterdir())) == 3
        queries = toy.embed_texts(list(COLOURS))
        assert index.search(queries, 4) == built.search(queries, 4)
        np.testing.assert_allclose(index.mean(), built.mean(), atol=1e-7)
        monkeypatch.undo()
        paint(photos / "new.png", "red", "blue")
        add(index)
        assert len(index.vectors(index.ids)) == 6

    def test_from_many_threads(self, built, toy):
        queries = toy.embed_texts(list(COLOURS))
        expected = built.search(queries, 3)
        results: list[object] = []
        threads = [
            threading.Thread(target=lambda: results.append(built.search(queries, 3)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [expected] * 8


def test_mean_counts_copies(built, photos, toy):
    shutil.copy(photos / "red.png", photos / "copy.png")
    add(built)
    mean = built.mean()
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, built.vectors(built.ids).mean(0), atol=1e-6)


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, and no waiting for the disk: test_index_kill.py tests the real thing."""
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_nothing_is_pickled():
    package = Path(update.__file__).parents[1]
    sources = [*(package / "index").glob("*.py"), *(package / "io").glob("*.py")]
    assert len(sources) > 15
    assert not any("pickle" in source.read_text() for source in sources)
