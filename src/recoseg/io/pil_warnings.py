"""Thread-safe suppression of Pillow's warnings while untrusted images are read."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import PIL


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


@functools.cache
def silence_libtiff() -> None:
    """Stop libtiff from printing a line, which names no file, for every fault it meets.

    What matters of them reaches us as Pillow's exceptions. Where the library is not found, as it
    goes by another name, it keeps talking.
    """
    bundled = sorted(Path(PIL.__file__).parent.parent.glob("pillow.libs/libtiff*"))
    bundled += sorted(Path(PIL.__file__).parent.glob(".dylibs/libtiff*"))
    name = str(bundled[0]) if bundled else ctypes.util.find_library("tiff")
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(name) if name else None
        for function in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            setter = getattr(library, function)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)
