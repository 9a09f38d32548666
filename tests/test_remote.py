"""Archives behind a URL, in fsspec's memory and in a folder that is opened as a URL."""

from __future__ import annotations

import shutil
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import fsspec
import numpy as np
import pytest

from recoseg.errors import ArchiveError
from recoseg.index import update
from recoseg.index.index import Changes, Index
from recoseg.io import remote, remote_state
from recoseg.io.archive import Archive
from tests.clusters import Here
from tests.test_spread import bytes_of, photos_in
from tests.toys import Toy, paint


@pytest.fixture
def bucket():
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield files
    files.store.clear()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = photos_in(tmp_path / "photos")
    (folder / "notes.txt").write_text("no photo")
    (folder / ".hidden.png").write_bytes(b"no photo")
    paint(folder / "odd \\ name é.png", "red")
    return folder


def upload(bucket, folder: Path, to: str) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            bucket.pipe_file(f"{to}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return f"memory://{to}"


def pack(folder: Path, to: Path) -> Path:
    """Two tar files of the photos."""
    to.mkdir()
    for part, suffixes in (("a", ("0/", "1/")), ("b", ("2/", "odd"))):
        with tarfile.open(to / f"{part}.tar", "w") as tar:
            for path in sorted(folder.rglob("*.png")):
                name = path.relative_to(folder).as_posix()
                if name.startswith(suffixes):
                    tar.add(path, name)
    return to


def index(source, out: Path, cluster=None) -> Index:
    return Index.build(str(source), out, model=Toy(), progress=False, cluster=cluster)


def same(one: Index, other: Index) -> None:
    assert one.ids == other.ids
    assert one.hash == other.hash
    assert [s.id for s in one.skipped] == [s.id for s in other.skipped]
    np.testing.assert_array_equal(one.vectors(one.ids), other.vectors(other.ids))


def test_a_folder_behind_a_url_is_indexed_like_a_folder(bucket, photos, tmp_path):
    url = upload(bucket, photos, "/bucket/photos")
    far, near = index(url, tmp_path / "far"), index(photos, tmp_path / "near")
    same(far, near)
    assert "odd \\\\ name é.png" in far.ids
    again = Index.open(tmp_path / "far")
    np.testing.assert_array_equal(again.image("0/003.png"), near.image("0/003.png"))
    assert Archive.open(url).source == url


@pytest.mark.parametrize("address", ["/bucket/tars", "/bucket/tars/*.tar"])
def test_tar_files_behind_a_url_are_read_in_place(bucket, photos, tmp_path, address):
    tars = pack(photos, tmp_path / "tars")
    upload(bucket, tars, "/bucket/tars")
    far, near = index(f"memory://{address}", tmp_path / "far"), index(tars, tmp_path / "near")
    same(far, near)
    assert far.ids[0].startswith("a.tar/0/")
    np.testing.assert_array_equal(far.image(far.ids[3]), near.image(near.ids[3]))


def test_one_tar_file_behind_a_url(bucket, photos, tmp_path):
    tars = pack(photos, tmp_path / "tars")
    upload(bucket, tars, "/bucket/tars")
    same(
        index("memory:///bucket/tars/a.tar", tmp_path / "far"),
        index(tars / "a.tar", tmp_path / "near"),
    )


def test_changes_behind_a_url_are_followed(bucket, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(update, "COARSE_NS", 0)
    url = upload(bucket, photos, "/bucket/photos")
    made = index(url, tmp_path / "far")
    assert made.add(model=Toy(), progress=False) == Changes(unchanged=44, skipped=2)
    paint(tmp_path / "new.png", "blue")
    bucket.pipe_file("/bucket/photos/0/003.png", (tmp_path / "new.png").read_bytes())
    bucket.pipe_file("/bucket/photos/new.png", (tmp_path / "new.png").read_bytes())
    bucket.rm_file("/bucket/photos/0/006.png")
    assert made.add(model=Toy(), progress=False) == Changes(1, 1, 1, 42, 2)


def test_what_vanished_is_one_sentence(bucket, photos, tmp_path):
    url = upload(bucket, photos, "/bucket/photos")
    archive = Archive.open(url)
    bucket.rm_file("/bucket/photos/0/003.png")
    with pytest.raises(ArchiveError, match=r"0/003\.png cannot be read from memory"):
        archive.read("0/003.png")
    with pytest.raises(ArchiveError, match="holds no image"):
        Archive.open("memory:///bucket/nothing")


def test_damaged_and_cut_tars_are_listed(bucket, photos, tmp_path):
    tars = pack(photos, tmp_path / "tars")
    (tars / "c.tar").write_bytes(b"no tar" * 200)
    data = (tars / "b.tar").read_bytes()
    (tars / "b.tar").write_bytes(data[:3000])
    upload(bucket, tars, "/bucket/tars")
    archive = Archive.open("memory:///bucket/tars")
    assert {problem.id for problem in archive.problems} == {"b.tar", "c.tar"}
    with pytest.raises(ArchiveError, match="no longer in"):
        archive.read("a.tar/9/x.png")


def test_a_server_that_sends_no_parts_of_files_gives_the_same(
    bucket, photos, tmp_path, monkeypatch
):
    upload(bucket, pack(photos, tmp_path / "tars"), "/bucket/tars")
    archive = Archive.open("memory:///bucket/tars")
    expected = [archive.read(item.id) for item in archive]
    cat = type(bucket).cat_file
    monkeypatch.setattr(type(bucket), "cat_file", lambda self, path, **_: cat(self, path))
    assert [archive.read(item.id) for item in archive] == expected


def test_a_single_file_of_which_a_listing_tells_nothing(bucket, photos, monkeypatch):
    url = upload(bucket, photos, "/bucket/photos")
    find = type(bucket).find

    def silent(self, path, **how):
        found = find(self, path, **how)
        return {path: {}} if [*found] == [path] else found

    monkeypatch.setattr(type(bucket), "find", silent)
    archive = Archive.open(f"{url}/0/003.png")
    assert archive.read("003.png") == (photos / "0" / "003.png").read_bytes()


def test_headers_of_a_tar_file_are_read_again_when_it_changed(
    bucket, photos, tmp_path, monkeypatch
):
    tars = pack(photos, tmp_path / "tars")
    upload(bucket, tars, "/bucket/tars")
    archive = Archive.open("memory:///bucket/tars")
    read = []
    real = remote.read_headers
    monkeypatch.setattr(remote, "read_headers", lambda tar, id: read.append(id) or real(tar, id))
    assert len(archive.relist()) == len(archive)
    assert read == []
    bucket.pipe_file("/bucket/tars/a.tar", (tars / "b.tar").read_bytes())
    assert len(archive.relist()) < len(archive)
    assert read == ["a.tar"]


def test_whether_a_photo_is_there_is_known_without_reading_it(bucket, photos, tmp_path):
    url = upload(bucket, photos, "/bucket/photos")
    upload(bucket, pack(photos, tmp_path / "tars"), "/bucket/tars")
    for source, id in (
        (remote.RemoteFolder(url), "0/003.png"),
        (Archive.open(url).reader, "0/003.png"),
        (remote.RemoteTars("memory:///bucket/tars"), "a.tar/0/003.png"),
    ):
        assert source.has(id)
        assert not source.has(id.replace("003", "999"))
    assert not remote.RemoteTars("memory:///bucket/tars").has("z.tar/0/003.png")


def test_a_package_that_is_not_there_is_named(monkeypatch):
    with pytest.raises(ArchiveError, match="needs a package that is not installed"):
        Archive.open("abfs://container/photos")
    with pytest.raises(ArchiveError, match="cannot be opened"):
        Archive.open("nothing-of-the-kind://photos")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ArchiveError, match=r"pip install 'recoseg\[remote\]'"):
        Archive.open("memory://photos")


def test_a_password_is_never_kept():
    with pytest.raises(ArchiveError, match="holds a password") as told:
        Archive.open("ftp://me:secret@host/photos")
    assert "secret" not in str(told.value)


def test_too_large_and_cut_short(bucket, photos, monkeypatch):
    url = upload(bucket, photos, "/bucket/photos")
    monkeypatch.setattr(remote, "MAX_BYTES", 10)
    with pytest.raises(ArchiveError, match="over the limit"):
        Archive.open(url).read("0/003.png")


def test_a_file_system_that_fails_is_one_sentence(bucket, photos, monkeypatch):
    url = upload(bucket, photos, "/bucket/photos")

    def refuse(*_args, **_more):
        raise RuntimeError("Unable to\nlocate credentials")

    monkeypatch.setattr(type(bucket), "find", refuse)
    with pytest.raises(ArchiveError, match=r"cannot be listed \(Unable to locate credentials\)"):
        Archive.open(url)


@pytest.mark.parametrize(
    ("info", "seconds"),
    [
        ({"mtime": 12.5}, 12.5),
        ({"LastModified": datetime(1970, 1, 1, 0, 0, 7, tzinfo=UTC)}, 7.0),
        ({"updated": "1970-01-01T00:00:08Z"}, 8.0),
        ({}, 0.0),
    ],
)
def test_times_are_understood_however_they_are_told(info, seconds):
    size, changed, _, _ = remote_state.state_of({"size": 3, **info})
    assert size == 3
    assert changed == int(seconds * 1e9)
    assert remote_state.state_of({"ETag": "a"}) != remote_state.state_of({"ETag": "b"})


def test_a_time_an_inode_or_a_weak_tag_does_not_say_that_bytes_are_the_same():
    told = ({"ETag": "a"}, {"generation": 7}, {"mtime": 3, "ino": 5}, {"ETag": 'W/"a"'}, {})
    assert [remote_state.has_tag(info) for info in told] == [True, True, False, False, False]


def test_machines_read_what_is_behind_a_url(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(update, "CHUNK", 7)
    url = f"file://{photos}"
    plain, made = index(url, tmp_path / "plain"), index(url, tmp_path / "made", Here(0))
    assert bytes_of(made) == bytes_of(plain)
    same(made, index(photos, tmp_path / "near"))
    tars = pack(photos, tmp_path / "tars")
    far = index(f"file://{tars}", tmp_path / "far", Here(1))
    same(far, index(tars, tmp_path / "near tars"))
    shutil.rmtree(photos)
    with pytest.raises(ArchiveError):
        index(url, tmp_path / "made", Here())
