"""Folders of clip-retrieval: ``img_emb/*.npy`` with ``metadata/*.parquet``, row by row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoseg.embeddings.arrays import one_dim, open_vectors
from recoseg.embeddings.parquet import open_parquet
from recoseg.embeddings.table import BLOCK_ROWS, Block, Part
from recoseg.errors import ArchiveError
from recoseg.io.images import printable
from recoseg.io.imported import ImportedSource, id_of

FORM = "clip-retrieval"
VECTORS, METADATA = "img_emb", "metadata"
# Columns that say which photo a row is of, the best first.
NAMES = ("image_path", "url", "key")
_NUMBER = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True)
class Partition:
    """One array and its rows of metadata.

    Attributes:
        path: of the array.
        metadata: of the parquet file.
        column: which says the photo.
        root: the photos' folder, if they are in one.
        vectors: (n, d).
    """

    path: Path
    metadata: Path
    column: str
    root: str | None
    vectors: NDArray[np.floating]

    @property
    def name(self) -> str:
        """The array's path."""
        return str(self.path)

    def blocks(self) -> Iterator[Block]:
        """Rows with their metadata."""
        first = 0
        with open_parquet(self.metadata) as file:
            for batch in file.iter_batches(BLOCK_ROWS, columns=[self.column]):
                names = batch.column(0).to_pylist()
                ids = [id_of(str(name), self.root) if name else "" for name in names]
                yield Block(ids, self.vectors[first : first + len(ids)])
                first += len(ids)


class ClipRetrievalTable:
    """The table of one folder."""

    def __init__(self, folder: Path, source: ImportedSource) -> None:
        """Open every file.

        Raises:
            ArchiveError: files are missing, cannot be read, or do not fit together.
            InputError: pyarrow is missing.
        """
        root: str | None = getattr(source.photos, "root", None)
        found = [_partition(*pair, root) for pair in _pairs(folder)]
        self.dim = one_dim((part.name, part.vectors.shape[1]) for part in found)
        self.parts: Sequence[Part] = found
        self.source = source


def is_clip_retrieval(folder: Path) -> bool:
    """Whether a folder has vectors of photos in this form."""
    return (folder / VECTORS).is_dir()


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Arrays and their metadata, by the numbers in their names."""
    arrays = _numbered(folder / VECTORS, ".npy")
    tables = _numbered(folder / METADATA, ".parquet")
    if not arrays or arrays.keys() != tables.keys():
        odd = sorted({*arrays} ^ {*tables})
        raise ArchiveError(
            f"{printable(str(folder))} has {len(arrays)} files in {VECTORS} and {len(tables)} in "
            f"{METADATA}"
            + (f", and number {odd[0]} is in one alone" if odd else "")
            + "; each .npy file needs the .parquet file of its number."
        )
    return [(arrays[number], tables[number]) for number in sorted(arrays)]


def _numbered(folder: Path, suffix: str) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in sorted(folder.glob(f"*{suffix}")):
        number = _NUMBER.search(path.stem)
        key = int(number[1]) if number else -1
        if key in found:
            raise ArchiveError(
                f"{printable(str(path))} and {found[key].name} have the same number; give each "
                "part its own."
            )
        found[key] = path
    return found


def _partition(path: Path, metadata: Path, root: str | None) -> Partition:
    vectors = open_vectors(path)
    with open_parquet(metadata) as file:
        rows: int = file.metadata.num_rows
        column = _column(file.schema_arrow, metadata)
    if rows != len(vectors):
        raise ArchiveError(
            f"{printable(str(path))} has {len(vectors)} vectors and {printable(str(metadata))} "
            f"{rows} rows; each vector needs its own, in the same order."
        )
    return Partition(path, metadata, column, root, vectors)


def _column(schema: Any, path: Path) -> str:
    names: Sequence[str] = schema.names
    found = next((name for name in NAMES if name in names), None)
    if found is None:
        raise ArchiveError(
            f"{printable(str(path))} has no column {', '.join(NAMES[:-1])} or {NAMES[-1]} (it has "
            f"{', '.join(names) or 'none'}); name one of its columns so."
        )
    return found
