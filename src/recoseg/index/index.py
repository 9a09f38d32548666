"""Embedding index of an archive: one vector per image, in a crash-safe folder.

    photos.index/
      manifest.json      format version, model and its fingerprint, preprocessing, archive
      ledger.sqlite      ids, content hashes, rows, digests, files left out (SQLite, WAL)
      ledger.sqlite.sha256  digest of that file as its writer left and checked it
      shards/000000.f16  raw little-endian fp16 rows, appended only
      lock               held by the one writer

Rows are synced before the ledger speaks of them, and a transaction makes each step visible whole:
a reader beside a writer, or after one was killed, sees the last commit. Damage is told by digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recoseg.errors import ArchiveError, IndexDamaged
from recoseg.index import batchsearch, ledgerfile, search, update
from recoseg.index.manifest import Manifest
from recoseg.index.search import Hit
from recoseg.index.update import Changes, Effort
from recoseg.index.view import View
from recoseg.io import images, imported
from recoseg.io.archive import Archive, Skipped
from recoseg.io.images import RGB
from recoseg.io.machines import Cluster
from recoseg.io.progress import Progress
from recoseg.models import registry
from recoseg.models.base import JointModel
from recoseg.similarity import unit

__all__ = ["Changes", "Hit", "Index", "Skipped"]

Source = str | Path | Sequence[str | Path] | Archive
T = TypeVar("T")


class Index:
    """An opened index; every call sees the last committed state. Safe to use from threads."""

    def __init__(
        self, path: Path, manifest: Manifest, verify: bool = True, cluster: Cluster | None = None
    ) -> None:
        self.path, self._manifest, self._verify, self._cluster = path, manifest, verify, cluster
        self._view: View | None = None
        self._opened: Archive | None = None

    @classmethod
    def build(
        cls,
        source: Source,
        out: str | Path,
        *,
        model: str | JointModel = "lite",
        batch_size: int = 4,
        workers: int | None = None,
        check: bool = False,
        compact: bool = False,
        progress: Progress = True,
        cluster: Cluster | None = None,
    ) -> Index:
        """Embed every image of an archive; run again, it goes on where it was stopped.

        Args:
            source: what ``Archive.open`` takes.
            out: folder of the index; made, or continued if it has the same model and archive.
            model: a language-image model or its id.
            batch_size: images per forward pass; small ones are fastest on a CPU.
            workers: threads that read and decode; by default one per core, at most 4.
            check: repair ``out`` first: what is damaged is embedded again.
            compact: drop vectors that no image has any more; done anyway if they are most.
            progress: False, True (stderr) or a function of (done, total).
            cluster: embed, and later add and search, there and not here; the rows are the same.

        Raises:
            ArchiveError: nothing to index, nothing readable, or ``out`` has another archive.
            IndexMismatch: ``out`` was built by another model or format version.
            Locked: another writer is at work on ``out``.
            IndexDamaged: ``out`` is something else, or broken.
        """
        folder, archive = Path(out), Archive.open(source)
        update.check_folder(folder, archive)  # wrong paths before slow models
        joint = registry.load_joint(model)
        effort = Effort(batch_size, workers, check, compact, progress, cluster)
        return cls(folder, update.build(folder, archive, joint, effort), True, cluster)

    @classmethod
    def open(
        cls, path: str | Path, *, verify: bool = True, cluster: Cluster | None = None
    ) -> Index:
        """An index that was built before; neither its model nor its archive is needed to search.

        Args:
            path: its folder.
            verify: compare what is read for the first time with its digests, in about that time.
            cluster: add and search there and not here; the results are the same.

        Raises:
            IndexDamaged: not an index, or a part is missing.
            IndexMismatch: written by a newer version.
        """
        folder = Path(path)
        manifest = Manifest.read(folder)
        with ledgerfile.open_reading(folder / update.LEDGER) as snapshot:
            update.shards_of(folder, manifest, snapshot.generation()).check(snapshot.rows())
        return cls(folder, manifest, verify, cluster)

    def add(
        self,
        source: Source | None = None,
        *,
        model: str | JointModel | None = None,
        batch_size: int = 4,
        workers: int | None = None,
        check: bool = False,
        compact: bool = False,
        progress: Progress = True,
    ) -> Changes:
        """Follow the archive: index new and changed files, forget deleted ones.

        Args:
            source: where the archive is now, if it was moved; by default where it was.
            model: the model that built the index, if it is at hand; by default it is loaded.
            batch_size: as in ``build``.
            workers: as in ``build``.
            check: as in ``build``.
            compact: as in ``build``.
            progress: as in ``build``.

        Raises:
            ArchiveError: the archive is gone or empty, or ``source`` is another one.
            IndexMismatch: the model or its weights are not those of the index.
            Locked: another writer is at work on the index.
        """
        place = None if source is None else Archive.open(source).relist().require_images()
        joint = registry.load_joint(self.model_id if model is None else model)
        effort = Effort(batch_size, workers, check, compact, progress, self._cluster)
        self._manifest, changes = update.follow(self.path, place, joint, effort)
        return changes

    def search(
        self, queries: Tensor | NDArray[np.floating], k: int, *, exclude: Collection[str] = ()
    ) -> list[list[Hit]]:
        """The k images of largest cosine with each query, exactly.

        Args:
            queries: (Q, d) of any scale.
            k: how many; all if it is more than the index has.
            exclude: ids to pass over.

        Returns:
            Q lists, best first, equal scores in the order of ids.
        """
        vectors = search.check_queries(queries, k, self.dim, self.model_id)
        scan = batchsearch.scan_on(self._cluster)
        return self._ask(lambda view: search.search(view, vectors, k, exclude, scan))

    def image(self, id: str, at_least: int | None = None) -> RGB:
        """The image as uint8 RGB (H, W, 3) from the archive, exactly as it was indexed.

        Raises:
            ArchiveError: not in the index, or its file is gone or was changed since.
        """
        entry = self._ask(lambda view: view.entry(id))
        data = self.archive.read(id)
        if entry.size != imported.UNREAD and hashlib.sha256(data).digest() != entry.hash:
            raise ArchiveError(
                f"{id} in {self.archive.source} was changed after it was indexed; restore it, or "
                "bring the index up to date with `recoseg index`."
            )
        return images.read(data, at_least=at_least, name=id)

    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """(len(ids), d) unit vectors of images; ArchiveError if one is not in the index."""
        rows = self._ask(lambda v: v.shards.gather([v.entry(id).row for id in ids]))
        return unit(torch.from_numpy(rows)).numpy()

    def mean(self) -> NDArray[np.float32]:
        """(d,) mean of the images' unit vectors, summed block by block."""
        return self._ask(lambda view: search.mean(view.shards, view.counts))

    def check(self, model: JointModel) -> None:
        """IndexMismatch, with the remedy, unless ``model`` is the one that built the index."""
        self._manifest.check(model, self.path)

    @property
    def ids(self) -> list[str]:
        """The ids of all indexed images, in order."""
        return self._ask(lambda view: view.snapshot.ids())

    @property
    def skipped(self) -> list[Skipped]:
        """Files that were left out, with reasons, in the order of ids."""
        return self._ask(lambda view: view.snapshot.skipped())

    @property
    def hash(self) -> str:
        """Sha256 of all ids and content hashes, in hex: equal only for equal archives."""
        return self._ask(lambda view: view.snapshot.digest())

    @property
    def model_id(self) -> str:
        """Id of the model that made the vectors."""
        return self._manifest.model

    @property
    def fingerprint(self) -> str:
        """Digest of that model's weights and preprocessing."""
        return self._manifest.fingerprint

    @property
    def dim(self) -> int:
        """d, numbers per vector."""
        return self._manifest.dim

    def __len__(self) -> int:
        return self._ask(lambda view: view.snapshot.size())

    def __repr__(self) -> str:
        return f"Index({str(self.path)!r}, {len(self)} images, {self.model_id})"

    @property
    def archive(self) -> Archive:
        """Where the images are; its files are listed when first needed."""
        if self._opened is None or self._opened.describe() != self._manifest.archive:
            self._opened = Archive.reopen(self._manifest.archive)
        return self._opened

    def _ask(self, question: Callable[[View], T]) -> T:
        """The answer of the last committed state; of the next if that is compacted meanwhile."""
        failed: View | None = None
        while True:
            with ledgerfile.open_reading(self.path / update.LEDGER) as snapshot:
                view = View(snapshot, self.path, self._manifest, self._verify, self._view)
                self._view = view
                try:
                    return question(view)
                except IndexDamaged:
                    if failed is not None and failed.generation == view.generation:
                        raise
                    failed = view
