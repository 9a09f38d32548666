"""Time accounting by kind of work, over all threads."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping


class Clock:
    """Seconds by kind of work; nested time counts for the inner kind alone."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._thread = threading.local()

    @contextlib.contextmanager
    def __call__(self, kind: str) -> Iterator[None]:
        """Count the time of a ``with`` block as ``kind``."""
        outer = getattr(self._thread, "inside", 0.0)
        self._thread.inside = 0.0
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            with self._lock:
                self._seconds[kind] += spent - self._thread.inside
            self._thread.inside = outer + spent

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds by kind so far, added over threads."""
        with self._lock:
            return dict(self._seconds)

    @property
    def shares(self) -> dict[str, float]:
        """Shares of all seconds counted, in [0, 1], the largest first."""
        seconds = self.seconds
        total = sum(seconds.values()) or 1.0
        return {kind: seconds[kind] / total for kind in sorted(seconds, key=lambda k: -seconds[k])}
