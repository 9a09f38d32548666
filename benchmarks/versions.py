"""`segment` of two versions: ``python benchmarks/versions.py OLD/src NEW/src PHOTOS``.

Each version, with the everyday bank that it ships, segments the photos in processes of its own,
taken in turn on one thread: some names, and the whole bank with the usual shortlist, both with the
CRF. Prints the least CPU seconds a photo and the peak memory of each, and the ratios. ``git archive
COMMIT src`` gives the source of a commit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROUNDS = 3
NAMES = (
    "sky,tree,grass,road,car,building,person,dog,cat,chair,table,window,wall,flower,water,boat,"
    "bicycle,horse,sheep,bird"
)
WAYS = ("20 names", "whole bank")
# Run in each version's own process, so it imports nothing of this file.
PROGRAM = """
import json, resource, sys, time
from pathlib import Path
from recoseg import ConceptBank, Segmenter
bank, photos = ConceptBank.everyday(), sorted(Path(sys.argv[1]).iterdir())
ways = [Segmenter(bank, sys.argv[2].split(",")), Segmenter(bank, shortlist=16)]
seconds = []
for segment in ways:
    segment(photos[0])
    start = time.process_time()
    for photo in photos:
        segment(photo)
    seconds.append((time.process_time() - start) / len(photos))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
sys.stdout.write(json.dumps([*seconds, peak]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("photos", type=Path, help="a folder of photos and nothing else")
    args = parser.parse_args()
    runs: dict[Path, list[list[float]]] = {args.old: [], args.new: []}
    for _ in range(ROUNDS):
        for source, found in runs.items():
            found.append(measure(source, args.photos))
    old, new = ([min(column) for column in zip(*found, strict=True)] for found in runs.values())
    units = (*(f"{way}, CPU s" for way in WAYS), "peak memory, MiB")
    for unit, before, after in zip(units, old, new, strict=True):
        print(f"{unit:20} {before:9.2f} {after:9.2f}  ratio {after / before:.2f}")


def measure(source: Path, photos: Path) -> list[float]:
    """CPU seconds a photo of each way, and MiB."""
    environment = {**os.environ, "PYTHONPATH": str(source.resolve()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(photos), NAMES]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return list(json.loads(done.stdout))


if __name__ == "__main__":
    main()
