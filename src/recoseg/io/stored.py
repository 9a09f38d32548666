"""Images that are no files of their own here: behind a URL, or inside tar files.

``Photo`` is an image wherever it is: the path of a file, or a ``Stored``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, runtime_checkable

from recoseg.io import durable, images
from recoseg.io.archive import Archive
from recoseg.io.images import RGB, printable
from recoseg.io.remote import RemoteFolder
from recoseg.io.sources import ImageSource, Item, from_id
from recoseg.io.walking import read_regular

_COPY = re.compile(r"[0-9a-f]{64}")


@runtime_checkable
class Addressed(ImageSource, Protocol):
    """A source that can tell the address of each image."""

    def address(self, id: str) -> str:
        """A path or URL, equal only for one and the same image."""
        ...


class Store:
    """A source of images that can be sent to other processes, which open it when they first read.

    A process opens it once for all images of a listing, so that headers of tar files are read once.
    """

    def __init__(self, description: str, token: str, source: ImageSource | None = None) -> None:
        """The description of a source in JSON, a name of this listing, and the source if open."""
        self._description, self._token = description, token
        if source is not None:
            self._source = source

    @classmethod
    def of(cls, source: ImageSource) -> Store:
        """A source that was listed just now."""
        return cls(json.dumps(source.describe(), sort_keys=True), secrets.token_hex(8), source)

    def __reduce__(self) -> Any:
        """Sent as its description."""
        return _arrived, (self._description, self._token)

    def read(self, id: str) -> bytes:
        """The encoded bytes of an image; ArchiveError if they cannot be had."""
        return self._source.read(id)

    @functools.cached_property
    def _source(self) -> ImageSource:
        return Archive.reopen(json.loads(self._description)).reader


@functools.lru_cache(maxsize=64)
def _arrived(description: str, token: str) -> Store:
    return Store(description, token)


@dataclass(frozen=True)
class Stored:
    """One image of a store. Two are equal if they are the same image.

    Attributes:
        address: its URL, or its tar file's path and its own in that.
        store: where it is read.
        id: its name there.
        tag: another text as soon as its bytes are others; None if its store does not tell.
        copy: a file on this machine that keeps its bytes once they were read; None to read it
            from its place each time.
    """

    address: str
    store: Store = field(compare=False, repr=False)
    id: str = field(compare=False)
    tag: str | None = field(default=None, compare=False)
    copy: Path | None = field(default=None, compare=False)

    def read(self) -> bytes:
        """The encoded bytes; ArchiveError if they cannot be had."""
        if self.copy is not None:
            with contextlib.suppress(OSError):
                return read_regular(self.copy)
        data = self.store.read(self.id)
        if self.copy is not None:
            durable.make_folder(self.copy.parent)
            durable.write(self.copy, data)
        return data

    def __str__(self) -> str:
        """The address."""
        return self.address


Photo = Path | Stored


def read_pixels(photo: Photo) -> RGB:
    """uint8 (H, W, 3) of an image; ArchiveError or ImageError if it cannot be read."""
    if isinstance(photo, Path):
        return images.read(photo)
    return images.read(photo.read(), name=photo.address)


def list_stored(
    archive: Archive, failed: Callable[[str], None], copies: Path | None = None
) -> Iterator[tuple[str, Stored]]:
    """The images of an archive behind a URL or in tar files, with their paths below it.

    Args:
        archive: of one of these kinds.
        failed: is told in a sentence what of it cannot be listed.
        copies: a folder that keeps the bytes of those that were read.
    """
    source = archive.reader
    if not isinstance(source, Addressed):
        raise TypeError(f"{source!r} tells no addresses")
    store = Store.of(source)
    for problem in archive.problems:
        failed(f"{problem.id} is left out: {problem.reason.rstrip('.')}")
    for item in archive:
        name = from_id(item.id)
        if not _is_path(name):
            failed(f"{printable(item.id)} is left out: no file below a folder has such a name")
            continue
        address = source.address(item.id)
        copy = None if copies is None else copies / _copy_name(address, item)
        tagged = isinstance(source, RemoteFolder) and source.tagged
        tag = _digest(address, item.size, item.inode) if tagged else None
        yield name, Stored(address, store, item.id, tag, copy)


def drop_copies(folder: Path, photos: Iterable[Photo]) -> None:
    """Remove from a folder of copies those of images that changed or are none of ``photos``."""
    kept = {photo.copy for photo in photos if isinstance(photo, Stored)}
    for path in folder.iterdir() if folder.is_dir() else ():
        if _COPY.fullmatch(path.stem) and path not in kept:
            with contextlib.suppress(OSError):
                path.unlink()


def _copy_name(address: str, item: Item) -> str:
    """The name of a copy: another one as soon as size, time or tag of the image are others."""
    return _digest(address, *item[1:]) + PurePosixPath(from_id(item.id)).suffix.lower()


def _digest(*facts: str | int) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _is_path(name: str) -> bool:
    """Whether it is the path of a file below some folder."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not ({"..", "/"} & {*parts} or "\0" in name or name.startswith("/"))
