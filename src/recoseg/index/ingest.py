"""Embedding of images: threads read and decode files while the model encodes.

On a CPU the model, too, runs in several threads of one core each, on a batch per thread: that is
faster than all cores on one batch, most of all on a machine that does other things as well.

An archive's list is cut into chunks, and a chunk's batches are made of its own files alone: a
content that another file had already takes a place in them that stays blank. So a vector is the
same, bit for bit, wherever its chunk is embedded and whatever was embedded before.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recoseg.errors import RecosegError
from recoseg.io import images
from recoseg.io.archive import Archive, Item
from recoseg.io.parallel import prefetch_map, threads
from recoseg.models.base import JointModel, input_size
from recoseg.similarity import unit

MAX_ENCODERS = 8
# Files of an archive's list whose batches depend on no others.
CHUNK = 256


class Due(NamedTuple):
    """A file to be read, and the sha256 of its content when it was last read, if it was."""

    item: Item
    held: bytes | None = None


class Sink(Protocol):
    """Receiver of results: vectors of contents, images that have them, and skipped files."""

    def holds(self, digest: bytes) -> bool:
        """Whether this content needs no vector any more."""
        ...

    def vector(self, digest: bytes, row: NDArray[np.float16]) -> None:
        """The vector (d,) of a content."""
        ...

    def image(self, item: Item, digest: bytes) -> None:
        """A file has a content whose vector is known."""
        ...

    def skip(self, item: Item, reason: str) -> None:
        """A file is left out."""
        ...


class Prepared(NamedTuple):
    """A file after a worker's part: skipped (reason), already known (no pixels), or to encode."""

    item: Item
    digest: bytes = b""
    pixels: Tensor | None = None
    reason: str = ""
    unchanged: bool = False


class Place(NamedTuple):
    """A content's place in a batch: blank without pixels; the files wait for its vector."""

    pixels: Tensor | None
    files: list[Prepared]


Batch = dict[bytes, Place]


def ingest(
    archive: Archive,
    chunks: Iterable[Sequence[Due]],
    model: JointModel,
    sink: Sink,
    batch_size: int,
    workers: int,
    advance: Callable[[int], None],
) -> None:
    """Read, decode and encode ``chunks`` of files; ``sink`` hears of vectors in their order.

    A content seen before is not encoded again.
    """
    on_cpu = torch.device(model.device).type == "cpu"
    encoders = min(MAX_ENCODERS, torch.get_num_threads()) if on_cpu else 1
    files = ((number, due) for number, chunk in enumerate(chunks) for due in chunk)
    with threads(workers) as decoding, threads(encoders) as encoding:
        line = _Pipeline(encoding, encoders, model, sink, advance)
        for number, done in prefetch_map(
            decoding,
            lambda file: (file[0], prepare(archive, *file[1], model, sink)),
            files,
            depth=workers + 2 * batch_size,
        ):
            line.take(done, number, batch_size)
        line.finish()


def prepare(
    archive: Archive, item: Item, held: bytes | None, model: JointModel, sink: Sink
) -> Prepared:
    """A worker's part: bytes, content hash and, for a new content, the model's input."""
    try:
        data = archive.read(item.id)
        digest = hashlib.sha256(data).digest()
        if sink.holds(digest):
            return Prepared(item, digest, unchanged=digest == held)
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


class _Pipeline:
    """Batches on their way through the model; they are settled in the order they were begun."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        width: int,
        model: JointModel,
        sink: Sink,
        advance: Callable[[int], None],
    ) -> None:
        self.pool, self.width, self.model = pool, width, model
        self.sink, self.advance = sink, advance
        self.waiting: Batch = {}
        self.flying: deque[tuple[Batch, Future[NDArray[np.float16]]]] = deque()
        self.chunk, self.placed = 0, set[bytes]()

    def take(self, done: Prepared, chunk: int, batch_size: int) -> None:
        """Note a file, or let it wait for its content's vector; begin a batch that is full."""
        if chunk != self.chunk:
            self._begin()
            self.chunk, self.placed = chunk, set()
        if done.reason:
            self._skip(done, done.reason)
            return
        waited = self._find_waiting(done.digest)
        fresh = done.pixels if waited is None and not self.sink.holds(done.digest) else None
        if done.digest not in self.placed and not done.unchanged:
            self.placed.add(done.digest)
            place = self.waiting[done.digest] = Place(fresh, [])
            waited = waited if fresh is None else place
        if waited is not None:
            waited.files.append(done)
        elif fresh is None:
            self.sink.image(done.item, done.digest)
            self.advance(1)
        else:  # encoded within this chunk, and in vain
            self._skip(done, self._describe_useless(done))
        if len(self.waiting) >= batch_size:
            self._begin()

    def finish(self) -> None:
        """Encode what waits and settle everything."""
        self._begin()
        while self.flying:
            self._finish_batch()

    def _find_waiting(self, digest: bytes) -> Place | None:
        batches = [self.waiting, *(batch for batch, _ in self.flying)]
        found = (batch[digest] for batch in batches if digest in batch)
        return next((place for place in found if place.pixels is not None), None)

    def _begin(self) -> None:
        given = [place.pixels for place in self.waiting.values()]
        real = next((pixels for pixels in given if pixels is not None), None)
        if real is not None:
            blank = torch.zeros_like(real)
            batch = [blank if pixels is None else pixels for pixels in given]
            self.flying.append((self.waiting, self.pool.submit(encode, self.model, batch)))
        self.waiting = {}
        if len(self.flying) > self.width:
            self._finish_batch()

    def _finish_batch(self) -> None:
        batch, future = self.flying[0]
        rows = future.result()
        self.flying.popleft()
        for row, (digest, place) in zip(rows, batch.items(), strict=True):
            good = not np.isnan(row[0])
            if good and place.pixels is not None:
                self.sink.vector(digest, row)
            for done in place.files:
                if good:
                    self.sink.image(done.item, digest)
                    self.advance(1)
                else:
                    self._skip(done, self._describe_useless(done))

    def _skip(self, done: Prepared, reason: str) -> None:
        self.sink.skip(done.item, reason)
        self.advance(1)

    def _describe_useless(self, done: Prepared) -> str:
        return f"{done.item.id} has no finite embedding in {self.model.id}"
