"""Vectorised hash table of 64-bit keys: batch insertion and batch look-up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class KeyTable:
    """Distinct keys in the order of first appearance, and a hash table that finds them.

    Open addressing with linear probing; all keys take their turn at once, and of those that meet
    at a free slot the first takes it.
    """

    keys: Keys
    members: Ints
    slots: Ints

    @classmethod
    def of(cls, keys: Keys) -> KeyTable:
        """Insert (n,) keys; ``members`` is the index in ``table.keys`` of each of them."""
        index = np.arange(len(keys), dtype=np.int32)
        bits = (2 * len(keys)).bit_length()
        slots = np.full(1 << bits, -1, np.int32)
        probe = (keys >> np.uint64(64 - bits)).astype(np.int32)
        # Of repeated targets the last written stays, hence the reversal.
        slots[probe[::-1]] = index[::-1]
        owner = slots[probe]
        pending = np.flatnonzero(keys[owner] != keys)
        probe = probe[pending]
        while len(pending):
            probe = (probe + 1) & (len(slots) - 1)
            free = slots[probe] < 0
            slots[probe[free][::-1]] = pending[free][::-1]
            owner[pending] = slots[probe]
            unlike = keys[owner[pending]] != keys[pending]
            pending, probe = pending[unlike], probe[unlike]
        first = owner == index
        number = np.cumsum(first, dtype=np.int32) - np.int32(1)
        taken = np.flatnonzero(slots >= 0)
        slots[taken] = number[slots[taken]]
        return cls(keys[first], number[owner], slots)

    def neighbours(self, step: np.uint64) -> tuple[Ints, Ints]:
        """Index of the key one step ahead of every key, and one step behind; m where absent.

        Both have m + 1 entries, the last one m, so that they can be chained.
        """
        m = len(self.keys)
        ahead = np.append(self._find(self.keys + step), np.int32(m))
        here = np.flatnonzero(ahead < m)
        behind = np.full(m + 1, m, np.int32)
        behind[ahead[here]] = here
        return ahead, behind

    def _find(self, keys: Keys) -> Ints:
        m, mask = len(self.keys), len(self.slots) - 1
        probe = (keys >> np.uint64(64 - mask.bit_length())).astype(np.int32)
        found = self.slots[probe]
        pending = np.flatnonzero((found >= 0) & (self.keys[found] != keys))
        probe = probe[pending]
        while len(pending):
            probe = (probe + 1) & mask
            found[pending] = candidate = self.slots[probe]
            unlike = (candidate >= 0) & (self.keys[candidate] != keys[pending])
            pending, probe = pending[unlike], probe[unlike]
        return np.where(found < 0, np.int32(m), found)
