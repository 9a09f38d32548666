"""What a user gets before calling anything: names, files, and an import that costs nothing."""

from __future__ import annotations

import fnmatch
import importlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import recoseg

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEAVY = ("torch", "numpy", "PIL", "scipy", "timm", "transformers", "typer", "rich")


def python(code: str) -> str:
    """Run code in a fresh interpreter; its stdout."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout


def loaded_by(code: str) -> list[str]:
    """Which heavy packages a fresh interpreter has loaded after ``code``."""
    listing = (
        f"{code}\nimport json, sys; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    )
    return json.loads(python(listing).splitlines()[-1])


def test_import_loads_nothing_heavy():
    assert loaded_by("import recoseg; dir(recoseg)") == []


def test_the_command_line_loads_no_torch_before_a_verb_runs():
    assert "torch" not in loaded_by("import recoseg.cli, recoseg.__main__")


def test_light_names_stay_light():
    assert loaded_by("import recoseg; recoseg.Recipe; recoseg.RecosegError") == []


@pytest.mark.parametrize("name", recoseg.__all__)
def test_every_public_name_is_there(name):
    assert getattr(recoseg, name) is not None
    assert name in dir(recoseg)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Segmentor'"):
        _ = recoseg.Segmentor


def test_public_modules_are_there_without_an_import_of_their_own():
    names = python(
        "import recoseg; print([getattr(recoseg, name).__name__ for name in recoseg._MODULES])"
    )
    assert names.strip() == str([f"recoseg.{home}" for home in recoseg._MODULES.values()])


def test_no_public_name_is_a_module_s_name_too():
    # Importing the module would put it in the place of the function or class.
    package = ROOT / "src" / "recoseg"
    modules = {path.stem for path in package.iterdir() if path.suffix in {".py", ""}}
    assert modules & set(recoseg._HOMES) == set()


def test_type_checkers_see_every_public_name():
    source = (ROOT / "src" / "recoseg" / "__init__.py").read_text()
    for name, home in recoseg._HOMES.items():
        assert f"from recoseg.{home} import {name} as {name}\n" in source


def test_versions_agree():
    assert recoseg.__version__ == PROJECT["project"]["version"]
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{recoseg.__version__}]" in changes


def test_the_package_is_typed_and_its_data_travel_with_it():
    package = ROOT / "src" / "recoseg"
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["recoseg"]
    extra = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    ]
    left = [n for n in extra if not any(fnmatch.fnmatch(n, pattern) for pattern in patterns)]
    assert "py.typed" in extra
    assert left == []


def test_shipped_data_stay_small():
    data = ROOT / "src" / "recoseg" / "data"
    limits = {".safetensors": 12e6, ".bank": 1e6}
    large = [p.name for p in data.glob("*") if p.stat().st_size > limits.get(p.suffix, 1e5)]
    assert large == []


def test_the_licence_is_the_whole_apache_licence():
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


def test_pinned_versions_lie_in_the_declared_ranges():
    from packaging.requirements import Requirement

    pinned = {}
    for line in (ROOT / "requirements" / "ci.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            pinned[requirement.name] = next(iter(requirement.specifier)).version
    assert {"torch", "torchvision"} <= set(pinned)
    groups = PROJECT["project"]["optional-dependencies"].values()
    for line in [*PROJECT["project"]["dependencies"], *(r for group in groups for r in group)]:
        requirement = Requirement(line)
        if requirement.name in pinned:
            assert pinned[requirement.name] in requirement.specifier, line


def test_the_entry_point_resolves():
    module, _, function = PROJECT["project"]["scripts"]["recoseg"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_ci_runs_the_checks_and_the_readme_s_test_command():
    script = ROOT / ".ci" / "run"
    lines = script.read_text().splitlines()
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in lines
    assert lines[-2:] == ["make check", "make test"]


def test_a_segmenter_loads_no_archive_and_no_database():
    code = "import json, sys, recoseg.segmenting.segmenter; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(python(code)))
    rooms = {name.split(".")[1] for name in loaded if name.startswith("recoseg.")}
    assert "segmenting" in rooms
    assert rooms.isdisjoint({"index", "datasets", "building", "student", "runs", "learning", "web"})
    assert loaded.isdisjoint({"sqlite3", "recoseg.io.tars", "recoseg.io.archive", "typer"})
