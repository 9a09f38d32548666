"""The demo on painted photos with the toy model: what ``make demo`` runs after the installation."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

import recoseg
from recoseg import images, recipe
from recoseg.models import registry
from recoseg.models.trio import Models
from tests.toys import Toy, paint

SCRIPT = Path(__file__).parents[1] / "examples" / "demo.py"


@pytest.fixture
def demo(monkeypatch, tmp_path):
    toy = Toy()
    monkeypatch.setattr(registry, "_load", lambda model, device: toy)
    monkeypatch.chdir(tmp_path)
    for number, (ground, thing) in enumerate([("blue", "red"), ("green", "red"), ("red", "blue")]):
        paint(tmp_path / "my photos" / f"{number} <b>.png", ground, thing)
    small = recipe.LITE.replace(archive_size=64, image_size=64, ce=False)
    examples = {"red": [tmp_path / "my photos" / "0 <b>.png"], "blue": [tmp_path / "b.png"]}
    paint(tmp_path / "b.png", "blue")
    models = Models(toy, toy, toy)
    bank = recoseg.ConceptBank.build(
        [], None, small, examples=examples, models=models, progress=False
    )
    monkeypatch.setattr(recoseg.ConceptBank, "everyday", classmethod(lambda cls: bank))
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shipped = {"cat": images.read(tmp_path / "my photos" / "0 <b>.png")}
    monkeypatch.setattr(module, "shipped", lambda: (shipped, {"cat": ["red", "blue"]}))
    return module


def run(demo, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["demo.py", *words])
    demo.main()


def test_it_shows_the_shipped_photos_and_says_where_to_look(demo, monkeypatch, capsys, tmp_path):
    run(demo, monkeypatch, "--out", "demo", "--photos", "", "--concepts", "")
    page = tmp_path / "demo" / "everyday" / "index.html"
    assert capsys.readouterr().out.splitlines()[-1] == f"Look at {page}"
    assert images.read(page.parent / "sheet.png").ndim == 3
    text = page.read_text()
    assert "<b>cat</b>" in text
    assert len(re.findall(r'src="data:image/jpeg;base64,', text)) == 2
    assert not re.findall(r'(?:src|href)="(?!data:)', text)


def test_with_a_folder_it_learns_from_it_and_segments_some(demo, monkeypatch, capsys, tmp_path):
    run(demo, monkeypatch, "--photos", "my photos", "--concepts", "red, blue ,")
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == f"Look at {tmp_path / 'demo' / 'yours' / 'index.html'}"
    assert "Learning red, blue from 3 photos" in out
    assert recoseg.ConceptBank.open("demo/yours.bank").names == ("red", "blue")
    assert "<b>0 &lt;b&gt;.png</b>" in (tmp_path / "demo" / "yours" / "index.html").read_text()
    assert (tmp_path / "demo" / "yours" / "evidence_red.png").is_file()


def test_a_folder_that_is_not_there_is_one_sentence(demo, monkeypatch):
    with pytest.raises(SystemExit, match=r"demo: .*nowhere"):
        run(demo, monkeypatch, "--photos", "nowhere")


def test_the_photos_that_it_names_are_shipped():
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names = [Path(name).stem for group in module.SHIPPED.values() for name in group]
    photos, wanted = module.shipped()
    assert list(photos) == list(wanted) == names
    bank = recoseg.ConceptBank.everyday()
    assert all(name in bank for named in wanted.values() for name in named)
    assert all(min(photo.shape[:2]) >= 256 for photo in photos.values())
