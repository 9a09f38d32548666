"""Blocks of work on a Ray cluster, each called anew if its worker or node is lost.

Ray schedules. Blocks are tasks, not calls of actors, because Ray itself runs the tasks of a lost
node on any other one, and on nodes that join later, where an actor would wait for its own place.
A worker process keeps the function it was sent, and so the models that this has loaded.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self, TypeVar

from recoseg.errors import InputError, RecosegError, optional_import

S = TypeVar("S")
T = TypeVar("T")

RETRIES = 5
# Tasks given to Ray at once, per place to run one; more would only take memory.
AHEAD = 2
# Results that wait for an earlier block, per place.
AHEAD_DONE = 64
LOOK_EVERY = 2.0
MOST_CPUS = 8
OBJECT_STORE = 256 * 2**20

# Functions that a worker process remembers.
KEPT = 4

_functions: dict[str, Callable[[Any], Any]] = {}


class RayCluster:
    """A connected cluster; made by ``connect``.

    Attributes:
        cpus: processors that one block takes.
        gpus: GPUs that one block takes, 0 or 1.
    """

    def __init__(self, cpus: int, gpus: int) -> None:
        self.cpus, self.gpus = cpus, gpus
        self._looked, self._places = -LOOK_EVERY, 1

    @classmethod
    @contextlib.contextmanager
    def connect(cls, address: str | None = None, *, gpus: bool | None = None) -> Iterator[Self]:
        """Connect to a cluster for the time of a ``with`` block.

        Args:
            address: ``"auto"`` for the one that runs on this machine, ``"HOST:PORT"`` or
                ``"ray://..."``; ``"local"`` starts one here and stops it at the end; None takes
                ``RAY_ADDRESS``, else starts one. A connection that the process has is used as it
                is.
            gpus: give each block a GPU; None if the cluster has any.

        Raises:
            InputError: Ray is not installed.
            RecosegError: no cluster answers, or it has no GPU and should.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        with optional_import("a cluster needs ray", "ray"):
            import ray
        ours = not ray.is_initialized()
        if ours:
            _connect(address or os.environ.get("RAY_ADDRESS") or "local")
        try:
            held = _resources()
            number = int(held.get("GPU", 0))
            if gpus and not number:
                raise RecosegError("the cluster has no GPU; leave out the device, or add a node.")
            if gpus is False or not number:
                yield cls(1, 0)
            else:
                yield cls(_processors_of_a_gpu(), 1)
        finally:
            if ours:
                ray.shutdown()

    def map(self, function: Callable[[S], T], blocks: Iterable[S]) -> Iterator[T]:
        """The results of a function of each block, in the order of the blocks.

        Blocks under way when the caller stops early are worked on to their end, or to that of the
        connection. To cancel them may end this process: Ray aborts if a result arrives meanwhile.

        Args:
            function: sent once to each worker process; a call must do the same when repeated.
            blocks: taken only as fast as they are worked on.

        Raises:
            InputError: the function cannot be sent.
            RecosegError: raised by a call, or a block's worker was lost again and again.
        """
        import ray

        task, shipped = self._task(), _ship(function)
        source = enumerate(blocks)
        flying: dict[Any, int] = {}
        done: dict[int, T] = {}
        wanted, more = 0, True
        while True:
            places = self._count_places()
            while more and len(flying) < AHEAD * places and len(done) < AHEAD_DONE * places:
                number, block = next(source, (-1, None))
                more = number >= 0
                if more:
                    flying[task.remote([shipped], block)] = number
            while wanted in done:
                yield done.pop(wanted)
                wanted += 1
            if not flying and not more:
                return
            for ready in ray.wait(list(flying), num_returns=1, timeout=LOOK_EVERY)[0]:
                done[flying.pop(ready)] = _result(ready)

    def _task(self) -> Any:
        import ray

        # Without max_calls a worker with a GPU would end, with its models, after each block.
        made = ray.remote(max_calls=0, max_retries=RETRIES, num_cpus=self.cpus, num_gpus=self.gpus)
        return made(_work)

    def _count_places(self) -> int:
        """How many blocks the nodes can work on at a time; nodes come and go."""
        now = time.monotonic()
        if now - self._looked >= LOOK_EVERY:
            held = _resources()
            by_cpu = int(held.get("CPU", 0)) // self.cpus
            by_gpu = int(held.get("GPU", 0)) // self.gpus if self.gpus else by_cpu
            self._looked, self._places = now, max(1, min(by_cpu, by_gpu))
        return self._places


def _resources() -> dict[str, float]:
    import ray

    held: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return held


def _processors_of_a_gpu() -> int:
    """How many every node that has GPUs can give each of them; nodes without any do not count."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    shares = [int(has.get("CPU", 1)) // int(has["GPU"]) for has in nodes if has.get("GPU")]
    return max(1, min([MOST_CPUS, *shares]))


def _connect(address: str) -> None:
    import ray

    more: dict[str, Any] = {}
    if address == "local":
        more = {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
    try:
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **more)
    # A node that does not start in time is a bare Exception.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise RecosegError(
            f"no Ray cluster answers at {address!r} ({reason}); start one with `ray start --head` "
            "and give its address, or try again when the machine is less busy."
        ) from error


def _ship(function: Callable[[Any], Any]) -> Any:
    import ray

    try:
        return ray.put(function)
    except TypeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"what is to be done cannot be sent to other machines ({reason}); give models by id."
        ) from error


def _result(ready: Any) -> Any:
    import ray
    from ray.exceptions import RayTaskError

    try:
        return ray.get(ready)
    except RayTaskError as error:
        if isinstance(error.cause, RecosegError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise RecosegError(
            f"a block of work ended its worker {RETRIES + 1} times ({type(error).__name__}); look "
            "into Ray's logs for the reason, and run the same again: finished work is kept."
        ) from error


def _work(shipped: list[Any], block: Any) -> Any:
    """A task: the function is fetched once per worker process, with the models it will load."""
    import ray

    if not ray.get_gpu_ids():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # of a machine that has some, and others use
    key = shipped[0].hex()
    function = _functions.pop(key, None) or ray.get(shipped[0])
    _functions[key] = function  # the last one used is the last to be forgotten
    while len(_functions) > KEPT:
        del _functions[next(iter(_functions))]
    return function(block)
