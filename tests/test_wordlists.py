"""The paper's words beside those for users, and a context's reference that answers for a class."""

from __future__ import annotations

import pytest
import torch

import recoseg
from recoseg.datasets import tables
from recoseg.errors import InputError
from recoseg.evaluation.class_banks import build_bank
from recoseg.evaluation.protocols import available
from recoseg.evaluation.wordlists import LISTS, WordList, word_list
from recoseg.models.registry import Models
from recoseg.recipe import LITE
from tests.toys import Toy, paint


@pytest.mark.parametrize(
    ("dataset", "variant", "differing"),
    [
        ("cityscapes", "27", 13),
        ("kitti_step", "19", 8),
        ("cocostuff", "171", 36),
        ("pascal_context", "59", 14),
    ],
)
def test_the_paper_asks_for_each_class_by_one_literal_word(dataset, variant, differing):
    table = tables.table(dataset, variant)
    usual, paper = (word_list(name).words(table) for name in ("usual", "paper"))
    assert list(usual) == list(paper) == list(table.names)
    assert all(len(words) == 1 for words in paper.values())
    assert sum(usual[name] != paper[name] for name in table.names) == differing


def test_the_literal_words_are_those_of_the_datasets_lists():
    stuff = word_list("paper").words(tables.table("cocostuff", "27"))
    assert (stuff["floor-marble"], stuff["tv"]) == (("floor marble",), ("tv",))
    context = word_list("paper").words(tables.table("pascal_context"))
    assert (context["potted plant"], context["sofa"]) == (("pottedplant",), ("sofa",))


def test_the_paper_s_protocols_take_the_paper_s_words():
    for protocol in available().values():
        assert (LISTS[protocol.words].literal) == protocol.paper
        answered = LISTS[protocol.words].answered
        assert ("vegetation" in answered) == (
            protocol.paper and protocol.dataset in ("cityscapes", "kitti_step")
        )


def test_unknown_lists_are_refused():
    with pytest.raises(InputError, match="no word list 'mine'; choose one of usual, paper"):
        word_list("mine")


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    home = tmp_path_factory.mktemp("archive")
    for number, name in enumerate(("red", "green", "blue")):
        paint(home / "photos" / f"{number}.png", name)
    return recoseg.Index.build(home / "photos", home / "toy.index", model=Toy(), progress=False)


TABLE = tables.plain(["red", "blue"], aliases={"red": ["red", "green"]}, literal={"red": "red"})
ANSWERED = WordList("test", "", literal=True, answered={"blue": "green"})


@pytest.mark.parametrize("ce", [True, False])
def test_a_context_s_reference_answers_for_a_class_that_keeps_its_text(index, ce):
    toy = Toy()
    models = Models(toy, toy, toy)
    recipe = LITE.replace(k=1, archive_size=64, contexts=("green",), ce=ce)
    made = {
        words.name: build_bank(TABLE, words, index, recipe, models=models, progress=False)
        for words in (ANSWERED, LISTS["paper"], LISTS["usual"])
    }
    green = recoseg.ConceptBank.build(
        ["green"], index, recipe.replace(ce=False), models=models, progress=False
    )["green"]
    assert made["test"].names == ("red", "blue")
    torch.testing.assert_close(made["test"]["blue"].reference, green.reference)
    torch.testing.assert_close(made["test"]["blue"].text, made["paper"]["blue"].text)
    torch.testing.assert_close(made["test"]["red"].reference, made["paper"]["red"].reference)
    assert not torch.equal(made["test"]["blue"].reference, made["paper"]["blue"].reference)
    assert made["paper"]["red"].aliases == ("red",)
    assert made["usual"]["red"].aliases == ("red", "green")
