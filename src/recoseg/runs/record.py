"""``manifest.json`` of a folder of results: what was made from what, under which settings.

Each result is recorded with digests of its files, and the record with one of its own, so that what
was damaged is seen and made anew, and nothing else is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from recoseg._version import VERSION
from recoseg.errors import ImageError, InputError
from recoseg.io import durable, images
from recoseg.runs.identity import file_digest

FORMAT = "recoseg-segmentation/1"
MANIFEST = "manifest.json"
BACKUP = ".manifest.backup"
LOCK = ".lock"
NAMES = "names.json"
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
        held, whole = held_in(self.out)
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

    def kept(self, id: str, source: Path) -> Entry | None:
        """What is recorded of an image, if the photo and all its results are as they were then."""
        entry = self.images.get(id)
        if entry is None:
            return None
        try:
            if file_digest(source) != entry["sha256"]:
                return None
        except OSError:
            return None
        known = entry.get("digests")
        if known is None:  # recorded by an older version
            files = [self.out / entry["labels"], self.out / entry["overlay"]]
            if not all(map(_readable, files)):
                return None
            entry["digests"] = known = digests(self.out, files)
        return entry if digests(self.out, [self.out / name for name in known]) == known else None

    def note(self, id: str, source: str, files: Iterable[Path], area: Mapping[str, float]) -> None:
        """Record a result: digest of the photo, files (labels, overlay, others), and areas."""
        made = [path.relative_to(self.out).as_posix() for path in files]
        self.images[id] = {
            "sha256": source,
            "labels": made[0],
            "overlay": made[1],
            "area": dict(area),
            "digests": digests(self.out, [self.out / name for name in made]),
        }
        self._others.pop(id, None)
        table = (self.out / made[0]).parent / NAMES
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


def write(out: Path, data: Mapping[str, Any], whole: bool) -> None:
    """Write a manifest with its digest; ``whole`` also keeps a copy."""
    text = json.dumps({**data, "digest": _digest(data)}, indent=1).encode()
    durable.write(out / MANIFEST, text)
    if whole:
        durable.write(out / BACKUP, text)


def digests(out: Path, files: Iterable[Path]) -> dict[str, str]:
    """Path below ``out`` to the digest of each file that can be read."""
    found = {}
    for path in files:
        with contextlib.suppress(OSError):
            found[path.relative_to(out).as_posix()] = file_digest(path)
    return found


def check_ours(out: Path) -> None:
    """InputError unless a folder is empty, ours, or to be made."""
    if (out / MANIFEST).exists():
        held_in(out)
        return
    for folder in (out / "labels", out / "overlays"):
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder} holds files of something else; choose another folder.")


class LabelFile(NamedTuple):
    """An indexed PNG of labels, and the digest that it had when it was recorded, if known."""

    path: Path
    digest: str | None

    def check(self) -> None:
        """InputError if it is missing, or not what it was."""
        if not self.path.is_file():
            raise InputError(f"{self.path} is missing; run `recoseg segment` again.")
        if self.digest is not None and file_digest(self.path) != self.digest:
            raise InputError(f"{self.path} is damaged; run `recoseg segment` again.")


def finished(out: Path) -> dict[str, LabelFile]:
    """Image id to its labels, of all that a folder's manifest records."""
    entries = read(out)["images"].items()
    return {
        id: LabelFile(out / e["labels"], e.get("digests", {}).get(e["labels"])) for id, e in entries
    }


def read(out: Path) -> dict[str, Any]:
    """The manifest of a folder of results; InputError if it is damaged or something else."""
    held = _parsed(out / MANIFEST)
    if held is None:
        if _is_ours(out):
            raise InputError(f"{out / MANIFEST} is damaged; run `recoseg segment` again.")
        raise InputError(
            f"{out / MANIFEST} is not a record of segmented images; choose another folder."
        )
    return held


def held_in(out: Path) -> tuple[dict[str, Any], bool]:
    """What is recorded, and whether that is all; InputError if the folder is something else."""
    if not (out / MANIFEST).exists():
        return {"images": {}}, True
    held = _parsed(out / MANIFEST)
    if held is not None:
        return held, True
    if not _is_ours(out):
        return read(out), True
    return _parsed(out / BACKUP) or {"images": {}}, False


def _is_ours(out: Path) -> bool:
    """Whether a folder with a damaged manifest was filled by us."""
    with contextlib.suppress(OSError), (out / MANIFEST).open("rb") as stream:
        if f'"{FORMAT}"'.encode() in stream.read(200):
            return True
    return (out / LOCK).is_file() and (_parsed(out / BACKUP) is not None)


def _parsed(path: Path) -> dict[str, Any] | None:
    """The manifest in a file; None if that is damaged or something else."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        digest = held.pop("digest", None)  # absent from those of older versions and of films
        if held["format"] != FORMAT or (digest is not None and digest != _digest(held)):
            return None
        entries = [*held["images"].values(), *held.get("others", {}).values()]
        return held if all(map(_is_entry, entries)) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _is_entry(entry: Any) -> bool:
    texts = [entry["sha256"], entry["labels"], entry["overlay"]]
    paths = [PurePosixPath(text) for text in texts[1:]]
    inside = not any(path.is_absolute() or ".." in path.parts for path in paths)
    return inside and isinstance(entry["area"], dict) and all(isinstance(t, str) for t in texts)


def _readable(path: Path) -> bool:
    try:
        images.read(path)
    except ImageError:
        return False
    return True


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
