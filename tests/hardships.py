"""Hardships: a disk that is full from the n-th write on, for every n and every verb that writes."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

from recoseg.errors import RecosegError
from tests.storms import Storm, names_in

BAD = ("not told", "torn", "several sentences", "unexpected", "stray", "not completed", "differing")


@contextmanager
def full_after(writes: int):
    """A disk that has room for so many writes; all that is kept goes through ``os.fsync``."""
    real, left = os.fsync, itertools.count(writes, -1)
    refused = Counter()

    def fsync(descriptor: int) -> None:
        if next(left) <= 0:
            refused["writes"] += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    os.fsync = fsync
    try:
        yield refused
    finally:
        os.fsync = real


def fill_disk(storm: Storm, moments: Iterable[int]) -> Counter[str]:
    """Let the disk be full after so many writes each, ascending, until all fit."""
    counts: Counter[str] = Counter()
    for writes in moments:
        home = storm.home
        shutil.rmtree(home)
        shutil.copytree(storm.folder / "inputs", home)
        with full_after(writes) as refused:
            said = _run(storm, home, counts)
        if not refused:
            break
        counts["full disks"] += 1
        if said is None:
            _note(storm, counts, "not told", f"{writes}")
        elif "\n" in said or "cannot be written (No space left on device)" not in said:
            _note(storm, counts, "several sentences", f"{writes}: {said}")
        _go_on(storm, home, counts, writes)
    return counts


def _run(storm: Storm, home: Path, counts: Counter[str]) -> str | None:
    try:
        storm.verb.run(home)
    except RecosegError as error:
        return str(error)
    except Exception as error:
        _note(storm, counts, "unexpected", f"{type(error).__name__}: {error}")
        return "cannot be written (No space left on device)"
    return None


def _go_on(storm: Storm, home: Path, counts: Counter[str], writes: int) -> None:
    """What is there is whole, and the same run with room completes it."""
    try:
        storm.verb.look(home)
    except Exception as error:
        _note(storm, counts, "torn", f"{writes}: {type(error).__name__}: {error}")
    try:
        storm.verb.run(home)
    except Exception as error:
        _note(storm, counts, "not completed", f"{writes}: {type(error).__name__}: {error}")
        return
    if storm.verb.made(home) != storm.facts:
        _note(storm, counts, "differing", f"{writes}")
    if strays := set(names_in(home)) ^ set(storm.names):
        _note(storm, counts, "stray", f"{writes}: {sorted(strays)}")
    counts["completed"] += 1


def _note(storm: Storm, counts: Counter[str], kind: str, what: str) -> None:
    counts[kind] += 1
    storm.notes.append(f"{storm.verb.name}: {kind}: {what}")
