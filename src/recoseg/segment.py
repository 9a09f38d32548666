"""The segmenter: a bank's concepts found in any image (paper sec. 3.4; steps 9 and 10)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recoseg import images
from recoseg.concepts import ConceptBank
from recoseg.errors import BankError, InputError
from recoseg.images import RGB, ImageLike
from recoseg.models.trio import Models
from recoseg.recipe import CRF
from recoseg.refine import refine as crf_refine
from recoseg.scoremaps import ScoreMaps, Scorer
from recoseg.segmentation import UNKNOWN, Segmentation
from recoseg.shortlist import likely, winning
from recoseg.similarity import upsample, upsample_rows

__all__ = ["Segmentation", "Segmenter", "System"]

System = Literal["reco", "denseclip"]
Sharpen = Callable[[Tensor, RGB, CRF], Tensor]
WORKING_PIXELS = 640_000
_BAND = 256


class Segmenter:
    """Finds a bank's concepts in images; needs no archive.

    Attributes:
        bank: the concepts, after any choice of some of them.
        names: what the labels mean, in order; ends in ``"unknown"`` if that was asked for.
        refine: whether the CRF sharpens borders.
        unknown: whether pixels below their concept's threshold are labelled unknown.
        shortlist: how many concepts, the likeliest of the image, compete for its pixels, or None.
        system: ``"reco"``, or ``"denseclip"`` for the baseline that uses the names alone.
    """

    def __init__(
        self,
        bank: ConceptBank,
        concepts: Sequence[str] | None = None,
        refine: bool = True,
        unknown: bool = False,
        *,
        shortlist: int | None = None,
        temperature: float | None = None,
        system: System = "reco",
        models: Models | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        """Choose concepts and load the models the bank was built with.

        Args:
            bank: what to look for.
            concepts: some of its names, in the order the labels shall have; None for all.
            refine: sharpen borders with the CRF (step 10).
            unknown: label what fits no concept; the bank must be calibrated.
            shortlist: let only so many concepts, those most likely in the image, compete for its
                pixels: for large banks, of which one image shows little; the bank must be
                calibrated. None for all.
            temperature: of the CRF's unary, in place of the recipe's; smaller trusts scores more.
            system: ``"denseclip"`` leaves the reference embeddings out.
            models: the bank's models, if at hand.
            device: where to compute, by default CUDA if present.

        Raises:
            UnknownConcept: a name is not in the bank.
            BankError: the bank is empty, of other models, or not calibrated for ``unknown`` or
                ``shortlist``.
        """
        if isinstance(concepts, str):
            raise InputError(f"concepts must be a list of names; write [{concepts!r}].")
        _check(system, unknown, shortlist)
        self.bank = bank if concepts is None else bank.subset(list(dict.fromkeys(concepts)))
        if not len(self.bank):
            raise BankError("the bank holds no concept, or none was chosen; add or name one.")
        self.refine = refine
        self.unknown = unknown
        self.shortlist = shortlist
        self.system = system
        crf = self.bank.recipe.crf
        self.crf = crf if temperature is None else dataclasses.replace(crf, temperature=temperature)
        self._models = models or Models.load(self.bank.recipe, device)
        self.bank.check(self._models, self.scorer().roles)
        calibrated = unknown or shortlist is not None
        self._thresholds = self._checked_thresholds() if calibrated else None
        self.names = (*self.bank.names, UNKNOWN) if unknown else self.bank.names

    def __call__(
        self, image: ImageLike, concepts: Sequence[str] | None = None, refine: bool | None = None
    ) -> Segmentation:
        """Segment one image.

        Args:
            image: a path, encoded bytes, a PIL image or a uint8 (H, W, 3) array of any size.
            concepts: look for these of the segmenter's concepts only.
            refine: overrides the segmenter's own setting.

        Raises:
            ImageError: it cannot be read.
            UnknownConcept: a name is not among the segmenter's.
        """
        if concepts is not None:
            return self.choose(concepts)(image, refine=refine)
        return self._segment(images.read(image), self.refine if refine is None else refine)

    def many(self, sources: Iterable[ImageLike]) -> Iterator[Segmentation]:
        """Segment images one after the other, each as it is asked for."""
        if isinstance(sources, str | bytes | Path):
            raise InputError("many takes a list of images; call the segmenter itself for one.")
        return (self(source) for source in sources)

    def choose(self, concepts: Sequence[str]) -> Segmenter:
        """A segmenter of some concepts with the same settings and the same loaded models.

        ``"unknown"`` among them is no concept to choose: it stays if it was asked for.
        """
        if self.unknown and not isinstance(concepts, str):
            concepts = [name for name in concepts if name != UNKNOWN]
        return Segmenter(
            self.bank,
            concepts,
            self.refine,
            self.unknown,
            shortlist=self.shortlist,
            temperature=self.crf.temperature,
            system=self.system,
            models=self._models,
        )

    def _segment(self, image: RGB, refine: bool) -> Segmentation:
        return self.decide(image, self.scorer()(image), refine)

    def decide(
        self, image: RGB, maps: ScoreMaps, refine: bool, sharpen: Sharpen = crf_refine
    ) -> Segmentation:
        """Labels of an image from the maps that ``scorer`` gives for it.

        Args:
            image: uint8 (H, W, 3).
            maps: its maps.
            refine: sharpen borders,
            sharpen: by this function of scores (C, H, W), the image at their size and settings.
        """
        working, chosen = working_size(image), self._competitors(maps)
        scores = maps.take(chosen).at(working)
        probabilities = self._probabilities(image, scores, sharpen if refine else None)
        if self.shortlist is None and len(chosen) < maps.count:
            probabilities = probabilities * _mass(maps, chosen, self.crf.temperature, working)
        winners, confidence = decided(probabilities, (image.shape[0], image.shape[1]))
        labels = chosen.cpu().numpy()[winners]
        if self.unknown and self._thresholds is not None:
            rejected = _rejected(winners, scores, self._thresholds[chosen.cpu()])
            labels = np.where(rejected, len(self._thresholds), labels)
        return Segmentation(
            labels=labels.astype(np.uint8 if len(self.names) <= 256 else np.uint16),
            names=self.names,
            confidence=confidence,
            image=image,
            maps=(scores if len(chosen) == maps.count else maps.at(maps.grid)).cpu(),
        )

    def scorer(self) -> Scorer:
        """Makes an image's maps of the concepts."""
        recipe, bank = self.bank.recipe, self.bank
        references = bank.references if self.system == "reco" else None
        texts = bank.texts if recipe.denseclip or self.system == "denseclip" else None
        return Scorer(self._models, recipe, texts, references)

    def _competitors(self, maps: ScoreMaps) -> Tensor:
        if self.shortlist is None or self._thresholds is None:
            return winning(maps)
        return likely(maps, self._thresholds, self.shortlist)

    def _probabilities(self, image: RGB, scores: Tensor, sharpen: Sharpen | None) -> Tensor:
        if sharpen is not None:
            size = int(scores.shape[-2]), int(scores.shape[-1])
            return sharpen(scores, images.resize(image, size), self.crf)
        return torch.softmax(scores / self.crf.temperature, dim=0)

    def _checked_thresholds(self) -> Tensor:
        if self.unknown and UNKNOWN in self.bank.names:
            raise BankError(f"a concept is called {UNKNOWN!r} itself; leave it out, or rename it.")
        missing = [c.name for c in self.bank.concepts if c.threshold is None]
        if missing:
            raise BankError(
                f"{missing[0]!r} has no threshold, which 'unknown' and a shortlist need; calibrate "
                "the bank on an archive with recoseg.calibrate(bank, index)."
            )
        return torch.tensor([float(c.threshold or 0.0) for c in self.bank.concepts])


def _check(system: str, unknown: bool, shortlist: int | None) -> None:
    if system not in ("reco", "denseclip"):
        raise InputError(f"no system {system!r}; choose 'reco' or 'denseclip'.")
    if shortlist is not None and shortlist < 1:
        raise InputError(f"shortlist must be at least one concept, not {shortlist!r}.")
    if (unknown or shortlist is not None) and system != "reco":
        raise InputError(
            "'unknown' and a shortlist need thresholds, which are of the scores of system 'reco'; "
            "use that."
        )


def working_size(image: RGB) -> tuple[int, int]:
    """(H, W) at which scores and the CRF are computed: the image's own, up to 0.64 megapixels."""
    height, width = image.shape[:2]
    shrink = min(1.0, (WORKING_PIXELS / (height * width)) ** 0.5)
    rows, columns = max(1, round(height * shrink)), max(1, round(width * shrink))
    return min(rows, WORKING_PIXELS), min(columns, WORKING_PIXELS)


def decided(
    probabilities: Tensor, size: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Argmax of (C, h, w) and its probability at ``size``, by bands of rows if larger."""
    if tuple(probabilities.shape[-2:]) == size:
        confidence, labels = probabilities.max(dim=0)
        return labels.cpu().numpy(), confidence.cpu().numpy()
    bands = (slice(top, min(size[0], top + _BAND)) for top in range(0, size[0], _BAND))
    parts = [upsample_rows(probabilities, size, band).max(dim=0) for band in bands]
    labels = torch.cat([part.indices for part in parts])
    return labels.cpu().numpy(), torch.cat([part.values for part in parts]).cpu().numpy()


def _mass(maps: ScoreMaps, chosen: Tensor, temperature: float, size: tuple[int, int]) -> Tensor:
    """(1, H, W) probability that the concepts left out leave to the chosen ones."""
    everything = torch.softmax(maps.at(maps.grid) / temperature, dim=0)
    return upsample(everything[chosen].sum(dim=0, keepdim=True)[None], size)[0]


def _rejected(labels: NDArray[np.int64], scores: Tensor, thresholds: Tensor) -> NDArray[np.bool_]:
    """Where the working-grid score of a pixel's label is below that label's threshold."""
    failed = (scores.cpu() < thresholds[:, None, None]).numpy()
    height, width = labels.shape
    rows = np.arange(height) * failed.shape[1] // height
    columns = np.arange(width) * failed.shape[2] // width
    return np.asarray(failed[labels, rows[:, None], columns[None]])
