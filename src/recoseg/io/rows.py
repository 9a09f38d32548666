"""Image source of rows of tables: the image column of parquet files, or of a `datasets` folder.

An id is the file's path in its folder, ``/``, and the number of the row, in ten digits.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from recoseg.errors import ArchiveError, optional_import
from recoseg.io.images import printable
from recoseg.io.sources import Item, Listing, from_id, listing, state_of, to_id
from recoseg.io.walking import open_regular

SUFFIXES = (".parquet", ".arrow")
KIND = "rows"


class RowSource:
    """Photos inside tables, read a group of rows at a time."""

    def __init__(self, base: str, files: Sequence[str], column: str) -> None:
        """``files`` below the folder ``base``, whose ``column`` holds bytes of images."""
        self.base, self.files, self.column = base, tuple(files), column
        self._lock = threading.Lock()
        self._last: tuple[str, int, Any] | None = None

    @property
    def where(self) -> str:
        """The folder's path."""
        return printable(self.base)

    def describe(self) -> dict[str, Any]:
        """Kind, folder, files and column."""
        return {"kind": KIND, "path": self.base, "files": list(self.files), "column": self.column}

    def scan(self) -> Listing:
        """Every row of every file; a row changes when its file does."""
        items = list[Item]()
        for name in self.files:
            path = Path(self.base, name)
            with open_table(path) as table:
                state = state_of(path.stat())
                items.extend(Item(row_id(name, row), *state) for row in range(table.rows))
        return listing(items, (), ())

    def has(self, id: str) -> bool:
        """Whether the row has the bytes of an image."""
        try:
            return bool(self._cell(id))
        except ArchiveError:
            return False

    def read(self, id: str) -> bytes:
        """The bytes of a row's image; ArchiveError if it has none."""
        data = self._cell(id)
        if not isinstance(data, bytes):
            raise ArchiveError(f"{id} holds no image, only its name; it cannot be fetched.")
        return data

    def _cell(self, id: str) -> bytes | None:
        name, _, number = id.rpartition("/")
        path = from_id(name)
        if path not in self.files or not number.isdecimal():
            raise ArchiveError(f"{id} is no row of {self.where}; bring the index up to date.")
        with self._lock:
            first, cells = self._group(path, int(number))
            place = int(number) - first
            if not 0 <= place < len(cells):
                raise ArchiveError(f"{id} is no row of {self.where}; bring the index up to date.")
            cell = cells[place].as_py()
        return cell.get("bytes") if isinstance(cell, dict) else cell

    def _group(self, name: str, row: int) -> tuple[int, Any]:
        """The first row and the cells of the group that holds a row; the last one is kept."""
        if self._last is not None:
            kept, first, cells = self._last
            if kept == name and first <= row < first + len(cells):
                return first, cells
        with open_table(Path(self.base, name)) as table:
            first, cells = table.group(row, self.column)
        self._last = (name, first, cells)
        return first, cells


class OpenTable:
    """One table: parquet, or the stream of arrow that `datasets` writes."""

    def __init__(self, path: Path, stream: Any) -> None:
        import pyarrow
        import pyarrow.parquet as parquet

        self._parquet = parquet.ParquetFile(stream) if path.suffix == ".parquet" else None
        if self._parquet is not None:
            meta = self._parquet.metadata
            sizes = [meta.row_group(n).num_rows for n in range(meta.num_row_groups)]
            self.schema = self._parquet.schema_arrow
        else:
            reader = pyarrow.ipc.open_stream(stream)
            self.schema = reader.schema
            self._batches = list(reader)  # mapped, not read
            sizes = [batch.num_rows for batch in self._batches]
        self._firsts = [sum(sizes[:n]) for n in range(len(sizes))]
        self.rows: int = sum(sizes)

    def group(self, row: int, column: str) -> tuple[int, Any]:
        """First row and cells of the group that holds ``row``."""
        number = max(0, bisect.bisect_right(self._firsts, row) - 1)
        if not self._firsts:
            return 0, []
        return self._firsts[number], self._cells(number, [column])[0]

    def groups(self, columns: Sequence[str]) -> Iterator[list[Any]]:
        """The cells of some columns, group by group."""
        for number in range(len(self._firsts)):
            yield self._cells(number, columns)

    def _cells(self, number: int, columns: Sequence[str]) -> list[Any]:
        if self._parquet is not None:
            table = self._parquet.read_row_group(number, columns=list(columns))
            return [table.column(name).combine_chunks() for name in columns]
        return [self._batches[number].column(name) for name in columns]


@contextlib.contextmanager
def open_table(path: Path) -> Iterator[OpenTable]:
    """A table.

    Raises:
        ArchiveError: it cannot be read, or a column is missing.
        InputError: pyarrow is missing.
    """
    with optional_import("tables need pyarrow", "import"):
        import pyarrow
    try:
        open_regular(path).close()
        with pyarrow.memory_map(os.fspath(path)) as stream:
            yield OpenTable(path, stream)
    except (OSError, KeyError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArchiveError(
            f"{printable(str(path))} cannot be read as a table ({text}); restore it."
        ) from error


def row_id(name: str, row: int) -> str:
    """The id of a row of a file."""
    return f"{to_id(name)}/{row:010d}"
