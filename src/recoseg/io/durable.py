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
    never leaves one behind; processes forked meanwhile do not keep it. On a network drive it is as
    good as the drive's own locking.

    Raises:
        Locked: another writer holds it; the message names its process.
        RecosegError: the lock file cannot be written.
    """
    import filelock

    # A soft lock would outlive a killed writer; the holder may be left by another thread.
    held = filelock.FileLock(
        path, blocking=False, thread_local=False, fallback_to_soft=False, on_acquired=_name_holder
    )
    with report_write_errors(path):
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path.parent} is not a folder")
        try:
            held.acquire()
        except filelock.Timeout as error:
            raise Locked(
                f"another writer{_read_holder(path)} is at work on {what}; "
                "wait for it to finish or stop it."
            ) from error
    try:
        yield
    finally:
        held.release()


def _name_holder(descriptor: int) -> None:
    # From the second byte, because Windows forbids others to read the first, which is locked.
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"\n{os.getpid()}\n".encode())


def _read_holder(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as stream:
        stream.seek(1)
        if holder := stream.read(32).decode(errors="replace").strip():
            return f" (process {holder})"
    return ""
