"""ReCo+: unsupervised adaptation of a student to unlabelled images."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recoseg._version import VERSION
from recoseg.datasets import ClassTable
from recoseg.io import durable, locks
from recoseg.io.machines import Cluster
from recoseg.io.progress import Progress
from recoseg.io.stored import drop_copies
from recoseg.learning import curves, plan
from recoseg.learning.checkpoint import Checkpoint
from recoseg.learning.plan import Plan
from recoseg.learning.pseudolabels import (
    Ignoring,
    PseudoLabels,
    make_pseudo_labels,
    read_pseudo_labels,
)
from recoseg.learning.sampling import Sampler
from recoseg.learning.settings import Settings, Validation
from recoseg.learning.teachers import Teacher
from recoseg.learning.team import Team, join_processes
from recoseg.learning.trainer import Trainer, architecture_of, check_batch
from recoseg.learning.training import SAVE_EVERY, TrainingHooks, train
from recoseg.models import encoders
from recoseg.runs.inputs import InputImage, gather
from recoseg.segmenting.interface import ImageSegmenter
from recoseg.segmenting.result import UNKNOWN
from recoseg.student.deeplab import Network
from recoseg.student.student import Student

STUDENT = "student.safetensors"
# Copies of photos that are behind a URL: training reads each many times.
PHOTOS = "photos"


def adapt(
    segmenter: ImageSegmenter,
    folder: str | Path,
    out: str | Path,
    *,
    preset: str | Plan = "small",
    seed: int = 0,
    rounds: int = 1,
    ignoring: Ignoring = Ignoring(),
    validate: Validation | None = None,
    validate_every: int = 0,
    select: bool = False,
    save_every: float = SAVE_EVERY,
    device: str | None = None,
    progress: Progress = True,
    table: ClassTable | None = None,
    images: int | None = None,
    cluster: Cluster | None = None,
) -> Student:
    """Label unlabelled images with a segmenter and train a small network on the labels.

    The same call goes on after any interruption; processes of ``torchrun`` train as one.

    Args:
        segmenter: the teacher.
        folder: of the target's images or tar files, or its URL; no labels are read from it.
        out: a folder for ``student.safetensors``, ``report.json``, ``curves.png`` and the rounds,
            and for copies of images behind a URL (``photos``; to be deleted at will at the end).
        preset: ``"small"``, ``"paper"``, or a ``recoseg.learning.plan.Plan``.
        seed: of everything random.
        rounds: 2 trains a second student on the labels of the first, and so on.
        ignoring: which pixels are ignored in training.
        validate: gives a student a mark; reported, and used for nothing unless ``select``.
        validate_every: iterations between marks, and one at the end; 0 for the end alone.
        select: keep the best-marked student instead of the last; the report says so.
        save_every: seconds between checkpoints.
        device: where to train, by default CUDA if present.
        progress: as in ``track``.
        table: a dataset whose classes are learnt from a teacher of their parts; None for its names.
        images: so many of the folder's images, chosen evenly; None for all.
        cluster: label there and not here; the labels are the same. Training stays here.

    Raises:
        TrainingError: a package is missing, or plan, data or an earlier run in ``out`` forbid it.
        Locked: another process trains into ``out``.
        MissingWeights: the encoder's weights are not there; nothing starts from random silently.
    """
    rest = (validate, validate_every, select, save_every, progress, table, cluster)
    settings = Settings(_plan(preset), seed, rounds, ignoring, *rest)
    return _adapt_locked(segmenter, _jobs(folder, Path(out), images), Path(out), settings, device)


def _plan(preset: str | Plan) -> Plan:
    return plan.preset(preset) if isinstance(preset, str) else preset


def _jobs(folder: str | Path, out: Path, count: int | None) -> list[InputImage]:
    """So many of the folder's images, evenly; all if there are no more."""
    jobs = gather([folder], leave_out=out, copies=out.absolute() / PHOTOS)
    if count is None or count >= len(jobs):
        return jobs
    return [jobs[number * len(jobs) // count] for number in range(count)]


def _adapt_locked(
    teacher: ImageSegmenter,
    jobs: list[InputImage],
    home: Path,
    settings: Settings,
    device: str | None,
) -> Student:
    durable.make_folder(home)
    with join_processes(device) as team, contextlib.ExitStack() as locked:
        if team.is_main:
            locked.enter_context(locks.hold(home / ".lock", str(home)))
            drop_copies(home.absolute() / PHOTOS, [job.source for job in jobs])
        return _rounds(teacher, jobs, home, settings, team)


def _rounds(
    teacher: ImageSegmenter, jobs: list[InputImage], out: Path, settings: Settings, team: Team
) -> Student:
    """Each round's student is the next one's teacher; the last is the result."""
    curves.check()
    reports = []
    for number in range(1, settings.rounds + 1):
        home = out / f"round-{number}"
        student, report, losses = _Round(teacher, jobs, home, settings, team).run()
        reports.append(report)
        teacher = student
        if team.is_main:
            # The pictures come last: one that fails must not cost the student.
            if number == settings.rounds:
                student.save(out / STUDENT)
                _report(out, reports)
            curves.draw_curves(home / "curves.png", losses, settings.plan, report["validation"])
    if team.is_main:
        durable.write(out / "curves.png", (home / "curves.png").read_bytes())
    team.barrier()
    return student


class _Round:
    """Labels of one teacher, and the student trained on them."""

    def __init__(
        self,
        teacher: ImageSegmenter,
        jobs: list[InputImage],
        home: Path,
        settings: Settings,
        team: Team,
    ) -> None:
        self.teacher, self.jobs, self.home = teacher, jobs, home
        self.settings, self.team = settings, team
        self._told: dict[str, Any] = {}

    def run(self) -> tuple[Student, dict[str, Any], list[float]]:
        """The student, what is reported of it, and the loss of each step."""
        asked = self.settings
        # All that may be impossible or missing is found before hours of labelling.
        check_batch(asked.plan, self.team)
        encoder = encoders.find_encoder(asked.plan.encoder)
        names = self.teacher.names if asked.table is None else asked.table.classes
        classes = sum(name != UNKNOWN for name in names)
        architecture = architecture_of(asked.plan, encoder, classes)
        network = Network.initialise(architecture, encoder, asked.seed)
        teaching = self._label()
        self._told = self._provenance(teaching, encoder.origin)
        trainer = Trainer(network, asked.plan, asked.seed, self.team, teaching.shares)
        checkpoint = Checkpoint(self.home / "checkpoint.safetensors", self._identity())

        def student(network: Network) -> Student:
            told = {**self._told, "iteration": trainer.iteration, "selected": self._selection}
            return Student(network, teaching.names, architecture, told, device=self.team.device)

        watch = self._watch(lambda trained: student(trained.result))
        train(trainer, Sampler(teaching.pairs, asked.plan, asked.seed), checkpoint, watch)
        losses = list(trainer.losses)
        if watch.best is not None:
            self.team.barrier()
            Checkpoint(watch.best, checkpoint.settings).restore(trainer)
        result = student(trainer.result)
        report = {
            **result.provenance,
            "labels": dict(teaching.coverage),
            "failed": dict(teaching.failed),
            "loss": losses[-1],
            "validation": [{"iteration": t, "score": s} for t, s in checkpoint.scores],
        }
        return result, report, losses

    @property
    def _selection(self) -> str:
        return "best on validation labels" if self.settings.select else "last"

    def _label(self) -> PseudoLabels:
        """The leading process labels; the others wait and read."""
        asked, home, geometry = self.settings, self.home / "labels", self.settings.plan.geometry
        teacher = Teacher(self.teacher, self.teacher.names, geometry, asked.table)
        if not self.team.is_main:
            self.team.barrier()
            return read_pseudo_labels(self.jobs, teacher.names, home, geometry)
        facts = {**self.teacher.identity, **teacher.facts}
        teaching = make_pseudo_labels(
            *(self.jobs, teacher, teacher.names, home, facts),
            *(asked.ignoring, geometry, asked.progress, asked.cluster),
        )
        self.team.barrier()
        return teaching

    def _provenance(self, teaching: PseudoLabels, origin: str) -> dict[str, Any]:
        return {
            "recoseg": VERSION,
            "teacher": self.teacher.identity,
            "images": len(teaching.pairs),
            "encoder": f"{self.settings.plan.encoder}: {origin}",
            "plan": self.settings.plan.to_dict(),
            "seed": self.settings.seed,
            "ignoring": vars(self.settings.ignoring),
            **({"classes": list(teaching.names)} if self.settings.table is not None else {}),
        }

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be continued: all of it, and the very images."""
        images = [job.id for job in self.jobs]
        facts: dict[str, Any] = json.loads(json.dumps({**self._told, "images": images}))
        return facts

    def _watch(self, student: Callable[[Trainer], Student]) -> TrainingHooks:
        asked, validate = self.settings, self.settings.validate
        return TrainingHooks(
            save_every=asked.save_every,
            score=None if validate is None else lambda trained: float(validate(student(trained))),
            score_every=asked.validate_every or asked.plan.iterations,
            best=self.home / "best.safetensors" if asked.select else None,
            progress=asked.progress,
        )


def _report(out: Path, reports: list[dict[str, Any]]) -> None:
    data = {"rounds": reports, "student": STUDENT, "selected": reports[-1]["selected"]}
    durable.write(out / "report.json", json.dumps(data, indent=1).encode())
