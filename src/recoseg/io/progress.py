"""Progress reports on stderr (a bar in a terminal, sparse lines elsewhere) or to a callback."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, TextIO, TypeVar

if TYPE_CHECKING:
    from rich.progress import Task
    from rich.text import Text

T = TypeVar("T")
Label = str | Callable[[], str]
Progress = bool | Callable[[int, int], None]
Step = Callable[[], object]
EVERY = 10.0


def quiet_step() -> None:
    """Progress step that does nothing."""


class Advance(Protocol):
    """Function that counts finished items."""

    def __call__(self, count: int = 1) -> None:
        """One more, or ``count``."""
        ...


def track(
    items: Iterable[T],
    total: int | None = None,
    label: Label = "working",
    progress: Progress = True,
) -> Iterator[T]:
    """Yield ``items`` and report progress after each.

    Args:
        items: what to go through.
        total: how many there are; by default their length.
        label: what is being done, for example ``"indexing"``; or a function that says it anew
            each time it is shown.
        progress: False for silence, True for stderr, or a function of (done, total).
    """
    if total is None:
        total = len(items) if isinstance(items, Collection) else 0
    with reporting(label, total, progress) as advance:
        for item in items:
            yield item
            advance(1)


@contextlib.contextmanager
def reporting(label: Label, total: int, progress: Progress = True) -> Iterator[Advance]:
    """Context manager that gives ``advance(n)``, which reports n more items done.

    A callback is first called with (0, total); what it raises ends the work.
    """
    reporter = _reporter(label, total) if progress is True else None
    show = reporter.show if reporter else progress if callable(progress) else None
    done = 0

    def advance(count: int = 1) -> None:
        nonlocal done
        done += count
        if show:
            show(done, total)

    try:
        advance(0)
        yield advance
    finally:
        if reporter:
            reporter.close()


def summary(done: int, total: int, seconds: float) -> str:
    """For example ``"1,200 of 12,700 (9 %), 41/s, 4 min 41 s left"``."""
    text = f"{done:,} of {total:,} ({100 * done // total} %)" if total else f"{done:,}"
    rate = done / seconds if seconds > 0 else 0.0
    if rate == 0:
        return text
    text += f", {rate:,.0f}/s" if rate >= 10 else f", {rate:.2g}/s"
    left = remaining(done, total, seconds)
    return f"{text}, {_duration(left)} left" if left else f"{text}, took {_duration(seconds)}"


def remaining(done: int, total: int, seconds: float) -> float | None:
    """Seconds left at the pace so far; None before anything is done."""
    return seconds * max(0, total - done) / done if done > 0 and seconds > 0 else None


def _duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def _reporter(label: Label, total: int) -> _Bar | _Lines:
    if sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            return _Bar(label, total)
    return _Lines(label, sys.stderr)


def _text_of(label: Label) -> str:
    return label if isinstance(label, str) else label()


class _Lines:
    """A line every ``EVERY`` seconds, and one at the end of work that took at least that long."""

    def __init__(
        self, label: Label, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.label, self.stream, self.clock = label, stream, clock
        self.start = self.last = clock()
        self.unwritten = ""

    def show(self, done: int, total: int) -> None:
        now = self.clock()
        self.unwritten = f"{_text_of(self.label)}: {summary(done, total, now - self.start)}\n"
        if now - self.last >= EVERY:
            self.last = now
            self._write()

    def close(self) -> None:
        if self.unwritten and self.clock() - self.start >= EVERY:
            self._write()

    def _write(self) -> None:
        self.stream.write(self.unwritten)
        self.stream.flush()
        self.unwritten = ""


class _Bar:
    """A live bar with count, rate and time left; silent inside another live display."""

    def __init__(self, label: Label, total: int) -> None:
        from rich.console import Console
        from rich.errors import LiveError
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(
                    f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed"
                )

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self.bar = Progress(*columns, Rate(), TimeRemainingColumn(), console=Console(stderr=True))
        self.label = label
        self.task = self.bar.add_task(_text_of(label), total=total or None)
        with contextlib.suppress(LiveError):
            self.bar.start()

    def show(self, done: int, total: int) -> None:
        self.bar.update(self.task, completed=done, description=_text_of(self.label))

    def close(self) -> None:
        self.bar.stop()
