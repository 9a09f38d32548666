"""Files that are old or new but never half, and one writer at a time."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from recoseg.errors import Locked, RecosegError
from recoseg.io import durable


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
        durable.lock(tmp_path / "a/b", "it"),
    ):
        pass


def test_a_lock_excludes_until_it_is_left(tmp_path):
    path = tmp_path / "lock"
    with durable.lock(path, "the index"):
        with (
            pytest.raises(Locked, match=rf"\(process {os.getpid()}\) is at work on the index"),
            durable.lock(path, "the index"),
        ):
            pass
        with pytest.raises(Locked), durable.lock(path, "the index"):
            pass
    with durable.lock(path, "the index"):
        pass


def test_a_killed_writer_leaves_no_lock_even_to_its_forked_workers(tmp_path):
    code = (
        "import os, sys, time; from pathlib import Path; from recoseg.io import durable\n"
        "with durable.lock(Path(sys.argv[1]), 'it'):\n"
        "    worker = os.fork()\n"
        "    if not worker: time.sleep(60)\n"
        "    print(worker, flush=True); time.sleep(60)\n"
    )
    path = tmp_path / "lock"
    writer = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
    worker = int(writer.stdout.readline())
    try:
        with (
            pytest.raises(Locked, match=rf"\(process {writer.pid}\) is at work on it; wait"),
            durable.lock(path, "it"),
        ):
            pass
        writer.kill()
        writer.wait()
        with durable.lock(path, "it"):
            os.kill(worker, 0)  # it is still alive
    finally:
        os.kill(worker, signal.SIGKILL)
        writer.kill()
        writer.communicate()


def test_a_lock_may_be_left_by_another_thread(tmp_path):
    held = durable.lock(tmp_path / "lock", "it")
    held.__enter__()
    thread = threading.Thread(target=held.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    with durable.lock(tmp_path / "lock", "it"):
        pass


def test_a_drive_without_locks_is_refused_and_no_stale_lock_is_left(tmp_path, monkeypatch):
    import fcntl

    def missing(*_args: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    with (
        pytest.raises(RecosegError, match=r"cannot be written \(Function not implemented"),
        durable.lock(tmp_path / "lock", "it"),
    ):
        pass
    monkeypatch.undo()
    with durable.lock(tmp_path / "lock", "it"):
        pass


def test_a_lock_is_left_on_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), durable.lock(tmp_path / "lock", "it"):
        raise ZeroDivisionError
    with durable.lock(tmp_path / "lock", "it"):
        pass


def test_one_of_many_threads_gets_the_lock(tmp_path):
    start, end = threading.Barrier(8), threading.Barrier(8)
    got = []

    def compete() -> None:
        start.wait(10)
        try:
            with durable.lock(tmp_path / "lock", "it"):
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
