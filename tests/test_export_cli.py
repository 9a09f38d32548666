"""``recoseg export`` and ``recoseg video`` from end to end, with the toy model."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from recoseg.exporting import FORMATS, write
from tests.test_cli import data, lines, on_toys, run
from tests.test_video import film, plain
from tests.toys import paint

GRID = ("--bank", "two.bank", "--no-refine", "-q")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bank, segmented photos and a film, made once."""
    home = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        on_toys(patch)
        patch.chdir(home)
        for name in ("red", "yellow"):
            for i, background in enumerate(("blue", "green", "white")):
                paint(home / "archive" / f"{name}{i}.png", background, name)
        run("index", "archive", "photos.index", "-q")
        run("concept", "build", "two.bank", "red", "yellow", "--index", "photos.index", "-q")
        paint(home / "photos/a.png", "red", "yellow")
        paint(home / "photos/deep/b c.jpg", "yellow", "red")
        run("segment", "photos", "--out", "seen", *GRID)
        film(home / "film.mp4", [plain("red")] * 4)
    return home


@pytest.fixture(autouse=True)
def workplace(made, tmp_path, monkeypatch):
    on_toys(monkeypatch)
    for name in ("photos", "seen"):
        shutil.copytree(made / name, tmp_path / name)
    for name in ("two.bank", "film.mp4"):
        shutil.copy(made / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def export(*words, status=0):
    return run("export", *words, "-q", status=status)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_takes_what_segment_wrote(workplace, format):
    told = data("export", "seen", format, "--out", "out", "--images", "photos", "-q")
    assert told["format"] == format
    assert told["images"] == 2
    record = json.loads((workplace / "out/recoseg.json").read_text())
    assert record["names"] == ["red", "yellow"]
    assert record["annotations"] == told["annotations"] > 0


def test_label_maps_survive_the_way_through_masks(workplace):
    export("seen", "masks", "--out", "out")
    for name in ("a", "deep/b c"):
        before, after = (
            Image.open(workplace / f / "labels" / f"{name}.png") for f in ("seen", "out")
        )
        np.testing.assert_array_equal(before, after)
        assert before.getpalette()[:6] == after.getpalette()[:6]


def test_a_line_tells_what_was_made_and_another_what_was_renamed():
    (row,) = lines("export", "seen", "coco-rle", "--out", "out", "-q")
    assert row[:3] == ["out", "coco-rle", "2"]
    told = export("seen", "yolo", "--out", "y", "--images", "photos").stderr
    assert told == "renamed deep/b c.jpg: deep_b_c\n"


def test_options_choose_concepts_parts_and_sizes(workplace):
    export("seen", "coco-rle", "--out", "out", "--concepts", "yellow", "--min-area", "2000")
    whole = json.loads((workplace / "out/annotations.json").read_text())
    assert [c["name"] for c in whole["categories"]] == ["yellow"]
    assert [image["file_name"] for image in whole["images"]] == ["a.png", "deep/b c.jpg"]
    assert [a["image_id"] for a in whole["annotations"]] == [2]
    export("seen", "labelstudio", "--out", "ls", "--parts", "component", "--prefix", "s3://x/")
    tasks = json.loads((workplace / "ls/tasks.json").read_text())
    assert tasks[1]["data"]["image"] == "s3://x/deep/b c.jpg"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("seen", "pascal", "--out", "out"), "choose masks"),
        (("seen", "voc", "--out", "out"), "--images"),
        (("seen", "masks", "--out", "photos"), "exists already"),
        (("seen", "masks", "--out", "out", "--concepts", "sea"), "'sea' was not segmented"),
        (("photos", "masks", "--out", "out"), "no manifest.json"),
        (("nowhere", "masks", "--out", "out"), "no manifest.json"),
        (("seen", "masks", "--out", "out", "--images", "nowhere"), "not a folder"),
        (("seen", "masks", "--out", "out", "--images", "seen"), "does not exist"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(workplace, words, said):
    before = sorted(workplace.rglob("*"))
    told = export(*words, status=3).stderr
    assert told.count("\n") == 1
    assert said in told
    assert sorted(workplace.rglob("*")) == before


def forget_digests(manifest):
    """Make a manifest what it was before there were digests."""
    data = json.loads(manifest.read_text())
    del data["digest"]
    for entry in data["images"].values():
        del entry["digests"]
    manifest.write_text(json.dumps(data))
    return manifest


def test_label_maps_that_are_missing_changed_or_foreign(workplace):
    paint(workplace / "photos/a.png", "red", size=32)
    said = export("seen", "masks", "--out", "o", "--images", "photos", status=3).stderr
    assert "a.png is 32x32 and its labels are 64x64" in said
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(workplace / "seen/labels/a.png")
    said = export("seen", "masks", "--out", "o", status=3).stderr
    assert "labels/a.png is damaged; run `recoseg segment` again" in said
    forget_digests(workplace / "seen/manifest.json")
    assert "the id 9" in export("seen", "masks", "--out", "o", status=3).stderr
    (workplace / "seen/labels/a.png").unlink()
    assert "is missing" in export("seen", "masks", "--out", "o", status=3).stderr


def test_a_damaged_or_hostile_manifest(workplace):
    manifest = forget_digests(workplace / "seen/manifest.json")
    manifest.write_text(manifest.read_text().replace('"a.png"', '"../a.png"'))
    assert "no path below a folder" in export("seen", "masks", "--out", "o", status=3).stderr
    for images in ("[]", '{"a.png": 5}', '{"a.png": {}}'):
        manifest.write_text(f'{{"format": "recoseg-segmentation/1", "images": {images}}}')
        assert "is damaged" in export("seen", "masks", "--out", "o", status=3).stderr
    manifest.write_text('{"format": "recoseg-segmentation/1", "images": {}}')
    assert "records no segmented image" in export("seen", "masks", "--out", "o", status=3).stderr


def test_names_of_two_runs_do_not_mix(workplace):
    names = workplace / "seen/labels/deep/names.json"
    names.write_text(names.read_text().replace("red", "rouge"))
    assert "other names" in export("seen", "masks", "--out", "o", status=3).stderr


def test_the_door_in_python_takes_paths_and_reports_progress(workplace):
    told = []
    made = write("seen", "huggingface", "out", progress=lambda *now: told.append(now))
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert made.out.is_dir()


def test_a_film_end_to_end(workplace):
    told = data("video", "film.mp4", "--out", "out", "--smooth", "0.5", "--every", "2", *GRID)
    assert (told["frames"], told["kept"], told["size"]) == (2, 0, [48, 64])
    assert (workplace / told["overlay"]).is_file()
    again = ("video", "film.mp4", "--out", "out", "--smooth", "0.5", "--every", "2", *GRID)
    assert lines(*again)[0][:3] == ["out", "2", "2"]
    assert data("export", "out", "masks", "--out", "masks", "-q")["images"] == 2
    (row,) = lines("video", "photos", "--out", "frames", "--fps", "2", *GRID)
    assert row[1] == "2"


@pytest.mark.parametrize(
    ("words", "said", "status"),
    [
        (("two.bank",), "cannot be read as a video", 3),
        (("nowhere.mp4",), "does not exist", 3),
        (("film.mp4", "--fps", "5"), "has its own", 3),
        (("film.mp4", "--smooth", "1"), "--smooth", 2),
        (("film.mp4", "--student", "s.safetensors"), "--bank is of banks", 3),
    ],
)
def test_what_is_no_film_or_a_wrong_option(words, said, status):
    assert said in run("video", *words, "--out", "out", *GRID, status=status).stderr
