"""Protocol of a cluster of machines: an ordered map over blocks of work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

S = TypeVar("S")
T = TypeVar("T")


@runtime_checkable
class Cluster(Protocol):
    """Machines that work on blocks side by side; ``recoseg.cluster.engine.RayCluster`` is one."""

    def map(self, function: Callable[[S], T], blocks: Iterable[S]) -> Iterator[T]:
        """The results of a function of each block, in the order of the blocks.

        Function, blocks and results can be sent. A call may be made twice, and on a machine
        that has nothing in common with this one but the files.
        """
        ...
