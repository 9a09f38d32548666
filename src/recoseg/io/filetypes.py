"""Kinds of files, by suffix, that are not readable images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import NamedTuple

from recoseg.io.images import printable
from recoseg.io.walking import open_regular


class Kind(NamedTuple):
    """Kind of file: singular, plural, whether it is a photo, and the remedy."""

    one: str
    many: str
    photo: bool
    remedy: str


_CONVERT = "convert them to JPEG first"
_KINDS = (
    (Kind("HEIC photo", "HEIC photos", True, _CONVERT), "heic heif hif"),
    (Kind("AVIF photo", "AVIF photos", True, _CONVERT), "avif avifs"),
    (Kind("JPEG 2000 or XL photo", "JPEG 2000 or XL photos", True, _CONVERT), "jp2 j2k jpx jxl"),
    (
        Kind("raw photo", "raw photos", True, _CONVERT),
        "3fr arw cr2 cr3 crw dcr dng erf iiq kdc mef mos mrw nef nrw orf pef raf raw rw2 rwl sr2 "
        "srf srw x3f",
    ),
    (
        Kind("PDF file", "PDF files", False, "export the pages as images first"),
        "pdf",
    ),
    (
        Kind("film", "films", False, "`recoseg video` segments a film"),
        "mp4 mov m4v avi mkv webm mpg mpeg mts m2ts 3gp wmv flv",
    ),
    (
        Kind("packed file", "packed files", False, "unpack them first"),
        "zip 7z rar gz tgz bz2 xz zst",
    ),
)
_BY_SUFFIX = {f".{suffix}": kind for kind, suffixes in _KINDS for suffix in suffixes.split()}
_SHOWN = 2


def count_suffixes(names: Iterable[str]) -> Counter[str]:
    """Count file names by lower-case suffix, dot included."""
    return Counter(PurePath(name).suffix.lower() for name in names)


def describe_counts(found: Mapping[str, int]) -> str:
    """Summarise files by kind, the commonest first: ``"12 PDF files and 1 other"``.

    Args:
        found: suffix to number of files.
    """
    counts = _by_kind(found)
    if not counts:
        return "no file at all"
    parts = [_describe_count(kind, count) for kind, count in counts.most_common(_SHOWN)]
    rest = counts.total() - sum(count for _, count in counts.most_common(_SHOWN))
    if rest:
        parts.append("1 other" if rest == 1 else f"{rest:,} others")
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def remedy(found: Mapping[str, int]) -> str | None:
    """The remedy for the commonest kind that has one; None without any."""
    known = [kind for kind, _ in _by_kind(found).most_common() if isinstance(kind, Kind)]
    return known[0].remedy if known else None


def unread_note(found: Mapping[str, int]) -> str | None:
    """A note on photos in unreadable formats; None without any."""
    photos = {
        suffix: count
        for suffix, count in found.items()
        if suffix in _BY_SUFFIX and _BY_SUFFIX[suffix].photo
    }
    return f"{describe_counts(photos)} cannot be read; {_CONVERT}" if photos else None


def is_results_folder(folder: str | PurePath) -> bool:
    """Whether a folder holds results of recoseg, which are no input photos."""
    try:
        with open_regular(Path(folder) / "manifest.json") as stream:
            return b'"recoseg-segmentation/' in stream.read(200)
    except OSError:
        return False


def _by_kind(found: Mapping[str, int]) -> Counter[Kind | str]:
    counts: Counter[Kind | str] = Counter()
    for suffix, count in found.items():
        counts[_BY_SUFFIX.get(suffix, suffix)] += count
    return counts


def _describe_count(kind: Kind | str, count: int) -> str:
    if isinstance(kind, Kind):
        return f"{count:,} {kind.one if count == 1 else kind.many}"
    named = f"{printable(kind)} file" if kind else "file without suffix"
    if count == 1:
        return f"1 {named}"
    return f"{count:,} {named}s" if kind else f"{count:,} files without suffix"
