"""Which images a user means by files, folders, patterns and URLs, and how results are called."""

from __future__ import annotations

import glob
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from recoseg.errors import ArchiveError, ImageError, InputError
from recoseg.io import filetypes
from recoseg.io.archive import Archive
from recoseg.io.durable import MAX_NAME
from recoseg.io.images import SUFFIXES, printable
from recoseg.io.remote import is_url
from recoseg.io.stored import Photo, list_stored
from recoseg.io.walking import match_files, walk

# Bytes of a result's name without its suffix.
LONGEST = 240


@dataclass(frozen=True)
class InputImage:
    """One image to segment.

    Attributes:
        id: its path below the folder that was given, with forward slashes.
        source: where it lies: the path of a file, or an image behind a URL or in a tar file.
        stem: the name of its results, below ``labels/`` and ``overlays/``, without suffix.
    """

    id: str
    source: Photo
    stem: str

    @property
    def path(self) -> Path:
        """The file; InputError if it has none of its own here."""
        if not isinstance(self.source, Path):
            raise InputError(
                f"{self.source} is no file of its own on this machine, which is needed here; copy "
                "the photos into a folder."
            )
        return self.source


def gather(
    inputs: Sequence[str | Path],
    leave_out: Path | None = None,
    others: Counter[str] | None = None,
    unlisted: list[str] | None = None,
    copies: Path | None = None,
) -> list[InputImage]:
    """The images of files, folders (searched through), patterns and URLs, each once.

    Args:
        inputs: paths or patterns, in which ``**`` goes down into folders, and URLs of images or
            folders that fsspec opens (``"s3://bucket/photos"``). Tar files are read in place; so
            are those of a folder without images.
        leave_out: a folder that is not searched: the results of an earlier run. Folders of results
            below the one given are not searched either.
        others: counts, by suffix, the files that were passed over.
        unlisted: takes sentences on folders and tar files that could not be searched, and why.
        copies: a folder that keeps what was read from URLs, so that it is fetched once; None to
            fetch an image each time it is read.

    Raises:
        ImageError: a path does not exist.
        ArchiveError: a folder, pattern or URL holds no image, or a URL cannot be opened.
        InputError: two images would be written under one name, or all lie in ``leave_out``.
    """
    away = leave_out.resolve() if leave_out is not None else None
    passed = Counter[str]() if others is None else others
    look = _Look(passed, [] if unlisted is None else unlisted, copies)
    sources: dict[Photo, str] = {}
    for given in inputs:
        for name, photo in look.at(given):
            place = photo.resolve() if isinstance(photo, Path) else photo
            if away is None or not isinstance(place, Path) or not place.is_relative_to(away):
                sources.setdefault(place, name)
    if not sources and leave_out is not None:
        raise InputError(
            f"all images lie in {leave_out}, the folder for the results; choose another one for "
            f"them, such as {leave_out / 'segmented'}."
        )
    taken: dict[str, Photo] = {}
    for source, name in sources.items():
        if taken.setdefault(name, source) != source:
            raise InputError(
                f"{taken[name]} and {source} would be written under one name; give the folder "
                "above them, or segment them into separate folders."
            )
    stems = _stems(sorted(taken))
    return [InputImage(name, taken[name], stem) for name, stem in stems.items()]


@dataclass(frozen=True)
class _Look:
    """Looks for images; notes what it passes over and what it cannot search."""

    others: Counter[str]
    notes: list[str]
    copies: Path | None

    def at(self, given: str | Path) -> Iterable[tuple[str, Photo]]:
        """The images that a text or path means, named below their folder."""
        if isinstance(given, str) and is_url(given):
            scheme, _, path = given.partition("://")
            if scheme not in ("file", "local"):
                return list_stored(Archive.open(given), self.notes.append, self.copies)
            given = path
        given = Path(given)
        if given.is_dir():
            return self._folder(given)
        wild = glob.has_magic(str(given))
        if given.suffix == ".tar" and (given.is_file() or wild):
            return list_stored(Archive.open(given), self.notes.append)
        if given.is_file():
            return [(given.name, given)]
        if wild:
            return self._pattern(given)
        raise ImageError(f"{given} does not exist; give an image, a folder, a pattern or a URL.")

    def _folder(self, folder: Path) -> Iterable[tuple[str, Photo]]:
        walked = walk(
            str(folder),
            self._note_unsearched,
            hidden=True,
            enter=lambda path: not filetypes.is_results_folder(path),
        )
        files = _plain(sorted(folder / path for path, _ in walked))
        suffixes = {file.suffix.lower() for file in files}
        if ".tar" in suffixes and not suffixes & SUFFIXES:
            return list_stored(Archive.open(folder), self.notes.append)
        return self._images(folder, folder, files)

    def _pattern(self, given: Path) -> Iterable[tuple[str, Photo]]:
        fixed = next(part for part in given.parents if not glob.has_magic(str(part)))
        below = len(fixed.absolute().parts)
        found = match_files(str(given.absolute()), self._note_unsearched)
        files = _plain(sorted(fixed.joinpath(*Path(path).parts[below:]) for path in found))
        return self._images(given, fixed, files)

    def _images(self, given: Path, root: Path, files: Sequence[Path]) -> list[tuple[str, Photo]]:
        images = [path for path in files if path.suffix.lower() in SUFFIXES]
        passed = filetypes.count_suffixes(
            path.name for path in files if path.suffix.lower() not in SUFFIXES
        )
        if not images:
            remedy = filetypes.remedy(passed) or "its files need a suffix such as .jpg"
            raise ArchiveError(
                f"{given} holds no image ({filetypes.describe_counts(passed)}); {remedy}."
            )
        self.others.update(passed)
        return [(path.relative_to(root).as_posix(), path) for path in images]

    def _note_unsearched(self, inside: str, error: OSError) -> None:
        place = printable(inside)[-200:]
        self.notes.append(f"this folder was not searched: {place} ({error.strerror})")


def _plain(found: Iterable[Path]) -> list[Path]:
    return [path for path in found if not path.name.startswith(".") and path.is_file()]


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
    folders = [_cut(name, name, MAX_NAME) for name in stem.parent.parts]
    return str(PurePosixPath(*folders, _cut(stem.name, str(stem), LONGEST)))


def _cut(name: str, known: str, longest: int) -> str:
    """A name, or if it has more bytes its beginning and a digest of ``known``."""
    if len(name.encode("utf-8", "surrogateescape")) <= longest:
        return name
    digest = hashlib.sha256(known.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return f"{name[: LONGEST // 5]}~{digest}"
