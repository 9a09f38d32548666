"""Loading open_clip models: files, activation and preprocessing."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recoseg.errors import MissingWeights
from recoseg.models import cliptable, weights
from recoseg.models.ids import ModelId

QUICK = "-quickgelu"
CONFIG = "open_clip_config.json"


@dataclass(frozen=True)
class LoadedClip:
    """Loaded open_clip model with its tokenizer and preprocessing.

    Attributes:
        model: in evaluation mode, without gradients, on the CPU.
        tokenizer: a list of texts to token numbers (T, length).
        geometry: a PIL image to float (3, H, W) in [0, 1], before mean and deviation.
        size: (H, W) of the image tower's input.
        mean: per channel.
        std: per channel.
        dim: channels of the joint space.
        facts: architecture and preprocessing, of plain JSON types.
        digest: sha256 of the weights' file.
    """

    model: Any
    tokenizer: Callable[[list[str]], Tensor]
    geometry: Callable[[Any], Tensor]
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dim: int
    facts: dict[str, Any]
    digest: str


@dataclass(frozen=True)
class Resolved:
    """Resolved arguments of ``create_model``: architecture, file, activation, preprocessing."""

    architecture: str
    file: Path
    quick_gelu: bool
    preprocess: dict[str, Any]


def load(id: ModelId) -> LoadedClip:
    """Load the model of an id, with its weights.

    Raises:
        UnknownModel: open_clip has no such architecture or tag.
        MissingWeights: the weights are absent, damaged, or another architecture's.
    """
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform, merge_preprocess_dict

    source = resolve(id)
    tokenizer = _tokenizer(id, source.architecture)
    model: Any = _create(source)
    config = merge_preprocess_dict(PreprocessCfg(size=model.visual.image_size), source.preprocess)
    plain = {key: config[key] for key in ("resize_mode", "interpolation", "fill_color")}
    size = config["size"]
    geometry = image_transform(size, False, mean=(0.0,) * 3, std=(1.0,) * 3, **plain)
    architecture = open_clip.get_model_config(source.architecture)
    return LoadedClip(
        model=model,
        tokenizer=tokenizer,
        geometry=geometry,
        size=(size, size) if isinstance(size, int) else tuple(size),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        dim=int(architecture["embed_dim"]),
        facts={"model": architecture, "quick_gelu": source.quick_gelu, "preprocess": config},
        digest=weights.digest(source.file),
    )


def resolve(id: ModelId) -> Resolved:
    """Find the file and the facts of ``clip:ARCHITECTURE/TAG-OR-FILE``; errors as ``load``."""
    name = id.architecture
    cliptable.check_architecture(name)
    config = cliptable.pretrained_config(id)
    if config or id.path is None:
        quick = bool(config.get("quick_gelu")) or name.endswith(QUICK)
        return Resolved(name, cliptable.publication(id).find(), quick, config)
    known = cliptable.recognise_file(id.path)[1]
    quick = name.endswith(QUICK) or bool(known.get("quick_gelu"))
    return Resolved(name, id.path, quick, known or _beside(id.path))


def _beside(file: Path) -> dict[str, Any]:
    """Preprocessing stated in the configuration beside a downloaded file, if any."""
    config = file.parent / CONFIG
    if not config.is_file():
        return {}
    try:
        stated = json.loads(config.read_text(encoding="utf-8")).get("preprocess_cfg", {})
    except (OSError, ValueError, AttributeError) as error:
        raise MissingWeights(f"{config} is damaged ({error}); get it again.") from error
    return dict(stated)


def _create(source: Resolved) -> nn.Module:
    """Architecture and weights; never an architecture alone."""
    import open_clip

    if _is_torchscript(source.file):
        return _freeze(_openai(source.file))
    weights.read(source.file)
    try:
        model = open_clip.create_model(
            source.architecture,
            pretrained=str(source.file),
            require_pretrained=True,
            weights_only=True,
            force_quick_gelu=source.quick_gelu,
            pretrained_text=False,
        )
    except RuntimeError as error:
        raise MissingWeights(
            f"{source.file} does not hold the weights of {source.architecture}; name the "
            f"architecture that it was trained as ({_first_line(error)})."
        ) from error
    return _freeze(model)


def _freeze(model: nn.Module) -> nn.Module:
    model.float().eval().requires_grad_(False)
    # Convolutions are faster with channels last; other weights have no such order.
    return model.to(memory_format=torch.channels_last)


def _is_torchscript(file: Path) -> bool:
    """Whether a file is a program beside its weights, as OpenAI's own files are."""
    import zipfile

    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("constants.pkl") for name in archive.namelist())


def _openai(file: Path) -> nn.Module:
    """One of OpenAI's own files; a program from anyone else is not run.

    Raises:
        MissingWeights: it is not one that open_clip's table knows by its whole sha256.
    """
    from open_clip.openai import load_openai_model

    if not cliptable.is_openai_file(file):
        raise MissingWeights(
            f"{file} is a TorchScript program and not one of the files that OpenAI published (its "
            "sha256 is unknown), so it is not run; save the model's state_dict with safetensors."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: nn.Module = load_openai_model(str(file), precision="fp32", device="cpu")
    return model


def _tokenizer(id: ModelId, architecture: str) -> Callable[[list[str]], Tensor]:
    """The architecture's own tokenizer; one that comes from the hub is fetched like weights."""
    import open_clip

    needed = cliptable.tokenizer_files(id)
    for published in needed:
        published.find()
    options = {"cache_dir": str(weights.hub_cache())} if needed else {}
    tokenizer: Callable[[list[str]], Tensor] = open_clip.get_tokenizer(architecture, **options)
    return tokenizer


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160]
