"""A trained baseline: finds its clusters in images, as a ``Segmenter`` finds concepts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recoseg.baselines import features
from recoseg.baselines.features import Extractor
from recoseg.baselines.learner import Classifier
from recoseg.baselines.networks import BaselineArchitecture
from recoseg.baselines.plan import BaselinePlan
from recoseg.crf.refine import refine as crf_refine
from recoseg.errors import BaselineError, InputError
from recoseg.evaluation.systems import Match
from recoseg.io import images
from recoseg.io.images import RGB, ImageLike
from recoseg.io.sealed import Seal
from recoseg.learning.checkpoint import select_prefix
from recoseg.models import registry
from recoseg.recipe import CRF
from recoseg.segmenting.decision import pick_winners, working_size
from recoseg.segmenting.result import Segmentation
from recoseg.similarity import upsample

SEAL = Seal(
    "recoseg_baseline",
    "a baseline",
    1,
    BaselineError,
    "give a file written by recoseg baseline, or train it again",
)
# STEGO's last step: the CRF sees the softmax of twice the cosines.
_SHARPNESS = 2.0
_FILE = re.compile(r"(timm:[^/+?]+)/[^+?]*")
_SUPERVISION = {
    "dino": "trained without labels",
    "clip": "trained on captions",
    "random": "untrained",
    "shallow": "untrained",
}


@dataclass(frozen=True, eq=False)
class Baseline:
    """A segmenter of unnamed clusters, which an evaluation matches with classes by the truth.

    Attributes:
        plan: how it was trained.
        network: inputs to codes.
        architecture: of the network.
        classifier: codes to clusters.
        extractor: pixels to the network's inputs; None where they are the pixels.
        provenance: seed, photos, versions and what was said on the way; plain JSON types.
        device: where it computes.
    """

    plan: BaselinePlan
    network: nn.Module
    architecture: BaselineArchitecture
    classifier: Classifier
    extractor: Extractor | None
    provenance: Mapping[str, Any]
    device: torch.device = torch.device("cpu")  # noqa: RUF009

    match: Match = "hungarian"

    @property
    def names(self) -> tuple[str, ...]:
        """``"cluster 0"`` and so on."""
        return tuple(f"cluster {number}" for number in range(len(self.classifier.weight)))

    @property
    def note(self) -> str:
        """Remark beside its row in a table: the encoder, and what that was pretrained on."""
        # A file of weights lies elsewhere on every machine.
        encoder = _FILE.sub(r"\1", self.plan.encoder)
        return f"reimplementation, {encoder} encoder, {supervision(encoder)}"

    def __call__(self, image: ImageLike) -> Segmentation:
        """Segment one image.

        Returns:
            Labels at the image's size; ``maps`` are (K, h, w) scores in [0, 1] on the codes' grid.

        Raises:
            ImageError: it cannot be read.
        """
        pixels = images.read(image)
        other = self.prepare(pixels, mirrored=True) if self.plan.mirror else None
        return self.decide(pixels, self.scores(self.prepare(pixels), other)[0])

    def prepare(self, image: RGB, mirrored: bool = False) -> Tensor:
        """The network's inputs (1, c, h, w) of a uint8 (H, W, 3) image; slow if they are features.

        Baselines of equal ``inputs_key`` have equal inputs.
        """
        batch = images.to_tensor(images.resize_short(image, self.plan.size))[None]
        batch = batch.flip(3) if mirrored else batch
        return batch if self.extractor is None else self.extractor(batch)

    @cached_property
    def inputs_key(self) -> tuple[object, ...]:
        """Equal for baselines whose inputs of an image are equal."""
        return self.plan.size, None if self.extractor is None else self.extractor.digest

    def decide(self, pixels: RGB, maps: Tensor) -> Segmentation:
        """Labels of an image from its scores (K, h, w)."""
        height, width = pixels.shape[:2]
        sharp = maps
        if self.plan.refine:
            # (1 + cosine) / 2 spans half of what the cosine does.
            grid = working_size(pixels)
            logits = 2 * _SHARPNESS * upsample(maps[None], grid)[0]
            sharp = crf_refine(logits, images.resize(pixels, grid), CRF())
        labels, confidence = pick_winners(sharp, (height, width))
        kind = "uint8" if len(self.names) <= 256 else "uint16"
        return Segmentation(labels.astype(kind), self.names, confidence, pixels, maps)

    @torch.inference_mode()
    def scores(self, inputs: Tensor, mirrored: Tensor | None = None) -> Tensor:
        """Prepared inputs (B, c, h, w), and those of the mirrored image, to (B, K, h', w')."""
        codes = self._codes(inputs)
        if mirrored is not None:
            codes = (codes + self._codes(mirrored).flip(3)) / 2
        return self.classifier(codes).cpu()

    def _codes(self, inputs: Tensor) -> Tensor:
        codes: Tensor = self.network(inputs.to(self.device))
        return codes.cpu()

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """All that was trained or measured."""
        found = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        found["classifier.weight"] = self.classifier.weight
        if self.classifier.bias is not None:
            found["classifier.bias"] = self.classifier.bias
        return found | ({} if self.extractor is None else self.extractor.tensors)

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides a result, hex."""
        facts = (self.plan.size, self.plan.mirror, self.plan.refine, self.classifier.directions)
        digest = hashlib.sha256(repr((facts, self.architecture, self.fingerprints)).encode())
        for name, tensor in sorted(self.tensors.items()):
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def fingerprints(self) -> list[str]:
        """Of the frozen encoders."""
        return [] if self.extractor is None else [e.fingerprint for e in self.extractor.encoders]

    def save(self, path: str | Path) -> Path:
        """Write one file with everything but the frozen encoders' own weights."""
        path = Path(path)
        if not path.parent.is_dir():
            raise BaselineError(f"the folder {path.parent} does not exist; make it first.")
        header = {
            "plan": self.plan.to_dict(),
            "architecture": self.architecture.to_dict(),
            "directions": self.classifier.directions,
            "fingerprints": self.fingerprints,
            "provenance": dict(self.provenance),
        }
        SEAL.write(path, header, self.tensors)
        return path

    @classmethod
    def open(cls, path: str | Path, device: str | torch.device | None = None) -> Baseline:
        """Read a baseline's file.

        Raises:
            BaselineError: missing, damaged, something else, of a newer version, or trained with
                another version of its encoder.
            UnknownModel, MissingWeights: its encoder is not here.
        """
        header, tensors = SEAL.read(Path(path))
        try:
            plan = BaselinePlan.from_dict(header["plan"])
            architecture = BaselineArchitecture.from_dict(header["architecture"])
            network = architecture.build()
            network.load_state_dict(select_prefix("network.", tensors))
            parts = tensors["classifier.weight"], tensors.get("classifier.bias")
            classifier = Classifier(*parts, bool(header["directions"]))
            fingerprints, provenance = list(header["fingerprints"]), dict(header["provenance"])
        except (KeyError, TypeError, ValueError, RuntimeError, InputError) as error:
            raise BaselineError(
                f"{path} does not describe a baseline of this version; {SEAL.remedy}."
            ) from error
        where = registry.device_of(device)
        extractor = _extractor(plan, tensors, fingerprints, path, where) if plan.frozen else None
        network = network.eval().requires_grad_(False).to(where)
        return cls(plan, network, architecture, classifier, extractor, provenance, where)


def supervision(encoder: str) -> str:
    """Which labels an encoder was pretrained with, in words."""
    found = set()
    for id in encoder.lower().split("+"):
        known = (words for part, words in _SUPERVISION.items() if part in id)
        found.add(next(known, "trained on ImageNet labels"))
    return " and ".join(sorted(found))


def _extractor(
    plan: BaselinePlan,
    tensors: Mapping[str, Tensor],
    fingerprints: list[str],
    path: Any,
    device: Any,
) -> Extractor:
    encoders = features.load(plan.encoder, device)
    if [encoder.fingerprint for encoder in encoders] != fingerprints:
        raise BaselineError(
            f"{path} was trained on features of another {plan.encoder}; train it again with the "
            "encoder of this machine, or use the weights that it was trained with."
        )
    try:
        return Extractor.of(encoders, tensors)
    except KeyError as error:
        raise BaselineError(f"{path} lacks {error} of its features; {SEAL.remedy}.") from error
