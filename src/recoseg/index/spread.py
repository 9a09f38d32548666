"""Embedding of an archive by many machines: parts are made apart, and merged in order.

Machines see the index's folder and the photos under the same paths. Each chunk of the archive's
list becomes a part file; the rows of parts are brought together into shard files by machines too,
and the process that holds the index's lock reads manifests alone: it says where each row goes,
renames whole files into their place and commits the ledger. So the index is the one that a single
machine makes, and none but the lock's holder changes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recoseg.errors import ArchiveError, IndexDamaged, RecosegError
from recoseg.index import blocks, parts
from recoseg.index.blocks import BlockRecord
from recoseg.index.ingest import Due, ingest
from recoseg.index.journal import Journal
from recoseg.index.manifest import Manifest
from recoseg.index.parts import Chunk, Known, PartManifest
from recoseg.index.tasks import EmbedChunk, GatherRows, Pick, Stretch
from recoseg.io import durable
from recoseg.io.archive import Archive, Item, Skipped
from recoseg.io.machines import Cluster
from recoseg.models import registry
from recoseg.models.base import JointModel

# Files after which what is merged is committed, if a shard is not full before.
COMMIT = 65536
PROBES = 3


def embed(
    index: Path,
    manifest: Manifest,
    archive: Archive,
    chunks: Sequence[Sequence[Due]],
    model: JointModel,
    journal: Journal,
    cluster: Cluster | None,
    *,
    batch_size: int,
    workers: int | None,
    advance: Callable[[int], None],
) -> None:
    """Embed ``chunks`` of an archive's files, here or on a cluster; the caller holds the lock.

    Ended at any moment, what is committed stays; a cluster's whole parts are taken by the next
    call.
    """
    if cluster is None:
        count = workers or min(4, os.cpu_count() or 1)
        try:
            ingest(archive, chunks, model, journal, batch_size, count, advance)
        finally:
            journal.flush()
        return
    durable.make_folder(index / parts.FOLDER)
    writer = journal.writer
    origin = registry.origin(model)
    function = EmbedChunk(
        index.absolute(),
        manifest,
        model if origin is None else origin,
        _find_readable(archive, chunks),
        Known(_hashes(journal)),
        batch_size,
        workers,
        writer.read_ns,
    )
    decisive = {
        "archive": manifest.archive,
        "fingerprint": manifest.fingerprint,
        "batch_size": batch_size,
        "generation": writer.generation(),
    }
    todo = (Chunk(parts.key_of(decisive, files), tuple(files)) for files in chunks)
    merger = _Merger(index.absolute() / parts.FOLDER, journal, cluster, advance)
    for files, key in zip(chunks, cluster.map(function, todo), strict=True):
        merger.take(key, [due.item for due in files])
    merger.commit()


def _find_readable(archive: Archive, chunks: Sequence[Sequence[Due]]) -> tuple[str, ...]:
    """Some photos that can be read here, so that a machine that reads none is noticed."""
    found: list[str] = []
    for item, _ in chunks[0][: 4 * PROBES] if chunks else ():
        try:
            archive.read(item.id)
            found.append(item.id)
        except ArchiveError:
            continue
        if len(found) == PROBES:
            break
    return tuple(found)


def _hashes(journal: Journal) -> Iterator[bytes]:
    size = journal.shards.size
    for first in range(0, total := journal.writer.rows(), size):
        yield from filter(None, journal.writer.hashes(first, min(total, first + size)))


@dataclass
class _Merger:
    """Manifests of parts that are not yet in the ledger, in the order of the archive."""

    folder: Path
    journal: Journal
    cluster: Cluster
    advance: Callable[[int], None]
    rows: dict[bytes, tuple[str, str, int]] = field(default_factory=dict)
    images: list[tuple[Item, bytes]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    oldest: int = 0

    def take(self, key: str, items: Sequence[Item]) -> None:
        """Add a part; contents that the index has, or an earlier part, keep their first row."""
        part = parts.read(self.folder, key)
        if part is None:
            raise RecosegError(
                f"{self.folder / key} was written by a node and is not seen here; put the index on "
                "a drive that all nodes have under the same path."
            )
        row_of = self.journal.writer.row_of
        for row, digest in enumerate(part.contents):
            if digest not in self.rows and row_of(digest) is None:
                self.rows[digest] = (key, part.rows, row)
        if any(d not in self.rows and row_of(d) is None for _, d in part.images):
            raise IndexDamaged(f"{self.folder} is of another state of the index; remove it.")
        self._note(part, items)
        self.keys.append(key)
        first, size = self.journal.writer.rows(), self.journal.shards.size
        if first % size + len(self.rows) >= size or len(self.images) >= COMMIT:
            self.commit()

    def _note(self, part: PartManifest, items: Sequence[Item]) -> None:
        self.images += [(items[place], digest) for place, digest in part.images]
        self.skipped += [Skipped(items[place].id, reason) for place, reason in part.skipped]
        self.oldest = min(self.oldest or part.read_ns, part.read_ns)

    def commit(self) -> None:
        """Put the rows into shard files, then record everything in one transaction."""
        writer, shards = self.journal.writer, self.journal.shards
        sealed: list[BlockRecord] = []
        first, stretches = writer.rows(), self._stretches()
        function = GatherRows(self.folder, shards)
        durable.make_folder(shards.folder)
        for stretch, (path, made) in zip(
            stretches, self.cluster.map(function, stretches), strict=True
        ):
            with durable.report_write_errors(shards.folder):
                path.replace(shards.path(stretch.first // shards.size))
            sealed += made
        if self.rows:
            durable.sync_folder(shards.folder)
        begun, writer.read_ns = writer.read_ns, self.oldest or writer.read_ns
        vectors = list(enumerate(self.rows, start=first))
        writer.commit(vectors, self.images, self.skipped, blocks=sealed)
        writer.read_ns = begun
        self._tell()

    def _tell(self) -> None:
        """Count what is recorded, and begin anew."""
        for item, digest in self.images:
            self.journal.outcome(item, digest)
        for skipped in self.skipped:
            self.journal.skipped(skipped)
        self.advance(len(self.images) + len(self.skipped))
        parts.remove(self.folder, self.keys)
        self.rows, self.images, self.skipped, self.keys, self.oldest = {}, [], [], [], 0

    def _stretches(self) -> list[Stretch]:
        """The rows that wait, one stretch for each shard file that they reach into."""
        writer, shards = self.journal.writer, self.journal.shards
        first, wanted = writer.rows(), list(self.rows.items())
        made = list[Stretch]()
        while wanted:
            room = shards.size - first % shards.size
            here, wanted = wanted[:room], wanted[room:]
            begin = next(blocks.list_spans(shards, first, first + 1))[0]
            old = [block for block in writer.blocks(begin) if block.first == begin]
            before = writer.hashes(begin, first) if not made else []
            hashes = [digest for digest, _ in here]
            picks = list(_split_picks(place for _, place in here))
            made.append(Stretch(first, picks, hashes, before, next(iter(old), None)))
            first += len(here)
        return made


def _split_picks(places: Iterable[tuple[str, str, int]]) -> Iterator[Pick]:
    """Rows of one part after the other."""
    pick: Pick | None = None
    for key, digest, row in places:
        if pick is None or pick.key != key:
            if pick is not None:
                yield pick
            pick = Pick(key, digest, [])
        pick.rows.append(row)
    if pick is not None:
        yield pick
