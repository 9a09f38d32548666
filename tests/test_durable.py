"""Files that are old or new but never half, and one writer at a time."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from recoseg.errors import Locked, RecosegError
from recoseg.io import durable, locks


def test_a_write_replaces_all(tmp_path):
    path = tmp_path / "x.json"
    durable.write(path, b"old, and rather long")
    durable.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_failed_write_keeps_the_old_bytes_and_leaves_no_rubbish(tmp_path, monkeypatch, step):
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "x.json"
    durable.write(path, b"old")
    monkeypatch.setattr(*{"fsync": (os, "fsync"), "rename": (type(path), "replace")}[step], full)
    with pytest.raises(
        RecosegError, match=r"x\.json cannot be written \(No space left .*make room"
    ):
        durable.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_data_are_synced_before_the_name_changes(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, type(tmp_path).replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("sync"), fsync(fd)))
    monkeypatch.setattr(
        type(tmp_path), "replace", lambda self, to: (steps.append("rename"), replace(self, to))[1]
    )
    durable.write(tmp_path / "x", b"data")
    assert steps == ["sync", "rename", "sync"]


def test_a_missing_folder(tmp_path):
    with pytest.raises(RecosegError, match="cannot be written"):
        durable.write(tmp_path / "gone" / "x", b"data")
    with (
        pytest.raises(RecosegError, match="cannot be written"),
        locks.hold(tmp_path / "a/b", "it"),
    ):
        pass


def test_a_lock_excludes_until_it_is_left(tmp_path):
    path = tmp_path / "lock"
    with locks.hold(path, "the index"):
        with (
            pytest.raises(Locked, match=rf"\(process {os.getpid()}\) is at work on the index"),
            locks.hold(path, "the index"),
        ):
            pass
        with pytest.raises(Locked), locks.hold(path, "the index"):
            pass
    with locks.hold(path, "the index"):
        pass


def test_a_killed_writer_leaves_no_lock_even_to_its_forked_workers(tmp_path):
    code = (
        "import os, sys, time; from pathlib import Path; from recoseg.io import durable, locks\n"
        "with locks.hold(Path(sys.argv[1]), 'it'):\n"
        "    worker = os.fork()\n"
        "    if not worker: print(os.getpid(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    path = tmp_path / "lock"
    writer = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
    worker = int(writer.stdout.readline())
    try:
        with (
            pytest.raises(Locked, match=rf"\(process {writer.pid}\) is at work on it; wait"),
            locks.hold(path, "it"),
        ):
            pass
        writer.kill()
        writer.wait()
        with locks.hold(path, "it"):
            os.kill(worker, 0)  # it is still alive
    finally:
        os.kill(worker, signal.SIGKILL)
        writer.kill()
        writer.communicate()


def test_a_lock_may_be_left_by_another_thread(tmp_path):
    held = locks.hold(tmp_path / "lock", "it")
    held.__enter__()
    thread = threading.Thread(target=held.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    with locks.hold(tmp_path / "lock", "it"):
        pass


def test_a_drive_without_locks_is_refused_and_no_stale_lock_is_left(tmp_path, monkeypatch):
    import fcntl

    def missing(*_args: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    with (
        pytest.raises(RecosegError, match=r"cannot be written \(Function not implemented"),
        locks.hold(tmp_path / "lock", "it"),
    ):
        pass
    monkeypatch.undo()
    with locks.hold(tmp_path / "lock", "it"):
        pass


def test_a_lock_is_left_on_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), locks.hold(tmp_path / "lock", "it"):
        raise ZeroDivisionError
    with locks.hold(tmp_path / "lock", "it"):
        pass


def test_one_of_many_threads_gets_the_lock(tmp_path):
    start, end = threading.Barrier(8), threading.Barrier(8)
    got = []

    def compete() -> None:
        start.wait(10)
        try:
            with locks.hold(tmp_path / "lock", "it"):
                got.append("in")
                end.wait(10)
        except Locked:
            got.append("out")
            end.wait(10)

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == ["in"] + ["out"] * 7


def test_a_folder_is_made_with_those_above_it_and_again(tmp_path):
    for _ in range(2):
        assert durable.make_folder(tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_in_the_place_of_a_folder_is_one_sentence(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecosegError, match="because a file is in its place"):
        durable.make_folder(tmp_path / name)


def test_room_for_a_folder_is_looked_at_and_nothing_is_made(tmp_path, monkeypatch):
    assert durable.check_writable(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    (tmp_path / "dead").symlink_to("nowhere")
    for taken in ("file", "file/below", "dead"):
        with pytest.raises(
            RecosegError, match="cannot be a folder, because a file is in its place"
        ):
            durable.check_writable(tmp_path / taken)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(RecosegError, match=f"nothing may be written in {tmp_path}; choose"):
        durable.check_writable(tmp_path / "a" / "b")


class TestScratch:
    """Temporary files have short names of their own, and those of killed writers go."""

    def test_a_name_of_255_bytes_can_be_written(self, tmp_path):
        path = tmp_path / ("x" * 255)
        durable.write(path, b"data")
        assert path.read_bytes() == b"data"
        assert list(tmp_path.iterdir()) == [path]

    def test_hidden_names_are_short_and_always_the_same(self, tmp_path):
        assert durable.hidden(tmp_path / "x", "lock") == tmp_path / ".x.lock"
        long = durable.hidden(tmp_path / ("é" * 127), "partial")
        assert len(os.fsencode(long.name)) < 50
        assert long == durable.hidden(tmp_path / ("é" * 127), "partial")

    def test_what_killed_writers_left_goes_with_the_next_lock(self, tmp_path):
        left = [tmp_path / ".0123456789ab.recoseg", tmp_path / "a" / ".ffffffffffff.recoseg"]
        theirs = [
            tmp_path / ".hidden",
            tmp_path / ".x.tmp",
            tmp_path / "a" / "0123456789ab.recoseg",
        ]
        (tmp_path / "a").mkdir()
        for path in (*left, *theirs):
            path.touch()
        with locks.hold(tmp_path / "lock", "it"):
            assert not any(path.exists() for path in left)
            assert all(path.exists() for path in theirs)

    def test_those_of_living_writers_stay(self, tmp_path):
        with durable.temporary_beside(tmp_path / "x") as (_, temporary):
            durable.sweep_temporaries(tmp_path)
            assert temporary.exists()
        assert not temporary.exists()

    def test_a_folder_of_the_user_is_not_searched_through(self, tmp_path):
        (tmp_path / "below").mkdir()
        below, here = (
            tmp_path / "below" / ".0123456789ab.recoseg",
            tmp_path / ".ab0123456789.recoseg",
        )
        below.touch()
        here.touch()
        with locks.hold(tmp_path / ".x.lock", "it", keep=False):
            assert below.exists()
            assert not here.exists()
        assert not (tmp_path / ".x.lock").exists()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals")
    def test_killed_while_it_writes(self, tmp_path):
        process = os.fork()
        if not process:
            os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
            durable.write(tmp_path / "x", b"data")
        os.waitpid(process, 0)
        assert [path.suffix for path in tmp_path.iterdir()] == [".recoseg"]
        with locks.hold(tmp_path / "lock", "it"):
            assert [path.name for path in tmp_path.iterdir()] == ["lock"]


class TestWaiting:
    def test_a_writer_that_waits_says_so_once_and_then_gets_it(self, tmp_path):
        said, order = [], []
        with locks.hold(tmp_path / "lock", "the bank", keep=False):
            waiter = threading.Thread(target=self.wait, args=(tmp_path / "lock", said, order))
            waiter.start()
            while not said:
                time.sleep(0.01)
            order.append("first")
        waiter.join(20)
        assert order == ["first", "second"]
        (sentence,) = said
        assert sentence.startswith("another writer (process ")
        assert sentence.endswith("is at work on the bank; waiting for it to finish.")

    @staticmethod
    def wait(path, said, order):
        with locks.hold(path, "the bank", wait=said.append, keep=False):
            order.append("second")

    @pytest.mark.parametrize("keep", [True, False])
    def test_many_processes_one_at_a_time(self, tmp_path, keep):
        """Each adds one to a number that it reads and replaces, most of them after a wait."""
        (tmp_path / "number").write_text("0")
        (tmp_path / "home").mkdir()
        children = []
        for _ in range(8):
            process = os.fork()
            if not process:
                try:
                    for _ in range(10):
                        with locks.hold(
                            tmp_path / "home" / "lock", "it", wait=lambda _: None, keep=keep
                        ):
                            number = int((tmp_path / "number").read_text())
                            time.sleep(0.001)
                            (tmp_path / "number").write_text(str(number + 1))
                    os._exit(0)
                finally:
                    os._exit(1)
            children.append(process)
        assert [os.waitpid(process, 0)[1] for process in children] == [0] * 8
        assert (tmp_path / "number").read_text() == "80"
