"""Cache of archive images' encodings, shared by the recipes of an ablation."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from recoseg.models.base import SharedPass
from recoseg.models.registry import Models

MOST_BYTES = 1 << 30
Maps = tuple[Tensor, ...]


def cache_encodings(models: Models, most_bytes: int = MOST_BYTES) -> Models:
    """Wrap models so that an image's dense map and features are cached.

    Args:
        models: a recipe's models.
        most_bytes: memory for all that is kept; what was unused longest goes first.
    """
    shared: object = models.encoder
    if shared is models.dense and isinstance(models.dense, SharedPass):
        both: Any = _CachingModel(models.dense, "dense_and_features", most_bytes)
        return Models(models.retrieval, both, both)
    # What is remembered is not run, so there is no pass for the other to share.
    dense: Any = _CachingModel(models.dense, "dense", most_bytes // 2)
    encoder: Any = _CachingModel(models.encoder, "features", most_bytes // 2)
    return Models(models.retrieval, dense, encoder)


class _CachingModel:
    """Model proxy that caches the results of one function."""

    def __init__(self, model: Any, function: str, most_bytes: int) -> None:
        self._model, self._function = model, getattr(model, function)
        self._most, self._bytes = most_bytes, 0
        self._kept: OrderedDict[bytes, Maps] = OrderedDict()
        # Found as an attribute, so that what the model lacks, this lacks too.
        setattr(self, function, self._recall)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def _recall(self, images: Tensor) -> Tensor | Maps:
        keys = [hashlib.blake2b(image.numpy(force=True).tobytes()).digest() for image in images]
        new = [place for place, key in enumerate(keys) if key not in self._kept]
        fresh: dict[bytes, Maps] = {}
        if new:
            made = self._function(images[new])
            columns = made if isinstance(made, tuple) else (made,)
            for number, place in enumerate(new):
                fresh[keys[place]] = tuple(column[number].clone() for column in columns)
        maps = [fresh.get(key) or self._recall_kept(key) for key in keys]
        for key, parts in fresh.items():
            self._keep(key, parts)
        stacked = tuple(torch.stack(column) for column in zip(*maps, strict=True))
        return stacked[0] if len(stacked) == 1 else (stacked[0], stacked[1])

    def _recall_kept(self, key: bytes) -> Maps:
        self._kept.move_to_end(key)
        return self._kept[key]

    def _keep(self, key: bytes, parts: Maps) -> None:
        self._kept[key] = parts
        self._bytes += _size(parts)
        while self._bytes > self._most:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= _size(gone)


def _size(parts: Maps) -> int:
    return sum(part.nbytes for part in parts)
