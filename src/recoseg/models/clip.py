"""Any model of open_clip as a ``JointModel``: retrieval and DenseCLIP (paper secs. 3.1 and 3.2)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from recoseg.errors import UnknownModel
from recoseg.io.images import RGB
from recoseg.models import openclip
from recoseg.models.cliptext import TextTower
from recoseg.models.denseclip import KINDS, dense_map
from recoseg.models.ids import ModelId
from recoseg.models.openclip import LoadedClip
from recoseg.models.pixels import CELLS, Normalisation, stretch
from recoseg.models.weights import fingerprint
from recoseg.similarity import unit

# How large JPEG files are decoded: no smaller than twice the network's input, or as they are.
DECODE = ("reduced", "whole")
_VERSION = "clip 1: geometry of open_clip; grids stretched to whole cells"


class OpenClip:
    """A language-image model with its own geometry, normalisation and tokenizer.

    ``embed_images`` stretches images of another size to the model's own. ``stride`` is that of the
    dense map in pixels, 0 where none is defined.
    """

    def __init__(self, id: ModelId, loaded: LoadedClip, device: torch.device) -> None:
        kind, cells, decode = _options(id)
        self.id = str(id)
        self.device = device
        self.dim = loaded.dim
        self._model: Any = loaded.model.to(device)
        self._text = TextTower(loaded.model, loaded.tokenizer, device)
        self._size = loaded.size
        self._normalise = Normalisation(loaded.mean, loaded.std)
        self._geometry = loaded.geometry
        # Twice the size, so that the resize from there to the model's own is what decides.
        self.input_size = 2 * max(loaded.size) if decode == DECODE[0] else None
        mapped = dense_map(loaded.model.visual, kind, cells)
        self._dense = mapped[0] if mapped else None
        self.stride = mapped[1] if mapped else 0
        if mapped is None and "dense" in id.options:
            raise UnknownModel(_describe_no_dense(self.id))
        facts = json.dumps(loaded.facts, sort_keys=True, default=str)
        # What is as it always was is not named, so that earlier fingerprints stay.
        chosen = [value for value in (cells, decode) if value not in (CELLS[0], DECODE[0])]
        self.fingerprint = fingerprint(_VERSION, facts, kind, *chosen, loaded.digest)

    @classmethod
    def load(cls, id: ModelId, device: torch.device) -> OpenClip:
        """Load ``clip:ARCHITECTURE/TAG-OR-FILE[?OPTION=VALUE[&OPTION=VALUE]...]``.

        Options: ``dense`` (value, selfself), ``cells`` (stretch, cut: ``whole_cells``), ``decode``
        (reduced, whole: JPEG files of an archive) and ``revision`` (a commit of the hub's).

        Raises:
            UnknownModel: open_clip has no such architecture or tag.
            MissingWeights: the weights are absent, damaged, or another architecture's.
        """
        id.refuse_options_but("dense", "cells", "decode", "revision")
        _options(id)
        return cls(id, openclip.load(id), device)

    def preprocess(self, image: RGB) -> Tensor:
        """uint8 (H, W, 3) to float (3, S, S) in [0, 1] exactly as open_clip does."""
        pixels: Tensor = self._geometry(Image.fromarray(image))
        return pixels.clamp(0, 1)

    @torch.inference_mode()
    def embed_images(self, images: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to unit vectors (B, d)."""
        pixels = stretch(self._normalise(images, self.device), self._size)
        vectors: Tensor = self._model.encode_image(pixels)
        return unit(vectors.float())

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """T texts to unit vectors (T, d)."""
        return self._text.embed(texts)

    @torch.inference_mode()
    def dense(self, images: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to unit vectors per cell (B, d, h, w).

        Raises:
            UnknownModel: no dense map is defined for this architecture.
        """
        if self._dense is None:
            raise UnknownModel(_describe_no_dense(self.id))
        return self._dense(self._normalise(images, self.device))


def _options(id: ModelId) -> tuple[str, str, str]:
    return id.option("dense", KINDS), id.option("cells", CELLS), id.option("decode", DECODE)


def _describe_no_dense(id: str) -> str:
    return (
        f"{id} embeds images and texts, but no such dense map is defined for its image tower; name "
        "one of OpenAI's or LAION's ResNets (without options) or plain ViTs for the dense role."
    )
