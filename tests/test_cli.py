"""The verbs end to end, on painted photos with the toy model, and the entry point for real."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from recoseg import recipe
from recoseg.cli.app import app
from recoseg.cli.guide import format_help
from recoseg.concepts.bank import ConceptBank
from recoseg.io import images
from recoseg.models import catalogue, registry
from tests.test_archive import tar
from tests.toys import Toy, paint

PHOTOS = {
    "red1.png": ("blue", "red"),
    "red2.png": ("green", "red"),
    "deep/red3.png": ("white", "red"),
    "yellow1.png": ("blue", "yellow"),
    "yellow2.png": ("black", "yellow"),
    "yellow3.png": ("green", "yellow"),
}


TOY = Toy()
# The medians of six photos do not tell what is usual: a colour would be compared with itself.
SMALL = recipe.LITE.replace(archive_size=64, image_size=64, k=3, centre=False)


def on_toys(patch):
    """Every model is the toy, every preset small."""
    patch.setattr(registry, "_load", lambda model, device: TOY)
    patch.setitem(recipe.PRESETS, "lite", SMALL)


@pytest.fixture(autouse=True)
def workplace(monkeypatch, tmp_path):
    on_toys(monkeypatch)
    monkeypatch.chdir(tmp_path)


def paint_all(folder):
    for name, (background, square) in PHOTOS.items():
        paint(folder / name, background, square)
    return folder


@pytest.fixture
def photos(tmp_path):
    return paint_all(tmp_path / "photos")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An index and a bank, made once; tests get copies."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        on_toys(patch)
        run("index", paint_all(folder / "photos"), folder / "photos.index", "-q")
        words = ("red", "yellow", "--index", folder / "photos.index", "-q")
        run("concept", "build", folder / "two.bank", *words)
    return folder


@pytest.fixture
def index(made, tmp_path):
    return shutil.copytree(made / "photos.index", tmp_path / "photos.index").name


@pytest.fixture
def bank(made, index, tmp_path):
    return Path(shutil.copy(made / "two.bank", tmp_path)).name


def run(*words, status=0):
    """Call the command line; the result, after a look at its exit status."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == status, (result.stdout, result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    return result


def data(*words):
    return json.loads(run(*words, "--json").stdout)


def lines(*words):
    return [line.split("\t") for line in run(*words).stdout.splitlines()]


# index


def test_index_counts_what_it_read_and_what_it_skipped(photos):
    (photos / "broken.png").write_bytes(b"no image")
    result = run("index", photos, "out.index", "--json")
    assert json.loads(result.stdout)["images"] == 6
    assert [s["id"] for s in json.loads(result.stdout)["skipped"]] == ["broken.png"]
    assert "skipped broken.png: " in result.stderr


def test_index_prints_one_line_with_tabs_into_a_pipe(photos):
    assert lines("index", photos, "out.index") == [["out.index", "6", "0"]]


def test_index_again_follows_the_folder(photos):
    run("index", photos, "my.index")
    (photos / "red1.png").unlink()
    paint(photos / "new1.png", "white")
    paint(photos / "new2.png", "white", "black")
    assert data("index", photos, "my.index")["images"] == 7


def test_index_follows_photos_that_were_moved_only_when_told_so(photos, tmp_path):
    run("index", photos, "my.index")
    photos.rename(tmp_path / "elsewhere")
    assert "moved" in run("index", "elsewhere", "my.index", status=3).stderr
    assert data("index", "elsewhere", "my.index", "--moved")["images"] == 6


def test_index_of_nothing_is_bad_input(tmp_path):
    result = run("index", tmp_path / "nowhere", "out.index", status=3)
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "nowhere" in result.stderr


# search


def test_search_finds_the_colour_that_was_asked_for(photos):
    paint(photos / "all_red.png", "red")
    paint(photos / "all_blue.png", "blue")
    run("index", photos, "my.index")
    found = data("search", "my.index", "red", "blue", "-k", "1")
    assert {phrase: hits[0]["id"] for phrase, hits in found.items()} == {
        "red": "all_red.png",
        "blue": "all_blue.png",
    }


def test_search_prints_phrase_rank_score_photo(index):
    rows = lines("search", index, "red", "-k", "2")
    assert [row[:2] for row in rows] == [["red", "1"], ["red", "2"]]
    assert float(rows[0][2]) >= float(rows[1][2])
    assert rows[0][3] in PHOTOS


def test_search_draws_a_sheet(index):
    result = run("search", index, "red", "yellow", "-k", "2", "--sheet", "found.png")
    assert images.read("found.png").shape[1] > 300
    assert "drew found.png" in result.stderr


def test_search_refuses_an_index_of_another_model(index, monkeypatch):
    other = Toy(seed=1)
    monkeypatch.setattr(registry, "_load", lambda model, device: other)
    run("search", index, "red", status=3)


# concept


def test_concept_build_makes_a_file_that_list_and_show_read(bank):
    assert [concept["name"] for concept in data("concept", "list", bank)] == ["red", "yellow"]
    shown = data("concept", "show", bank, "red")
    assert shown["words"] == ["red"]
    assert shown["images"] == 3
    assert set(shown["evidence"]["images"]) <= set(PHOTOS)


def test_concept_show_prints_a_line_per_photo_and_draws_them(bank):
    assert len(lines("concept", "show", bank, "red", "--save", "red.png")) == 3
    assert images.read("red.png").ndim == 3


def test_concept_build_takes_words_and_k(index):
    run("concept", "build", "b", "warm=red,yellow", "-i", index, "-k", "2", "-q")
    (concept,) = data("concept", "list", "b")
    assert (concept["words"], concept["images"]) == (["red", "yellow"], 2)


def test_concept_build_from_examples_beside_an_index(photos, index):
    run("concept", "build", "b", "red", "--examples", f"mine={photos / 'deep'}", "-i", index, "-q")
    assert data("concept", "show", "b", "mine")["evidence"]["scores"] == [None]


def test_concept_build_without_pictures_makes_a_smaller_file(index, bank, tmp_path):
    run("concept", "build", "small", "red", "yellow", "-i", index, "-q", "--no-pictures")
    assert (tmp_path / "small").stat().st_size < (tmp_path / bank).stat().st_size
    result = run("concept", "show", "small", "red", "--save", "red.png", status=3)
    assert "pictures" in result.stderr


def test_concept_add_keeps_what_was_there(index, bank):
    run("concept", "add", bank, "blue", "-i", index, "-q")
    assert [c["name"] for c in data("concept", "list", bank)] == ["red", "yellow", "blue"]


def test_concept_add_can_write_elsewhere(index, bank):
    run("concept", "add", bank, "blue", "-i", index, "-q", "--out", "three.bank")
    assert len(data("concept", "list", bank)) == 2
    assert len(data("concept", "list", "three.bank")) == 3


def test_concept_rebuild_leaves_a_photo_out(index, bank):
    misleading = data("concept", "show", bank, "red")["evidence"]["images"][0]
    run("concept", "rebuild", bank, "red", "-i", index, "-q", "--exclude", misleading)
    evidence = data("concept", "show", bank, "red")["evidence"]
    assert misleading not in evidence["images"]
    assert evidence["excluded"] == [misleading]


def test_concept_drop_takes_out(bank):
    assert [c["name"] for c in data("concept", "drop", bank, "red")] == ["yellow"]
    assert [c["name"] for c in data("concept", "list", bank)] == ["yellow"]


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["concept", "show", "two.bank", "rde"], "rde"),
        (["concept", "drop", "two.bank", "rde"], "rde"),
        (["concept", "list", "nowhere.bank"], "nowhere.bank"),
        (["concept", "build", "b", "-i", "photos.index"], "no concept was named"),
        (["concept", "build", "b", "red", "red", "-i", "photos.index"], "named twice"),
        (["concept", "build", "b", "=red", "-i", "photos.index"], "name"),
        (["concept", "build", "b", "red", "-i", "nowhere.index"], "nowhere.index"),
        (["concept", "build", "b", "red", "-i", "photos.index", "--preset", "x"], "preset"),
        (["concept", "build", "b", "red", "--examples", "photos"], "is not NAME=VALUE"),
        (["concept", "build", "b", "red", "--examples", "red=nowhere"], "nowhere does not exist"),
        (["concept", "add", "two.bank", "red", "-i", "photos.index"], "already"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_3(bank, words, cause):
    result = run(*words, status=3)
    assert result.stdout == ""
    assert cause in result.stderr
    assert result.stderr.startswith("recoseg: ")
    assert result.stderr.count("\n") == 1


def test_concept_calibrate_finds_a_threshold_for_unknown(photos, index, bank):
    refused = run("segment", photos, "--bank", bank, "--unknown", "--out", "out", status=3)
    assert "calibrate" in refused.stderr
    assert all(c["threshold"] for c in data("concept", "calibrate", bank, "-i", index, "-q"))
    run("segment", photos, "--bank", bank, "--unknown", "--out", "out", "-q", "--no-refine")
    assert names_in("out")[-1] == "unknown"
    areas = []
    for strictness in ("0.5", "0.99"):
        words = ("segment", photos, "--bank", bank, "--strictness", strictness, "--out", strictness)
        areas.append(sum(row["area"]["unknown"] for row in data(*words, "-q", "--no-refine")))
    assert areas[0] < areas[1]
    manifest = json.loads(Path("0.5/manifest.json").read_text())
    assert manifest["settings"]["strictness"] == 0.5


def test_strength_of_the_crf(photos, bank):
    words = ("segment", photos, "--bank", bank, "-q", "--out")
    assert "--strength" in run(*words, "x", "--no-refine", "--strength", 2, status=3).stderr
    run(*words, "weak", "--strength", 0)
    run(*words, "none", "--no-refine")
    run(*words, "usual")
    weak, none, usual = (
        [file.read_bytes() for file in sorted(Path(out, "labels").rglob("*.png"))]
        for out in ("weak", "none", "usual")
    )
    assert weak == none != usual


# segment


def names_in(out):
    table = json.loads((Path(out) / "labels" / "names.json").read_text())
    return [row["name"] for row in table]


def labels(path):
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.asarray(image)


def test_segment_finds_the_squares(photos, bank):
    outcomes = data("segment", photos, "--bank", bank, "--out", "out", "-q", "--no-refine")
    assert names_in("out") == ["red", "yellow"]
    assert [outcome["id"] for outcome in outcomes] == sorted(PHOTOS)
    for outcome in outcomes:
        centre = labels(outcome["labels"])[32, 32]
        assert centre == (0 if "red" in outcome["id"] else 1)
        assert images.read(outcome["overlay"]).shape == (64, 64, 3)
        assert sum(outcome["area"].values()) == pytest.approx(1)


def test_segment_prints_state_image_areas_labels(photos, bank):
    rows = lines("segment", photos / "deep", "--bank", bank, "--out", "out", "-q", "--no-refine")
    assert [[row[0], row[1], row[3]] for row in rows] == [
        ["done", "red3.png", str(Path("out/labels/red3.png"))]
    ]
    assert "%" in rows[0][2]


def test_segment_again_keeps_what_is_there_until_a_setting_changes(photos, bank):
    words = ("segment", photos, "--bank", bank, "--out", "out", "-q", "--no-refine")

    def states(*more):
        return {outcome["state"] for outcome in data(*words, *more)}

    assert states() == {"done"}
    assert states() == {"kept"}
    for more in (["--refine"], ["--concepts", "yellow,red"], ["--temperature", "0.5"]):
        assert states(*more) == {"done"}
        assert states(*more) == {"kept"}


def test_segment_keeps_nothing_made_with_another_bank(photos, bank):
    words = ("segment", photos, "--bank", bank, "--out", "out", "-q", "--no-refine")
    run(*words)
    run("concept", "drop", bank, "yellow")
    assert {outcome["state"] for outcome in data(*words)} == {"done"}


def test_segment_takes_files_and_patterns(photos, bank):
    words = (photos / "red1.png", str(photos / "yellow*.png"))
    outcomes = data("segment", *words, "--bank", bank, "--out", "out", "-q", "--no-refine")
    assert [outcome["id"] for outcome in outcomes] == [
        "red1.png",
        "yellow1.png",
        "yellow2.png",
        "yellow3.png",
    ]


def test_segment_goes_on_past_a_broken_image_and_says_so(photos, bank):
    (photos / "broken.png").write_bytes(b"no image")
    result = run(
        "segment", photos, "--bank", bank, "--out", "out", "-q", "--no-refine", "--json", status=3
    )
    states = {outcome["id"]: outcome["state"] for outcome in json.loads(result.stdout)}
    assert states.pop("broken.png") == "failed"
    assert set(states.values()) == {"done"}
    assert "failed broken.png: " in result.stderr


def test_segment_uses_the_everyday_bank_unless_told_otherwise(photos, bank, monkeypatch):
    opened = ConceptBank.open(bank).with_thresholds({"red": 0.3, "yellow": 0.3})
    everyday = classmethod(lambda cls: opened)
    monkeypatch.setattr(ConceptBank, "everyday", everyday, raising=False)
    run("segment", photos, "--out", "out", "-q", "--no-refine")
    assert names_in("out") == ["red", "yellow", "unknown"]
    settings = json.loads(Path("out/manifest.json").read_text())["settings"]
    assert (settings["shortlist"], settings["sure"]) == (16, 0.5)
    run("segment", photos, "--out", "all", "-q", "--no-refine", "--shortlist", 0, "--sure", 0)
    assert names_in("all") == ["red", "yellow"]
    settings = json.loads(Path("all/manifest.json").read_text())["settings"]
    assert (settings["shortlist"], settings["sure"]) == (None, None)
    run("segment", photos, "--out", "some", "-q", "--no-refine", "--concepts", "red,yellow")
    assert names_in("some") == ["red", "yellow"]
    assert len(data("concept", "list", "everyday")) == 2


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["nowhere.jpg"], "nowhere.jpg does not exist"),
        (["photos", "--concepts", "rde"], "rde"),
        (["photos", "--bank", "nowhere.bank"], "nowhere.bank"),
    ],
)
def test_segment_refuses_bad_input_before_it_writes(photos, bank, words, cause):
    result = run("segment", "--bank", bank, "--out", "out", *words, status=3)
    assert cause in result.stderr
    assert not Path("out").exists()


# where results go is looked at before the work


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["concept", "build", "no/x.bank", "red", "-i", "my.index"], "the folder no does not"),
        (["concept", "build", "photos", "red", "-i", "my.index"], "photos is a folder"),
        (["concept", "add", "two.bank", "blue", "--out", "no/x.bank"], "the folder no does not"),
        (["concept", "show", "two.bank", "red", "--save", "no/x.png"], "the folder no does not"),
        (["search", "my.index", "red", "--sheet", "no/x.png"], "the folder no does not"),
        (["onnx", "s.safetensors", "no/x.onnx"], "the folder no does not"),
        (["segment", "photos", "--bank", "two.bank", "--out", "two.bank"], "a file is in its"),
        (["index", "photos", "my.index"], "holds no image"),
        (["report", "two.bank", "-i", "my.index", "--out", "no/x.html"], "the folder no does not"),
        (["concept", "build", "x.bank", "red", "-i", "my.index"], "my.index does not exist"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_the_work(monkeypatch, bank, words, cause):
    def loaded(model, device):
        raise AssertionError("a model was loaded first")

    Path("photos").mkdir()
    if words[0] == "segment":
        paint(Path("photos/red.png"), "red")
    else:
        monkeypatch.setattr(registry, "_load", loaded)
    result = run(*words, status=3)
    assert cause in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["segment", "photos", "--out", "taken"],
        ["video", "photos", "--out", "taken"],
        ["adapt", "photos", "--out", "taken"],
        ["index", "photos", "taken/my.index"],
        ["demo", "--out", "taken"],
        ["evaluate", "folder", "photos", "--bank", "everyday", "--out", "taken"],
        ["ablate", "folder", "photos", "--index", "my.index", "--out", "taken"],
    ],
)
def test_a_folder_that_cannot_be_filled_is_told_before_a_model_is_loaded(
    monkeypatch, photos, words
):
    def loaded(model, device):
        raise AssertionError("a model was loaded first")

    monkeypatch.setattr(registry, "_load", loaded)
    Path("taken").touch()
    result = run(*words, status=3)
    assert "cannot be a folder, because a file is in its place" in result.stderr
    assert result.stderr.count("\n") == 1


def test_somebody_s_labels_are_not_written_over_and_told_before_a_model(monkeypatch, photos):
    monkeypatch.setattr(registry, "_load", None)
    paint(Path("mine/labels/red1.png"), "blue")
    result = run("segment", photos, "--out", "mine", status=3)
    assert "mine/labels holds files of something else; choose another folder." in result.stderr


def test_an_index_of_other_photos_is_told_before_a_model(monkeypatch, photos, index):
    monkeypatch.setattr(registry, "_load", None)
    paint(Path("others/red.png"), "red")
    assert "was built from" in run("index", "others", index, status=3).stderr
    assert "holds other files" in run("index", "others", photos, status=3).stderr


def test_photos_of_other_formats_are_told_beside_what_is_done(photos, bank):
    (photos / "a.heic").touch()
    (photos / "notes.txt").touch()
    note = "note: 1 HEIC photo cannot be read; convert them to JPEG first.\n"
    assert note in run("index", photos, "my.index", "-q").stderr
    assert note in run("segment", photos, "--bank", bank, "--out", "out", "-q").stderr


def test_a_bank_that_is_there_is_not_lost_unasked(index, bank):
    before = Path(bank).read_bytes()
    result = run("concept", "build", bank, "blue", "-i", index, "-q", status=3)
    assert "is there already; add to it with `recoseg concept add`, or write" in result.stderr
    assert Path(bank).read_bytes() == before
    run("concept", "build", bank, "blue", "-i", index, "-q", "--replace")
    assert [c["name"] for c in data("concept", "list", bank)] == ["blue"]


@pytest.mark.parametrize(
    "words",
    [
        ["build", "new.bank", "blue", "--exclude", "blue=rde1.png"],
        ["add", "two.bank", "blue", "--exclude", "blue=rde1.png"],
        ["rebuild", "two.bank", "red", "--exclude", "rde1.png"],
    ],
)
def test_a_photo_to_leave_out_must_be_one_of_the_index(index, bank, words):
    result = run("concept", *words, "-i", index, "-q", status=3)
    assert f"rde1.png is no photo of {index}; give its name as" in result.stderr


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_here_is_one_sentence(index, device):
    result = run("search", index, "red", "--device", device, status=3)
    assert f"the device '{device}' cannot be used here; leave it out, or see" in result.stderr


def test_an_empty_phrase_is_told_before_a_model(monkeypatch, index):
    monkeypatch.setattr(registry, "_load", None)
    assert "one of the phrases is empty" in run("search", index, "red", " ", status=3).stderr


def test_a_folder_in_the_place_of_a_bank_is_one_sentence(index):
    told = run("concept", "list", index, status=3).stderr
    assert f"{index} is a folder; give the path of a concept bank, which is a file." in told


def test_a_bank_of_example_photos_alone_needs_no_index(photos):
    result = run("concept", "build", "x.bank", "--examples", f"red={photos}", "-q")
    assert "note: without --index common context is not eliminated." in result.stderr
    assert ConceptBank.open("x.bank").recipe.ce is False


def test_a_bank_learnt_from_most_of_an_archive_says_so(photos, index):
    note = "note: each concept is learnt from 3 of 6 photos; if fewer show it, give a smaller -k"
    assert note in run("concept", "build", "x.bank", "red", "-i", index, "-q").stderr
    few = run("concept", "build", "x.bank", "red", "-i", index, "-q", "-k", 2, "--replace")
    assert "note" not in few.stderr


# embeddings of others


def test_vectors_of_others_are_imported_and_written_back(photos, tmp_path):
    run("index", photos, "built.index", "-q")
    run("index", "export", "built.index", "laion", "-q")
    words = ("laion", "x.index", "--model", "toy", "--photos", photos, "-q")
    result = run("index", "import", *words, "--json")
    data = json.loads(result.stdout)
    assert (data["images"], data["unreachable"], data["compared"]) == (6, 0, 6)
    assert "compared 6 photos with the model: cosine at least 1.0000." in result.stderr
    built = json.loads(run("search", "built.index", "red", "--json").stdout)
    assert json.loads(run("search", "x.index", "red", "--json").stdout) == built
    run("concept", "build", "two.bank", "red", "yellow", "-i", "x.index", "-q")


def test_a_folder_of_that_name_is_still_indexed(photos):
    photos.rename("import")
    run("index", "./import", "x.index", "-q")
    assert run("index", "import", "x.index", status=2)
    assert "recoseg index import" in run("index", "import", "--help").stdout
    assert "index import" in run("--help").stdout


def test_an_import_of_photos_without_vectors_embeds_them(photos, tmp_path):
    (tmp_path / "shards").mkdir()
    tar(
        tmp_path / "shards" / "0.tar",
        {path.name: path.read_bytes() for path in photos.glob("*.png")},
    )
    result = run("index", "import", "shards", "x.index", "--model", "toy", "-q", "--json")
    assert json.loads(result.stdout)["images"] == 5
    assert "note: it holds no vectors, so its photos are embedded." in result.stderr


def test_a_server_answers_search_and_concepts(index, tmp_path):
    told = run("index", "sync", index, "faiss:x.faiss", "--json")
    assert json.loads(told.stdout) == {
        "server": "x.faiss",
        "added": 6,
        "changed": 0,
        "removed": 0,
        "unchanged": 0,
    }
    exact = run("search", index, "red", "--json").stdout
    assert run("search", index, "red", "--json", "--server", "faiss:x.faiss").stdout == exact
    words = ("red", "yellow", "-i", index, "-q", "--server", "faiss:x.faiss")
    run("concept", "build", "served.bank", *words)
    run("concept", "add", "served.bank", "blue", *words[2:])
    run("concept", "rebuild", "served.bank", "red", *words[2:])
    none = run("search", index, "red", "--server", "faiss:none", status=3).stderr
    assert "none holds nothing of photos.index; bring it up to date" in none


# the guide, and errors


def verbs(group=None, words=()):
    """Every verb, and every verb of a group, as (words, command)."""
    group = group or typer.main.get_command(app)
    context = group.make_context("recoseg", [], resilient_parsing=True)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*words, name), command
        if hasattr(command, "list_commands"):
            yield from verbs(command, (*words, name))


def test_every_verb_has_an_example_and_a_panel():
    found = dict(verbs())
    assert ("concept", "build") in found
    for words, command in found.items():
        assert f"\n    recoseg {' '.join(words)}" in command.help, words
        assert len(words) > 1 or command.rich_help_panel, words


def test_help_is_reflowed_for_narrow_terminals_and_keeps_its_examples():
    told = format_help(
        "One line.\n\n    Words that\n    go on.\n\n    Example:\n        a b\n        c\n"
    )
    assert told == "One line.\n\nWords that go on.\n\n[bold]Example[/bold]\n\n    a b\n    c"
    assert format_help(told) == told


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_guide_shows_the_way_in(words):
    result = CliRunner().invoke(app, words)
    for verb in ("demo", "index", "search", "concept", "segment", "models", "doctor"):
        assert verb in result.output
    assert "recoseg segment photos --concepts cat,grass,sky --out seen" in result.output


@pytest.mark.parametrize(
    "words", [["serach"], ["index"], ["search", "x", "y", "-k", "0"], ["segment", "x"], ["--no"]]
)
def test_wrong_usage_is_exit_status_2(words):
    run(*words, status=2)


@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_error_is_one_sentence_unless_debugging(monkeypatch, debug):
    def broken():
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(catalogue, "list_models", broken)
    monkeypatch.setenv("RECOSEG_DEBUG", "1" if debug else "0")
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 1
    assert "unexpected ZeroDivisionError: division by zero" in result.stderr
    assert ("Traceback" in result.stderr) == debug
    assert ("--debug" in result.stderr) != debug


def test_debug_shows_where_bad_input_was_noticed_and_keeps_the_status():
    result = CliRunner().invoke(app, ["--debug", "concept", "list", "nowhere.bank"])
    assert result.exit_code == 3
    assert "Traceback" in result.stderr


def test_ctrl_c_is_one_sentence_and_exit_status_130(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue, "list_models", interrupted)
    result = run("models", status=130)
    assert result.stderr.startswith("recoseg: stopped")


def test_models_lists_the_catalogue():
    listed = data("models")
    assert [row["id"] for row in listed] == [entry.id for entry in catalogue.list_models()]
    assert {len(row) for row in lines("models")} == {6}
    paper = next(row for row in listed if row["id"] == recipe.PAPER.retrieval.partition("?")[0])
    assert paper["aliases"] == ["ViT-L/14@336px"]


def test_fetch_says_offline_what_is_missing_and_how_to_bring_it(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    result = run("models", "fetch", "paper", status=3)
    assert "HF_HUB_OFFLINE" in result.stderr
    assert "timm/vit_large_patch14_clip_336.openai" in result.stderr
    assert run("models", "fetch", "lite").stdout == ""


def test_an_index_is_made_with_the_preset_s_model_unless_one_is_named(photos, monkeypatch):
    asked = []
    monkeypatch.setattr(registry, "_load", lambda model, device: asked.append(model) or TOY)
    run("index", photos, "one.index", "--preset", "paper")
    run("index", photos, "two.index", "--preset", "paper", "--model", "lite")
    assert asked == [recipe.PAPER.retrieval, "lite"]


def test_a_row_stays_a_row_whatever_a_file_is_called(photos):
    paint(photos / "a\tb\nc.png", "red")
    run("index", photos, "out.index")
    rows = lines("search", "out.index", "red", "-k", "7")
    assert {len(row) for row in rows} == {4}
    assert "a\\tb\\nc.png" in {row[3] for row in rows}


# the entry point, in its own process


def process(*words, **kwargs):
    command = [sys.executable, "-m", "recoseg", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


def test_the_program_runs_as_a_module():
    done = process("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "recoseg 0.1.0\n", "")


def test_the_program_refuses_what_is_not_there():
    done = process("concept", "list", "nowhere.bank")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("recoseg: ")


@pytest.mark.parametrize("verb", [["index", "x", "y"], ["segment", "x", "--out", "y"]])
def test_a_misspelt_path_is_told_without_waiting_for_torch(verb):
    code = "import sys; sys.modules['torch'] = None; from recoseg.cli import main; main()"
    found = subprocess.run([sys.executable, "-c", code, *verb], capture_output=True, text=True)
    assert (found.returncode, "x does not exist" in found.stderr) == (3, True), found.stderr


def test_the_program_refuses_wrong_usage():
    assert process("segment").returncode == 2


def test_the_program_stops_at_ctrl_c_with_a_sentence():
    code = """
import sys, time
from recoseg.cli import main
from recoseg.models import catalogue

def slow():
    print("ready", flush=True)
    time.sleep(60)

catalogue.list_models = slow
sys.argv = ["recoseg", "models"]
main()
"""
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as program:
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=30)
    assert program.returncode == 130
    assert err.startswith("recoseg: stopped; ")
    assert "Traceback" not in err
