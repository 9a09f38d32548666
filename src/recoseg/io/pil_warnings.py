"""Pillow's warnings off while untrusted images are read, from any number of threads."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator


class _Silence:
    """Counts who is inside: ``catch_warnings`` alone, left in another order, restores nothing."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.filters = warnings.catch_warnings()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.filters = warnings.catch_warnings()
                self.filters.__enter__()
                warnings.filterwarnings("ignore", module="PIL")
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1
                if self.inside == 0:
                    self.filters.__exit__(None, None, None)


silence_pillow = _Silence()
