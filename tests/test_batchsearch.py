"""Search by many machines finds what the search of one machine finds, to the last bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.concepts.bank import ConceptBank
from recoseg.errors import IndexDamaged, RecosegError
from recoseg.index import batchsearch, search, update
from recoseg.index.index import Index
from recoseg.index.shards import Shards
from recoseg.models.registry import Models
from recoseg.recipe import LITE
from recoseg.similarity import unit
from tests.clusters import Here
from tests.test_make import Elsewhere
from tests.test_spread import photos_in
from tests.toys import COLOURS, Toy, paint


@given(
    n=st.integers(1, 60),
    size=st.integers(1, 25),
    k=st.integers(1, 70),
    levels=st.integers(1, 4),
    dead=st.floats(0, 1),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_it_equals_the_search_of_one_machine(tmp_path_factory, n, size, k, levels, dead, seed):
    """Few different rows, so that many scores tie, and some that no image has."""
    rng = np.random.default_rng(seed)
    different = unit(torch.from_numpy(rng.standard_normal((levels, 8)))).numpy()
    rows = different[rng.integers(0, levels, n)].astype(np.float16)
    shards = Shards(tmp_path_factory.mktemp("shards"), 8, size)
    shards.append(0, rows)
    alive = rng.random(n) >= dead
    queries = unit(torch.from_numpy(rng.standard_normal((3, 8)).astype(np.float32)))
    one = search.nearest(shards, alive, queries, k)
    many = batchsearch.nearest(shards, alive, queries, k, Here(seed))
    assert len(one) == len(many) == 3
    for (rows_one, scores_one), (rows_many, scores_many) in zip(one, many, strict=True):
        np.testing.assert_array_equal(rows_many, rows_one)
        np.testing.assert_array_equal(scores_many, scores_one)


@pytest.fixture
def index(tmp_path: Path, monkeypatch) -> Index:
    monkeypatch.setattr(update, "SHARD_ROWS", 7)
    photos = photos_in(tmp_path / "photos")
    for name in COLOURS:
        paint(photos / f"{name}.png", name)
    return Index.build(photos, tmp_path / "index", model=Toy(), progress=False)


def queries() -> torch.Tensor:
    return Toy().embed_texts([*COLOURS, *(f"word {i}" for i in range(50))])


@pytest.mark.parametrize("k", [1, 5, 1000])
@pytest.mark.parametrize("verify", [True, False])
def test_an_index_opened_on_a_cluster_finds_the_same(index, k, verify):
    cluster = Here(0)
    spread = Index.open(index.path, cluster=cluster, verify=verify)
    gone = index.ids[3:9]
    for exclude in ((), gone):
        found = spread.search(queries(), k, exclude=exclude)
        assert found == index.search(queries(), k, exclude=exclude)
    assert cluster.blocks == 2 * -(-len(index.vectors(index.ids)) // 7)


def test_no_queries_are_no_work(index):
    cluster = Here()
    assert Index.open(index.path, cluster=cluster).search(np.empty((0, index.dim)), 3) == []
    assert cluster.blocks == 0


def test_damaged_rows_are_refused_there_too(index):
    shard = index.path / "shards" / "000002.f16"
    data = bytearray(shard.read_bytes())
    data[40] ^= 1
    shard.write_bytes(data)
    with pytest.raises(IndexDamaged, match=r"000002\.f16 is damaged"):
        Index.open(index.path, cluster=Here()).search(queries(), 3)


def test_a_node_that_does_not_see_the_index_is_told(index):
    away = Elsewhere(index.path / "shards")
    with pytest.raises(RecosegError, match=r"is not seen from .*; put the index"):
        Index.open(index.path, cluster=away).search(queries(), 3)


def test_concepts_built_from_a_cluster_s_search_are_the_same(index, tmp_path):
    toy = Toy()
    models, small = Models(toy, toy, toy), LITE.replace(archive_size=64, image_size=64, k=3)
    cluster = Here(1)
    for name, opened in (("one", index), ("many", Index.open(index.path, cluster=cluster))):
        bank = ConceptBank.build(["red", "green"], opened, small, models=models, progress=False)
        bank.save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "many").read_bytes()
    assert cluster.blocks


def test_an_index_that_moved_is_read_where_it_is(index, tmp_path, monkeypatch):
    shutil.move(index.path, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    found = Index.open("moved", cluster=Here()).search(queries(), 3)
    assert found == Index.open("moved").search(queries(), 3)
