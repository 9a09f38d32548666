"""The demo on painted photos with the toy model: what ``recoseg demo`` and ``make demo`` run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import recoseg
from recoseg import recipe
from recoseg.cli.app import app
from recoseg.io import images
from recoseg.models import registry
from recoseg.models.registry import Models
from recoseg.reporting import showcase
from tests.toys import Toy, paint


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """A working folder with photos, the toy for every model, and one photo that is shipped."""
    toy = Toy()
    monkeypatch.setattr(registry, "_load", lambda model, device: toy)
    monkeypatch.chdir(tmp_path)
    for number, (ground, thing) in enumerate([("blue", "red"), ("green", "red"), ("red", "blue")]):
        paint(tmp_path / "my photos" / f"{number} <b>.png", ground, thing)
    small = recipe.LITE.replace(archive_size=64, image_size=64, ce=False)
    monkeypatch.setitem(recipe.PRESETS, "lite", small)
    examples = {"red": [tmp_path / "my photos" / "0 <b>.png"], "blue": [tmp_path / "b.png"]}
    paint(tmp_path / "b.png", "blue")
    models = Models(toy, toy, toy)
    bank = recoseg.ConceptBank.build(
        [], None, small, examples=examples, models=models, progress=False
    )
    monkeypatch.setattr(recoseg.ConceptBank, "everyday", classmethod(lambda cls: bank))
    found = {"cat": images.read(tmp_path / "my photos" / "0 <b>.png")}
    monkeypatch.setattr(showcase, "load_shipped_photos", lambda: (found, {"cat": ["red", "blue"]}))


def run(*words, status=0):
    result = CliRunner().invoke(app, ["demo", *words])
    assert result.exit_code == status, (result.output, result.exception)
    return result


@pytest.mark.usefixtures("shipped")
def test_it_shows_the_shipped_photos_and_says_where_to_look(tmp_path):
    result = run()
    page = tmp_path / "demo" / "everyday" / "index.html"
    assert result.stdout.splitlines() == [str(page)]
    assert result.stderr.splitlines()[-1] == "Look at:"
    assert images.read(page.parent / "sheet.png").ndim == 3
    text = page.read_text()
    assert "<b>cat</b>" in text
    assert len(re.findall(r'src="data:image/jpeg;base64,', text)) == 2
    assert not re.findall(r'(?:src|href)="(?!data:)', text)


@pytest.mark.usefixtures("shipped")
def test_with_a_folder_it_learns_from_it_and_segments_some(tmp_path):
    result = run("--photos", "my photos", "--concepts", "red, blue ,", "--json")
    page = tmp_path / "demo" / "yours" / "index.html"
    assert json.loads(result.stdout)["pages"][-1] == str(page)
    assert "Learning red, blue from 3 photos" in result.stderr
    assert recoseg.ConceptBank.open("demo/yours.bank").names == ("red", "blue")
    assert "<b>0 &lt;b&gt;.png</b>" in page.read_text()
    assert (tmp_path / "demo" / "yours" / "evidence_red.png").is_file()


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["--photos", "nowhere"], "nowhere"),
        (["--photos", "my photos", "--concepts", " ,"], "--concepts names nothing"),
    ],
)
def test_bad_input_is_one_sentence_before_any_work(words, cause):
    result = run(*words, status=3)
    assert cause in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("demo").exists()


@pytest.mark.usefixtures("shipped")
def test_without_any_photo_it_says_which_extra_has_some(monkeypatch):
    monkeypatch.setattr(showcase, "load_shipped_photos", lambda: ({}, {}))
    assert "pip install 'recoseg[demo]', or give photos" in run(status=3).stderr
    pages = json.loads(run("--photos", "my photos", "--concepts", "red", "--json").stdout)["pages"]
    assert [Path(page).parent.name for page in pages] == ["yours"]


def test_the_photos_that_it_names_are_shipped():
    names = [Path(name).stem for group in showcase.SHIPPED.values() for name in group]
    photos, wanted = showcase.load_shipped_photos()
    assert list(photos) == list(wanted) == names
    bank = recoseg.ConceptBank.everyday()
    assert all(name in bank for named in wanted.values() for name in named)
    assert all(min(photo.shape[:2]) >= 256 for photo in photos.values())
