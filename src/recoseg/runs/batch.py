"""Many images into one folder of results, resumable: what is done under the same settings stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from recoseg.errors import ImageError
from recoseg.io import durable
from recoseg.io.progress import Progress, track
from recoseg.io.saving import save_image
from recoseg.runs import manifest
from recoseg.runs.inputs import InputImage
from recoseg.runs.manifest import LOCK, file_digest
from recoseg.runs.record import Record

ATTEMPTS = 3


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


@dataclass(frozen=True)
class Outcome:
    """What became of one image.

    Attributes:
        id: as in ``InputImage``.
        state: ``"done"``, ``"kept"`` (it was there already) or ``"failed"``.
        labels: the indexed PNG, None if failed.
        overlay: the picture with colours laid over, None if failed.
        area: name to share of the image in [0, 1], largest first.
        reason: why it failed, in one sentence.
    """

    id: str
    state: str
    labels: Path | None = None
    overlay: Path | None = None
    area: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        paths = {"labels": self.labels, "overlay": self.overlay}
        return {
            "id": self.id,
            "state": self.state,
            **{name: None if path is None else str(path) for name, path in paths.items()},
            "area": dict(self.area),
            "reason": self.reason,
        }

    def summary(self, most: int = 3) -> str:
        """The largest areas in words, for example ``"road 41%, sky 30%, car 9%"``."""
        return ", ".join(f"{name} {share:.0%}" for name, share in list(self.area.items())[:most])


def run(
    jobs: Sequence[InputImage],
    segment: Segment,
    out: Path,
    settings: Mapping[str, Any],
    progress: Progress = True,
) -> Iterator[Outcome]:
    """Segment what is not there yet and yield one outcome per job, in order.

    An image whose results exist, made from the same bytes under the same settings, is kept. One
    that cannot be read fails alone. The manifest is written every few seconds and at the end, so a
    killed run loses no more than that.

    Args:
        jobs: from ``recoseg.runs.inputs.gather``.
        segment: a ``Segmenter`` or anything that is called like one.
        out: the folder to fill: ``labels/``, ``overlays/``, ``manifest.json``.
        settings: all that decides a result, of plain JSON types: a segmenter's ``identity``.
        progress: as in ``recoseg.io.progress.track``.

    Raises:
        Locked: another process writes the same folder.
        InputError: the folder holds something else, or other images' labels of other names.
    """
    ready(out)
    durable.make_folder(out)
    with durable.lock(out / LOCK, str(out)):
        done = Record(out, settings)
        done.begin({job.id: f"labels/{job.stem}.png" for job in jobs})
        try:
            for job in track(jobs, label="segmenting", progress=progress):
                yield _kept(job, out, done) or _segment(job, segment, out, done)
                done.save_now_and_then()
        finally:
            done.save(whole=True)


def ready(out: Path) -> None:
    """Refuse a folder that cannot be filled with results, before the work.

    RecosegError if nothing may be written; InputError if somebody's own files are in the place.
    """
    durable.check_writable(out)
    manifest.check_ours(out)


def _kept(job: InputImage, out: Path, done: Record) -> Outcome | None:
    entry = done.kept(job.id, job.source)
    if entry is None:
        return None
    return Outcome(job.id, "kept", out / entry["labels"], out / entry["overlay"], entry["area"])


def _segment(job: InputImage, segment: Segment, out: Path, done: Record) -> Outcome:
    try:
        digest, result = _of_one_state(job.source, segment)
    except (ImageError, OSError) as error:
        return Outcome(job.id, "failed", reason=str(error))
    labels, overlay = out / "labels" / f"{job.stem}.png", out / "overlays" / f"{job.stem}.jpg"
    for path in (labels, overlay):
        durable.make_folder(path.parent)
    result.save(labels)
    save_image(overlay, result.overlay(), quality=90)
    area = _sorted(result.area)
    more = result.beside(labels) if isinstance(result, ManyFiled) else ()
    done.note(job.id, digest, (labels, overlay, *more), area)
    return Outcome(job.id, "done", labels, overlay, area)


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
