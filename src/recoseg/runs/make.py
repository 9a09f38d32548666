"""Result files of images, made here or by many machines, each whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import socket
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from PIL import Image

from recoseg.errors import ArchiveError, ImageError, RecosegError
from recoseg.io import durable, images
from recoseg.io.images import save_image
from recoseg.io.machines import Cluster
from recoseg.io.stored import Photo
from recoseg.runs.inputs import InputImage
from recoseg.runs.manifest import MANIFEST
from recoseg.runs.record import Entry, make_entry, verify_entry

ATTEMPTS = 3
# Threads that fetch photos while one is segmented, and how many may wait.
FETCHING, AHEAD = 4, 8
# Images that a machine is given at a time.
BLOCK = 8


class Result(Protocol):
    """What is kept of a segmented image: a ``Segmentation``, or what is saved like one."""

    @property
    def area(self) -> Mapping[str, float]:
        """Name to share of the image in [0, 1]."""
        ...

    def overlay(self) -> Image.Image:
        """The image with the labels' colours laid over."""
        ...

    def save(self, path: Path) -> object:
        """Write the indexed PNG of the labels."""
        ...


@runtime_checkable
class ManyFiled(Result, Protocol):
    """A result that is saved as more files than its labels."""

    def beside(self, path: Path) -> tuple[Path, ...]:
        """The other files of the labels at ``path``."""
        ...


# It is given the path of a photo or, of one that is no file of its own here, uint8 (H, W, 3).
Segment = Callable[[Any], Result]

# An image, and what is recorded of its results, if anything is.
Job = tuple[InputImage, Entry | None]


class Made(NamedTuple):
    """Outcome of one image: its manifest entry, or the reason why it failed."""

    entry: Entry | None
    kept: bool = False
    reason: str = ""
    missing: bool = False


# The path of a file, the bytes of what is none, or what became of it without them.
Fetched = Path | bytes | Made


@dataclass(frozen=True)
class MakeResults:
    """Fills ``out``, an absolute path, with what ``segment`` makes of images.

    Attributes:
        segment: a ``Segmenter`` or anything that is called like one.
        out: the folder of results, of which this writes all but the manifest.
    """

    segment: Segment
    out: Path

    def __call__(self, block: Sequence[Job]) -> list[Made]:
        """A machine's work; results that are as they were recorded are kept."""
        self._check_place()
        return list(self.stream(block))

    def stream(self, jobs: Sequence[Job]) -> Iterator[Made]:
        """What becomes of each job, in order; some photos are fetched ahead."""
        with contextlib.closing(self._fetch_all(jobs)) as photos:
            for (job, entry), photo in zip(jobs, photos, strict=True):
                yield photo if isinstance(photo, Made) else self.make(job, entry, photo)

    def make(self, job: InputImage, entry: Entry | None, photo: Path | bytes) -> Made:
        """One image's results."""
        kept = None if entry is None else verify_entry(self.out, entry, _digest(photo))
        if kept is not None:
            return Made(_add_tag(kept, job.source), kept=True)
        try:
            digest, result = self._segment_photo(photo, str(job.source))
        except (ImageError, OSError) as error:
            missing = isinstance(photo, Path) and not photo.exists()
            return Made(None, reason=str(error), missing=missing)
        return Made(_add_tag(self._save(job, digest, result), job.source))

    def _fetch_all(self, jobs: Sequence[Job]) -> Generator[Fetched, None, None]:
        """What there is of each photo, in order."""
        if all(isinstance(job.source, Path) for job, _ in jobs):
            yield from map(self._fetch, jobs)
            return
        from recoseg.io.parallel import prefetch_map  # not above: it waits for torch

        pool = ThreadPoolExecutor(FETCHING)
        try:
            yield from prefetch_map(pool, self._fetch, jobs, AHEAD)
        finally:
            pool.shutdown(cancel_futures=True)

    def _fetch(self, job: Job) -> Fetched:
        photo, entry = job[0].source, job[1]
        if isinstance(photo, Path):
            return photo
        # Its store says that it is the one that was fetched.
        if entry is not None and photo.tag is not None and photo.tag == entry.get("tag"):
            kept = verify_entry(self.out, entry, entry["sha256"])
            if kept is not None:
                return Made(kept, kept=True)
        try:
            return photo.read()
        except ArchiveError as error:
            return Made(None, reason=str(error), missing=True)

    def _segment_photo(self, photo: Path | bytes, name: str) -> tuple[str, Result]:
        if isinstance(photo, Path):
            return _of_one_state(photo, self.segment)
        return _digest(photo), self.segment(images.read(photo, name=name))

    def _save(self, job: InputImage, digest: str, result: Result) -> Entry:
        labels = self.out / "labels" / f"{job.stem}.png"
        overlay = self.out / "overlays" / f"{job.stem}.jpg"
        for path in (labels, overlay):
            durable.make_folder(path.parent)
        result.save(labels)
        save_image(overlay, result.overlay(), quality=90)
        more = result.beside(labels) if isinstance(result, ManyFiled) else ()
        return make_entry(self.out, digest, (labels, overlay, *more), _sort_by_area(result.area))

    def _check_place(self) -> None:
        if not (self.out / MANIFEST).exists():
            raise RecosegError(
                f"{self.out} is not seen from {socket.gethostname()}; put the results on a drive "
                "that all nodes have under the same path."
            )


def results(
    jobs: Sequence[Job], segment: Segment, out: Path, cluster: Cluster | None
) -> Iterator[Made]:
    """Segment all jobs and yield their outcomes, in order.

    Raises:
        RecosegError: a node of the cluster does not see ``out``, or photos that are seen here.
    """
    work = MakeResults(segment, out.absolute())
    if cluster is None:
        yield from work.stream(jobs)
        return
    blocks = [jobs[first : first + BLOCK] for first in range(0, len(jobs), BLOCK)]
    for block, made in zip(blocks, cluster.map(work, blocks), strict=True):
        # Of what is fetched over a network one alone may fail for a moment.
        blind = all(found.missing for found in made)
        for (job, _), found in zip(block, made, strict=True):
            if found.missing and (blind or isinstance(job.source, Path)) and _is_seen(job.source):
                raise RecosegError(
                    f"{job.source} is seen here and not from all nodes of the cluster; put the "
                    "photos on a drive that they have under the same path, or give the nodes the "
                    "packages, keys and network that the URL takes."
                )
            yield found


def _is_seen(photo: Photo) -> bool:
    if isinstance(photo, Path):
        return photo.exists()
    with contextlib.suppress(ArchiveError):
        return bool(photo.read())
    return False


def _add_tag(entry: Entry, photo: Photo) -> Entry:
    tag = None if isinstance(photo, Path) else photo.tag
    return entry if tag is None else {**entry, "tag": tag}


def _digest(photo: Path | bytes) -> str:
    """Of the bytes; empty if they are gone."""
    if isinstance(photo, bytes):
        return hashlib.sha256(photo).hexdigest()
    with contextlib.suppress(OSError):
        return durable.digest_file(photo)
    return ""


def _of_one_state(path: Path, segment: Segment) -> tuple[str, Result]:
    """The digest of a photo and its segmentation, of the same bytes."""
    for _ in range(ATTEMPTS):
        before = durable.digest_file(path)
        result = segment(path)
        if durable.digest_file(path) == before:
            return before, result
    raise ImageError(f"{path} changes while it is read; wait until it is written.")


def _sort_by_area(area: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(area[name]), 6) for name in sorted(area, key=lambda n: -area[n])}
