"""Memory of one process over thousands of photos, indexed and segmented with toy models.

    python benchmarks/memory.py --indexed 3000 --segmented 1000 --out benchmarks/results/memory.json

The resident memory is noted every hundred photos. It is flat if the mean of the last third is that
of the first but for a few MiB.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch
from PIL import Image

from recoseg.index.index import Index
from recoseg.runs import batch, inputs

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
EVERY = 100
SIDE = 64


def main() -> None:
    from tests import storms

    options = arguments()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        paint(home / "photos", options.indexed)
        storms.bank().save(home / "b.bank")
        rows = [row("indexed", index_photos(home))]
        for path in sorted((home / "photos").iterdir())[options.segmented :]:
            path.unlink()
        chosen = storms.segmenter(home)
        work = batch.run(
            inputs.gather([home / "photos"]), chosen, home / "out", chosen.identity, progress=False
        )
        rows.append(row("segmented", sample_memory(work)))
    if options.out:
        data = {**machine.describe_machine(), "side": SIDE, "every": EVERY, "results": rows}
        options.out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def paint(folder: Path, count: int) -> None:
    """Photos that all differ."""
    folder.mkdir()
    dice = np.random.default_rng(0)
    for i in range(count):
        pixels = dice.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:05d}.png")


def index_photos(home: Path) -> list[float]:
    """MiB at every hundredth photo; the progress of the index tells how many there are."""
    from tests.toys import Toy

    seen: list[float] = []

    def watch(done: int, total: int) -> None:
        if done // EVERY > len(seen):
            seen.append(resident())

    Index.build(home / "photos", home / "x.index", model=Toy(), progress=watch)
    return seen


def sample_memory(work: Iterable[Any]) -> list[float]:
    """MiB at every hundredth outcome, none of which may have failed."""
    seen = []
    for number, outcome in enumerate(work, start=1):
        if outcome.state != "done":
            raise SystemExit(outcome.reason)
        if number % EVERY == 0:
            seen.append(resident())
    return seen


def resident() -> float:
    """MiB that the process holds, without what only waits to be collected."""
    gc.collect()
    return round(machine.memory("VmRSS"), 1)


def row(name: str, mib: list[float]) -> dict[str, Any]:
    """The curve, its slope, and by how much its last third lies above its first."""
    third = len(mib) // 3
    data = {
        "verb": name,
        "photos": len(mib) * EVERY,
        "mib": mib,
        "mib_per_1000_photos": round(
            float(np.polyfit(range(len(mib)), mib, 1)[0]) * 1000 / EVERY, 2
        ),
        "last_third_minus_first_mib": round(float(np.mean(mib[-third:]) - np.mean(mib[:third])), 1),
    }
    print(json.dumps(data), flush=True)
    return data


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--indexed", type=int, default=3000)
    parser.add_argument("--segmented", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
