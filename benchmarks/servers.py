"""Vector servers against the exact scan: recall, latency, memory and build time, in one run.

    python benchmarks/servers.py [--rows 200000] [--folder /tmp] [--out servers.json]

The vectors are synthetic and seeded: unit vectors around the centres of 2,000 clusters whose sizes
fall off as 1/rank, and queries around centres drawn the same way. Real embeddings are clustered
too, but not like this, and texts lie farther from photos than these queries do; recall on real
vectors has to be measured on them. Recall@k is the share of the exact scan's k best that a server
gives. Each side answers one query after the other, and then all at once, in this process;
PostgreSQL runs beside it on a socket. Memory is what a side holds to answer: the shards that the
exact scan maps, faiss's file, which it loads whole, and PostgreSQL's table and graph.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch
from numpy.typing import NDArray

from recoseg.embeddings.importing import import_table
from recoseg.embeddings.recognise import open_table
from recoseg.index.index import Hit, Index
from recoseg.servers import inverted_lists, pgvector
from recoseg.servers.faiss_folder import FaissFolder
from recoseg.servers.pgvector import PgVector
from recoseg.servers.served import ServedIndex
from recoseg.servers.server import VectorServer
from recoseg.servers.sync import sync

ROOT = Path(__file__).resolve().parents[1]
CLUSTERS = 2000
SPREAD = 0.8
MIB = 2**20
Answers = list[list[Hit]]


class StandIn:
    """A model in name only: nothing is embedded here."""

    id, fingerprint, device = "synthetic", "synthetic", torch.device("cpu")

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def preprocess(self, image: Any) -> torch.Tensor:  # noqa: D102
        return torch.zeros(3, 32, 32)

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return torch.zeros(len(images), self.dim)

    def embed_texts(self, texts: Any) -> torch.Tensor:  # noqa: D102
        return torch.zeros(len(texts), self.dim)

    def dense(self, images: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return torch.zeros(len(images), self.dim, 1, 1)


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    import faiss

    faiss.omp_set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        home = Path(folder)
        index, imported = make(home, options)
        queries = draw_clusters(options.queries, options.dim, seed=2)
        exact = index.search(queries, options.k)
        rows = [row("exact scan", index, queries, exact, 0.0, size_of(home / "x.index"))]
        for name, served, seconds, mib in sides(home, index, options):
            rows.append(row(name, served, queries, exact, seconds, mib))
    settings = {name: getattr(options, name) for name in ("rows", "dim", "queries", "k")}
    about = {"clusters": CLUSTERS, "spread": SPREAD, "import_rows_per_second": imported}
    write(options.out, {**machine.describe_machine(), **settings, **about, "results": rows})


def draw_clusters(count: int, dim: int, seed: int) -> NDArray[np.float32]:
    """(count, dim) unit vectors; the centres do not depend on the seed."""
    centres = np.random.default_rng(0).standard_normal((CLUSTERS, dim)).astype(np.float32)
    draw = np.random.default_rng(seed)
    weights = 1 / np.arange(1, CLUSTERS + 1)
    chosen = draw.choice(CLUSTERS, count, p=weights / weights.sum())
    noise = draw.standard_normal((count, dim), dtype=np.float32)
    rows = centres[chosen] + SPREAD * noise
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make(home: Path, options: argparse.Namespace) -> tuple[Index, int]:
    """The index, and how many rows a second were imported into it."""
    np.save(home / "v.npy", draw_clusters(options.rows, options.dim, seed=1).astype(np.float16))
    (home / "v.txt").write_text("".join(f"{n:07d}.jpg\n" for n in range(options.rows)))
    start = time.perf_counter()
    table, model = open_table(home / "v.npy"), StandIn(options.dim)
    made = import_table(table, home / "x.index", model=model, trust=True, progress=False)
    return made.index, round(options.rows / (time.perf_counter() - start))


def sides(
    home: Path, index: Index, options: argparse.Namespace
) -> Iterator[tuple[str, Index, float, float]]:
    """Name, served index, seconds of its synchronisation and size of each server."""
    inverted_lists.FLAT_ROWS = options.rows + 1
    flat, seconds = fill(FaissFolder(home / "flat"), index)
    yield "faiss, flat fp16", flat, seconds, size_of(home / "flat")
    inverted_lists.FLAT_ROWS = 1
    lists, seconds = fill(FaissFolder(home / "lists"), index)
    for share in (64, 32, 16, 8):
        name = f"faiss, inverted lists, 1/{share} of them"
        yield name, probing(lists, share), seconds, size_of(home / "lists")
    sys.path.insert(0, str(ROOT))
    from tests.databases import postgres

    with postgres() as database:
        graph, seconds = fill(PgVector(database.get_uri(), "x"), index)
        for nearest in (50, 100, 200, 400):
            pgvector.EF_SEARCH = (nearest, nearest)
            name = f"pgvector, HNSW, ef_search {nearest}"
            yield name, graph, seconds, relation_size(database.get_uri())


def fill(server: VectorServer, index: Index) -> tuple[ServedIndex, float]:
    start = time.perf_counter()
    sync(index, server, progress=False)
    return ServedIndex(index, server), time.perf_counter() - start


def probing(served: ServedIndex, share: int) -> ServedIndex:
    """The same with another share of the lists looked at."""
    server: Any = served.server
    server.nearest(np.zeros((1, served.dim), np.float32), 1)  # loads it
    lists = server._loaded[1]
    lists.nprobe = max(1, lists.nlist // share)
    return served


def relation_size(uri: str) -> float:
    import psycopg

    with psycopg.connect(uri) as connection:
        query = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname LIKE %s"
        found = connection.execute(query, ("recoseg_vectors_%",)).fetchone()
    return float(found[0]) / MIB if found else 0.0


def size_of(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MIB


def row(
    name: str, index: Index, queries: Any, exact: Answers, seconds: float, mib: float
) -> dict[str, Any]:
    k = len(exact[0])
    index.search(queries[:5], k)  # what is read from the disk once is not measured
    each = [time_calls(lambda q=query: index.search(q[None], k)) for query in queries]
    together = min(time_calls(lambda: index.search(queries, k)) for _ in range(2))
    found = index.search(queries, k)
    hits = [
        len({h.id for h in f} & {h.id for h in e}) / k for f, e in zip(found, exact, strict=True)
    ]
    data = {
        "side": name,
        "recall": round(float(np.mean(hits)), 4),
        "worst_query": round(min(hits), 2),
        "median_ms": round(float(np.median(each)) * 1000, 2),
        "p95_ms": round(float(np.quantile(each, 0.95)) * 1000, 2),
        "ms_per_query_of_all": round(together / len(queries) * 1000, 2),
        "build_seconds": round(seconds, 1),
        "mib": round(mib, 1),
    }
    print(json.dumps(data), flush=True)
    return data


def time_calls(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/servers.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
