"""Published EfficientNet-Lite weights under timm's names, which differ from those in the files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from recoseg.errors import MissingWeights
from recoseg.models import weights

# timm's names of layers, and the files'.
_NETWORK = {
    "conv_stem": "_conv_stem",
    "bn1": "_bn0",
    "conv_head": "_conv_head",
    "bn2": "_bn1",
    "classifier": "_fc",
}
_BLOCK = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}
# The first blocks do not expand.
_PLAIN_BLOCK = {
    "conv_dw": "_depthwise_conv",
    "bn1": "_bn1",
    "conv_pw": "_project_conv",
    "bn2": "_bn2",
}


def read(file: Path, wanted: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of a published file by the names that timm's model has for them.

    Args:
        file: of the weights.
        wanted: the state of timm's model.
        name: timm's name of it.

    Raises:
        MissingWeights: a tensor is missing, left over, or of another shape.
    """
    stored, names = weights.read(file), published_names(wanted)
    shapes = {names.get(key, key): tensor.shape for key, tensor in wanted.items()}
    if shapes != {key: tensor.shape for key, tensor in stored.items()}:
        raise MissingWeights(f"{file} does not fit timm's {name}; update timm.")
    return {key: stored[names[key]] for key in wanted}


def published_names(keys: Iterable[str]) -> dict[str, str]:
    """The name in a published file of each of timm's; the file counts blocks without stages."""
    keys = set(keys)
    blocks = sorted({tuple(map(int, k.split(".")[1:3])) for k in keys if k.startswith("blocks.")})
    found = {}
    for key in keys:
        first, *rest = key.split(".")
        if first in _NETWORK:
            found[key] = ".".join([_NETWORK[first], *rest])
        elif first == "blocks":
            stage, block, layer, parameter = rest
            expands = f"blocks.{stage}.{block}.conv_pwl.weight" in keys
            layers = _BLOCK if expands else _PLAIN_BLOCK
            number = blocks.index((int(stage), int(block)))
            if layer in layers:
                found[key] = f"_blocks.{number}.{layers[layer]}.{parameter}"
    return found
