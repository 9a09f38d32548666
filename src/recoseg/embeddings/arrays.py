"""Arrays of vectors in ``.npy`` files, read in place; pickles are refused."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np
from numpy.lib import format
from numpy.typing import NDArray

from recoseg.errors import ArchiveError
from recoseg.io.images import printable
from recoseg.io.walking import open_regular


def open_vectors(path: Path) -> NDArray[np.floating]:
    """The (n, d) floating numbers of a file, mapped and not read.

    Raises:
        ArchiveError: it is no such array, is cut short, or holds Python objects.
    """
    try:
        open_regular(path).close()
        found = format.open_memmap(path, mode="r")
    except (OSError, ValueError, TypeError, OverflowError, SyntaxError) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArchiveError(
            f"{printable(str(path))} cannot be read as an array of numbers ({cause}); restore it, "
            "or write it with numpy.save."
        ) from error
    return check_vectors(found, str(path))


def check_vectors(found: NDArray[np.generic], name: str) -> NDArray[np.floating]:
    """The array, if it is (n, d) floating numbers of at most 64 bits; otherwise ArchiveError."""
    if found.ndim != 2 or found.dtype.kind != "f" or found.itemsize > 8 or not found.shape[1]:
        raise ArchiveError(
            f"{printable(name)} holds {found.dtype} of shape {found.shape}, not vectors; give an "
            "array of floating numbers of shape (photos, numbers per vector)."
        )
    return cast("NDArray[np.floating]", found)


def one_dim(shapes: Iterable[tuple[str, int]]) -> int:
    """The dimension that all files share; ArchiveError if they differ or there are none."""
    first: tuple[str, int] | None = None
    for name, dim in shapes:
        if first is not None and dim != first[1]:
            raise ArchiveError(
                f"{printable(name)} has vectors of {dim} numbers and {printable(first[0])} of "
                f"{first[1]}; an index holds the vectors of one model, so import them one by one."
            )
        first = first or (name, dim)
    if first is None:
        raise ArchiveError("there are no vectors in it; check the path.")
    return first[1]
