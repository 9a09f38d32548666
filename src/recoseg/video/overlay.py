"""Writing mp4 videos: H.264, or MPEG-4 where the build of FFmpeg has no encoder for it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

from recoseg.errors import VideoError
from recoseg.io import durable
from recoseg.io.images import RGB
from recoseg.video.frames import pyav

# An mp4's ticks per second, in what MPEG-4 allows.
_LARGEST = 65535


def write_video(path: Path, pictures: Iterable[tuple[RGB, Fraction]], fps: Fraction) -> int:
    """Write pictures of one size as a video, whole or not at all.

    Args:
        path: of the .mp4.
        pictures: uint8 (H, W, 3), and when each is shown, in seconds that grow. Odd sizes keep
            their size by storing full colour (4:4:4).
        fps: pictures per second, on average; the last one is shown as long.

    Returns:
        How many there were.

    Raises:
        VideoError: there was none, or FFmpeg refuses.
    """
    av = pyav()
    partial, count, last = durable.hidden(path, "partial"), 0, -1
    try:
        with (
            durable.report_write_errors(path),
            av.open(str(partial), "w", format="mp4") as container,
        ):
            stream: Any = None
            for picture, time in pictures:
                stream = stream or _stream(container, picture, fps)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                # Times that differ by less than a tick still need one each.
                last = frame.pts = max(last + 1, round(time / stream.codec_context.time_base))
                _write_frame(container, stream, frame, fps)
                count += 1
            if stream is not None:
                _write_frame(container, stream, None, fps)
        if count:
            _put(partial, path)
    except av.FFmpegError as error:
        raise VideoError(
            f"{path} cannot be encoded ({error.strerror}); check disk space."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    if not count:
        raise VideoError(f"there is no picture for {path}; check the video.")
    return count


def encoder() -> str:
    """``libx264`` if this build of FFmpeg has it, else ``mpeg4``."""
    av = pyav()
    return "libx264" if "libx264" in av.codecs_available else "mpeg4"


def _write_frame(container: Any, stream: Any, frame: Any, fps: Fraction) -> None:
    for packet in stream.encode(frame):
        # Of the last frame only: the others end where the next one begins.
        packet.duration = round(1 / fps / packet.time_base)
        container.mux(packet)


def _stream(container: Any, picture: RGB, fps: Fraction) -> Any:
    name = encoder()
    rate = fps.limit_denominator(1001)
    if max(rate.numerator, rate.denominator) > _LARGEST:
        rate = Fraction(round(fps))
    options = {"crf": "20", "preset": "veryfast"} if name == "libx264" else {"qscale": "3"}
    stream = container.add_stream(name, rate=rate, options=options)
    stream.height, stream.width = picture.shape[:2]
    odd = stream.height % 2 or stream.width % 2
    stream.pix_fmt = "yuv444p" if odd and name == "libx264" else "yuv420p"
    # As fine as it may be while frames of that rate have whole numbers of ticks.
    stream.codec_context.time_base = Fraction(1, rate.numerator * (_LARGEST // rate.numerator))
    return stream


def _put(partial: Path, path: Path) -> None:
    with durable.report_write_errors(path):
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.replace(path)
        durable.sync_folder(path.parent)
