"""Any ViT or ConvNet of timm as a ``PatchEncoder`` (step 4; paper sec. 3.2)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recoseg.errors import MissingWeights, UnknownModel
from recoseg.models import weights
from recoseg.models.ids import ModelId, near
from recoseg.models.pixels import CELLS, Normalisation, stretch_to_cells
from recoseg.models.positions import POSITIONS, keep_plain
from recoseg.models.weights import PublishedWeights, fingerprint

_VERSION = "timm 1: grids stretched to whole cells"
_HEADS = ("head", "head_dist", "fc", "classifier")
_FILES = ("model.safetensors", "pytorch_model.bin")
# Weights that timm has no tag for. DeiT-S/16 trained on Stylised ImageNet is of Naseer et al.,
# "Intriguing Properties of Vision Transformers" (NeurIPS 2021), release v0 of their repository.
PUBLISHED = {
    "deit_small_distilled_patch16_224.sin": (
        "https://github.com/Muzammal-Naseer/Intriguing-Properties-of-Vision-Transformers/"
        "releases/download/v0/deit_s_sin_dist.pth"
    ),
}


class TimmEncoder:
    """Patch tokens after the final norm, prefix tokens dropped; or a ConvNet's stage."""

    def __init__(self, id: ModelId, model: Any, digest: str, device: torch.device) -> None:
        self.id = str(id)
        self.device = device
        self._tokens = _has_patches(model)
        self._cells = id.option("cells", CELLS)
        positions = id.option("positions", POSITIONS)
        if positions == POSITIONS[1]:
            keep_plain(model, self.id)
        self._stage = _stage(id, model)
        information = model.feature_info[self._stage]
        self.dim, self.stride = int(information["num_chs"]), int(information["reduction"])
        config = model.pretrained_cfg
        self._normalise = Normalisation(tuple(config["mean"]), tuple(config["std"]))
        self._model = model.to(device, memory_format=torch.channels_last)
        name = id.architecture.partition(".")[0]
        # What is as it always was is not named, so that earlier fingerprints stay.
        chosen = [v for v in (self._cells, positions) if v not in (CELLS[0], POSITIONS[0])]
        self.fingerprint = fingerprint(
            _VERSION, name, self._normalise, self.stride, *chosen, digest
        )

    @classmethod
    def load(cls, id: ModelId, device: torch.device) -> TimmEncoder:
        """Load ``timm:ARCHITECTURE[.TAG][/FILE][?OPTION=VALUE[&OPTION=VALUE]...]``.

        Options: ``stride`` (of a ConvNet's stage), ``cells`` (stretch, cut: ``whole_cells``),
        ``positions`` (smooth, plain: ``models.positions``) and ``revision`` (of the hub's).

        Raises:
            UnknownModel: timm has no such architecture or tag, or no weights for it.
            MissingWeights: the weights are absent, damaged, or another architecture's.
        """
        id.refuse_options_but("stride", "cells", "positions", "revision")
        published = None if id.source else publication(id)
        model = _create(id)
        if published is None and id.path is None:
            raise UnknownModel(f"{id}: {id.source!r} is no file; tags follow a dot, files a slash.")
        file = id.path if published is None or id.path is not None else published.find()
        fill(model, file or Path(), id.architecture)
        return cls(id, model.eval().requires_grad_(False), weights.digest(file or Path()), device)

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to (B, d, h, w), not normalised."""
        pixels = stretch_to_cells(self._normalise(images, self.device), self.stride, self._cells)
        if self._tokens:
            return self._patches(pixels)
        stages = self._model.forward_intermediates(
            pixels, indices=[self._stage], stop_early=True, intermediates_only=True
        )
        found: Tensor = stages[0]
        return found.float()

    def _patches(self, pixels: Tensor) -> Tensor:
        tokens: Tensor = self._model.forward_features(pixels)
        patches = tokens[:, self._model.num_prefix_tokens :].transpose(1, 2)
        grid = pixels.shape[2] // self.stride, pixels.shape[3] // self.stride
        return patches.reshape(len(patches), -1, *grid).float()


def publication(id: ModelId) -> PublishedWeights:
    """Where timm's own table says that the weights of an architecture and tag are.

    Raises:
        UnknownModel: timm has no such architecture, tag, or no weights for it.
    """
    name = id.architecture
    if name in PUBLISHED:
        return PublishedWeights(str(id), url=PUBLISHED[name], revision=id.revision)
    config = _config(name)
    repository = str(config.hf_hub_id or "")
    if not repository:
        raise UnknownModel(
            f"timm knows no weights of {name!r} on the hub; download them yourself and write "
            f"timm:{name}/FILE, or choose another tag; {_near(name)}."
        )
    own = config.hf_hub_filename
    files = (own,) if own else _FILES
    return PublishedWeights(str(id), files, repository, revision=id.revision)


def fill(model: Any, file: Path, name: str) -> None:
    """Load all of a file's tensors into a network; only a classification head may differ.

    Raises:
        MissingWeights: a tensor is missing, left over, or of another shape.
    """
    state, expected = weights.read(file), model.state_dict()
    heads = tuple(f"{head}." for head in (*_HEADS, *_names(model.pretrained_cfg["classifier"])))
    missing = [k for k in expected if k not in state and not k.startswith(heads)]
    left = [k for k in state if k not in expected and not k.startswith(heads)]
    wrong = [k for k in expected if k in state and state[k].shape != expected[k].shape]
    for keys, what in ((missing, "lacks"), (left, "also holds"), (wrong, "has another shape of")):
        if keys:
            raise MissingWeights(
                f"{file} is not of the architecture {name}: it {what} {keys[0]} ({len(keys)} such "
                "tensors); name the architecture that it was trained as."
            )
    model.load_state_dict({k: state[k] for k in expected if k in state}, strict=False)


def _create(id: ModelId) -> Any:
    import timm

    name = id.architecture
    plain = name.partition(".")[0]
    if not timm.is_model(plain):
        raise UnknownModel(f"timm has no architecture {plain!r}; {_near(plain)}.")
    build = name if name not in PUBLISHED else plain
    if name not in PUBLISHED:
        _config(name)
    try:
        model: Any = timm.create_model(build, num_classes=0, dynamic_img_size=True)
    except TypeError:
        model = timm.create_model(build, num_classes=0)
    if not (hasattr(model, "forward_intermediates") and hasattr(model, "feature_info")):
        raise UnknownModel(f"{id} gives no grid of features; name a ViT or a ConvNet.")
    return model


def _config(name: str) -> Any:
    from timm.models import get_pretrained_cfg

    try:
        config = get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        config = None
    if config is None:
        raise UnknownModel(f"timm has no architecture and tag {name!r}; {_near(name)}.")
    return config


def _near(name: str) -> str:
    import timm

    plain = name.partition(".")[0]
    tagged = timm.list_models(f"{plain}*", pretrained=True)
    return near(name, tagged or timm.list_models(pretrained=True))


def _has_patches(model: Any) -> bool:
    return hasattr(model, "num_prefix_tokens") and hasattr(model, "patch_embed")


def _stage(id: ModelId, model: Any) -> int:
    """Index of the stage of the stride asked for: by default the last one."""
    reductions = [str(stage["reduction"]) for stage in model.feature_info]
    choices = list(dict.fromkeys(reversed(reductions)))
    wanted = id.option("stride", choices)
    return len(reductions) - 1 - reductions[::-1].index(wanted)


def _names(classifier: str | Iterable[str] | None) -> tuple[str, ...]:
    if not classifier:
        return ()
    return (classifier,) if isinstance(classifier, str) else tuple(classifier)
