"""Lookup of indexed files that are asked for in the order of their ids."""

from __future__ import annotations

from recoseg.index.ledger import Seen, Writer

PAGE = 2048


class Lookup:
    """The ledger's entries of files, read a page at a time.

    That is several times faster than one question a file where the ids come in their order; in any
    other it is as slow. What is written meanwhile may be missed.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        # The page says everything about ids from the first to the last; None: to no end.
        self._page: dict[str, tuple[str, bytes, Seen]] = {}
        self._first: str | None = None
        self._last: str | None = None

    def find(self, id: str) -> tuple[bytes, Seen] | None:
        """The content's hash of an image and its file as it was then, if it is indexed."""
        if self._first is not None and id < self._first:
            held = next(iter(self._writer.seen_from(id, 1)), None)
            return held[1:] if held is not None and held[0] == id else None
        if self._first is None or (self._last is not None and id > self._last):
            rows = self._writer.seen_from(id, PAGE)
            self._page = {row[0]: row for row in rows}
            self._first, self._last = id, rows[-1][0] if len(rows) == PAGE else None
        held = self._page.get(id)
        return None if held is None else held[1:]
