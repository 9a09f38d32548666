"""Folders of clip-retrieval: ``img_emb/*.npy`` with ``metadata/*.parquet``, row by row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from recoseg.embeddings.arrays import one_dim, open_vectors
from recoseg.embeddings.named_rows import NamedRows
from recoseg.embeddings.naming import Naming
from recoseg.embeddings.parquet import open_parquet
from recoseg.embeddings.table import BLOCK_ROWS, Part
from recoseg.errors import ArchiveError
from recoseg.io.images import printable
from recoseg.io.imported import ImportedSource

FORM = "clip-retrieval"
VECTORS, METADATA = "img_emb", "metadata"
# Columns that say which photo a row is of, the best first.
NAMES = ("image_path", "url", "key")
# The same where photos lie in tar files, in which a key is found and a URL is not.
NAMES_IN_TARS = ("image_path", "key", "url")
_NUMBER = re.compile(r"(\d+)\D*$")


class ClipRetrievalTable:
    """The table of one folder."""

    def __init__(self, folder: Path, source: ImportedSource) -> None:
        """Open every file.

        Raises:
            ArchiveError: files are missing, cannot be read, or do not fit together.
            InputError: pyarrow is missing.
        """
        naming = Naming(source.photos)
        found = [_partition(*pair, naming) for pair in _pairs(folder)]
        self.dim = one_dim((part.name, part.vectors.shape[1]) for part in found)
        self.parts: Sequence[Part] = found
        self.source = source


def is_clip_retrieval(folder: Path) -> bool:
    """Whether a folder has vectors of photos in this form."""
    return (folder / VECTORS).is_dir()


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Arrays and their metadata, by the numbers in their names."""
    arrays = _list_numbered(folder / VECTORS, ".npy")
    tables = _list_numbered(folder / METADATA, ".parquet")
    if not arrays or arrays.keys() != tables.keys():
        odd = sorted({*arrays} ^ {*tables})
        raise ArchiveError(
            f"{printable(str(folder))} has {len(arrays)} files in {VECTORS} and {len(tables)} in "
            f"{METADATA}"
            + (f", and number {odd[0]} is in one alone" if odd else "")
            + "; each .npy file needs the .parquet file of its number."
        )
    return [(arrays[number], tables[number]) for number in sorted(arrays)]


def _list_numbered(folder: Path, suffix: str) -> dict[int, Path]:
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


def _partition(path: Path, metadata: Path, naming: Naming) -> NamedRows:
    vectors = open_vectors(path)
    with open_parquet(metadata) as file:
        rows: int = file.metadata.num_rows
        column = _column(file.schema_arrow, metadata, NAMES_IN_TARS if naming.by_key else NAMES)
    if rows != len(vectors):
        raise ArchiveError(
            f"{printable(str(path))} has {len(vectors)} vectors and {printable(str(metadata))} "
            f"{rows} rows; each vector needs its own, in the same order."
        )
    return NamedRows(path, vectors, partial(_names, metadata, column), naming)


def _names(metadata: Path, column: str) -> Iterator[list[str | None]]:
    with open_parquet(metadata) as file:
        for batch in file.iter_batches(BLOCK_ROWS, columns=[column]):
            yield batch.column(0).to_pylist()


def _column(schema: Any, path: Path, wanted: Sequence[str]) -> str:
    names: Sequence[str] = schema.names
    found = next((name for name in wanted if name in names), None)
    if found is None:
        raise ArchiveError(
            f"{printable(str(path))} has no column {', '.join(NAMES[:-1])} or {NAMES[-1]} (it has "
            f"{', '.join(names) or 'none'}); name one of its columns so."
        )
    return found
