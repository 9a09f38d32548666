"""Order of building concepts, and the contexts eliminated from each."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from recoseg.building import reference
from recoseg.building.retrieve import retrieve
from recoseg.building.sample import PixelSample
from recoseg.building.spec import Request
from recoseg.concepts.bankfile import Contents
from recoseg.concepts.concept import Concept
from recoseg.errors import InputError
from recoseg.index.index import Hit, Index
from recoseg.io.progress import Progress, track
from recoseg.models.prompts import embed_concepts
from recoseg.models.registry import ROLES, Models
from recoseg.recipe import Recipe

_LABEL = "building concepts"


def build(
    wanted: Mapping[str, Request],
    first: Sequence[Request],
    index: Index | None,
    recipe: Recipe,
    models: Models | None,
    progress: Progress,
) -> Contents:
    """A bank's contents from nothing.

    Args:
        wanted: the concepts, by name; one that is a context is in ``first`` too.
        first: the contexts, in the order in which they are built and eliminated.
        index: the archive to search.
        recipe: the method's settings.
        models: the recipe's models, or None to load them.
        progress: as in ``track``.
    """
    if index is None and any(not request.examples for request in first):
        raise InputError(
            "the contexts need an archive; give an index, or use recipe.replace(ce=False)."
        )
    models = models or Models.load(recipe)
    builder = Builder.of(models, recipe, index)
    contexts = [request.name for request in first]
    rest = [request for name, request in wanted.items() if name not in contexts]

    def everything() -> Iterator[Concept]:
        made = []
        for concept in builder.build(first, chain=True):
            made.append(concept)
            yield concept
        yield from builder.build(rest, made)

    total = len(first) + len(rest)
    built = {c.name: c for c in track(everything(), total, _LABEL, progress)}
    return Contents(
        tuple(built[name] for name in wanted),
        tuple(built[name] for name in contexts),
        recipe,
        models.fingerprints,
    )


def extend(
    contents: Contents,
    wanted: Sequence[Request],
    index: Index | None,
    models: Models | None,
    progress: Progress,
    *,
    reuse: bool,
) -> list[Concept]:
    """More concepts for a bank, each with the bank's contexts eliminated.

    One that is itself a context has those before it eliminated, as when it was built; with
    ``reuse``, and if no more is said of it than its words, it is that context.

    Raises:
        BankError: the models are not those of the bank.
    """
    models = models or Models.load(contents.recipe)
    models.check(contents.fingerprints, ROLES if index is not None else ("dense", "encoder"))
    builder = Builder.of(models, contents.recipe, index)
    contexts = {context.name: context for context in contents.contexts}
    names = list(contexts)

    def everything() -> Iterator[Concept]:
        yield from builder.build([r for r in wanted if r.name not in contexts], contents.contexts)
        for request in wanted:
            context = contexts.get(request.name)
            if context is None:
                continue
            if reuse and request == Request(context.name, context.aliases):
                yield context
            else:
                yield from builder.build([request], contents.contexts[: names.index(context.name)])

    made = {c.name: c for c in track(everything(), len(wanted), _LABEL, progress)}
    return [made[request.name] for request in wanted]


@dataclass(frozen=True)
class Builder:
    """Builds concepts with one set of models and one recipe.

    Attributes:
        models: the recipe's three models.
        recipe: the method's settings.
        index: the archive to search; None for examples alone.
        archive: the index's hash.
    """

    models: Models
    recipe: Recipe
    index: Index | None
    archive: str

    @classmethod
    def of(cls, models: Models, recipe: Recipe, index: Index | None) -> Builder:
        """A builder; IndexMismatch if the index was made by another model."""
        if index is None:
            return cls(models, recipe, None, "")
        index.check(models.retrieval)
        return cls(models, recipe, index, index.hash)

    def build(
        self, wanted: Sequence[Request], contexts: Sequence[Concept] = (), chain: bool = False
    ) -> Iterator[Concept]:
        """Build concepts one after the other.

        Args:
            wanted: what to build; all are looked up in the index at once.
            contexts: concepts to eliminate.
            chain: eliminate each concept built here from those after it (the contexts' own rule).

        Raises:
            ArchiveError: no image is left for a concept.
        """
        texts, hits = self._texts(wanted), self._shortlists(wanted)
        eliminated = list(contexts)
        for request in wanted:
            found = hits.get(request.name, [])
            material = reference.gather(request, found, self.index, self.recipe)
            material.archive = self.archive if found else ""
            concept = reference.make_reference(
                request, material, texts[request.name], eliminated, self.models, self.sample
            )
            if chain:
                eliminated.append(concept)
            yield concept

    @functools.cached_property
    def sample(self) -> PixelSample | None:
        """The models' own pixels, or else of the archive; None if the recipe needs none.

        None as well if there is no archive: a concept's own images do then.
        """
        if not self.recipe.centre:
            return None
        own = PixelSample.of_models(self.models)
        if own is not None or self.index is None:
            return own
        return PixelSample.of_archive(self.index, self.models, self.recipe)

    def _texts(self, wanted: Sequence[Request]) -> dict[str, Tensor]:
        if not wanted:
            return {}
        aliases = {request.name: request.aliases for request in wanted}
        rows = embed_concepts(self.models.dense, aliases, self.recipe.templates)
        found = dict(zip(aliases, rows.float().cpu(), strict=True))
        silent = {r.name: found[r.name] * 0 for r in wanted if r.nameless}
        return {**found, **silent}

    def _shortlists(self, wanted: Sequence[Request]) -> dict[str, list[Hit]]:
        searched = {request.name: request for request in wanted if request.search}
        if not searched or self.index is None:
            return {}
        aliases = {name: request.aliases for name, request in searched.items()}
        rows = embed_concepts(self.models.retrieval, aliases, self.recipe.templates)
        exclude = {name: request.exclude for name, request in searched.items()}
        vectors = dict(zip(aliases, rows, strict=True))
        return retrieve(vectors, self.index, self.recipe.k, exclude)
