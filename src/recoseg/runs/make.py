"""Result files of images, made here or by many machines, each whole or not there."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from PIL import Image

from recoseg.errors import ImageError, RecosegError
from recoseg.io import durable
from recoseg.io.machines import Cluster
from recoseg.io.saving import save_image
from recoseg.runs.inputs import InputImage
from recoseg.runs.manifest import MANIFEST, file_digest
from recoseg.runs.record import Entry, entry_of, verified

ATTEMPTS = 3
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


Segment = Callable[[Path], Result]

# An image, and what is recorded of its results, if anything is.
Job = tuple[InputImage, Entry | None]


class Made(NamedTuple):
    """What is to be recorded of an image; without an entry it failed, for a reason."""

    entry: Entry | None
    kept: bool = False
    reason: str = ""
    missing: bool = False


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
        return [self.make(*job) for job in block]

    def make(self, job: InputImage, entry: Entry | None) -> Made:
        """One image's results."""
        kept = None if entry is None else verified(self.out, entry, job.source)
        if kept is not None:
            return Made(kept, kept=True)
        try:
            digest, result = _of_one_state(job.source, self.segment)
        except (ImageError, OSError) as error:
            return Made(None, reason=str(error), missing=not job.source.exists())
        labels = self.out / "labels" / f"{job.stem}.png"
        overlay = self.out / "overlays" / f"{job.stem}.jpg"
        for path in (labels, overlay):
            durable.make_folder(path.parent)
        result.save(labels)
        save_image(overlay, result.overlay(), quality=90)
        more = result.beside(labels) if isinstance(result, ManyFiled) else ()
        return Made(entry_of(self.out, digest, (labels, overlay, *more), _sorted(result.area)))

    def _check_place(self) -> None:
        if not (self.out / MANIFEST).exists():
            raise RecosegError(
                f"{self.out} is not seen from {socket.gethostname()}; put the results on a drive "
                "that all nodes have under the same path."
            )


def results(
    jobs: Sequence[Job], segment: Segment, out: Path, cluster: Cluster | None
) -> Iterator[Made]:
    """What becomes of each job, in order.

    Raises:
        RecosegError: a node of the cluster does not see ``out``, or photos that are seen here.
    """
    work = MakeResults(segment, out.absolute())
    if cluster is None:
        yield from (work.make(*job) for job in jobs)
        return
    blocks = [jobs[first : first + BLOCK] for first in range(0, len(jobs), BLOCK)]
    for block, made in zip(blocks, cluster.map(work, blocks), strict=True):
        for (job, _), found in zip(block, made, strict=True):
            if found.missing and job.source.exists():
                raise RecosegError(
                    f"{job.source} is seen here and not from all nodes of the cluster; put the "
                    "photos on a drive that they have under the same path."
                )
            yield found


def _of_one_state(path: Path, segment: Segment) -> tuple[str, Result]:
    """The digest of a photo and its segmentation, of the same bytes."""
    for _ in range(ATTEMPTS):
        before = file_digest(path)
        result = segment(path)
        if file_digest(path) == before:
            return before, result
    raise ImageError(f"{path} changes while it is read; wait until it is written.")


def _sorted(area: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(area[name]), 6) for name in sorted(area, key=lambda n: -area[n])}
