"""Which images a user means by files, folders and patterns, and what their results are called."""

from __future__ import annotations

import glob
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from recoseg.errors import ArchiveError, ImageError, InputError
from recoseg.io import filetypes
from recoseg.io.images import SUFFIXES, printable
from recoseg.io.walking import matching, walk

# Bytes of a result's name without its suffix.
LONGEST = 240


@dataclass(frozen=True)
class InputImage:
    """One image to segment.

    Attributes:
        id: its path below the folder that was given, with forward slashes.
        source: where it lies.
        stem: the name of its results, below ``labels/`` and ``overlays/``, without suffix.
    """

    id: str
    source: Path
    stem: str


def gather(
    inputs: Sequence[str | Path],
    leave_out: Path | None = None,
    others: Counter[str] | None = None,
    unlisted: list[str] | None = None,
) -> list[InputImage]:
    """The images of files, folders (searched through) and glob patterns, each once.

    Args:
        inputs: paths or patterns; ``**`` in a pattern goes down into folders.
        leave_out: a folder that is not searched: the results of an earlier run. Folders of results
            below the one given are not searched either.
        others: counts, by suffix, the files that were passed over.
        unlisted: takes the folders that could not be searched, and why.

    Raises:
        ImageError: a path does not exist.
        ArchiveError: a folder or pattern holds no image.
        InputError: two images would be written under one name, or all lie in ``leave_out``.
    """
    away = leave_out.resolve() if leave_out is not None else None
    sources: dict[Path, str] = {}
    passed = Counter[str]() if others is None else others

    def failed(inside: str, error: OSError) -> None:
        if unlisted is not None:
            unlisted.append(f"{printable(inside)[-200:]} ({error.strerror})")

    for given in inputs:
        root, paths = _expand(Path(given), passed, failed)
        for path in paths:
            resolved = path.resolve()
            if away is None or not resolved.is_relative_to(away):
                sources.setdefault(resolved, path.relative_to(root).as_posix())
    if not sources and leave_out is not None:
        raise InputError(
            f"all images lie in {leave_out}, the folder for the results; choose another one for "
            f"them, such as {leave_out / 'segmented'}."
        )
    taken: dict[str, Path] = {}
    for source, name in sources.items():
        if taken.setdefault(name, source) != source:
            raise InputError(
                f"{taken[name]} and {source} would be written under one name; give the folder "
                "above them, or segment them into separate folders."
            )
    stems = _stems(sorted(taken))
    return [InputImage(name, taken[name], stem) for name, stem in stems.items()]


def _expand(
    given: Path, others: Counter[str], failed: Callable[[str, OSError], None]
) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the image files."""
    if given.is_dir():
        walked = walk(
            str(given), failed, hidden=True, enter=lambda p: not filetypes.is_results_folder(p)
        )
        return given, _images(given, sorted(given / path for path, _ in walked), others)
    if given.is_file():
        return given.parent, [given]
    if glob.has_magic(str(given)):
        fixed = next(part for part in given.parents if not glob.has_magic(str(part)))
        below = len(fixed.absolute().parts)
        names = [Path(path).parts[below:] for path in matching(str(given.absolute()), failed)]
        return fixed, _images(given, sorted(fixed.joinpath(*parts) for parts in names), others)
    raise ImageError(f"{given} does not exist; give an image, a folder or a pattern.")


def _images(given: Path, found: Iterable[Path], others: Counter[str]) -> list[Path]:
    files = [path for path in found if not path.name.startswith(".") and path.is_file()]
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    if len(images) == len(files) > 0:
        return images
    passed = filetypes.count_suffixes(
        path.name for path in files if path.suffix.lower() not in SUFFIXES
    )
    if not images:
        remedy = filetypes.remedy(passed) or "its files need a suffix such as .jpg"
        raise ArchiveError(
            f"{given} holds no image ({filetypes.describe_counts(passed)}); {remedy}."
        )
    others.update(passed)
    return images


def _stems(names: Sequence[str]) -> dict[str, str]:
    """Names of results: without suffix, unless two would be one (a.jpg and a.png, say)."""
    stems = {name: _short(PurePosixPath(name).with_suffix("")) for name in names}
    while True:
        shared = {stem for stem, count in Counter(stems.values()).items() if count > 1}
        clashing = [
            name
            for name, stem in stems.items()
            if stem in shared and stem != _short(PurePosixPath(name))
        ]
        if not clashing:
            return stems
        stems.update((name, _short(PurePosixPath(name))) for name in clashing)


def _short(stem: PurePosixPath) -> str:
    """The stem, whose last part leaves room for the suffix of any result."""
    if len(stem.name.encode("utf-8", "surrogateescape")) <= LONGEST:
        return str(stem)
    digest = hashlib.sha256(str(stem).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return str(stem.with_name(f"{stem.name[: LONGEST // 5]}~{digest}"))
