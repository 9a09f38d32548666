"""One concept: a name, two vectors, a threshold, and where they came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recoseg.concepts.evidence import Evidence
from recoseg.errors import InputError
from recoseg.io.images import ImageLike
from recoseg.typecheck import check_fields

# How strict a threshold may be: the share of an archive's pixels that must score lower.
STRICTNESSES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
Words = Sequence[str] | Mapping[str, Sequence[str]]
Examples = Mapping[str, Sequence[ImageLike]]
Exclude = Mapping[str, Collection[str]]


class Unnamed(tuple[ImageLike, ...]):
    """Example images of a concept whose name is not to be used as text.

    Neither does its text guide the co-segmentation of the images, nor does it speak at inference,
    where the concept is as likely by language as the others are on average: what is shown counts,
    whatever it is called.
    """


@dataclass(frozen=True, eq=False)
class Concept:
    """A concept as a segmenter needs it.

    Attributes:
        name: what it is called.
        aliases: the words that describe it, averaged into ``text``.
        text: (d1,) float32 unit vector in the space of the dense language-image model; zero if the
            name shall say nothing (``Unnamed``).
        reference: (d2,) float32 unit vector in the space of the visual encoder.
        threshold: score below which a pixel is not this concept; None if never calibrated.
        evidence: what the reference was made from; None if it was not kept.
        thresholds: the same at each of ``STRICTNESSES``, whatever ``threshold`` is; None if
            never calibrated.
        medians: of the cosines of pixels of photos of everything with ``text`` and with
            ``reference``; None if the recipe does not centre.
        guide: (d1,) unit mean of the seeds in the dense language-image model's map, in the space of
            ``text``; None if the recipe co-segments the encoder's pixels.
        group: the name of what it is a kind of; None if of nothing.
    """

    name: str
    aliases: tuple[str, ...]
    text: Tensor
    reference: Tensor
    threshold: float | None = None
    evidence: Evidence | None = None
    thresholds: tuple[float, ...] | None = None
    medians: tuple[float, float] | None = None
    guide: Tensor | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        """Check every type, names and vectors."""
        check_fields(self, lambda sentence: InputError(f"concept {self.name!r}: {sentence}"))
        object.__setattr__(self, "aliases", tuple(self.aliases))
        for word in (self.name, *self.aliases, *([self.group] if self.group else [])):
            _check_word(word)
        for role in ("text", "reference", "guide"):
            vector: Tensor | None = getattr(self, role)
            if vector is None:
                continue
            if vector.ndim != 1 or not len(vector) or not bool(vector.isfinite().all()):
                raise InputError(
                    f"the {role} vector of {self.name!r} must be finite and of shape (d,), not "
                    f"{tuple(vector.shape)}."
                )
        if self.medians is not None:
            object.__setattr__(self, "medians", tuple(self.medians))
            if len(self.medians) != 2 or not all(-1 <= median <= 1 for median in self.medians):
                raise InputError(f"the medians of {self.name!r} must be two cosines.")
        if self.thresholds is not None:
            object.__setattr__(self, "thresholds", tuple(self.thresholds))
            if len(self.thresholds) != len(STRICTNESSES) or not all(np.diff(self.thresholds) >= 0):
                raise InputError(
                    f"the thresholds of {self.name!r} must be {len(STRICTNESSES)} numbers that do "
                    "not fall."
                )

    @property
    def nameless(self) -> bool:
        """Whether its name is not used as text at inference."""
        return not bool(self.text.any())

    def with_threshold(self, threshold: float | None) -> Concept:
        """A copy with another threshold."""
        return dataclasses.replace(self, threshold=threshold)

    def threshold_at(self, strictness: float) -> float | None:
        """The score that this share of the archive's pixels does not reach; None if not calibrated.

        Between two of ``STRICTNESSES`` it is interpolated, beyond them it is the first or the last.
        """
        return (
            None
            if self.thresholds is None
            else float(np.interp(strictness, STRICTNESSES, self.thresholds))
        )

    def __eq__(self, other: object) -> bool:
        """Whether all values are equal, vectors to the bit; evidence without its pictures."""
        if not isinstance(other, Concept):
            return NotImplemented
        names = (field.name for field in dataclasses.fields(self))
        return all(_equal(getattr(self, name), getattr(other, name)) for name in names)

    def __getstate__(self) -> dict[str, object]:
        """Sent to another process, a vector is sent without the matrix that it may be a row of."""
        held = vars(self).items()
        return {name: v.clone() if isinstance(v, Tensor) else v for name, v in held}

    def __hash__(self) -> int:
        return hash((self.name, self.aliases))

    def __repr__(self) -> str:
        also = "" if self.aliases == (self.name,) else f", aliases={list(self.aliases)}"
        images = f", {len(self.evidence.seeds)} images" if self.evidence else ""
        return f"Concept({self.name!r}{also}{images})"


def _equal(first: object, second: object) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    return first == second


def words(concepts: Words) -> dict[str, tuple[str, ...]]:
    """Names, or names with the words that describe them, to name -> aliases.

    Raises:
        InputError: no list, an empty or repeated name, or a name without words.
    """
    if isinstance(concepts, str):
        raise InputError(f"concepts must be a list of names; write [{concepts!r}].")
    if not isinstance(concepts, Mapping):
        named = [_check_word(name) for name in concepts]
        if len(set(named)) != len(named):
            twice = next(name for name in named if named.count(name) > 1)
            raise InputError(f"concept {twice!r} is named twice; name each once.")
        return {name: (name,) for name in named}
    for name, aliases in concepts.items():
        if isinstance(aliases, str) or not aliases:
            raise InputError(f"concept {name!r} needs a list of words that describe it.")
    return {
        _check_word(name): tuple(_check_word(alias) for alias in aliases)
        for name, aliases in concepts.items()
    }


def _check_word(word: object) -> str:
    if not isinstance(word, str) or not word.strip() or not word.isprintable():
        raise InputError(f"a concept's name must be printable words, not {word!r}.")
    if word != word.strip():
        raise InputError(f"a concept's name must not begin or end with a space: {word!r}.")
    return word
