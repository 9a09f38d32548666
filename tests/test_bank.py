"""Banks as values: equal by what they hold, and as fast as their size allows."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from recoseg.concepts.bank import ConceptBank
from recoseg.concepts.concept import STRICTNESSES, Concept
from recoseg.concepts.evidence import Evidence, Seed
from recoseg.errors import BankError, UnknownConcept
from recoseg.recipe import LITE


def concept(name="sky", **changes):
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    text, reference = torch.nn.functional.normalize(torch.randn(2, 8, generator=generator), dim=1)
    evidence = Evidence(name, (Seed(f"{name}.jpg", 0.3, 0.5, 0.5, 0.9),), 0.9)
    made = Concept(name, (name,), text, reference, 0.5, evidence, tuple(range(len(STRICTNESSES))))
    return dataclasses.replace(made, **changes)


def bank_of(*concepts, **changes):
    made = ConceptBank(concepts, concepts[:1], LITE, {"dense": "0", "encoder": "1"})
    return dataclasses.replace(made, **changes)


BANK = bank_of(concept("sky"), concept("sea"), concept("tree"))


def test_a_reopened_bank_is_equal_to_itself(tmp_path):
    path = BANK.save(tmp_path / "a.bank", dtype="float32")
    first, second = ConceptBank.open(path), ConceptBank.open(path)
    assert first == second == BANK
    assert first["sky"] == BANK["sky"]
    assert first is not second
    rounded = ConceptBank.open(BANK.save(tmp_path / "b.bank"))
    assert rounded == ConceptBank.open(tmp_path / "b.bank")
    assert rounded != BANK


@pytest.mark.parametrize(
    "change",
    [
        {"name": "heaven"},
        {"aliases": ("sky", "heaven")},
        {"text": concept("sea").text},
        {"text": concept().text.double()},
        {"reference": concept("sea").reference},
        {"reference": torch.ones(3)},
        {"threshold": None},
        {"threshold": 0.25},
        {"evidence": None},
        {"evidence": Evidence("sky", (), 0.9)},
        {"thresholds": None},
        {"medians": (0.1, 0.2)},
        {"guide": torch.ones(8)},
        {"group": "weather"},
    ],
    ids=lambda change: " ".join(change),
)
def test_concepts_are_equal_only_if_all_their_values_are(change):
    assert concept() == concept()
    assert hash(concept()) == hash(concept())
    assert dataclasses.replace(concept(), **change) != concept()
    assert concept() != dataclasses.replace(concept(), **change)
    assert len({concept(), concept(), dataclasses.replace(concept(), **change)}) == 2


def test_every_field_of_a_concept_was_changed():
    tried = {"name", "aliases", "text", "reference", "threshold", "evidence", "thresholds"}
    assert {field.name for field in dataclasses.fields(Concept)} == tried | {
        "medians",
        "guide",
        "group",
    }


@pytest.mark.parametrize(
    "other",
    [
        BANK.subset(["sea", "sky", "tree"]),
        BANK.drop("tree"),
        bank_of(*BANK.concepts, contexts=()),
        bank_of(*BANK.concepts, recipe=LITE.replace(k=3)),
        bank_of(*BANK.concepts, fingerprints={"dense": "0", "encoder": "2"}),
        dict(BANK),
        None,
    ],
    ids=["order", "fewer", "contexts", "recipe", "models", "a dictionary", "nothing"],
)
def test_banks_are_equal_only_if_all_their_values_are(other):
    assert other != BANK
    assert other != BANK
    assert bank_of(*BANK.concepts) == BANK


def test_a_name_twice_is_told():
    with pytest.raises(BankError, match="'sea' twice"):
        bank_of(concept("sky"), concept("sea"), concept("sea"))


class Counted(str):
    """A name that counts how often it is compared."""

    __slots__ = ()
    count = 0

    def __eq__(self, other):
        Counted.count += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


MANY = 300
VERBS = {
    "make": lambda bank, rest: dataclasses.replace(bank),
    "look up": lambda bank, rest: [bank[f"{i}"] for i in range(MANY)],
    "look for": lambda bank, rest: [f"no {i}" in bank for i in range(MANY)],
    "subset": lambda bank, rest: bank.subset([f"{i}" for i in range(MANY)]),
    "drop": lambda bank, rest: bank.drop([f"{i}" for i in range(MANY // 2)]),
    "put": lambda bank, rest: bank.put(*bank.concepts),
    "thresholds": lambda bank, rest: bank.with_thresholds({f"{i}": 0.1 for i in range(MANY)}),
    "merge": lambda bank, rest: bank.merge(rest),
    "values": lambda bank, rest: list(bank.items()),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_compares_each_name_a_few_times(verb):
    """Linear, not quadratic: MANY * MANY is sixty times the limit."""
    one = concept("sky")
    bank, rest = (
        bank_of(*(dataclasses.replace(one, name=Counted(f"{s}{i}")) for i in range(MANY)))
        for s in ("", "other ")
    )
    Counted.count = 0
    VERBS[verb](bank, rest)
    assert Counted.count <= 5 * MANY


def test_what_is_absent_is_looked_for_without_a_search_for_near_names(monkeypatch):
    def refuses(*arguments, **options):
        raise AssertionError(arguments)

    monkeypatch.setattr("difflib.get_close_matches", refuses)
    assert "purple" not in BANK
    monkeypatch.undo()
    with pytest.raises(UnknownConcept, match="did you mean sea"):
        BANK["seas"]
