"""Safetensors files with a JSON header, a format version and a content digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from recoseg.errors import RecosegError
from recoseg.io import durable
from recoseg.io.walking import read_regular


@dataclass(frozen=True)
class Seal:
    """A kind of file.

    Attributes:
        key: the header's key in the file's metadata.
        what: the kind in words, for example ``"a student"``.
        version: of the format; a reader takes its own and older ones.
        error: what is raised.
        remedy: what to do about a file that cannot be used.
    """

    key: str
    what: str
    version: int
    error: type[RecosegError]
    remedy: str

    def write(self, path: Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Atomically write a header (plain JSON types) and tensors."""
        said = {"format": self.version, **header}
        stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        said["digest"] = _digest(said, stored)
        # One key, because the order of several would differ from run to run.
        data = safetensors.torch.save(stored, {self.key: json.dumps(said, ensure_ascii=False)})
        durable.write(path, data)

    def read(self, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Read and verify header and tensors, on the CPU; raises ``error`` if damaged."""
        if path.is_dir():
            raise self.error(f"{path} is a folder; give the path of {self.what}, which is a file.")
        try:
            data = read_regular(path)
        except OSError as error:
            raise self.error(
                f"{path} cannot be read ({error.strerror}); give the path of {self.what}."
            ) from error
        header = self._header(path, data)
        try:
            tensors = safetensors.torch.load(data)
        except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise self._damage_error(path) from error
        digest = header.pop("digest", None)
        if _digest(header, tensors) != digest:
            raise self._damage_error(path)
        return header, tensors

    def _header(self, path: Path, data: bytes) -> dict[str, Any]:
        size = int.from_bytes(data[:8], "little")
        try:
            header = dict(json.loads(json.loads(data[8 : 8 + size])["__metadata__"][self.key]))
            version = int(header["format"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise self.error(
                f"{path} is not {self.what}, or its beginning is damaged; {self.remedy}."
            ) from error
        if version > self.version:
            raise self.error(
                f"{path} has format {version} and this version reads up to {self.version}; "
                "upgrade recoseg."
            )
        return header

    def _damage_error(self, path: Path) -> RecosegError:
        return self.error(f"{path} is damaged or cut short; {self.remedy}.")


def _digest(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
