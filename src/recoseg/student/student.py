"""The student: a small network that segments like a ``Segmenter``, without models and bank."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recoseg.crf.refine import Sharpen
from recoseg.crf.refine import refine as crf_refine
from recoseg.errors import InputError, StudentError, UnknownConcept
from recoseg.io import images
from recoseg.io.images import RGB, ImageLike
from recoseg.io.progress import Progress, Step, quiet_step, reporting
from recoseg.models.lite import fold_batch_norms
from recoseg.models.registry import device_of
from recoseg.recipe import CRF
from recoseg.segmenting.decision import pick_winners, probability, working_size
from recoseg.segmenting.options import Options
from recoseg.segmenting.result import Segmentation
from recoseg.segmenting.scoremaps import ScoreMaps
from recoseg.segmenting.tiling import Tiling, blend_tiles
from recoseg.student import studentfile
from recoseg.student.deeplab import Architecture, Network, fit_size, stretch_to_fit

TILING = Tiling(side=1024, overlap=128, even=True, ramp=128)


# Borders are sharpened if asked for: a student draws them better than a bank's scores do.
USUAL = Options(refine=False)


class Student:
    """Finds its concepts in images, as ``Segmenter`` does. Nothing of it can be changed.

    Attributes:
        architecture: of its network.
        provenance: what it was taught by, on what, and how; plain JSON types.
        device: where it computes.
    """

    def __init__(
        self,
        network: Network,
        names: Sequence[str],
        architecture: Architecture,
        provenance: Mapping[str, Any] | None = None,
        *,
        options: Options = USUAL,
        device: str | torch.device | None = None,
    ) -> None:
        """Wrap a trained network, of a class for each name; ``Student.open`` reads one from a file.

        ``options`` may set ``concepts`` and ``refine`` alone; the rest is of banks.

        Raises:
            StudentError: the names do not fit the network.
            UnknownConcept: it was not taught one of the options' concepts.
            InputError: an option that only a bank's segmenter has.
        """
        if len(names) != architecture.classes:
            raise StudentError(
                f"{len(names)} names do not fit a network of {architecture.classes} classes; "
                "name each class once."
            )
        _check(options)
        chosen = _choose(tuple(names), options.concepts)
        if chosen != tuple(names):
            network = network.choose([list(names).index(name) for name in chosen])
            architecture = dataclasses.replace(architecture, classes=len(chosen))
        self.architecture = architecture
        self.provenance = dict(provenance or {})
        self.device = device_of(device)
        self._options = options.replace(concepts=chosen)
        self._network = network

    @classmethod
    def open(
        cls,
        path: str | Path,
        device: str | torch.device | None = None,
        *,
        options: Options = USUAL,
    ) -> Student:
        """Read a student's file; the options are those of the constructor.

        Raises:
            StudentError: missing, damaged, something else, or of a newer version.
            TrainingError: segmentation-models-pytorch is not installed.
        """
        return cls(*studentfile.read(Path(path)), options=options, device=device)

    def save(self, path: str | Path) -> Path:
        """Write one file with weights, names, palette, normalisation and provenance."""
        parts = (self._network, self.names, self.architecture, self.provenance)
        studentfile.write(Path(path), *parts)
        return Path(path)

    @property
    def names(self) -> tuple[str, ...]:
        """What the labels mean, in order."""
        return tuple(self._options.concepts or ())

    @property
    def options(self) -> Options:
        """How it segments."""
        return self._options

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides a result, of plain JSON types."""
        return {
            "student": self.digest,
            "names": list(self.names),
            "refine": self._options.refine,
            "options": self._options.digest,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides a result, hex."""
        facts = (self.names, self.architecture, self._options.refine)
        digest = hashlib.sha256(repr(facts).encode())
        for name, tensor in sorted(self._network.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        return f"Student({len(self.names)} names: {', '.join(self.names[:8])}; {self._options!r})"

    def __call__(
        self,
        image: ImageLike,
        concepts: Sequence[str] | None = None,
        refine: bool | None = None,
        *,
        progress: Progress = False,
    ) -> Segmentation:
        """Segment one image, as ``Segmenter`` does; ``maps`` are probabilities at stride 4."""
        if concepts is not None:
            return self.choose(concepts)(image, refine=refine, progress=progress)
        pixels, sharpen = images.read(image), self._options.refine if refine is None else refine
        with reporting("segmenting", self.steps(pixels, sharpen), progress) as step:
            return self.decide(
                pixels, self.maps(pixels, step), sharpen, partial(crf_refine, step=step)
            )

    def many(self, sources: Iterable[ImageLike]) -> Iterator[Segmentation]:
        """Segment images one after the other, each as it is asked for."""
        if isinstance(sources, str | bytes | Path):
            raise InputError("many takes a list of images; call the student itself for one.")
        return (self(source) for source in sources)

    def choose(self, concepts: Sequence[str]) -> Student:
        """A student of some of the names, in the order given; it shares the network."""
        return self.replace(concepts=concepts)

    def replace(self, **changes: Any) -> Student:
        """A student with some of its options changed; it shares the network."""
        facts = (self._network, self.names, self.architecture, self.provenance)
        return Student(*facts, options=self._options.replace(**changes), device=self.device)

    def maps(self, image: RGB, step: Step = quiet_step) -> ScoreMaps:
        """Probabilities (C, h, w) of a uint8 (H, W, 3) image, at stride 4 of what is seen of it."""
        return ScoreMaps(None, torch.softmax(self.logits(image, step), dim=0))

    def steps(self, image: RGB, refine: bool) -> int:
        """How often ``maps``, and then ``decide`` if it is to ``refine``, calls its step."""
        seen = fit_size(image.shape[0], image.shape[1], self.architecture.short_side)
        return len(TILING.corners(seen)) + (CRF().iterations if refine else 0)

    def decide(
        self,
        image: RGB,
        maps: ScoreMaps,
        refine: bool | None = None,
        sharpen: Sharpen = crf_refine,
    ) -> Segmentation:
        """Labels of an image from its maps; the arguments are those of ``Segmenter.decide``."""
        refine = self._options.refine if refine is None else refine
        (probabilities,) = maps.factors
        size = (image.shape[0], image.shape[1])
        chosen = _sharpen(maps, image, sharpen) if refine else probabilities
        labels, confidence = pick_winners(chosen, size)
        if refine:  # the CRF's own probabilities are near 1 nearly everywhere, right or wrong
            confidence = probability(probabilities, labels, size)
        return Segmentation(
            labels=labels.astype("uint8" if len(self.names) <= 256 else "uint16"),
            names=self.names,
            confidence=confidence,
            image=image,
            maps=probabilities.cpu(),
        )

    @torch.inference_mode()
    def logits(self, image: RGB, step: Step = quiet_step) -> Tensor:
        """uint8 (H, W, 3) to (C, h, w) at stride 4 of the image, stretched to multiples of 32.

        An image with a side above 1024 is seen in overlapping tiles, whose logits are blended;
        ``step`` is called after each.
        """
        whole = images.to_tensor(image)[None].to(self.device)
        pixels = stretch_to_fit(whole, self.architecture.short_side)
        (logits,) = blend_tiles(pixels, TILING, self._tile, step)
        return logits

    def _tile(self, pixels: Tensor) -> tuple[Tensor]:
        return (self.inference(pixels.contiguous(memory_format=torch.channels_last))[0],)

    @cached_property
    def inference(self) -> nn.Module:
        """The network for inference: a copy with batch norms folded into convolutions."""
        network = copy.deepcopy(self._network).eval().requires_grad_(False)
        fold_batch_norms(network)
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _sharpen(maps: ScoreMaps, image: RGB, sharpen: Sharpen) -> Tensor:
    """CRF of probabilities on the working grid of the image."""
    size = working_size(image)
    return sharpen(maps.at(size).clamp_min(1e-6).log(), images.resize(image, size), CRF())


def _check(options: Options) -> None:
    """InputError for what only a bank's segmenter has."""
    plain = USUAL.replace(concepts=options.concepts, refine=options.refine)
    strange = [name for name, value in vars(options).items() if value != getattr(plain, name)]
    if strange:
        raise InputError(f"{strange[-1]} is of banks, not of students; leave it out.")


def _choose(names: tuple[str, ...], concepts: Sequence[str] | None) -> tuple[str, ...]:
    chosen = names if concepts is None else tuple(concepts)
    missing = [name for name in chosen if name not in names]
    if missing or not chosen:
        raise UnknownConcept(
            f"{missing[0] if missing else 'nothing'!r} was not taught; there are "
            f"{', '.join(names)}."
        )
    return chosen
