"""Thread-safe suppression of Pillow's warnings while untrusted images are read."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator


class _Silence:
    """Reference-counted ``catch_warnings``: threads may leave it in any order."""

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
