"""Digest of the ledger's file, beside it: an opened index is then checked by one pass over bytes.

A ledger says row by row what it holds (``seals``), and to check that takes some 7 microseconds a
photo. The writer does so once, when it ends, and notes the digest of the file that it found good
(``sha256sum --check`` understands the note). A file of that digest need not be looked into again.
Any other is checked row by row: after a writer was killed, beside one that is at work, and where
there is no note.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from recoseg.errors import RecosegError
from recoseg.index.ledger import Snapshot
from recoseg.io import durable
from recoseg.io.walking import open_regular, read_regular

SUFFIX = ".sha256"
PART = 2**20


def check(snapshot: Snapshot) -> None:
    """IndexDamaged unless the ledger is whole and says what was written; reads all of it."""
    if not _read_stamp(snapshot.path):
        snapshot.check()


def write(snapshot: Snapshot) -> None:
    """Check a ledger that nobody writes, and note the digest of its file.

    A ledger that is damaged gets no note; whoever opens it next is told.
    """
    path = snapshot.path
    # In this order, so that a note is never of other bytes than those that were checked.
    digest = _digest(path)
    if digest is None or _read_stamp(path) or snapshot.seal() is None:
        return
    with contextlib.suppress(RecosegError):
        snapshot.check()
        if digest == _digest(path):
            durable.write(_note(path), _line(digest, path))


def _read_stamp(path: Path) -> bool:
    try:
        noted = read_regular(_note(path))
    except OSError:
        return False
    digest = _digest(path)
    return digest is not None and noted == _line(digest, path)


def _digest(path: Path) -> str | None:
    """The digest of the file; None while a log beside it holds a part of the ledger."""
    log = path.with_name(path.name + "-wal")
    try:
        if log.exists() and log.stat().st_size:
            return None
        total = hashlib.sha256()
        with open_regular(path) as stream:
            while part := stream.read(PART):
                total.update(part)
        return total.hexdigest()
    except OSError:
        return None


def _note(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def _line(digest: str, path: Path) -> bytes:
    return f"{digest}  {path.name}\n".encode()
