"""Vector servers, both real: what they answer, how they follow an index, what they refuse."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import psycopg
import pytest

from recoseg.concepts.bank import ConceptBank
from recoseg.embeddings.importing import import_table
from recoseg.embeddings.recognise import open_table
from recoseg.errors import IndexMismatch, InputError, Locked, RecosegError, ServerError
from recoseg.index.index import Changes, Index
from recoseg.models.registry import Models
from recoseg.recipe import LITE
from recoseg.servers import addresses, inverted_lists, sync
from recoseg.servers.served import ServedIndex
from tests import embedded
from tests.databases import postgres
from tests.toys import Toy

ROWS, DIM = 400, 16


@pytest.fixture(scope="module")
def database():
    with postgres() as server:
        yield server.get_uri()


@pytest.fixture(params=["postgres", "faiss"])
def address(request, tmp_path) -> str:
    if request.param == "postgres":
        return request.getfixturevalue("database")
    return f"faiss:{tmp_path / 'x.faiss'}"


def directions(count: int = ROWS, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1)[:, None]


def index_of(path: Path, vectors: np.ndarray, names: list[str] | None = None, model=None) -> Index:
    """An index of vectors without photos."""
    names = names or [f"{place:05d}.jpg" for place in range(len(vectors))]
    file = embedded.listed(path.with_suffix(".made"), vectors, names)
    table = open_table(file)
    return import_table(table, path, model=model or Toy(), trust=True, progress=False).index


@pytest.fixture
def index(tmp_path) -> Index:
    return index_of(tmp_path / "x.index", directions())


def bring(index: Index, address: str, **how) -> Changes:
    server = addresses.connect(address, index)
    try:
        return sync.sync(index, server, progress=False, **how)
    finally:
        server.close()


def overlap(found, expected) -> float:
    pairs = zip(found, expected, strict=True)
    return float(np.mean([len({h.id for h in f} & {h.id for h in e}) / len(e) for f, e in pairs]))


QUERIES = directions(20, seed=1)


# answers


def test_a_served_index_answers_as_the_exact_scan(index, address):
    assert bring(index, address) == Changes(added=ROWS)
    served = ServedIndex.of(index, address)
    found, exact = served.search(QUERIES, 10), index.search(QUERIES, 10)
    assert overlap(found, exact) > 0.99
    for ours, theirs in zip(found, exact, strict=True):
        scores = {hit.id: hit.score for hit in theirs}
        assert all(abs(hit.score - scores.get(hit.id, hit.score)) < 1e-6 for hit in ours)
        assert ours == sorted(ours, key=lambda hit: (-hit.score, hit.id))


def test_the_protocol_gives_ids_and_cosines(index, address):
    bring(index, address)
    server = addresses.connect(address, index)
    ids, scores = server.nearest(QUERIES, 5)
    for query, names, cosines in zip(QUERIES, ids, scores, strict=True):
        np.testing.assert_allclose(cosines, index.vectors(names) @ query, atol=5e-3)
        assert cosines == sorted(cosines, reverse=True)
    assert [id for id, _ in server_held(server, index)] == index.ids


def server_held(server, index):
    with server.session(index.dim, index.fingerprint, len(index), lambda n: directions(n)):
        return list(server.list_images())


def test_k_beyond_the_index_gives_all_and_excluded_ids_are_passed_over(index, address):
    bring(index, address)
    served = ServedIndex.of(index, address)
    (everything,) = served.search(QUERIES[:1], 5000)
    assert {hit.id for hit in everything} == set(index.ids)
    best = [hit.id for hit in everything[:3]]
    (rest,) = served.search(QUERIES[:1], 4, exclude=best)
    assert rest == everything[3:7]
    with pytest.raises(InputError, match="queries must be finite numbers of shape"):
        served.search(QUERIES[:, :4], 3)


def test_a_bank_is_built_from_a_served_index(tmp_path, address):
    photos = embedded.photos(tmp_path / "photos")
    built = Index.build(photos, tmp_path / "photos.index", model=Toy(), progress=False)
    bring(built, address)
    toy = Toy()
    small = LITE.replace(archive_size=64, image_size=64, k=2, centre=False, contexts=(), ce=False)
    models = Models(toy, toy, toy)
    ours, theirs = (
        ConceptBank.build(["red", "blue"], i, small, models=models, progress=False)
        for i in (ServedIndex.of(built, address), built)
    )
    assert ours == theirs


def test_lists_find_most_of_what_the_exact_scan_finds(tmp_path, monkeypatch):
    monkeypatch.setattr(inverted_lists, "FLAT_ROWS", 1000)
    index = index_of(tmp_path / "x.index", directions(3000))
    address = f"faiss:{tmp_path / 'x.faiss'}"
    bring(index, address)
    served = ServedIndex.of(index, address)
    assert 0.3 < overlap(served.search(QUERIES, 10), index.search(QUERIES, 10)) < 1
    assert not inverted_lists.fits(700, 3000)
    assert not inverted_lists.fits(13000, 3000)
    assert inverted_lists.fits(900, 3000)


# following an index


def changed(tmp_path: Path) -> Index:
    """The index of ``index_of`` with 10 rows gone, 10 changed and 20 new."""
    vectors = directions(ROWS + 20)
    vectors[50:60] = directions(10, seed=7)
    names = [f"{place:05d}.jpg" for place in range(ROWS + 20)]
    return index_of(tmp_path / "x.index", vectors[10:], names[10:])


def test_only_the_difference_is_sent(index, address, tmp_path):
    bring(index, address)
    assert bring(index, address) == Changes(unchanged=ROWS)
    after = changed(tmp_path)
    assert bring(after, address) == Changes(added=20, changed=10, removed=10, unchanged=ROWS - 20)
    served = ServedIndex.of(after, address)
    (everything,) = served.search(QUERIES[:1], 9999)
    assert {hit.id for hit in everything} == set(after.ids)
    assert overlap(served.search(QUERIES, 10), after.search(QUERIES, 10)) > 0.99


def test_an_index_that_changed_since_is_told(index, address, tmp_path):
    bring(index, address)
    served = ServedIndex.of(index, address)
    after = changed(tmp_path)
    with pytest.raises(
        ServerError, match=r"was changed since .* was brought up to date; bring the"
    ):
        served.search(QUERIES, 3)
    bring(after, address)
    served.search(QUERIES, 3)


def test_a_change_of_nothing_but_the_ledger_is_none(tmp_path, address):
    photos = embedded.photos(tmp_path / "photos")
    built = Index.build(photos, tmp_path / "photos.index", model=Toy(), progress=False)
    bring(built, address)
    next(photos.iterdir()).touch()
    built.add(model=Toy(), progress=False)
    ServedIndex.of(built, address).search(QUERIES, 3)


def test_what_was_never_or_partly_brought_is_told(index, address, monkeypatch):
    served = ServedIndex.of(index, address)
    with pytest.raises(ServerError, match="`recoseg index sync`"):
        served.search(QUERIES, 3)
    monkeypatch.setattr(sync, "BATCH", 50)
    interrupt(monkeypatch, after=3)
    with pytest.raises(KeyboardInterrupt):
        bring(index, address)
    monkeypatch.undo()
    with pytest.raises(ServerError, match="`recoseg index sync`"):
        served.search(QUERIES, 3)


def interrupt(monkeypatch, after: int) -> None:
    calls, real = iter(range(after)), Index.vectors

    def vectors(self, ids):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return real(self, ids)

    monkeypatch.setattr(Index, "vectors", vectors)


def test_an_interrupted_sync_goes_on(index, address, monkeypatch):
    monkeypatch.setattr(sync, "BATCH", 50)
    monkeypatch.setattr("recoseg.servers.faiss_folder.CHECKPOINT", 100)
    interrupt(monkeypatch, after=5)
    with pytest.raises(KeyboardInterrupt):
        bring(index, address)
    monkeypatch.undo()
    again = bring(index, address)
    assert again.unchanged >= 200
    assert again.added + again.unchanged == ROWS
    assert (
        overlap(ServedIndex.of(index, address).search(QUERIES, 9), index.search(QUERIES, 9)) > 0.99
    )


def test_an_index_that_changes_meanwhile_is_told(index, address, tmp_path, monkeypatch):
    real = Index.vectors

    def vectors(self, ids):
        monkeypatch.setattr(Index, "vectors", real)
        changed(tmp_path)
        return real(self, ids)

    monkeypatch.setattr(Index, "vectors", vectors)
    with pytest.raises(ServerError, match="was changed while its server"):
        bring(index, address)
    bring(index, address)
    ServedIndex.of(index, address).search(QUERIES, 3)


# refusals


def test_another_model_under_the_same_name_is_refused_until_replaced(index, address, tmp_path):
    bring(index, address)
    shutil.rmtree(tmp_path / "x.index")
    other = index_of(tmp_path / "x.index", directions(50, seed=3), model=Toy(seed=1))
    with pytest.raises(IndexMismatch, match="--replace"):
        bring(other, address)
    with pytest.raises(IndexMismatch, match="vectors of another model"):
        ServedIndex.of(other, address).search(QUERIES, 3)
    assert bring(other, address, replace=True) == Changes(added=50)
    assert len(ServedIndex.of(other, address).search(QUERIES, 99)[0]) == 50


def test_vectors_of_a_wrong_dimension_are_one_sentence(index, address):
    bring(index, address)
    server = addresses.connect(address, index)
    with pytest.raises(RecosegError):
        server.nearest(QUERIES[:, :5], 3)


def test_two_writers_of_one_server_are_refused(index, address):
    first, second = addresses.connect(address, index), addresses.connect(address, index)
    one = first.session(index.dim, index.fingerprint, ROWS, lambda n: directions(n))
    two = second.session(index.dim, index.fingerprint, ROWS, lambda n: directions(n))
    with one, pytest.raises(Locked, match="another writer"), two:
        pass


@pytest.mark.parametrize("wrong", ["mysql://x/y", "faiss:", "photos", "http://u:secret@h/x", ""])
def test_addresses_of_no_known_form_are_refused(index, wrong):
    with pytest.raises(InputError, match="is no address of a vector server") as told:
        addresses.connect(wrong, index)
    assert "secret" not in str(told.value)


# PostgreSQL

NAMES = [
    "it's",
    'say "hello"',
    "'; DROP TABLE recoseg_indexes; --",
    "a#b?c=d&e%f",
    "日本 🦊",
    "x" * 300,
    "%s {} {0} $1",
]


def test_ids_and_names_are_data_never_queries(database, tmp_path):
    from urllib.parse import quote

    vectors = directions(len(NAMES))
    index = index_of(tmp_path / "x.index", vectors, NAMES)
    for name in NAMES:
        address = f"{database}#{quote(name)}"
        assert bring(index, address) == Changes(added=len(NAMES))
        found = ServedIndex.of(index, address).search(vectors, 1)
        by_row = [index.search(vectors[i : i + 1], 1)[0][0].id for i in range(len(NAMES))]
        assert [hits[0].id for hits in found] == by_row
    with psycopg.connect(database) as connection:
        held = connection.execute("SELECT name FROM recoseg_indexes").fetchall()
    assert set(NAMES) <= {name for (name,) in held}


def test_two_indexes_in_one_database_know_nothing_of_each_other(database, tmp_path):
    one = index_of(tmp_path / "one.index", directions(30))
    two = index_of(tmp_path / "two.index", directions(40, seed=2), model=Toy(seed=5))
    bring(one, database)
    bring(two, database)
    for index in (one, two):
        (hits,) = ServedIndex.of(index, database).search(QUERIES[:1], 99)
        assert {hit.id for hit in hits} == set(index.ids)
    shutil.rmtree(tmp_path / "one.index")
    index_of(tmp_path / "one.index", directions(5))
    bring(Index.open(tmp_path / "one.index"), database)
    assert bring(two, database) == Changes(unchanged=40)


def test_a_server_that_goes_away_is_one_sentence_and_sync_goes_on(tmp_path):
    index = index_of(tmp_path / "x.index", directions())
    with postgres() as server:
        bring(index, server.get_uri())
        served = ServedIndex.of(index, server.get_uri())
        with psycopg.connect(server.get_uri(), autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        with pytest.raises(ServerError, match="cannot be reached, or went away") as told:
            served.search(QUERIES, 3)
        assert "\n" not in str(told.value)
        ServedIndex.of(index, server.get_uri()).search(QUERIES, 3)
        address = server.get_uri()
        server.cleanup()
        with pytest.raises(ServerError, match="start it and run the same again"):
            ServedIndex.of(index, address)


def test_a_password_is_never_shown(index):
    with pytest.raises(ServerError) as told:
        addresses.connect("postgresql://me:s3cr3t@127.0.0.1:1/x", index)
    assert "127.0.0.1:1/x" in str(told.value)
    assert "s3cr3t" not in str(told.value)


def test_the_graph_is_used_when_there_are_many(database, tmp_path):
    index = index_of(tmp_path / "x.index", directions(3000))
    bring(index, database)
    with psycopg.connect(database) as connection:
        query = "SELECT number FROM recoseg_indexes WHERE name = %s"
        ((number,),) = connection.execute(query, (str(index.path),)).fetchall()
        plan = connection.execute(
            f"EXPLAIN SELECT id FROM recoseg_vectors_{number} ORDER BY vector <=> "
            f"'{QUERIES[0].tolist()}'::halfvec LIMIT 5"
        ).fetchall()
    assert f"recoseg_vectors_{number}_graph" in str(plan)


# faiss


def test_damage_to_the_folder_is_told(index, tmp_path):
    address = f"faiss:{tmp_path / 'x.faiss'}"
    bring(index, address)
    (file,) = (tmp_path / "x.faiss").glob("*.faiss")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ServerError, match="is damaged; delete its folder"):
        ServedIndex.of(index, address).search(QUERIES, 3)
    file.unlink()
    with pytest.raises(ServerError, match="cannot be read"):
        ServedIndex.of(index, address).search(QUERIES, 3)
    (tmp_path / "x.faiss" / "images.sqlite").write_bytes(b"not a database" * 99)
    with pytest.raises(ServerError, match="is damaged"):
        ServedIndex.of(index, address).search(QUERIES, 3)


def test_another_folder_is_not_written_into(index, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear")
    with pytest.raises(ServerError, match="holds other files"):
        addresses.connect(f"faiss:{tmp_path / 'mine'}", index)


def test_an_index_that_grew_much_gets_lists_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(inverted_lists, "FLAT_ROWS", 300)
    address = f"faiss:{tmp_path / 'x.faiss'}"
    bring(index_of(tmp_path / "x.index", directions(100)), address)
    grown = index_of(tmp_path / "x.index", directions(1000))
    assert bring(grown, address) == Changes(added=1000)
    (hits,) = ServedIndex.of(grown, address).search(QUERIES[:1], 3)
    assert len(hits) == 3


def test_a_folder_under_work_still_answers_with_its_last_state(index, tmp_path):
    address = f"faiss:{tmp_path / 'x.faiss'}"
    bring(index, address)
    reader, writer = ServedIndex.of(index, address), addresses.connect(address, index)
    with writer.session(DIM, index.fingerprint, ROWS, lambda n: directions(n)):
        writer.drop(index.ids[:100])
        assert len(reader.search(QUERIES, 9999)[0]) == ROWS
