"""A video into a folder of label maps and an overlay, resumable after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from recoseg.errors import InputError, VideoError
from recoseg.io import durable, locks
from recoseg.io.images import RGB
from recoseg.io.progress import Progress, track
from recoseg.segmenting.interface import ImageSegmenter
from recoseg.segmenting.result import Segmentation
from recoseg.video.clip_record import OVERLAY, ClipRecord
from recoseg.video.frames import Frames, open_frames
from recoseg.video.overlay import write_video
from recoseg.video.smoothed_segmenter import SmoothedSegmenter
from recoseg.video.smoothing import Memory


@dataclass(frozen=True)
class Clip:
    """Result of segmenting a video.

    Attributes:
        out: the folder: ``labels/``, ``overlay.mp4``, ``manifest.json``.
        frames: how many label maps there are.
        kept: how many of them were there already.
        fps: of the overlay, on average.
        size: (height, width).
        cuts: how many were seen.
        skipped: what could not be read, in words.
    """

    out: Path
    frames: int
    kept: int
    fps: float
    size: tuple[int, int]
    cuts: int
    skipped: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            **vars(self),
            "out": str(self.out),
            "size": list(self.size),
            "skipped": list(self.skipped),
            "overlay": str(self.out / OVERLAY),
        }


def segment_video(
    source: str | Path,
    segmenter: ImageSegmenter,
    out: str | Path,
    *,
    smooth: float = 0.0,
    every: int = 1,
    fps: float | None = None,
    progress: Progress = True,
) -> Clip:
    """Segment the frames of a video and lay the labels over them.

    The same call goes on after an interruption; label maps are then those of an uninterrupted run.

    Args:
        source: a video file, or a folder of frames, which are taken in natural order.
        segmenter: whose labels.
        out: the folder to fill.
        smooth: how much scores linger, 0 (not at all) to below 1; see ``Memory``.
        every: take each so-many-th frame; the overlay then has as many fewer frames per second.
        fps: of a folder of frames.
        progress: as in ``recoseg.io.progress.track``.

    Raises:
        VideoError: no video, no frame, or frames of different sizes.
        InputError: an argument, or a folder that holds results of something else.
        Locked: another process writes the same folder.
    """
    memory, out = Memory(smooth), Path(out)
    _check(segmenter, every)
    frames = open_frames(source, fps, out)
    asked = {"video": frames.digest, "smooth": smooth, "every": every, "fps": str(frames.fps)}
    durable.make_folder(out)
    with locks.hold(out / ".lock", str(out)):
        record = ClipRecord(out, {**segmenter.identity, **asked}, memory)
        kept = len(record.images)
        try:
            _segment(frames, segmenter, record, every, progress)
        finally:
            record.save(whole=True)
        skipped = tuple(frames.skipped)
        if not record.images:
            raise VideoError(f"{source} holds no frame that can be read; check the files.")
        if kept < len(record.images) or not record.has_overlay():
            _lay_over(frames, record, segmenter.names, every, progress)
            record.note_overlay()
            record.save(whole=True)
    rate, counts = float(frames.fps / every), (len(record.images), kept)
    return Clip(out, *counts, rate, record.size(), record.memory.cuts, skipped)


def _check(segmenter: object, every: object) -> None:
    if not isinstance(segmenter, ImageSegmenter):
        raise InputError(
            f"videos need a Segmenter or a Student, not {type(segmenter).__name__}; make one of a "
            "bank."
        )
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        raise InputError(f"every must be a whole number from 1, not {every!r}.")


def _segment(
    frames: Frames, segmenter: ImageSegmenter, record: ClipRecord, every: int, progress: Progress
) -> None:
    steady = SmoothedSegmenter(segmenter, record.memory)
    left = max(0, -(-frames.total // every) - len(record.images))
    for frame in track(frames.read(record.next, every), left, "segmenting", progress):
        record.check(frame)
        result = steady(frame.image)
        result.save(record.out / "labels" / f"{frame.stem}.png")
        record.note(frame, result)


def _lay_over(
    frames: Frames,
    record: ClipRecord,
    names: tuple[str, ...],
    every: int,
    progress: Progress,
) -> None:
    def pictures() -> Iterator[tuple[RGB, Fraction]]:
        for frame in track(frames.read(0, every), len(record.images), "drawing", progress):
            if frame.id not in record.images:
                continue
            labels = np.asarray(Image.open(record.out / record.images[frame.id]["labels"]))
            nothing = np.zeros(labels.shape, np.float32)
            drawn = Segmentation(labels, names, nothing, frame.image, torch.zeros(0, 1, 1))
            yield np.asarray(drawn.overlay()), frame.time

    write_video(record.out / OVERLAY, pictures(), frames.fps / every)
