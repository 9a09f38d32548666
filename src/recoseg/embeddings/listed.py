"""Vectors in one ``.npy`` file, and a list of the photos' paths, one a line."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from recoseg.embeddings.arrays import open_vectors
from recoseg.embeddings.named_rows import NamedRows
from recoseg.embeddings.naming import Naming
from recoseg.embeddings.table import BLOCK_ROWS, Part
from recoseg.errors import ArchiveError
from recoseg.io.archive import LISTS
from recoseg.io.images import printable
from recoseg.io.imported import ImportedSource
from recoseg.io.walking import open_regular

FORM = "list"


class ListedTable:
    """The table of one array."""

    def __init__(self, path: Path, names: Path | None, source: ImportedSource) -> None:
        """Open both files.

        Args:
            path: the ``.npy`` file.
            names: the list; None for the file beside it that has its name and ends in ``.txt`` or
                ``.lst``. Blank lines and lines that start with ``#`` do not count.
            source: where the photos are.

        Raises:
            ArchiveError: one cannot be read, or they differ in their number of rows.
        """
        found = names or next(
            (beside for end in LISTS if (beside := path.with_suffix(end)).is_file()), None
        )
        if found is None:
            raise ArchiveError(
                f"there is no list of photos beside {printable(str(path))}; name it (--paths)."
            )
        vectors = open_vectors(path)
        lines = sum(1 for _ in _lines(found))
        if lines != len(vectors):
            raise ArchiveError(
                f"{printable(str(path))} has {len(vectors)} vectors and {printable(str(found))} "
                f"{lines} paths; each vector needs its own, in the same order."
            )
        self.dim, self.source = vectors.shape[1], source
        rows = NamedRows(path, vectors, partial(_names, found), Naming(source.photos))
        self.parts: Sequence[Part] = (rows,)


def _names(path: Path) -> Iterator[list[str]]:
    lines = _lines(path)
    while names := list(itertools.islice(lines, BLOCK_ROWS)):
        yield names


def _lines(path: Path) -> Iterator[str]:
    try:
        with open_regular(path) as stream:
            for number, line in enumerate(stream):
                text = line.decode("utf-8" if number else "utf-8-sig", "surrogateescape").strip()
                if text and not text.startswith("#"):
                    yield text
    except OSError as error:
        raise ArchiveError(
            f"{printable(str(path))} cannot be read ({error.strerror}); check the path."
        ) from error
