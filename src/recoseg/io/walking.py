"""Folders walked through without recursion, each entered once, and only regular files opened."""

from __future__ import annotations

import errno
import fnmatch
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

Entry = os.DirEntry[str]


def walk(
    root: str,
    failed: Callable[[str, OSError], None],
    *,
    hidden: bool = False,
    enter: Callable[[str], bool] = lambda path: True,
) -> Iterator[tuple[str, Entry]]:
    """(path below ``root``, entry) of everything that is no folder, in the order of names.

    Links are followed; a folder that can be reached in several ways (known by device and inode) is
    entered once, by its real place where that lies below the root, so loops end.

    Args:
        root: a folder.
        failed: is told the path below the root of a folder that cannot be listed, and why.
        hidden: enter and list what begins with a dot, too.
        enter: whether a folder below the root, given by its path, is to be entered.
    """
    seen: set[tuple[int, int]] = set()
    real, linked = deque([""]), deque[str]()
    while real or linked:
        inside = real.popleft() if real else linked.popleft()
        try:
            found = _entries(f"{root}/{inside}", seen, bool(inside), enter)
        except OSError as error:
            failed(inside, error)
            continue
        for entry in found:
            if entry.name.startswith(".") and not hidden:
                continue
            path = f"{inside}{entry.name}"
            if is_folder(entry):
                (linked if entry.is_symlink() else real).append(f"{path}/")
            else:
                yield path, entry


def _entries(
    path: str, seen: set[tuple[int, int]], below: bool, enter: Callable[[str], bool]
) -> list[Entry]:
    status = os.stat(path)  # noqa: PTH116
    place = (status.st_dev, status.st_ino)
    if place in seen or (below and not enter(path)):
        return []
    seen.add(place)
    with os.scandir(path) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def is_folder(entry: Entry) -> bool:
    """Whether an entry is a folder or leads to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def match_files(pattern: str, failed: Callable[[str, OSError], None]) -> Iterator[str]:
    """Paths of files that fit an absolute pattern, in which ``**`` stands for any folders."""
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if _is_wild(part))
    root = str(Path(*parts[:fixed]))
    deep = "**" in parts
    # Without ** nothing deeper than the pattern can fit.
    most = len(Path(root).parts) + len(parts) - fixed
    if not Path(root).is_dir():
        return

    def enter(path: str) -> bool:
        return deep or len(Path(path).parts) < most

    for path, _ in walk(root, failed, enter=enter):
        if fits(path.split("/"), parts[fixed:]):
            yield os.path.join(root, path)  # noqa: PTH118


def fits(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the parts of a path fit those of a pattern."""

    def pass_stars(places: set[int]) -> set[int]:
        for place in range(len(parts)):
            if place in places and parts[place] == "**":
                places.add(place + 1)
        return places

    places = pass_stars({0})
    for name in names:
        after = set[int]()
        for place in places - {len(parts)}:
            if parts[place] == "**":
                after.add(place)
            elif fnmatch.fnmatchcase(name, parts[place]):
                after.add(place + 1)
        places = pass_stars(after)
    return len(parts) in places


def _is_wild(part: str) -> bool:
    return bool(set(part) & set("*?["))


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file for reading; a pipe or a device would be waited for without end.

    Raises:
        OSError: it cannot be opened, or it is something else.
    """
    # Path.open takes no opener.
    stream = open(path, "rb", opener=_open_at_once)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return stream


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_regular(path: str | Path) -> bytes:
    """All bytes of a regular file; OSError as ``open_regular``."""
    with open_regular(path) as stream:
        return stream.read()
