"""On-disk pixel counts per image, so that an interrupted evaluation resumes.

One SQLite file (WAL) for all systems and datasets of a folder. A row belongs to a key, the digest
of everything that decides it but the image, and to an image; its stamp tells whether the image's
files are still those it was counted from.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from recoseg.errors import InputError
from recoseg.evaluation.metrics import Counts, Matrix
from recoseg.io import durable, locks

FILE = "tallies.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tally (
    key TEXT, image TEXT, stamp TEXT, counts BLOB, PRIMARY KEY (key, image)
) WITHOUT ROWID;
"""


class Tallies:
    """Counts by key and image; used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path) -> Iterator[Tallies]:
        """The tallies of a folder, made if there are none; one process at a time.

        Raises:
            Locked: another process counts there.
            InputError: the file there is something else.
        """
        durable.make_folder(folder)
        with locks.hold(folder / ".lock", str(folder)):
            connection = sqlite3.connect(folder / FILE, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.executescript(_SCHEMA)
                yield cls(connection)
            except sqlite3.DatabaseError as error:
                raise InputError(
                    f"{folder / FILE} cannot be used ({error}); delete it, or choose another "
                    "folder."
                ) from error
            finally:
                connection.close()

    def stamps(self, key: str) -> dict[str, str]:
        """Image to stamp of all that is counted under a key."""
        rows = self._connection.execute("SELECT image, stamp FROM tally WHERE key = ?", (key,))
        return dict(rows)

    def add(self, key: str, image: str, stamp: str, counts: Counts) -> None:
        """Keep the counts of an image; safe against a kill once this returns."""
        with durable.report_write_errors(Path(FILE)):
            self._connection.execute(
                "INSERT OR REPLACE INTO tally VALUES (?, ?, ?, ?)",
                (key, image, stamp, _pack(counts)),
            )

    def counts(self, key: str, images: Sequence[str], shape: tuple[int, int]) -> Iterator[Counts]:
        """Counts of images in their order, each of (C, P) = ``shape``; all must be there."""
        for image in images:
            (packed,) = self._connection.execute(
                "SELECT counts FROM tally WHERE key = ? AND image = ?", (key, image)
            ).fetchone()
            yield _unpack(packed, *shape)


def _pack(counts: Counts) -> bytes:
    """Places and values of what is not zero; a few hundred bytes for most images."""
    tables = (counts.confusion, counts.shared, counts.truth_band, counts.predicted_band)
    flat = np.concatenate([table.ravel() for table in tables])
    places = np.flatnonzero(flat)
    return zlib.compress(np.stack([places, flat[places]]).astype("<i8").tobytes())


def _unpack(packed: bytes, classes: int, predictions: int) -> Counts:
    wide = predictions + 1
    ends = np.cumsum([classes * wide, classes * wide, classes, wide])
    flat: Matrix = np.zeros(ends[-1], np.int64)
    places, values = np.frombuffer(zlib.decompress(packed), "<i8").reshape(2, -1)
    flat[places] = values
    confusion, shared, truth, predicted = np.split(flat, ends[:-1])
    return Counts(confusion.reshape(classes, wide), shared.reshape(classes, wide), truth, predicted)
