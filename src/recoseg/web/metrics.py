"""Prometheus metrics: requests by route, their durations, jobs, and the process."""

from __future__ import annotations

import time
from functools import partial
from typing import get_args

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recoseg.web.worker import State, Worker

BUCKETS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0)
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The numbers of one server since it began, and the jobs of its worker."""

    def __init__(self, worker: Worker) -> None:
        """Count in a registry of its own, for one process may hold several servers."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        labels = ("method", "route", "status")
        self.requests = Counter(
            "recoseg_requests", "Requests answered.", labels, registry=self._registry
        )
        self.seconds = Histogram(
            "recoseg_request_seconds",
            "Seconds until a request was answered.",
            ("route",),
            registry=self._registry,
            buckets=BUCKETS,
        )
        self._gauge("running", "Jobs that run.").set_function(lambda: worker.counts()[0])
        self._gauge("waiting", "Jobs that wait.").set_function(lambda: worker.counts()[1])
        self._gauge("waiting_bound", "Jobs that may wait.").set(worker.bound)
        remembered = self._gauge("remembered", "Jobs by state.", ("state",))
        for state in get_args(State):
            remembered.labels(state).set_function(partial(_count, worker, state))

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return prometheus_client.generate_latest(self._registry)

    def _gauge(self, name: str, about: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"recoseg_jobs_{name}", about, labels, registry=self._registry)


def _count(worker: Worker, state: State) -> int:
    return sum(job.state == state for job in worker.jobs())


class CountingMiddleware:
    """Middleware that counts requests by route pattern."""

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

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        finally:
            method, route = _name_request(scope)
            self.metrics.requests.labels(method, route, status).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - start)


def _name_request(scope: Scope) -> tuple[str, str]:
    """Method and pattern; only what is known becomes a name, or strangers could make millions."""
    pattern = getattr(scope.get("route"), "path", None)
    if pattern is None:
        return "ANY", "other"
    below = scope["path"].startswith("/api/") and not pattern.startswith("/api/")
    return scope["method"], f"/api{pattern}" if below else pattern
