"""Locks for a single writer of a file or folder, which end with its process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from recoseg.errors import Locked
from recoseg.io.durable import report_write_errors, sweep_temporaries

if TYPE_CHECKING:
    import filelock


@contextlib.contextmanager
def hold(
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
        sweep_temporaries(path.parent, deep=keep)
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
                wait(f"{_describe_holder(path, what)}; waiting for it to finish.")
                held.acquire(timeout=patience)
        except filelock.Timeout as error:
            raise Locked(
                f"{_describe_holder(path, what)}; wait for it to finish or stop it."
            ) from error
        # The last writer may have removed the file that was waited for.
        if current[-1]:
            return held
        held.release()


def _describe_holder(path: Path, what: str) -> str:
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
