"""Hardships: full disks at every write, thousands of files in a folder, and damaged photos.

    python benchmarks/hardship.py --mutants 2400 --out benchmarks/results/hardship.json

Full disks and the large folder are met with toy models, damaged photos with ``lite``. What must
not happen is counted; a note says what each was.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import machine
import torch

from recoseg import ConceptBank, Segmenter
from recoseg.errors import ImageError
from recoseg.index.index import Index
from recoseg.io import images

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# Verbs of many writes, of which every n-th meets the full disk.
STEPS = {"segment": 5, "video": 5, "adapt": 8, "update": 2}


def main() -> None:
    from tests import hardships, storms

    options = arguments()
    torch.set_num_threads(1)
    parts: dict[str, Any] = {}
    notes: list[str] = []
    if "folder" in options.parts:
        parts["folder"] = large_folder(options.files)
    if "mutants" in options.parts:
        parts["mutants"], told = damaged_photos(options.mutants, options.seconds)
        notes += told
    if "disk" in options.parts:
        parts["disk"] = []
        for verb in storms.VERBS:
            row, told = full_disk(hardships, storms.Storm, verb)
            parts["disk"].append(row)
            notes += told
            print(json.dumps(row), flush=True)
    print("\n".join(notes))
    if options.out:
        before = json.loads(options.out.read_bytes()) if options.out.exists() else {}
        data = {**before, **machine.describe_machine(), **parts, "notes": notes}
        options.out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    sys.exit(bool(notes))


def full_disk(hardships: Any, storm_of: Any, verb: Any) -> tuple[dict[str, Any], list[str]]:
    """The disk is full after 0, step, 2 step... writes, until all of the verb's fit."""
    began, step = time.monotonic(), STEPS.get(verb.name, 1)
    with tempfile.TemporaryDirectory() as folder:
        storm = storm_of(verb, Path(folder), 0)
        counts = hardships.fill_disk(storm, itertools.count(0, step))
    bad = {name: counts[name] for name in hardships.BAD}
    row = {"verb": verb.name, "step": step, **bad, **counts}
    return {**row, "seconds": round(time.monotonic() - began, 1)}, storm.notes


def large_folder(files: int) -> dict[str, Any]:
    """Index many tiny files of one folder, and update with nothing changed."""
    from PIL import Image
    from tests.toys import Toy

    with tempfile.TemporaryDirectory() as home:
        photos = Path(home) / "photos"
        photos.mkdir()
        for i in range(files):
            Image.new("RGB", (16, 16), (i % 256, i // 256, 90)).save(photos / f"{i}.png")
        start, toy = time.perf_counter(), Toy()
        index = Index.build(photos, Path(home) / "x", model=toy, batch_size=64, progress=False)
        built, calls = time.perf_counter() - start, toy.calls
        # What is younger than the clock's step is read once more.
        time.sleep(3)
        index.add(model=toy, progress=False)
        start = time.perf_counter()
        changes = index.add(model=toy, progress=False)
        updated = time.perf_counter() - start
        data = {
            "files": files,
            "indexed": len(index),
            "embedded_again": toy.calls - calls,
            "unchanged": changes.unchanged,
            "update_to_build": round(updated / built, 4),
        }
    print(json.dumps(data), flush=True)
    return data


def damaged_photos(count: int, seconds: float) -> tuple[dict[str, Any], list[str]]:
    """Segment damaged photos with ``lite``; only ImageErrors may come of it.

    When the seconds are over, those that are left are read only.
    """
    from tests.mutants import mutants

    segmenter = Segmenter(ConceptBank.everyday(), ["dog", "car", "grass"], refine=False)
    seen: Counter[str] = Counter()
    notes = list[str]()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "photo.png"
        for number, data in enumerate(mutants(count)):
            path.write_bytes(data)
            seen["photos"] += 1
            try:
                pixels = images.read(path)
                if time.monotonic() - start < seconds:
                    segmenter(pixels)
                    seen["segmented"] += 1
                else:
                    seen["only read"] += 1
            except ImageError:
                seen["refused"] += 1
            except Exception as error:
                seen["unexpected"] += 1
                notes.append(f"mutant {number}: {type(error).__name__}: {error}")
    found = {"unexpected": 0, **seen}
    print(json.dumps(found), flush=True)
    return found, notes


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="*", default=["disk", "folder", "mutants"])
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--mutants", type=int, default=2400)
    parser.add_argument("--seconds", type=float, default=600, help="for the damaged photos")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
