"""Manifest of an index: format version, model, preprocessing and archive, as JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recoseg.errors import ArchiveError, IndexDamaged, IndexMismatch
from recoseg.io import durable
from recoseg.io.imported import is_imported
from recoseg.io.walking import read_regular
from recoseg.models.base import JointModel, input_size
from recoseg.typecheck import check_fields

NAME = "manifest.json"
FORMAT = "recoseg index"
VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """The facts that do not change while an index grows.

    Attributes:
        model: id of the model that made the vectors.
        fingerprint: digest of its weights and preprocessing.
        dim: d, numbers per vector.
        preprocess: shape of the model's input, and the short side it needs (None: all pixels).
        archive: what ``Archive.reopen`` takes.
        shard_rows: rows per shard file.
    """

    model: str
    fingerprint: str
    dim: int
    preprocess: dict[str, Any]
    archive: dict[str, Any]
    shard_rows: int

    def __post_init__(self) -> None:
        """Check the types, which come from a file."""
        check_fields(self, ValueError)
        for name in ("dim", "shard_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")

    @classmethod
    def of(cls, model: JointModel, archive: dict[str, Any], shard_rows: int) -> Manifest:
        """The manifest of a new index."""
        shape = list(model.preprocess(np.zeros((64, 64, 3), dtype=np.uint8)).shape)
        preprocess = {"shape": shape, "input_size": input_size(model)}
        return cls(model.id, model.fingerprint, model.dim, preprocess, archive, shard_rows)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest in ``folder``.

        Raises:
            IndexDamaged: the folder is no index, or its manifest is broken.
            IndexMismatch: it was written by a newer version.
        """
        path = folder / NAME
        try:
            data = json.loads(read_regular(path))
            digest = data.pop("digest", None)  # absent from manifests of older versions
            same = digest is None or digest == _digest(data)
            if data.pop("format") != FORMAT:
                raise ValueError("another format")
            version = data.pop("version")
            if not same and version == VERSION:
                raise ValueError("it does not say what was written")
        except (FileNotFoundError, NotADirectoryError):
            wrong = f"is not an index (it has no {NAME})" if folder.exists() else "does not exist"
            raise IndexDamaged(
                f"{folder} {wrong}; check the path, or build it with `recoseg index` or "
                "Index.build."
            ) from None
        except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise _broken(path, error) from error
        if version != VERSION:
            raise IndexMismatch(
                f"{folder} has index format {version!r} and this recoseg reads {VERSION}; upgrade "
                "recoseg or build the index again."
            )
        try:
            names = {field.name for field in dataclasses.fields(cls)}
            return cls(**{name: data[name] for name in names})
        except (KeyError, ValueError) as error:
            raise _broken(path, error) from error

    def write(self, folder: Path) -> None:
        """Put the manifest into ``folder`` at once or not at all."""
        data = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        data["digest"] = _digest(data)
        durable.write(folder / NAME, (json.dumps(data, indent=1) + "\n").encode())

    def require_followed(self, what: object) -> Manifest:
        """Returns itself; ArchiveError if the vectors of index ``what`` were imported."""
        if is_imported(self.archive):
            raise ArchiveError(
                f"the vectors of {what} were imported, and what follows photos would lose those "
                "that cannot be fetched; bring it up to date with `recoseg index import`."
            )
        return self

    def check(self, model: JointModel, what: object) -> None:
        """IndexMismatch, with the remedy, unless ``model`` made the vectors of index ``what``."""
        if model.fingerprint == self.fingerprint and model.dim == self.dim:
            return
        if model.id == self.model:
            raise IndexMismatch(
                f"{what} was built by other weights or preprocessing of {model.id!r} (fingerprint "
                f"{self.fingerprint[:12]}, now {model.fingerprint[:12]}); build a new index."
            )
        raise IndexMismatch(
            f"{what} was built by the model {self.model!r}, not by {model.id!r}; use that model, "
            "or build an index of its own for this one."
        )


def _digest(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _broken(path: Path, error: Exception) -> IndexDamaged:
    return IndexDamaged(
        f"{path} is broken ({type(error).__name__}: {error}); restore it from a copy, or delete "
        "the index and build it again."
    )
