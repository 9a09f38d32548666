from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from recoseg.concepts.bank import ConceptBank
from recoseg.concepts.concept import STRICTNESSES
from recoseg.errors import InputError, Locked
from recoseg.io import images, locks
from recoseg.models.registry import Models
from recoseg.recipe import LITE
from recoseg.runs import batch
from recoseg.runs.inputs import gather
from tests.toys import Toy, paint


class Result:
    """A stand-in for Segmentation: everything is ``red``."""

    def __init__(self, pixels):
        self.pixels = pixels
        self.area = {"sky": 0.25, "red": 0.75}

    def save(self, path):
        Image.fromarray(np.zeros(self.pixels.shape[:2], dtype=np.uint8)).save(path)

    def overlay(self):
        return Image.fromarray(self.pixels)


class Segmenter:
    def __init__(self):
        self.seen = []

    def __call__(self, path):
        self.seen.append(path.name)
        return Result(images.read(path))


@pytest.fixture
def photos(tmp_path):
    for name in ("a.jpg", "b.jpg", "deep/c.jpg"):
        paint(tmp_path / "photos" / name, "red")
    return tmp_path / "photos"


def go(photos, out, segmenter=None, settings=None):
    segmenter = segmenter or Segmenter()
    outcomes = list(
        batch.run(gather([photos]), segmenter, out, settings or {"bank": 1}, progress=False)
    )
    return segmenter, {outcome.id: outcome for outcome in outcomes}


def states(outcomes):
    return {name: outcome.state for name, outcome in outcomes.items()}


def test_results_mirror_the_folder(photos, tmp_path):
    _, outcomes = go(photos, tmp_path / "out")
    assert states(outcomes) == {"a.jpg": "done", "b.jpg": "done", "deep/c.jpg": "done"}
    assert outcomes["deep/c.jpg"].labels == tmp_path / "out/labels/deep/c.png"
    for outcome in outcomes.values():
        for path in (outcome.labels, outcome.overlay):
            assert images.read(path).shape == (64, 64, 3)


def test_areas_are_largest_first_and_said_in_words(photos, tmp_path):
    _, outcomes = go(photos, tmp_path / "out")
    assert list(outcomes["a.jpg"].area) == ["red", "sky"]
    assert outcomes["a.jpg"].summary() == "red 75%, sky 25%"


def test_what_is_there_is_kept_word_for_word(photos, tmp_path):
    _, first = go(photos, tmp_path / "out")
    segmenter, second = go(photos, tmp_path / "out")
    assert segmenter.seen == []
    assert set(states(second).values()) == {"kept"}
    assert [o.to_dict() | {"state": ""} for o in first.values()] == [
        o.to_dict() | {"state": ""} for o in second.values()
    ]


def test_only_new_changed_and_lost_images_are_done_again(photos, tmp_path):
    _, first = go(photos, tmp_path / "out")
    paint(photos / "a.jpg", "blue")
    paint(photos / "new.jpg", "green")
    first["deep/c.jpg"].overlay.unlink()
    segmenter, _ = go(photos, tmp_path / "out")
    assert segmenter.seen == ["a.jpg", "c.jpg", "new.jpg"]


@pytest.mark.parametrize("settings", [{"bank": 2}, {"bank": 1, "unknown": True}])
def test_other_settings_do_everything_again(photos, tmp_path, settings):
    go(photos, tmp_path / "out")
    segmenter, _ = go(photos, tmp_path / "out", settings=settings)
    assert len(segmenter.seen) == 3


def test_an_unreadable_image_fails_alone_and_is_tried_again(photos, tmp_path):
    (photos / "b.jpg").write_bytes(b"no image")
    _, outcomes = go(photos, tmp_path / "out")
    assert states(outcomes) == {"a.jpg": "done", "b.jpg": "failed", "deep/c.jpg": "done"}
    assert "b.jpg cannot be read as an image" in outcomes["b.jpg"].reason
    paint(photos / "b.jpg", "red")
    segmenter, outcomes = go(photos, tmp_path / "out")
    assert segmenter.seen == ["b.jpg"]
    assert outcomes["b.jpg"].state == "done"


def test_an_interrupted_run_goes_on_where_it_stopped(photos, tmp_path):
    class Interrupted(Segmenter):
        def __call__(self, path):
            if len(self.seen) == 2:
                raise KeyboardInterrupt
            return super().__call__(path)

    with pytest.raises(KeyboardInterrupt):
        go(photos, tmp_path / "out", Interrupted())
    segmenter, _ = go(photos, tmp_path / "out")
    assert segmenter.seen == ["c.jpg"]


def test_a_caller_that_stops_listening_loses_nothing(photos, tmp_path):
    run = batch.run(gather([photos]), Segmenter(), tmp_path / "out", {"bank": 1}, progress=False)
    next(run)
    run.close()
    segmenter, _ = go(photos, tmp_path / "out")
    assert segmenter.seen == ["b.jpg", "c.jpg"]


def test_an_error_that_is_not_the_image_s_ends_the_run(photos, tmp_path):
    def broken(path):
        raise InputError("a bank for another model")

    with pytest.raises(InputError, match="another model"):
        go(photos, tmp_path / "out", broken)


def test_two_runs_into_one_folder_exclude_each_other(photos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with locks.hold(out / ".lock", "out"), pytest.raises(Locked):
        go(photos, out)


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"format": "other"}'])
def test_a_manifest_of_something_else_is_not_overwritten(photos, tmp_path, text):
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json is not a record"):
        go(photos, out)
    assert (out / "manifest.json").read_text() == text


def test_the_manifest_says_under_which_settings(photos, tmp_path):
    go(photos, tmp_path / "out")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["settings"] == {"bank": 1}
    assert manifest["images"]["deep/c.jpg"]["labels"] == "labels/deep/c.png"


def test_an_image_that_vanished_fails_alone(photos, tmp_path):
    jobs = gather([photos])
    (photos / "a.jpg").unlink()

    def segment(path):
        return Segmenter()(path)

    outcomes = list(batch.run(jobs, segment, tmp_path / "out", {}, progress=False))
    assert [outcome.state for outcome in outcomes] == ["failed", "done", "done"]


def test_a_bank_s_digest_follows_what_decides_a_result_alone(tmp_path):
    paint(tmp_path / "red.png", "red")
    small = LITE.replace(archive_size=32, ce=False)
    examples = {"red": [tmp_path / "red.png"], "warm": [tmp_path / "red.png"]}
    toy = Toy()
    bank = ConceptBank.build([], None, small, examples=examples, models=Models(toy, toy, toy))
    digest = bank.digest
    bank.save(tmp_path / "b", dtype="float32", evidence="none")
    assert ConceptBank.open(tmp_path / "b").digest == digest
    leveled = bank.put(dataclasses.replace(bank["red"], thresholds=[0.5] * len(STRICTNESSES)))
    others = (bank.drop("red"), bank.subset(["warm", "red"]), bank.with_thresholds({"red": 0.5}))
    assert len({digest, *(other.digest for other in (*others, leveled))}) == 5


@pytest.mark.parametrize("name", ["labels/mine.png", "overlays/mine.jpg"])
def test_somebody_s_own_files_are_not_written_over(photos, tmp_path, name):
    paint(tmp_path / "out" / name, "blue")
    with pytest.raises(InputError, match="holds files of something else; choose another folder"):
        go(photos, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == [name.split("/")[0]]


def test_a_run_killed_at_its_first_image_goes_on(photos, tmp_path):
    class Killed(Segmenter):
        def __call__(self, path):
            shutil.copytree(tmp_path / "out", tmp_path / "left")
            paint(tmp_path / "left/labels/a.png", "red")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(photos, tmp_path / "out", Killed())
    _, outcomes = go(photos, tmp_path / "left")
    assert set(states(outcomes).values()) == {"done"}


def test_label_maps_never_lose_the_names_of_their_indices(photos, tmp_path):
    go(photos, tmp_path / "out", settings={"names": ["cat", "grass"]})
    (photos / "a.jpg").unlink()
    before = (tmp_path / "out/manifest.json").read_bytes()
    with pytest.raises(InputError, match="holds other images, cut up by other names; choose"):
        go(photos, tmp_path / "out", settings={"names": ["sky"]})
    assert (tmp_path / "out/manifest.json").read_bytes() == before
    go(photos, tmp_path / "out", settings={"names": ["cat", "grass"], "refine": False})
