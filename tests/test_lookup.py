"""Lookup of files in the ledger by pages finds what one question a file finds."""

from __future__ import annotations

import random

import pytest

from recoseg.index import ledgerfile, lookup
from recoseg.index.ledger import Seen
from recoseg.index.lookup import Lookup
from recoseg.io.sources import Item
from tests.test_ledger import NAME, digest


@pytest.fixture
def writer(tmp_path):
    with ledgerfile.open_writing(tmp_path / NAME, create=True) as writer:
        yield writer


def fill(writer, ids):
    numbers = {id: number for number, id in enumerate(ids)}
    writer.commit(
        [(n, digest(n)) for n in numbers.values()],
        [(Item(id, n, 2 * n, 3 * n, 4 * n), digest(n)) for id, n in numbers.items()],
    )
    return {id: (digest(n), (n, 2 * n, 3 * n, 4 * n)) for id, n in numbers.items()}


@pytest.mark.parametrize("page", [1, 2, 5, 64])
@pytest.mark.parametrize("order", ["sorted", "shuffled", "reversed"])
@pytest.mark.parametrize("seed", range(3))
def test_it_finds_what_was_committed_and_nothing_else(writer, monkeypatch, page, order, seed):
    monkeypatch.setattr(lookup, "PAGE", page)
    dice = random.Random(seed)
    names = [f"{dice.choice('abzé字🦆')}/{dice.randrange(40)}.jpg" for _ in range(60)]
    held = fill(writer, dict.fromkeys(names[:40]))
    asked = sorted({*names, "", "~", "a"})
    if order == "shuffled":
        dice.shuffle(asked)
    elif order == "reversed":
        asked.reverse()
    known = Lookup(writer)
    for id in [*asked, *asked[:3]]:
        found = known.find(id)
        assert (found is None) == (id not in held), id
        if found is not None:
            assert isinstance(found[1], Seen)
            assert (found[0], found[1][:4]) == held[id]


def test_an_empty_ledger_knows_nothing(writer):
    known = Lookup(writer)
    assert [known.find(id) for id in ("a", "b", "a")] == [None] * 3


def test_files_in_order_take_one_question_a_page(writer, monkeypatch):
    fill(writer, [f"{n:03d}" for n in range(100)])
    questions, seen_from = [], writer.seen_from
    monkeypatch.setattr(lookup, "PAGE", 10)
    monkeypatch.setattr(
        writer, "seen_from", lambda id, count: (questions.append(id), seen_from(id, count))[1]
    )
    known = Lookup(writer)
    assert all(known.find(f"{n:03d}") for n in range(100))
    assert all(known.find(f"{n:03d}x") is None for n in range(99, 200))
    assert len(questions) <= 12
