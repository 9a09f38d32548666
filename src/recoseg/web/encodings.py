"""Cache of the latest images' score maps, so that new settings need no encoding."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from recoseg.segmenting.scoremaps import ScoreMaps

MOST_BYTES = 64 * 2**20


class Encodings:
    """Maps by image and concepts; the oldest make room. For the worker's thread alone."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        """Keep so many bytes, and the newest maps whatever their size."""
        self.most = most
        self._kept: OrderedDict[Hashable, ScoreMaps] = OrderedDict()

    def of(self, key: Hashable, make: Callable[[], ScoreMaps]) -> ScoreMaps:
        """The maps of a key, made if they are not kept."""
        if key not in self._kept:
            self._kept[key] = make()
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > self.most:
            self._kept.popitem(last=False)
        return self._kept[key]


def _bytes(maps: ScoreMaps) -> int:
    return sum(factor.nbytes for factor in maps.factors)
