"""Folders are walked through once and only regular files are opened, whatever lies there."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoseg.concepts.bank import ConceptBank
from recoseg.errors import ArchiveError, BankError, IndexDamaged, InputError
from recoseg.index.index import Index
from recoseg.io import walking
from recoseg.io.archive import Archive
from recoseg.runs import manifest
from recoseg.runs.inputs import gather
from tests.test_archive import tar
from tests.toys import Toy, paint

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and links")


def at_once(work, seconds=20):
    """The result of ``work``, which must not wait for anybody."""
    done: list[object] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:
            done.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert done, "it waits for somebody to write into a pipe, or walks in circles"
    return done[0]


def test_pipes_where_files_are_expected_are_not_waited_for(tmp_path):
    paint(tmp_path / "photos/a.png", "red")
    for name in ("manifest.json", "x.tar", "y.jpg", "sub/manifest.json"):
        (tmp_path / "photos" / name).parent.mkdir(exist_ok=True)
        os.mkfifo(tmp_path / "photos" / name)
    archive = at_once(lambda: Archive.open(tmp_path / "photos"))
    assert [item.id for item in archive] == ["a.png"]
    assert [problem.id for problem in archive.problems] == ["y.jpg"]
    found = at_once(lambda: gather([tmp_path / "photos"]))
    assert [job.id for job in found] == ["a.png"]
    pipe = tmp_path / "photos/manifest.json"
    said = at_once(lambda: manifest.read(tmp_path / "photos"))
    assert isinstance(said, InputError)
    assert isinstance(at_once(lambda: Index.open(tmp_path / "photos")), IndexDamaged)
    assert isinstance(at_once(lambda: ConceptBank.open(pipe)), BankError)


def test_a_pipe_named_like_a_tar_is_told_and_the_others_are_read(tmp_path):
    (tmp_path / "t").mkdir()
    tar(tmp_path / "t/a.tar", {"x.png": paint(tmp_path / "x.png", "red").read_bytes()})
    os.mkfifo(tmp_path / "t/b.tar")
    archive = at_once(lambda: Archive.open(tmp_path / "t"))
    assert [item.id for item in archive] == ["a.tar/x.png"]
    assert "b.tar cannot be read as a plain tar file (it is not a regular file)" in (
        archive.problems[0].reason
    )
    for place in (str(tmp_path / "t/b.tar"), [str(tmp_path / "t/b.tar")]):
        assert isinstance(at_once(lambda place=place: Archive.open(place)), ArchiveError)


@pytest.mark.parametrize("pattern", ["", "/**/*.tar", "/**/*.jpg"])
def test_links_that_lead_in_circles_are_entered_once(tmp_path, pattern):
    """In 40 levels of three links each there are 10^19 paths."""
    (tmp_path / "d/e").mkdir(parents=True)
    for name in ("a", "b", "c", "e/f"):
        (tmp_path / "d" / name).symlink_to(tmp_path / "d")
    given = f"{tmp_path / 'd'}{pattern}"
    assert isinstance(at_once(lambda: Archive.open(given)), ArchiveError)
    assert isinstance(at_once(lambda: gather([given])), ArchiveError)
    tar(tmp_path / "d/e/x.tar", {"x.png": paint(tmp_path / "x.png", "red").read_bytes()})
    if not pattern.endswith("jpg"):
        archive = at_once(lambda: Archive.open(given))
        assert [item.id for item in archive] == ["e/x.tar/x.png"]


def test_a_linked_folder_is_searched_once(tmp_path):
    paint(tmp_path / "photos/a.png", "red")
    paint(tmp_path / "elsewhere/b.png", "red")
    for name in ("one", "two"):
        (tmp_path / "photos" / name).symlink_to(tmp_path / "elsewhere")
    assert [job.id for job in gather([tmp_path / "photos"])] == ["a.png", "one/b.png"]


@pytest.fixture
def deep(tmp_path):
    """3,000 folders in each other: deeper than Python recurses, and than a path may be long."""
    paint(tmp_path / "photos/a.png", "red")
    here = os.open(tmp_path / "photos", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    yield tmp_path / "photos"
    # What Python offers for it recurses.
    subprocess.run(["rm", "-rf", tmp_path / "photos"], check=True)


def test_thousands_of_folders_in_each_other(deep, tmp_path):
    unlisted: list[str] = []
    assert [job.id for job in gather([deep], unlisted=unlisted)] == ["a.png"]
    assert len(unlisted) == 1
    assert "File name too long" in unlisted[0]
    index = Index.build(deep, tmp_path / "x.index", model=Toy(), progress=False)
    assert index.ids == ["a.png"]
    assert "File name too long" in index.skipped[0].reason
    assert gather([f"{deep}/**/*.png"])[0].id == "a.png"


@given(
    st.lists(st.sampled_from(["a", "b", "ab", "x.tar"]), max_size=5),
    st.lists(st.sampled_from(["a", "*", "**", "?b", "*.tar", "[ab]"]), max_size=5),
)
def test_patterns_mean_what_they_do_elsewhere(names, parts):
    import fnmatch

    def slow(names, parts):
        if not parts:
            return not names
        if parts[0] == "**":
            return slow(names, parts[1:]) or (bool(names) and slow(names[1:], parts))
        return (
            bool(names) and fnmatch.fnmatchcase(names[0], parts[0]) and slow(names[1:], parts[1:])
        )

    assert walking.fits(names, parts) == slow(names, parts)


def test_patterns_find_what_glob_finds(tmp_path):
    import glob

    for name in ("a.tar", "s1/b.tar", "s2/deep/c.tar", "s2/d.txt", ".h/e.tar"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for pattern in ("*.tar", "**/*.tar", "s*/*.tar", "s2/**/?.tar", "s[12]/**/*", "none/*"):
        given = f"{tmp_path}/{pattern}"
        found = glob.glob(given, recursive=True)  # noqa: PTH207
        wanted = {path for path in found if Path(path).is_file()}
        assert set(walking.match_files(given, lambda *_: None)) == wanted, pattern
