"""``adapt``, ``segment --student`` and ``onnx`` end to end, with the toy model as the teacher."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recoseg import Index, recipe
from recoseg.cli.app import app
from recoseg.concepts.bank import ConceptBank
from recoseg.io import images
from recoseg.learning import plan
from recoseg.models import registry
from tests.pupils import PLAN, paint_scenes
from tests.toys import Toy

TOY = Toy()
EXAMPLE = Path(__file__).parents[1] / "examples" / "onnx_run.py"


@pytest.fixture(autouse=True)
def workplace(monkeypatch, tmp_path):
    small = recipe.LITE.replace(archive_size=64, image_size=64, k=3)
    monkeypatch.setattr(registry, "_load", lambda model, device: TOY)
    monkeypatch.setitem(recipe.PRESETS, "lite", small)
    monkeypatch.setitem(plan.PRESETS, "small", PLAN)
    monkeypatch.chdir(tmp_path)
    paint_scenes(tmp_path / "scenes")
    index = Index.build("scenes", "scenes.index", model=TOY, progress=False)
    ConceptBank.build(["red", "green", "blue"], index, small, progress=False).save("colours.bank")


def run(*words, status=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == status, (result.stdout, result.stderr, result.exception)
    return result


def adapt(*words, status=0):
    fixed = ("--bank", "colours.bank", "--out", "s", "--device", "cpu", "-q")
    return run("adapt", "scenes", *fixed, *words, status=status)


def test_from_a_folder_to_a_student_to_labels(capsys, monkeypatch):
    report = json.loads(adapt("--json").stdout)
    assert report["selected"] == "last"
    assert report["rounds"][0]["plan"] == PLAN.to_dict()
    file = report["student"]
    for _ in range(2):
        out = run("segment", "scenes", "--student", file, "--out", "done", "-q", "--json").stdout
    assert [row["state"] for row in json.loads(out)] == ["kept"] * 3
    some = run("segment", "scenes", "--student", file, "--concepts", "red", "--out", "r", "--json")
    assert json.loads(some.stdout)[0]["area"] == {"red": 1.0}

    made = run("onnx", file, "s.onnx", "--photos", "scenes", "--json")
    assert json.loads(made.stdout)["agreement"] >= 0.995
    monkeypatch.setattr(sys, "argv", ["onnx_run.py", "s.onnx", "scenes/a.png", "a.labels.png"])
    runpy.run_path(str(EXAMPLE))
    assert images.read("a.labels.png").shape == images.read("scenes/a.png").shape
    assert "%" in capsys.readouterr().out


def test_the_table_has_a_line_per_concept():
    rows = [line.split("\t") for line in adapt("--iterations", 1).stdout.splitlines()]
    assert [row[0] for row in rows] == ["red", "green", "blue"]


def test_validation_needs_images_and_masks():
    assert "both" in adapt("--val-images", "scenes", status=3).stderr


def test_options_of_banks_are_refused_for_students():
    adapt("--iterations", 1)
    words = ("segment", "scenes", "--student", "s/student.safetensors", "--out", "o", "-q")
    for option in ("--temperature", "--strength", "--strictness"):
        assert option in run(*words, option, 0.5, status=3).stderr
    Path("foreign").write_bytes(b"x")
    assert (
        "not a student"
        in run("segment", "scenes", "--student", "foreign", "--out", "o", status=3).stderr
    )


def test_unknown_presets_and_encoders_are_bad_input():
    assert "small" in adapt("--preset", "huge", status=3).stderr
    assert "random:" in adapt("--encoder", "nothing", status=3).stderr
