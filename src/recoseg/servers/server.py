"""Interface of vector servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
# (n, d) vectors of images spread evenly over an index, at most as many as are asked for.
Sample = Callable[[int], Vectors]


class State(NamedTuple):
    """What a server holds of one index.

    Attributes:
        dim: d, numbers per vector.
        fingerprint: of the model that made them.
        digest: the index's hash when it was last brought up to date; None while that is unfinished.
        seal: what ``pages.state`` said of the index then.
    """

    dim: int
    fingerprint: str
    digest: str | None
    seal: bytes | None


class VectorServer(Protocol):
    """Vectors of one index in a server; ``ServerError`` if it cannot be reached.

    Changes are made in a session, by one writer at a time; a session that was cut off is gone on
    with by the next.

    Attributes:
        where: the server and the name of the index in it, without passwords, for messages.
    """

    where: str

    def nearest(self, vectors: Vectors, k: int) -> tuple[list[list[str]], list[list[float]]]:
        """The k images of about the largest cosine with each of (Q, d) unit vectors.

        Returns:
            Q lists of ids, best first, and of their cosines as the server computes them.
        """
        ...

    def state(self) -> State | None:
        """What it holds; None if nothing."""
        ...

    def session(
        self, dim: int, fingerprint: str, rows: int, sample: Sample
    ) -> AbstractContextManager[None]:
        """Begin changes that end at about ``rows`` images.

        Raises:
            Locked: another writer is at work.
        """
        ...

    def list_images(self) -> Iterator[tuple[str, bytes]]:
        """(id, content's hash) of all images, in the order of ids; changes may go on beside."""
        ...

    def put(self, ids: Sequence[str], hashes: Sequence[bytes], vectors: Vectors) -> None:
        """Add images, or give those that are there new vectors."""
        ...

    def drop(self, ids: Sequence[str]) -> None:
        """Forget images."""
        ...

    def finish(self, digest: str, seal: bytes) -> None:
        """Keep everything, make it quick to search, and note the index's state."""
        ...

    def clear(self) -> None:
        """Forget all of this index."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...
