"""Evaluation on a dataset: streaming, parallel, resumable per image (paper section 4)."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recoseg.datasets import Dataset, Sample
from recoseg.errors import InputError
from recoseg.evaluation import protocols, published, results
from recoseg.evaluation.clock import Clock
from recoseg.evaluation.metrics import Counts, count, scores
from recoseg.evaluation.protocols import Protocol
from recoseg.evaluation.provenance import provenance
from recoseg.evaluation.results import Report
from recoseg.evaluation.system_groups import panel
from recoseg.evaluation.systems import Panel, System, digest
from recoseg.evaluation.tallies import Tallies
from recoseg.io.parallel import parallel_map
from recoseg.io.progress import Progress, reporting
from recoseg.segmenting.interface import Labeller

# Counts of one image by system.
Counted = tuple[Sample, str, Mapping[str, Counts]]
VERSION = 1


def evaluate(
    segmenter: Labeller | Panel | Mapping[str, Labeller],
    dataset: Dataset,
    protocol: str | Protocol = "original",
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    progress: Progress = True,
) -> Report:
    """Measure one system, or several side by side, with one global confusion matrix each.

    Names of predictions are linked to classes directly, and what has no class counts as wrong;
    clusters of a system whose ``match`` is ``"hungarian"`` are assigned to classes after all is
    counted. Void does not count.

    Args:
        segmenter: a ``Segmenter``, anything called like one that has ``names``, several of these
            by name, or a panel of ``recoseg.evaluation.systems``.
        dataset: from ``recoseg.datasets.open``.
        protocol: geometry and classes (``recoseg.evaluation.protocols``).
        out: folder in which counts are kept image by image, so that a killed run goes on, and
            where ``report.json`` is written; None keeps nothing.
        workers: threads, each working on an image of its own; by default one per core.
        progress: as in ``recoseg.io.progress.track``.

    Raises:
        InputError: the protocol is for another dataset, or no name is one of its classes.
        DatasetError, ImageError: a file is broken; the message names it.
    """
    run = Run(panel(segmenter), dataset, protocols.protocol(protocol))
    start = time.perf_counter()
    with _folder(out) as folder, Tallies.open(folder) as tallies:
        run.work(tallies, workers or cores(), progress)
        seconds = time.perf_counter() - start
        report = run.report(tallies, seconds=round(seconds, 3), workers=workers or cores())
    if out is not None:
        report.save(out)
    return report


@dataclass(frozen=True)
class Run:
    """Systems on a dataset under a protocol.

    Attributes:
        panel: the systems.
        dataset: the images.
        protocol: how they are prepared.
        clock: where the time went, in this process.
    """

    panel: Panel
    dataset: Dataset
    protocol: Protocol
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        """Check that everything fits together before any work is done."""
        wanted = self.protocol.dataset
        if wanted is not None and wanted != self.dataset.name:
            raise InputError(
                f"the protocol {self.protocol.name} is for {wanted}, not {self.dataset.name}; "
                "choose another, or 'original'."
            )
        for system in self.panel.systems:
            system.columns(self.dataset.table)

    def shape(self, system: System) -> tuple[int, int]:
        """(C, P) of a system's confusion matrix."""
        return len(self.dataset.table.classes), system.predictions(self.dataset.table)

    def key(self, system: System) -> str:
        """Digest of all that decides a system's counts but the images themselves."""
        table, shown = self.dataset.table, self.protocol
        geometry = (shown.short_side, shown.crop, shown.resampling)
        meaning = (table.names, table.ids, sorted(table.void), table.classes, table.merge)
        place = (self.dataset.name, self.dataset.variant, str(self.dataset.root.resolve()))
        return digest(VERSION, system.key, system.names, geometry, meaning, place, system.match)

    def work(self, tallies: Tallies, workers: int, progress: Progress = True) -> None:
        """Count every image that is not counted yet, for every system that lacks it."""
        held = {system.name: tallies.stamps(self.key(system)) for system in self.panel.systems}
        keys = {system.name: self.key(system) for system in self.panel.systems}
        last = self.panel.systems[-1]
        running = _Running(last, self.shape(last))
        jobs = list(self._missing(held))
        with reporting(running.label, len(self.dataset), progress) as advance:
            advance(len(self.dataset) - len(jobs))
            for sample, stamp, found in parallel_map(self._count, jobs, workers):
                for name, counts in found.items():
                    tallies.add(keys[name], sample.id, stamp, counts)
                    running.add(name, counts)
                advance(1)

    def counts(self, tallies: Tallies, system: System) -> Iterator[Counts]:
        """Counts of every sample, in order."""
        ids = [sample.id for sample in self.dataset]
        return tallies.counts(self.key(system), ids, self.shape(system))

    def report(self, tallies: Tallies, **facts: Any) -> Report:
        """The report of all that is counted; ``facts`` go into its provenance."""
        systems = self.panel.systems
        paper = published.rows(self.protocol.name)
        return Report(
            provenance=provenance(
                shares={kind: round(share, 4) for kind, share in self.clock.shares.items()},
                keys={system.name: self.key(system) for system in systems},
                **facts,
            ),
            dataset=results.describe_dataset(self.dataset),
            protocol=self.protocol.to_dict(),
            systems=[
                results.entry(
                    system,
                    self.dataset,
                    functools.partial(self.counts, tallies, system),
                    paper,
                )
                for system in systems
            ],
            published=paper,
        )

    def _missing(
        self, held: Mapping[str, Mapping[str, str]]
    ) -> Iterator[tuple[Sample, str, list[str]]]:
        for sample in self.dataset:
            stamp = sample.stamp
            wanted = [name for name, stamps in held.items() if stamps.get(sample.id) != stamp]
            if wanted:
                yield sample, stamp, wanted

    def _count(self, job: tuple[Sample, str, Sequence[str]]) -> Counted:
        sample, stamp, wanted = job
        with self.clock("read"):
            image, truth = self.dataset.read(sample)
            image, truth = self.protocol.image(image), self.protocol.labels(truth)
        systems = {system.name: system for system in self.panel.systems}
        found = {}
        for name, labels in self.panel.run(image, sample, wanted, self.clock):
            with self.clock("counting"):
                predicted = systems[name].columns(self.dataset.table)[labels]
                found[name] = count(truth, predicted, *self.shape(systems[name]))
        return sample, stamp, found


class _Running:
    """mIoU so far of the last system, for the progress line."""

    def __init__(self, system: System, shape: tuple[int, int]) -> None:
        self._name = system.name
        self._total = Counts.none(*shape)
        self._named = not system.matched

    def add(self, name: str, counts: Counts) -> None:
        if name == self._name:
            self._total += counts

    def label(self) -> str:
        if not self._named or not self._total.confusion.any():
            return "measuring"
        return f"measuring, {self._name} at {100 * scores(self._total).miou:.1f} mIoU"


def cores() -> int:
    """How many threads measure by default."""
    return max(1, min(os.cpu_count() or 1, 8))


@contextlib.contextmanager
def _folder(out: str | Path | None) -> Iterator[Path]:
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="recoseg-") as folder:
        yield Path(folder)
