"""Drafts: concepts built but not saved to a bank, with their photos."""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from recoseg.concepts.bank import ConceptBank
from recoseg.concepts.concept import Concept
from recoseg.concepts.evidence import Evidence, Seed
from recoseg.index.index import Index
from recoseg.io import images
from recoseg.io.images import RGB
from recoseg.io.squares import SMOOTH, cut_square, least_side
from recoseg.models.registry import Models
from recoseg.recipe import preset
from recoseg.reporting import checkup
from recoseg.reporting.advice import Files, advise
from recoseg.reporting.quality import Quality
from recoseg.web.banks import BankLibrary
from recoseg.web.failures import Conflict, Missing, Refused
from recoseg.web.indexes import IndexLibrary
from recoseg.web.worker import OnStep

KEPT = 30
MOST_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Example:
    """Uploaded example image: file name and bytes."""

    name: str
    data: bytes

    @property
    def id(self) -> str:
        """The same for the same bytes, so that it can be left out by it in the next draft."""
        return f"example-{hashlib.sha256(self.data).hexdigest()[:12]}"


@dataclass(frozen=True)
class DraftRequest:
    """Validated request to build a concept.

    Attributes:
        words: what describes the concept; the first is its name.
        index: id of the index to learn from; empty for examples alone.
        examples: images that show it.
        exclude: ids of photos, of the index or of examples, that must not be used.
        k: how many photos to learn from; None for the recipe's number.
    """

    words: tuple[str, ...]
    index: str = ""
    examples: tuple[Example, ...] = ()
    exclude: frozenset[str] = frozenset()
    k: int | None = None


@dataclass(frozen=True, eq=False)
class Draft:
    """A concept in a bank of its own.

    Attributes:
        id: how requests name it.
        order: how it was asked for.
        bank: holds the concept, and the contexts eliminated from it.
        seeds: photo id to its place in the evidence.
        quality: how it was judged.
    """

    id: str
    order: DraftRequest
    bank: ConceptBank
    seeds: Mapping[str, int]
    quality: Quality

    @property
    def concept(self) -> Concept:
        """The concept."""
        return self.bank.concepts[0]

    @property
    def evidence(self) -> Evidence:
        """What it was made from."""
        if self.concept.evidence is None:
            raise Missing("this draft keeps no photos; build it again.")
        return self.concept.evidence

    def place(self, photo: str) -> int:
        """A photo's place in the evidence; Missing if it is not of this draft."""
        if photo not in self.seeds:
            raise Missing("there is no such photo in this draft; build it again.")
        return self.seeds[photo]


@dataclass
class Drafts:
    """Drafts by id; the oldest make room for new ones."""

    shelf: BankLibrary
    catalogue: IndexLibrary
    device: str | None
    max_pixels: int
    _kept: OrderedDict[str, Draft] = field(default_factory=OrderedDict)
    _bases: dict[str, ConceptBank] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, id: str) -> Draft:
        """The draft of an id; Missing if it is gone."""
        with self._lock:
            if id not in self._kept:
                raise Missing("this draft is not kept any more; build it again.")
            return self._kept[id]

    def make(self, order: DraftRequest, step: OnStep) -> Draft:
        """Build a concept by words, examples or both, as ``recoseg concept add`` does."""
        name = order.words[0]
        index = self.catalogue.open(order.index) if order.index else None
        given = [e for e in order.examples if e.id not in order.exclude]
        base = self._base(name, index, step)
        if order.k is not None:
            base = dataclasses.replace(base, recipe=base.recipe.replace(k=order.k))
        pixels = [
            self._square(e, base.recipe.archive_size, base.recipe.archive_resize) for e in given
        ]
        exclude = {id for id in order.exclude if not id.startswith("example-")}
        bank = base.add(
            {name: order.words},
            index,
            examples={name: pixels} if pixels else None,
            exclude={name: exclude} if index is not None and exclude else None,
            models=Models.load(base.recipe, self.device),
            progress=step,
        )
        return self._keep(order, bank, index, [e.id for e in given])

    def save(self, id: str, named: str, name: str, replace: bool) -> str:
        """Put a draft's concept into a bank, new or not, under a name; the bank's id."""
        draft = self.find(id)
        evidence = dataclasses.replace(draft.evidence, concept=name)
        concept = dataclasses.replace(draft.concept, name=name, evidence=evidence)
        single = dataclasses.replace(draft.bank, concepts=(concept,))

        def edit(bank: ConceptBank | None) -> ConceptBank:
            if bank is None:
                return single
            if name in bank and not replace:
                raise Conflict(f"{name!r} is in this bank already; choose another name.")
            # How many photos were looked for does not matter to those that use the bank.
            same = single.recipe.replace(k=bank.recipe.k)
            kept = bank.drop([name]) if name in bank else bank
            return kept.merge(dataclasses.replace(single, recipe=same))

        return self.shelf.change(named, edit)

    def square(self, draft: Draft, photo: str, size: int) -> RGB:
        """A photo as the model saw it: its central square, ``size`` pixels wide."""
        seed = draft.evidence.seeds[draft.place(photo)]
        if seed.score is None:
            return self._square(next(e for e in draft.order.examples if e.id == photo), size)
        index = self.catalogue.open(draft.order.index)
        return cut_square(index.image(seed.image, at_least=size), size)

    def _square(self, example: Example, size: int, rule: str = SMOOTH) -> RGB:
        at_least, most = least_side(size, rule), self.max_pixels
        pixels = images.read(example.data, at_least=at_least, max_pixels=most, name=example.name)
        return cut_square(pixels, size, rule)

    def _base(self, name: str, index: Index | None, step: OnStep) -> ConceptBank:
        """A bank without concepts, whose contexts are those that are to be eliminated."""
        for entry in self.shelf.entries():
            bank = entry.bank
            if index is None or bank.fingerprints.get("retrieval") == index.fingerprint:
                return _without_concepts(bank, name)
        if index is None:
            raise Refused("there is no bank to learn examples alone for; choose an index.")
        if index.hash not in self._bases:
            recipe = preset("lite")
            contexts = ConceptBank.build(
                list(recipe.contexts),
                index,
                recipe,
                models=Models.load(recipe, self.device),
                progress=step,
            )
            self._bases[index.hash] = contexts
        return _without_concepts(self._bases[index.hash], name)

    def _keep(
        self, order: DraftRequest, bank: ConceptBank, index: Index | None, examples: list[str]
    ) -> Draft:
        (quality,) = checkup.judge_bank(bank, index, self.device)
        evidence = bank.concepts[0].evidence
        places = enumerate(evidence.seeds if evidence is not None else ())
        seeds = {examples[i] if s.score is None else s.image: i for i, s in places}
        draft = Draft(secrets.token_hex(8), order, bank, seeds, quality)
        with self._lock:
            self._kept[draft.id] = draft
            while len(self._kept) > KEPT or (len(self._kept) > 1 and self._bytes() > MOST_BYTES):
                self._kept.popitem(last=False)
        return draft

    def _bytes(self) -> int:
        """Of all examples that are kept; drafts made from each other share theirs."""
        kept = {e.id: len(e.data) for draft in self._kept.values() for e in draft.order.examples}
        return sum(kept.values())


def to_json(draft: Draft) -> dict[str, object]:
    """A draft in plain JSON types."""
    retrieval, names = draft.quality.retrieval, {e.id: e.name for e in draft.order.examples}
    advice = advise(draft.quality, Files("BANK"))
    return {
        "draft": draft.id,
        "name": draft.concept.name,
        "margin": None if retrieval is None else round(retrieval.standout, 3),
        "agreement": draft.evidence.agreement,
        "warnings": [f"{one.finding} {one.remedy}" for one in advice],
        "photos": [
            _photo(photo, draft.evidence.seeds[place], names)
            for photo, place in draft.seeds.items()
        ],
    }


def _photo(photo: str, seed: Seed, names: Mapping[str, str]) -> dict[str, object]:
    return {
        "photo": photo,
        "name": names.get(photo) or PurePosixPath(photo).name,
        "score": seed.score,
        "seed": (seed.x, seed.y),
        "similarity": seed.support,
        "example": seed.score is None,
    }


def _without_concepts(bank: ConceptBank, name: str) -> ConceptBank:
    """The bank without concepts; of its contexts, those that are eliminated from ``name``."""
    names = [context.name for context in bank.contexts]
    before = bank.contexts[: names.index(name)] if name in names else bank.contexts
    return dataclasses.replace(bank, concepts=(), contexts=before)
