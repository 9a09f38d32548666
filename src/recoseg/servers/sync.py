"""Synchronisation: a server is brought to the state of an index, by what differs alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from recoseg.errors import ArchiveError, IndexMismatch, ServerError
from recoseg.index import pages
from recoseg.index.index import Index
from recoseg.index.update import Changes
from recoseg.io.progress import Progress, reporting
from recoseg.servers.server import Vectors, VectorServer

BATCH = 2048


def sync(
    index: Index, server: VectorServer, *, replace: bool = False, progress: Progress = True
) -> Changes:
    """Bring a server to the state of an index; run again, it goes on where it was stopped.

    Images are compared by id and content's hash, so that nothing is sent twice, and nothing at all
    if the index has not changed.

    Args:
        index: what the server is to answer for.
        server: where; another index there is not touched.
        replace: forget what it holds of another model under this name.
        progress: as in ``track``.

    Raises:
        IndexMismatch: it holds vectors of another model under this name.
        ServerError: it cannot be reached, or the index was changed meanwhile.
        Locked: another writer is at work.
    """
    size, before, digest = len(index), pages.state(index), index.hash
    held = server.state()
    if held is not None and (held.fingerprint, held.dim) != (index.fingerprint, index.dim):
        if not replace:
            raise IndexMismatch(
                f"{server.where} holds vectors of another model than {index.model_id!r}; choose "
                "another name (#NAME at the end of the address), or let it be replaced (--replace)."
            )
        server.clear()
    elif held is not None and held.digest == digest:
        return Changes(unchanged=size)
    with (
        server.session(index.dim, index.fingerprint, size, lambda n: _sample(index, n)),
        reporting("synchronising", size, progress) as advance,
    ):
        run = _Difference(index, server)
        try:
            for done in run.steps():
                advance(done)
        except ArchiveError as error:
            raise _refuse_changed(index) from error
        if pages.state(index) != before:
            raise _refuse_changed(index)
        server.finish(digest, before)
    return Changes(**run.tally)


@dataclass
class _Difference:
    """Two lists in one order, merged."""

    index: Index
    server: VectorServer
    tally: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Changes._fields, 0))
    _fresh: list[tuple[str, bytes]] = field(default_factory=list)
    _gone: list[str] = field(default_factory=list)

    def steps(self) -> Iterator[int]:
        """Do all of it; the number of the index's images seen at each step."""
        theirs = self.server.list_images()
        id, digest = next(theirs, (None, b""))
        for page in pages.pages(self.index):
            for ours, wanted in zip(page.ids, page.hashes, strict=True):
                while id is not None and id < ours:
                    self._forget(id)
                    id, digest = next(theirs, (None, b""))
                same = id == ours
                if same and digest == wanted:
                    self.tally["unchanged"] += 1
                else:
                    self.tally["changed" if same else "added"] += 1
                    self._send(ours, wanted)
                if same:
                    id, digest = next(theirs, (None, b""))
            yield len(page.ids)
        while id is not None:
            self._forget(id)
            id, _ = next(theirs, (None, b""))
        self._flush()

    def _send(self, id: str, digest: bytes) -> None:
        self._fresh.append((id, digest))
        if len(self._fresh) == BATCH:
            self._flush()

    def _forget(self, id: str) -> None:
        self.tally["removed"] += 1
        self._gone.append(id)
        if len(self._gone) == BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._gone:
            self.server.drop(self._gone)
        if self._fresh:
            ids, hashes = zip(*self._fresh, strict=True)
            self.server.put(ids, hashes, self.index.vectors(ids))
        self._fresh, self._gone = [], []


def _sample(index: Index, count: int) -> Vectors:
    """Vectors of images spread evenly over the order of ids."""
    size = len(index)
    wanted = set(np.unique(np.linspace(0, size - 1, min(count, size)).astype(int)).tolist())
    found, place = list[Vectors](), 0
    for page in pages.pages(index):
        ids = [id for number, id in enumerate(page.ids, start=place) if number in wanted]
        found.append(index.vectors(ids) if ids else np.empty((0, index.dim), np.float32))
        place += len(page.ids)
    return np.concatenate(found)


def _refuse_changed(index: Index) -> ServerError:
    return ServerError(
        f"{index.path} was changed while its server was brought up to date; run the same again: "
        "what was sent is kept."
    )
