"""Temporary files with short names of their own, by which those of killed writers are known.

The writer holds a lock on its file, which the system drops with the process: a temporary file that
can be locked is nobody's any more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"\.[0-9a-f]{12}\.recoseg")


@contextlib.contextmanager
def beside(path: Path) -> Iterator[tuple[int, Path]]:
    """A new empty file in the folder of ``path``: its descriptor and its path; gone at the end."""
    descriptor, temporary = _create(path.parent)
    try:
        yield descriptor, temporary
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def sweep(folder: Path, deep: bool = True) -> None:
    """Remove what killed writers left in a folder and, if ``deep``, below it."""
    for root, folders, names in os.walk(folder):
        for name in names:
            if _NAME.fullmatch(name):
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
