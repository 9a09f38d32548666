"""Export of an index in the form of clip-retrieval."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numpy.lib import format

from recoseg.embeddings.clip_retrieval import METADATA, VECTORS
from recoseg.errors import InputError, optional_import
from recoseg.index import pages
from recoseg.index.index import Index
from recoseg.io import durable, locks
from recoseg.io.imported import is_inside
from recoseg.io.progress import Progress, reporting
from recoseg.io.sources import from_id

UNFINISHED = "unfinished"


def export_clip_retrieval(
    index: Index, out: str | Path, *, rows: int = 1_000_000, progress: Progress = True
) -> int:
    """Write ``img_emb/*.npy`` (fp16 unit vectors) and ``metadata/*.parquet``, in the order of ids.

    The column ``image_path`` has the photos' absolute paths where they are files, else their ids;
    ``id`` has the ids. ``recoseg.json`` names the model. The folder has its name only when whole.

    Args:
        index: what to write.
        out: a folder that does not exist yet.
        rows: per file.
        progress: as in ``track``.

    Returns:
        How many pairs of files were written.

    Raises:
        InputError: ``out`` exists, or pyarrow is missing.
        RecosegError: it cannot be written.
    """
    with optional_import("parquet files need pyarrow", "import"):
        import pyarrow.parquet  # noqa: F401
    final = Path(out).absolute()
    if os.path.lexists(final):
        raise InputError(f"{out} is there already; nothing is written over, so give another name.")
    if rows < 1:
        raise InputError(f"rows per file must be at least 1, not {rows!r}.")
    folder = durable.hidden(final, UNFINISHED)
    lock = durable.hidden(final, "lock")
    durable.make_folder(final.parent)
    with locks.hold(lock, str(final), keep=False), durable.report_write_errors(final):
        shutil.rmtree(folder, ignore_errors=True)  # of a writer that was killed
        for name in (VECTORS, METADATA):
            (folder / name).mkdir(parents=True)
        try:
            before = pages.state(index)
            with reporting("exporting", len(index), progress) as advance:
                files = _write_all(index, folder, rows, advance)
            if pages.state(index) != before:
                raise InputError(f"{index.path} was changed meanwhile; export it again.")
            about = {"model": index.model_id, "fingerprint": index.fingerprint, "dim": index.dim}
            durable.write(folder / "recoseg.json", (json.dumps(about, indent=1) + "\n").encode())
            folder.rename(final)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        durable.sync_folder(final.parent)
    return files


def _write_all(index: Index, folder: Path, rows: int, advance: Callable[[int], None]) -> int:
    total = len(index)
    parts = [min(rows, total - first) for first in range(0, total, rows)]
    width = len(str(len(parts) - 1))
    root: str | None = getattr(index.archive.reader, "root", None)
    found = _ids(index)
    for number, count in enumerate(parts):
        name = f"{number:0{width}d}"
        vectors = folder / VECTORS / f"img_emb_{name}.npy"
        # numpy's own header; rows follow block by block.
        header = {"descr": "<f2", "fortran_order": False, "shape": (count, index.dim)}
        with vectors.open("wb") as stream, _metadata(folder, name) as write:
            format.write_array_header_1_0(stream, header)
            left = count
            while left:
                ids = [id for _, id in zip(range(min(left, pages.SIZE)), found, strict=False)]
                if not ids:
                    raise InputError(f"{index.path} was changed meanwhile; export it again.")
                stream.write(index.vectors(ids).astype("<f2").tobytes())
                write(ids, [_path(id, root) for id in ids])
                left -= len(ids)
                advance(len(ids))
            stream.flush()
            os.fsync(stream.fileno())
    return len(parts)


def _ids(index: Index) -> Iterator[str]:
    for page in pages.pages(index):
        yield from page.ids


@contextlib.contextmanager
def _metadata(folder: Path, name: str) -> Iterator[Callable[[list[str], list[str]], None]]:
    import pyarrow
    import pyarrow.parquet as parquet

    schema = pyarrow.schema([("image_path", pyarrow.string()), ("id", pyarrow.string())])
    path = folder / METADATA / f"metadata_{name}.parquet"
    with parquet.ParquetWriter(path, schema) as writer:

        def write(ids: list[str], paths: list[str]) -> None:
            columns: Any = {"image_path": paths, "id": ids}
            writer.write_table(pyarrow.table(columns, schema=schema))

        yield write


def _path(id: str, root: str | None) -> str:
    """The absolute path of a photo that is a file with a name that can be written as text."""
    name = from_id(id)
    plain = name.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in name)
    return str(Path(root, name)) if root is not None and plain and is_inside(id) else id
