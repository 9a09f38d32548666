"""Images into vectors: files are read and decoded by threads while the model encodes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recoseg import images
from recoseg.archive import Archive, Item, Skipped
from recoseg.errors import RecosegError
from recoseg.ledger import Writer
from recoseg.models.base import JointModel
from recoseg.parallel import ahead, threads
from recoseg.shards import Shards
from recoseg.similarity import unit

FLUSH_SECONDS = 2.0
FLUSH_ROWS = 4096


class Prepared(NamedTuple):
    """A file after a worker's part: skipped (reason), already known (no pixels), or to encode."""

    item: Item
    digest: bytes = b""
    pixels: Tensor | None = None
    reason: str = ""


@dataclass
class Journal:
    """What is done and not yet on disk; ``flush`` makes it durable, rows first.

    Attributes:
        shards: where rows go.
        writer: where everything else goes.
        outcome: called with each image's item and content hash once they are recorded.
        skipped: called with each file left out once that is recorded.
    """

    shards: Shards
    writer: Writer
    outcome: Callable[[Item, bytes], None]
    skipped: Callable[[Skipped], None]
    _vectors: dict[bytes, NDArray[np.float16]] = field(default_factory=dict)
    _images: list[tuple[Item, bytes]] = field(default_factory=list)
    _skipped: list[Skipped] = field(default_factory=list)
    _since: float = field(default_factory=time.monotonic)

    def holds(self, digest: bytes) -> bool:
        """Whether this content has a vector, on disk or about to be."""
        return digest in self._vectors or self.writer.row_of(digest) is not None

    def vector(self, digest: bytes, row: NDArray[np.float16]) -> None:
        """Note the vector (d,) of a content."""
        self._vectors[digest] = row

    def image(self, item: Item, digest: bytes) -> None:
        """Note that a file has a content whose vector is noted."""
        self._images.append((item, digest))
        self._maybe_flush()

    def skip(self, item: Item, reason: str) -> None:
        """Note that a file is left out."""
        self._skipped.append(Skipped(item.id, reason))
        self._maybe_flush()

    def _maybe_flush(self) -> None:
        late = time.monotonic() - self._since > FLUSH_SECONDS
        if late or len(self._images) + len(self._skipped) >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Sync the rows, then commit the records of them and of all else in one transaction."""
        first = self.writer.rows()
        if self._vectors:
            self.shards.append(first, np.stack(list(self._vectors.values())))
        if self._images or self._skipped:
            vectors = list(enumerate(self._vectors, start=first))
            self.writer.commit(vectors, self._images, self._skipped)
        for item, digest in self._images:
            self.outcome(item, digest)
        for skipped in self._skipped:
            self.skipped(skipped)
        self._vectors.clear()
        self._images.clear()
        self._skipped.clear()
        self._since = time.monotonic()


def ingest(
    archive: Archive,
    items: Sequence[Item],
    model: JointModel,
    journal: Journal,
    *,
    batch_size: int,
    workers: int,
    advance: Callable[[int], None],
) -> None:
    """Read, decode and encode ``items`` in order and note what came of each.

    However this ends, what was encoded is flushed. A content seen before is not encoded again.
    """
    waiting: dict[bytes, list[Prepared]] = {}
    try:
        with threads(workers) as pool:
            for done in ahead(
                pool,
                lambda item: prepare(archive, item, model, journal),
                items,
                depth=workers + 2 * batch_size,
            ):
                if done.reason:
                    journal.skip(done.item, done.reason)
                    advance(1)
                elif done.digest in waiting:
                    waiting[done.digest].append(done)
                elif done.pixels is None or journal.holds(done.digest):
                    journal.image(done.item, done.digest)
                    advance(1)
                else:
                    waiting[done.digest] = [done]
                    if len(waiting) >= batch_size:
                        _encode(waiting, model, journal, advance)
            _encode(waiting, model, journal, advance)
    finally:
        journal.flush()


def prepare(archive: Archive, item: Item, model: JointModel, journal: Journal) -> Prepared:
    """A worker's part: bytes, content hash and, for a new content, the model's input."""
    try:
        data = archive.read(item.id)
        digest = hashlib.sha256(data).digest()
        if journal.holds(digest):
            return Prepared(item, digest)
        at_least = getattr(model, "input_size", None)
        image = images.read(data, at_least=at_least, name=item.id)
        return Prepared(item, digest, model.preprocess(image))
    except RecosegError as error:
        return Prepared(item, reason=str(error))
    # One odd image among a million must not end the run.
    except Exception as error:
        return Prepared(
            item, reason=f"{item.id} cannot be prepared ({type(error).__name__}: {error})"
        )


def _encode(
    waiting: dict[bytes, list[Prepared]],
    model: JointModel,
    journal: Journal,
    advance: Callable[[int], None],
) -> None:
    if not waiting:
        return
    pixels = [same[0].pixels for same in waiting.values()]
    with torch.inference_mode():
        batch = torch.stack([tensor for tensor in pixels if tensor is not None])
        vectors = unit(model.embed_images(batch).float()).cpu()
    usable = torch.isfinite(vectors).all(dim=1) & vectors.any(dim=1)
    rows = vectors.numpy().astype(np.float16)
    for row, good, (digest, same) in zip(rows, usable.tolist(), waiting.items(), strict=True):
        if good:
            journal.vector(digest, row)
        for done in same:
            if good:
                journal.image(done.item, digest)
            else:
                journal.skip(done.item, f"{done.item.id} has no finite embedding in {model.id}")
        advance(len(same))
    waiting.clear()
