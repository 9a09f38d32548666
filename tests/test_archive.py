"""Archives: folders, lists and tars, their ids, and what a disk may do to them."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from recoseg.errors import ArchiveError, ImageError
from recoseg.io.archive import Archive
from recoseg.io.sources import Item, from_id, read_file, suffix_of, to_id
from tests.toys import COLOURS, paint

NAMES = ["b.png", "a/z.jpg", "a/b/deep.PNG", "with space.png", "ünïcode 写真.png", "#hash.png"]


def png(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), COLOURS[colour]).save(stream, "PNG")
    return stream.getvalue()


def tar(path: Path, members: dict[str, bytes], **options: object) -> Path:
    with tarfile.open(path, "w", **options) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def ids(archive: Archive) -> list[str]:
    return [item.id for item in archive]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in NAMES:
        paint(tmp_path / "photos" / name, "red")
    return tmp_path / "photos"


class TestFolder:
    def test_ids_are_relative_posix_paths_in_order(self, photos):
        archive = Archive.open(photos)
        assert ids(archive) == sorted(NAMES)
        assert len(archive) == len(NAMES)
        assert "a/z.jpg" in archive
        assert "z.jpg" not in archive

    def test_items_tell_size_and_time(self, photos):
        for item in Archive.open(str(photos)):
            status = (photos / item.id).stat()
            assert item == Item(
                item.id, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
            )

    def test_bytes_and_pixels(self, photos):
        archive = Archive.open(photos)
        for id in NAMES:
            assert archive.read(id) == (photos / id).read_bytes()
        assert archive.image("b.png").shape == (64, 64, 3)
        paint(photos / "large.jpg", "red", size=512)
        assert archive.image("large.jpg", at_least=60).shape == (64, 64, 3)

    def test_other_and_hidden_files_are_left_out(self, photos):
        (photos / "notes.txt").write_text("x")
        paint(photos / "._b.png", "red")
        paint(photos / ".thumbnails" / "b.png", "red")
        (photos / "empty folder.jpg").mkdir()
        assert ids(Archive.open(photos)) == sorted(NAMES)

    def test_results_of_segmenting_are_nobody_s_photos(self, photos):
        before = ids(Archive.open(photos))
        (photos / "seen" / "labels").mkdir(parents=True)
        (photos / "seen" / "labels" / "a.png").write_bytes(png("red"))
        assert len(Archive.open(photos)) == len(before) + 1
        (photos / "seen" / "manifest.json").write_text('{"format": "recoseg-segmentation/1"}')
        assert ids(Archive.open(photos)) == before
        assert len(Archive.open(photos / "seen")) == 1

    def test_links_are_followed_and_loops_end(self, photos):
        (photos / "a" / "up").symlink_to(photos)
        (photos / "self").symlink_to(photos / "self")
        elsewhere = paint(photos.parent / "elsewhere" / "e.png", "blue").parent
        (elsewhere / "back").symlink_to(photos)
        (photos / "0-linked").symlink_to(elsewhere)
        (photos / "a" / "again").symlink_to(elsewhere)
        (photos / "file-link.png").symlink_to(photos / "b.png")
        archive = Archive.open(photos)
        assert set(ids(archive)) - set(NAMES) == {"0-linked/e.png", "file-link.png"}
        assert archive.image("0-linked/e.png")[0, 0].tolist() == list(COLOURS["blue"])

    def test_a_real_folder_keeps_its_name_though_a_link_sorts_first(self, photos):
        (photos / "0").symlink_to(photos / "a")
        assert ids(Archive.open(photos)) == sorted(NAMES)

    def test_what_is_no_regular_file_is_a_problem(self, photos):
        (photos / "broken.png").symlink_to(photos / "gone.png")
        (photos / "loop.png").symlink_to(photos / "loop.png")
        os.mkfifo(photos / "pipe.png")
        archive = Archive.open(photos)
        assert ids(archive) == sorted(NAMES)
        assert [problem.id for problem in archive.problems] == [
            "broken.png",
            "loop.png",
            "pipe.png",
        ]
        assert "pipe.png is not a regular file" in archive.problems[2].reason
        with pytest.raises(ArchiveError, match="not a regular file"):
            archive.read("pipe.png")

    def test_a_locked_folder_is_a_problem(self, photos, monkeypatch):
        def scandir(path: str) -> object:
            if path.endswith("/a/"):
                raise PermissionError(13, "Permission denied", path)
            return real(path)

        real = os.scandir
        monkeypatch.setattr(os, "scandir", scandir)
        archive = Archive.open(photos)
        assert not any(id.startswith("a/") for id in ids(archive))
        assert archive.problems == (("a/", "folder not listed: Permission denied"),)

    def test_a_file_that_vanished_is_named_with_the_remedy(self, photos):
        archive = Archive.open(photos)
        (photos / "b.png").unlink()
        with pytest.raises(
            ArchiveError,
            match=r"b\.png cannot be read .* bring an index up to date with `recoseg index`",
        ):
            archive.read("b.png")

    def test_an_unreadable_file(self, photos, monkeypatch):
        def locked(*_args: object, **_options: object) -> None:
            raise PermissionError(13, "Permission denied")

        archive = Archive.open(photos)
        monkeypatch.setattr(os, "open", locked)
        with pytest.raises(ArchiveError, match=r"b\.png cannot be read .*Permission denied"):
            archive.read("b.png")

    def test_text_renamed(self, photos):
        (photos / "text.jpg").write_text("no picture")
        archive = Archive.open(photos)
        assert "text.jpg" in archive
        with pytest.raises(ImageError, match=r"text\.jpg cannot be read as an image"):
            archive.image("text.jpg")

    def test_huge_files_are_refused_before_they_are_read(self, photos):
        with (photos / "sparse.png").open("wb") as stream:
            stream.truncate(10**12)
        with pytest.raises(ArchiveError, match="over the limit"):
            Archive.open(photos).read("sparse.png")

    @pytest.mark.skipif(sys.platform != "linux", reason="names must be Unicode there")
    def test_names_that_are_not_utf8(self, photos):
        raw = os.fsencode(photos) + b"/caf\xe9.png"
        Path(os.fsdecode(raw)).write_bytes(png("blue"))
        paint(photos / "caf\\xe9.png", "green")
        archive = Archive.open(photos)
        assert {r"caf\xe9.png", r"caf\\xe9.png"} <= set(ids(archive))
        assert archive.image(r"caf\xe9.png")[0, 0].tolist() == list(COLOURS["blue"])
        assert archive.image(r"caf\\xe9.png")[0, 0].tolist() == list(COLOURS["green"])

    def test_relist_sees_new_files(self, photos):
        archive = Archive.open(photos)
        paint(photos / "new.png", "red")
        assert "new.png" not in archive
        assert "new.png" in archive.relist()


@given(
    st.binary(min_size=1, max_size=12).filter(lambda name: b"\0" not in name and b"/" not in name)
)
def test_ids_lead_back_to_exactly_one_name(name):
    path = os.fsdecode(name)
    assert from_id(to_id(path)) == path
    to_id(path).encode("utf-8")


class TestLists:
    def write(self, folder: Path, text: str, name: str = "list.txt") -> Path:
        path = folder / name
        path.write_bytes(text.encode())
        return path

    def test_paths_are_relative_to_the_list(self, photos):
        other = paint(photos.parent / "other.png", "blue")
        lines = "\ufeffb.png\r\n\n# a comment\n  with space.png  \na/../a/z.jpg\n"
        lines += f"../other.png\n{other}\nb.png\n"
        archive = Archive.open(self.write(photos, lines))
        assert ids(archive) == sorted(
            ["../other.png", "a/z.jpg", "b.png", "with space.png", str(other)]
        )
        assert archive.read("../other.png") == other.read_bytes()

    def test_absolute_paths_beside_the_list_become_relative(self, photos):
        archive = Archive.open(self.write(photos, f"{photos / 'b.png'}\n", "list.lst"))
        assert ids(archive) == ["b.png"]

    def test_any_suffix_counts_and_missing_files_are_problems(self, photos):
        (photos / "picture.dat").write_bytes(png("blue"))
        archive = Archive.open(self.write(photos, "picture.dat\ngone.png\na\nnul\0.png\n"))
        assert ids(archive) == ["picture.dat"]
        assert [p.id for p in archive.problems] == ["a", "gone.png", "nul\0.png"]

    @pytest.mark.skipif(sys.platform != "linux", reason="names must be Unicode there")
    def test_a_name_that_is_not_utf8(self, photos):
        raw = os.fsencode(photos) + b"/caf\xe9.png"
        Path(os.fsdecode(raw)).write_bytes(png("blue"))
        (photos / "list.txt").write_bytes(b"caf\xe9.png\n")
        archive = Archive.open(photos / "list.txt")
        assert ids(archive) == [r"caf\xe9.png"]
        assert archive.read(r"caf\xe9.png") == png("blue")

    def test_a_sequence_of_files(self, photos):
        archive = Archive.open([photos / "b.png", str(photos / "a" / "z.jpg")])
        assert ids(archive) == sorted([str(photos / "b.png"), str(photos / "a" / "z.jpg")])
        assert archive.source == "2 named files"


class TestTars:
    @pytest.fixture
    def shards(self, tmp_path: Path) -> Path:
        folder = tmp_path / "shards"
        (folder / "more").mkdir(parents=True)
        tar(
            folder / "0.tar", {"x.png": png("red"), "./sub/y.png": png("blue"), "read.me": b"hello"}
        )
        tar(folder / "more" / "1.tar", {"x.png": png("green")})
        return folder

    def test_ids_are_shard_and_member(self, shards):
        archive = Archive.open(shards)
        assert ids(archive) == ["0.tar/sub/y.png", "0.tar/x.png", "more/1.tar/x.png"]
        assert archive.read("0.tar/sub/y.png") == png("blue")
        assert archive.image("more/1.tar/x.png")[0, 0].tolist() == list(COLOURS["green"])

    def test_one_file_a_pattern_and_a_sequence(self, shards):
        assert ids(Archive.open(shards / "0.tar")) == ["0.tar/sub/y.png", "0.tar/x.png"]
        assert ids(Archive.open(f"{shards}/**/*.tar")) == ids(Archive.open(shards))
        assert ids(Archive.open(str(shards / "more" / "*.tar"))) == ["1.tar/x.png"]
        both = Archive.open([shards / "0.tar", shards / "more" / "1.tar"])
        assert ids(both) == ids(Archive.open(shards))

    def test_the_last_of_two_members_counts(self, tmp_path):
        path = tar(tmp_path / "a.tar", {"x.png": png("red")})
        with tarfile.open(path, "a") as archive:
            info = tarfile.TarInfo("x.png")
            info.size = len(png("blue"))
            archive.addfile(info, io.BytesIO(png("blue")))
        assert Archive.open(path).read("a.tar/x.png") == png("blue")

    def test_a_rewritten_shard_is_read_anew(self, shards):
        archive = Archive.open(shards)
        before = {item.id: item for item in archive}
        tar(shards / "0.tar", {"first.png": png("white"), "x.png": png("black")})
        os.utime(shards / "0.tar", ns=(1, 1))
        assert archive.read("0.tar/x.png") == png("black")
        with pytest.raises(ArchiveError, match=r"0\.tar/sub/y\.png is no longer in"):
            archive.read("0.tar/sub/y.png")
        after = {item.id: item for item in archive.relist()}
        assert after["0.tar/x.png"] != before["0.tar/x.png"]
        assert after["more/1.tar/x.png"] == before["more/1.tar/x.png"]

    def test_links_are_problems(self, shards):
        with tarfile.open(shards / "0.tar", "a") as archive:
            link = tarfile.TarInfo("passwd.png")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
        archive = Archive.open(shards)
        assert [problem.id for problem in archive.problems] == ["0.tar/passwd.png"]

    def test_names_that_point_outside_are_only_ids(self, tmp_path):
        path = tar(tmp_path / "a.tar", {"../../up.png": png("red"), "/etc/abs.png": png("blue")})
        archive = Archive.open(path)
        assert ids(archive) == ["a.tar/../../up.png", "a.tar/etc/abs.png"]
        assert archive.read("a.tar/../../up.png") == png("red")

    def test_a_torn_shard_gives_what_lies_before_the_tear(self, shards):
        members = {f"{i}.png": os.urandom(3000) for i in range(4)}
        path = tar(shards / "torn.tar", members)
        path.write_bytes(path.read_bytes()[:6500])
        archive = Archive.open(path)
        assert archive.read("torn.tar/0.png") == members["0.png"]
        assert archive.problems[0].id == "torn.tar"
        with pytest.raises(ArchiveError, match="cut short"):
            archive.read("torn.tar/1.png")

    def test_a_broken_shard_does_not_hide_the_others(self, shards):
        (shards / "bad.tar").write_bytes(b"not a tar" * 100)
        (shards / "zero.tar").touch()
        archive = Archive.open(shards)
        assert len(archive) == 3
        assert [problem.id for problem in archive.problems] == ["bad.tar", "zero.tar"]

    def test_compressed_tars_are_refused_with_the_remedy(self, tmp_path):
        path = tmp_path / "a.tar.gz"
        path.touch()
        with pytest.raises(ArchiveError, match=r"compressed .* unpack"):
            Archive.open(path)
        with tarfile.open(tmp_path / "b.tar", "w:gz"):
            pass
        with pytest.raises(ArchiveError, match="unpack"):
            Archive.open(tmp_path / "b.tar")

    def test_names_that_are_not_utf8(self, tmp_path):
        path = tar(
            tmp_path / "a.tar", {os.fsdecode(b"caf\xe9.png"): png("red")}, format=tarfile.GNU_FORMAT
        )
        archive = Archive.open(path)
        assert ids(archive) == [r"a.tar/caf\xe9.png"]
        assert archive.read(r"a.tar/caf\xe9.png") == png("red")


class TestOpen:
    def test_an_archive_is_returned_as_it_is(self, photos):
        archive = Archive.open(photos)
        assert Archive.open(archive) is archive

    @pytest.mark.parametrize("kind", ["folder", "list", "files", "tar", "pattern"])
    def test_a_description_survives_json_and_opens_the_same(self, photos, kind, monkeypatch):
        (photos / "list.txt").write_text("b.png\na/z.jpg\n")
        tar(photos.parent / "s.tar", {"x.png": png("red")})
        source = {
            "folder": "photos",
            "list": "photos/list.txt",
            "files": ["photos/b.png"],
            "tar": "s.tar",
            "pattern": "*.tar",
        }[kind]
        monkeypatch.chdir(photos.parent)
        archive = Archive.open(source)
        described = json.loads(json.dumps(archive.describe()))
        monkeypatch.chdir("/")
        again = Archive.reopen(described)
        assert list(again) == list(archive)
        assert again.read(ids(archive)[0]) == archive.read(ids(archive)[0])
        assert again.describe() == archive.describe()

    def test_reading_needs_no_listing(self, photos, monkeypatch):
        archive = Archive.reopen(Archive.open(photos).describe())
        monkeypatch.setattr(os, "scandir", None)
        assert archive.image("b.png").shape == (64, 64, 3)

    @pytest.mark.parametrize(
        "data", [{}, {"kind": "cloud"}, {"kind": "folder"}, {"kind": "tar", "paths": "x"}]
    )
    def test_a_broken_description(self, data):
        with pytest.raises(ArchiveError):
            Archive.reopen(data)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(ArchiveError, match=r"missing does not exist"):
            Archive.open(tmp_path / "missing")
        (tmp_path / "empty").mkdir()
        with pytest.raises(ArchiveError, match="holds no image"):
            Archive.open(tmp_path / "empty")
        with pytest.raises(ArchiveError, match="holds no image"):
            Archive.open([])
        with pytest.raises(ArchiveError, match="holds no image"):
            Archive.open(str(tmp_path / "*.tar"))

    def test_the_wrong_thing(self, photos):
        with pytest.raises(ArchiveError, match="is one file, not an archive"):
            Archive.open(photos / "b.png")
        with pytest.raises(ArchiveError, match="is a folder in a list"):
            Archive.open([photos / "b.png", photos])

    def test_what_is_there_instead_is_said(self, tmp_path):
        for name in ("a.pdf", "deep/b.pdf", "c.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        words = r"holds no image \(2 PDF files and 1 \.txt file\); export the pages as images"
        with pytest.raises(ArchiveError, match=words):
            Archive.open(tmp_path)

    def test_photos_that_cannot_be_read_are_told_beside_those_that_can(self, photos):
        assert Archive.open(photos).unread_note is None
        (photos / "a.heic").touch()
        assert (
            Archive.open(photos).unread_note
            == "1 HEIC photo cannot be read; convert them to JPEG first"
        )

    def test_the_first_reason_is_told(self, tmp_path):
        (tmp_path / "broken.png").symlink_to("gone")
        with pytest.raises(ArchiveError, match=r"holds no image \(broken\.png cannot be found"):
            Archive.open(tmp_path)


def test_a_part_of_a_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(range(100)))
    assert read_file(str(path), "x", 10, 5) == bytes(range(10, 15))
    with pytest.raises(ArchiveError, match="x is cut short"):
        read_file(str(path), "x", 90, 20)


def test_many_threads_read_one_tar(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    members = {f"{i}.png": np.random.default_rng(i).bytes(2000) for i in range(50)}
    archive = Archive.reopen({"kind": "tar", "paths": [str(tar(tmp_path / "a.tar", members))]})
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(archive.read, [f"a.tar/{name}" for name in members] * 4))
    assert read == list(members.values()) * 4


@given(st.text("aB.é\\ -", min_size=1).filter(lambda name: set(name) != {"."}))
def test_a_suffix_is_what_a_path_says(name):
    assert suffix_of(name) == Path(name).suffix.lower()
