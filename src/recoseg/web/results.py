"""Bounded store of segmentation results in a temporary folder."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from recoseg import exporting
from recoseg.crf.refine import refine
from recoseg.drawing import palette
from recoseg.io import images
from recoseg.io.progress import reporting
from recoseg.segmenting.result import UNKNOWN, Segmentation
from recoseg.web import pictures
from recoseg.web.encodings import Encodings
from recoseg.web.failures import Missing
from recoseg.web.segmenters import Segmenters, SegmentRequest
from recoseg.web.worker import OnStep

KEPT = 100
GUESSES = 5


class Results:
    """Results by id."""

    def __init__(self, folder: Path, segmenters: Segmenters, max_pixels: int) -> None:
        """Keep them under ``folder``."""
        self.segmenters = segmenters
        self.max_pixels = max_pixels
        self._folder = folder
        self._encodings = Encodings()
        self._kept: OrderedDict[str, Path] = OrderedDict()
        self._lock = threading.Lock()

    def make(self, data: bytes, name: str, order: SegmentRequest, step: OnStep) -> dict[str, Any]:
        """Segment an encoded image and keep what came of it; what ``result.json`` says."""
        start = time.perf_counter()
        seen = self._segment(data, name, order, step)
        id = secrets.token_hex(8)
        facts = to_json(id, seen, order.bank, time.perf_counter() - start)
        home = self._folder / id
        home.mkdir(parents=True)
        seen.save(home / "labels.png")
        levels = np.round(np.clip(seen.confidence, 0, 1) * 255).astype(np.uint8)
        Image.fromarray(levels).save(home / "confidence.png")
        (home / "photo.jpg").write_bytes(pictures.jpeg(seen.image))
        (home / "result.json").write_text(json.dumps(facts), encoding="utf-8")
        self._keep(id, home)
        return facts

    def file(self, id: str, name: str) -> Path:
        """A file of a result; Missing if the result is gone."""
        with self._lock:
            home = self._kept.get(id)
        if home is None or not (home / name).is_file():
            raise Missing("this result is not kept any more; segment the image again.")
        return home / name

    def open(self, id: str) -> Segmentation:
        """A result as it was made, but for the photo's JPEG and its scores, which are not kept."""
        facts = json.loads(self.file(id, "result.json").read_bytes())
        levels = np.asarray(Image.open(self.file(id, "confidence.png")))
        return Segmentation(
            labels=np.asarray(Image.open(self.file(id, "labels.png"))),
            names=tuple(row["name"] for row in facts["classes"]),
            confidence=(levels / 255).astype(np.float32),
            image=images.read(self.file(id, "photo.jpg")),
            maps=torch.zeros(0, 1, 1),
        )

    def export(self, id: str, format: str) -> bytes:
        """A zip of the result in another tool's format, see ``recoseg.exporting``.

        Raises:
            Missing: the result is gone.
            InputError: no such format, nothing to write, or its extra is not installed.
        """
        seen, photo = self.open(id), self.file(id, "photo.jpg")
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            out = Path(scratch) / "export"
            exporting.write([(photo, seen)], format, out, progress=False)
            return Path(shutil.make_archive(str(Path(scratch) / "all"), "zip", out)).read_bytes()

    def drop(self, id: str) -> None:
        """Forget a result; Missing if it is gone already."""
        home = self.file(id, "result.json").parent
        with self._lock:
            self._kept.pop(id, None)
        shutil.rmtree(home, ignore_errors=True)

    def _segment(self, data: bytes, name: str, order: SegmentRequest, step: OnStep) -> Segmentation:
        """As the segmenter would itself, but for maps that are still there from the last time."""
        image = images.read(data, max_pixels=self.max_pixels, name=name)
        segmenter, refined = self.segmenters.get(order), order.options.refine
        subject = hashlib.sha256(data).digest(), self.segmenters.subject(order)
        with reporting(name, segmenter.steps(image, refined), step) as advance:
            maps = self._encodings.of(subject, lambda: segmenter.maps(image, advance))
            sharpen = partial(refine, step=advance)
            return segmenter.decide(image, maps, refined, sharpen)

    def _keep(self, id: str, home: Path) -> None:
        with self._lock:
            self._kept[id] = home
            old = [self._kept.popitem(last=False)[1] for _ in range(len(self._kept) - KEPT)]
        for path in old:
            shutil.rmtree(path, ignore_errors=True)


def to_json(id: str, seen: Segmentation, bank: str, seconds: float) -> dict[str, Any]:
    """A segmentation in plain JSON types."""
    height, width = seen.labels.shape
    unknown = seen.names.index(UNKNOWN) if seen.names[-1:] == (UNKNOWN,) else None
    rows = zip(seen.names, palette.hexes(seen.colours), strict=True)
    return {
        "id": id,
        "width": width,
        "height": height,
        "bank": bank,
        "seconds": round(seconds, 3),
        "classes": [
            {
                "index": index,
                "name": name,
                "colour": colour,
                "area": seen.area[name],
                "confidence": seen.certainty[name],
            }
            for index, (name, colour) in enumerate(rows)
        ],
        "unknown_index": unknown,
        "guesses": [{"name": n, "area": a} for n, a in seen.guesses.items()][:GUESSES],
    }
