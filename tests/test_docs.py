"""The documentation cannot rot: it builds without a warning, its blocks run, its errors exist."""

from __future__ import annotations

import ast
import html
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests import reader
from tests.reader import REASONS, ROOT, blocks, commands, follow

DOCS = ROOT / "docs"
NOTEBOOK = ROOT / "examples" / "first_steps.ipynb"
FEWEST = 8


def _hooks():
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
PAGES.update(_hooks().generated())
RUN = ("sh", "bash", "python")
RUNNABLE = [name for name in PAGES if any(b.language in RUN for b in blocks(PAGES[name]))]


# Without OpenCV, which nothing here needs, supervision says at its import that it is slower.
@pytest.mark.filterwarnings("ignore:OpenCV")
@pytest.mark.parametrize("page", RUNNABLE)
def test_every_block_of_a_page_runs_in_order(page, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    names = reader.settle(monkeypatch, tmp_path, PAGES[page])
    for block in blocks(PAGES[page]):
        if block.reason is not None:
            continue
        if block.language == "python":
            exec(compile(block.text, page, "exec"), names)
        elif block.language in RUN:
            for words in commands(block):
                follow(words)
    capsys.readouterr()


def test_what_is_not_run_is_little_and_has_a_true_reason():
    left_out = [block for text in PAGES.values() for block in blocks(text) if block.reason]
    assert len(left_out) <= FEWEST
    for block in left_out:
        assert block.reason in REASONS, block.reason
        assert re.search(REASONS[block.reason], block.text), block


def test_a_marker_belongs_to_its_block():
    text = "<!-- not run: needs a network -->\n```sh\ndocker x\n```\n\n```sh\nrecoseg y\n```\n"
    assert [block.reason for block in blocks(text)] == ["needs a network", None]


def test_every_block_says_its_language():
    unsaid = [
        (name, block.text)
        for name, text in PAGES.items()
        for block in blocks(text)
        if not block.language
    ]
    assert unsaid == []


def test_every_file_that_a_page_names_is_there():
    missing = [
        (name, link)
        for name, text in PAGES.items()
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
        if not (DOCS / link).exists() and link not in PAGES
    ]
    assert missing == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages of the site, built as ``make docs`` does, by their path."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", out]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    environment["PYTHONPATH"] = str(ROOT / "src")
    built = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return {p.relative_to(out).as_posix(): p.read_text() for p in out.rglob("*.html")}


def test_the_site_has_every_page_and_every_link_and_anchor_leads_somewhere(site):
    assert len(site) >= len(PAGES)
    anchors = {name: set(re.findall(r'\bid="?([^"\s>]+)', page)) for name, page in site.items()}
    dead = []
    for name, page in site.items():
        if name == "404.html":
            continue
        for link in re.findall(r'href="([^"]*)"', page):
            path, _, anchor = html.unescape(link).partition("#")
            if re.match(r"\w+:", path) or path.endswith((".css", ".png", ".svg", ".inv")):
                continue
            target = os.path.normpath(Path(name).parent / path) if path else name
            target = target.removeprefix("./") if target != "." else "index.html"
            target = target if target.endswith(".html") else f"{target}/index.html"
            if target not in site or (anchor and anchor not in anchors[target]):
                dead.append((name, link))
    assert dead == []


def test_the_site_takes_nothing_from_elsewhere(site):
    for name, page in site.items():
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*?src="(https?:|//)[^"]*', page)
        loaded += re.findall(r'<link[^>]*?rel="(?:stylesheet|preconnect)"[^>]*?href="https?:', page)
        assert loaded == [], name


def test_formulas_are_drawn(site):
    assert "<math" in site["method/index.html"]
    assert "$" not in re.sub(r"<[^>]+>", "", site["method/index.html"].partition("<article")[2])


def _sentences():
    """Every text of the sources, the parts of f-strings joined by an ellipsis."""
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "…" for p in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_the_failures_that_are_explained_exist():
    sources = _sentences()
    quoted = re.findall(r"^### `(.+)`$", PAGES["faq.md"], flags=re.MULTILINE)
    assert len(quoted) > 20
    parts = [part.strip() for text in quoted for part in re.split(r"…|\(…\)", text)]
    assert [part for part in parts if part.strip(" ;,)(") and part not in sources] == []


def test_what_the_method_names_exists():
    names = re.findall(r"`(recoseg(?:\.\w+)+)`", PAGES["method.md"])
    assert len(names) > 15
    for name in names:
        found: object = None
        for end in range(len(name.split(".")), 0, -1):
            module = ".".join(name.split(".")[:end])
            if importlib.util.find_spec(module.split(".")[0]) and _module(module) is not None:
                found = _module(module)
                for attribute in name.split(".")[end:]:
                    found = getattr(found, attribute)
                break
        assert found is not None, name


def _module(name: str):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


# the notebook


def test_the_notebook_is_stored_without_outputs():
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs"), cell.source
        assert cell.get("execution_count") is None


def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, resources=resources).execute()
    written = {path.name for path in (tmp_path / "first_steps").iterdir()}
    assert {"photos.index", "first.bank", "evidence.png", "overlay.png", "labels.png"} <= written
