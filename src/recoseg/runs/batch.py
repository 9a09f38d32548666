"""Many images into one folder of results, resumable: what is done under the same settings stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recoseg.io import durable, locks
from recoseg.io.machines import Cluster
from recoseg.io.progress import Progress, track
from recoseg.runs import make, manifest
from recoseg.runs.inputs import InputImage
from recoseg.runs.make import Made, Segment
from recoseg.runs.manifest import LOCK
from recoseg.runs.record import Record


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
    cluster: Cluster | None = None,
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
        cluster: segment there and not here; the files are the same.

    Raises:
        Locked: another process writes the same folder.
        InputError: the folder holds something else, or other images' labels of other names.
    """
    ready(out)
    durable.make_folder(out)
    with locks.hold(out / LOCK, str(out)):
        done = Record(out, settings)
        done.begin({job.id: f"labels/{job.stem}.png" for job in jobs})
        held = [(job, done.images.get(job.id)) for job in jobs]
        made = make.results(held, segment, out, cluster)
        try:
            for job, found in zip(
                jobs, track(made, len(jobs), "segmenting", progress), strict=True
            ):
                if found.entry is not None:
                    done.note(job.id, found.entry)
                yield _outcome(job, found, out)
                done.save_now_and_then()
        finally:
            done.save(whole=True)


def ready(out: Path) -> None:
    """Refuse a folder that cannot be filled with results, before the work.

    RecosegError if nothing may be written; InputError if somebody's own files are in the place.
    """
    durable.check_writable(out)
    manifest.check_ours(out)


def _outcome(job: InputImage, made: Made, out: Path) -> Outcome:
    if made.entry is None:
        return Outcome(job.id, "failed", reason=made.reason)
    state, entry = "kept" if made.kept else "done", made.entry
    return Outcome(job.id, state, out / entry["labels"], out / entry["overlay"], entry["area"])
