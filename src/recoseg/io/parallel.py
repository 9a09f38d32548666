"""Bounded thread pools with ordered results and one core per thread."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

S = TypeVar("S")
T = TypeVar("T")


@contextlib.contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Thread pool of ``count`` threads in which torch is single-threaded.

    Otherwise each would have a team of helpers that wait for each other at every operation, which
    on a busy machine takes many times longer than the work. Work not yet begun is dropped at the
    end.
    """
    ours = torch.get_num_threads()
    ready = threading.Barrier(count + 1)

    def start() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # a thread takes its setting for good when it is first asked
        ready.wait()

    with ThreadPoolExecutor(count) as pool:
        try:
            for _ in range(count):
                pool.submit(start)
            ready.wait()
            # The setting is a thread's own, but the last one set is the default of new threads.
            torch.set_num_threads(ours)
            yield pool
        finally:
            ready.abort()
            pool.shutdown(cancel_futures=True)


def prefetch_map(
    pool: ThreadPoolExecutor, function: Callable[[S], T], items: Iterable[S], depth: int
) -> Iterator[T]:
    """Map in order over a pool, with at most ``depth`` calls in flight."""
    queue: deque[Future[T]] = deque()
    for item in items:
        queue.append(pool.submit(function, item))
        if len(queue) >= depth:
            yield queue.popleft().result()
    while queue:
        yield queue.popleft().result()


def parallel_map(function: Callable[[S], T], items: Iterable[S], count: int) -> Iterator[T]:
    """Map in order over ``count`` single-core threads.

    Where torch may use one core only, the caller does the work itself.
    """
    if count == 1 and torch.get_num_threads() == 1:
        yield from map(function, items)
    else:
        with threads(count) as pool:
            yield from prefetch_map(pool, function, items, count + 1)
