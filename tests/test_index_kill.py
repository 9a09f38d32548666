"""A process that indexes is killed at random moments; what it leaves must be whole, and go on."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import IndexDamaged, Locked
from recoseg.index.index import Index
from tests.nursery import OneByOne

IMAGES = 200
KILLS = 12
ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and POSIX signals")


class Nursery:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, source: Path, out: Path, flush_rows: int = 3, dies: int | None = None) -> int:
        """Begin to index; returns the writer's process id."""
        order = [str(source), str(out), flush_rows, dies]
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._number()

    def wait(self) -> int:
        """How the writer ended: an exit code, or minus a signal."""
        return os.waitstatus_to_exitcode(self._number())

    def _number(self) -> int:
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    started = Nursery()
    yield started
    started.process.kill()
    started.process.communicate()


def rows(index: Index) -> np.ndarray:
    return index.vectors(index.ids)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        pixels = np.repeat(np.repeat(rng.integers(0, 256, (4, 4, 3), np.uint8), 8, 0), 8, 1)
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    (folder / "bad.png").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """The index of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "index"
    return Index.build(photos, out, model=OneByOne(), progress=False)


def test_killed_again_and_again_it_ends_as_if_never_killed(nursery, photos, whole, tmp_path):
    out = tmp_path / "index"
    dice = random.Random(0)
    sizes = [0]
    for _ in range(KILLS):
        process = nursery.start(photos, out)
        time.sleep(dice.uniform(0.0, 0.2))
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        assert nursery.wait() in (-signal.SIGKILL, 0)
        sizes.append(check_state(out, whole))
    assert sizes == sorted(sizes), "a committed row was lost"
    assert sizes[-1] > 0
    index = Index.build(photos, out, model=OneByOne(), progress=False)
    assert index.ids == whole.ids
    np.testing.assert_array_equal(rows(index), rows(whole))
    assert index.hash == whole.hash
    assert index.skipped == whole.skipped
    stored = sum(path.stat().st_size for path in (out / "shards").iterdir())
    assert stored == IMAGES * index.dim * 2, "a row was repeated or half-written"


def test_killed_at_any_line_of_the_code_that_writes(nursery, photos, tmp_path):
    """The same, line by line: steps that take microseconds are met too."""
    source = tmp_path / "photos"
    source.mkdir()
    for i in range(3):
        (source / f"{i}.png").write_bytes((photos / f"{i:03d}.png").read_bytes())
    (source / "bad.png").write_text("no image")
    whole = Index.build(source, tmp_path / "whole", model=OneByOne(), progress=False)
    status, line = -signal.SIGKILL, 1
    while status:
        out = tmp_path / f"killed at {line}"
        nursery.start(source, out, flush_rows=2, dies=line)
        status = nursery.wait()
        assert status in (-signal.SIGKILL, 0)
        check_state(out, whole)
        index = Index.build(source, out, model=OneByOne(), progress=False)
        assert (index.hash, index.skipped) == (whole.hash, whole.skipped)
        np.testing.assert_array_equal(rows(index), rows(whole))
        stored = sum(path.stat().st_size for path in (out / "shards").iterdir())
        assert stored == len(whole) * index.dim * 2
        line += 11
    assert line > 300


def check_state(out: Path, whole: Index) -> int:
    """What a reader finds right after the kill; returns how many images are indexed."""
    if not (out / "manifest.json").exists():
        with pytest.raises(IndexDamaged, match=r"is not an index|does not exist"):
            Index.open(out)
        return 0
    index = Index.open(out)
    ids = index.ids
    assert set(ids) <= set(whole.ids)
    np.testing.assert_array_equal(index.vectors(ids), whole.vectors(ids))
    if ids:
        hits = index.search(index.vectors(ids[:1]), len(ids) + 5)[0]
        assert sorted(hit.id for hit in hits) == ids
        assert hits[0].id == ids[0]
    return len(ids)


def test_killed_while_it_follows_changes(nursery, photos, tmp_path):
    """Deleted, changed and added files, and a kill in the middle of the difference."""
    source, out = tmp_path / "photos", tmp_path / "index"
    source.mkdir()
    for path in sorted(photos.iterdir())[:100]:
        (source / path.name).write_bytes(path.read_bytes())
    Index.build(source, out, model=OneByOne(), progress=False)
    for i in range(20):
        (source / f"{i:03d}.png").unlink()
        Image.new("RGB", (16, 16), (i, 99, 5)).save(source / f"{i + 20:03d}.png")
        Image.new("RGB", (16, 16), (i, 5, 99)).save(source / f"new{i:03d}.png")
    process = nursery.start(source, out)
    time.sleep(0.15)
    os.kill(process, signal.SIGKILL)
    assert nursery.wait() == -signal.SIGKILL
    opened = Index.open(out)
    assert len(opened.search(np.ones((1, opened.dim)), 500)[0]) == len(opened)
    index = Index.build(source, out, model=OneByOne(), progress=False)
    fresh = Index.build(source, tmp_path / "fresh", model=OneByOne(), progress=False)
    assert index.ids == fresh.ids
    assert index.hash == fresh.hash
    np.testing.assert_array_equal(rows(index), rows(fresh))


def test_two_processes_do_not_write_one_index(nursery, photos, whole, tmp_path):
    out = tmp_path / "index"
    process = nursery.start(photos, out)
    wait_for(out / "manifest.json")
    with pytest.raises(Locked, match=rf"process {process}\) is at work"):
        Index.build(photos, out, model=OneByOne(), progress=False)
    with pytest.raises(Locked):
        Index.open(out).add(model=OneByOne(), progress=False)
    assert nursery.wait() == 0
    np.testing.assert_array_equal(rows(Index.open(out)), rows(whole))


def test_control_c_commits_what_is_done(nursery, photos, whole, tmp_path):
    out = tmp_path / "index"
    process = nursery.start(photos, out, flush_rows=10**6)
    wait_for(out / "manifest.json")
    time.sleep(0.3)
    os.kill(process, signal.SIGINT)
    assert nursery.wait() == 1
    assert 0 < check_state(out, whole) < IMAGES


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)
