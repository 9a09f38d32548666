"""Concept banks: concepts by name, with the recipe and the models they were built with."""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recoseg.concepts import bankfile
from recoseg.concepts.bankfile import Contents
from recoseg.concepts.concept import Concept, Examples, Exclude, Words
from recoseg.errors import BankError, UnknownConcept
from recoseg.io.images import ImageLike
from recoseg.io.progress import Progress
from recoseg.models.registry import ROLES, Models
from recoseg.recipe import LITE, Recipe

if TYPE_CHECKING:
    from recoseg.index.index import Index

__all__ = ["Concept", "ConceptBank"]

EVERYDAY = Path(__file__).parents[1] / "data" / "everyday.bank"


@dataclass(frozen=True, repr=False)
class ConceptBank(Contents, Mapping[str, Concept]):
    """Concepts by name, in order. No method changes a bank; each returns a new one.

    Banks are equal if all they hold is, in the same order; pictures of the evidence do not count.
    """

    def __post_init__(self) -> None:
        """Check that names are unique."""
        repeated = [name for name, count in Counter(self.names).items() if count > 1]
        if repeated:
            raise BankError(
                f"the bank would hold {repeated[0]!r} twice; drop or rename one of them."
            )

    @classmethod
    def build(
        cls,
        concepts: Words,
        index: Index | None,
        recipe: Recipe = LITE,
        *,
        examples: Examples | None = None,
        exclude: Exclude | None = None,
        models: Models | None = None,
        progress: Progress = True,
    ) -> ConceptBank:
        """Retrieve, co-segment and average: names in, references out.

        Args:
            concepts: names, or names with the words that describe each.
            index: the archive to search; None if every concept has examples and the recipe
                eliminates no context.
            recipe: the method's settings.
            examples: name to images handed over. A name that is in ``concepts`` too is built from
                both kinds of images, another one from its examples alone.
            exclude: name to ids of archive images that must not be used for it.
            models: the recipe's models, if at hand; by default they are loaded.
            progress: False, True (stderr) or a function of (done, total).

        Raises:
            InputError: nothing to build, or a name without images.
            IndexMismatch: the index was built by another model than the recipe's.
            ArchiveError: no image is left for a concept.
        """
        from recoseg.building import banks

        return cls._of(banks.build(concepts, index, recipe, examples, exclude, models, progress))

    def add(
        self,
        concepts: Words,
        index: Index | None,
        *,
        examples: Examples | None = None,
        exclude: Exclude | None = None,
        models: Models | None = None,
        progress: Progress = True,
    ) -> ConceptBank:
        """A bank with more concepts; nothing that is already there is built again.

        Arguments and errors are those of ``build``; contexts stay as they are in this bank.

        Raises:
            BankError: a name is in the bank already, or the models are others.
        """
        from recoseg.building import banks

        made = banks.add(self, concepts, index, examples, exclude, models, progress)
        return dataclasses.replace(self, concepts=(*self.concepts, *made))

    def rebuild(
        self,
        name: str,
        index: Index | None,
        *,
        exclude: str | Collection[str] = (),
        examples: Sequence[ImageLike] = (),
        models: Models | None = None,
        progress: Progress = True,
    ) -> ConceptBank:
        """A bank in which one concept is built anew by its words, without some images.

        Args:
            name: the concept.
            index: the archive; None for examples alone.
            exclude: ids to leave out, besides those left out before.
            examples: its example images; they are not kept in a bank, so give them again.
            models: as in ``build``.
            progress: as in ``build``.

        Raises:
            BankError: it was built with examples and none are given, or the models are others.
        """
        from recoseg.building import banks

        return self.put(banks.rebuild(self, name, index, exclude, examples, models, progress))

    def drop(self, names: str | Collection[str]) -> ConceptBank:
        """A bank without some concepts; its contexts stay."""
        gone = {self[name].name for name in ([names] if isinstance(names, str) else names)}
        kept = tuple(concept for concept in self.concepts if concept.name not in gone)
        return dataclasses.replace(self, concepts=kept)

    def subset(self, names: Sequence[str]) -> ConceptBank:
        """A bank of some concepts, in the order given."""
        return dataclasses.replace(self, concepts=tuple(self[name] for name in names))

    def merge(self, other: ConceptBank) -> ConceptBank:
        """A bank with another's concepts after its own; its own contexts serve later additions.

        Raises:
            BankError: other models, another recipe, or a name in both.
        """
        if dict(self.fingerprints) != dict(other.fingerprints):
            raise BankError("the banks were built with different models; build one of them again.")
        if self.recipe.hash != other.recipe.hash:
            mine, theirs = self.recipe.to_dict(), other.recipe.to_dict()
            differ = [key for key in mine if key != "name" and mine[key] != theirs[key]]
            raise BankError(
                f"the banks' recipes differ in {', '.join(differ)}; build one of them again."
            )
        return dataclasses.replace(self, concepts=(*self.concepts, *other.concepts))

    def with_thresholds(self, thresholds: Mapping[str, float | None]) -> ConceptBank:
        """A bank with some concepts' thresholds set."""
        return self.put(*(self[name].with_threshold(t) for name, t in thresholds.items()))

    def put(self, *changed: Concept) -> ConceptBank:
        """A bank in which these concepts replace those of the same names."""
        new = {self[concept.name].name: concept for concept in changed}
        return dataclasses.replace(self, concepts=tuple(new.get(c.name, c) for c in self.concepts))

    def save(self, path: str | Path, *, dtype: str = "float16", evidence: str = "compact") -> Path:
        """Write one portable file, usable without the archive.

        Args:
            path: where to.
            dtype: "float16" halves the file and moves a cosine by less than 1e-3; "float32" is
                exact.
            evidence: "compact" drops the pictures, "full" keeps them (about 5 kB per image),
                "none" keeps vectors alone.
        """
        bankfile.write(Path(path), self, dtype, evidence)
        return Path(path)

    @classmethod
    def open(cls, path: str | Path) -> ConceptBank:
        """A bank that was saved; BankError if the file is damaged, foreign or too new."""
        return cls._of(bankfile.read(Path(path)))

    @classmethod
    def everyday(cls) -> ConceptBank:
        """The bank of common things and stuff that comes with recoseg."""
        return cls.open(EVERYDAY)

    @classmethod
    def _of(cls, contents: Contents) -> ConceptBank:
        return cls(contents.concepts, contents.contexts, contents.recipe, contents.fingerprints)

    def check(self, models: Models, roles: Sequence[str] = ROLES) -> None:
        """BankError unless the bank was built with these models; other roles are not loaded."""
        models.check(self.fingerprints, roles)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(concept.name for concept in self.concepts)

    @property
    def texts(self) -> Tensor:
        """(C, d1) unit text vectors."""
        return torch.stack([concept.text for concept in self.concepts])

    @property
    def references(self) -> Tensor:
        """(C, d2) unit reference embeddings."""
        return torch.stack([concept.reference for concept in self.concepts])

    @property
    def medians(self) -> Tensor:
        """(2, C) medians over the archive of text and reference cosines; 0 without centring."""
        known = [(c.medians if self.recipe.centre else None) or (0.0, 0.0) for c in self.concepts]
        return torch.tensor(known).T

    def __getitem__(self, name: str) -> Concept:
        if name not in self:
            raise UnknownConcept(_suggest(name, self.names))
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @cached_property
    def _by_name(self) -> dict[str, Concept]:
        return {concept.name: concept for concept in self.concepts}

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.concepts)

    def __repr__(self) -> str:
        return f"ConceptBank({len(self)} concepts: {_list(self.names)}; recipe {self.recipe.name})"


def _suggest(name: object, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"it holds {_list(names)}."
    return f"no concept {name!r} in the bank; {hint}"


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more if names else "nothing"
