"""Folders that may be indexed, confined to the allowed roots."""

from __future__ import annotations

import hashlib
import os
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from recoseg.io.images import SUFFIXES, printable
from recoseg.io.walking import is_folder
from recoseg.web.failures import Missing, Refused, Unprocessable

_BAD = re.compile(r"[\x00-\x1f\x7f\\]")


def path_id(kind: str, path: Path) -> str:
    """An id for requests, the same for the same path; it begins with the letter ``kind``."""
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()
    return kind + digest[:12]


class AllowedFolders:
    """Folders by id; every path that a request names lies below one of them."""

    def __init__(self, given: tuple[Path, ...]) -> None:
        """Allow these and all below them."""
        self._real = {f"r{number}": path.resolve() for number, path in enumerate(given)}

    def names(self) -> dict[str, str]:
        """Id to the folder's name."""
        return {id: printable(path.name or str(path)) for id, path in self._real.items()}

    def resolve(self, root: str, path: str) -> Path:
        """The real folder of a path below a root.

        Args:
            root: a root's id.
            path: parts with ``/`` between them; empty for the root itself.

        Raises:
            Missing: no such root or folder.
            Unprocessable: an absolute path, one with ``..``, or one that links out of the root.
        """
        base = self._real.get(root)
        if base is None:
            raise Missing("there is no such root; see /api/roots.")
        parts = path.split("/") if path else []
        if _BAD.search(path) or any(part in ("", ".", "..") for part in parts):
            raise Unprocessable("a path has plain names with / between them, without '..'.")
        try:
            found = base.joinpath(*parts).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            raise Missing(f"there is no folder {path!r} below this root.") from None
        if not found.is_relative_to(base):
            raise Unprocessable(f"{path!r} leads out of the folders that were allowed.")
        if not found.is_dir():
            raise Missing(f"{path!r} is not a folder.")
        return found

    def below(self, root: str, path: str) -> tuple[list[str], int]:
        """The folders in a folder, and how many images lie directly in it."""
        folder = self.resolve(root, path)
        base = self._real[root]
        folders, photos = [], 0
        for entry in _list_entries(folder):
            if _links_out(entry, base):
                continue
            if is_folder(entry):
                folders.append(entry.name)
            elif Path(entry.name).suffix.lower() in SUFFIXES:
                photos += 1
        return sorted(folders), photos

    def check_links(self, root: str, folder: Path) -> None:
        """Refuse a folder if a link in it, or in what it links to, leads out of its root.

        An archive follows links, so each one that it would meet is looked at before.

        Raises:
            Refused: names the first such link.
        """
        base = self._real[root]
        seen: set[Path] = set()
        waiting = deque([folder])
        while waiting:
            here = waiting.popleft()
            if here in seen:
                continue
            seen.add(here)
            for entry in _list_entries(here):
                if _links_out(entry, base):
                    name = printable(os.path.relpath(entry.path, base))
                    raise Refused(
                        f"{name} links out of the folders that were allowed; remove the link, or "
                        "start the server with --root for the folder that it leads to."
                    )
                if is_folder(entry):
                    waiting.append(Path(entry.path).resolve())


def _list_entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return


def _links_out(entry: os.DirEntry[str], base: Path) -> bool:
    if not entry.is_symlink():
        return False
    try:
        return not Path(entry.path).resolve(strict=True).is_relative_to(base)
    except (OSError, RuntimeError):  # broken, or in a circle: it leads nowhere
        return False
