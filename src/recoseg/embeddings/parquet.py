"""Parquet files, opened by pyarrow; what is wrong with them is one sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recoseg.errors import ArchiveError, optional_import
from recoseg.io.images import printable
from recoseg.io.walking import open_regular


@contextlib.contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """A ``pyarrow.parquet.ParquetFile``; errors inside the block are those of this file.

    Raises:
        ArchiveError: it cannot be read as parquet.
        InputError: pyarrow is missing.
    """
    with optional_import("parquet files need pyarrow", "import"):
        import pyarrow
        import pyarrow.parquet as parquet
    try:
        with open_regular(path) as stream, parquet.ParquetFile(stream) as file:
            yield file
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArchiveError(
            f"{printable(str(path))} cannot be read as parquet ({cause}); restore it."
        ) from error
