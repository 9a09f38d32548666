"""Vectors in memory by faiss: half precision, in inverted lists, or flat where they are few."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoseg.errors import InputError, ServerError
from recoseg.io import durable
from recoseg.servers.server import Sample, Vectors

# Fewer rows are compared one by one, which is exact and takes milliseconds.
FLAT_ROWS = 50_000
# Lists of clusters: about 4 sqrt(n) of them, of which this share is looked at.
LISTS, SHARE = 4, 1 / 16
# Lists planned for so many times fewer or more rows are made anew.
STRETCH = 4
SAMPLE_PER_LIST = 40
REMEDY = "delete its folder and run `recoseg index sync` again"


def make(dim: int, rows: int, sample: Sample) -> Any:
    """An empty faiss index for about ``rows`` rows of ``dim`` numbers, by inner product."""
    import faiss

    if rows < FLAT_ROWS:
        return faiss.index_factory(dim, "IDMap2,SQfp16", faiss.METRIC_INNER_PRODUCT)
    lists = round(LISTS * rows**0.5)
    index: Any = faiss.index_factory(dim, f"IVF{lists},SQfp16", faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    index.train(np.ascontiguousarray(sample(SAMPLE_PER_LIST * lists), np.float32))
    index.nprobe = max(1, round(lists * SHARE))
    return index


def fits(planned: int, rows: int) -> bool:
    """Whether what was made for ``planned`` rows serves ``rows``."""
    return max(planned, rows) < FLAT_ROWS or planned / STRETCH <= rows <= planned * STRETCH


def search(index: Any, vectors: Vectors, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(Q, k) cosines and numbers, best first; -1 where there are fewer."""
    if vectors.shape[1:] != (index.d,):
        raise InputError(f"queries must be of shape (Q, {index.d}), not {vectors.shape}.")
    k = min(k, max(1, index.ntotal))
    scores, numbers = index.search(np.ascontiguousarray(vectors, np.float32), k)
    return scores, numbers


def write(index: Any, path: Path) -> str:
    """Put an index on the disk, whole or not at all; the digest of its bytes."""
    import faiss

    with durable.report_write_errors(path):
        with durable.temporary_beside(path) as (descriptor, temporary):
            faiss.write_index(index, str(temporary))
            os.fsync(descriptor)
            total = durable.digest_file(temporary)
            temporary.replace(path)
        durable.sync_folder(path.parent)
    return total


def read(path: Path, total: str) -> Any:
    """The index of a file; ServerError unless its bytes are those that were written."""
    import faiss

    # faiss believes what it reads, so damage must be told before.
    try:
        sound = durable.digest_file(path) == total
    except OSError as error:
        raise ServerError(f"{path} cannot be read ({error.strerror}); {REMEDY}.") from error
    if not sound:
        raise ServerError(f"{path} is damaged; {REMEDY}.")
    return faiss.read_index(str(path))
