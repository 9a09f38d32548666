r"""Image sources of archives, and the ids of their files.

An image's id is its path relative to the source, with ``/`` between the parts. Bytes of a file
name that are not UTF-8 become ``\xNN`` and a backslash is doubled, so that every id is printable,
can be stored anywhere, and leads back to exactly one file.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from recoseg.errors import ArchiveError
from recoseg.io import filetypes
from recoseg.io.images import SUFFIXES, printable
from recoseg.io.walking import open_regular, walk

MAX_BYTES = 512 * 2**20
GONE = (
    "{} is a link to something that is not there; connect its drive or mend the link and index "
    "again (what was indexed below it is kept), or remove the link to forget it"
)
# What to do about a photo that was listed and is gone.
AGAIN = "restore it and run the same again, or bring an index up to date with `recoseg index`"


class Item(NamedTuple):
    """One image file: its id, and what the file system says of it (times in nanoseconds)."""

    id: str
    size: int
    mtime_ns: int
    ctime_ns: int = 0
    inode: int = 0


class Skipped(NamedTuple):
    """A file or folder that was left out, and why."""

    id: str
    reason: str


class Listing(NamedTuple):
    """Files of a source in the order of ids; ``others`` counts other files by suffix."""

    items: tuple[Item, ...]
    problems: tuple[Skipped, ...]
    others: Mapping[str, int]


class ImageSource(Protocol):
    """Source of images; ``read`` works without ``scan`` and from several threads."""

    @property
    def where(self) -> str:
        """How to name the source in a message."""
        ...

    def scan(self) -> Listing:
        """List the images, at the cost of a look at every file's metadata."""
        ...

    def read(self, id: str) -> bytes:
        """The encoded bytes of an image; ArchiveError if they cannot be had."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON types from which ``archive.Archive.reopen`` makes the same source."""
        ...


def suffix_of(name: str) -> str:
    """The suffix of a file's name, in small letters: as ``Path.suffix``, without a path."""
    place = name.rfind(".")
    return name[place:].lower() if 0 < place < len(name) - 1 else ""


def to_id(name: str) -> str:
    """The id of a path relative to its source."""
    if os.sep != "/":
        name = name.replace(os.sep, "/")
    if name.isascii() and "\\" not in name:  # as most are
        return name
    return printable(name.replace("\\", "\\\\"))


def from_id(id: str) -> str:
    """The path of an id: the inverse of ``to_id``."""

    def original(match: re.Match[str]) -> str:
        code = match[1]
        return "\\" if code == "\\" else chr(0xDC00 + int(code[1:], 16))

    return re.sub(r"\\(\\|x[0-9a-f]{2})", original, id)


def listing(items: Iterable[Item], problems: Iterable[Skipped], others: Iterable[str]) -> Listing:
    """Items and problems in the order of ids; ``others`` are the suffixes of the other files."""
    return Listing(tuple(sorted(items)), tuple(sorted(problems)), Counter(others))


def read_file(path: str, id: str, offset: int = 0, size: int | None = None) -> bytes:
    """Read a regular file, or a part of it, of at most ``MAX_BYTES``.

    Raises:
        ArchiveError: it is gone, not a regular file, not readable or too large.
    """
    try:
        with open_regular(path) as stream:
            length = os.fstat(stream.fileno()).st_size - offset if size is None else size
            if length > MAX_BYTES:
                raise ArchiveError(f"{id} has {length / 2**20:.0f} MiB, over the limit; shrink it.")
            stream.seek(offset)
            data = stream.read(length)
    except (OSError, ValueError) as error:
        raise ArchiveError(
            f"{id} cannot be read from {printable(path)} ({cause(error)}); {AGAIN}."
        ) from error
    if len(data) < length:
        raise ArchiveError(f"{id} is cut short in {printable(path)}; restore the file.")
    return data


def cause(error: Exception) -> str:
    """The short text of an error, without the path it repeats."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


class FolderSource:
    """Every image file under a folder, whose suffix says that it is one.

    Names that start with a dot, and folders of results, are left out. Links are followed; a folder
    that can be reached in several ways is listed once, under its real place where that lies inside
    the source, so loops end.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    @property
    def where(self) -> str:
        """The folder's path."""
        return printable(self.root)

    def describe(self) -> dict[str, Any]:
        """Kind and path."""
        return {"kind": "folder", "path": self.root}

    def read(self, id: str) -> bytes:
        """The bytes of a file."""
        return read_file(f"{self.root}/{from_id(id)}", id)

    def scan(self) -> Listing:
        """Walk the tree: real folders first, then linked ones that were not yet seen."""
        items, problems, others = list[Item](), list[Skipped](), list[str]()

        def note_failure(inside: str, error: OSError) -> None:
            problems.append(Skipped(to_id(inside), f"folder not listed: {cause(error)}"))

        for name, entry in walk(
            self.root, note_failure, enter=lambda path: not filetypes.is_results_folder(path)
        ):
            if (suffix := suffix_of(entry.name)) in SUFFIXES:
                note_file(f"{self.root}/{name}", name, items, problems)
            elif entry.is_symlink() and not os.path.exists(f"{self.root}/{name}"):  # noqa: PTH110
                problems.append(Skipped(to_id(name), GONE.format(to_id(name))))
            else:
                others.append(suffix)
        return listing(items, problems, others)


def note_file(path: str, name: str, items: list[Item], problems: list[Skipped]) -> None:
    """Append a file to the items, or to the problems if it is no regular file."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError) as error:
        problems.append(Skipped(to_id(name), f"{to_id(name)} cannot be found: {cause(error)}"))
        return
    if stat.S_ISREG(status.st_mode):
        items.append(Item(to_id(name), *state_of(status)))
    else:
        problems.append(Skipped(to_id(name), f"{to_id(name)} is not a regular file"))


def state_of(status: os.stat_result) -> tuple[int, int, int, int]:
    """Size, time of the content, time of anything, and inode: what changes when a file does."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
