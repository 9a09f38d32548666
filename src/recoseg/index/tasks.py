"""Work of one machine among many that build an index: embed a chunk, bring rows together."""

from __future__ import annotations

import functools
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from recoseg.errors import ArchiveError, RecosegError
from recoseg.index import blocks, parts
from recoseg.index.blocks import BlockRecord
from recoseg.index.ingest import ingest
from recoseg.index.manifest import Manifest
from recoseg.index.parts import Chunk, Known, PartDraft
from recoseg.index.shards import Rows, Shards
from recoseg.io import durable
from recoseg.io.archive import Archive
from recoseg.models import registry
from recoseg.models.base import JointModel


@dataclass(frozen=True)
class EmbedChunk:
    """A machine's work: a chunk becomes a part, unless that is there.

    Attributes:
        index: the index's folder.
        manifest: what it must say there.
        model: the language-image model or its id.
        probes: ids of photos of which it must be able to read one.
        known: contents that need no vector.
        batch_size: images per forward pass.
        workers: threads that read and decode; None for one per processor, at most 4.
        read_ns: a time before any photo is read.
    """

    index: Path
    manifest: Manifest
    model: str | JointModel
    probes: tuple[str, ...]
    known: Known
    batch_size: int
    workers: int | None
    read_ns: int

    def __call__(self, chunk: Chunk) -> str:
        """The part's key, once the part is whole."""
        folder = self.index / parts.FOLDER
        self._check_place()
        if not parts.is_whole(folder, chunk.key):
            draft = PartDraft(chunk.files, self.known)
            ingest(
                self._archive,
                [chunk.files],
                self._joint,
                draft,
                self.batch_size,
                self.workers or min(4, torch.get_num_threads()),
                advance=lambda _: None,
            )
            draft.write(folder, chunk.key, self.read_ns)
        return chunk.key

    def _check_place(self) -> None:
        try:
            same = Manifest.read(self.index) == self.manifest
        except RecosegError:
            same = False
        if not same:
            raise RecosegError(
                f"{self.index} is not seen from {socket.gethostname()}; put the index on a drive "
                "that all nodes have under the same path."
            )

    @functools.cached_property
    def _joint(self) -> JointModel:
        joint = registry.load_joint(self.model)
        self.manifest.check(joint, self.index)
        return joint

    @functools.cached_property
    def _archive(self) -> Archive:
        archive = Archive.reopen(self.manifest.archive)
        reason = ""
        for id in self.probes:
            try:
                archive.read(id)
                return archive
            except ArchiveError as error:
                reason = str(error)
        if reason:
            raise ArchiveError(
                f"no photo of {archive.source} can be read from {socket.gethostname()} ({reason}); "
                "all nodes must have the photos under the same path."
            )
        return archive


class Pick(NamedTuple):
    """Rows of one part, in order, and the digest of all its rows."""

    key: str
    digest: str
    rows: list[int]


class Stretch(NamedTuple):
    """Rows that follow each other in one shard file, from row ``first`` of the index on.

    ``before`` are the contents of the rows that precede them in their block, whose record, if
    there is one, is ``sealed``; ``hashes`` are their own.
    """

    first: int
    picks: list[Pick]
    hashes: list[bytes]
    before: list[bytes]
    sealed: BlockRecord | None


@dataclass(frozen=True)
class GatherRows:
    """A machine's work: rows of parts become the next state of a shard file, beside the parts."""

    parts: Path
    shards: Shards

    def __call__(self, stretch: Stretch) -> tuple[Path, list[BlockRecord]]:
        """The file, under a name that nobody else has, and the records of its new blocks."""
        shards = self.shards
        found = [
            parts.rows(self.parts, pick.key, shards.dim, pick.digest)[pick.rows]
            for pick in stretch.picks
        ]
        rows: Rows = np.concatenate(found)
        known = {} if stretch.sealed is None else {stretch.sealed.first: stretch.sealed}
        args = (shards, known, stretch.before, stretch.first, rows, stretch.hashes)
        sealed = blocks.extend_records(*args)
        shard, inside = divmod(stretch.first, shards.size)
        data = shards.raw(shard * shards.size, inside)
        path = self.parts / f"{secrets.token_hex(8)}.shard"
        durable.write(path, data + np.ascontiguousarray(rows, "<f2").tobytes())
        return path, sealed
