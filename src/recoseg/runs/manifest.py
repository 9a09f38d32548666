"""``manifest.json`` of a folder of results, as a file: what it says, and whether it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from recoseg.errors import InputError
from recoseg.io import durable
from recoseg.io.walking import open_regular, read_regular

FORMAT = "recoseg-segmentation/1"
MANIFEST = "manifest.json"
BACKUP = ".manifest.backup"
LOCK = ".lock"
NAMES = "names.json"


def write(out: Path, data: Mapping[str, Any], whole: bool) -> None:
    """Write a manifest with its digest; ``whole`` also keeps a copy."""
    text = json.dumps({**data, "digest": _digest(data)}, indent=1).encode()
    durable.write(out / MANIFEST, text)
    if whole:
        durable.write(out / BACKUP, text)


def check_ours(out: Path) -> None:
    """InputError unless a folder is empty, ours, or to be made."""
    if (out / MANIFEST).exists():
        recover(out)
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
        if self.digest is not None and durable.digest_file(self.path) != self.digest:
            raise InputError(f"{self.path} is damaged; run `recoseg segment` again.")


def list_finished(out: Path) -> dict[str, LabelFile]:
    """Image id to its labels, of all that a folder's manifest records."""
    entries = read(out)["images"].items()
    return {
        id: LabelFile(out / e["labels"], e.get("digests", {}).get(e["labels"])) for id, e in entries
    }


def read(out: Path) -> dict[str, Any]:
    """The manifest of a folder of results; InputError if it is damaged or something else."""
    held = _parse(out / MANIFEST)
    if held is None:
        if _is_ours(out):
            raise InputError(f"{out / MANIFEST} is damaged; run `recoseg segment` again.")
        raise InputError(
            f"{out / MANIFEST} is not a record of segmented images; choose another folder."
        )
    return held


def recover(out: Path) -> tuple[dict[str, Any], bool]:
    """The manifest, and whether it is complete: a damaged one is read from its copy, if any."""
    if not (out / MANIFEST).exists():
        return {"images": {}}, True
    held = _parse(out / MANIFEST)
    if held is not None:
        return held, True
    if not _is_ours(out):
        return read(out), True
    return _parse(out / BACKUP) or {"images": {}}, False


def _is_ours(out: Path) -> bool:
    """Whether a folder with a damaged manifest was filled by us."""
    with contextlib.suppress(OSError), open_regular(out / MANIFEST) as stream:
        if f'"{FORMAT}"'.encode() in stream.read(200):
            return True
    return (out / LOCK).is_file() and (_parse(out / BACKUP) is not None)


def _parse(path: Path) -> dict[str, Any] | None:
    """The manifest in a file; None if that is damaged or something else."""
    try:
        held = json.loads(read_regular(path))
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


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
