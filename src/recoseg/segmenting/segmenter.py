"""The segmenter: a bank's concepts found in any image (paper sec. 3.4; steps 9 and 10)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

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
from recoseg.models.registry import Models
from recoseg.recipe import CRF
from recoseg.segmenting import decision
from recoseg.segmenting.options import Options
from recoseg.segmenting.result import UNKNOWN, Segmentation
from recoseg.segmenting.scoremaps import ScoreMaps, Scorer

__all__ = ["Options", "Segmentation", "Segmenter"]


class Segmenter:
    """Finds a bank's concepts in images; needs no archive. Nothing of it can be changed."""

    def __init__(
        self,
        bank: ConceptBank,
        concepts: Sequence[str] | None = None,
        *,
        options: Options = Options(),
        models: Models | None = None,
        device: str | torch.device | None = None,
        **settings: Any,
    ) -> None:
        """Choose concepts and load the models the bank was built with.

        Args:
            bank: what to look for.
            concepts: some of its names, in the order the labels shall have; None for those of
                ``options``, which are all of them unless it names some.
            options: how to segment.
            models: the bank's models, if at hand.
            device: where to compute, by default CUDA if present.
            settings: fields of ``Options``, in place of those of ``options``; for example
                ``refine=False`` or ``strictness=0.9``.

        Raises:
            UnknownConcept: a name is not in the bank.
            BankError: the bank is empty, of other models, or not calibrated where it must be.
            InputError, RecipeError: a setting is out of its range.
        """
        if concepts is not None:
            settings["concepts"] = concepts
        options = options.replace(**settings)
        bank = bank if options.concepts is None else bank.subset(list(options.concepts))
        _check(bank, options)
        self._bank, self._crf = bank, options.with_strength(bank.recipe.crf)
        # As resolved, so that the same results have the same options.
        self._options = options.replace(concepts=bank.names, temperature=self._crf.temperature)
        self._models = models or Models.load(bank.recipe, device)
        self._scorer = Scorer.of(bank, self._models, options.system)
        bank.check(self._models, self._scorer.roles)
        listed = options.shortlist is not None
        self._usual = decision.thresholds(bank) if listed else None
        self._medians = decision.median_scores(bank) if listed else None
        judged = options.strictness is not None or (options.unknown and options.sure is None)
        self._least = decision.thresholds(bank, options.strictness) if judged else None
        groups = decision.group_names(bank.concepts) if options.sure is not None else ()
        self._names = (*bank.names, *groups, *((UNKNOWN,) if options.unknown else ()))

    @property
    def bank(self) -> ConceptBank:
        """The concepts, after any choice of some of them."""
        return self._bank

    @property
    def options(self) -> Options:
        """How it segments; ``concepts`` and ``temperature`` as they are, never None."""
        return self._options

    @property
    def crf(self) -> CRF:
        """The CRF's settings: the recipe's with the options' strength and temperature."""
        return self._crf

    @property
    def names(self) -> tuple[str, ...]:
        """What labels mean: concepts, their groups if ``sure`` is set, ``"unknown"`` if asked."""
        return self._names

    @property
    def scorer(self) -> Scorer:
        """Makes an image's maps of the concepts."""
        return self._scorer

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides a result, of plain JSON types."""
        settings = {k: v for k, v in self._options.to_dict().items() if k != "concepts"}
        return {
            "bank": self._bank.digest,
            "names": list(self.names),
            **settings,
            "crf": dataclasses.asdict(self._crf),
            "options": self._options.digest,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of ``identity``, hex."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()

    def __reduce__(self) -> Any:
        """Sent to another process, it is made anew there, and its models are checked again."""
        return partial(Segmenter, options=self._options, models=self._models), (self._bank,)

    def __repr__(self) -> str:
        return f"Segmenter({self._bank!r}; {self._options!r})"

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
        pixels, sharpen = images.read(image), self._options.refine if refine is None else refine
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
        if self._options.unknown and not isinstance(concepts, str):
            concepts = [name for name in concepts if name != UNKNOWN]
        return self.replace(concepts=concepts)

    def replace(self, **changes: Any) -> Segmenter:
        """A segmenter with some of its options changed and the same loaded models."""
        return Segmenter(self._bank, options=self._options, models=self._models, **changes)

    def maps(self, image: RGB, step: Step = quiet_step) -> ScoreMaps:
        """What ``decide`` needs to know of a uint8 (H, W, 3) image."""
        return self._scorer(image, step)

    def steps(self, image: RGB, refine: bool) -> int:
        """How often ``maps``, and then ``decide`` if it is to ``refine``, calls its step."""
        return self._scorer.steps(image) + (self._crf.iterations if refine else 0)

    def decide(
        self,
        image: RGB,
        maps: ScoreMaps,
        refine: bool | None = None,
        sharpen: Sharpen = crf_refine,
    ) -> Segmentation:
        """Labels of an image from its maps; the same maps serve any threshold and any CRF.

        Args:
            image: uint8 (H, W, 3).
            maps: its maps.
            refine: sharpen borders; None for the segmenter's own setting,
            sharpen: by this function of scores (C, H, W), the image at their size and settings.
        """
        refine = self._options.refine if refine is None else refine
        working = decision.working_size(image, self._bank.recipe.most_pixels)
        chosen = self._competitors(maps)
        scores = maps.take(chosen).at(working)
        compared = scores
        if self._medians is not None:
            compared = scores - self._medians.to(chosen.device)[chosen][:, None, None]
        probabilities = self._probabilities(image, compared, sharpen if refine else None)
        size = (image.shape[0], image.shape[1])
        winners, _ = decision.pick_winners(probabilities, size)
        if (sure := self._bank.recipe.confidence_temperature) is not None:
            probabilities = torch.softmax(compared / sure, dim=0)
        if self._options.shortlist is None and len(chosen) < maps.count:
            among = decision.sum_chosen(maps, chosen, sure or self._crf.temperature, working)
            probabilities = probabilities * among
        confidence = decision.probability(probabilities, winners, size)
        labels = best = chosen.cpu().numpy()[winners]
        kept = (scores if len(chosen) == maps.count else maps.at(maps.grid)).cpu()
        if self._options.sure is not None:
            beliefs = torch.softmax(maps.at(maps.grid).cpu() / (sure or self._crf.temperature), 0)
            members = decision.membership(self._bank.concepts)
            labels, confidence = decision.name_surely(labels, beliefs, members, self._options.sure)
            kept = decision.with_groups(kept, members)
        if self._least is not None:
            weak = decision.find_unknown(winners, scores, self._least[chosen.cpu()])
            labels = np.where(weak, len(self._names) - 1, labels)
        unsure = labels == (len(self._names) - 1 if self._options.unknown else -1)
        guesses = decision.count_rejected(best, unsure, self._names)
        kind = np.uint8 if len(self._names) <= 256 else np.uint16
        return Segmentation(labels.astype(kind), self._names, confidence, image, kept, guesses)

    def _competitors(self, maps: ScoreMaps) -> Tensor:
        if self._options.shortlist is None or self._usual is None:
            return decision.pick_contenders(maps, self._bank.recipe.contenders)
        return decision.pick_likely(maps, self._usual, self._options.shortlist)

    def _probabilities(self, image: RGB, scores: Tensor, sharpen: Sharpen | None) -> Tensor:
        if sharpen is not None:
            size = int(scores.shape[-2]), int(scores.shape[-1])
            return sharpen(scores, images.resize(image, size), self._crf)
        return torch.softmax(scores / self._crf.temperature, dim=0)


def _check(bank: ConceptBank, options: Options) -> None:
    if not len(bank):
        raise BankError("the bank holds no concept, or none was chosen; add or name one.")
    if options.unknown and UNKNOWN in bank.names:
        raise BankError(f"a concept is called {UNKNOWN!r} itself; leave it out, or rename it.")
