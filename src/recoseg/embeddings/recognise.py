"""Forms of embeddings, told from what lies at a path."""

from __future__ import annotations

from pathlib import Path

from recoseg.embeddings import clip_retrieval, listed
from recoseg.embeddings.table import Table
from recoseg.errors import ArchiveError
from recoseg.io.archive import Archive
from recoseg.io.images import printable
from recoseg.io.imported import ImportedSource


def open_table(
    path: str | Path, *, photos: str | Path | None = None, paths: str | Path | None = None
) -> Table:
    """The table of embeddings at a path, whatever its form.

    Args:
        path: a folder of clip-retrieval, or a ``.npy`` file.
        photos: where the photos are, as ``Archive.open`` takes it; photos elsewhere are never
            read. By default the folder of a ``.npy`` file's list.
        paths: the list of a ``.npy`` file; by default the file beside it that has its name.

    Raises:
        ArchiveError: it has no form that is known, or its files are damaged or do not fit together.
        InputError: a package that reads the form is missing.
    """
    place = Path(path).expanduser().absolute()
    archive = None if photos is None else _photos(Path(photos))
    if place.is_dir() and clip_retrieval.is_clip_retrieval(place):
        source = _source(clip_retrieval.FORM, place, archive)
        return clip_retrieval.ClipRetrievalTable(place, source)
    if place.is_file() and place.suffix == ".npy":
        names = None if paths is None else Path(paths).expanduser().absolute()
        archive = archive or Archive.reopen(
            {"kind": "folder", "path": str((names or place).parent)}
        )
        return listed.ListedTable(place, names, _source(listed.FORM, place, archive))
    if not place.exists():
        raise ArchiveError(f"{printable(str(place))} does not exist; check the path.")
    raise ArchiveError(
        f"{printable(str(place))} holds no embeddings in a form that is known; name a folder of "
        f"clip-retrieval (with {clip_retrieval.VECTORS} and {clip_retrieval.METADATA}), or a .npy "
        "file with a list of paths."
    )


def _source(form: str, path: Path, archive: Archive | None) -> ImportedSource:
    return ImportedSource(form, str(path), None if archive is None else archive.reader)


def _photos(place: Path) -> Archive:
    """The archive at a path; a folder is not listed, because only some of its photos are read."""
    if not place.expanduser().is_dir() or any(place.expanduser().glob("*.tar")):
        return Archive.open(place)
    return Archive.reopen({"kind": "folder", "path": str(place.expanduser().absolute())})
