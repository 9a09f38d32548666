"""Vectors on disk: append-only files of raw little-endian fp16 rows, read through memory maps.

Row r of an index of d-vectors lies in ``shards/<r // size>.f16``, 2 d bytes from (r % size) * 2 d
on. There is no header: the manifest holds d and size, the ledger how many rows count. Bytes behind
the last of those are the remains of a write that was cut off, and are dropped by the next writer.
An index that was compacted has its files in ``shards-1``, ``shards-2`` and so on.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recoseg.errors import IndexDamaged, InputError
from recoseg.io.durable import report_write_errors, sync_folder

Rows = NDArray[np.float16]
REMEDY = "`recoseg index PHOTOS INDEX --check` embeds again just what is damaged"


class Shards:
    """Rows 0, 1, 2 ... of d fp16 numbers.

    Attributes:
        folder: where the files are.
        dim: d.
        size: rows per file.
    """

    def __init__(self, folder: Path, dim: int, size: int) -> None:
        self.folder, self.dim, self.size = folder, dim, size

    def path(self, shard: int) -> Path:
        """The file of one shard."""
        return self.folder / f"{shard:06d}.f16"

    def append(self, first: int, rows: Rows) -> None:
        """Write (n, d) rows from row ``first`` on, and sync them.

        Raises:
            InputError: the rows have another d.
            RecosegError: the disk is full or the folder cannot be written.
        """
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise InputError(
                f"vectors of shape {rows.shape} do not fit an index of dimension {self.dim}; "
                "the model's embeddings must be (B, dim)."
            )
        with report_write_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for shard, start, stop in self._parts(first, first + len(rows)):
                self._put(shard, start, rows[: stop - start])
                rows = rows[stop - start :]

    def cut(self, rows: int) -> None:
        """Drop everything behind the first ``rows`` rows; the rows must be there (``check``)."""
        keep = {path: stop - start for path, start, stop in self._files(rows)}
        for path in sorted(self.folder.glob("*.f16")):
            if path not in keep:
                path.unlink()
            elif path.stat().st_size > keep[path] * 2 * self.dim:
                os.truncate(path, keep[path] * 2 * self.dim)

    def check(self, rows: int) -> None:
        """IndexDamaged unless the files hold the first ``rows`` rows."""
        for shard, start, stop in self._parts(0, rows):
            path = self.path(shard)
            need = (stop - start) * 2 * self.dim
            found = path.stat().st_size if path.is_file() else 0
            if found < need:
                state = f"holds {found:,} of {need:,} bytes" if found else "is missing or empty"
                raise IndexDamaged(f"{path} {state}: {REMEDY}.")

    def blocks(self, rows: int, step: int, begin: int = 0) -> Iterator[tuple[int, Rows]]:
        """(first row, (n, d) map of at most ``step`` rows) for rows from ``begin`` on, in order.

        Each block is a map of its own, copy-on-write and so writable; memory is given back when
        the caller lets go of it.
        """
        for shard, start, stop in self._parts(begin, rows):
            for first in range(start, stop, step):
                yield shard * self.size + first, self._map(shard, first, min(first + step, stop))

    def gather(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, d) fp32 copies of single rows, in the order asked for."""
        wanted = np.asarray(rows, dtype=np.int64)
        found = np.empty((len(wanted), self.dim), dtype="<f2")
        for shard in np.unique(wanted // self.size).tolist():
            here = np.flatnonzero(wanted // self.size == shard)
            with self._explain_damage(shard), self.path(shard).open("rb", buffering=0) as stream:
                for place in here:
                    stream.seek(int(wanted[place] - shard * self.size) * 2 * self.dim)
                    if stream.readinto(found[place]) != 2 * self.dim:
                        raise ValueError("it ends too early")
        return found.astype(np.float32)

    def raw(self, first: int, count: int) -> bytes:
        """The bytes of ``count`` rows of one shard; fewer where its file is missing or short."""
        shard, inside = divmod(first, self.size)
        try:
            with self.path(shard).open("rb", buffering=0) as stream:
                stream.seek(inside * 2 * self.dim)
                return stream.read(count * 2 * self.dim) or b""
        except PermissionError as error:
            raise InputError(f"{self.path(shard)} may not be read; give permission.") from error
        # A sector that cannot be read is damage like any other.
        except OSError:
            return b""

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """(shard, first row in it, row in it behind the last) that cover rows start to stop."""
        while start < stop:
            shard, first = divmod(start, self.size)
            last = min(self.size, first + stop - start)
            yield shard, first, last
            start += last - first

    def _files(self, rows: int) -> list[tuple[Path, int, int]]:
        return [(self.path(shard), start, stop) for shard, start, stop in self._parts(0, rows)]

    def _put(self, shard: int, start: int, rows: Rows) -> None:
        path = self.path(shard)
        new = not path.exists()
        with path.open("ab" if new else "r+b") as stream:
            stream.seek(start * 2 * self.dim)
            stream.truncate()
            stream.write(np.ascontiguousarray(rows, dtype="<f2").tobytes())
            stream.flush()
            os.fsync(stream.fileno())
        if new:
            sync_folder(self.folder)

    def _map(self, shard: int, start: int, stop: int) -> Rows:
        with self._explain_damage(shard):
            return np.memmap(
                self.path(shard), "<f2", "c", start * 2 * self.dim, (stop - start, self.dim)
            )

    @contextlib.contextmanager
    def _explain_damage(self, shard: int) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise IndexDamaged(
                f"{self.path(shard)} went missing or short while the index was open ({error}): "
                f"{REMEDY}."
            ) from error
