"""Files that one image passes through, from a folder to its label map, and the calls between them.

Counted by running it: a profile hook notes every call from one file of the package into another
while the photos are segmented. Loading modules and models is not counted, because it happens once.

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


def traced(photos: Path, out: Path) -> Trace:
    """The second run over a folder by the segmenter that ``recoseg segment`` uses."""
    from recoseg.cli import main

    arguments = ["segment", str(photos), "--concepts", "sky,grass,tree", "--out"]

    def run(folder: str) -> None:
        sys.argv = ["recoseg", *arguments, str(out / folder)]
        try:
            main()
        except SystemExit as stop:
            if stop.code:
                raise

    run("first")
    with Trace() as trace:
        run("second")
    return trace


def main() -> None:
    """Print the counts, and the files in order of their names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        pixels = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
        Image.fromarray(pixels).save(photos / "a.jpg")
        trace = traced(photos, Path(folder))
    found = {
        "files": len(trace.files),
        "edges": len(trace.calls),
        "calls": sum(trace.calls.values()),
        "names": sorted(trace.files),
    }
    print(json.dumps(found, indent=1))
    if chosen.out:
        chosen.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
