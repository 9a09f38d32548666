"""Embedding of images: threads read and decode files while the model encodes.

On a CPU the model, too, runs in several threads of one core each, on a batch per thread: that is
faster than all cores on one batch, most of all on a machine that does other things as well.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recoseg.errors import RecosegError
from recoseg.index.journal import Journal
from recoseg.io import images
from recoseg.io.archive import Archive, Item
from recoseg.io.parallel import prefetch_map, threads
from recoseg.models.base import JointModel, input_size
from recoseg.similarity import unit

MAX_ENCODERS = 8


class Prepared(NamedTuple):
    """A file after a worker's part: skipped (reason), already known (no pixels), or to encode."""

    item: Item
    digest: bytes = b""
    pixels: Tensor | None = None
    reason: str = ""


# Files by content, each content once; the first of its files has the pixels.
Batch = dict[bytes, list[Prepared]]


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
    """Read, decode and encode ``items`` and note what came of each, vectors in their order.

    However this ends, what was encoded is flushed. A content seen before is not encoded again.
    """
    on_cpu = torch.device(model.device).type == "cpu"
    encoders = min(MAX_ENCODERS, torch.get_num_threads()) if on_cpu else 1
    try:
        with threads(workers) as decoding, threads(encoders) as encoding:
            line = _Line(encoding, encoders, model, journal, advance)
            for done in prefetch_map(
                decoding,
                lambda item: prepare(archive, item, model, journal),
                items,
                depth=workers + 2 * batch_size,
            ):
                line.take(done, batch_size)
            line.finish()
    finally:
        journal.flush()


def prepare(archive: Archive, item: Item, model: JointModel, journal: Journal) -> Prepared:
    """A worker's part: bytes, content hash and, for a new content, the model's input."""
    try:
        data = archive.read(item.id)
        digest = hashlib.sha256(data).digest()
        if journal.holds(digest):
            return Prepared(item, digest)
        at_least = input_size(model)
        image = images.read(data, at_least=at_least, name=item.id)
        return Prepared(item, digest, model.preprocess(image))
    except RecosegError as error:
        return Prepared(item, reason=str(error))
    # One odd image among a million must not end the run.
    except Exception as error:
        return Prepared(
            item, reason=f"{item.id} cannot be prepared ({type(error).__name__}: {error})"
        )


def encode(model: JointModel, pixels: Sequence[Tensor]) -> NDArray[np.float16]:
    """(B, d) unit vectors of a batch; rows that are not finite, or zero, are all NaN."""
    with torch.inference_mode():
        vectors = unit(model.embed_images(torch.stack(list(pixels))).float()).cpu()
    usable = torch.isfinite(vectors).all(dim=1) & vectors.any(dim=1)
    return torch.where(usable[:, None], vectors, torch.nan).numpy().astype(np.float16)


class _Line:
    """Batches on their way through the model; they are settled in the order they were begun."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        width: int,
        model: JointModel,
        journal: Journal,
        advance: Callable[[int], None],
    ) -> None:
        self.pool, self.width, self.model = pool, width, model
        self.journal, self.advance = journal, advance
        self.waiting: Batch = {}
        self.flying: deque[tuple[Batch, Future[NDArray[np.float16]]]] = deque()

    def take(self, done: Prepared, batch_size: int) -> None:
        """Note a file that needs no encoding, or put it into a batch and begin full ones."""
        batches = [self.waiting, *(batch for batch, _ in self.flying)]
        same = next((batch[done.digest] for batch in batches if done.digest in batch), None)
        if done.reason:
            self.journal.skip(done.item, done.reason)
            self.advance(1)
        elif same is not None:
            same.append(done)
        elif done.pixels is None or self.journal.holds(done.digest):
            self.journal.image(done.item, done.digest)
            self.advance(1)
        else:
            self.waiting[done.digest] = [done]
            if len(self.waiting) >= batch_size:
                self._begin()

    def finish(self) -> None:
        """Encode what waits and settle everything."""
        if self.waiting:
            self._begin()
        while self.flying:
            self._settle()

    def _begin(self) -> None:
        pixels = [same[0].pixels for same in self.waiting.values()]
        given = [tensor for tensor in pixels if tensor is not None]
        self.flying.append((self.waiting, self.pool.submit(encode, self.model, given)))
        self.waiting = {}
        if len(self.flying) > self.width:
            self._settle()

    def _settle(self) -> None:
        batch, future = self.flying[0]
        rows = future.result()
        self.flying.popleft()
        for row, (digest, same) in zip(rows, batch.items(), strict=True):
            good = not np.isnan(row[0])
            if good:
                self.journal.vector(digest, row)
            for done in same:
                if good:
                    self.journal.image(done.item, digest)
                else:
                    reason = f"{done.item.id} has no finite embedding in {self.model.id}"
                    self.journal.skip(done.item, reason)
            self.advance(len(same))
