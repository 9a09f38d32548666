"""Image source of tar shards, read in place; links are not followed."""

from __future__ import annotations

import os
import posixpath
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recoseg.errors import ArchiveError
from recoseg.io.images import SUFFIXES, printable
from recoseg.io.sources import (
    AGAIN,
    Item,
    Listing,
    Skipped,
    cause,
    from_id,
    listing,
    read_file,
    state_of,
    suffix_of,
    to_id,
)
from recoseg.io.walking import match_files, open_regular, walk

WILD = "*?["


class Members(NamedTuple):
    """Offset and size of each image in a tar file, and what is no plain member."""

    places: dict[str, tuple[int, int]]
    problems: list[Skipped]


class _Shard(NamedTuple):
    """Members of a tar file with their offsets, and the file's state when they were read."""

    state: tuple[int, int, int, int]
    members: dict[str, tuple[int, int]]
    problems: list[Skipped]


class TarSource:
    """Images in tar files; an id is the tar's path in the source, ``/``, and the member's name.

    Of members with one name the last counts, as in tar itself. The time of change is that of the
    tar file, because shards are often written with a fixed time for every member.
    """

    def __init__(self, places: Sequence[str]) -> None:
        """``places``: absolute paths of tar files, folders of them, or patterns."""
        self.places = tuple(places)
        bases = [_base(place) for place in places]
        self.base = os.path.commonpath(bases) if bases else os.sep
        self.known: dict[str, _Shard] = {}
        self.lock = threading.Lock()

    @property
    def where(self) -> str:
        """The place, or the common folder of several."""
        return printable(self.places[0] if len(self.places) == 1 else self.base)

    def describe(self) -> dict[str, Any]:
        """Kind and places."""
        return {"kind": "tar", "paths": list(self.places)}

    def scan(self) -> Listing:
        """Read the headers of every tar file that is there now."""
        items: list[Item] = []
        problems: list[Skipped] = []
        for path in self._paths(problems):
            name = os.path.relpath(path, self.base)
            try:
                shard = self._shard(name)
            except ArchiveError as error:
                problems.append(Skipped(to_id(name), str(error)))
                continue
            problems.extend(shard.problems)
            for id, (_, size) in shard.members.items():
                items.append(Item(id, size, *shard.state[1:]))
        return listing(items, problems, ())

    def read(self, id: str) -> bytes:
        """The bytes of a member; ArchiveError if it or its tar file is gone."""
        place = self._place(id)
        if place is not None:
            path, offset, size = place
            return read_file(path, id, offset, size)
        raise ArchiveError(f"{id} is no longer in {self.where}; {AGAIN}.")

    def has(self, id: str) -> bool:
        """Whether a member is there now."""
        try:
            return self._place(id) is not None
        except ArchiveError:
            return False

    def address(self, id: str) -> str:
        """The path of a tar file and of a member in it, for messages."""
        return printable(f"{self.base}/{from_id(id)}")

    def shards(self) -> list[str]:
        """The paths of the tar files that are there now."""
        return self._paths([])

    def _place(self, id: str) -> tuple[str, int, int] | None:
        """The tar file of a member, its offset there and its size."""
        parts = id.split("/")
        for end in range(1, len(parts)):
            name = from_id("/".join(parts[:end]))
            path = f"{self.base}/{name}"
            if Path(path).is_file():
                place = self._shard(name).members.get(id)
                if place is not None:
                    return path, *place
        return None

    def _paths(self, problems: list[Skipped]) -> list[str]:
        def note_failure(inside: str, error: OSError) -> None:
            problems.append(Skipped(to_id(inside), f"folder not listed: {cause(error)}"))

        return sorted({path for place in self.places for path in _expand(place, note_failure)})

    def _shard(self, name: str) -> _Shard:
        path = f"{self.base}/{name}"
        try:
            status = os.stat(path)  # noqa: PTH116
            state = state_of(status)
            with self.lock:
                shard = self.known.get(name)
                if shard is None or shard.state != state:
                    shard = self.known[name] = _headers(path, to_id(name), state)
        except (OSError, tarfile.TarError) as error:
            raise ArchiveError(
                f"{printable(path)} cannot be read as a plain tar file ({cause(error)}); if it is "
                "compressed, unpack it."
            ) from error
        return shard


def _headers(path: str, shard: str, state: tuple[int, int, int, int]) -> _Shard:
    with open_regular(path) as stream, tarfile.open(path, "r:", stream) as tar:
        return _Shard(state, *read_headers(tar, shard))


def read_headers(tar: tarfile.TarFile, shard: str) -> Members:
    """The images of an opened tar file, whose id is ``shard``."""
    members: dict[str, tuple[int, int]] = {}
    problems: dict[str, Skipped] = {}
    try:
        for member in tar:
            if not _is_wanted(member.name):
                continue
            id = f"{shard}/{to_id(posixpath.normpath(member.name).lstrip('/'))}"
            members.pop(id, None)
            problems.pop(id, None)
            if member.isreg() and not member.issparse():
                members[id] = (member.offset_data, member.size)
            elif not member.isdir():
                problems[id] = Skipped(id, f"{id} is a link or has holes, not a plain member")
    # A torn shard still gives the members before the tear.
    except (OSError, tarfile.TarError) as error:
        problems[shard] = Skipped(shard, f"{shard} is damaged or cut short ({cause(error)})")
    return Members(members, list(problems.values()))


def _is_wanted(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    return not last.startswith(".") and suffix_of(last) in SUFFIXES


def _base(place: str) -> str:
    parts = Path(place).parts
    fixed = next((i for i, part in enumerate(parts) if set(part) & set(WILD)), None)
    if fixed is not None and not Path(place).exists():
        return str(Path(*parts[:fixed]))
    return place if Path(place).is_dir() else str(Path(place).parent)


def _expand(place: str, note_failure: Callable[[str, OSError], None]) -> Iterator[str]:
    if Path(place).is_dir():
        found: Iterator[str] = (f"{place}/{path}" for path, _ in walk(place, note_failure))
    elif Path(place).is_file() or not set(place) & set(WILD):
        yield place
        return
    else:
        found = match_files(place, note_failure)
    yield from (path for path in found if path.endswith(".tar"))
