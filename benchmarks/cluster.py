"""A Ray cluster on this machine: speed-up by a second worker, and what is lost to kills.

    python benchmarks/cluster.py --out benchmarks/results/cluster.json

Speed: photos are indexed with ``lite`` by a node of one processor and by two such nodes, in turn,
and the index must be that of a run without Ray, byte for byte. Kills: photos are indexed by two
nodes with a small slow model while a worker, a node or the driver is killed at a random moment, or
a node joins; rows that the index then lacks or has twice are counted, and batches that were encoded
again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.update(RAY_USAGE_STATS_ENABLED="0", OMP_NUM_THREADS="1")
import machine
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
STORE = 100 * 2**20
CHUNK = 16
NODE = {"num_cpus": 1, "object_store_memory": STORE}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--photos", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=5, help="of each kind")
    args = parser.parse_args()
    told: dict[str, Any] = machine.describe_machine()

    def note(row: dict[str, Any]) -> None:
        """At once, because a kill too many must not cost what was measured."""
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        if args.out is not None:
            args.out.write_text(json.dumps(told, indent=1) + "\n")

    with tempfile.TemporaryDirectory() as place:
        nodes = start_nodes()
        told["speed"] = speed_up(nodes, Path(place), args.photos, args.rounds)
        note(told["speed"])
        told["kills"] = []
        for kind in ("worker", "node", "driver", "node joins"):
            row = kill_one(nodes, Path(place) / kind, kind, args.kills)
            told["kills"].append({"event": kind, **row})
            note(told["kills"][-1])
    stop(nodes)


def start_nodes() -> Any:
    import ray
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    ray.init(nodes.address, log_to_driver=False, logging_level="CRITICAL")
    return nodes


def stop(nodes: Any) -> None:
    import ray

    ray.shutdown()
    nodes.shutdown()


def speed_up(nodes: Any, place: Path, count: int, rounds: int) -> dict[str, Any]:
    """Seconds to index with one and with two workers, medians of alternating rounds."""
    from tests.test_spread import bytes_of

    from recoseg.index import update
    from recoseg.index.index import Index

    update.CHUNK = CHUNK
    photos = scenes(place / "photos", count)

    def index(name: str, cluster: Any = None) -> tuple[float, dict[str, bytes]]:
        began = time.perf_counter()
        made = Index.build(photos, place / name, workers=1, progress=False, cluster=cluster)
        seconds = time.perf_counter() - began
        return seconds, bytes_of(made)

    alone, expected = index("alone")
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for workers, times in seconds.items():
            more = nodes.add_node(**NODE) if workers == 2 else None
            warm(workers, photos)
            with connect() as cluster:
                took, made = index(f"{workers} {number}", cluster)
            if made != expected:
                raise SystemExit("the index depends on the number of workers")
            times.append(took)
            if more is not None:
                nodes.remove_node(more)
    one, two = (statistics.median(times) for times in seconds.values())
    return {
        "photos": count,
        "seconds, without Ray, one thread": round(alone, 1),
        "seconds, one worker": round(one, 1),
        "seconds, two workers": round(two, 1),
        "times faster": round(one / two, 2),
        "load, processes that wait for a core": round(os.getloadavg()[0], 1),
        "all times faster": [round(a / b, 2) for a, b in zip(*seconds.values(), strict=True)],
    }


def connect() -> Any:
    from recoseg.cluster.engine import RayCluster

    return RayCluster.connect()


def warm(workers: int, photos: Path) -> None:
    """Let as many processes as there are workers load the model."""
    from recoseg.models import registry

    def load(_: int) -> int:
        registry.load_joint("lite")
        time.sleep(1.0)
        return os.getpid()

    with connect() as cluster:
        while len(set(cluster.map(load, range(2 * workers)))) < workers:
            pass


def scenes(folder: Path, count: int) -> Path:
    """Different photos of coloured fields with noise."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        coarse = generator.integers(0, 255, (6, 8, 3), np.uint8)
        photo = np.kron(coarse, np.ones((60, 60, 1), np.uint8)).astype(np.int16)
        photo = np.clip(photo + generator.normal(0, 12, photo.shape), 0, 255).astype(np.uint8)
        Image.fromarray(photo).save(folder / f"{number:05d}.jpg", quality=90)
    return folder


def kill_one(nodes: Any, place: Path, kind: str, times: int) -> dict[str, int]:
    """What came of ``times`` events of a kind, each at a random moment of an indexing run."""
    from tests import crews
    from tests.test_spread import bytes_of, photos_in

    from recoseg.index import update
    from recoseg.index.index import Index

    update.CHUNK, update.SHARD_ROWS = crews.CHUNK, crews.ROWS
    photos, dice = photos_in(place / "photos", 120), random.Random(0)
    plain = Index.build(
        photos, place / "plain", model=crews.Marking(place), batch_size=2, progress=False
    )
    expected, ids = bytes_of(plain), plain.ids
    batches = crews.batches(photos)
    counts = dict.fromkeys(("times", "lost", "repeated", "not byte-equal", "encoded again"), 0)
    for number in range(times):
        marks, out = place / f"marks {number}", place / f"index {number}"
        marks.mkdir()
        made = disturb(nodes, kind, photos, out, marks, dice.randrange(5, batches // 2))
        found = made.ids
        counts["times"] += 1
        counts["lost"] += len(set(ids) - set(found))
        counts["repeated"] += len(found) - len(set(found))
        counts["not byte-equal"] += bytes_of(made) != expected
        counts["encoded again"] += sum(crews.noted(marks)) - batches
    return {"photos": len(ids), "batches": batches, **counts}


def disturb(nodes: Any, kind: str, photos: Path, out: Path, marks: Path, moment: int) -> Any:
    """The index of a run to which something happens after so many batches."""
    from tests import crews

    from recoseg.index.index import Index

    def work() -> Index:
        model = crews.Marking(marks, 0.05)
        with connect() as cluster:
            how = {"model": model, "batch_size": 2, "progress": False, "cluster": cluster}
            return Index.build(photos, out, **how)

    def wait() -> None:
        while sum(crews.noted(marks)) < moment:
            time.sleep(0.01)

    if kind == "driver":
        words = [sys.executable, "-m", "tests.crews", photos, out, marks, nodes.address]
        driver = subprocess.Popen(words, cwd=ROOT)
        wait()
        driver.kill()
        driver.wait()
        return work()
    second = nodes.add_node(**NODE) if kind != "node joins" else None
    if second is not None:
        with connect() as cluster:
            crews.warm(cluster, second.node_id)
    acts: dict[str, Callable[[], object]] = {
        "worker": lambda: os.kill(next(pids(marks)), signal.SIGKILL),
        "node": lambda: nodes.remove_node(second, allow_graceful=False),
        "node joins": lambda: nodes.add_node(**NODE),
    }
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        wait()
        joined = acts[kind]()
        made = running.result()
    if kind != "node":
        nodes.remove_node(second or joined)
    return made


def pids(marks: Path) -> Iterator[int]:
    return (int(path.name.split("-")[0]) for path in marks.iterdir())


if __name__ == "__main__":
    main()
