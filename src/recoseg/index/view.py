"""Read view of one committed state of an index: ledger and rows, checked when first read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recoseg.errors import ArchiveError
from recoseg.index import compaction, stamp
from recoseg.index.blocks import CheckedShards
from recoseg.index.ledger import Entry, Snapshot
from recoseg.index.manifest import Manifest
from recoseg.index.shards import Shards


class View:
    """Read access to one committed state: the ledger and the vectors.

    Attributes:
        snapshot: the ledger, until the question is answered.
        shards: the rows that it speaks of.
        generation: of the files that hold them.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        folder: Path,
        manifest: Manifest,
        verify: bool,
        earlier: View | None,
    ) -> None:
        """Check the ledger, unless ``earlier`` did or nothing is to be verified.

        Raises:
            IndexDamaged: the ledger does not say what was written.
        """
        self.snapshot = snapshot
        self.revision, self.generation = snapshot.revision(), snapshot.generation()
        self._counts: NDArray[np.int32] | None = None
        self.shards: Shards
        if earlier is not None and earlier._state == self._state:
            self.shards, self._counts = earlier.shards, earlier._counts
            return
        place = compaction.folder_of(folder, self.generation)
        if verify:
            stamp.check(snapshot)
            known = None if earlier is None else earlier.shards
            self.shards = CheckedShards(
                place, manifest.dim, manifest.shard_rows, snapshot.blocks(), known
            )
        else:
            self.shards = Shards(place, manifest.dim, manifest.shard_rows)

    def entry(self, id: str) -> Entry:
        """The entry of an image; ArchiveError if it is not in the index."""
        entry = self.snapshot.find(id)
        if entry is None:
            raise ArchiveError(f"{id} is not in {self.snapshot.path.parent}; see the index's ids.")
        return entry

    @property
    def counts(self) -> NDArray[np.int32]:
        """(rows,) the number of images that have each row."""
        if self._counts is None:
            self._counts = self.snapshot.counts()
        return self._counts

    @property
    def _state(self) -> tuple[int, int]:
        return self.revision, self.generation
