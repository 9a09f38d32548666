"""Part files: vectors of one chunk of an archive, written atomically by any machine.

    parts/
      <key>.json   contents, files and reasons, and the digest of the rows; written last
      <key>.f16    the new contents' vectors, raw little-endian fp16 rows

The key is a digest of all that decides a part, so one that is there need not be made again. Parts
are merged into the index by ``recoseg.index.spread`` and removed then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recoseg.errors import IndexDamaged
from recoseg.index.ingest import Due
from recoseg.index.shards import Rows
from recoseg.io import durable
from recoseg.io.archive import Item

FOLDER = "parts"
PREFIX = 16


class Chunk(NamedTuple):
    """Files that are embedded together, and the name of the part that comes of them."""

    key: str
    files: tuple[Due, ...]


@dataclass(frozen=True)
class PartManifest:
    """The manifest of a part.

    Attributes:
        read_ns: a time before its files were read.
        contents: sha256 of the content of each row, in order.
        images: place in the chunk and content's sha256 of each file that has one.
        skipped: place in the chunk of each file left out, and why.
        rows: digest of the rows' bytes.
    """

    read_ns: int
    contents: tuple[bytes, ...]
    images: tuple[tuple[int, bytes], ...]
    skipped: tuple[tuple[int, str], ...]
    rows: str


class Known:
    """Contents that an index has vectors of, as the first bytes of their sha256, sorted."""

    def __init__(self, digests: Iterable[bytes]) -> None:
        self._sorted = np.sort(np.array([d[:PREFIX] for d in digests], dtype=f"S{PREFIX}"))

    def __contains__(self, digest: bytes) -> bool:
        # numpy drops zeros at the end, of equal lengths and so without harm.
        wanted = np.bytes_(digest[:PREFIX].rstrip(b"\0"))
        place = int(np.searchsorted(self._sorted, wanted))
        return place < len(self._sorted) and bool(self._sorted[place] == wanted)


class PartDraft:
    """A part that is being made: it collects in memory what ``ingest`` reports."""

    def __init__(self, files: Sequence[Due], known: Known) -> None:
        self.known = known
        self.places = {due.item.id: place for place, due in enumerate(files)}
        self.vectors: dict[bytes, NDArray[np.float16]] = {}
        self.images: list[tuple[int, bytes]] = []
        self.skipped: list[tuple[int, str]] = []

    def holds(self, digest: bytes) -> bool:
        """Whether the index or this part has the content's vector."""
        return digest in self.vectors or digest in self.known

    def vector(self, digest: bytes, row: NDArray[np.float16]) -> None:
        """Keep the vector (d,) of a content."""
        self.vectors[digest] = row

    def image(self, item: Item, digest: bytes) -> None:
        """Keep that a file has a content."""
        self.images.append((self.places[item.id], digest))

    def skip(self, item: Item, reason: str) -> None:
        """Keep that a file is left out."""
        self.skipped.append((self.places[item.id], reason))

    def write(self, folder: Path, key: str, read_ns: int) -> None:
        """Write the part, its manifest last."""
        rows = list(self.vectors.values())
        data = np.ascontiguousarray(np.stack(rows), "<f2").tobytes() if rows else b""
        part = PartManifest(
            read_ns, tuple(self.vectors), tuple(self.images), tuple(self.skipped), _digest(data)
        )
        durable.write(_rows_of(folder, key), data)
        said = _plain(asdict(part))
        said["digest"] = _digest(json.dumps(said, sort_keys=True).encode())
        durable.write(_manifest_of(folder, key), json.dumps(said).encode())


def key_of(decisive: Mapping[str, Any], files: Iterable[Due]) -> str:
    """The name of the part of these files, given all else that decides it."""
    data = [dict(decisive), [[*due.item, due.held and due.held.hex()] for due in files]]
    return _digest(json.dumps(data, sort_keys=True).encode())[:32]


def read(folder: Path, key: str) -> PartManifest | None:
    """The manifest of a part; None if it is not there or damaged."""
    try:
        said = json.loads(_manifest_of(folder, key).read_bytes())
        if said.pop("digest") != _digest(json.dumps(said, sort_keys=True).encode()):
            return None
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return PartManifest(
        said["read_ns"],
        tuple(map(bytes.fromhex, said["contents"])),
        tuple((place, bytes.fromhex(digest)) for place, digest in said["images"]),
        tuple((place, reason) for place, reason in said["skipped"]),
        said["rows"],
    )


def rows(folder: Path, key: str, dim: int, digest: str) -> Rows:
    """(n, d) all rows of a part; IndexDamaged if they are not those of this digest."""
    try:
        data = _rows_of(folder, key).read_bytes()
    except OSError:
        data = None
    if data is None or _digest(data) != digest:
        raise IndexDamaged(
            f"{_rows_of(folder, key)} is missing or damaged; run `recoseg index --check` with the "
            "same photos and index."
        )
    found: Rows = np.frombuffer(data, "<f2").reshape(-1, dim)
    return found


def is_whole(folder: Path, key: str) -> bool:
    """Whether the part is there and undamaged; reads all of it."""
    part = read(folder, key)
    if part is None:
        return False
    try:
        return _digest(_rows_of(folder, key).read_bytes()) == part.rows
    except OSError:
        return False


def remove(folder: Path, keys: Iterable[str]) -> None:
    """Remove merged parts, the manifest first."""
    for key in keys:
        _manifest_of(folder, key).unlink(missing_ok=True)
        _rows_of(folder, key).unlink(missing_ok=True)


def _manifest_of(folder: Path, key: str) -> Path:
    return folder / f"{key}.json"


def _rows_of(folder: Path, key: str) -> Path:
    return folder / f"{key}.f16"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
