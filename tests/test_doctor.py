from __future__ import annotations

import importlib
import json
import os
import sys
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recoseg.cli import doctor
from recoseg.cli.app import app
from recoseg.concepts.bank import ConceptBank
from recoseg.errors import BankError
from recoseg.models.weights import hub_cache

GOOD = [("head", True, "sha256 matches", "")]
BAD = [("head", True, "sha256 matches", ""), ("text", False, "missing", "pip install x")]


@pytest.fixture
def lite(monkeypatch):
    """A stand-in for the lite model's own status, which a test may change."""
    module = types.ModuleType("recoseg.models.lite")
    module.status = lambda: GOOD
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(importlib.import_module("recoseg.models"), "lite", module, raising=False)
    monkeypatch.setattr(ConceptBank, "everyday", classmethod(lambda cls: {"cat": 1}), raising=False)
    return module


def named(name):
    return next(check for check in doctor.examine() if check.name == name)


def test_a_good_machine_is_healthy_and_every_finding_says_what_was_found(lite):
    checks = doctor.examine()
    assert doctor.healthy(checks)
    assert all(check.detail for check in checks)
    assert all(check.fix for check in checks if not check.ok)
    assert {"python", "torch", "timm", "device", "lite: head", "everyday bank"} <= {
        check.name for check in checks
    }


def test_what_lite_lacks_makes_it_ill_and_comes_with_the_remedy(lite):
    lite.status = lambda: BAD
    assert not doctor.healthy(doctor.examine())
    assert named("lite: text").fix == "pip install x"


def test_a_check_that_fails_is_a_finding_not_a_crash(lite):
    def broken():
        raise OSError("disk\nfell off")

    lite.status = broken
    checks = doctor.examine()
    assert not doctor.healthy(checks)
    assert named("lite").detail == "OSError: disk fell off"
    assert named("everyday bank").ok


def test_a_damaged_bank_is_a_finding(lite, monkeypatch):
    def damaged(cls):
        raise BankError("the bank is damaged; get it again.")

    monkeypatch.setattr(ConceptBank, "everyday", classmethod(damaged))
    assert not doctor.healthy(doctor.examine())
    assert "damaged" in named("everyday bank").detail


def test_a_missing_package_is_named_with_its_remedy(lite, monkeypatch):
    monkeypatch.setattr(doctor, "NEEDED", ("torch", "no-such-package"))
    assert named("no-such-package").fix == "pip install no-such-package"
    assert not doctor.healthy(doctor.examine())


def test_missing_extras_are_no_illness(lite, monkeypatch):
    monkeypatch.setattr(doctor, "EXTRAS", {"no_such_module": ("no-such-extra", "nothing")})
    assert not named("no-such-extra").ok
    assert doctor.healthy(doctor.examine())


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({"HOME": "/home/someone"}, "/home/someone/.cache/huggingface/hub"),
    ],
)
def test_the_hub_cache_is_where_its_client_looks(monkeypatch, variables, expected):
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hub_cache() == Path(expected)


def test_cached_models_are_counted_and_offline_switches_named(lite, monkeypatch, tmp_path):
    (tmp_path / "models--someone--something").mkdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert named("hub cache").detail.endswith("models cached: 1")
    assert "HF_HUB_OFFLINE" in named("model hub").detail


def test_a_cache_that_cannot_be_written_is_noticed(lite, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "not" / "yet"))
    assert not named("cache writable").ok


@pytest.mark.parametrize(("status", "exit_code"), [(GOOD, 0), (BAD, 3)])
def test_the_verb_s_exit_status_says_whether_the_default_model_works(lite, status, exit_code):
    lite.status = lambda: status
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == exit_code
    found = json.loads(result.stdout)
    assert found["healthy"] == (exit_code == 0)
    assert found["checks"][0]["name"] == "python"


def test_the_verb_prints_one_line_per_check(lite):
    lite.status = lambda: BAD
    result = CliRunner().invoke(app, ["doctor"])
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert {len(row) for row in rows} == {4}
    assert ["missing", "lite: text", "missing", "pip install x"] in rows
    assert "cannot work here yet" in result.stderr
