"""Archives: ordered images of a folder, a list file or tar shards."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from recoseg.errors import ArchiveError
from recoseg.io import filetypes, images, imported, remote, rows
from recoseg.io.images import RGB
from recoseg.io.named_files import FileListSource
from recoseg.io.sources import FolderSource, ImageSource, Item, Listing, Skipped
from recoseg.io.tars import WILD, TarSource

__all__ = ["Archive", "Item", "Skipped"]

LISTS = (".txt", ".lst")
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")


class Archive:
    """Images with stable ids, in the order of their ids.

    Iterating gives ``Item(id, size, mtime_ns)``. The files are listed once, when first asked for;
    ``relist`` looks again. Reading is safe from several threads.
    """

    def __init__(self, source: ImageSource) -> None:
        self._source = source

    @classmethod
    def open(cls, source: str | Path | Sequence[str | Path] | Archive) -> Archive:
        """Open a folder, list file, tar shards or sequence of files, and list its images.

        Args:
            source: a folder (searched recursively; if it holds no image files but tar files,
                those), a list file (``.txt`` or ``.lst``), a ``.tar`` file, a pattern of tar
                files (``"shards/*.tar"``), a URL of a folder or of tar files that fsspec opens
                (``"s3://bucket/photos"``), or a sequence of image files or of tar files.

        Raises:
            ArchiveError: there is no such thing, or no image in it.
        """
        if isinstance(source, Archive):
            return source
        if isinstance(source, str) and remote.is_url(source):
            archive = cls(remote.open_url(source))
        elif isinstance(source, str | Path):
            archive = _one(_absolute(source))
        else:
            archive = cls(_several([_absolute(path) for path in source]))
        return archive.require_images()

    @classmethod
    def reopen(cls, description: Mapping[str, Any]) -> Archive:
        """Recreate the archive of a ``describe`` result; files are listed when first needed."""
        kind = description.get("kind")
        if kind == "folder":
            return cls(FolderSource(_path_of(description)))
        if kind == "list":
            return cls(FileListSource(list_file=_path_of(description)))
        if kind in remote.KINDS:
            make = remote.RemoteFolder if kind == remote.KINDS[0] else remote.RemoteTars
            return cls(make(_path_of(description)))
        if kind == rows.KIND:
            return cls(rows.RowSource(*_rows_of(description)))
        if kind == imported.KIND:
            inner = description.get("photos")
            photos = cls.reopen(inner).reader if isinstance(inner, Mapping) else None
            form = str(description.get("form"))
            return cls(imported.ImportedSource(form, _path_of(description), photos))
        paths = description.get("paths")
        if kind not in ("files", "tar") or not isinstance(paths, list):
            raise ArchiveError(f"no archive of kind {kind!r} is known; upgrade recoseg.")
        return cls(TarSource(paths) if kind == "tar" else FileListSource(paths))

    def describe(self) -> dict[str, Any]:
        """A JSON-serialisable description with absolute paths, for ``reopen``."""
        return self._source.describe()

    def relist(self) -> Archive:
        """A copy whose files are listed again."""
        return Archive(self._source)

    def require_images(self) -> Archive:
        """This archive, or an ArchiveError if it holds no image (a drive not mounted, perhaps)."""
        if not len(self):
            held = self._listing.others
            first = self.problems[0].reason if self.problems else filetypes.describe_counts(held)
            remedy = filetypes.remedy(held) or (
                "name a folder, a list file or tar shards with "
                f"{', '.join(sorted(images.SUFFIXES))} files"
            )
            raise ArchiveError(f"{self.source} holds no image ({first}); {remedy}.")
        return self

    @property
    def source(self) -> str:
        """The archive's path, for messages."""
        return self._source.where

    @property
    def reader(self) -> ImageSource:
        """What lists and reads the files."""
        return self._source

    @property
    def problems(self) -> tuple[Skipped, ...]:
        """Files and folders that look like images but cannot be listed, with reasons."""
        return self._listing.problems

    @property
    def unread_note(self) -> str | None:
        """A note on photos in formats that are not read (HEIC, raw); None without any."""
        return filetypes.unread_note(self._listing.others)

    def __len__(self) -> int:
        return len(self._listing.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._listing.items)

    def __contains__(self, id: object) -> bool:
        return id in self._ids

    @property
    def imported(self) -> bool:
        """Whether its vectors were imported, so that some photos may be beyond reach."""
        return isinstance(self._source, imported.ImportedSource)

    def has(self, id: str) -> bool:
        """Whether an image can be expected to be read; looked at for imported vectors alone."""
        return not isinstance(self._source, imported.ImportedSource) or self._source.has(id)

    def read(self, id: str) -> bytes:
        """The encoded bytes of an image; ArchiveError if it is gone or unreadable."""
        return self._source.read(id)

    def image(self, id: str, at_least: int | None = None) -> RGB:
        """The image as uint8 RGB (H, W, 3); ``at_least`` as in ``images.read``.

        Raises:
            ArchiveError: the file is gone or unreadable.
            ImageError: the file is not an image.
        """
        return images.read(self.read(id), at_least=at_least, name=id)

    def __repr__(self) -> str:
        return f"Archive({self.source!r})"

    @functools.cached_property
    def _listing(self) -> Listing:
        return self._source.scan()

    @functools.cached_property
    def _ids(self) -> frozenset[str]:
        return frozenset(item.id for item in self)


def _absolute(path: str | Path) -> str:
    # Not resolved: a link to the photos may be moved on purpose.
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100


def _one(path: str) -> Archive:
    place = Path(path)
    if place.is_dir():
        archive = Archive(FolderSource(path))
        tars = TarSource([path])
        return Archive(tars) if not len(archive) and tars.scan().items else archive
    _refuse_packed(path)
    if place.suffix.lower() in LISTS and place.is_file():
        return Archive(FileListSource(list_file=path))
    if path.endswith(".tar") and (place.is_file() or set(path) & set(WILD)):
        return Archive(TarSource([path]))
    if not place.exists():
        raise ArchiveError(f"{images.printable(path)} does not exist; check the path.")
    raise ArchiveError(
        f"{images.printable(path)} is one file, not an archive; name a folder of images, a list "
        "file (.txt, .lst) or tar shards (.tar)."
    )


def _several(paths: Sequence[str]) -> ImageSource:
    for path in paths:
        _refuse_packed(path)
    if paths and all(path.endswith(".tar") for path in paths):
        return TarSource(sorted(paths))
    folder = next((path for path in paths if Path(path).is_dir()), None)
    if folder is not None:
        raise ArchiveError(
            f"{images.printable(folder)} is a folder in a list of files; name one folder, or files."
        )
    return FileListSource(sorted(paths))


def _refuse_packed(path: str) -> None:
    if path.lower().endswith(PACKED):
        raise ArchiveError(
            f"{images.printable(path)} is compressed and cannot be read in place; unpack it."
        )


def _rows_of(data: Mapping[str, Any]) -> tuple[str, list[str], str]:
    """Folder, files and column of a description of tables; ArchiveError if it is not one."""
    files, column = data.get("files"), data.get("column")
    if not isinstance(files, list) or not isinstance(column, str):
        raise ArchiveError("this description of tables is damaged; build the index again.")
    return _path_of(data), files, column


def _path_of(data: Mapping[str, Any]) -> str:
    """The text under ``path`` of a description; ArchiveError if there is none."""
    path = data.get("path")
    if not isinstance(path, str):
        raise ArchiveError("this description of an archive names no path; build the index again.")
    return path
