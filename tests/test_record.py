"""The record of a folder of results: what is damaged is made anew, and just that."""

from __future__ import annotations

import json
import random

import pytest

from recoseg.errors import InputError
from recoseg.runs import manifest, record
from tests.test_batch import Result, Segmenter, go, photos, states  # noqa: F401 (fixtures)
from tests.toys import paint

A, B = {"names": ["cat", "grass"]}, {"names": ["sky"]}


def run(photos, out, settings=A, stop=None):  # noqa: F811
    """Segment until ``stop`` images are done; what was seen and the outcomes."""

    class Named(Segmenter):
        def __call__(self, path):
            if stop is not None and len(self.seen) == stop:
                raise KeyboardInterrupt
            result = super().__call__(path)
            result.save = lambda path: save(result, path, settings["names"])
            return result

    return go(photos, out, Named(), settings)


def save(result, path, names):
    Result.save(result, path)
    (path.parent / "names.json").write_text(json.dumps(names))


def test_labels_of_one_list_of_names_never_come_under_another(photos, tmp_path):  # noqa: F811
    """Segmented with A, begun with B and interrupted at the second: B on one photo is refused."""
    out = tmp_path / "out"
    run(photos, out)
    with pytest.raises(KeyboardInterrupt):
        run(photos, out, B, stop=1)
    (tmp_path / "one").mkdir()
    (photos / "a.jpg").rename(tmp_path / "one/a.jpg")
    before = sorted((path, path.read_bytes()) for path in out.rglob("*.*") if path.is_file())
    with pytest.raises(InputError, match="holds other images, cut up by other names; choose"):
        run(tmp_path / "one", out, B)
    assert before == sorted((p, p.read_bytes()) for p in out.rglob("*.*") if p.is_file())
    (tmp_path / "one/a.jpg").rename(photos / "a.jpg")
    _, outcomes = run(photos, out, B)
    assert states(outcomes) == {"a.jpg": "kept", "b.jpg": "done", "deep/c.jpg": "done"}
    (photos / "b.jpg").unlink()
    assert states(run(photos, out, B)[1]) == {"a.jpg": "kept", "deep/c.jpg": "kept"}


@pytest.mark.parametrize("kind", ["labels/a.png", "overlays/deep/c.jpg", "labels/b.png"])
@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "gone"])
def test_damaged_results_are_made_anew_and_no_others(photos, tmp_path, kind, harm):  # noqa: F811
    out = tmp_path / "out"
    run(photos, out)
    before = {path: path.read_bytes() for path in out.rglob("*.[pj][np]g")}
    damage(out / kind, harm)
    segmenter, outcomes = run(photos, out)
    assert len(segmenter.seen) == 1
    assert sorted(states(outcomes).values()) == ["done", "kept", "kept"]
    assert before == {path: path.read_bytes() for path in out.rglob("*.[pj][np]g")}


def damage(path, harm, place=40):
    data = bytearray(path.read_bytes())
    path.unlink()
    if harm == "flip":
        data[min(place, len(data) - 1)] ^= 4
    elif harm != "gone":
        del data[0 if harm == "empty" else len(data) // 2 :]
    if harm != "gone":
        path.write_bytes(data)


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "gone"])
def test_the_meaning_of_labels_is_mended_without_segmenting(photos, tmp_path, harm):  # noqa: F811
    out = tmp_path / "out"
    run(photos, out)
    for name in ("labels/names.json", "labels/deep/names.json"):
        damage(out / name, harm, place=3)
    segmenter, _ = run(photos, out)
    assert segmenter.seen == []
    for name in ("labels/names.json", "labels/deep/names.json"):
        assert json.loads((out / name).read_text()) == A["names"]


def test_a_damaged_manifest_is_replaced_and_only_what_it_hides_is_made_anew(
    photos,  # noqa: F811
    tmp_path,
):
    out = tmp_path / "out"
    run(photos, out)
    whole = (out / "manifest.json").read_bytes()
    dice = random.Random(0)
    for number in range(60):
        data = bytearray(whole)
        place = dice.randrange(len(data))
        if number % 3 == 2:
            del data[place:]
        else:
            data[place : place + 1 + 8 * (number % 3)] = bytes(1 + 8 * (number % 3))
        (out / "manifest.json").write_bytes(data)
        with pytest.raises(InputError, match="is damaged; run `recoseg segment` again"):
            manifest.read(out)
        segmenter, outcomes = run(photos, out)
        assert segmenter.seen == []
        assert set(states(outcomes).values()) == {"kept"}
        assert (out / "manifest.json").read_bytes() == whole


def test_without_any_record_of_them_label_maps_must_all_be_made_again(photos, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    run(photos, out)
    (out / "manifest.json").write_text('{\n "format": "recoseg-segmentation/1", oh')
    (out / manifest.BACKUP).write_text("{")
    (photos / "a.jpg").rename(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"is damaged, and .*a\.png is of an image that was not"):
        run(photos, out)
    (tmp_path / "a.jpg").rename(photos / "a.jpg")
    assert set(states(run(photos, out)[1]).values()) == {"done"}
    assert set(states(run(photos, out)[1]).values()) == {"kept"}


def test_what_an_older_version_recorded_is_kept_if_it_can_be_read(photos, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    run(photos, out)
    data = json.loads((out / "manifest.json").read_text())
    for name in ("digest", "tables", "others"):
        del data[name]
    for entry in data["images"].values():
        del entry["digests"]
    (out / "manifest.json").write_text(json.dumps(data))
    damage(out / "labels/b.png", "cut")
    segmenter, outcomes = run(photos, out)
    assert segmenter.seen == ["b.jpg"]
    assert states(outcomes)["a.jpg"] == "kept"
    assert "digests" in json.loads((out / "manifest.json").read_text())["images"]["a.jpg"]


@pytest.mark.parametrize(
    "entry",
    [
        {},
        5,
        {"sha256": "", "labels": "../x.png", "overlay": "", "area": {}},
        {"sha256": "", "labels": "/x.png", "overlay": "", "area": {}},
        {"sha256": "", "labels": "x.png", "overlay": None, "area": {}},
        {"sha256": "", "labels": "x.png", "overlay": "", "area": []},
    ],
)
def test_an_entry_without_all_it_needs_is_damage(photos, tmp_path, entry):  # noqa: F811
    data = {"format": manifest.FORMAT, "images": {"a.jpg": entry}}
    (tmp_path / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="is damaged; run `recoseg segment` again"):
        manifest.read(tmp_path)


def test_a_deeply_nested_manifest_is_no_unexpected_error(tmp_path):
    (tmp_path / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="is not a record"):
        manifest.read(tmp_path)


def test_a_newer_manifest_is_not_overwritten(photos, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    run(photos, out)
    newer = (out / "manifest.json").read_text().replace("segmentation/1", "segmentation/2")
    (out / "manifest.json").write_text(newer)
    (out / manifest.BACKUP).write_text(newer)
    with pytest.raises(InputError, match="choose another folder"):
        run(photos, out)
    assert (out / "manifest.json").read_text() == newer


def test_a_photo_that_changes_while_it_is_read_is_read_again(photos, tmp_path):  # noqa: F811
    colours = iter(["green", "blue"])

    class Restless(Segmenter):
        def __call__(self, path):
            result = super().__call__(path)
            if path.name == "a.jpg" and (colour := next(colours, None)):
                paint(path, colour)
            return result

    segmenter, outcomes = go(photos, tmp_path / "out", Restless())
    assert segmenter.seen.count("a.jpg") == 3
    assert states(outcomes)["a.jpg"] == "done"
    assert states(go(photos, tmp_path / "out")[1])["a.jpg"] == "kept"


def test_a_photo_that_never_rests_fails_alone(photos, tmp_path):  # noqa: F811
    class Restless(Segmenter):
        def __call__(self, path):
            if path.name == "a.jpg":
                paint(path, "red", size=70 + 2 * len(self.seen))
            return super().__call__(path)

    _, outcomes = go(photos, tmp_path / "out", Restless())
    assert states(outcomes) == {"a.jpg": "failed", "b.jpg": "done", "deep/c.jpg": "done"}
    assert "changes while it is read" in outcomes["a.jpg"].reason


def test_a_large_manifest_is_written_less_often(photos, tmp_path, monkeypatch):  # noqa: F811
    written = []
    clock = iter(range(10_000))
    monkeypatch.setattr(record, "write", lambda *_: written.append(0))
    monkeypatch.setattr(record.time, "monotonic", lambda: next(clock))
    one = record.Record(tmp_path, {})
    for _ in range(300):
        one.save_now_and_then()
    # Each write takes a second of this clock, and each look at it one.
    assert 20 < len(written) < 40
