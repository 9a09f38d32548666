"""Weight files: local, cached or downloaded, and never unpickled."""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recoseg.errors import MissingWeights, UnknownModel
from recoseg.io.durable import digest_file
from recoseg.models import network

WRAPPERS = ("state_dict", "model", "teacher")
PREFIXES = ("module.", "backbone.")
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_TRUE = {"1", "ON", "YES", "TRUE"}


@dataclass(frozen=True)
class PublishedWeights:
    """Published weights of a model.

    Attributes:
        model: the id they are for.
        files: names in the hub's repository, the better first.
        repository: ``owner/name`` on the hub, or empty.
        url: a direct address, or empty.
        sha256: how the digest of the file at ``url`` begins, as far as it is known.
        revision: commit or tag of the repository; empty for its newest.
    """

    model: str
    files: tuple[str, ...] = ()
    repository: str = ""
    url: str = ""
    sha256: str = ""
    revision: str = ""

    def __post_init__(self) -> None:
        if self.revision and not self.repository:
            raise UnknownModel(
                f"{self.model} is not kept in a repository, so it has no revisions; leave it out."
            )

    @property
    def name(self) -> str:
        """The file in words."""
        if self.repository:
            return f"{self.repository}: {self.files[0]}"
        return Path(self.url).name

    def find_cached(self) -> Path | None:
        """The local file, if any: in the hub's cache, recoseg's folder or CLIP's cache."""
        from huggingface_hub import try_to_load_from_cache

        for name in self.files if self.repository else ():
            found = try_to_load_from_cache(
                self.repository, name, cache_dir=hub_cache(), revision=self.revision or None
            )
            if isinstance(found, str):
                return Path(found)
        for folder in (weights_folder(), clip_cache()) if self.url else ():
            file = folder / Path(self.url).name
            if file.is_file() and digest(file).startswith(self.sha256):
                return file
        return None

    def find(self, patience: float | None = None) -> Path:
        """The local file, downloaded first if need be and if the network is allowed.

        Args:
            patience: seconds to wait for the hub's first answer.

        Raises:
            MissingWeights: which file, where it was looked for, and how to bring it here.
        """
        found = self.find_cached()
        if found is not None:
            return found
        switches = offline_switches()
        if switches:
            raise self._missing(f"the network is switched off by {', '.join(switches)}")
        try:
            if self.repository:
                place = (self.repository, self.files, hub_cache(), patience)
                return network.download_from_hub(*place, self.revision)
            return network.download_url(self.url, weights_folder(), self.sha256, patience)
        except network.Unavailable as error:
            raise self._missing(str(error)) from error

    def _missing(self, reason: str) -> MissingWeights:
        if self.repository:
            place = hub_cache() / f"models--{self.repository.replace('/', '--')}"
            copy = f"copy that folder from there, {place}, to this machine"
        else:
            place = weights_folder() / Path(self.url).name
            copy = f"copy it here as {place} (it is published at {self.url})"
        return MissingWeights(
            f"the weights of {self.model} ({self.name}) are not at {place} and {reason}; on a "
            f"machine with a network run `recoseg models fetch '{self.model}'` and {copy}, or put "
            "a file's path into the id; the model `lite` works now."
        )


def hub_cache() -> Path:
    """Cache folder of the Hugging Face hub's client."""
    if os.environ.get("HF_HUB_CACHE"):
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    if os.environ.get("HF_HOME"):
        return Path(os.environ["HF_HOME"]).expanduser() / "hub"
    return _caches() / "huggingface" / "hub"


def weights_folder() -> Path:
    """Folder for weights that no hub has: ``RECOSEG_WEIGHTS``, or in the user's cache."""
    chosen = os.environ.get("RECOSEG_WEIGHTS")
    return Path(chosen).expanduser() if chosen else _caches() / "recoseg"


def clip_cache() -> Path:
    """Cache folder of OpenAI's CLIP package and of open_clip."""
    return Path("~/.cache/clip").expanduser()


def _caches() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()


def offline_switches() -> list[str]:
    """Environment variables that are set and forbid the network."""
    return [name for name in OFFLINE if os.environ.get(name, "").upper() in _TRUE]


def digest(file: Path) -> str:
    """Sha256 of a file's bytes in hex, kept while its size and time stay."""
    status = file.stat()
    return _digest(str(file), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _digest(file: str, size: int, mtime_ns: int) -> str:
    return digest_file(Path(file))


def fingerprint(*parts: object) -> str:
    """Sha256 of everything that decides a model's outputs, in hex."""
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()


def read(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file or a torch checkpoint, without running code.

    A checkpoint's usual wrappers (``model``, ``state_dict``, ``teacher``) and prefixes
    (``module.``, ``backbone.``) are taken off; the tensors stay on disk until they are used.

    Raises:
        MissingWeights: there is no such file, or it is damaged or holds more than tensors.
    """
    if not file.is_file():
        raise MissingWeights(f"there is no file {file}; give the path of the model's weights.")
    try:
        return _unwrap(_open(file), file)
    except MissingWeights:
        raise
    # A hostile or damaged file may make the readers raise anything; nothing of it was run.
    except Exception as error:
        raise MissingWeights(
            f"{file} is not read ({_first_line(error)}): it must be a safetensors file or a torch "
            "checkpoint of tensors alone; save its state_dict with safetensors, or get it again."
        ) from error


def _open(file: Path) -> Any:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    # Training scripts save their options beside the weights; a Namespace is only a bag of names.
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(
            file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
        )


def _unwrap(stored: Any, file: Path) -> dict[str, Tensor]:
    while isinstance(stored, Mapping):
        inner = next((k for k in WRAPPERS if isinstance(stored.get(k), Mapping)), None)
        if inner is None:
            break
        stored = stored[inner]
    if not isinstance(stored, Mapping) or not stored:
        raise MissingWeights(f"{file} holds no state_dict; save the model's state_dict to it.")
    state = {str(k): v for k, v in stored.items() if isinstance(v, Tensor)}
    for prefix in (*PREFIXES, *PREFIXES):
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _first_line(error: Exception) -> str:
    first = (str(error).strip().splitlines() or ["no reason given"])[0]
    return f"{type(error).__name__}: {first[:120]}"
