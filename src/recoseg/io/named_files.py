"""Image source of files that are listed by name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from recoseg.io.images import printable
from recoseg.io.sources import Item, Listing, Skipped, from_id, listing, note_file, read_file


class FileListSource:
    """Image files named one by one, in a list file (``.txt``, ``.lst``) or by the caller.

    A list file has one path per line, relative to its own folder or absolute; blank lines and lines
    that start with ``#`` do not count. Files named by the caller have their absolute path as id.
    """

    def __init__(self, paths: Sequence[str] = (), list_file: str | None = None) -> None:
        self.paths, self.list_file = paths, list_file
        self.root = str(Path(list_file).parent) if list_file else "/"

    @property
    def where(self) -> str:
        """The list file's path, or how many files were named."""
        return printable(self.list_file) if self.list_file else f"{len(self.paths)} named files"

    def describe(self) -> dict[str, Any]:
        """Kind and path, or paths."""
        if self.list_file:
            return {"kind": "list", "path": self.list_file}
        return {"kind": "files", "paths": list(self.paths)}

    def read(self, id: str) -> bytes:
        """The bytes of a file."""
        return read_file(os.path.join(self.root, from_id(id)), id)  # noqa: PTH118

    def scan(self) -> Listing:
        """Look at every file that is named, each once."""
        items: list[Item] = []
        problems: list[Skipped] = []
        for name in dict.fromkeys(self._names()):
            note_file(os.path.join(self.root, name), name, items, problems)  # noqa: PTH118
        return listing(items, problems, ())

    def _names(self) -> Iterator[str]:
        lines: Iterable[str] = self.paths
        if self.list_file:
            data = read_file(self.list_file, printable(self.list_file))
            lines = data.decode("utf-8-sig", "surrogateescape").split("\n")
        for line in map(str.strip, lines):
            if line and not (self.list_file and line.startswith("#")):
                yield self._relative(os.path.normpath(line))

    def _relative(self, path: str) -> str:
        if self.list_file is None or not Path(path).is_relative_to(self.root):
            return path
        return str(Path(path).relative_to(self.root))
