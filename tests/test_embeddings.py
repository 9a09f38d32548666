"""Vectors that others made: taken over, checked against the model, followed, and written back."""

from __future__ import annotations

import io
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.building.retrieve import retrieve
from recoseg.concepts.bank import ConceptBank
from recoseg.embeddings import agreement, importing, intake
from recoseg.embeddings.exporting import export_clip_retrieval
from recoseg.embeddings.importing import Imported, import_table
from recoseg.embeddings.recognise import open_table, open_unembedded
from recoseg.errors import (
    ArchiveError,
    IndexDamaged,
    IndexMismatch,
    InputError,
    RecosegError,
)
from recoseg.index.index import Changes, Index
from recoseg.io.imported import id_of, is_inside
from recoseg.models.registry import Models
from recoseg.recipe import LITE
from tests import embedded
from tests.embedded import NAMES
from tests.test_archive import tar
from tests.test_remote import bucket as bucket
from tests.test_remote import upload
from tests.toys import Toy

VECTORS = embedded.embed(NAMES)
SMALL = LITE.replace(archive_size=64, image_size=64, k=2, centre=False, contexts=())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return embedded.photos(tmp_path / "photos")


def take(table: object, out: Path, toy: Toy | None = None, **how: object) -> Imported:
    return import_table(table, out, model=toy or Toy(), progress=False, **how)


def by_list(tmp_path: Path, photos: Path | None, names=NAMES, vectors=VECTORS, **how) -> Imported:
    path = embedded.listed(tmp_path / "made", vectors, names)
    return take(open_table(path, photos=photos), tmp_path / "x.index", **how)


def by_folder(tmp_path: Path, photos: Path | None, names=NAMES, vectors=VECTORS, **how) -> Imported:
    shutil.rmtree(tmp_path / "laion", ignore_errors=True)
    folder = embedded.clip_retrieval(tmp_path / "laion", vectors, names)
    return take(open_table(folder, photos=photos), tmp_path / "x.index", **how)


FORMS = pytest.mark.parametrize("form", [by_list, by_folder])


# what an import gives


@FORMS
def test_an_import_searches_as_an_index_that_was_built(tmp_path, photos, form):
    made = form(tmp_path, photos)
    built = Index.build(photos, tmp_path / "built.index", model=Toy(), progress=False)
    assert made.changes == Changes(added=len(NAMES))
    assert made.index.ids == built.ids == sorted(NAMES)
    queries = Toy().embed_texts(["red", "blue"])
    found, expected = made.index.search(queries, 5), built.search(queries, 5)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose([h.score for h in ours], [h.score for h in theirs], atol=2e-3)
        assert {h.id for h in ours[:3]} == {h.id for h in theirs[:3]}
    assert np.array_equal(made.index.image("red0.png"), embedded.picture("red0.png"))


@FORMS
def test_the_order_of_rows_does_not_matter(tmp_path, photos, form):
    order = np.random.default_rng(0).permutation(len(NAMES))
    made = form(tmp_path, photos, [NAMES[i] for i in order], VECTORS[order])
    np.testing.assert_allclose(
        made.index.vectors(list(NAMES)),
        VECTORS / np.linalg.norm(VECTORS, axis=1)[:, None],
        atol=1e-3,
    )


@pytest.mark.parametrize(("scale", "normalised"), [(1.0, True), (7.5, False)])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_scale_is_detected_and_made_one(tmp_path, photos, scale, normalised, kind):
    made = by_list(tmp_path, photos, vectors=(VECTORS * scale).astype(kind))
    assert made.agreement.normalised is normalised
    assert made.agreement.compared == 16
    assert made.agreement.least > 0.999
    lengths = np.linalg.norm(made.index.vectors(list(NAMES)), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)


def test_photos_are_those_of_tar_shards_too(tmp_path, photos):
    (tmp_path / "shards").mkdir()
    tar(tmp_path / "shards" / "0.tar", {name: embedded.encoded(name) for name in NAMES})
    made = by_folder(tmp_path, tmp_path / "shards", [f"0.tar/{name}" for name in NAMES])
    assert made.unreachable == 0
    assert np.array_equal(made.index.image("0.tar/red1.png"), embedded.picture("red1.png"))


def test_photos_may_be_behind_a_url(bucket, tmp_path, photos):
    """With paths below it, or whole URLs; one of a photo that is not there cannot be fetched."""
    url = upload(bucket, photos, "/bucket/photos")
    names = [*NAMES[:9], *(f"{url}/{name}" for name in NAMES[9:]), "red9.png", "memory:///x.png"]
    vectors = np.concatenate([VECTORS, VECTORS[:2]])
    made = by_folder(tmp_path, url, names, vectors)
    assert set(made.index.ids) == {*NAMES, "red9.png", "memory:///x.png"}
    assert made.agreement.compared == 16
    assert made.unreachable == 2
    again = Index.open(tmp_path / "x.index")
    assert np.array_equal(again.image("blue1.png"), embedded.picture("blue1.png"))
    assert [again.archive.has(name) for name in ("blue1.png", "red9.png")] == [True, False]


def pack(folder: Path, *halves: dict[str, bytes]) -> Path:
    folder.mkdir()
    for number, members in enumerate(halves):
        tar(folder / f"{number:05}.tar", members)
    return folder


def keyed() -> tuple[list[str], list[dict[str, bytes]]]:
    """Keys of webdataset's samples in the order of NAMES, and the members of two shards."""
    keys = [f"{number // 9:05}{number % 9:04}" for number in range(len(NAMES))]
    halves: list[dict[str, bytes]] = [{}, {}]
    for number, (key, name) in enumerate(zip(keys, NAMES, strict=True)):
        halves[number // 9][f"{key}.json"] = b"{}"
        halves[number // 9][f"{key}.png"] = embedded.encoded(name)
    return keys, halves


@pytest.mark.parametrize("where", ["here", "behind a URL"])
@pytest.mark.parametrize("column", ["image_path", "key"])
def test_keys_of_samples_lead_to_members_of_tar_files(bucket, tmp_path, column, where):
    keys, halves = keyed()
    photos = pack(tmp_path / "shards", *halves)
    if where != "here":
        photos = upload(bucket, photos, "/bucket/shards")
    columns = {"url": ["https://far.example/x.png"] * 18} if column == "key" else {}
    columns[column] = keys
    folder = embedded.clip_retrieval(tmp_path / "laion", VECTORS, keys, parts=1, **columns)
    made = take(open_table(folder, photos=photos), tmp_path / "x.index")
    assert made.index.ids == [f"{key[:5]}.tar/{key}.png" for key in keys]
    assert made.unreachable == 0
    assert made.agreement.compared == 16
    again = Index.open(tmp_path / "x.index")
    assert np.array_equal(again.image(f"00001.tar/{keys[-1]}.png"), embedded.picture(NAMES[-1]))
    toy = Toy()
    bank = ConceptBank.build(
        ["red"], again, SMALL.replace(ce=False), models=Models(toy, toy, toy), progress=False
    )
    assert len(bank["red"].evidence.seeds) == 2


def test_keys_of_a_list_are_those_of_tar_files_too(tmp_path):
    keys, halves = keyed()
    photos = pack(tmp_path / "shards", *halves)
    made = by_list(tmp_path, photos, [*keys[:-1], f"00001.tar/{keys[-1]}.png"])
    assert made.index.ids == [f"{key[:5]}.tar/{key}.png" for key in keys]


def test_a_key_that_means_no_one_photo_is_not_guessed(tmp_path):
    keys, halves = keyed()
    halves[1][f"{keys[0]}.png"] = embedded.encoded("blue0.png")  # in both shards
    halves[0][f"{keys[1]}.jpg"] = halves[0][f"{keys[1]}.png"]  # the photo
    halves[0][f"{keys[1]}.mask.png"] = embedded.encoded("black0.png")
    del halves[0][f"{keys[2]}.png"]  # was not downloaded
    photos = pack(tmp_path / "shards", *halves)
    made = by_folder(tmp_path, photos, keys)
    assert made.unreachable == 2
    assert {keys[0], keys[2], f"00000.tar/{keys[1]}.jpg"} < set(made.index.ids)


# the model that is said to have made them


def test_vectors_of_another_model_are_refused(tmp_path, photos):
    with pytest.raises(IndexMismatch, match=r"has cosine -?0\.\d+ with that of 'toy', not above"):
        by_list(tmp_path, photos, vectors=embedded.embed(NAMES, Toy(seed=1)))
    assert not (tmp_path / "x.index").exists()


def test_vectors_of_another_dimension_are_refused(tmp_path, photos):
    with pytest.raises(IndexMismatch, match="have 8 numbers and those of 'toy' 16"):
        by_list(tmp_path, photos, vectors=VECTORS[:, :8])


def test_rows_in_another_order_than_their_paths_are_refused(tmp_path, photos):
    with pytest.raises(IndexMismatch, match="have the same order"):
        by_folder(tmp_path, photos, vectors=np.roll(VECTORS, 1, axis=0))


def test_a_small_difference_is_let_through_and_a_larger_one_is_not(tmp_path, photos):
    def turned(cosine: float) -> np.ndarray:
        side = np.random.default_rng(0).standard_normal(VECTORS.shape)
        side -= (side * VECTORS).sum(1)[:, None] * VECTORS
        side /= np.linalg.norm(side, axis=1)[:, None]
        return VECTORS * cosine + side * np.sqrt(1 - cosine**2)

    assert by_list(tmp_path, photos, vectors=turned(0.995)).agreement.least < 0.997
    with pytest.raises(IndexMismatch, match=r"cosine 0\.98"):
        by_list(tmp_path, photos, vectors=turned(0.985))


def test_without_any_photo_only_trust_helps(tmp_path):
    with pytest.raises(ArchiveError, match=r"none of 18 photos .* can be read .*--trust"):
        by_folder(tmp_path, None)
    made = by_folder(tmp_path, None, trust=True)
    assert made.agreement == agreement.Agreement(0, None, True)
    assert made.unreachable == len(made.index) == len(NAMES)


def test_trust_does_not_let_through_what_disagrees(tmp_path, photos):
    with pytest.raises(IndexMismatch):
        by_folder(tmp_path, photos, vectors=np.roll(VECTORS, 1, axis=0), trust=True)


# photos that cannot be fetched


def test_photos_beyond_reach_are_searched_and_passed_over_for_seeds(tmp_path, photos):
    for number in range(2):
        (photos / f"red{number}.png").unlink()
    names = [*NAMES, "https://far.example/red.png"]
    vectors = np.concatenate([VECTORS, embedded.embed(["red5.png"])])
    made = by_folder(tmp_path, photos, names, vectors)
    assert made.unreachable == 3
    text = Toy().embed_texts(["red"])
    found = {hit.id for hit in made.index.search(text, 4)[0]}
    assert found == {"red0.png", "red1.png", "red2.png", "https://far.example/red.png"}
    toy = Toy()
    bank = ConceptBank.build(
        ["red"], made.index, SMALL.replace(ce=False), models=Models(toy, toy, toy), progress=False
    )
    evidence = bank["red"].evidence
    assert len(evidence.seeds) == 2
    assert evidence.images[0] == "red2.png"
    assert evidence.notes == ("photos passed over because they cannot be fetched: 3",)


def test_passing_over_looks_deeper_until_it_has_enough(tmp_path, photos):
    made = by_folder(tmp_path, photos)
    for name in NAMES:
        if not name.startswith("black"):
            (photos / name).unlink()
    (hits,) = retrieve({"red": Toy().embed_texts(["red"])[0]}, made.index, 2).values()
    assert [hit.id for hit in hits if made.index.archive.has(hit.id)][1:] == [hits[-1].id]
    assert len([hit for hit in hits if hit.id.startswith("black")]) == 2


def test_a_photo_that_vanishes_is_one_sentence(tmp_path, photos):
    made = by_list(tmp_path, photos)
    (photos / "red0.png").unlink()
    with pytest.raises(ArchiveError, match=r"red0\.png cannot be read"):
        made.index.image("red0.png")


@pytest.mark.parametrize(
    "path", ["../secret.png", "a/../../secret.png", "/etc/secret.png", "http://x/../../secret.png"]
)
def test_nothing_outside_the_photos_is_read(tmp_path, photos, path):
    (tmp_path / "secret.png").write_bytes(embedded.encoded("red0.png"))
    vectors = np.concatenate([VECTORS, VECTORS[:1]])
    made = by_list(tmp_path, photos, [*NAMES, path], vectors)
    assert made.unreachable == 1
    (stranger,) = set(made.index.ids) - set(NAMES)
    assert not made.index.archive.has(stranger)
    with pytest.raises(ArchiveError, match="does not lie below a folder of photos that is known"):
        made.index.image(stranger)


@given(st.text(alphabet="./ab\\:", max_size=12))
@settings(max_examples=300)
def test_ids_inside_never_leave_their_folder(path):
    id = id_of(path, "/photos")
    if is_inside(id):
        assert (Path("/photos") / id.replace("\\\\", "\\")).resolve().is_relative_to("/photos")


def test_absolute_paths_below_the_photos_become_relative(tmp_path, photos):
    made = by_folder(tmp_path, photos, [str(photos / name) for name in NAMES])
    assert made.index.ids == sorted(NAMES)
    assert made.unreachable == 0


# following, and going on


def test_an_import_again_does_only_the_difference(tmp_path, photos):
    by_list(tmp_path, photos)
    again = by_list(tmp_path, photos)
    assert again.changes == Changes(unchanged=len(NAMES))
    vectors = np.concatenate([VECTORS[1:], embedded.embed(["red7.png"])])
    vectors[0] += 0.02
    embedded.photos(photos, ["red7.png"])
    changed = by_list(tmp_path, photos, [*NAMES[1:], "red7.png"], vectors)
    assert changed.changes == Changes(added=1, changed=1, removed=1, unchanged=len(NAMES) - 2)
    assert changed.index.ids == sorted([*NAMES[1:], "red7.png"])


def test_a_killed_import_goes_on_where_it_was(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(intake.Intake, "_note", _dies_after(7, intake.Intake._note))
    with pytest.raises(KeyboardInterrupt):
        by_folder(tmp_path, photos)
    monkeypatch.undo()
    made = by_folder(tmp_path, photos)
    assert made.changes == Changes(added=len(NAMES) - 7, unchanged=7)
    assert made.index.ids == sorted(NAMES)
    Index.open(tmp_path / "x.index").search(Toy().embed_texts(["red"]), 3)


def _dies_after(count, function):
    calls = iter(range(count))

    def dying(*arguments):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return function(*arguments)

    return dying


def test_damage_is_noticed_and_mended_from_the_source(tmp_path, photos):
    made = by_folder(tmp_path, photos)
    shard = next((tmp_path / "x.index" / "shards").iterdir())
    shard.write_bytes(b"\xff" + shard.read_bytes()[1:])
    with pytest.raises(IndexDamaged):
        by_folder(tmp_path, photos)
    mended = by_folder(tmp_path, photos, check=True)
    assert mended.index.ids == sorted(NAMES)
    np.testing.assert_array_equal(
        mended.index.vectors(["red0.png"]), made.index.vectors(["red0.png"])
    )


def test_an_ordinary_update_of_imported_vectors_is_refused(tmp_path, photos):
    made = by_list(tmp_path, photos)
    for source in (None, photos):
        with pytest.raises(ArchiveError, match="were imported, and what follows photos would lose"):
            made.index.add(source, model=Toy(), progress=False)
    with pytest.raises(ArchiveError, match="was built from"):
        Index.build(photos, tmp_path / "x.index", model=Toy(), progress=False)
    assert len(Index.open(tmp_path / "x.index")) == len(NAMES)


def test_another_source_is_refused_unless_it_was_moved(tmp_path, photos):
    by_list(tmp_path, photos)
    with pytest.raises(ArchiveError, match="--moved"):
        by_folder(tmp_path, photos)
    assert by_folder(tmp_path, photos, moved=True).changes == Changes(unchanged=len(NAMES))
    Index.build(photos, tmp_path / "built", model=Toy(), progress=False)
    with pytest.raises(ArchiveError, match="was built from"):
        take(open_table(tmp_path / "laion", photos=photos), tmp_path / "built", moved=True)


def test_the_photos_may_be_said_later(tmp_path, photos):
    by_folder(tmp_path, None, trust=True)
    made = by_folder(tmp_path, photos)
    assert made.changes == Changes(unchanged=len(NAMES))
    assert made.unreachable == 0
    assert made.index.image("blue1.png").shape == (32, 32, 3)


# hostile input


def test_rows_that_are_no_directions_are_left_out_and_said(tmp_path, photos):
    vectors = VECTORS.copy()
    vectors[0], vectors[1, 3], vectors[2] = 0, np.nan, np.inf
    made = by_list(tmp_path, photos, vectors=vectors)
    assert made.changes == Changes(added=len(NAMES) - 3, skipped=3)
    assert [s.id for s in made.index.skipped] == sorted(NAMES[:3])
    assert "has no usable vector" in made.index.skipped[0].reason
    assert by_list(tmp_path, photos).changes.added == 3  # when they are mended
    assert made.index.skipped == []


def test_rows_of_one_photo_count_once(tmp_path, photos):
    names = [*NAMES, NAMES[0], f"./{NAMES[1]}"]
    made = by_list(tmp_path, photos, names, np.concatenate([VECTORS, VECTORS[:2] + 0.01]))
    assert made.repeated == 2
    assert made.index.ids == sorted(NAMES)
    np.testing.assert_allclose(made.index.vectors(NAMES[:1])[0], VECTORS[0], atol=5e-4)


def test_rows_that_name_no_photo_are_counted(tmp_path, photos):
    made = by_folder(tmp_path, photos, [None, "", *NAMES[2:]])
    assert made.nameless == 2
    assert len(made.index) == len(NAMES) - 2


@pytest.mark.parametrize("more", [-1, 1])
@FORMS
def test_more_vectors_than_rows_or_fewer_are_refused(tmp_path, photos, form, more):
    vectors = np.concatenate([VECTORS, VECTORS[:1]]) if more > 0 else VECTORS[:-1]
    if form is by_list:
        with pytest.raises(ArchiveError, match=r"has \d+ vectors and .* 18 paths"):
            form(tmp_path, photos, vectors=vectors)
        return
    folder = embedded.clip_retrieval(tmp_path / "laion", VECTORS, NAMES, parts=1)
    np.save(folder / "img_emb" / "img_emb_0.npy", vectors)
    with pytest.raises(ArchiveError, match=r"has \d+ vectors and .* 18 rows"):
        open_table(folder, photos=photos)


class Bomb:
    def __reduce__(self):
        return (Path("exploded").write_text, ("boom",))


def _truncated(path: Path) -> None:
    np.save(path, VECTORS)
    path.write_bytes(path.read_bytes()[:-7])


def _zipped(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), VECTORS)
    path.with_suffix(".npz").replace(path)


SPOILERS = {
    "pickle": lambda path: path.write_bytes(pickle.dumps(Bomb())),
    "object array": lambda path: np.save(path, np.array([Bomb()] * 18), allow_pickle=True),
    "truncated": _truncated,
    "empty": lambda path: path.write_bytes(b""),
    "header alone": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'for"),
    "huge header": lambda path: path.write_bytes(
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"(" * 9999
    ),
    "one axis": lambda path: np.save(path, VECTORS.ravel()),
    "three axes": lambda path: np.save(path, VECTORS[None]),
    "whole numbers": lambda path: np.save(path, VECTORS.astype(np.int8)),
    "complex": lambda path: np.save(path, VECTORS.astype(np.complex64)),
    "records": lambda path: np.save(path, np.zeros(18, dtype=[("a", "f4"), ("b", "O")])[["a"]]),
    "no columns": lambda path: np.save(path, VECTORS[:, :0]),
    "npz": _zipped,
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
def test_arrays_that_are_no_vectors_are_refused(tmp_path, photos, spoil, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = embedded.listed(tmp_path / "made", VECTORS, NAMES)
    spoil(path)
    with pytest.raises(ArchiveError) as told:
        open_table(path, photos=photos)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)
    assert not Path("exploded").exists()


def test_a_folder_in_disorder_is_refused(tmp_path, photos):
    folder = embedded.clip_retrieval(tmp_path / "laion", VECTORS, NAMES)
    (folder / "metadata" / "metadata_1.parquet").unlink()
    with pytest.raises(ArchiveError, match="number 1 is in one alone"):
        open_table(folder)
    (folder / "metadata" / "metadata_1.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(ArchiveError, match="cannot be read as parquet"):
        open_table(folder)
    shutil.rmtree(folder)
    embedded.clip_retrieval(folder, VECTORS, NAMES, parts=1, caption=["x"] * len(NAMES))
    with pytest.raises(ArchiveError, match=r"no column image_path.*it has caption"):
        open_table(folder)
    np.save(folder / "img_emb" / "other_0.npy", VECTORS)
    with pytest.raises(ArchiveError, match="the same number"):
        open_table(folder)


def test_parts_of_two_dimensions_are_refused(tmp_path, photos):
    folder = embedded.clip_retrieval(tmp_path / "laion", VECTORS, NAMES)
    path = folder / "img_emb" / "img_emb_1.npy"
    np.save(path, np.load(path)[:, :4])
    with pytest.raises(ArchiveError, match="has vectors of 4 numbers"):
        open_table(folder)


@pytest.mark.parametrize("what", ["missing", "folder", "text"])
def test_what_has_no_known_form_is_refused(tmp_path, what):
    path = tmp_path / what
    if what == "folder":
        path.mkdir()
    if what == "text":
        path.write_text("x")
    with pytest.raises(ArchiveError):
        open_table(path)


def test_a_list_that_is_missing_is_told(tmp_path):
    np.save(tmp_path / "v.npy", VECTORS)
    with pytest.raises(ArchiveError, match="--paths"):
        open_table(tmp_path / "v.npy")
    with pytest.raises(ArchiveError, match="cannot be read"):
        open_table(tmp_path / "v.npy", paths=tmp_path / "none.txt")


def test_nothing_else_is_mixed_with_an_index(tmp_path, photos):
    (tmp_path / "x.index").mkdir()
    (tmp_path / "x.index" / "diary.txt").write_text("dear")
    with pytest.raises(IndexDamaged, match="holds other files"):
        by_list(tmp_path, photos)


# export


@pytest.mark.parametrize("rows", [1_000_000, 5])
def test_an_export_is_read_back(tmp_path, photos, rows):
    built = Index.build(photos, tmp_path / "built.index", model=Toy(), progress=False)
    files = export_clip_retrieval(built, tmp_path / "out", rows=rows, progress=False)
    assert files == -(-len(NAMES) // rows)
    made = take(open_table(tmp_path / "out", photos=photos), tmp_path / "x.index")
    assert made.index.ids == built.ids
    np.testing.assert_array_equal(
        made.index.vectors(built.ids).astype(np.float16),
        built.vectors(built.ids).astype(np.float16),
    )
    assert made.agreement.normalised
    assert made.unreachable == 0


def test_an_export_has_the_form_that_clip_retrieval_writes(tmp_path, photos):
    built = Index.build(photos, tmp_path / "built.index", model=Toy(), progress=False)
    export_clip_retrieval(built, tmp_path / "out", progress=False)
    vectors = np.load(tmp_path / "out" / "img_emb" / "img_emb_0.npy")
    table = parquet.read_table(tmp_path / "out" / "metadata" / "metadata_0.parquet")
    assert vectors.dtype == np.float16
    assert table.column("image_path").to_pylist() == [str(photos / id) for id in built.ids]
    np.testing.assert_allclose(vectors, built.vectors(built.ids), atol=1e-3)


def test_an_export_writes_over_nothing_and_is_whole_or_not_there(tmp_path, photos, monkeypatch):
    built = Index.build(photos, tmp_path / "built.index", model=Toy(), progress=False)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="nothing is written over"):
        export_clip_retrieval(built, tmp_path / "out", progress=False)
    monkeypatch.setattr(Index, "vectors", _dies_after(2, Index.vectors))
    with pytest.raises(KeyboardInterrupt):
        export_clip_retrieval(built, tmp_path / "new", rows=5, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built.index", "out", "photos"]


def test_an_index_that_changes_during_its_export_is_told(tmp_path, photos, monkeypatch):
    built = Index.build(photos, tmp_path / "built.index", model=Toy(), progress=False)
    embedded.photos(photos, ["red8.png"])
    real = Index.vectors

    def meanwhile(self, ids):
        Index.open(self.path).add(model=Toy(), progress=False)
        return real(self, ids)

    monkeypatch.setattr(Index, "vectors", meanwhile)
    with pytest.raises(RecosegError, match="was changed meanwhile"):
        export_clip_retrieval(built, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_imported_reports_are_plain_values(tmp_path, photos):
    assert isinstance(by_list(tmp_path, photos), importing.Imported)


# tar shards of img2dataset and webdataset


def shards(folder: Path, vectors=VECTORS, names=NAMES, parts: int = 2, **more: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, places in enumerate(np.array_split(np.arange(len(names)), parts)):
        members = {}
        for place in places:
            stream = io.BytesIO()
            np.save(stream, vectors[place])
            key = f"{place:09d}"
            members |= {
                f"{key}.json": b"{}",
                f"{key}.npy": stream.getvalue(),
                f"{key}.png": embedded.encoded(names[place]),
            }
        tar(folder / f"{number:05d}.tar", {**members, **more})
    return folder


@pytest.mark.parametrize("place", ["", "*.tar"])
def test_tar_shards_with_vectors_are_imported(tmp_path, place):
    folder = shards(tmp_path / "tars", more=b"")
    made = take(open_table(folder / place if place else folder), tmp_path / "x.index")
    assert made.agreement.compared == 16
    assert made.unreachable == 0
    assert made.index.ids[0] == "00000.tar/000000000.png"
    built = Index.build(folder, tmp_path / "built.index", model=Toy(), progress=False)
    assert made.index.ids == built.ids
    np.testing.assert_allclose(made.index.vectors(built.ids), built.vectors(built.ids), atol=2e-3)
    assert np.array_equal(made.index.image(built.ids[3]), embedded.picture(NAMES[3]))


def test_a_vector_whose_photo_is_not_in_the_shard_is_beyond_reach(tmp_path):
    stream = io.BytesIO()
    np.save(stream, VECTORS[:1])
    folder = shards(tmp_path / "tars", parts=1, **{"zzz.npy": stream.getvalue()})
    made = take(open_table(folder), tmp_path / "x.index")
    assert made.unreachable == 1
    assert "00000.tar/zzz" in made.index.ids


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (pickle.dumps([1]), "cannot be read as a vector"),
        (b"\x93NUMPY", "cannot be read as a vector"),
        (b"\0" * 2**21, "are too many for one vector"),
    ],
)
def test_members_that_are_no_vectors_are_refused(tmp_path, data, told):
    folder = shards(tmp_path / "tars", **{"zzz.npy": data})
    with pytest.raises(ArchiveError, match=told):
        take(open_table(folder), tmp_path / "x.index")


def test_shards_without_vectors_or_of_two_dimensions_are_told(tmp_path):
    (tmp_path / "plain").mkdir()
    tar(tmp_path / "plain" / "0.tar", {"a.png": embedded.encoded("red0.png")})
    with pytest.raises(ArchiveError, match=r"holds no embeddings .*`recoseg index`"):
        open_table(tmp_path / "plain")
    folder = shards(tmp_path / "tars")
    shards(folder, VECTORS[:, :4], parts=1)
    with pytest.raises(ArchiveError, match="an index holds the vectors of one model"):
        open_table(folder)


# tables of images, as Hugging Face writes them


def table_of(path: Path, vectors=VECTORS, names=NAMES, kind: str = "parquet") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [{"bytes": embedded.encoded(name), "path": name} for name in names]
    data = {"image": pictures, "label": list(range(len(names)))}
    if vectors is not None:
        data["embedding"] = [None if row is None else list(map(float, row)) for row in vectors]
    table = pyarrow.table(data)
    if kind == "parquet":
        parquet.write_table(table, path, row_group_size=5)
    else:  # as datasets.Dataset.save_to_disk writes it
        with (
            pyarrow.OSFile(str(path), "wb") as sink,
            pyarrow.ipc.new_stream(sink, table.schema) as writer,
        ):
            writer.write_table(table, max_chunksize=5)
    return path


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_tables_with_vectors_are_imported(tmp_path, kind):
    table_of(tmp_path / "hf" / "train" / f"data-0.{kind}", kind=kind)
    made = take(open_table(tmp_path / "hf"), tmp_path / "x.index")
    assert made.agreement.compared == 16
    assert made.unreachable == 0
    id = f"train/data-0.{kind}/0000000007"
    assert np.array_equal(Index.open(tmp_path / "x.index").image(id), embedded.picture(NAMES[7]))
    np.testing.assert_allclose(made.index.vectors([id])[0], VECTORS[7], atol=1e-3)
    again = take(open_table(tmp_path / "hf"), tmp_path / "x.index")
    assert again.changes == Changes(unchanged=len(NAMES))


def test_tables_without_vectors_are_an_archive(tmp_path):
    path = table_of(tmp_path / "hf" / "a.parquet", vectors=None)
    archive = open_unembedded(tmp_path / "hf")
    assert open_unembedded(table_of(tmp_path / "b.parquet")) is None
    built = Index.build(archive, tmp_path / "x.index", model=Toy(), progress=False)
    assert len(built) == len(NAMES)
    assert np.array_equal(
        Index.open(built.path).image("a.parquet/0000000003"), embedded.picture(NAMES[3])
    )
    assert Index.open(built.path).add(model=Toy(), progress=False).unchanged == len(NAMES)
    with pytest.raises(ArchiveError, match="holds no embeddings"):
        open_table(path)


def test_rows_without_a_vector_or_an_image_are_told(tmp_path):
    names = [*NAMES]
    path = table_of(tmp_path / "a.parquet", [None, *VECTORS[1:]], names)
    made = take(open_table(path), tmp_path / "x.index")
    assert made.changes == Changes(added=len(NAMES) - 1, skipped=1)
    with pytest.raises(ArchiveError, match="is no row of"):
        made.index.archive.read("a.parquet/0000000099")
    with pytest.raises(ArchiveError, match="does not lie below"):
        made.index.archive.read("../a.parquet/0000000001")


def test_tables_in_disorder_are_refused(tmp_path):
    ragged = [*VECTORS[:-1], VECTORS[-1, :3]]
    with pytest.raises(ArchiveError, match="has a vector of 3 numbers and others have 16"):
        take(open_table(table_of(tmp_path / "a.parquet", ragged)), tmp_path / "x.index")
    (tmp_path / "b.arrow").write_bytes(b"nothing")
    with pytest.raises(ArchiveError, match="cannot be read as a table"):
        open_table(tmp_path / "b.arrow")
    parquet.write_table(pyarrow.table({"v": [[1.0]], "w": [[1.0]]}), tmp_path / "c.parquet")
    with pytest.raises(ArchiveError, match=r"several columns of vectors \(v, w\)|no column of im"):
        open_table(tmp_path / "c.parquet")
