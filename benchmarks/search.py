"""Exact search in a large index: time and memory, against numpy on the whole array.

    python benchmarks/search.py [--rows 1000000] [--folder /tmp] [--out search.json]
    python benchmarks/search.py --verification

Makes an index of random unit rows (2.6 GB for a million of 1280 numbers), and deletes it. Numpy
holds everything in memory, so it runs on ``--small`` rows, on which both sides are compared and
their answers must agree. Times are the best of ``--repeats``, with the shards in the page cache;
processor time is summed over threads and tells more on a busy machine; memory is the rise of the
process's peak while searching, mapped pages included.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import machine
import numpy as np
import torch

from recoseg.index import compaction, ledgerfile, repair, update
from recoseg.index.index import Index
from recoseg.index.manifest import Manifest
from recoseg.io.archive import Item

ROOT = Path(__file__).resolve().parents[1]
CHUNK = 16384


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    queries = torch.nn.functional.normalize(
        torch.randn(options.queries, options.dim, generator=torch.Generator().manual_seed(1)), dim=1
    )
    settings = {"queries": options.queries, "k": options.k, "dim": options.dim}
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        small = make(Path(folder) / "small", options.small, options.dim)
        cost = {
            **machine.describe_machine(),
            **settings,
            "results": verification(small, queries, options),
        }
        if options.verification:
            write(options.out, {"verification": cost})
            return
        numpy = run(lambda: whole(small, queries.numpy(), options.k), options.repeats)
        rows.append(row("numpy, whole array", options.small, numpy))
        ours = run(lambda: Index.open(small).search(queries, options.k), options.repeats)
        agree(ours.result, numpy.result)
        rows.append(row("recoseg", options.small, ours, numpy))
        large = make(Path(folder) / "large", options.rows, options.dim)
        rows.append(
            row(
                "recoseg, opened anew",
                options.rows,
                run(lambda: Index.open(large).search(queries, options.k), options.repeats),
            )
        )
        index = Index.open(large)
        again = run(lambda: index.search(queries, options.k), options.repeats + 1)
        rows.append(row("recoseg, kept open", options.rows, again))
        one = run(lambda: index.search(queries[:1], options.k), options.repeats)
        rows.append(row("recoseg, one query", options.rows, one))
    write(
        options.out,
        {**machine.describe_machine(), **settings, "results": rows, "verification": cost},
    )


def write(out: Path | None, data: dict[str, Any]) -> None:
    """Put the data into the file, beside what it holds of parts that were not measured now."""
    if out:
        before = json.loads(out.read_bytes()) if out.exists() else {}
        out.write_text(json.dumps({**before, **data}, indent=1) + "\n", encoding="utf-8")


def verification(
    folder: Path, queries: torch.Tensor, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """The first question to an index, with and without a look at the digests of what is read."""

    def ask(verify: bool) -> Measured:
        return run(
            lambda: Index.open(folder, verify=verify).search(queries, options.k), options.repeats
        )

    plain = ask(False)
    rows = [row("first question, verify=False", options.small, plain)]
    checked = ask(True)
    rows.append(row("first question, verify=True", options.small, checked))
    rows[-1]["times_slower"] = round(checked.seconds / plain.seconds, 2)
    rows[-1]["times_more_processor_time"] = round(checked.processor / plain.processor, 2)
    index = Index.open(folder)
    index.search(queries, options.k)
    again = run(lambda: index.search(queries, options.k), options.repeats)
    rows.append(row("later questions, verify=True", options.small, again))
    print("verification makes the first question", rows[1]["times_slower"], "times as long")
    return rows


def make(folder: Path, rows: int, dim: int) -> Path:
    """An index of random unit rows, written with the project's own parts."""
    folder.mkdir()
    archive = {"kind": "folder", "path": str(folder / "nowhere")}
    manifest = Manifest("random", "0" * 64, dim, {}, archive, update.SHARD_ROWS)
    shards = update.shards_of(folder, manifest)
    random = torch.Generator().manual_seed(0)
    with ledgerfile.open_writing(folder / update.LEDGER, create=True) as writer:
        for first in range(0, rows, CHUNK):
            count = min(CHUNK, rows - first)
            vectors = torch.randn(count, dim, generator=random)
            vectors /= vectors.norm(dim=1, keepdim=True)
            shards.append(first, vectors.half().numpy())
            hashes = [hashlib.sha256(b"%d" % i).digest() for i in range(first, first + count)]
            items = [Item(f"folder/{i:09d}.jpg", 100_000, i) for i in range(first, first + count)]
            writer.commit(list(enumerate(hashes, first)), list(zip(items, hashes, strict=True)))
        repair.seal_all(shards, writer)
    manifest.write(folder)
    return folder


def whole(folder: Path, queries: np.ndarray, k: int) -> list[list[str]]:
    """The plain way: everything as fp32 in memory, one product, a partial sort."""
    parts = sorted((folder / compaction.FOLDER).glob("*.f16"))
    rows = np.concatenate([np.fromfile(part, dtype="<f2") for part in parts])
    rows = rows.reshape(-1, queries.shape[1]).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scores = queries @ rows.T
    best = np.argpartition(-scores, k, axis=1)[:, :k]
    order = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1)
    return [[f"folder/{i:09d}.jpg" for i in hits] for hits in order]


def agree(ours: Any, theirs: list[list[str]]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        if {hit.id for hit in mine} != set(other):
            raise SystemExit("the two sides found different images")


class Measured(NamedTuple):
    """What one side took: seconds, processor seconds, MiB, and its answer."""

    seconds: float
    processor: float
    mib: float
    result: Any


def run(function: Callable[[], Any], repeats: int) -> Measured:
    """Best times, the highest peak of memory above the start, and the result."""
    seconds, processor, peak = float("inf"), float("inf"), 0.0
    for _ in range(repeats):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = machine.memory("VmRSS")
        start, busy = time.perf_counter(), time.process_time()
        result = function()
        seconds = min(seconds, time.perf_counter() - start)
        processor = min(processor, time.process_time() - busy)
        peak = max(peak, machine.memory("VmHWM") - before)
    return Measured(seconds, processor, peak, result)


def row(name: str, rows: int, ours: Measured, other: Measured | None = None) -> dict[str, Any]:
    data: dict[str, Any] = {
        "side": name,
        "rows": rows,
        "seconds": round(ours.seconds, 3),
        "processor_seconds": round(ours.processor, 3),
        "peak_mib": round(ours.mib, 1),
    }
    if other:
        data["times_faster"] = round(other.seconds / ours.seconds, 2)
        data["times_less_memory"] = round(other.mib / ours.mib, 1)
    print(json.dumps(data), flush=True)
    return data


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--queries", type=int, default=32)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--verification", action="store_true", help="only the cost of verification, on few rows"
    )
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "search.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
