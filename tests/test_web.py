"""Every route of the server: what it gives, and the one sentence when it cannot."""

from __future__ import annotations

import importlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg import exporting
from recoseg.concepts.bank import ConceptBank
from recoseg.drawing import palette
from recoseg.errors import RecosegError
from recoseg.segmenting.scoremaps import ScoreMaps
from recoseg.web.banks import GROUPS
from recoseg.web.encodings import Encodings
from recoseg.web.segmenters import SegmentRequest
from recoseg.web.service import Service
from recoseg.web.settings import ServerSettings
from recoseg.web.worker import Cancelled
from tests import pupils
from tests.test_cli import paint_all, run
from tests.toys import COLOURS, Toy, paint
from tests.webs import (
    done,
    over,
    preview,
    sentence,
    serving,
    toys,  # noqa: F401
    upload,
)


def picture(response):
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(response.content))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Photos below a root, and a bank made on the command line."""
    folder = tmp_path_factory.mktemp("served")
    photos = paint_all(folder / "root" / "photos")
    run("index", photos, folder / "given.index", "-q")
    words = ("red", "yellow", "--index", folder / "given.index", "-q")
    run("concept", "build", folder / "two.bank", *words)
    return folder


@pytest.fixture(scope="module")
def client(home):
    given = {"banks": (home / "two.bank",), "indexes": (home / "given.index",)}
    with serving(home, **given) as client:
        yield client


@pytest.fixture(scope="module")
def two(client):
    """Id of the bank of red and yellow."""
    return next(row["id"] for row in client.get("/api/banks").json() if row["name"] == "two")


@pytest.fixture(scope="module")
def index(client):
    """Id of the index given at the start."""
    return client.get("/api/indexes").json()[0]["id"]


@pytest.fixture(scope="module")
def photo(home):
    return paint(home / "look.png", "yellow", "red").read_bytes()


@pytest.fixture(scope="module")
def result(client, two, photo):
    return done(client, upload(client, photo, bank=two, temperature="0.05", refine="false"))


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "python_multipart", "prometheus_client"])
def test_without_the_extra_one_sentence_says_how_to_get_it(monkeypatch, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == package else find(name, *a)
    )
    import recoseg.web

    with pytest.raises(RecosegError, match=r"pip install 'recoseg\[web\]'\.$"):
        importlib.reload(recoseg.web)


def test_health_says_who_is_there(client):
    health = client.get("/api/health").json()
    assert health["status"] == "ok"
    assert (health["bound"], health["max_bytes"], health["max_pixels"]) == (16, 2**25, 50_000_000)
    assert health["waiting"] == 0


def test_the_banks_are_listed_with_their_concepts(client, two):
    shipped, mine = client.get("/api/banks").json()
    assert (shipped["id"], shipped["shipped"], shipped["calibrated"]) == ("everyday", True, True)
    assert shipped["temperature"] == ConceptBank.everyday().recipe.crf.temperature
    assert [c["name"] for c in shipped["concepts"]] == list(ConceptBank.everyday().names)
    assert (mine["id"], mine["shipped"], mine["calibrated"]) == (two, False, False)
    colours = palette.colours(2).tolist()
    assert [(c["name"], c["words"], c["colour"]) for c in mine["concepts"]] == [
        (name, [name], "#{:02x}{:02x}{:02x}".format(*colour))
        for name, colour in zip(["red", "yellow"], colours, strict=True)
    ]


def test_every_everyday_concept_is_in_one_group(client, two):
    table = json.loads(GROUPS.read_text())
    named = [name for names in table.values() for name in names]
    assert sorted(named) == sorted(ConceptBank.everyday().names)
    rows = {row["id"]: row["concepts"] for row in client.get("/api/banks").json()}
    assert {row["name"]: row["group"] for row in rows["everyday"]}["cat"] == "Land animals"
    assert {row["group"] for row in rows[two]} == {""}


def test_a_bank_is_handed_out_as_it_lies_on_disk(client, two, home):
    answer = client.get(f"/api/banks/{two}/file")
    assert answer.content == (home / "two.bank").read_bytes()
    assert "two.bank" in answer.headers["content-disposition"]


def test_a_photo_is_segmented_as_on_the_command_line(client, result, home, photo):
    run(
        *("segment", home / "look.png", "--bank", home / "two.bank", "--out", home / "seen"),
        *("--no-refine", "--temperature", "0.05", "-q"),
    )
    theirs = np.asarray(Image.open(home / "seen" / "labels" / "look.png"))
    mine = picture(client.get(f"/api/results/{result['id']}/labels.png"))
    assert mine.mode == "P"
    assert (np.asarray(mine) == theirs).all()
    assert mine.getpalette()[:6] == palette.colours(2).ravel().tolist()
    shares = [float((theirs == i).mean()) for i in range(2)]
    assert [row["area"] for row in result["classes"]] == pytest.approx(shares)
    assert (result["width"], result["height"], result["unknown_index"]) == (64, 64, None)


def test_plain_labels_are_the_indices_in_grey(client, result):
    grey = picture(client.get(f"/api/results/{result['id']}/labels.png?plain=true"))
    indexed = picture(client.get(f"/api/results/{result['id']}/labels.png"))
    assert grey.mode == "L"
    assert (np.asarray(grey) == np.asarray(indexed)).all()


def test_confidence_is_grey_and_its_means_are_those_told(client, result):
    levels = np.asarray(picture(client.get(f"/api/results/{result['id']}/confidence.png")))
    labels = np.asarray(picture(client.get(f"/api/results/{result['id']}/labels.png")))
    for row in result["classes"]:
        mine = levels[labels == row["index"]] / 255
        expected = mine.mean() if mine.size else 0.0
        assert row["confidence"] == pytest.approx(expected, abs=0.5 / 255)


def test_the_overlay_fades_from_photo_to_colours(client, result):
    address = f"/api/results/{result['id']}/overlay.png?opacity="
    none, full = (np.asarray(picture(client.get(address + o)), int) for o in ("0", "1"))
    original = np.asarray(picture(client.get(f"/api/results/{result['id']}/photo.jpg")), int)
    assert (none == original).all()
    labels = np.asarray(picture(client.get(f"/api/results/{result['id']}/labels.png")))
    inside = labels[8, 8]
    assert full[8, 8].tolist() == palette.colours(2)[inside].tolist()
    assert "opacity" in sentence(client.get(address + "2"), 422)


@pytest.mark.parametrize("format", exporting.FORMATS)
def test_a_result_is_handed_out_for_other_tools(client, result, format):
    answer = client.get(f"/api/results/{result['id']}/export/{format}")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        told = json.loads(archive.read("recoseg.json"))
    assert (told["format"], told["images"]) == (format, 1)


def test_coco_of_a_result_is_its_label_map(client, result):
    answer = client.get(f"/api/results/{result['id']}/export/coco-rle")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".json") and "recoseg" not in n)
        coco = json.loads(archive.read(name))
    labels = np.asarray(picture(client.get(f"/api/results/{result['id']}/labels.png")))
    names = {row["id"]: row["name"] for row in coco["categories"]}
    areas = {names[row["category_id"]]: row["area"] for row in coco["annotations"]}
    expected = {row["name"]: int((labels == row["index"]).sum()) for row in result["classes"]}
    assert areas == {name: area for name, area in expected.items() if area}


def test_an_unknown_format_or_result_is_told(client, result):
    wrong = client.get(f"/api/results/{result['id']}/export/jpeg2000")
    assert "coco-rle" in sentence(wrong, 400)
    assert "again" in sentence(client.get("/api/results/0123456789abcdef/export/voc"), 404)


def test_a_result_can_be_read_again_and_forgotten(client, two, photo):
    made = done(client, upload(client, photo, bank=two))
    assert client.get(f"/api/results/{made['id']}/result.json").json() == made
    assert client.delete(f"/api/results/{made['id']}").status_code == 204
    assert "again" in sentence(client.get(f"/api/results/{made['id']}/labels.png"), 404)
    sentence(client.delete(f"/api/results/{made['id']}"), 404)


def test_concepts_choose_the_classes_and_their_order(client, two, photo):
    made = done(client, upload(client, photo, bank=two, concepts=["yellow"]))
    assert [row["name"] for row in made["classes"]] == ["yellow"]
    assert made["classes"][0]["area"] == 1.0


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"bank": "nonsense"}, 404, "bank"),
        ({"concepts": ["pink"]}, 404, "pink"),
        ({"concepts": "red"}, 422, "JSON"),
        ({"concepts": '{"red": 1}'}, 422, "JSON"),
        ({"concepts": "[" * 100_000}, 422, "JSON"),
        ({"temperature": "0"}, 422, "temperature"),
        ({"temperature": "nan"}, 422, "temperature"),
        ({"refine": "perhaps"}, 422, "refine"),
        ({"unknown": "true"}, 400, "calibrate"),
        ({"strictness": "0.9"}, 400, "calibrate"),
        ({"strictness": "0.3"}, 422, "strictness"),
        ({"strength": "-1"}, 422, "strength"),
        ({"strength": "inf"}, 422, "strength"),
    ],
)
def test_a_wrong_field_is_told_at_once(client, two, photo, fields, status, words):
    assert words in sentence(upload(client, photo, **{"bank": two, **fields}), status)


def labels_of(client, made):
    return np.asarray(picture(client.get(f"/api/results/{made['id']}/labels.png")))


def test_a_crf_of_no_strength_is_none(client, two, photo):
    options = {"bank": two, "temperature": "0.5"}
    weak = done(client, upload(client, photo, strength="0", **options))
    none = done(client, upload(client, photo, refine="false", **options))
    usual = done(client, upload(client, photo, **options))
    confidence = [[row["confidence"] for row in made["classes"]] for made in (weak, none)]
    assert confidence[0] == pytest.approx(confidence[1], abs=1e-5)
    np.testing.assert_array_equal(labels_of(client, weak), labels_of(client, none))
    # Confidence is of the scores, so that a CRF shows in the labels alone.
    assert (labels_of(client, weak) != labels_of(client, usual)).any()


def test_other_settings_need_no_models(client, two, photo, monkeypatch):
    first = {"bank": two, "concepts": ["red", "yellow"], "strength": "2"}
    done(client, upload(client, photo, **first))

    def never(*_):
        raise RuntimeError("the models were asked again")

    monkeypatch.setattr(Toy, "features", never)
    seen = done(client, upload(client, photo, **{**first, "strength": "0", "temperature": "0.3"}))
    assert {row["name"] for row in seen["classes"]} == {"red", "yellow"}
    failed = over(client, upload(client, photo, bank=two, concepts=["red"]))
    assert failed["state"] == "failed"


def test_segmenting_is_ended_between_two_steps_and_leaves_nothing(tmp_path, home, photo):
    service = Service.start(ServerSettings(banks=(home / "two.bank",), state=tmp_path / "state"))
    bank = service.shelf.entries()[1].id
    seen = []

    def step(done, total):
        seen.append((done, total))
        if done == 2:
            raise Cancelled

    try:
        with pytest.raises(Cancelled):
            service.results.make(photo, "look.png", SegmentRequest(bank), step)
        assert [done for done, _ in seen] == [0, 1, 2]
        assert seen[-1][1] > 2
        assert not list((Path(service.temporary.name)).rglob("*.png"))
    finally:
        service.close()


def test_encodings_are_kept_by_their_bytes_and_the_last_whatever_its_size():
    kept, made = Encodings(most=100), []

    def maps(key, size):
        grid = torch.zeros(size, dtype=torch.uint8)
        return kept.of(key, lambda: made.append(key) or ScoreMaps(grid, None))

    for key, size in (("a", 60), ("b", 40), ("a", 60), ("c", 40), ("b", 40)):
        assert maps(key, size).count == size
    assert made == ["a", "b", "c", "b"]  # c took the place of b, which was used longest ago
    assert maps("large", 1000).count == 1000
    assert maps("large", 1000).count == 1000
    assert made[-1] == "large"
    assert made.count("large") == 1


def test_a_request_without_an_image_is_told(client):
    assert "image" in sentence(client.post("/api/segment", data={"bank": "everyday"}), 422)


def test_roots_are_walked_one_folder_at_a_time(client, home):
    (root,) = client.get("/api/roots").json()
    top = client.get(f"/api/roots/{root['id']}/folders").json()
    assert top == {"path": "", "folders": ["photos"], "photos": 0}
    below = client.get(f"/api/roots/{root['id']}/folders", params={"path": "photos"}).json()
    assert below == {"path": "photos", "folders": ["deep"], "photos": 5}
    sentence(client.get("/api/roots/r9/folders"), 404)
    sentence(client.get(f"/api/roots/{root['id']}/folders?path=absent"), 404)


def test_search_and_thumbnails(client, index):
    found = client.post("/api/search", json={"index": index, "query": "yellow", "count": 2}).json()
    assert len(found["hits"]) == 2
    assert found["hits"][0]["score"] >= found["hits"][1]["score"]
    answer = client.get(f"/api/indexes/{index}/photos/deep%2Fred3.png/thumb.jpg?size=32")
    assert picture(answer).size == (32, 32)
    sentence(client.get(f"/api/indexes/{index}/photos/absent.png/thumb.jpg"), 404)
    sentence(client.get(f"/api/indexes/{index}/photos/red1.png/thumb.jpg?size=99999"), 422)
    sentence(client.get("/api/indexes/none/photos/red1.png/thumb.jpg"), 404)
    sentence(client.post("/api/search", json={"index": "none", "query": "red"}), 404)
    sentence(client.post("/api/search", json={"index": index, "query": "red", "count": 0}), 422)


def test_a_folder_is_indexed_and_followed(client, home):
    folder = home / "root" / "growing"
    paint(folder / "one.png", "red")
    order = {"root": "r0", "path": "growing", "name": "mine"}
    first = client.post("/api/indexes", json=order)
    assert done(client, first) == {"index": first.json()["index"], "photos": 1, "skipped": 0}
    paint(folder / "two.png", "blue")
    again = client.post("/api/indexes", json=order)
    assert again.json()["index"] == first.json()["index"]
    assert done(client, again)["photos"] == 2
    row = next(r for r in client.get("/api/indexes").json() if r["id"] == again.json()["index"])
    assert (row["name"], row["photos"], row["state"]) == ("mine", 2, "ready")
    assert (row["root"], row["folder"], row["model"]) == ("r0", "growing", "toy")


@pytest.mark.parametrize("note", ["", "{", "[]", '{"name": "x"}', '{"strange": 1}'])
def test_a_damaged_note_hides_its_index_alone_and_is_mended(client, home, index, note):
    paint(home / "root" / "noted" / "one.png", "red")
    order = {"root": "r0", "path": "noted"}
    id = done(client, client.post("/api/indexes", json=order))["index"]
    (home / "state" / "indexes" / f"{id}.json").write_text(note)
    rows = [row["id"] for row in client.get("/api/indexes").json()]
    assert index in rows
    assert id not in rows
    assert done(client, client.post("/api/indexes", json=order))["index"] == id
    assert id in [row["id"] for row in client.get("/api/indexes").json()]


def test_an_empty_folder_fails_with_a_sentence(client, home):
    (home / "root" / "void").mkdir()
    row = over(client, client.post("/api/indexes", json={"root": "r0", "path": "void"}))
    assert row["state"] == "failed"
    assert "holds no image" in row["error"]


def test_a_damaged_bank_hides_itself_alone(client, home, two):
    bad = home / "state" / "banks" / "bad.bank"
    bad.parent.mkdir(parents=True, exist_ok=True)
    bad.write_bytes(b"nonsense")
    names = [row["name"] for row in client.get("/api/banks").json()]
    bad.unlink()
    assert "two" in names
    assert "bad" not in names


def test_a_draft_shows_its_photos_and_is_saved(client, index, home):
    made = done(client, preview(client, ["red", "crimson"], index=index))
    assert made["name"] == "red"
    assert made["warnings"]
    shown = made["photos"][0]
    assert not shown["example"]
    assert all(0 <= place <= 1 for place in shown["seed"])
    base = f"/api/drafts/{made['draft']}/photos/{shown['photo'].replace('/', '%2F')}"
    heat = picture(client.get(f"{base}/heat.png?size=64"))
    assert (heat.mode, heat.size) == ("RGBA", (64, 64))
    assert heat.getextrema()[3][1] > 0
    assert picture(client.get(f"{base}/photo.jpg?size=48")).size == (48, 48)
    order = {"bank": "drafted", "name": "deep red"}
    saved = client.post(f"/api/drafts/{made['draft']}/save", json=order).json()
    bank = ConceptBank.open(home / "state" / "banks" / "drafted.bank")
    assert bank.names == ("deep red",)
    assert bank["deep red"].aliases == ("red", "crimson")
    assert bank["deep red"].evidence.concept == "deep red"
    again = client.post(f"/api/drafts/{made['draft']}/save", json=order)
    assert "already" in sentence(again, 409)
    order["replace"] = True
    assert client.post(f"/api/drafts/{made['draft']}/save", json=order).json() == saved
    assert client.delete(f"/api/banks/{saved['bank']}/concepts/deep%20red").status_code == 204
    assert not (home / "state" / "banks" / "drafted.bank").exists()


def test_excluded_photos_and_earlier_examples_are_respected(client, index, tmp_path):
    given = [
        ("a.png", paint(tmp_path / "a.png", "white", "yellow").read_bytes()),
        ("b.png", paint(tmp_path / "b.png", "black", "yellow").read_bytes()),
    ]
    first = done(client, preview(client, ["yellow"], given, index=index))
    examples = [p for p in first["photos"] if p["example"]]
    assert [p["name"] for p in examples] == ["a.png", "b.png"]
    found = [p["photo"] for p in first["photos"] if not p["example"]]
    leave = [examples[0]["photo"], found[0]]
    second = done(
        client, preview(client, ["yellow"], index=index, draft=first["draft"], exclude=leave)
    )
    assert [p["name"] for p in second["photos"] if p["example"]] == ["b.png"]
    assert found[0] not in [p["photo"] for p in second["photos"]]
    third = done(
        client, preview(client, ["yellow"], index=index, draft=second["draft"], exclude=leave)
    )
    assert [p["photo"] for p in third["photos"]] == [p["photo"] for p in second["photos"]]


def test_examples_alone_need_no_index(client, two, tmp_path):
    given = [("a.png", paint(tmp_path / "a.png", "blue").read_bytes())]
    row = over(client, preview(client, ["bollard"], given))
    # The first bank is the shipped one, whose models are not the toy.
    assert row["state"] == "failed"
    assert "model" in row["error"]


def test_k_is_the_number_of_photos(client, index, two):
    made = done(client, preview(client, ["green"], index=index, k="2"))
    assert len(made["photos"]) == 2
    saved = client.post(f"/api/drafts/{made['draft']}/save", json={"bank": two, "name": "green"})
    assert saved.json() == {"bank": two, "concept": "green"}
    assert client.delete(f"/api/banks/{two}/concepts/green").status_code == 204


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"words": []}, 422),
        ({"words": [" "]}, 422),
        ({"words": ["red"], "index": "none"}, 404),
        ({"words": ["red"], "index": ""}, 422),
        ({"words": ["red"], "k": "0"}, 422),
        ({"words": ["red"], "draft": "none"}, 404),
        ({"words": ["red"], "exclude": "nothing"}, 422),
    ],
)
def test_a_draft_that_cannot_be_built_is_refused(client, index, fields, status):
    sentence(preview(client, fields.pop("words"), **{"index": index, **fields}), status)


def test_a_draft_that_is_not_there(client):
    sentence(client.get("/api/drafts/none/photos/red1.png/heat.png"), 404)
    sentence(client.get("/api/drafts/none/photos/red1.png/photo.jpg"), 404)
    sentence(client.post("/api/drafts/none/save", json={"bank": "x", "name": "y"}), 404)


def test_the_shipped_bank_is_never_changed(client, index):
    assert "never" in sentence(client.delete("/api/banks/everyday/concepts/sky"), 409)
    made = done(client, preview(client, ["red"], index=index))
    order = {"bank": "everyday", "name": "red"}
    assert "never" in sentence(client.post(f"/api/drafts/{made['draft']}/save", json=order), 409)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", ".hidden", "a/b", "x" * 61, "a\x00b"])
def test_a_new_bank_needs_a_plain_name(client, index, home, name):
    made = done(client, preview(client, ["red"], index=index))
    before = sorted(home.rglob("*.bank"))
    order = {"bank": name, "name": "red"}
    sentence(client.post(f"/api/drafts/{made['draft']}/save", json=order), 422)
    assert sorted(home.rglob("*.bank")) == before


def test_calibration_makes_unknown_possible(client, index, photo):
    made = done(client, preview(client, ["red"], index=index))
    saved = client.post(f"/api/drafts/{made['draft']}/save", json={"bank": "cal", "name": "red"})
    bank = saved.json()["bank"]
    sentence(upload(client, photo, bank=bank, unknown="true"), 400)
    done(client, client.post(f"/api/banks/{bank}/calibrate", data={"index": index}))
    row = next(r for r in client.get("/api/banks").json() if r["id"] == bank)
    assert row["calibrated"]
    seen = done(client, upload(client, photo, bank=bank, unknown="true"))
    assert [c["name"] for c in seen["classes"]] == ["red", "unknown"]
    assert seen["unknown_index"] == 1
    results = [
        done(client, upload(client, photo, bank=bank, strictness=s, refine="false"))
        for s in ("0.5", "0.99")
    ]
    loose, strict = (result["classes"][1] for result in results)
    assert [g["name"] for g in results[1]["guesses"]] == ["red"]
    assert results[1]["guesses"][0]["area"] == strict["area"]
    assert (loose["name"], strict["name"]) == ("unknown", "unknown")
    assert loose["area"] < strict["area"]
    assert client.delete(f"/api/banks/{bank}/concepts/red").status_code == 204


def test_an_example_is_learnt_as_from_a_file(client, index, home, tmp_path):
    file = Path(paint(tmp_path / "wide.png", "white", "blue", size=90))
    Image.open(file).resize((150, 90)).save(file)
    made = done(client, preview(client, ["blue"], [("wide.png", file.read_bytes())], index=index))
    order = {"bank": "learnt", "name": "blue"}
    bank = client.post(f"/api/drafts/{made['draft']}/save", json=order).json()["bank"]
    words = ("concept", "build", tmp_path / "cli.bank", "blue", "--examples", f"blue={file}")
    run(*words, "--index", home / "given.index", "-q")
    mine = ConceptBank.open(home / "state" / "banks" / "learnt.bank")["blue"]
    theirs = ConceptBank.open(tmp_path / "cli.bank")["blue"]
    assert float(mine.reference @ theirs.reference) > 0.999
    assert [s.x for s in mine.evidence.seeds] == [s.x for s in theirs.evidence.seeds]
    assert client.delete(f"/api/banks/{bank}/concepts/blue").status_code == 204


def test_jobs_are_listed_newest_first(client, two, photo):
    made = upload(client, photo, bank=two)
    over(client, made)
    rows = client.get("/api/jobs").json()
    assert rows[0]["id"] == made.json()["job"]
    assert rows[0]["kind"] == "segment"
    sentence(client.get("/api/jobs/none"), 404)
    sentence(client.delete("/api/jobs/none"), 404)


def test_a_student_is_offered_beside_the_banks(tmp_path):
    pupil = pupils.student()
    pupil.save(tmp_path / "pupil.safetensors")
    data = paint(tmp_path / "look.png", "blue", "red").read_bytes()
    with serving(tmp_path, student=tmp_path / "pupil.safetensors") as client:
        row = client.get("/api/banks").json()[-1]
        assert (row["id"], [c["name"] for c in row["concepts"]]) == ("student", list(pupil.names))
        chosen = {"bank": "student", "concepts": ["blue", "red"], "refine": "false"}
        seen = done(client, upload(client, data, **chosen))
        labels = picture(client.get(f"/api/results/{seen['id']}/labels.png"))
        expected = pupil(data, concepts=["blue", "red"])
        assert (np.asarray(labels) == expected.labels).all()
        for wrong in (
            {"unknown": "true"},
            {"temperature": "0.1"},
            {"strength": "2"},
            {"strictness": "0.9"},
        ):
            sentence(upload(client, data, **{**chosen, **wrong}), 400)
        sentence(client.get("/api/banks/student/file"), 404)


def test_metrics_count_requests_by_route(client):
    def counted():
        lines = client.get("/api/metrics").text.splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))

    key = 'recoseg_requests_total{method="GET",route="/api/health",status="200"}'
    before = float(counted().get(key, 0))
    client.get("/api/health")
    client.get("/api/strange/address")
    after = counted()
    assert float(after[key]) == before + 1
    assert float(after['recoseg_request_seconds_count{route="/api/health"}']) >= before + 1
    assert float(after["recoseg_jobs_waiting_bound"]) == 16
    assert float(after['recoseg_jobs_remembered{state="failed"}']) >= 0
    assert not any("strange" in name for name in after)
    assert float(after["process_resident_memory_bytes"]) > 2**20


def test_the_page_and_its_parts_are_served(client):
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    script = client.get("/static/main.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "no-cache" in script.headers["cache-control"]


def test_an_unknown_address_and_method_are_told(client):
    sentence(client.get("/api/absent"), 404)
    sentence(client.get("/static/absent.js"), 404)
    sentence(client.put("/api/health"), 405)
    sentence(
        client.post("/api/search", content=b"{", headers={"content-type": "application/json"}), 422
    )


def test_the_colours_of_the_toy_are_told_apart(client, index, tmp_path):
    """The whole way: index, learn two colours, and find them in a photo that has both."""
    for name in ("red", "blue"):
        shown = [
            (f"{i}.png", paint(tmp_path / f"{name}{i}.png", name).read_bytes()) for i in (1, 2)
        ]
        made = done(client, preview(client, [name], shown, index=index, k="1"))
        order = {"bank": "colours", "name": name}
        bank = client.post(f"/api/drafts/{made['draft']}/save", json=order).json()["bank"]
    pixels = np.full((64, 64, 3), COLOURS["red"], np.uint8)
    pixels[:, 32:] = COLOURS["blue"]
    Image.fromarray(pixels).save(tmp_path / "both.png")
    fields = {"bank": bank, "refine": "false", "temperature": "0.01"}
    seen = done(client, upload(client, (tmp_path / "both.png").read_bytes(), **fields))
    assert {row["name"]: row["area"] for row in seen["classes"]} == pytest.approx(
        {"red": 0.5, "blue": 0.5}, abs=0.1
    )
