"""Pages of an index in the order of ids, to copy it elsewhere without holding all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from recoseg.index import ledgerfile, update
from recoseg.index.index import Index

SIZE = 4096


class Page(NamedTuple):
    """n images that follow each other.

    Attributes:
        ids: in order.
        hashes: their contents' digests; one that has changed is of another vector.
    """

    ids: list[str]
    hashes: list[bytes]


def pages(index: Index, size: int = SIZE) -> Iterator[Page]:
    """All images of an index, each page from its state when it is asked for."""
    after = ""
    while True:
        with ledgerfile.open_reading(index.path / update.LEDGER) as snapshot:
            found = snapshot.page(after, size)
        if not found:
            return
        after = found[-1][0]
        yield Page([id for id, _, _ in found], [digest for _, _, digest in found])


def state(index: Index) -> bytes:
    """Version of an index's content: it differs after any change, and is cheap to read."""
    with ledgerfile.open_reading(index.path / update.LEDGER) as snapshot:
        seal = snapshot.seal()
        return seal if seal is not None else bytes.fromhex(snapshot.digest())
