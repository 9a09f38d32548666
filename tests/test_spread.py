"""An index that many machines made is the one that a single machine makes, byte for byte."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.errors import ArchiveError, RecosegError
from recoseg.index import ingest, parts, spread, update
from recoseg.index.index import Index
from tests.clusters import Dying, Here
from tests.toys import Toy


class Biased(Toy):
    """A model whose vectors depend on the size of their batch and their place in it."""

    def embed_images(self, batch: torch.Tensor) -> torch.Tensor:
        plain = super().embed_images(batch)
        place = torch.arange(len(batch), dtype=torch.float32)[:, None]
        return plain + 0.01 * place + 0.1 * len(batch)


def photos_in(folder: Path, count: int = 40) -> Path:
    """Photos of noise with copies near and far, damaged ones, and folders."""
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = np.repeat(np.repeat(rng.integers(0, 256, (4, 4, 3), np.uint8), 8, 0), 8, 1)
        path = folder / f"{i % 3}" / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    for source, copy in (("0/000", "0/001"), ("0/003", "2/900"), ("1/004", "2/004")):
        shutil.copy(folder / f"{source}.png", folder / f"{copy}.png")
    (folder / "1" / "005.png").write_bytes(b"no image")
    (folder / "2" / "000.png").write_bytes(b"no image")
    return folder


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(update, "CHUNK", 7)
    monkeypatch.setattr(update, "SHARD_ROWS", 13)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return photos_in(tmp_path / "photos")


def build(photos: Path, out: Path, **how) -> Index:
    how = {"model": Biased(), "batch_size": 3, "progress": False, **how}
    return Index.build(photos, out, **how)


def bytes_of(index: Index) -> dict[str, bytes]:
    """All shard files, and the ledger's tables as text but for when files were read."""
    found = {p.name: p.read_bytes() for p in sorted(index.path.glob("shards*/*"))}
    with sqlite3.connect(index.path / update.LEDGER) as ledger:
        for table, columns in (
            ("vectors", "*"),
            ("images", "id, row, size, mtime_ns, ctime_ns, inode"),
            ("skipped", "*"),
            ("blocks", "*"),
        ):
            found[table] = repr(
                ledger.execute(f"SELECT {columns} FROM {table}").fetchall()
            ).encode()
    ledger.close()
    found["manifest"] = (index.path / "manifest.json").read_bytes()
    return found


@pytest.mark.parametrize("order", [None, 0, 1])
@pytest.mark.parametrize("commit", [10, 65536])
def test_a_cluster_makes_the_same_bytes(photos, tmp_path, monkeypatch, order, commit):
    monkeypatch.setattr(spread, "COMMIT", commit)
    plain = build(photos, tmp_path / "plain")
    cluster = Here(order, twice=order == 1)
    made = build(photos, tmp_path / "made", cluster=cluster)
    assert bytes_of(made) == bytes_of(plain)
    assert made.hash == plain.hash
    assert len(made) == 43
    assert len(made.skipped) == 2
    assert cluster.blocks >= 6
    assert not (made.path / parts.FOLDER).exists()


def test_a_model_that_feels_its_batch_is_what_the_test_needs(photos, tmp_path):
    one = build(photos, tmp_path / "one", batch_size=1)
    three = build(photos, tmp_path / "three")
    assert not np.allclose(one.vectors(one.ids), three.vectors(three.ids))


@pytest.mark.parametrize("after", range(1, 12))
def test_killed_after_any_block_it_goes_on_and_ends_the_same(photos, tmp_path, monkeypatch, after):
    monkeypatch.setattr(spread, "COMMIT", 10)
    monkeypatch.setattr(update, "COARSE_NS", 0)
    plain = build(photos, tmp_path / "plain")
    written = []
    real = parts.PartDraft.write

    def write(draft, folder, key, read_ns):
        written.append([name for name in draft.places if name not in ("1/005.png", "2/000.png")])
        real(draft, folder, key, read_ns)

    monkeypatch.setattr(parts.PartDraft, "write", write)
    with pytest.raises(KeyboardInterrupt):
        build(photos, tmp_path / "made", cluster=Dying(after))
    made = build(photos, tmp_path / "made", cluster=Here())
    assert bytes_of(made) == bytes_of(plain)
    names = [name for chunk in written for name in chunk]
    assert sorted(names) == made.ids, "what was whole was made again"


def test_updates_are_the_same_too(photos, tmp_path):
    plain = build(photos, tmp_path / "plain")
    made = build(photos, tmp_path / "made", cluster=Here())
    for i in range(0, 36, 4):
        Image.new("RGB", (16, 16), (i, 99, 5)).save(photos / f"{i % 3}" / f"{i:03d}.png")
        Image.new("RGB", (16, 16), (i, 5, 99)).save(photos / f"new{i:03d}.png")
    (photos / "0" / "009.png").unlink()
    shutil.copytree(photos / "1", photos / "3")
    changes = [index.add(model=Biased(), batch_size=3, progress=False) for index in (plain, made)]
    assert changes[0] == changes[1]
    assert changes[0].removed == 1
    assert bytes_of(made) == bytes_of(plain)
    again = build(photos, tmp_path / "made", cluster=Here())
    assert bytes_of(again) == bytes_of(plain)


def test_what_is_known_is_not_encoded_again(photos, tmp_path):
    made = build(photos, tmp_path / "made", cluster=Here())
    (photos / "0").rename(photos / "a")
    calls = []

    class Counting(Biased):
        def embed_images(self, batch):
            calls.append(len(batch))
            return super().embed_images(batch)

    assert made.add(model=Counting(), progress=False).added == 15
    assert calls == []


def test_a_damaged_part_is_made_anew(photos, tmp_path, monkeypatch):
    plain = build(photos, tmp_path / "plain")
    with pytest.raises(KeyboardInterrupt):
        build(photos, tmp_path / "made", cluster=Dying(2))
    torn, other = sorted((tmp_path / "made" / parts.FOLDER).glob("*.f16"))[:2]
    torn.write_bytes(torn.read_bytes()[:-1] + b"?")
    other.with_suffix(".json").write_text("{")
    made = build(photos, tmp_path / "made", cluster=Here())
    assert bytes_of(made) == bytes_of(plain)


def test_a_photo_changed_between_two_runs_is_read_again(photos, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(photos, tmp_path / "made", cluster=Dying(5))
    Image.new("RGB", (16, 16), (1, 99, 5)).save(photos / "0" / "006.png")
    made = build(photos, tmp_path / "made", cluster=Here())
    assert made.hash == build(photos, tmp_path / "plain").hash


def test_a_plain_run_goes_on_where_a_cluster_was_stopped(photos, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(photos, tmp_path / "made", cluster=Dying(5))
    made = build(photos, tmp_path / "made")
    assert made.hash == build(photos, tmp_path / "plain").hash
    assert not (made.path / parts.FOLDER).exists()


class Elsewhere(Here):
    """A machine that has another file system."""

    def __init__(self, hidden: Path) -> None:
        super().__init__()
        self.hidden = hidden

    def map(self, function, blocks):
        away = self.hidden.with_name("away")
        todo = list(blocks)
        self.hidden.rename(away)
        try:
            yield from super().map(function, todo)
        finally:
            away.rename(self.hidden)


def test_a_node_that_does_not_see_the_index_is_told(photos, tmp_path):
    with pytest.raises(RecosegError, match=r"is not seen from .*; put the index on a drive"):
        build(photos, tmp_path / "made", cluster=Elsewhere(tmp_path / "made"))


def test_a_node_that_does_not_see_the_photos_is_told(photos, tmp_path):
    with pytest.raises(ArchiveError, match=r"no photo of .* can be read from "):
        build(photos, tmp_path / "made", cluster=Elsewhere(photos))
    made = build(photos, tmp_path / "made", cluster=Here())
    assert len(made) == 43


def test_a_node_with_other_weights_is_refused(photos, tmp_path, monkeypatch):
    other = Biased(seed=1)

    class Stale(Here):
        def map(self, function, blocks):
            if hasattr(function, "model"):
                object.__setattr__(function, "model", other)
            return super().map(function, blocks)

    with pytest.raises(RecosegError, match="other weights"):
        build(photos, tmp_path / "made", cluster=Stale())


def test_a_models_id_is_sent_in_its_place(photos, tmp_path, monkeypatch):
    """A node loads a model by its id from its own disk."""
    from recoseg.models import registry

    toy = Biased()
    monkeypatch.setitem(registry._made, "toy", toy)
    sent = []

    class Watched(Here):
        def map(self, function, blocks):
            sent.append(getattr(function, "model", None))
            if sent[-1] is not None:
                object.__setattr__(function, "model", toy)
            return super().map(function, blocks)

    build(photos, tmp_path / "made", model=toy, cluster=Watched())
    assert sent[0] == "toy"


def test_known_contents_are_found_by_their_digests():
    rng = np.random.default_rng(0)
    digests = [rng.bytes(32) for _ in range(500)] + [b"\0" * 32, b"a" * 15 + b"\0" * 17]
    known = parts.Known(digests[::2])
    assert [digest in known for digest in digests] == [i % 2 == 0 for i in range(502)]
    assert b"x" * 32 not in parts.Known([])


def test_chunks_are_of_the_archives_list(photos, tmp_path, monkeypatch):
    """What is due in an update is cut where a fresh index is cut."""
    build(photos, tmp_path / "made")
    Image.new("RGB", (16, 16), (1, 2, 3)).save(photos / "0" / "000.png")
    Image.new("RGB", (16, 16), (1, 2, 4)).save(photos / "2" / "038.png")
    seen = []
    monkeypatch.setattr(update, "COARSE_NS", -(10**18))
    real = ingest.ingest

    def spy(archive, chunks, *rest):
        seen.extend([[due.item.id for due in chunk] for chunk in chunks])
        real(archive, chunks, *rest)

    monkeypatch.setattr(spread, "ingest", spy)
    build(photos, tmp_path / "made")
    assert ["0/000.png"] in seen
    assert ["2/038.png"] in seen
