"""A reader of the documentation: the blocks of a page, and a folder in which to follow them."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import recoseg
from recoseg import recipe
from recoseg.cli.app import app
from recoseg.io import images
from recoseg.learning import plan
from recoseg.models import catalogue, registry
from recoseg.reporting import showcase
from tests.pupils import PLAN
from tests.toys import Toy, paint

ROOT = Path(__file__).parents[1]
# Why a block may be left out, and what it must then hold.
REASONS = {
    "needs several processes": r"torchrun",
    "needs a network": r"https://|docker ",
    "needs a server": r"curl |postgresql://",
}
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^>]*?) -->\n\n?)?"
    r"^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)
# Verbs that end with Ctrl-C alone: that they take the options given is all that is looked at.
ENDLESS = ("serve",)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the reason of the comment before it, if it is not to be run."""

    language: str
    text: str
    reason: str | None


def blocks(text: str) -> list[Block]:
    return [
        Block(found["language"], found["text"], found["reason"]) for found in _BLOCK.finditer(text)
    ]


def commands(block: Block) -> list[list[str]]:
    """The words of each command, without comments, continued lines joined."""
    lines = block.text.replace("\\\n", " ").splitlines()
    split = [shlex.split(line, comments=True) for line in lines]
    return [words for words in split if words]


def settle(monkeypatch, home: Path, page: str) -> dict[str, object]:
    """Photos, and whatever the page does not make itself; every model the toy, every plan small.

    Returns:
        What the Python of a page may take for granted.
    """
    toy = Toy()
    small = recipe.LITE.replace(archive_size=64, image_size=64, scales=(1.0,), k=2)
    monkeypatch.setattr(registry, "_load", lambda model, device: toy)
    monkeypatch.setitem(recipe.PRESETS, "lite", small)
    monkeypatch.setitem(plan.PRESETS, "small", PLAN)
    monkeypatch.setattr(catalogue, "fetch", lambda wanted: dict.fromkeys(wanted, Path("weights")))
    monkeypatch.chdir(home)
    _photos(home)
    index = recoseg.Index.build("photos", home / "toy.index", model=toy, progress=False)
    words = {"cat": ["red"], "grass": ["green"], "sky": ["blue"]}
    words |= {"road": ["black"], "tree": ["yellow"]}
    bank = recoseg.ConceptBank.build(words, index, small, progress=False)
    bank = bank.with_thresholds(dict.fromkeys(words, 0.2))
    monkeypatch.setattr(recoseg.ConceptBank, "everyday", classmethod(lambda cls: bank))
    found = {"chelsea": images.read(home / "street.jpg")}
    monkeypatch.setattr(
        showcase, "load_shipped_photos", lambda: (found, {"chelsea": ["cat", "grass"]})
    )
    if "recoseg index photos photos.index" not in page:
        index = recoseg.Index.build("photos", home / "photos.index", model=toy, progress=False)
    if "concept build street.bank" not in page:
        words = {"road": ["red"], "tree": ["green"], "car": ["white"]}
        recoseg.ConceptBank.build(words, index, small, progress=False).save("street.bank")
    if "drive.mp4" in page:
        _film(home / "drive.mp4", sorted((home / "frames").iterdir()))
    return {
        "photos": sorted((home / "photos").iterdir()),
        "segmenter": recoseg.Segmenter(bank),
        "label_map": np.zeros((64, 64), np.uint8),
    }


def _film(path: Path, frames: list[Path]) -> None:
    av = pytest.importorskip("av", reason="pip install 'recoseg[video]'")
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=5, width=64, height=64, pix_fmt="yuv420p")
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(images.read(frame), format="rgb24")))
        film.mux(stream.encode())


def _photos(home: Path) -> None:
    for number, (ground, thing) in enumerate(
        [("blue", "red"), ("green", "red"), ("blue", "green")]
    ):
        for folder in ("photos", "drive", "new", "bollards", "holiday", "frames"):
            paint(home / folder / f"{number}.jpg", ground, thing)
    paint(home / "photos" / "photo.jpg", "white")
    for name in ("a.jpg", "street.jpg", "one.jpg", "two.jpg"):
        paint(home / name, "green", "red")
    (home / "labelled" / "masks").mkdir(parents=True)
    for number in range(2):
        paint(home / "labelled" / "images" / f"{number}.png", "red", "green")
        mask = np.zeros((64, 64), np.uint8)
        mask[16:-16, 16:-16] = 1
        Image.fromarray(mask).save(home / "labelled" / "masks" / f"{number}.png")


def follow(words: list[str]) -> None:
    """Run a command as far as that is possible here; AssertionError if it fails."""
    kinds = {"make": _make, "pip": _pip, "recoseg": _recoseg}
    assert words[0] in kinds, (
        f"{' '.join(words)!r}: mark its block, or teach tests/reader.py to run it"
    )
    kinds[words[0]](words)


def _make(words: list[str]) -> None:
    target, *variables = words[1:]
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{target}:.*##", makefile, flags=re.MULTILINE), target
    for variable in variables:
        assert re.search(rf"^{variable.partition('=')[0]} \?=", makefile, re.MULTILINE), variable
    dry = subprocess.run(
        ["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert dry.returncode == 0, dry.stderr


def _pip(words: list[str]) -> None:
    """``pip install .`` with extras that exist; it is not run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = re.fullmatch(r"(?:\.|recoseg)(?:\[([\w,]+)\])?", words[2])
    assert words[:2] == ["pip", "install"], words
    assert len(words) == 3, words
    assert found, words
    extras = set(found[1].split(",")) if found[1] else set()
    assert extras <= set(project["optional-dependencies"]), words


def _recoseg(words: list[str]) -> None:
    if words[1] in ENDLESS:
        words = [*words, "--help"]  # its options are read before the help is shown
    if words[1:3] == ["concept", "build"]:
        Path(words[3]).unlink(missing_ok=True)  # of an example before, which stands for itself
    result = CliRunner().invoke(app, words[1:])
    # The doctor may find this machine wanting, and says so by its status.
    accepted = {0, 3} if words[1] == "doctor" else {0}
    assert result.exit_code in accepted, (words, result.output, result.exception)
