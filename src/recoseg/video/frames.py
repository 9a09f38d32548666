"""Reading frames: of a video file by PyAV, or of a folder of images."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from recoseg.errors import ImageError, InputError, VideoError
from recoseg.io import images
from recoseg.io.durable import digest_file
from recoseg.io.images import RGB
from recoseg.runs import inputs

FOLDER_FPS = Fraction(25)
# Only containers of pictures: other formats fetch further files, draw text as a film, or find one
# in anything that holds a few JPEGs.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif,apng,mxf,dv,"
    "yuv4mpegpipe,ivf,rm,nut,wtv"
)


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes:
        index: its place among all frames, from 0.
        id: what its results are recorded under.
        stem: the name of its results, without suffix.
        image: uint8 (H, W, 3), upright.
        time: seconds from the first frame on; later frames have larger ones.
    """

    index: int
    id: str
    stem: str
    image: RGB
    time: Fraction


class Frames(Protocol):
    """Frames in order, as often as asked for.

    Attributes:
        fps: frames per second.
        total: how many, as far as is known before reading; 0 if unknown.
        skipped: what could not be read in the last pass, in words.
    """

    fps: Fraction
    total: int
    skipped: list[str]

    @property
    def digest(self) -> str:
        """A text that differs if what is read does."""

    def read(self, start: int, every: int) -> Iterator[Frame]:
        """The frames from ``start`` whose index is a multiple of ``every``."""


def open_frames(source: str | Path, fps: float | None = None, away: Path | None = None) -> Frames:
    """A video file or a folder of frames.

    Args:
        source: its path.
        fps: of a folder of frames; 25 by default.
        away: a folder of results that is not read as frames.

    Raises:
        VideoError: no such file, or no video.
        ArchiveError: the folder holds no image.
        InputError: fps is out of range, or given for a file.
    """
    path = Path(source)
    if path.is_dir():
        if fps is not None and not 0 < fps <= 1000:
            raise InputError(f"fps must be above 0 and at most 1000, not {fps!r}.")
        rate = FOLDER_FPS if fps is None else Fraction(fps).limit_denominator(1001)
        return FrameFolder(inputs.gather([path], leave_out=away), rate)
    if fps is not None:
        raise InputError("fps is for a folder of frames; a video file has its own.")
    if not path.is_file():
        raise VideoError(f"{path} does not exist; give a video file or a folder of frames.")
    return VideoFile(path)


@dataclass
class FrameFolder:
    """Images of one size, in natural order: frame 2 before frame 10. Attributes as ``Frames``."""

    files: list[inputs.InputImage]
    fps: Fraction
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Put the files in order."""
        self.files = sorted(self.files, key=lambda job: (natural(job.id), job.id))
        self.total = len(self.files)

    @property
    def digest(self) -> str:
        """Of names, sizes and times of change: a folder may hold gigabytes."""
        stats = [(job.id, job.path.stat()) for job in self.files]
        return repr([(id, s.st_size, s.st_mtime_ns) for id, s in stats])

    def read(self, start: int, every: int) -> Iterator[Frame]:
        """As ``Frames``; a file that cannot be read keeps its place and is skipped."""
        self.skipped = []
        for index, job in enumerate(self.files):
            if index < start or index % every:
                continue
            try:
                image = images.read(job.path)
            except ImageError as error:
                self.skipped.append(str(error))
                continue
            yield Frame(index, job.id, job.stem, image, index / self.fps)


class VideoFile:
    """The first picture stream of a video file. Attributes as ``Frames``."""

    def __init__(self, path: Path) -> None:
        """Read its head.

        Raises:
            VideoError: it is no video.
            InputError: PyAV is not installed.
        """
        self.path, self.skipped = path, list[str]()
        with self._open() as container:
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            self.fps = Fraction(rate) if rate else FOLDER_FPS
            length = stream.duration * stream.time_base if stream.duration else 0
            self.total = int(stream.frames or math.ceil(length * self.fps))

    @property
    def digest(self) -> str:
        """SHA-256 of its bytes."""
        return digest_file(self.path)

    def read(self, start: int, every: int) -> Iterator[Frame]:
        """As ``Frames``; packets that cannot be decoded are skipped."""
        self.skipped, index, clock = [], 0, _FrameTimes(1 / self.fps)
        with self._open() as container:
            for picture in self._decode(container):
                time = clock.read(picture)
                if index >= start and index % every == 0:
                    stem = f"frame_{index:06d}"
                    yield Frame(index, f"{stem}.png", stem, upright(picture), time)
                index += 1
        if not index:
            raise VideoError(f"{self.path} holds no frame that can be decoded; check the file.")

    def _decode(self, container: Any) -> Iterator[Any]:
        import av

        packets, broken = container.demux(container.streams.video[0]), 0
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self.skipped.append(f"the end of {self.path}, which is broken ({error.strerror})")
                break
            if packet is None:
                break
            try:
                yield from packet.decode()
            except av.FFmpegError:
                broken += 1
        if broken:
            self.skipped.append(f"{broken} packets of {self.path} that cannot be decoded")

    def _open(self) -> Any:
        av = pyav()
        try:
            options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
            container = av.open(str(self.path.resolve()), options=options)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(
                f"{self.path} cannot be read as a video ({error.strerror}); check the file."
            ) from error
        if not container.streams.video:
            container.close()
            raise VideoError(f"{self.path} holds no pictures; give a video.")
        return container


@dataclass
class _FrameTimes:
    """Frames' own times, from the first on; ``step`` after the last where a file has none."""

    step: Fraction
    first: Fraction | None = None
    last: Fraction | None = None

    def read(self, picture: Any) -> Fraction:
        stamp = picture.pts if picture.pts is not None else picture.dts
        told = stamp * picture.time_base if stamp is not None and picture.time_base else None
        if self.first is None:
            self.first = told or Fraction(0)
        time = told - self.first if told is not None else None
        # Damaged files go back in time, which no player could show.
        if self.last is not None and (time is None or time <= self.last):
            time = self.last + self.step
        self.last = time or Fraction(0)
        return self.last


def upright(picture: Any) -> RGB:
    """uint8 (H, W, 3) of a decoded frame, turned as its metadata say."""
    pixels = picture.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(picture.rotation / 90) % 4))


def natural(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts runs of digits by their value."""
    return [
        (not part.isdecimal(), int(part) if part.isdecimal() else 0, part.casefold())
        for part in re.split(r"([0-9]+)", name)
    ]


def pyav() -> Any:
    """The package ``av``, or InputError."""
    try:
        import av
    except ImportError as error:
        raise InputError("videos need PyAV; pip install 'recoseg[video]'.") from error
    return av
