"""Record of a video's finished frames, by which an interrupted run goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recoseg._version import VERSION
from recoseg.errors import InputError, VideoError
from recoseg.io import durable
from recoseg.runs import manifest
from recoseg.runs.record import digest_files
from recoseg.segmenting.result import Segmentation
from recoseg.video.frames import Frame
from recoseg.video.smoothing import Memory

OVERLAY = "overlay.mp4"
MEMORY = ".memory-{}.npz"
SAVE_EVERY = 2.0


class ClipRecord:
    """``manifest.json`` as ``recoseg segment`` writes it, and what the next frame needs."""

    def __init__(self, out: Path, settings: Mapping[str, Any], memory: Memory) -> None:
        self.out, self.memory = out, memory
        self.settings = json.loads(json.dumps(settings))
        self.images: dict[str, dict[str, Any]] = {}
        self._settled = 0, dataclasses.replace(memory)
        self.saved = time.monotonic()
        self._tables: dict[str, str] = {}
        self._overlay: dict[str, str] | None = {}
        if (out / manifest.MANIFEST).exists():
            self._resume()

    def _resume(self) -> None:
        held, _ = manifest.recover(self.out)
        if held.get("settings") != self.settings or held.get("recoseg") != VERSION:
            raise InputError(
                f"{self.out} holds results of something else, or of other settings; choose another "
                "folder."
            )
        # Each frame's scores linger in the next: where one is damaged, all are made again.
        if not all(self._is_whole(entry) for entry in held["images"].values()):
            return
        try:
            data = (self.out / held["memory"]).read_bytes()
            # Absent, as all digests, from what older versions wrote.
            if _sha256(data) != held.get("memory_sha256", _sha256(data)):
                return
            memory = Memory.from_bytes(data)
        except (OSError, ValueError, KeyError):
            return
        self._tables, self._overlay = held.get("tables", {}), held.get("overlay")
        for name, text in self._tables.items():
            durable.write(self.out / name, text.encode())
        self.memory, self.images = memory, held["images"]
        self._settled = held["next"], dataclasses.replace(memory)

    def check(self, frame: Frame) -> None:
        """VideoError for a frame of another size than those before."""
        height, width = frame.image.shape[:2]
        if self.images and (height, width) != self.size():
            rows, columns = self.size()
            raise VideoError(
                f"{frame.id} is {width}x{height} and the first frame {columns}x{rows}; give "
                "frames of one size."
            )

    def size(self) -> tuple[int, int]:
        """(H, W) of the label maps."""
        width, height = next(iter(self.images.values()))["size"]
        return height, width

    def note(self, frame: Frame, result: Segmentation) -> None:
        """Record a frame whose labels are written."""
        self.images[frame.id] = {
            "sha256": "",
            "labels": f"labels/{frame.stem}.png",
            "overlay": "",
            "area": {name: round(share, 6) for name, share in result.area.items() if share},
            "digests": digest_files(self.out, [self.out / "labels" / f"{frame.stem}.png"]),
            "size": [frame.image.shape[1], frame.image.shape[0]],
        }
        names = self.out / "labels" / manifest.NAMES
        self._tables = {f"labels/{manifest.NAMES}": names.read_text("utf-8")}
        # Together, since an interrupt may come when the memory has seen a frame that has no labels.
        self._settled = frame.index + 1, dataclasses.replace(self.memory)
        if time.monotonic() - self.saved >= SAVE_EVERY:
            self.save()

    @property
    def next(self) -> int:
        """Number of the frame that comes next."""
        return self._settled[0]

    def _is_whole(self, entry: Mapping[str, Any]) -> bool:
        known: dict[str, str] | None = entry.get("digests")
        if known is None:
            return Path(self.out / entry["labels"]).is_file()
        return digest_files(self.out, [self.out / path for path in known]) == known

    def has_overlay(self) -> bool:
        """Whether the film is there, as it was written."""
        found = digest_files(self.out, [self.out / OVERLAY])
        return bool(found) and self._overlay in (None, found)

    def note_overlay(self) -> None:
        """Record that the overlay is written."""
        self._overlay = digest_files(self.out, [self.out / OVERLAY])

    def save(self, whole: bool = False) -> None:
        """Write memory and manifest, and with ``whole`` a copy of that."""
        next_frame, settled = self._settled
        memory = settled.to_bytes()
        data = {
            "format": manifest.FORMAT,
            "recoseg": VERSION,
            "settings": self.settings,
            "images": self.images,
            "next": next_frame,
            "memory": MEMORY.format(next_frame),
            "memory_sha256": _sha256(memory),
            "tables": self._tables,
            "overlay": self._overlay or {},
        }
        # The manifest names the memory that belongs to it, whenever a kill comes between the two.
        durable.write(self.out / data["memory"], memory)
        manifest.write(self.out, data, whole)
        for old in self.out.glob(MEMORY.format("*")):
            if old.name != data["memory"]:
                old.unlink(missing_ok=True)
        self.saved = time.monotonic()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
