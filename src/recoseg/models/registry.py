"""Model ids to models: one place that knows which backend serves which scheme."""

from __future__ import annotations

import functools
from typing import cast

import torch

from recoseg.errors import UnknownModel
from recoseg.models.base import JointModel, PatchEncoder

Model = JointModel | PatchEncoder
_SCHEMES = ("lite", "lite:16")


def available() -> tuple[str, ...]:
    """Schemes that ``load`` understands."""
    return _SCHEMES


def load(model: str | Model, device: str | torch.device | None = None) -> Model:
    """The model of an id, kept in memory for the next call; a model is returned as it is.

    Args:
        model: ``"lite"``, or an object that already fulfils a protocol of ``models.base``.
        device: where to compute; by default CUDA if present, else the CPU.

    Raises:
        UnknownModel: the id has no backend; the message lists the ids there are.
        MissingWeights: the backend's weights are absent or damaged.
    """
    if not isinstance(model, str):
        return model
    chosen = torch.device(device) if device is not None else default_device()
    return _load(model, str(chosen))


def load_joint(model: str | Model, device: str | torch.device | None = None) -> JointModel:
    """``load`` for a language-image model; a purely visual one is refused."""
    loaded = load(model, device)
    if not isinstance(loaded, JointModel):
        raise UnknownModel(f"{loaded.id} reads no text; name a language-image model, e.g. 'lite'.")
    return loaded


def load_encoder(model: str | Model, device: str | torch.device | None = None) -> PatchEncoder:
    """``load`` for a dense visual encoder; a model without pixel features is refused."""
    loaded = load(model, device)
    if not isinstance(loaded, PatchEncoder):
        raise UnknownModel(f"{loaded.id} gives no pixel features; name an encoder, e.g. 'lite'.")
    return loaded


def default_device() -> torch.device:
    """CUDA if present, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@functools.lru_cache(maxsize=8)
def _load(model: str, device: str) -> Model:
    if model == "lite":
        from recoseg.models.lite import Lite

        return cast(Model, Lite.load(device=device))
    if model == "lite:16":
        from recoseg.models.lite_stage import LiteStage

        return cast(Model, LiteStage.load(device=device))
    raise UnknownModel(f"no model {model!r}; choose one of: {', '.join(_SCHEMES)}.")
