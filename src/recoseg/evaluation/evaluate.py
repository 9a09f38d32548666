"""Systems measured on a dataset: streaming, in parallel, resumable per image (paper section 4)."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from recoseg.datasets import Dataset, Sample
from recoseg.errors import InputError
from recoseg.evaluation import protocols, published, results
from recoseg.evaluation.clock import Clock
from recoseg.evaluation.metrics import Counts, count, scores
from recoseg.evaluation.predictions import CLUSTERS
from recoseg.evaluation.protocols import Protocol
from recoseg.evaluation.provenance import provenance
from recoseg.evaluation.results import Report
from recoseg.evaluation.system_groups import panel
from recoseg.evaluation.systems import Panel, Segments, System, digest
from recoseg.evaluation.tallies import Tallies
from recoseg.io.parallel import over
from recoseg.io.progress import Progress, reporting

Match = Literal["name", "hungarian"]
# Counts of one image by system.
Counted = tuple[Sample, str, Mapping[str, Counts]]
VERSION = 1


def evaluate(
    segmenter: Segments | Panel | Mapping[str, Segments],
    dataset: Dataset,
    protocol: str | Protocol = "original",
    *,
    out: str | Path | None = None,
    match: Match = "name",
    workers: int | None = None,
    progress: Progress = True,
) -> Report:
    """Measure one system, or several side by side, with one global confusion matrix each.

    Names of predictions are linked to classes directly; what has no class counts as wrong. Void
    does not count.

    Args:
        segmenter: a ``Segmenter``, anything called like one that has ``names``, several of these
            by name, or a panel of ``recoseg.evaluation.systems``.
        dataset: from ``recoseg.datasets.open``.
        protocol: geometry and classes (``recoseg.evaluation.protocols``).
        out: folder in which counts are kept image by image, so that a killed run goes on, and
            where ``report.json`` is written; None keeps nothing.
        match: ``"hungarian"`` matches unnamed clusters with the classes, after all is counted.
        workers: threads, each working on an image of its own; by default one per core.
        progress: as in ``recoseg.io.progress.track``.

    Raises:
        InputError: the protocol is for another dataset, or no name is one of its classes.
        DatasetError, ImageError: a file is broken; the message names it.
    """
    run = Run(panel(segmenter), dataset, protocols.protocol(protocol), match)
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
        match: how predictions become classes.
        clock: where the time went, in this process.
    """

    panel: Panel
    dataset: Dataset
    protocol: Protocol
    match: Match = "name"
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        """Check that everything fits together before any work is done."""
        wanted = self.protocol.dataset
        if wanted is not None and wanted != self.dataset.name:
            raise InputError(
                f"the protocol {self.protocol.name} is for {wanted}, not {self.dataset.name}; "
                "choose another, or 'original'."
            )
        if self.match == "name":
            for system in self.panel.systems:
                system.columns(self.dataset.table)

    @property
    def shape(self) -> tuple[int, int]:
        """(C, P) of the confusion matrices."""
        classes = len(self.dataset.table.classes)
        return classes, classes if self.match == "name" else CLUSTERS

    def key(self, system: System) -> str:
        """Digest of all that decides a system's counts but the images themselves."""
        table, shown = self.dataset.table, self.protocol
        geometry = (shown.short_side, shown.crop, shown.resampling)
        meaning = (table.names, table.ids, sorted(table.void), table.classes, table.merge)
        place = (self.dataset.name, self.dataset.variant, str(self.dataset.root.resolve()))
        return digest(VERSION, system.key, system.names, geometry, meaning, place, self.match)

    def work(self, tallies: Tallies, workers: int, progress: Progress = True) -> None:
        """Count every image that is not counted yet, for every system that lacks it."""
        held = {system.name: tallies.stamps(self.key(system)) for system in self.panel.systems}
        keys = {system.name: self.key(system) for system in self.panel.systems}
        running = _Running(self.panel.systems, self.shape, self.match)
        jobs = list(self._missing(held))
        with reporting(running.label, len(self.dataset), progress) as advance:
            advance(len(self.dataset) - len(jobs))
            for sample, stamp, found in over(self._count, jobs, workers):
                for name, counts in found.items():
                    tallies.add(keys[name], sample.id, stamp, counts)
                    running.add(name, counts)
                advance(1)

    def counts(self, tallies: Tallies, system: System) -> Iterator[Counts]:
        """Counts of every sample, in order."""
        ids = [sample.id for sample in self.dataset]
        return tallies.counts(self.key(system), ids, self.shape)

    def report(self, tallies: Tallies, **facts: Any) -> Report:
        """The report of all that is counted; ``facts`` go into its provenance."""
        systems = self.panel.systems
        match = self.match == "hungarian"
        return Report(
            provenance=provenance(
                shares={kind: round(share, 4) for kind, share in self.clock.shares.items()},
                keys={system.name: self.key(system) for system in systems},
                **facts,
            ),
            dataset=results.described(self.dataset),
            protocol=self.protocol.to_dict(),
            systems=[
                results.entry(
                    system,
                    self.dataset,
                    functools.partial(self.counts, tallies, system),
                    match=match,
                )
                for system in systems
            ],
            published=published.rows(self.protocol.name),
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
        columns = {
            system.name: system.columns(self.dataset.table)
            for system in self.panel.systems
            if self.match == "name"
        }
        found = {}
        for name, labels in self.panel.run(image, sample, wanted, self.clock):
            with self.clock("counting"):
                predicted = columns[name][labels] if columns else labels
                found[name] = count(truth, predicted, *self.shape)
        return sample, stamp, found


class _Running:
    """mIoU so far of the last system, for the progress line."""

    def __init__(self, systems: Sequence[System], shape: tuple[int, int], match: Match) -> None:
        self._name = systems[-1].name
        self._total = Counts.none(*shape)
        self._named = match == "name"

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
