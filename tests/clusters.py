"""Stand-ins for a cluster, in this process: what crosses it is pickled as between machines."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ray import cloudpickle


class Here:
    """One machine after another; ``order`` shuffles in which the blocks are worked on."""

    def __init__(self, order: int | None = None, twice: bool = False) -> None:
        self.order, self.twice = order, twice
        self.blocks = 0

    def map(self, function: Callable[[Any], Any], blocks: Iterable[Any]) -> Iterator[Any]:
        sent = _sent(function)
        todo = [_sent(block) for block in blocks]
        numbers = list(range(len(todo)))
        if self.order is not None:
            random.Random(self.order).shuffle(numbers)
        done = {}
        for number in numbers:
            self.blocks += 1
            done[number] = _sent(sent(todo[number]))
            if self.twice:
                done[number] = _sent(sent(todo[number]))
        yield from (done[number] for number in range(len(todo)))


class Dying(Here):
    """The whole of it ends after some blocks: the driver was killed."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def map(self, function: Callable[[Any], Any], blocks: Iterable[Any]) -> Iterator[Any]:
        sent = _sent(function)
        for block in blocks:
            if self.blocks == self.after:
                raise KeyboardInterrupt
            self.blocks += 1
            yield _sent(sent(_sent(block)))


def _sent(value: Any) -> Any:
    return cloudpickle.loads(cloudpickle.dumps(value))
