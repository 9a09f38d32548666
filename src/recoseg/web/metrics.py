"""Counts of what was asked and how long it took, as Prometheus reads them."""

from __future__ import annotations

import mmap
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recoseg.web.worker import Worker

BUCKETS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0)
Key = tuple[str, str, int]


class Metrics:
    """Numbers since the server began."""

    def __init__(self) -> None:
        """All at zero."""
        self._lock = threading.Lock()
        self._requests: Counter[Key] = Counter()
        self._seconds: Counter[str] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._counts: Counter[str] = Counter()

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered."""
        with self._lock:
            self._requests[(method, route, status)] += 1
            self._counts[route] += 1
            self._seconds[route] += seconds  # type: ignore[assignment]
            for bucket in BUCKETS:
                if seconds <= bucket:
                    self._buckets[(route, bucket)] += 1

    def text(self, worker: Worker) -> str:
        """Everything in Prometheus' text format."""
        running, waiting = worker.counts()
        states = Counter(job.state for job in worker.jobs())
        with self._lock:
            requests = [
                f'recoseg_requests_total{{method="{method}",route="{route}",status="{status}"}} {n}'
                for (method, route, status), n in sorted(self._requests.items())
            ]
            seconds = [line for route in sorted(self._counts) for line in self._histogram(route)]
        parts = {
            "recoseg_requests_total counter": requests,
            "recoseg_request_seconds histogram": seconds,
            "recoseg_jobs_running gauge": [f"recoseg_jobs_running {running}"],
            "recoseg_jobs_waiting gauge": [f"recoseg_jobs_waiting {waiting}"],
            "recoseg_jobs_waiting_bound gauge": [f"recoseg_jobs_waiting_bound {worker.bound}"],
            "recoseg_jobs_remembered gauge": [
                f'recoseg_jobs_remembered{{state="{state}"}} {n}'
                for state, n in sorted(states.items())
            ],
            "process_resident_memory_bytes gauge": [f"process_resident_memory_bytes {resident()}"],
        }
        return "".join(
            f"# TYPE {kind}\n" + "".join(f"{line}\n" for line in lines)
            for kind, lines in parts.items()
        )

    def _histogram(self, route: str) -> list[str]:
        name, n = "recoseg_request_seconds", self._counts[route]
        lines = [
            f'{name}_bucket{{route="{route}",le="{b}"}} {self._buckets[(route, b)]}'
            for b in BUCKETS
        ]
        return [
            *lines,
            f'{name}_bucket{{route="{route}",le="+Inf"}} {n}',
            f'{name}_sum{{route="{route}"}} {self._seconds[route]:.6f}',
            f'{name}_count{{route="{route}"}} {n}',
        ]


class Counting:
    """Notes every request of an application, by the route's pattern and not by its address."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Count what ``app`` answers."""
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve and note one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            method, route = _named(scope)
            self.metrics.note(method, route, status, time.perf_counter() - start)


def _named(scope: Scope) -> tuple[str, str]:
    """Method and pattern; only what is known becomes a name, or strangers could make millions."""
    pattern = getattr(scope.get("route"), "path", None)
    if pattern is None:
        return "ANY", "other"
    below = scope["path"].startswith("/api/") and not pattern.startswith("/api/")
    return scope["method"], f"/api{pattern}" if below else pattern


def resident() -> int:
    """Bytes of memory that this process holds; its peak, or 0, where the system tells no more."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE
    except OSError:
        if sys.platform == "win32":
            return 0
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
