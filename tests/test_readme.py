"""The README cannot rot: its commands run, its Python runs, and a newcomer finds them early."""

from __future__ import annotations

import re
import shlex

import pytest

from tests import reader
from tests.reader import ROOT, blocks, commands, follow

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = blocks(README)
COMMANDS = [words for block in BLOCKS if block.language == "sh" for words in commands(block)]
INLINE = [shlex.split(text) for text in re.findall(r"`((?:recoseg|make) [^`]+)`", README)]
# In running text a verb may be named without its arguments: it must exist, not run.
NAMED = [
    [*words, "--help"] if words[0] == "recoseg" and len(words) == 2 else words for words in INLINE
]


@pytest.fixture
def stranger(monkeypatch, tmp_path):
    """A folder with a few photos, in which no command was given yet."""
    reader.settle(monkeypatch, tmp_path, README)
    return tmp_path


def test_the_readme_is_short_and_shows_code_early():
    lines = README.splitlines()
    assert len(lines) <= 200
    assert next(i for i, line in enumerate(lines) if line.startswith("```")) < 40


def test_the_readme_has_commands_of_every_kind_and_leaves_none_out():
    assert {words[0] for words in COMMANDS} == {"make", "pip", "recoseg"}
    assert {"demo", "test", "check"} <= {words[1] for words in COMMANDS if words[0] == "make"}
    assert [block for block in BLOCKS if block.reason is not None] == []


def test_every_command_runs_in_order(stranger):
    for words in [*COMMANDS, *NAMED]:
        follow(words)


def test_every_python_block_runs(stranger, capsys):
    found = [block.text for block in BLOCKS if block.language == "python"]
    assert found
    for block in found:
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out
    assert (stranger / "street.png").is_file()


def test_every_file_it_links_to_is_there():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
