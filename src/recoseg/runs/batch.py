"""Many images into one folder of results, resumable: what is done under the same settings stays."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoseg._version import VERSION
from recoseg.errors import ImageError, InputError
from recoseg.io import durable
from recoseg.io.progress import Progress, track
from recoseg.io.saving import save_image
from recoseg.runs.identity import file_digest
from recoseg.runs.jobs import Job

if TYPE_CHECKING:
    from recoseg.segmenting.segmenter import Segmentation

FORMAT = "recoseg-segmentation/1"
MANIFEST = "manifest.json"
SAVE_EVERY = 2.0

Segment = Callable[[Path], "Segmentation"]


@dataclass(frozen=True)
class Outcome:
    """What became of one image.

    Attributes:
        id: as in ``Job``.
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
    jobs: Sequence[Job],
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
        jobs: from ``recoseg.runs.jobs.gather``.
        segment: a ``Segmenter`` or anything that is called like one.
        out: the folder to fill: ``labels/``, ``overlays/``, ``manifest.json``.
        settings: all that decides a result, of plain JSON types.
        progress: as in ``recoseg.io.progress.track``.

    Raises:
        Locked: another process writes the same folder.
        InputError: the folder holds something else, or other images' labels of other names.
    """
    ready(out)
    durable.make_folder(out)
    with durable.lock(out / ".lock", str(out)), _Manifest(out, settings, jobs) as manifest:
        for job in track(jobs, label="segmenting", progress=progress):
            yield manifest.kept(job) or _segment(job, segment, out, manifest)
            manifest.save_now_and_then()


def ready(out: Path) -> None:
    """Refuse a folder that cannot be filled with results, before the work.

    RecosegError if nothing may be written; InputError if somebody's own files are in the place.
    """
    durable.check_writable(out)
    if (out / MANIFEST).exists():
        read_manifest(out / MANIFEST)
        return
    for folder in (out / "labels", out / "overlays"):
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder} holds files of something else; choose another folder.")


def _segment(job: Job, segment: Segment, out: Path, manifest: _Manifest) -> Outcome:
    try:
        digest = file_digest(job.source)
        result = segment(job.source)
    except (ImageError, OSError) as error:
        return Outcome(job.id, "failed", reason=str(error))
    labels, overlay = out / "labels" / f"{job.stem}.png", out / "overlays" / f"{job.stem}.jpg"
    for path in (labels, overlay):
        durable.make_folder(path.parent)
    result.save(labels)
    save_image(overlay, result.overlay(), quality=90)
    outcome = Outcome(job.id, "done", labels, overlay, _sorted(result.area))
    manifest.record(outcome, digest)
    return outcome


class _Manifest:
    """``manifest.json``: the settings, and for every finished image its digest and results."""

    def __init__(self, out: Path, settings: Mapping[str, Any], jobs: Sequence[Job]) -> None:
        self.out, self.path, self.jobs = out, out / MANIFEST, jobs
        self.settings = json.loads(json.dumps(settings))
        self.images: dict[str, dict[str, Any]] = {}
        self.saved = time.monotonic()

    def __enter__(self) -> _Manifest:
        if self.path.exists():
            held = read_manifest(self.path)
            self._refuse_strangers(held)
            # Results of other settings are not deleted, only made again one by one.
            if held.get("settings") == self.settings and held.get("recoseg") == VERSION:
                self.images = held["images"]
        # At once, so that labels without a manifest are known to be somebody else's.
        self.save()
        return self

    def _refuse_strangers(self, held: Mapping[str, Any]) -> None:
        """InputError if label maps would stay whose indices ``names.json`` tells no longer."""
        strangers = held["images"].keys() - {job.id for job in self.jobs}
        if strangers and held.get("settings", {}).get("names") != self.settings.get("names"):
            raise InputError(
                f"{self.out} holds other images, cut up by other names; choose another folder."
            )

    def __exit__(self, *_: object) -> None:
        self.save()

    def kept(self, job: Job) -> Outcome | None:
        entry = self.images.get(job.id)
        if entry is None:
            return None
        labels, overlay = self.out / entry["labels"], self.out / entry["overlay"]
        if not (labels.is_file() and overlay.is_file()):
            return None
        with contextlib.suppress(OSError):
            if file_digest(job.source) == entry["sha256"]:
                return Outcome(job.id, "kept", labels, overlay, entry["area"])
        return None

    def record(self, outcome: Outcome, digest: str) -> None:
        if outcome.labels is None or outcome.overlay is None:
            return
        self.images[outcome.id] = {
            "sha256": digest,
            "labels": outcome.labels.relative_to(self.out).as_posix(),
            "overlay": outcome.overlay.relative_to(self.out).as_posix(),
            "area": dict(outcome.area),
        }

    def save_now_and_then(self) -> None:
        if time.monotonic() - self.saved >= SAVE_EVERY:
            self.save()

    def save(self) -> None:
        data = {
            "format": FORMAT,
            "recoseg": VERSION,
            "settings": self.settings,
            "images": self.images,
        }
        durable.write(self.path, json.dumps(data, indent=1).encode())
        self.saved = time.monotonic()


def finished(out: Path) -> dict[str, Path]:
    """Image id to the indexed PNG of its labels, of all that a folder's manifest records."""
    return {
        id: out / entry["labels"] for id, entry in read_manifest(out / MANIFEST)["images"].items()
    }


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a folder of results; InputError if it is something else."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        held = None
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        raise InputError(f"{path} is not a record of segmented images; choose another folder.")
    return held


def _sorted(area: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(area[name]), 6) for name in sorted(area, key=lambda n: -area[n])}
