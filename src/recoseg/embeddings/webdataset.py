"""Tar shards of img2dataset and webdataset with a vector beside each photo: KEY.jpg and KEY.npy."""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format
from numpy.typing import NDArray

from recoseg.embeddings.arrays import check_vectors, one_dim
from recoseg.embeddings.table import BLOCK_ROWS, Block, Part
from recoseg.errors import ArchiveError
from recoseg.io.images import SUFFIXES, printable
from recoseg.io.imported import ImportedSource
from recoseg.io.sources import cause, to_id
from recoseg.io.walking import open_regular

FORM = "webdataset"
VECTOR = ".npy"
# No vector of one photo is as large.
MAX_BYTES = 2**20


@dataclass(frozen=True)
class Shard:
    """One tar file.

    Attributes:
        path: of the file.
        base: the folder that ids are relative to.
        dim: of its vectors.
    """

    path: Path
    base: str
    dim: int

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self.path)

    def blocks(self) -> Iterator[Block]:
        """Samples that have a vector, in the order of the file."""
        ids, rows = list[str](), list[NDArray[np.floating]]()
        for id, vector in _samples(self.path, self.base):
            if vector.shape[0] != self.dim:
                raise ArchiveError(
                    f"{id} in {printable(self.name)} has a vector of {vector.shape[0]} numbers and "
                    f"others have {self.dim}; an index holds the vectors of one model."
                )
            ids.append(id)
            rows.append(vector)
            if len(ids) == BLOCK_ROWS:
                yield Block(ids, np.stack(rows))
                ids, rows = [], []
        if ids:
            yield Block(ids, np.stack(rows))


class WebdatasetTable:
    """The table of tar shards."""

    def __init__(self, shards: Sequence[Path], base: str, source: ImportedSource) -> None:
        """Look at the first vector of each shard; those without any count for nothing.

        Raises:
            ArchiveError: a shard cannot be read, none has a vector, or their dimensions differ.
        """
        parts = list[Shard]()
        for path in shards:
            first = next(_samples(path, base), None)
            if first is not None:
                parts.append(Shard(path, base, first[1].shape[0]))
        self.dim = one_dim((part.name, part.dim) for part in parts)
        self.parts: Sequence[Part] = parts
        self.source = source


def has_vectors(shards: Sequence[Path], base: str) -> bool:
    """Whether any of some tar files holds a vector."""
    return any(next(_samples(path, base), None) is not None for path in shards)


def _samples(path: Path, base: str) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Id and vector (d,) of each sample that has a vector; its members follow each other."""
    shard = to_id(os.path.relpath(path, base))
    key, photo, vector = "", "", None
    try:
        with open_regular(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                if not member.isreg():
                    continue
                name = posixpath.normpath(member.name).lstrip("/")
                folder, last = posixpath.split(name)
                now = posixpath.join(folder, last.partition(".")[0])
                if now != key:
                    if vector is not None:
                        yield f"{shard}/{photo or to_id(key)}", vector
                    key, photo, vector = now, "", None
                suffix = Path(last).suffix.lower()
                if suffix in SUFFIXES:
                    photo = to_id(name)
                elif suffix == VECTOR:
                    vector = _vector(tar, member, f"{printable(str(path))}/{printable(name)}")
    except (OSError, tarfile.TarError) as error:
        raise ArchiveError(
            f"{printable(str(path))} cannot be read as a plain tar file ({cause(error)}); if it is "
            "compressed, unpack it."
        ) from error
    if vector is not None:
        yield f"{shard}/{photo or to_id(key)}", vector


def _vector(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> NDArray[np.floating]:
    opened = tar.extractfile(member) if member.size <= MAX_BYTES else None
    try:
        if opened is None:
            raise ValueError(f"{member.size} bytes are too many for one vector")
        found = format.read_array(io.BytesIO(opened.read()), allow_pickle=False)
    except (OSError, ValueError, TypeError, OverflowError, SyntaxError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArchiveError(
            f"{name} cannot be read as a vector ({text}); restore it, or write it with numpy.save."
        ) from error
    row: NDArray[np.floating] = check_vectors(np.atleast_2d(np.squeeze(found)), name)[0]
    return row
