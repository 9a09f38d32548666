"""Detection of the form that embeddings at a path have."""

from __future__ import annotations

from pathlib import Path

from recoseg.embeddings import clip_retrieval, hugging_face, listed, webdataset
from recoseg.embeddings.table import Table
from recoseg.errors import ArchiveError
from recoseg.io.archive import Archive
from recoseg.io.images import printable
from recoseg.io.imported import ImportedSource
from recoseg.io.rows import RowSource
from recoseg.io.tars import TarSource


def open_table(
    path: str | Path, *, photos: str | Path | None = None, paths: str | Path | None = None
) -> Table:
    """The table of embeddings at a path, whatever its form.

    Args:
        path: a folder of clip-retrieval, a ``.npy`` file, tar shards (a file, a folder of them or
            a pattern) in which ``KEY.npy`` lies beside ``KEY.jpg``, or a table (parquet, or a
            folder of `datasets`) with a column of images and one of vectors.
        photos: where the photos are, as ``Archive.open`` takes it; photos elsewhere are never
            read, and those in tar files are known by the keys of their samples, too. By default
            the folder of a ``.npy`` file's list; tar shards and tables hold them.
        paths: the list of a ``.npy`` file; by default the file beside it that has its name.

    Raises:
        ArchiveError: it has no form that is known, or its files are damaged or do not fit together.
        InputError: a package that reads the form is missing.
    """
    place = Path(path).expanduser().absolute()
    archive = None if photos is None else _photos(photos)
    if place.is_dir() and clip_retrieval.is_clip_retrieval(place):
        source = _source(clip_retrieval.FORM, place, archive)
        return clip_retrieval.ClipRetrievalTable(place, source)
    if place.is_file() and place.suffix == ".npy":
        names = None if paths is None else Path(paths).expanduser().absolute()
        archive = archive or Archive.reopen(
            {"kind": "folder", "path": str((names or place).parent)}
        )
        return listed.ListedTable(place, names, _source(listed.FORM, place, archive))
    table = _inside(place)
    if table is not None:
        return table
    if not place.exists():
        raise ArchiveError(f"{printable(str(place))} does not exist; check the path.")
    raise ArchiveError(
        f"{printable(str(place))} holds no embeddings in a form that is known; name a folder of "
        f"clip-retrieval (with {clip_retrieval.VECTORS} and {clip_retrieval.METADATA}), a .npy "
        "file with a list of paths, tar shards or tables with a vector for each photo, or embed "
        "its photos with `recoseg index`."
    )


def open_unembedded(path: str | Path) -> Archive | None:
    """The photos of tar shards or tables that have no vectors; None for anything else.

    Raises:
        ArchiveError: they are damaged, or a table has no column of images.
        InputError: pyarrow is missing.
    """
    place = Path(path).expanduser().absolute()
    if place.is_dir() and clip_retrieval.is_clip_retrieval(place):
        return None
    tars, shards = _shards(place)
    if shards:
        return None if webdataset.has_vectors(shards, tars.base) else Archive(tars)
    rows = _rows(place)
    if rows is None or hugging_face.vector_column(Path(rows.base, rows.files[0])) is not None:
        return None
    return Archive(rows)


def _inside(place: Path) -> Table | None:
    """The table of photos and vectors that lie side by side in tar files or tables."""
    tars, shards = _shards(place)
    if shards and webdataset.has_vectors(shards, tars.base):
        source = ImportedSource(webdataset.FORM, str(place), tars)
        return webdataset.WebdatasetTable(shards, tars.base, source)
    rows = _rows(place)
    if rows is None:
        return None
    column = hugging_face.vector_column(Path(rows.base, rows.files[0]))
    if column is None:
        return None
    source = ImportedSource(hugging_face.FORM, str(place), rows)
    return hugging_face.RowsTable(source, rows, column)


def _shards(place: Path) -> tuple[TarSource, list[Path]]:
    """The tar files at a path: a file, a folder or a pattern."""
    tars = TarSource([str(place)])
    wanted = place.is_dir() or place.suffix == ".tar"
    return tars, [path for path in map(Path, tars.shards() if wanted else ()) if path.is_file()]


def _rows(place: Path) -> RowSource | None:
    """The photos in the tables at a path; None if there are no tables."""
    if not place.exists():
        return None
    base, files = hugging_face.files_of(place)
    if not files:
        return None
    return RowSource(base, files, hugging_face.image_column(Path(base, files[0])))


def _source(form: str, path: Path, archive: Archive | None) -> ImportedSource:
    return ImportedSource(form, str(path), None if archive is None else archive.reader)


def _photos(photos: str | Path) -> Archive:
    """The archive at a path; a folder is not listed, because only some of its photos are read."""
    place = Path(photos).expanduser()
    if not place.is_dir() or any(place.glob("*.tar")):
        return Archive.open(photos)
    return Archive.reopen({"kind": "folder", "path": str(place.absolute())})
