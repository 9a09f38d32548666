"""``manifest.json`` of a folder of results: what was made from what, under which settings.

Each result is recorded with digests of its files, and the record with one of its own, so that what
was damaged is seen and made anew, and nothing else is.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recoseg._version import VERSION
from recoseg.errors import ImageError, InputError
from recoseg.io import durable, images
from recoseg.runs.manifest import (
    BACKUP,
    FORMAT,
    MANIFEST,
    NAMES,
    recover,
    write,
)

SAVE_EVERY = 2.0
Entry = dict[str, Any]


class Record:
    """The manifest of a folder that is being filled, by the one writer who holds its lock."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        """Nothing is read or written yet."""
        self.out, self.path = out, out / MANIFEST
        self.settings = json.loads(json.dumps(settings))
        self.images: dict[str, Entry] = {}
        # Label maps of other settings that are still there, each with its names.
        self._others: dict[str, Entry] = {}
        self._tables: dict[str, str] = {}
        self._saved, self._took = time.monotonic(), 0.0

    def begin(self, planned: Mapping[str, str]) -> None:
        """Take over what is there and was made under the same settings.

        Args:
            planned: id of each image that is going to be segmented to its label map's path.

        Raises:
            InputError: label maps would stay whose indices ``names.json`` would tell no longer.
        """
        held, whole = recover(self.out)
        same = held.get("settings") == self.settings and held.get("recoseg") == VERSION
        names = held.get("settings", {}).get("names")
        others = dict(held.get("others", {}))
        if same:
            self.images = dict(held["images"])
        else:
            # Results of other settings are not deleted, only made again one by one.
            others |= {id: {**e, "names": names} for id, e in held["images"].items()}
        self._others = {id: e for id, e in others.items() if (self.out / e["labels"]).exists()}
        self._refuse_strangers(planned)
        if not whole:
            self._refuse_unknown(planned)
        self._tables = dict(held.get("tables", {})) if same else {}
        self._mend_tables()
        # At once, so that labels without a manifest are known to be somebody else's.
        self.save(whole=not (self.out / BACKUP).exists())

    def _refuse_strangers(self, planned: Mapping[str, str]) -> None:
        names = self.settings.get("names")
        others = self._others.items()
        if any(id not in planned and entry.get("names") != names for id, entry in others):
            raise InputError(
                f"{self.out} holds other images, cut up by other names; choose another folder."
            )

    def _refuse_unknown(self, planned: Mapping[str, str]) -> None:
        """The manifest is damaged: label maps of which nothing is known must be made again."""
        entries = (*self.images.values(), *self._others.values())
        known = {*planned.values(), *(entry["labels"] for entry in entries)}
        for path in sorted((self.out / "labels").rglob("*.png")):
            if path.relative_to(self.out).as_posix() not in known:
                raise InputError(
                    f"{self.path} is damaged, and {path} is of an image that was not named; "
                    "segment all images of the folder, or choose another one."
                )

    def _mend_tables(self) -> None:
        for name, text in self._tables.items():
            path = self.out / name
            with contextlib.suppress(OSError):
                if path.read_bytes() == text.encode():
                    continue
            durable.make_folder(path.parent)
            durable.write(path, text.encode())

    def note(self, id: str, entry: Entry) -> None:
        """Record a result, as ``make_entry`` or ``verify_entry`` gave it."""
        self.images[id] = entry
        self._others.pop(id, None)
        table = (self.out / entry["labels"]).parent / NAMES
        with contextlib.suppress(OSError):
            self._tables[table.relative_to(self.out).as_posix()] = table.read_text("utf-8")

    def save_now_and_then(self) -> None:
        """Write it if that was not done for a while; a large one takes a tenth of the time."""
        if time.monotonic() - self._saved >= max(SAVE_EVERY, 9 * self._took):
            self.save()

    def save(self, whole: bool = False) -> None:
        """Write it; ``whole`` also keeps a copy, for the case that it is damaged."""
        began = time.monotonic()
        data = {
            "format": FORMAT,
            "recoseg": VERSION,
            "settings": self.settings,
            "images": self.images,
            "others": self._others,
            "tables": self._tables,
        }
        write(self.out, data, whole)
        self._saved = time.monotonic()
        self._took = self._saved - began


def make_entry(out: Path, source: str, files: Iterable[Path], area: Mapping[str, float]) -> Entry:
    """What is recorded of a result: digest of the photo, files (labels, overlay, others), areas."""
    made = [path.relative_to(out).as_posix() for path in files]
    return {
        "sha256": source,
        "labels": made[0],
        "overlay": made[1],
        "area": dict(area),
        "digests": digest_files(out, [out / name for name in made]),
    }


def verify_entry(out: Path, entry: Entry, source: str) -> Entry | None:
    """An entry, if the photo, by its digest, and all results are as when it was recorded."""
    if source != entry["sha256"]:
        return None
    known = entry.get("digests")
    if known is None:  # recorded by an older version
        files = [out / entry["labels"], out / entry["overlay"]]
        if not all(map(_readable, files)):
            return None
        known = digest_files(out, files)
    same = digest_files(out, [out / name for name in known]) == known
    return {**entry, "digests": known} if same else None


def _readable(path: Path) -> bool:
    try:
        images.read(path)
    except ImageError:
        return False
    return True


def digest_files(out: Path, files: Iterable[Path]) -> dict[str, str]:
    """Path below ``out`` to the digest of each file that can be read."""
    found = {}
    for path in files:
        with contextlib.suppress(OSError):
            found[path.relative_to(out).as_posix()] = durable.digest_file(path)
    return found
