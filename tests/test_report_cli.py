"""``recoseg report`` on an evaluation and on a bank."""

from __future__ import annotations

import pytest

from tests import test_cli, test_report
from tests.test_cli import data, lines, run

folder = test_report.folder
made, workplace = test_cli.made, test_cli.workplace
index, bank = test_cli.index, test_cli.bank


def test_an_evaluation_becomes_a_page_beside_it(folder):
    test_report.written(folder, test_report.everything())
    for path in (folder, folder / "report.json"):
        (folder / "report.html").unlink(missing_ok=True)
        assert lines("report", path) == [
            ["DenseCLIP", "77.6", "46.1"],
            ["ReCo + CRF", "77.6", "56.2"],
        ]
        assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_an_evaluation_as_json_gives_the_figures_of_the_file(folder):
    test_report.written(folder, test_report.everything())
    found = data("report", folder, "--out", "page.html")
    assert found["page"] == "page.html"
    assert found["systems"][1] == {"system": "reco+crf", "accuracy": 0.7761, "miou": 0.5619}


def test_a_bank_becomes_a_page_and_json(bank, index):
    found = data("report", bank, "--index", index)
    assert found["page"] == "two.html"
    assert [concept["name"] for concept in found["concepts"]] == ["red", "yellow"]
    assert found["concepts"][0]["retrieval"]["standout"] > 0
    assert data("report", bank)["concepts"][0]["retrieval"] is None


def test_a_bank_prints_a_line_per_concept(bank):
    assert [line[:2] for line in lines("report", bank)] == [["red", "3"], ["yellow", "3"]]


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("absent.json",), "cannot be read"),
        (("absent.bank",), "cannot be read"),
        (("two.bank", "--index", "absent.index"), "absent.index"),
        (("two.bank", "--out", "no/such/page.html"), "does not exist"),
        (("two.json", "--index", "photos.index"), "--index belongs to a bank"),
        (("photos.index",), "report.json"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_3(bank, words, cause):
    result = run("report", *words, status=3)
    assert cause in result.stderr
    assert result.stderr.count("\n") == 1
