"""Rows of a table taken into a ledger: new and changed ones noted, vanished ones forgotten."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from recoseg.embeddings.table import BLOCK_ROWS, Block, Part
from recoseg.errors import ArchiveError
from recoseg.index.journal import Journal
from recoseg.index.ledger import Writer
from recoseg.index.shards import Shards
from recoseg.io.archive import Item
from recoseg.io.imported import UNREAD, ImportedSource
from recoseg.similarity import unit

_KEY = b"recoseg imported vector\0"


class Intake:
    """Rows on their way into an index; use it as a context.

    Attributes:
        counts: of rows by what came of them: the fields of ``Changes``, and ``unreachable``
            (photos that cannot be fetched now), ``repeated`` (rows whose photo had one before) and
            ``nameless`` (rows that name no photo).
    """

    def __init__(self, shards: Shards, writer: Writer, source: ImportedSource) -> None:
        self.counts = Counter[str]()
        self._writer, self._source = writer, source
        self._journal = Journal(shards, writer, lambda item, digest: None, lambda skipped: None)
        # Names by the million are kept on the disk, in a file that nobody else sees.
        self._seen = sqlite3.connect("", isolation_level=None)
        self._seen.execute("PRAGMA journal_mode = OFF")
        self._seen.execute("CREATE TABLE seen(id TEXT PRIMARY KEY) WITHOUT ROWID")

    def __enter__(self) -> Intake:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """What was taken is flushed, however this ends."""
        with contextlib.closing(self._seen):
            self._journal.flush()

    def take(self, part: Part) -> None:
        """Note every row of a part; ArchiveError if it ends before its vectors do."""
        for block in part.blocks():
            if len(block.ids) != len(block.vectors):
                raise ArchiveError(
                    f"{part.name} changed while it was read; run the same import again."
                )
            self._take(block, part.name)

    def finish(self) -> None:
        """Forget images that the table no longer has; to be called after all parts."""
        self._journal.flush()
        for ids in self._held():
            gone = [id for id in ids if not self._was_seen(id)]
            if gone:
                self._writer.commit(gone=gone)
                self.counts["removed"] += len(gone)
        stale = [skipped.id for skipped in self._writer.skipped() if not self._was_seen(skipped.id)]
        if stale:
            self._writer.commit(gone=stale)

    def _take(self, block: Block, where: str) -> None:
        fresh = [self._is_first(id) for id in block.ids]
        rows = _to_half(block.vectors)
        for id, row in zip(
            _choose(block.ids, fresh), rows[np.array(fresh, dtype=bool)], strict=True
        ):
            if not np.isfinite(row[0]):
                self._journal.skip(Item(id, UNREAD, 0), f"{id} has no usable vector in {where}")
                self.counts["skipped"] += 1
                continue
            self.counts["unreachable"] += not self._source.has(id)
            self._note(id, row)

    def _note(self, id: str, row: NDArray[np.float16]) -> None:
        # The photo is not read, so its vector and its name stand for its content.
        digest = hashlib.sha256(_KEY + id.encode() + b"\0" + row.tobytes()).digest()
        held = self._writer.find(id)
        if held is not None and held.hash == digest:
            self.counts["unchanged"] += 1
            return
        self.counts["added" if held is None else "changed"] += 1
        if not self._journal.holds(digest):
            self._journal.vector(digest, row)
        self._journal.image(Item(id, UNREAD, 0), digest)

    def _is_first(self, id: str) -> bool:
        """Whether a row is the first of its photo; counts the others."""
        if not id:
            self.counts["nameless"] += 1
            return False
        added = self._seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (id,)).rowcount
        self.counts["repeated"] += not added
        return bool(added)

    def _was_seen(self, id: str) -> bool:
        return self._seen.execute("SELECT 1 FROM seen WHERE id = ?", (id,)).fetchone() is not None

    def _held(self) -> Iterator[list[str]]:
        """All ids of the index, page by page."""
        after = ""
        while page := self._writer.page(after, BLOCK_ROWS):
            after = page[-1][0]
            yield [id for id, _, _ in page]


def _choose(ids: Iterable[str], wanted: Iterable[bool]) -> list[str]:
    return [id for id, good in zip(ids, wanted, strict=True) if good]


def _to_half(vectors: NDArray[np.floating]) -> NDArray[np.float16]:
    """Unit vectors in half precision; rows that are not finite, or zero, are all NaN."""
    wide = torch.from_numpy(np.array(vectors, dtype=np.float64))
    rows = unit(wide)
    usable = torch.isfinite(rows).all(dim=1) & rows.any(dim=1)
    return torch.where(usable[:, None], rows, torch.nan).numpy().astype("<f2")
