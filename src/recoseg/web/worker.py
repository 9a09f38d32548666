"""Bounded queue of jobs, run by one worker thread."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

from recoseg.errors import RecosegError
from recoseg.io.progress import remaining
from recoseg.web.failures import LOG, Busy, Missing, describe_unexpected, status_of

State = Literal["waiting", "running", "done", "failed", "cancelled"]
OnStep = Callable[[int, int], None]
Work = Callable[[OnStep], dict[str, Any]]
KEPT = 200


class Cancelled(Exception):
    """Raised out of a progress callback, to end the work at a step."""


@dataclass(eq=False)
class Job:
    """A piece of work and how far it is.

    Attributes:
        kind: "segment", "index", "preview" and so on.
        label: what is done, for people.
        work: called with a function of (done, total); returns the result, of plain JSON types.
        index: id of the index that it is about.
        patient: whether other jobs may go first between its steps.
        status: what to answer where a request waited for it, if it failed.
    """

    kind: str
    label: str
    work: Work
    index: str | None = None
    patient: bool = False
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    state: State = "waiting"
    done: int = 0
    total: int | None = None
    started: float = 0.0
    error: str | None = None
    status: int = 200
    result: dict[str, Any] | None = None
    unwanted: bool = False
    finished: Future[Job] = field(default_factory=Future)

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None unless it runs and knows how much there is to do."""
        if self.state != "running" or not self.total:
            return None
        return remaining(self.done, self.total, time.monotonic() - self.started)


class Worker:
    """Runs jobs one after the other; models are not safe to use from several threads."""

    def __init__(self, bound: int) -> None:
        """Set how many jobs may wait."""
        self.bound = bound
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._closing = False
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> Job:
        """Let a job wait for its turn.

        Raises:
            Busy: as many as may wait do, or the server is ending.
        """
        with self._changed:
            self._check_room()
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._forget(len(self._jobs) - KEPT)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="work", daemon=True)
                self._thread.start()
            self._changed.notify()
        return job

    def check_room(self) -> None:
        """Busy if a job could not be submitted now."""
        with self._changed:
            self._check_room()

    def find(self, id: str) -> Job:
        """The job of an id; Missing if there is none, or it was long ago."""
        with self._changed:
            if id not in self._jobs:
                raise Missing("there is no such job, or it was done long ago; start it again.")
            return self._jobs[id]

    def jobs(self) -> list[Job]:
        """All that are remembered, newest first."""
        with self._changed:
            return list(reversed(self._jobs.values()))

    def counts(self) -> tuple[int, int]:
        """How many run and how many wait."""
        with self._changed:
            return len(self._running), len(self._waiting)

    def cancel(self, id: str) -> Job:
        """End a job: at once if it waits, at its next step if it runs."""
        job = self.find(id)
        with self._changed:
            job.unwanted = True
            if job in self._waiting:
                self._waiting.remove(job)
                self._finish(job, "cancelled")
        return job

    def close(self) -> None:
        """Cancel everything and wait until the running step is over."""
        with self._changed:
            self._closing = True
            for job in [*self._waiting, *self._running]:
                job.unwanted = True
            while self._waiting:
                self._finish(self._waiting.popleft(), "cancelled")
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _check_room(self) -> None:
        if self._closing:
            raise Busy("the server is ending; start it again, then repeat this.", 10)
        if len(self._waiting) >= self.bound:
            raise Busy(f"The server is busy: {self.bound} jobs wait already; try again in a while.")

    def _forget(self, count: int) -> None:
        """Let go of the oldest jobs that are over."""
        over = [job.id for job in self._jobs.values() if job.over]
        for id in over[: max(0, count)]:
            del self._jobs[id]

    def _loop(self) -> None:
        while (job := self._next(wait=True)) is not None:
            self._run(job)

    def _next(self, *, wait: bool) -> Job | None:
        with self._changed:
            while wait and not self._waiting and not self._closing:
                self._changed.wait()
            # Behind a patient job that runs, only those wait that would hold it up shortly.
            chosen = next((j for j in self._waiting if wait or not j.patient), None)
            if chosen is not None:
                self._waiting.remove(chosen)
                self._running.append(chosen)
                chosen.state, chosen.started = "running", time.monotonic()
            return chosen

    def _run(self, job: Job) -> None:
        try:
            job.result = job.work(lambda done, total: self._step(job, done, total))
            self._end(job, "cancelled" if job.unwanted else "done")
        except Cancelled:
            self._end(job, "cancelled")
        except RecosegError as error:
            job.error, job.status = str(error), status_of(error)
            self._end(job, "failed")
        # Nothing that one job does may end the thread that all others need.
        except BaseException as error:
            LOG.exception("job %s (%s) failed", job.id, job.kind)
            job.error, job.status = describe_unexpected(error), 500
            self._end(job, "failed")

    def _step(self, job: Job, done: int, total: int) -> None:
        job.done, job.total = done, total or None
        while job.patient and not job.unwanted and (other := self._next(wait=False)) is not None:
            self._run(other)
        if job.unwanted:
            raise Cancelled

    def _end(self, job: Job, state: State) -> None:
        with self._changed:
            self._running.remove(job)
            self._finish(job, state)

    def _finish(self, job: Job, state: State) -> None:
        if state != "done":
            job.result = None
        job.state = state
        job.work = _do_nothing  # lets go of the upload that it holds
        with contextlib.suppress(Exception):
            job.finished.set_result(job)


def _do_nothing(step: OnStep) -> dict[str, Any]:
    """In the place of work that is over."""
    return {}
