"""The student: a small network that segments like a ``Segmenter``, without models and bank."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recoseg.crf.refine import Sharpen
from recoseg.crf.refine import refine as crf_refine
from recoseg.drawing import palette
from recoseg.errors import InputError, RecosegError, StudentError, UnknownConcept
from recoseg.io import images
from recoseg.io.images import RGB, ImageLike
from recoseg.io.progress import Progress, Step, quiet_step, reporting
from recoseg.io.sealed import Seal
from recoseg.models.lite import fold_batch_norms
from recoseg.models.registry import device_of
from recoseg.recipe import CRF
from recoseg.segmenting.decision import pick_winners, probability
from recoseg.segmenting.result import Segmentation
from recoseg.student import tiling
from recoseg.student.deeplab import Architecture, Network, fitted, fitted_size
from recoseg.student.sharpening import sharpened

SEAL = Seal(
    "recoseg_student",
    "a student",
    1,
    StudentError,
    "give a file written by recoseg adapt, or copy it again",
)


class Student:
    """Finds its concepts in images, as ``Segmenter`` does.

    Attributes:
        names: what the labels mean, in order.
        architecture: of its network.
        provenance: what it was taught by, on what, and how; plain JSON types.
        device: where it computes.
        refine: whether the CRF sharpens borders.
    """

    def __init__(
        self,
        network: Network,
        names: Sequence[str],
        architecture: Architecture,
        provenance: Mapping[str, Any] | None = None,
        *,
        refine: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        """Wrap a trained network; ``Student.open`` reads one from a file."""
        if len(names) != architecture.classes:
            raise StudentError(
                f"{len(names)} names do not fit a network of {architecture.classes} classes; "
                "name each class once."
            )
        self.names = tuple(names)
        self.architecture = architecture
        self.provenance = dict(provenance or {})
        self.refine = refine
        self.device = device_of(device)
        self._network = network

    @classmethod
    def open(cls, path: str | Path, device: str | torch.device | None = None) -> Student:
        """Read a student's file.

        Raises:
            StudentError: missing, damaged, something else, or of a newer version.
            TrainingError: segmentation-models-pytorch is not installed.
        """
        header, tensors = SEAL.read(Path(path))
        try:
            architecture = Architecture.from_dict(header["architecture"])
            network = Network(architecture)
            network.load_state_dict(tensors)
            names, provenance = list(header["names"]), dict(header["provenance"])
        except (KeyError, TypeError, ValueError, RuntimeError, InputError) as error:
            raise StudentError(
                f"{path} does not describe a network of this version; {SEAL.remedy}."
            ) from error
        return cls(network, names, architecture, provenance, device=device)

    def save(self, path: str | Path) -> Path:
        """Write one file with weights, names, palette, normalisation and provenance."""
        path = Path(path)
        if not path.parent.is_dir():
            raise StudentError(f"the folder {path.parent} does not exist; make it first.")
        header = {
            "names": list(self.names),
            "colours": palette.colours(len(self.names)).tolist(),
            "architecture": self.architecture.to_dict(),
            "provenance": self.provenance,
        }
        SEAL.write(path, header, self._network.state_dict())
        return path

    def __call__(
        self,
        image: ImageLike,
        concepts: Sequence[str] | None = None,
        refine: bool | None = None,
        *,
        progress: Progress = False,
    ) -> Segmentation:
        """Segment one image.

        Args:
            image: a path, encoded bytes, a PIL image or a uint8 (H, W, 3) array of any size.
            concepts: look for these of the student's concepts only.
            refine: overrides the student's own setting.
            progress: as in ``recoseg.io.progress.track``: of tiles and iterations of the CRF.

        Returns:
            Labels at the image's size; ``maps`` are (C, h, w) probabilities at stride 4.

        Raises:
            ImageError: it cannot be read.
            UnknownConcept: a name is not among the student's.
        """
        if concepts is not None:
            return self.choose(concepts)(image, refine=refine, progress=progress)
        pixels, sharpen = images.read(image), self.refine if refine is None else refine
        with reporting("segmenting", self.steps(pixels, sharpen), progress) as step:
            return self.decide(
                pixels, self.maps(pixels, step), sharpen, partial(crf_refine, step=step)
            )

    def maps(self, image: RGB, step: Step = quiet_step) -> Tensor:
        """Probabilities (C, h, w) of a uint8 (H, W, 3) image, at stride 4 of what is seen of it."""
        return torch.softmax(self.logits(image, step), dim=0)

    def steps(self, image: RGB, refine: bool) -> int:
        """How often ``maps``, and then ``decide`` if it is to ``refine``, calls its step."""
        tiles = tiling.count(
            fitted_size(image.shape[0], image.shape[1], self.architecture.short_side)
        )
        return tiles + (CRF().iterations if refine else 0)

    def decide(
        self, image: RGB, maps: Tensor, refine: bool, sharpen: Sharpen = crf_refine
    ) -> Segmentation:
        """Labels of an image from its maps.

        Args:
            image: uint8 (H, W, 3).
            maps: its maps.
            refine: sharpen borders,
            sharpen: by this function of scores (C, H, W), the image at their size and settings.
        """
        height, width = image.shape[:2]
        chosen = sharpened(maps, image, sharpen) if refine else maps
        labels, confidence = pick_winners(chosen, (height, width))
        if refine:  # the CRF's own probabilities are near 1 nearly everywhere, right or wrong
            confidence = probability(maps, labels, (height, width))
        return Segmentation(
            labels=labels.astype("uint8" if len(self.names) <= 256 else "uint16"),
            names=self.names,
            confidence=confidence,
            image=image,
            maps=maps.cpu(),
        )

    def many(self, sources: Iterable[ImageLike]) -> Iterator[Segmentation]:
        """Segment images one after the other, each as it is asked for."""
        if isinstance(sources, str | bytes | Path):
            raise InputError("many takes a list of images; call the student itself for one.")
        return (self(source) for source in sources)

    def choose(self, concepts: Sequence[str]) -> Student:
        """A student of some of the names, in the order given; it shares the network."""
        if isinstance(concepts, str):
            raise InputError(f"concepts must be a list of names; write [{concepts!r}].")
        names = list(dict.fromkeys(concepts))
        missing = [name for name in names if name not in self.names]
        if missing or not names:
            raise UnknownConcept(
                f"{missing[0] if missing else 'nothing'!r} was not taught; "
                f"there are {', '.join(self.names)}."
            )
        rows = [self.names.index(name) for name in names]
        architecture = Architecture(**{**vars(self.architecture), "classes": len(rows)})
        return Student(
            self._network.choose(rows),
            names,
            architecture,
            self.provenance,
            refine=self.refine,
            device=self.device,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides a result, hex."""
        digest = hashlib.sha256(repr((self.names, self.architecture, self.refine)).encode())
        for name, tensor in sorted(self._network.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @torch.inference_mode()
    def logits(self, image: RGB, step: Step = quiet_step) -> Tensor:
        """uint8 (H, W, 3) to (C, h, w) at stride 4 of the image, stretched to multiples of 32.

        An image with a side above 1024 is seen in overlapping tiles, whose logits are blended;
        ``step`` is called after each.
        """
        whole = images.to_tensor(image)[None].to(self.device)
        pixels = fitted(whole, self.architecture.short_side)
        return tiling.blended(pixels, self.architecture.classes, self._tile, step)

    def _tile(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.inference(pixels.contiguous(memory_format=torch.channels_last))[0]
        return logits

    @cached_property
    def inference(self) -> nn.Module:
        """The network for inference: a copy with batch norms folded into convolutions."""
        network = copy.deepcopy(self._network).eval().requires_grad_(False)
        fold_batch_norms(network)
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def is_student(path: str | Path) -> bool:
    """Whether a file is a student's, by its header."""
    try:
        SEAL.read(Path(path))
    except RecosegError:
        return False
    return True
