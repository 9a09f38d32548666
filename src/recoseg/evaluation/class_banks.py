"""Banks of a dataset's classes, by the words of a list."""

from __future__ import annotations

import dataclasses

from recoseg.concepts.bank import ConceptBank
from recoseg.datasets import ClassTable
from recoseg.evaluation.wordlists import WordList
from recoseg.index.index import Index
from recoseg.io.progress import Progress
from recoseg.models.registry import Models
from recoseg.recipe import Recipe


def build_bank(
    table: ClassTable,
    words: WordList,
    index: Index,
    recipe: Recipe,
    *,
    models: Models | None = None,
    progress: Progress = True,
) -> ConceptBank:
    """A bank of a dataset's classes, each asked for by the words of a list.

    A context that answers for a class and that the recipe does not eliminate is built for it, with
    nothing eliminated from it.

    Raises:
        InputError, IndexMismatch, ArchiveError: as ``ConceptBank.build``.
    """
    asked = words.words(table)
    answered = {name: by for name, by in words.answered.items() if name in asked}
    models = models or Models.load(recipe)
    bank = ConceptBank.build(asked, index, recipe, models=models, progress=progress)
    known = {concept.name: concept for concept in (*bank.concepts, *bank.contexts)}
    for name, by in answered.items():
        if by not in known:
            alone = recipe.replace(ce=False)
            made = ConceptBank.build([by], index, alone, models=models, progress=progress)
            known[by] = made[by]
        bank = bank.put(dataclasses.replace(bank[name], reference=known[by].reference))
    return bank
