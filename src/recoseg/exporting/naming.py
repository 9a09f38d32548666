"""Unique, format-safe names of classes and files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

LONGEST = 120


class Unique:
    """Cleans names and keeps them unique, ignoring case."""

    def __init__(
        self, clean: Callable[[str], str], changed: dict[str, str], taken: Iterable[str] = ()
    ) -> None:
        """Clean by ``clean``, note new names in ``changed``, and give nobody those ``taken``."""
        self._clean, self.changed = clean, changed
        self._taken = {name.casefold() for name in taken}

    def __call__(self, text: str) -> str:
        """The name of ``text``; ``changed`` remembers it if it is another."""
        base = self._clean(text)
        name, count = base, 1
        while name.casefold() in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name.casefold())
        if name != text:
            self.changed[text] = name
        return name


class Stems(Unique):
    """Unique file stems of images; a changed suffix alone is no renaming."""

    def __call__(self, text: str) -> str:
        """The name of the image ``text``."""
        name = super().__call__(text)
        if name == str(PurePosixPath(text).with_suffix("")):
            del self.changed[text]
        return name


def file_stem(id: str) -> str:
    """An image's path as one plain file name without suffix, of ASCII letters, digits, ``._-``."""
    stem = str(PurePosixPath(id).with_suffix(""))
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "_", plain).strip(".-_")[:LONGEST] or "image"


def path_stem(id: str) -> str:
    """An image's path without suffix on one line, folders, spaces and all; never a comment."""
    stem = line(str(PurePosixPath(id).with_suffix("")))
    return "_" + stem[1:] if stem.startswith("#") else stem


def line(text: str) -> str:
    """``text`` on one line, without control characters or blanks at its ends."""
    kept = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(kept.split()) or "_"


def map_label(text: str) -> str:
    """A class's name where ``:``, ``,`` and ``#`` have a meaning."""
    return re.sub(r"[:,#]", "_", line(text))
