"""A slow model that says which process loaded it, and a driver of its own process to be killed."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch

from recoseg.cluster.engine import RayCluster
from tests.toys import Toy

CHUNK = 5
ROWS = 23


class Marking(Toy):
    """Notes ``<process>-<node>`` in a folder for each batch; its vectors feel their batch."""

    def __init__(self, marks: Path, delay: float = 0.0) -> None:
        super().__init__()
        self.marks, self.delay = marks, delay

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._note("loaded")

    def _note(self, what: str) -> None:
        self.note(self.marks, what)

    @staticmethod
    def note(marks: Path, what: str) -> None:
        import ray

        node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "none"
        with (marks / f"{os.getpid()}-{node}").open("a") as stream:
            stream.write(f"{what}\n")

    def embed_images(self, batch: torch.Tensor) -> torch.Tensor:
        self._note("batch")
        time.sleep(self.delay)
        place = torch.arange(len(batch), dtype=torch.float32)[:, None]
        return super().embed_images(batch) + 0.01 * place + 0.1 * len(batch)


def node_of(_: object) -> str:
    """Where a block is worked on, by a process that has loaded what this module needs."""
    import ray

    time.sleep(0.2)
    return str(ray.get_runtime_context().get_node_id())


def warm(cluster: RayCluster, node: str) -> None:
    """Wait until a node has a process that works."""
    while node not in set(cluster.map(node_of, range(8))):
        pass


def noted(marks: Path) -> list[int]:
    """How many batches each process encoded."""
    return [path.read_text().split().count("batch") for path in marks.iterdir()]


def batches(photos: Path) -> int:
    """Batches of two that a cluster encodes undisturbed: each chunk's different contents."""
    from recoseg.io.archive import Archive

    total, names = 0, [item.id for item in Archive.open(photos)]
    for first in range(0, len(names), CHUNK):
        contents = {(photos / name).read_bytes() for name in names[first : first + CHUNK]}
        total += -(-len(contents - {b"no image"}) // 2)
    return total


def main(photos: str, out: str, marks: str, address: str) -> None:
    """Index on a cluster, slowly."""
    from recoseg.index import update
    from recoseg.index.index import Index

    update.CHUNK, update.SHARD_ROWS = CHUNK, ROWS
    with RayCluster.connect(address) as cluster:
        model = Marking(Path(marks), 0.05)
        Index.build(photos, out, model=model, batch_size=2, progress=False, cluster=cluster)


if __name__ == "__main__":
    main(*sys.argv[1:])
