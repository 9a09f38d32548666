"""CLIP's text encoder: open_clip's tokenizer and tower, truncated to the longest text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recoseg.errors import InputError
from recoseg.similarity import unit

BATCH = 64
Tokenizer = Callable[[list[str]], Tensor]


class TextTower:
    """Texts to unit vectors.

    A causal tower's vector is that of the text's last token, which sees no later one, so the
    padding behind the longest text of a batch is not computed: the same numbers several times
    faster, since a prompt has about ten tokens of 77.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, device: torch.device) -> None:
        self._model: Any = model
        self._tokenizer = tokenizer
        self._device = device
        self._causal = _is_causal(model)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """T texts to unit vectors (T, d)."""
        if isinstance(texts, str) or not texts or not all(isinstance(t, str) for t in texts):
            raise InputError("texts must be a non-empty list of strings.")
        tokens = self._tokenizer(list(texts)).to(self._device)
        parts = [self._encode(tokens[i : i + BATCH]) for i in range(0, len(tokens), BATCH)]
        return unit(torch.cat(parts).float())

    def _encode(self, tokens: Tensor) -> Tensor:
        model = self._model
        if not self._causal:
            return torch.as_tensor(model.encode_text(tokens))
        # The end of text has the largest number of all tokens.
        ends = tokens.argmax(dim=1)
        length = int(ends.max()) + 1
        x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
        x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
        x = model.ln_final(x)[torch.arange(len(x), device=x.device), ends]
        projection = model.text_projection
        projected: Tensor = projection(x) if isinstance(projection, nn.Linear) else x @ projection
        return projected


def _is_causal(model: Any) -> bool:
    from open_clip.model import CLIP

    return (
        type(model) is CLIP
        and model.text_pool_type == "argmax"
        and model.attn_mask is not None
        and model.text_projection is not None
    )
