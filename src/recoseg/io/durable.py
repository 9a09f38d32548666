"""Atomic file writes, and locks for a single writer."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from recoseg.errors import Locked, RecosegError
from recoseg.io import scratch

if TYPE_CHECKING:
    import filelock

# Of one part of a path, in bytes, on all usual file systems.
MAX_NAME = 255
IN_ITS_PLACE = "{} cannot be a folder, because a file is in its place; choose another name."


def write(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` at once: a reader sees the old bytes or the new, never a part.

    The data go to a temporary name in the same folder, are fsynced, and are renamed. RecosegError
    if that cannot be done; the old bytes are then still there.
    """
    with report_write_errors(path):
        with scratch.beside(path) as (descriptor, temporary):
            with open(descriptor, "wb", closefd=False) as stream:
                stream.write(data)
            os.fsync(descriptor)
            temporary.replace(path)
        sync_folder(path.parent)


@contextlib.contextmanager
def report_write_errors(path: Path) -> Iterator[None]:
    """Raise RecosegError where ``path`` cannot be written (disk full, no permission)."""
    try:
        yield
    except OSError as error:
        raise RecosegError(
            f"{path} cannot be written ({error.strerror or error}); make room or give permission "
            "and run the same again: finished work is kept."
        ) from error


def check_writable(path: Path) -> Path:
    """Return the output folder ``path``, or raise RecosegError if it cannot be made or written.

    Nothing is made. RecosegError if a file is in its place or above it, or if nothing may be
    written there.
    """
    # os.path, because Path.exists raises where a folder above must not be entered.
    nearest = next(p for p in (path, *path.parents) if os.path.lexists(p))
    if not os.path.isdir(nearest):  # noqa: PTH112
        raise RecosegError(IN_ITS_PLACE.format(path))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RecosegError(f"nothing may be written in {nearest}; choose another folder.")
    return path


def hidden(path: Path, kind: str) -> Path:
    """A hidden name beside ``path`` that is always the same for it, and never too long."""
    name = f".{path.name}.{kind}"
    if len(os.fsencode(name)) > MAX_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:24]}.{kind}"
    return path.with_name(name)


def make_folder(path: Path) -> Path:
    """Make the folder ``path`` and those above it; RecosegError if a file is in its place."""
    with report_write_errors(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise RecosegError(IN_ITS_PLACE.format(path)) from error
    return path


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to disk; nothing to do on Windows."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock(
    path: Path,
    what: str,
    *,
    wait: Callable[[str], None] | None = None,
    patience: float = -1,
    keep: bool = True,
) -> Iterator[None]:
    """Hold the lock file ``path`` for one writer of ``what``, and remove what killed ones left.

    The operating system drops the lock when the process ends, however it ends, so a killed writer
    never leaves one behind; processes forked meanwhile do not keep it. On a network drive it is as
    good as the drive's own locking.

    Args:
        path: the lock file, in the folder that is written.
        what: in words, for messages.
        wait: is told in one sentence that another writer is waited for; None refuses at once.
        patience: how many seconds it is waited for; -1 is without end.
        keep: False removes the lock file at the end, for a folder that is the user's own; the
            folders below are then not searched for what killed writers left.

    Raises:
        Locked: another writer holds it; the message names its process.
        RecosegError: the lock file cannot be written.
    """
    with report_write_errors(path):
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path.parent} is not a folder")
        held = _acquire(path, what, wait, patience)
    try:
        scratch.sweep(path.parent, deep=keep)
        yield
    finally:
        if not keep:
            with contextlib.suppress(OSError):
                path.unlink()
        held.release()


def _acquire(
    path: Path, what: str, wait: Callable[[str], None] | None, patience: float
) -> filelock.BaseFileLock:
    import filelock

    current: list[bool] = []
    # A soft lock would outlive a killed writer; the holder may be left by another thread.
    held = filelock.FileLock(
        path,
        thread_local=False,
        fallback_to_soft=False,
        on_acquired=lambda descriptor: current.append(_name_holder(descriptor, path)),
    )
    while True:
        try:
            try:
                held.acquire(blocking=False)
            except filelock.Timeout:
                if wait is None:
                    raise
                wait(f"{_held(path, what)}; waiting for it to finish.")
                held.acquire(timeout=patience)
        except filelock.Timeout as error:
            raise Locked(f"{_held(path, what)}; wait for it to finish or stop it.") from error
        # The last writer may have removed the file that was waited for.
        if current[-1]:
            return held
        held.release()


def _held(path: Path, what: str) -> str:
    return f"another writer{_read_holder(path)} is at work on {what}"


def _name_holder(descriptor: int, path: Path) -> bool:
    """Write who holds it; whether the path still leads to this file."""
    # From the second byte, because Windows forbids others to read the first, which is locked.
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"\n{os.getpid()}\n".encode())
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _read_holder(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as stream:
        stream.seek(1)
        if holder := stream.read(32).decode(errors="replace").strip():
            return f" (process {holder})"
    return ""
