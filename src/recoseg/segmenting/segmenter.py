"""The segmenter: a bank's concepts found in any image (paper sec. 3.4; steps 9 and 10)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from recoseg.concepts.bank import ConceptBank
from recoseg.crf.refine import Sharpen
from recoseg.crf.refine import refine as crf_refine
from recoseg.errors import BankError, InputError
from recoseg.io import images
from recoseg.io.images import RGB, ImageLike
from recoseg.io.progress import Progress, Step, quiet_step, reporting
from recoseg.models.model_set import Models
from recoseg.segmenting.candidates import likely, winning
from recoseg.segmenting.decision import (
    find_unknown,
    level,
    limits,
    mass,
    medians,
    pick_winners,
    probability,
    working_size,
)
from recoseg.segmenting.result import UNKNOWN, Segmentation
from recoseg.segmenting.scoremaps import ScoreMaps, Scorer

__all__ = ["Segmentation", "Segmenter", "System"]

System = Literal["reco", "denseclip"]


class Segmenter:
    """Finds a bank's concepts in images; needs no archive.

    Attributes:
        bank: the concepts, after any choice of some of them.
        names: what the labels mean, in order; ends in ``"unknown"`` if that was asked for.
        refine: whether the CRF sharpens borders (step 10).
        unknown: whether what fits no concept is labelled unknown; the bank must be calibrated.
        strictness: how well a pixel must fit to be known: it must score above this share of an
            archive's pixels, 0.5 to 0.99. None for the bank's thresholds, which are those of 0.85
            unless ``calibrate`` was told otherwise.
        shortlist: how many concepts, those most likely in the image, compete for its pixels: for
            large banks, of which one image shows little; the bank must be calibrated. They compete
            by how far they score above their median over the archive, so that none wins because
            it scores high everywhere. None for all.
        strength: of the CRF: its kernels' weights are the recipe's times this, 0 to 100.
        crf: its settings.
        system: ``"reco"``, or ``"denseclip"`` for the baseline that uses the names alone.
    """

    def __init__(
        self,
        bank: ConceptBank,
        concepts: Sequence[str] | None = None,
        refine: bool = True,
        unknown: bool = False,
        *,
        strictness: float | None = None,
        shortlist: int | None = None,
        strength: float = 1.0,
        temperature: float | None = None,
        system: System = "reco",
        models: Models | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        """Choose concepts and load the models the bank was built with.

        Args:
            bank: what to look for.
            concepts: some of its names, in the order the labels shall have; None for all.
            refine: sharpen borders with the CRF.
            unknown: label what fits no concept.
            strictness: of unknown, which it implies.
            shortlist: let only so many concepts compete.
            strength: of the CRF.
            temperature: of the CRF's unary, in place of the recipe's; smaller trusts scores more.
            system: "denseclip" leaves the reference embeddings out.
            models: the bank's models, if at hand.
            device: where to compute, by default CUDA if present.

        Raises:
            UnknownConcept: a name is not in the bank.
            BankError: the bank is empty, of other models, or not calibrated where it must be.
        """
        unknown = unknown or strictness is not None
        self.bank = _chosen(bank, concepts)
        _check(self.bank, system, unknown, shortlist)
        self.refine = refine
        self.unknown = unknown
        self.strictness = strictness
        self.shortlist = shortlist
        self.strength = strength
        self.system = system
        self.crf = self.bank.recipe.crf.tuned(strength, temperature)
        self._models = models or Models.load(self.bank.recipe, device)
        self.bank.check(self._models, self.scorer().roles)
        self._usual = limits(self.bank) if shortlist is not None else None
        self._medians = medians(self.bank) if shortlist is not None else None
        self._limits = limits(self.bank, strictness) if unknown else None
        self.names = (*self.bank.names, UNKNOWN) if unknown else self.bank.names

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
            concepts: look for these of the segmenter's concepts only.
            refine: overrides the segmenter's own setting.
            progress: as in ``recoseg.io.progress.track``: of encodings and iterations of the CRF.

        Raises:
            ImageError: it cannot be read.
            UnknownConcept: a name is not among the segmenter's.
        """
        if concepts is not None:
            return self.choose(concepts)(image, refine=refine, progress=progress)
        pixels, sharpen = images.read(image), self.refine if refine is None else refine
        with reporting("segmenting", self.steps(pixels, sharpen), progress) as step:
            return self.decide(
                pixels, self.maps(pixels, step), sharpen, partial(crf_refine, step=step)
            )

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
            strictness=self.strictness,
            shortlist=self.shortlist,
            strength=self.strength,
            temperature=self.crf.temperature,
            system=self.system,
            models=self._models,
        )

    def maps(self, image: RGB, step: Step = quiet_step) -> ScoreMaps:
        """What ``decide`` needs to know of a uint8 (H, W, 3) image."""
        return self.scorer()(image, step)

    def steps(self, image: RGB, refine: bool) -> int:
        """How often ``maps``, and then ``decide`` if it is to ``refine``, calls its step."""
        return self.scorer().steps(image) + (self.crf.iterations if refine else 0)

    def decide(
        self, image: RGB, maps: ScoreMaps, refine: bool, sharpen: Sharpen = crf_refine
    ) -> Segmentation:
        """Labels of an image from its maps; the same maps serve any threshold and any CRF.

        Args:
            image: uint8 (H, W, 3).
            maps: its maps.
            refine: sharpen borders,
            sharpen: by this function of scores (C, H, W), the image at their size and settings.
        """
        working, chosen = working_size(image), self._competitors(maps)
        scores = maps.take(chosen).at(working)
        compared = scores if self._medians is None else scores - level(self._medians, chosen)
        probabilities = self._probabilities(image, compared, sharpen if refine else None)
        size = (image.shape[0], image.shape[1])
        winners, _ = pick_winners(probabilities, size)
        if (sure := self.bank.recipe.confidence_temperature) is not None:
            probabilities = torch.softmax(compared / sure, dim=0)
        if self.shortlist is None and len(chosen) < maps.count:
            among = mass(maps, chosen, sure or self.crf.temperature, working)
            probabilities = probabilities * among
        labels = chosen.cpu().numpy()[winners]
        if self._limits is not None:
            weak = find_unknown(winners, scores, self._limits[chosen.cpu()])
            labels = np.where(weak, len(self._limits), labels)
        return Segmentation(
            labels=labels.astype(np.uint8 if len(self.names) <= 256 else np.uint16),
            names=self.names,
            confidence=probability(probabilities, winners, size),
            image=image,
            maps=(scores if len(chosen) == maps.count else maps.at(maps.grid)).cpu(),
        )

    def scorer(self) -> Scorer:
        """Makes an image's maps of the concepts."""
        recipe, bank = self.bank.recipe, self.bank
        references = bank.references if self.system == "reco" else None
        texts = bank.texts if recipe.denseclip or self.system == "denseclip" else None
        return Scorer(self._models, recipe, texts, references, *bank.medians)

    def _competitors(self, maps: ScoreMaps) -> Tensor:
        if self.shortlist is None or self._usual is None:
            return winning(maps)
        return likely(maps, self._usual, self.shortlist)

    def _probabilities(self, image: RGB, scores: Tensor, sharpen: Sharpen | None) -> Tensor:
        if sharpen is not None:
            size = int(scores.shape[-2]), int(scores.shape[-1])
            return sharpen(scores, images.resize(image, size), self.crf)
        return torch.softmax(scores / self.crf.temperature, dim=0)


def _chosen(bank: ConceptBank, concepts: Sequence[str] | None) -> ConceptBank:
    if isinstance(concepts, str):
        raise InputError(f"concepts must be a list of names; write [{concepts!r}].")
    chosen = bank if concepts is None else bank.subset(list(dict.fromkeys(concepts)))
    if not len(chosen):
        raise BankError("the bank holds no concept, or none was chosen; add or name one.")
    return chosen


def _check(bank: ConceptBank, system: str, unknown: bool, shortlist: int | None) -> None:
    if unknown and UNKNOWN in bank.names:
        raise BankError(f"a concept is called {UNKNOWN!r} itself; leave it out, or rename it.")
    if system not in ("reco", "denseclip"):
        raise InputError(f"no system {system!r}; choose 'reco' or 'denseclip'.")
    if shortlist is not None and shortlist < 1:
        raise InputError(f"shortlist must be at least one concept, not {shortlist!r}.")
    if (unknown or shortlist is not None) and system != "reco":
        raise InputError(
            "'unknown' and a shortlist need thresholds, which are of the scores of system 'reco'; "
            "use that."
        )
