"""Which images a user means by files, folders and patterns, and what their results are called."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from recoseg.errors import ArchiveError, ImageError, InputError
from recoseg.images import SUFFIXES


@dataclass(frozen=True)
class Job:
    """One image to segment.

    Attributes:
        id: its path below the folder that was given, with forward slashes.
        source: where it lies.
        stem: the name of its results, below ``labels/`` and ``overlays/``, without suffix.
    """

    id: str
    source: Path
    stem: str


def gather(inputs: Sequence[str | Path], leave_out: Path | None = None) -> list[Job]:
    """The images of files, folders (searched through) and glob patterns, each once.

    Args:
        inputs: paths or patterns; ``**`` in a pattern goes down into folders.
        leave_out: a folder that is not searched: the results of an earlier run.

    Raises:
        ImageError: a path does not exist.
        ArchiveError: a folder or pattern holds no image.
        InputError: two images would be written under one name.
    """
    away = leave_out.resolve() if leave_out is not None else None
    sources: dict[Path, str] = {}
    for given in inputs:
        root, paths = _expand(Path(given))
        for path in paths:
            resolved = path.resolve()
            if away is None or not resolved.is_relative_to(away) or resolved == root.resolve():
                sources.setdefault(resolved, path.relative_to(root).as_posix())
    taken: dict[str, Path] = {}
    for source, name in sources.items():
        if taken.setdefault(name, source) != source:
            raise InputError(
                f"{taken[name]} and {source} would be written under one name; give the folder "
                "above them, or segment them into separate folders."
            )
    stems = _stems(sorted(taken))
    return [Job(name, taken[name], stem) for name, stem in stems.items()]


def _expand(given: Path) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the image files."""
    if given.is_dir():
        return given, _images(given, sorted(given.rglob("*")))
    if given.is_file():
        return given.parent, [given]
    if glob.has_magic(str(given)):
        fixed = next(part for part in given.parents if not glob.has_magic(str(part)))
        return fixed, _images(given, sorted(fixed.glob(str(given.relative_to(fixed)))))
    raise ImageError(f"{given} does not exist; give an image, a folder or a pattern.")


def _images(given: Path, found: Sequence[Path]) -> list[Path]:
    images = [
        path
        for path in found
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not images:
        raise ArchiveError(f"{given} holds no image; its files need a suffix such as .jpg.")
    return images


def _stems(names: Sequence[str]) -> dict[str, str]:
    """Names of results: without suffix, unless two would be one (a.jpg and a.png, say)."""
    stems = {name: str(PurePosixPath(name).with_suffix("")) for name in names}
    while True:
        shared = {stem for stem, count in Counter(stems.values()).items() if count > 1}
        clashing = [name for name, stem in stems.items() if stem in shared and stem != name]
        if not clashing:
            return stems
        stems.update((name, name) for name in clashing)
