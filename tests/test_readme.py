"""The README cannot rot: its commands run, its Python runs, and a newcomer finds them early."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

import recoseg
from recoseg import recipe
from recoseg.cli.app import app
from recoseg.models import registry
from tests.toys import Toy, paint

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)
    for language, block in BLOCKS
    if language == "sh"
    for line in block.splitlines()
    if shlex.split(line, comments=True)
]
INLINE = [shlex.split(text) for text in re.findall(r"`((?:recoseg|make) [^`]+)`", README)]
# In running text a verb may be named without its arguments: it must exist, not run.
NAMED = [
    [*words, "--help"] if words[0] == "recoseg" and len(words) == 2 else words for words in INLINE
]


@pytest.fixture
def stranger(monkeypatch, tmp_path):
    """A folder with a few photos; every model the toy, every preset small, the bank its own."""
    toy = Toy()
    small = recipe.LITE.replace(archive_size=64, image_size=64, k=2)
    monkeypatch.setattr(registry, "_load", lambda model, device: toy)
    monkeypatch.setitem(recipe.PRESETS, "lite", small)
    monkeypatch.chdir(tmp_path)
    for number, (ground, thing) in enumerate([("blue", "red"), ("green", "red"), ("red", "blue")]):
        paint(tmp_path / "photos" / f"{number}.jpg", ground, thing)
    paint(tmp_path / "photos" / "photo.jpg", "white")
    for name in ("street.jpg", "one.jpg", "two.jpg"):
        paint(tmp_path / name, "green", "red")
    index = recoseg.Index.build("photos", tmp_path / "toy.index", model=toy, progress=False)
    words = {"cat": ["red"], "grass": ["green"], "sky": ["blue"]}
    bank = recoseg.ConceptBank.build(words, index, small, progress=False)
    monkeypatch.setattr(recoseg.ConceptBank, "everyday", classmethod(lambda cls: bank))
    return tmp_path


def check_make(words):
    target, *variables = words[1:]
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{target}:.*##", makefile, flags=re.MULTILINE), target
    for variable in variables:
        assert re.search(rf"^{variable.partition('=')[0]} \?=", makefile, re.MULTILINE), variable
    dry = subprocess.run(
        ["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert dry.returncode == 0, dry.stderr


def check_pip(words):
    assert words == ["pip", "install", "."], "what a README may ask pip for"
    assert (ROOT / "pyproject.toml").is_file()


def check_recoseg(words):
    result = CliRunner().invoke(app, words[1:])
    # The doctor may find this machine wanting, and says so by its status.
    accepted = {0, 3} if words[1] == "doctor" else {0}
    assert result.exit_code in accepted, (words, result.output, result.exception)


def test_the_readme_is_short_and_shows_code_early():
    lines = README.splitlines()
    assert len(lines) <= 200
    assert next(i for i, line in enumerate(lines) if line.startswith("```")) < 40


def test_the_readme_has_commands_of_every_kind():
    assert {words[0] for words in COMMANDS} == {"make", "pip", "recoseg"}
    assert {"demo", "test", "check"} <= {words[1] for words in COMMANDS if words[0] == "make"}


def test_every_command_runs_in_order(stranger):
    checks = {"make": check_make, "pip": check_pip, "recoseg": check_recoseg}
    for words in [*COMMANDS, *NAMED]:
        checks[words[0]](words)


def test_every_python_block_runs(stranger, capsys):
    blocks = [block for language, block in BLOCKS if language == "python"]
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out
    assert (stranger / "street.png").is_file()


def test_every_file_it_links_to_is_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
