"""Stages of ``scale.py`` that cost by the row: listing, the ledger, opening, updates and search.

The photos are empty files whose rows are random unit vectors, because here nothing looks at pixels.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import machine
import numpy as np
import torch

from recoseg.index import blocks, compaction, ledgerfile, lookup, repair, stamp, update
from recoseg.index.index import Index
from recoseg.index.journal import FLUSH_ROWS, Journal
from recoseg.index.ledger import Snapshot
from recoseg.index.manifest import NAME, Manifest
from recoseg.io.archive import Archive, Item

FOLDER_FILES = 1000
PROMPTS, K = 500, 50


class Cost(NamedTuple):
    """Processor seconds, seconds, and MiB of the process's peak above its start."""

    processor: float
    seconds: float
    mib: float


def cost(function: Callable[[], Any], repeats: int) -> Cost:
    """The least of some runs; of memory the most."""
    found = []
    for _ in range(repeats):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = machine.memory("VmRSS")
        start, busy = time.perf_counter(), time.process_time()
        function()
        spent = time.process_time() - busy, time.perf_counter() - start
        found.append(Cost(*spent, machine.memory("VmHWM") - before))
    return Cost(min(c.processor for c in found), min(c.seconds for c in found), found[0].mib)


class Vectors:
    """Stands for the model that made the rows."""

    id, fingerprint, device = "random", "0" * 64, torch.device("cpu")

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def preprocess(self, image: Any) -> torch.Tensor:
        """Nothing here looks at pixels or words."""
        raise NotImplementedError

    embed_images = embed_texts = dense = preprocess


def stages(home: Path, rows: int, dim: int, repeats: int) -> Iterator[tuple[str, Cost, float]]:
    """(stage, cost, bytes it read or wrote) of an archive of ``rows`` photos, made in ``home``."""
    photos, folder = home / "photos", home / "x.index"
    touch(photos, rows)
    yield "listing a folder", cost(lambda: len(Archive.open(photos)), repeats), 0
    archive = Archive.open(photos)
    time.sleep(1.1 * update.COARSE_NS / 1e9)  # files that are younger would be read again
    yield "writing shards and ledger", write(folder, archive, dim), size(folder)
    index, vectors = Index.open(folder), rows * dim * 2
    yield from time_opening(index, repeats)
    yield "update with nothing changed", time_unchanged(index, rows, repeats), size(folder)
    yield from time_search(index, vectors, repeats)
    named = named_files(home / "named", archive, dim)
    read = cost(lambda: Manifest.read(named), repeats)
    yield "manifest of files named one by one", read, (named / NAME).stat().st_size
    yield from looks(folder / update.LEDGER, archive, repeats)
    yield "compaction of a tenth", time_compaction(index, archive), vectors
    shutil.rmtree(folder)
    made = pack(home / "tars", rows)
    yield "listing tars", cost(lambda: len(Archive.open(home / "tars")), repeats), made


def time_opening(index: Index, repeats: int) -> Iterator[tuple[str, Cost, float]]:
    """What it takes until the first answer."""
    path, asked = index.path, queries(1, index.dim)
    ledger = (path / update.LEDGER).stat().st_size
    yield "opening", cost(lambda: len(Index.open(path)), repeats), ledger
    first = cost(lambda: Index.open(path).search(asked, K), repeats)
    yield "opening and a first query", first, size(path)
    yield "the digests' check", cost(lambda: digests(index), repeats), size(path) - ledger


def time_unchanged(index: Index, rows: int, repeats: int) -> Cost:
    """An update that must find nothing to do."""
    model: Any = Vectors(index.dim)

    def follow() -> None:
        changes = index.add(model=model, progress=False)
        if changes.unchanged != rows or sum(changes) != rows:
            raise SystemExit(f"the update with nothing changed saw {changes}")

    return cost(follow, repeats)._replace(mib=peak(index.path, "update"))


def time_search(index: Index, vectors: int, repeats: int) -> Iterator[tuple[str, Cost, float]]:
    """Questions to an index that is kept open."""
    one, many = queries(1, index.dim), queries(PROMPTS, index.dim)
    index.search(one, K)
    spent = cost(lambda: index.search(one, K), repeats + 2)
    yield "search of one query", spent._replace(mib=peak(index.path, "search")), vectors
    yield f"search of {PROMPTS} prompts", cost(lambda: index.search(many, K), repeats), vectors


def looks(ledger: Path, archive: Archive, repeats: int) -> Iterator[tuple[str, Cost, float]]:
    """Both sides of what was mended, in this process."""
    with ledgerfile.open_reading(ledger) as snapshot:
        snapshot.revision()
        yield "ledger's check, row by row", cost(snapshot.check, 1), 0
        yield "ledger's check, by its file", cost(lambda: stamp.check(snapshot), repeats), 0
        yield "rows of images, grouped", cost(lambda: time_groups(snapshot), 1), 0
        yield "rows of images, counted", cost(snapshot.counts, repeats), 0
    with ledgerfile.open_writing(ledger) as writer:
        ids = [item.id for item in archive]
        yield "known files, one by one", cost(lambda: [writer.seen_from(i, 1) for i in ids], 1), 0
        known = lookup.Lookup(writer)
        yield "known files, by pages", cost(lambda: [known.find(id) for id in ids], 1), 0


def time_groups(snapshot: Snapshot) -> np.ndarray:
    """As rows were counted before: SQLite makes the groups, Python takes them one by one."""
    counts = np.zeros(snapshot.rows(), dtype=np.int32)
    for row, count in snapshot._each("SELECT row, COUNT(*) FROM images GROUP BY row"):
        counts[row] = count
    return counts


def touch(folder: Path, count: int) -> None:
    """Empty files, a thousand a folder."""
    for number in range(count):
        home = f"{folder}/{number // FOLDER_FILES:05d}"
        if number % FOLDER_FILES == 0:
            os.makedirs(home)  # noqa: PTH103
        os.close(os.open(f"{home}/{number:010d}.jpg", os.O_CREAT | os.O_WRONLY))


def pack(folder: Path, count: int) -> int:
    """Tar shards of a thousand empty photos; their bytes."""
    folder.mkdir()
    total = 0
    for first in range(0, count, FOLDER_FILES):
        members = range(first, min(count, first + FOLDER_FILES))
        heads = [tarfile.TarInfo(f"{n:010d}.jpg").tobuf() for n in members]
        data = b"".join([*heads, bytes(2 * tarfile.BLOCKSIZE)])
        total += len(data)
        (folder / f"{first // FOLDER_FILES:05d}.tar").write_bytes(data)
    return total


def write(folder: Path, archive: Archive, dim: int) -> Cost:
    """An index of the archive with random rows; what the journal took, and not the rows."""
    manifest = Manifest("random", "0" * 64, dim, {}, archive.describe(), update.SHARD_ROWS)
    folder.mkdir()
    with ledgerfile.open_writing(folder / update.LEDGER, create=True):
        manifest.write(folder)
    random = np.random.default_rng(0)
    spent, before = np.zeros(2), machine.memory("VmRSS")
    items = list(archive)
    with ledgerfile.open_writing(folder / update.LEDGER) as writer:
        journal = Journal(
            update.shards_of(folder, manifest), writer, lambda *_: None, lambda _: None
        )
        for first in range(0, len(items), FLUSH_ROWS):
            part = items[first : first + FLUSH_ROWS]
            drawn = random.standard_normal((len(part), dim), np.float32)
            drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
            spent += time_notes(journal, part, drawn.astype(np.float16))
        start = np.array([time.process_time(), time.perf_counter()])
        journal.flush()
    # With the check of the ledger that its writer ends with.
    spent += np.array([time.process_time(), time.perf_counter()]) - start
    return Cost(*spent.tolist(), machine.memory("VmHWM") - before)


def time_notes(journal: Journal, items: Sequence[Item], rows: np.ndarray) -> np.ndarray:
    start = np.array([time.process_time(), time.perf_counter()])
    for item, row in zip(items, rows, strict=True):
        digest = hashlib.sha256(item.id.encode()).digest()
        if not journal.holds(digest):
            journal.vector(digest, row)
        journal.image(item, digest)
    return np.array([time.process_time(), time.perf_counter()]) - start


def named_files(folder: Path, archive: Archive, dim: int) -> Path:
    """A manifest of the same photos, given as a list of paths and not as a folder."""
    folder.mkdir()
    paths = [f"{archive.source}/{item.id}" for item in archive]
    of = {"kind": "files", "paths": paths}
    Manifest("random", "0" * 64, dim, {}, of, update.SHARD_ROWS).write(folder)
    return folder


def digests(index: Index) -> None:
    """Every block of rows, compared with its digest."""
    with ledgerfile.open_reading(index.path / update.LEDGER) as snapshot:
        shards = update.shards_of(index.path, index._manifest, snapshot.generation())
        if not all(blocks.is_sound(shards, block) for block in snapshot.blocks()):
            raise SystemExit("the rows are damaged")


def queries(count: int, dim: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.nn.functional.normalize(torch.randn(count, dim, generator=random), dim=1)


def time_compaction(index: Index, archive: Archive) -> Cost:
    """Every tenth photo is gone, and its row goes too."""
    folder = index.path
    with ledgerfile.open_writing(folder / update.LEDGER) as writer:
        shards = update.shards_of(folder, index._manifest, writer.generation())
        repair.verify(shards, writer)
        writer.commit(gone=[item.id for item in list(archive)[::10]])
        return cost(lambda: compaction.compact(folder, shards, writer), 1)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def peak(folder: Path, what: str) -> float:
    """MiB above its start that a process of its own needs, because this one has memory to reuse."""
    done = subprocess.run(
        [sys.executable, __file__, folder, what], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def main() -> None:
    """What ``peak`` starts."""
    index = Index.open(sys.argv[1])
    torch.set_num_threads(1)
    model: Any = Vectors(index.dim)
    asked = queries(1, index.dim)
    before = machine.memory("VmRSS")
    if sys.argv[2] == "update":
        index.add(model=model, progress=False)
    else:
        index.search(asked, K)
    print(machine.memory("VmHWM") - before)


if __name__ == "__main__":
    main()
