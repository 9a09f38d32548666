"""Atomic file writes, through temporary files by which those of killed writers are known.

The writer holds a lock on its temporary file, which the system drops with the process: one that can
be locked is nobody's any more.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from recoseg.errors import RecosegError

# Of one part of a path, in bytes, on all usual file systems.
MAX_NAME = 255
_TEMPORARY = re.compile(r"\.[0-9a-f]{12}\.recoseg")
IN_ITS_PLACE = "{} cannot be a folder, because a file is in its place; choose another name."


def write(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` at once: a reader sees the old bytes or the new, never a part.

    The data go to a temporary name in the same folder, are fsynced, and are renamed. RecosegError
    if that cannot be done; the old bytes are then still there.
    """
    with report_write_errors(path):
        with temporary_beside(path) as (descriptor, temporary):
            with open(descriptor, "wb", closefd=False) as stream:
                stream.write(data)
            os.fsync(descriptor)
            temporary.replace(path)
        sync_folder(path.parent)


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
def temporary_beside(path: Path) -> Iterator[tuple[int, Path]]:
    """A new empty file in the folder of ``path``: its descriptor and its path; gone at the end."""
    descriptor, temporary = _create(path.parent)
    try:
        yield descriptor, temporary
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def sweep_temporaries(folder: Path, deep: bool = True) -> None:
    """Remove what killed writers left in a folder and, if ``deep``, below it."""
    for root, folders, names in os.walk(folder):
        for name in names:
            if _TEMPORARY.fullmatch(name):
                # What cannot be removed now can be the next time.
                with contextlib.suppress(OSError):
                    _remove_if_left(Path(root) / name)
        if not deep:
            folders.clear()


def _create(folder: Path) -> tuple[int, Path]:
    while True:
        temporary = folder / f".{secrets.token_hex(6)}.recoseg"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        # Another writer's sweep may come between the two.
        if _hold(descriptor) and temporary.exists():
            return descriptor, temporary
        os.close(descriptor)


def _remove_if_left(path: Path) -> None:
    if sys.platform == "win32":
        path.unlink()  # which Windows refuses while a writer has it open
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if _hold(descriptor, unsure=False):
            path.unlink()
    finally:
        os.close(descriptor)


def _hold(descriptor: int, unsure: bool = True) -> bool:
    """Lock a file; ``unsure`` is the answer where the drive has no locks."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return unsure and error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN)
    return True
