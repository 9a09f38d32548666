"""Files that survive a crash, and one writer at a time."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from recoseg.errors import Locked, RecosegError

IN_ITS_PLACE = "{} cannot be a folder, because a file is in its place; choose another name."


def write(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` at once: a reader sees the old bytes or the new, never a part.

    The data go to a temporary name in the same folder, are fsynced, and are renamed. RecosegError
    if that cannot be done; the old bytes are then still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with report_write_errors(path):
        try:
            with temporary.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


@contextlib.contextmanager
def report_write_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write ``path`` (disk full, no permission) into RecosegError."""
    try:
        yield
    except OSError as error:
        raise RecosegError(
            f"{path} cannot be written ({error.strerror or error}); make room or give permission "
            "and run the same again: finished work is kept."
        ) from error


def check_writable(path: Path) -> Path:
    """``path``, a folder to be filled: refused before the work where it cannot be made or written.

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


def make_folder(path: Path) -> Path:
    """Make the folder ``path`` and those above it; RecosegError if a file is in its place."""
    with report_write_errors(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise RecosegError(IN_ITS_PLACE.format(path)) from error
    return path


def sync_folder(folder: Path) -> None:
    """Make names just created in ``folder`` durable; Windows does so itself."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file ``path`` for one writer of ``what``.

    The operating system drops the lock when the process ends, however it ends, so a killed writer
    never leaves one behind. POSIX systems use ``flock``, Windows locks one byte of the file; on a
    network drive it is as good as the drive's own locking.

    Raises:
        Locked: another writer holds it; the message names its process.
        RecosegError: the lock file cannot be written.
    """
    with report_write_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _acquire(descriptor)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0) if hasattr(os, "pread") else b""
            process = f" (process {holder.decode(errors='replace').strip()})" if holder else ""
            raise Locked(
                f"another writer{process} is at work on {what}; wait for it to finish or stop it."
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _acquire(descriptor: int) -> None:
        # A byte far behind the text, because Windows forbids others to read a locked byte.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _acquire(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
