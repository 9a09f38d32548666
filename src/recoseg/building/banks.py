"""Concept banks built, extended and rebuilt: requests are checked, then concepts are made."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from recoseg.building import build as order
from recoseg.building.spec import check_known, context_requests, requests
from recoseg.concepts.bank import ConceptBank
from recoseg.concepts.bankfile import Contents
from recoseg.concepts.concept import Concept, Examples, Exclude, Unnamed, Words
from recoseg.errors import BankError
from recoseg.index.index import Index
from recoseg.io.images import ImageLike
from recoseg.io.progress import Progress
from recoseg.models.registry import Models
from recoseg.recipe import Recipe


def build(
    concepts: Words,
    index: Index | None,
    recipe: Recipe,
    examples: Examples | None,
    exclude: Exclude | None,
    models: Models | None,
    progress: Progress,
) -> Contents:
    """The contents of a new bank; arguments and errors are those of ``ConceptBank.build``."""
    wanted = requests(concepts, examples, exclude, searchable=index is not None)
    names = recipe.contexts if recipe.ce else ()
    check_known(exclude, {*wanted, *names})
    first = context_requests(names, wanted, exclude)
    return order.build(wanted, first, index, recipe, models, progress)


def add(
    bank: ConceptBank,
    concepts: Words,
    index: Index | None,
    examples: Examples | None,
    exclude: Exclude | None,
    models: Models | None,
    progress: Progress,
) -> list[Concept]:
    """New concepts for a bank; arguments and errors are those of ``ConceptBank.add``."""
    wanted = requests(concepts, examples, exclude, searchable=index is not None)
    check_known(exclude, wanted)
    for name in wanted:
        if name in bank:
            raise BankError(f"{name!r} is in the bank already; drop it first, or rebuild it.")
    return order.extend(bank, list(wanted.values()), index, models, progress, reuse=True)


def rebuild(
    bank: ConceptBank,
    name: str,
    index: Index | None,
    exclude: str | Collection[str],
    examples: Sequence[ImageLike],
    models: Models | None,
    progress: Progress,
) -> Concept:
    """One concept built anew; arguments and errors are those of ``ConceptBank.rebuild``."""
    old = bank[name]
    if old.evidence is not None and old.evidence.examples and not examples:
        raise BankError(
            f"{name!r} was built with {old.evidence.examples} example images, which a bank "
            "does not keep; give them again (--examples, or examples=[...])."
        )
    before = old.evidence.excluded if old.evidence is not None else ()
    wanted = requests(
        {name: old.aliases},
        {name: Unnamed(examples) if old.nameless else list(examples)} if examples else None,
        {name: {*before, *([exclude] if isinstance(exclude, str) else exclude)}},
        searchable=index is not None,
    )
    (made,) = order.extend(bank, list(wanted.values()), index, models, progress, reuse=False)
    return made
