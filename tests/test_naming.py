"""Names no narrower than what is known: the concept's, its group's, or unknown."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recoseg.concepts.bank import ConceptBank
from recoseg.errors import BankError, InputError
from recoseg.segmenting.decision import count_rejected, group_names, membership, name_surely
from recoseg.segmenting.options import Options
from recoseg.segmenting.segmenter import Segmenter
from tests.test_concepts import Memory, archive, build, models, picture

__all__ = ["models"]
GROUPS = {"red": "warm", "yellow": "warm", "blue": "cold", "white": None}


@pytest.fixture(scope="module")
def bank(models):
    made = build(list(GROUPS), Memory(archive(), models.retrieval), models)
    return made.put(*(dataclasses.replace(made[name], group=g) for name, g in GROUPS.items()))


def test_the_narrowest_name_that_is_probable_enough_is_given(bank):
    members = membership(bank.concepts)
    assert group_names(bank.concepts) == ("warm", "cold")
    assert members.tolist() == [[1, 1, 0, 0], [0, 0, 1, 0]]
    beliefs = torch.tensor(
        [[0.6, 0.4, 0.3, 0.1], [0.2, 0.3, 0.1, 0.3], [0.1, 0.2, 0.4, 0.2], [0.1, 0.1, 0.2, 0.4]]
    ).T[:, None]
    beliefs = beliefs.transpose(0, 2).reshape(4, 1, 4)
    labels = np.array([[0, 0, 2, 3]])
    found = [[float(v) for v in beliefs[:, 0, i]] for i in range(4)]
    named, sure = name_surely(labels, beliefs, members, 0.5)
    for i, (label, belief) in enumerate(zip(labels[0], found, strict=True)):
        home = {0: (0, (0, 1)), 1: (0, (0, 1)), 2: (1, (2,))}.get(int(label))
        together = 0.0 if home is None else sum(belief[m] for m in home[1])
        expected = label if belief[label] >= 0.5 else 4 + home[0] if together >= 0.5 else 6
        assert named[0, i] == expected
        certainty = together if expected in (4, 5) else belief[label]
        assert sure[0, i] == pytest.approx(certainty, abs=1e-6)


@given(st.integers(0, 2**31), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_more_is_unknown_the_surer_a_name_must_be(seed, one, other):
    generator = torch.Generator().manual_seed(seed)
    beliefs = torch.randn(4, 3, 5, generator=generator).mul(3).softmax(dim=0)
    labels = beliefs.argmax(0).numpy()
    members = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 0]])
    low, high = sorted((one, other))
    loose, strict = (name_surely(labels, beliefs, members, t)[0] for t in (low, high))
    assert ((strict < 4) <= (loose < 4)).all()
    assert ((loose == 6) <= (strict == 6)).all()
    assert (loose[loose < 4] == labels[loose < 4]).all()


def test_without_groups_what_is_not_sure_is_unknown():
    beliefs = torch.tensor([[[0.7, 0.5]], [[0.3, 0.5]]])
    named, _ = name_surely(np.array([[0, 1]]), beliefs, torch.zeros(0, 2), 0.6)
    assert named.tolist() == [[0, 2]]


def test_what_has_no_name_is_nearest_to_the_concepts_it_was_taken_from():
    best = np.array([[0, 0, 2], [2, 2, 1]])
    unsure = np.array([[True, False, True], [True, True, False]])
    found = count_rejected(best, unsure, ("red", "yellow", "blue"))
    assert list(found.items()) == [("blue", 3 / 6), ("red", 1 / 6)]
    assert count_rejected(best, unsure & False, ("red", "yellow", "blue")) == {}


@pytest.mark.parametrize("sure", [0.26, 0.3, 0.5, 0.999])
def test_the_guesses_of_a_photo_add_up_to_what_is_unknown(bank, models, sure):
    image = picture("red", "blue")
    seen = Segmenter(bank, models=models, refine=False, sure=sure)(image)
    plain = Segmenter(bank, models=models, refine=False)(image)
    assert sum(seen.guesses.values()) == pytest.approx(seen.area["unknown"])
    unknown = seen.mask("unknown")
    for name in bank.names:
        assert seen.guesses.get(name, 0.0) == pytest.approx(
            float((plain.mask(name) & unknown).mean())
        )
    assert plain.guesses == {}


def test_a_segmenter_names_groups_after_its_concepts_and_needs_no_thresholds(bank, models):
    segment = Segmenter(bank, models=models, refine=False, sure=0.5)
    assert segment.names == ("red", "yellow", "blue", "white", "warm", "cold", "unknown")
    seen = segment(picture("red"))
    assert set(np.unique(seen.labels)) <= set(range(7))
    none = Segmenter(bank, models=models, refine=False, sure=0.999)(picture("red"))
    assert none.area["unknown"] == pytest.approx(1.0)
    every = Segmenter(bank, models=models, refine=False, sure=1e-6)(picture("red"))
    plain = Segmenter(bank, models=models, refine=False)(picture("red"))
    assert (every.labels == plain.labels).all()
    assert plain.names == bank.names
    assert Segmenter(bank, ["white"], models=models, sure=0.5).names == ("white", "unknown")


def test_the_digest_follows_the_groups_and_the_file_keeps_them(bank, models, tmp_path):
    again = ConceptBank.open(bank.save(tmp_path / "a.bank", dtype="float32"))
    assert {c.name: c.group for c in again.concepts} == GROUPS
    assert again.digest == bank.digest
    other = bank.put(dataclasses.replace(bank["white"], group="cold"))
    assert other.digest != bank.digest


@pytest.mark.parametrize("sure", [0.0, 1.0, -1, "much", True])
def test_sure_is_a_probability(sure):
    with pytest.raises(InputError, match="sure"):
        Options(sure=sure)


def test_a_concept_called_unknown_is_refused(bank, models):
    odd = bank.put()
    odd = dataclasses.replace(
        odd, concepts=(*odd.concepts, dataclasses.replace(bank["red"], name="unknown"))
    )
    with pytest.raises(BankError, match="unknown"):
        Segmenter(odd, models=models, sure=0.5)
