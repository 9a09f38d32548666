"""Segmenters side by side: an image is encoded once for all rows of the same encoders.

They share everything up to their cosines, and the CRF's part that depends on the image alone,
however many banks, baselines and refinements are compared on it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from recoseg.crf.refine import Field
from recoseg.datasets import Sample
from recoseg.evaluation.clock import Clock
from recoseg.evaluation.systems import Labels, Panel, Several, Single, System
from recoseg.io.images import RGB
from recoseg.recipe import CRF
from recoseg.segmenting.interface import Labeller
from recoseg.segmenting.scoremaps import ScoreMaps, Scorer
from recoseg.segmenting.segmenter import Segmenter

LABELS = {"denseclip": "DenseCLIP", "reco": "ReCo"}


@dataclass(frozen=True)
class Row:
    """A segmenter as a system.

    Attributes:
        system: what it is called.
        segmenter: does the work.
    """

    system: System
    segmenter: Segmenter

    @classmethod
    def of(
        cls, segmenter: Segmenter, refine: bool, name: str | None = None, label: str | None = None
    ) -> Row:
        """A row with or without the CRF, named by its system and that, unless a name is given."""
        segmenter = segmenter.replace(refine=refine)
        system = segmenter.options.system
        usual = system + ("+crf" if refine else "")
        words = LABELS[system] + (" + CRF" if refine else "")
        recipe = {**segmenter.bank.recipe.to_dict(), "refine": refine}
        shown = label or name or words
        return cls(
            System(name or usual, shown, segmenter.names, segmenter.digest, recipe), segmenter
        )


class Rows:
    """A panel of segmenters."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)
        self.systems = tuple(row.system for row in self.rows)

    def run(
        self, image: RGB, sample: Sample, wanted: Collection[str], clock: Clock
    ) -> Iterator[tuple[str, Labels]]:
        """Labels of each wanted row; rows of the same encoders are encoded together."""
        groups: dict[object, list[Row]] = {}
        for row in self.rows:
            if row.system.name in wanted:
                groups.setdefault(_encoding(row.segmenter), []).append(row)
        sharpen = _SharedFields(clock)
        for rows in groups.values():
            with clock("models"):
                shared = _maps([row.segmenter for row in rows], image)
            for row, maps in zip(rows, shared, strict=True):
                with clock("labels"):
                    found = row.segmenter.decide(image, maps, sharpen=sharpen)
                yield row.system.name, found.labels


def panel(given: Labeller | Panel | Mapping[str, Labeller]) -> Panel:
    """One panel of whatever ``evaluate`` takes."""
    if isinstance(given, Mapping):
        rows = [
            Row.of(s, s.options.refine, name)
            for name, s in given.items()
            if isinstance(s, Segmenter)
        ]
        others: list[Panel] = [
            Single(s, name) for name, s in given.items() if not isinstance(s, Segmenter)
        ]
        return Several([*([Rows(rows)] if rows else []), *others])
    if isinstance(given, Segmenter):
        return Rows([Row.of(given, given.options.refine)])
    if hasattr(given, "systems"):
        return cast(Panel, given)
    return Single(given, getattr(given, "name", type(given).__name__.lower()))


class _SharedFields:
    """The CRF with its part that depends on the image alone built once per image."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fields: dict[CRF, Field] = {}

    def __call__(self, scores: Tensor, image: RGB, crf: CRF) -> Tensor:
        with self._clock("crf"):
            same = dataclasses.replace(crf, temperature=1.0)
            if same not in self._fields:
                self._fields[same] = Field.of(image, same)
            return dataclasses.replace(self._fields[same], crf=crf).refine(scores)


def _encoding(segmenter: Segmenter) -> object:
    recipe = segmenter.bank.recipe
    settings = (
        (recipe.image_size, recipe.scales, recipe.tiles),
        (recipe.gain, recipe.visual_gain, recipe.debias),
        # Only ReCo's maps are smoothed, both together.
        (recipe.smooth, segmenter.scorer.roles) if recipe.smooth else (),
    )
    # Maps of concepts without names depend on the bank's others, so that they are not shared.
    nameless = any(concept.nameless for concept in segmenter.bank.concepts)
    alone = segmenter.bank.digest if nameless else ""
    return (*settings, alone, *sorted(segmenter.bank.fingerprints.items()))


def _maps(segmenters: Sequence[Segmenter], image: RGB) -> list[ScoreMaps]:
    """Each segmenter's maps of one image, encoded once for all."""
    scorers = [segmenter.scorer for segmenter in segmenters]
    texts, text_rows = _stack([_with_levels(s.texts, s.text_levels) for s in scorers])
    references, reference_rows = _stack(
        [_with_levels(s.references, s.reference_levels) for s in scorers]
    )
    vectors = [None if part is None else part[:, :-1] for part in (texts, references)]
    levels = [None if part is None else part[:, -1] for part in (texts, references)]
    maps = Scorer(scorers[0].models, scorers[0].recipe, *vectors, *levels)(image)
    return [
        ScoreMaps(_rows(maps.language, text), _rows(maps.visual, reference))
        for text, reference in zip(text_rows, reference_rows, strict=True)
    ]


def _with_levels(vectors: Tensor | None, levels: Tensor | None) -> Tensor | None:
    """(C, d + 1), each vector with its level behind it, so that equal rows have equal maps."""
    if vectors is None or levels is None:
        return vectors if vectors is None else torch.cat([vectors, vectors[:, :1] * 0], dim=1)
    return torch.cat([vectors, levels.to(vectors)[:, None]], dim=1)


def _stack(parts: Sequence[Tensor | None]) -> tuple[Tensor | None, list[slice | None]]:
    """All different parts in one (N, d), and where each part's rows are."""
    places: dict[bytes, slice] = {}
    different: list[Tensor] = []
    rows: list[slice | None] = []
    for part in parts:
        if part is None:
            rows.append(None)
            continue
        identity = part.numpy(force=True).tobytes()
        if identity not in places:
            start = sum(len(other) for other in different)
            places[identity] = slice(start, start + len(part))
            different.append(part)
        rows.append(places[identity])
    return (torch.cat(different) if different else None), rows


def _rows(maps: Tensor | None, rows: slice | None) -> Tensor | None:
    return None if maps is None or rows is None else maps[rows]
