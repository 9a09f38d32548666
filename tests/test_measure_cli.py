from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import recoseg
from recoseg import recipe
from recoseg.cli.app import app
from recoseg.cli.measured import Measured
from recoseg.models import registry
from tests import pupils, trees
from tests.toys import Toy, paint

NAMES = "red,green,blue"
DATA = Path(recoseg.__file__).parent / "data"
PROTOCOLS = json.loads((DATA / "protocols.json").read_text())["protocols"]


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A labelled folder of three photos and an index, with the toy in place of every model."""
    toy = Toy()
    small = recipe.LITE.replace(archive_size=64, image_size=64, scales=(1.0,), k=2)
    monkeypatch.setattr(registry, "_load", lambda model, device: toy)
    monkeypatch.setitem(recipe.PRESETS, "lite", small)
    names = NAMES.split(",")
    for number, ground in enumerate(names):
        paint(tmp_path / "data" / "images" / f"{number}.png", ground)
        (tmp_path / "data" / "masks").mkdir(exist_ok=True)
        labels = np.full((64, 64), number, np.uint8)
        Image.fromarray(labels).save(tmp_path / "data" / "masks" / f"{number}.png")
    recoseg.Index.build(
        tmp_path / "data" / "images", tmp_path / "toy.index", model=toy, progress=False
    )
    return tmp_path


def test_evaluate_builds_measures_and_writes_a_report(bench):
    words = ("evaluate", "folder", bench / "data", "--classes", NAMES, "--out", bench / "out")
    done = run(*words, "--index", bench / "toy.index", "-q", "--json", "--gallery", "1")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert [s["name"] for s in data["systems"]] == ["denseclip", "reco", "reco+crf"]
    assert data["systems"][1]["miou"] == 1
    assert json.loads((bench / "out" / "report.json").read_text()) == data
    assert (bench / "out" / data["gallery"][0]["files"]["truth"]).is_file()
    again = run(*words, "--index", bench / "toy.index", "-q", "--system", "reco")
    assert again.exit_code == 0
    assert again.stdout.split("\t")[:3] == ["ReCo", "100.0", "100.0"]
    assert "protocol original: original resolution" in again.stderr


def test_evaluate_measures_a_student_beside_its_teacher_and_goes_on(bench):
    student = pupils.student()
    student.save(bench / "s.safetensors")
    words = ("evaluate", "folder", bench / "data", "--classes", NAMES, "--out", bench / "out")
    asked = (*words, "--student", bench / "s.safetensors", "-q", "--json", "--gallery", "0")
    alone = json.loads(run(*asked).stdout)
    assert [s["name"] for s in alone["systems"]] == ["reco+"]
    both = json.loads(run(*asked, "--index", bench / "toy.index", "--system", "reco").stdout)
    assert [s["name"] for s in both["systems"]] == ["reco", "reco+"]
    assert both["systems"][1]["confusion"] == alone["systems"][0]["confusion"]
    # Its counts are known by what it is, not by its file.
    assert both["provenance"]["keys"]["reco+"] == alone["provenance"]["keys"]["reco+"]
    truth = [Image.open(bench / "data" / "masks" / f"{n}.png") for n in range(3)]
    photos = [bench / "data" / "images" / f"{n}.png" for n in range(3)]
    right = (
        sum((student(p).labels == np.asarray(m)).mean() for p, m in zip(photos, truth, strict=True))
        / 3
    )
    assert alone["systems"][0]["accuracy"] == pytest.approx(right, abs=1e-6)


def test_evaluate_takes_a_bank_or_predictions(bench):
    index = recoseg.Index.open(bench / "toy.index")
    made = recoseg.ConceptBank.build(
        ["green", "red", "white"], index, recipe.preset("lite"), progress=False
    )
    made.save(bench / "toy.bank")
    words = ("evaluate", "folder", bench / "data", "--classes", NAMES, "-q", "--json")
    done = run(*words, "--bank", bench / "toy.bank", "--out", bench / "a", "--system", "reco")
    assert done.exit_code == 0, done.output
    iou = {r["name"]: r["iou"] for r in json.loads(done.stdout)["systems"][0]["per_class"]}
    assert iou["blue"] == 0  # the bank does not know it
    clusters = bench / "clusters"
    clusters.mkdir()
    for number in range(3):
        flat = np.full((64, 64), 9 - number, np.uint8)
        Image.fromarray(flat).save(clusters / f"{number}.png")
    scored = (*words, "--predictions", clusters, "--out", bench / "b")
    assert json.loads(run(*scored, "--match", "hungarian").stdout)["systems"][0]["miou"] == 1
    refused = run(*scored)
    assert refused.exit_code == 3
    assert "has no name" in refused.stderr


def test_rows_are_named_once_and_made_of_options():
    asked = Measured(bank="everyday", systems=("denseclip", "reco+crf", "reco+crf"))
    plain = recoseg.Options(system="denseclip", refine=False)
    assert asked.options() == [plain, recoseg.Options(refine=True)]


def test_named_and_unnamed_systems_share_one_table(bench):
    """Two folders of clusters beside a bank: theirs are matched and marked, its names are not."""
    index = recoseg.Index.open(bench / "toy.index")
    made = recoseg.ConceptBank.build(["green", "red"], index, recipe.preset("lite"), progress=False)
    made.save(bench / "toy.bank")
    for name, first in (("ours", 9), ("theirs", 5)):
        (bench / name).mkdir()
        for number in range(3):
            flat = np.full((64, 64), first - number, np.uint8)
            Image.fromarray(flat).save(bench / name / f"{number}.png")
    done = run(
        *("evaluate", "folder", bench / "data", "--classes", NAMES, "-q", "--out", bench / "out"),
        *("--bank", bench / "toy.bank", "--system", "reco", "--match", "hungarian"),
        *("--predictions", f"ours={bench / 'ours'}", "--predictions", f"theirs={bench / 'theirs'}"),
    )
    assert done.exit_code == 0, done.output
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["ReCo", "ours", "theirs"]
    assert [row[5] for row in rows] == ["", *["clusters matched by the truth"] * 2]
    assert float(rows[0][1]) < 100 == float(rows[1][1]) == float(rows[2][1])
    assert "words: bank" in done.stderr


def test_help_lists_recipes_protocols_and_words():
    for verb in ("evaluate", "ablate"):
        shown = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "600"}).stdout
        told = "".join(shown.split()).replace("│", "")
        for value in (*recipe.PRESETS, *(p["name"] for p in PROTOCOLS), "paper-tree", "usual"):
            assert value in told, value


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "give --bank, --index, --student, --predictions or --baseline"),
        (("--bank", "b", "--index", "i"), "not both"),
        (("--bank", "everyday", "--match", "hungarian"), "is for --predictions"),
        (("--bank", "everyday", "--words", "paper"), "its own words"),
        (("--index", "i", "--words", "mine"), "no word list 'mine'"),
        (("--student", "missing.safetensors"), "missing.safetensors"),
        (("--bank", "everyday", "--system", "unet"), "no system 'unet'"),
        (("--bank", "everyday", "--protocol", "mine"), "no protocol 'mine'"),
        (("--predictions", "nowhere"), "not a folder"),
    ],
)
def test_what_cannot_be_measured_is_told(bench, more, message):
    words = ("evaluate", "folder", bench / "data", "--classes", NAMES, "--out", bench / "out")
    done = run(*words, *more, "-q")
    assert done.exit_code == 3
    assert message in done.stderr


def test_ablate_prints_every_row(bench):
    done = run(
        *("ablate", "folder", bench / "data", "--classes", NAMES, "--out", bench / "out", "-q"),
        *("--index", bench / "toy.index", "--sizes", "2", "--k", "1,2", "--contexts", "none"),
    )
    assert done.exit_code == 0, done.output
    rows = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert rows[:4:2] == ["DenseCLIP", "co-segmentation"]
    assert {"co-segmentation + DenseCLIP", "LGC", "ReCo", "ReCo + CRF", "k 1"} <= set(rows)
    printed = {line.split("\t")[0]: line.split("\t")[-1] for line in done.stdout.splitlines()}
    assert printed["ReCo + CRF"] == "published on pascal-context-59 27.2 (-)"
    assert printed["co-segmentation + DenseCLIP"] == "published on pascal-context-59 21.8 (-)"
    assert printed["k 1"] == ""
    cases = json.loads((bench / "out" / "report.json").read_text())["gallery"]
    assert cases
    for case in cases:
        assert set(case["files"]) == {"image", "truth", "denseclip", "reco", "crf"}
        assert all((bench / "out" / file).is_file() for file in case["files"].values())
    bad = run(
        *("ablate", "folder", bench / "data", "--classes", NAMES, "--out", bench / "out"),
        *("--index", bench / "toy.index", "--k", "many"),
    )
    assert bad.exit_code == 3
    assert "not a list of numbers" in bad.stderr


def test_published_rows_stand_apart(bench):
    trees.kitti_step(bench / "kitti", 0)
    predicted = bench / "made" / "0002"
    trees.mask(predicted / "000000.png", 0)
    done = run(
        *("evaluate", "kitti_step", bench / "kitti", "--protocol", "kitti-step-19", "-q"),
        *("--predictions", bench / "made", "--out", bench / "out"),
    )
    assert done.exit_code == 0, done.output
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0][:3] == ["predictions", "100.0", "100.0"]
    assert lines[0][-1] == ""
    footnote = "published (vision-language pretraining)"
    assert ["ReCo", "29.8", "70.6", "", "", footnote] in lines


def test_datasets_are_listed_and_checked(bench):
    listed = run("datasets", "--json")
    assert {"cityscapes", "cocostuff", "folder"} <= {e["name"] for e in json.loads(listed.stdout)}
    good = run("datasets", "check", trees.cityscapes(bench / "city", 7, 21, 0), "-q", "--json")
    assert good.exit_code == 0, good.output
    assert json.loads(good.stdout)["images"] == 2
    assert "cityscapes, split val, 2 pairs, 27 classes" in good.stderr
    bad = run("datasets", "check", trees.cityscapes(bench / "bad", 7, 99), "-q")
    assert bad.exit_code == 3
    assert "holds the id 99" in bad.stderr


def test_purity_measures_models_at_several_k_and_draws_a_line_per_model(bench, monkeypatch):
    for name in NAMES.split(","):
        for number in range(3):
            paint(bench / "labelled" / name / f"{number}.png", name)
    toys = {"a": Toy(0), "b": Toy(1)}
    for name, toy in toys.items():
        toy.id = name
    monkeypatch.setattr(registry, "_load", lambda model, device: toys[model])
    words = ("purity", bench / "labelled", "--out", bench / "pure", "-q", "--k", "2,1")
    done = run(*words, "--model", "a", "--model", "b", "--templates", "plain")
    assert done.exit_code == 0, done.output
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows == [[m, k, "100.0", "3"] for m in ("a", "b") for k in ("1", "2")]
    page = run("report", bench / "pure", "--out", bench / "page.html")
    assert page.exit_code == 0, page.output
    told = (bench / "page.html").read_text()
    assert "sweep-purity" in told
    assert "labelled a" in told
    bad = run(*words, "--k", "0")
    assert (bad.exit_code, "numbers of photos from 1" in bad.stderr) == (3, True)


def test_firenet_has_a_protocol_and_a_row(bench):
    """A folder in its layout: polygons of a COCO json, and what is outside them is background."""
    trees.firenet(bench / "fire")
    painted = np.zeros((20, 20), np.uint8)
    painted[2:15, 2:15] = 2
    painted[6:10, 6:10] = 1
    (bench / "made").mkdir()
    Image.fromarray(painted).save(bench / "made" / "a.png")
    done = run(
        *("evaluate", "auto", bench / "fire", "--protocol", "firenet", "-q", "--json"),
        *("--predictions", f"exact={bench / 'made'}", "--out", bench / "out"),
    )
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data["protocol"]["name"] == "firenet"
    assert data["dataset"]["classes"] == ["background", "exit sign", "extinguisher"]
    assert [(s["name"], s["miou"]) for s in data["systems"]] == [("exact", 1.0)]
    wrong = run("evaluate", "folder", bench / "data", "--protocol", "firenet", "--out", bench / "o")
    assert wrong.exit_code == 3
