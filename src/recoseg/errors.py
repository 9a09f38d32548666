"""Every error a user can cause: one sentence with the cause, one with the remedy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class RecosegError(Exception):
    """Base of all errors raised on purpose; the command line prints it without a traceback."""


class InputError(RecosegError, ValueError):
    """An argument has a wrong type, shape or range."""


class RecipeError(InputError):
    """A recipe's field is out of range or unknown."""


class ImageError(RecosegError):
    """A file or object cannot be read as an image."""


class ArchiveError(RecosegError):
    """An archive of images is missing, empty or unreadable."""


class DatasetError(RecosegError):
    """A dataset is not laid out as expected, or its files do not fit together."""


class IndexMismatch(RecosegError):
    """An index was built by another model, preprocessing or format version."""


class IndexDamaged(RecosegError):
    """A folder is not an index, or a part of it is missing or broken."""


class ServerError(RecosegError):
    """A vector server cannot be reached, or does not hold what is asked for."""


class Locked(RecosegError):
    """Another process is writing the same index."""


class BankError(RecosegError):
    """A concept bank is damaged, of another version, or does not fit the models in use."""


class UnknownConcept(RecosegError, KeyError):
    """A concept's name is not in the bank."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class UnknownModel(RecosegError):
    """A model id cannot be resolved."""


class MissingWeights(RecosegError):
    """A model's weights are not present, or their checksum is wrong."""


class ReportError(RecosegError):
    """A report file is damaged or of another version, or a page cannot be made from it."""


class StudentError(RecosegError):
    """A student's file is damaged, foreign or of another version, or does not fit its use."""


class BaselineError(RecosegError):
    """A trained baseline's file is damaged, foreign or of another version."""


class VideoError(RecosegError):
    """A video cannot be read, holds nothing, or cannot be written."""


class TrainingError(RecosegError):
    """Training cannot start, go on, or be resumed as asked."""


@contextlib.contextmanager
def optional_import(
    need: str, extra: str, error: type[RecosegError] = InputError
) -> Iterator[None]:
    """Turn a missing package, imported in the block, into one sentence.

    Args:
        need: who needs what, for example ``"polygons need contourpy"``.
        extra: the extra of recoseg that installs it.
        error: what is raised.
    """
    try:
        yield
    except ImportError as missing:
        raise error(f"{need}; pip install 'recoseg[{extra}]'.") from missing
