"""Tables with a column of images and one of vectors: parquet, or a folder of `datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recoseg.embeddings.arrays import one_dim
from recoseg.embeddings.table import BLOCK_ROWS, Block, Part
from recoseg.errors import ArchiveError
from recoseg.io.images import printable
from recoseg.io.imported import ImportedSource
from recoseg.io.rows import SUFFIXES, RowSource, open_table, row_id

FORM = "rows"


@dataclass(frozen=True)
class File:
    """One table.

    Attributes:
        base: the folder that ids are relative to.
        file: its path in it.
        column: of the vectors.
        dim: d.
    """

    base: str
    file: str
    column: str
    dim: int

    @property
    def name(self) -> str:
        """The file's path."""
        return f"{self.base}/{self.file}"

    def blocks(self) -> Iterator[Block]:
        """Rows in their order; one without a vector has NaN in its place."""
        first = 0
        with open_table(Path(self.name)) as table:
            for (cells,) in table.groups([self.column]):
                for start in range(0, len(cells), BLOCK_ROWS):
                    part = cells.slice(start, BLOCK_ROWS).to_pylist()
                    ids = [row_id(self.file, first + start + n) for n in range(len(part))]
                    rows = [self._vector(v, i) for v, i in zip(part, ids, strict=True)]
                    yield Block(ids, np.stack(rows))
                first += len(cells)

    def _vector(self, values: Sequence[float] | None, id: str) -> Any:
        if values is None:
            return np.full(self.dim, np.nan, np.float32)
        if len(values) != self.dim:
            raise ArchiveError(
                f"{id} has a vector of {len(values)} numbers and others have {self.dim}; an index "
                "holds the vectors of one model."
            )
        return np.array([np.nan if v is None else v for v in values], np.float32)


class RowsTable:
    """The table of some files."""

    def __init__(self, source: ImportedSource, rows: RowSource, column: str) -> None:
        """Look at the first vector of each file; ArchiveError if they differ in dimension."""
        found = [
            File(rows.base, file, column, dim)
            for file in rows.files
            if (dim := _first_dim(Path(rows.base, file), column))
        ]
        self.dim = one_dim((part.name, part.dim) for part in found)
        self.parts: Sequence[Part] = found
        self.source = source


def files_of(place: Path) -> tuple[str, list[str]]:
    """The folder of tables and their paths in it; none if there are no tables."""
    if place.is_file():
        return str(place.parent), [place.name] if place.suffix in SUFFIXES else []
    found = sorted(p for p in place.rglob("*") if p.suffix in SUFFIXES and p.is_file())
    # What `datasets` caches of transformations is not the data.
    return str(place), [
        p.relative_to(place).as_posix() for p in found if not p.name.startswith(("cache-", "."))
    ]


def image_column(path: Path) -> str:
    """The column of images of a table: a struct with bytes, or bytes; the first of these."""
    import pyarrow.types as types

    with open_table(path) as table:
        for field in table.schema:
            kind = field.type
            if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                return str(field.name)
            if types.is_binary(kind) or types.is_large_binary(kind):
                return str(field.name)
        names = ", ".join(table.schema.names) or "none"
    raise ArchiveError(f"{printable(str(path))} has no column of images (it has {names}).")


def vector_column(path: Path) -> str | None:
    """The one column of lists of floating numbers; None if there is none."""
    import pyarrow.types as types

    with open_table(path) as table:
        found = [
            str(field.name)
            for field in table.schema
            if (
                types.is_list(field.type)
                or types.is_large_list(field.type)
                or types.is_fixed_size_list(field.type)
            )
            and types.is_floating(field.type.value_type)
        ]
    if len(found) > 1:
        raise ArchiveError(
            f"{printable(str(path))} has several columns of vectors ({', '.join(found)}); keep the "
            "one of the photos."
        )
    return found[0] if found else None


def _first_dim(path: Path, column: str) -> int:
    with open_table(path) as table:
        for (cells,) in table.groups([column]):
            for cell in cells:
                if (values := cell.as_py()) is not None:
                    return len(values)
    return 0
