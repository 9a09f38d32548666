"""Files that an image passes through, from a folder to its label map, and the calls between them.

Counted by running it: a profile hook notes every call from one file of the package into another
while ``recoseg segment`` runs, for the second time, so that modules are loaded. ``command`` counts
all of that for one photo: options, the bank and its models, and the manifest among it. ``image``
is what one more photo adds: files and edges whose calls grow, and by how many.

    python benchmarks/trace.py [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from PIL import Image

import recoseg

ROOT = Path(recoseg.__file__).parent


def place(frame: FrameType | None) -> str | None:
    """The file of a frame below the package, or None if it is somebody else's."""
    if frame is None:
        return None
    path = Path(frame.f_code.co_filename)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else None


class Trace:
    """Files that were entered, and calls from file to file, while it is on."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.calls: Counter[tuple[str, str]] = Counter()

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        """One event of ``sys.setprofile``; the code of a module itself is an import."""
        if event != "call" or frame.f_code.co_name == "<module>":
            return
        here = place(frame)
        if here is None:
            return
        self.files.add(here)
        caller = frame.f_back
        while caller is not None and place(caller) is None:
            caller = caller.f_back
        there = place(caller)
        if there is not None and there != here:
            self.calls[there, here] += 1

    def __enter__(self) -> Trace:
        sys.setprofile(self.note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


def trace_command(photos: Path, out: Path) -> Trace:
    """What ``recoseg segment`` calls to fill ``out``."""
    from recoseg.cli import main

    arguments = [str(photos), "--concepts", "sky,grass,tree", "--out", str(out)]
    sys.argv = ["recoseg", "segment", *arguments]
    with Trace() as trace:
        try:
            main()
        except SystemExit as stop:
            if stop.code:
                raise
    return trace


def count(calls: Counter[tuple[str, str]], files: set[str]) -> dict[str, Any]:
    """Numbers of files, edges and calls, and the files in the order of their names."""
    return {
        "files": len(files),
        "edges": len(calls),
        "calls": sum(calls.values()),
        "names": sorted(files),
        "by_edge": {f"{a} > {b}": n for (a, b), n in sorted(calls.items())},
    }


def main() -> None:
    """Print what a command and what an image passes through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        traces = []
        for number in range(3):
            if number != 1:  # the first run only warms up
                pixels = draw.integers(0, 256, (240, 320, 3), np.uint8)
                Image.fromarray(pixels).save(photos / f"{number}.jpg")
            traces.append(trace_command(photos, Path(folder) / f"out-{number}"))
    _, one, two = traces
    added = two.calls - one.calls
    found = {
        "command": count(one.calls, one.files),
        "image": count(added, {file for edge in added for file in edge}),
    }
    print(json.dumps(found, indent=1))
    if chosen.out:
        chosen.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
