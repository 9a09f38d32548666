"""The plan for large archives: its arithmetic, its tables, and the benchmark that feeds them."""

from __future__ import annotations

import importlib
import json
import sys

import pytest

from recoseg.index import update
from tests.reader import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
scale_page, scale_plan, scale_rows = map(
    importlib.import_module, ("scale_page", "scale_plan", "scale_rows")
)
sys.path.remove(str(ROOT / "benchmarks"))

DATA = json.loads(scale_page.RESULTS.read_text(encoding="utf-8"))
ROWS = [10**4, 10**5, 10**6]
PHOTOS = {
    "decoding": [8, 32, 128],
    "embedding": [8, 32, 128],
    "building a concept": [8, 15, 30],
    "segmenting": [1, 2, 4],
    "labels for adapt": [1, 2, 4],
    "record of results": ROWS[:2],
}


def test_every_figure_of_the_page_is_that_of_the_result():
    text = scale_page.PAGE.read_text(encoding="utf-8")
    assert scale_page.fill_tables(text, DATA) == text
    changed = json.loads(json.dumps(DATA))
    changed["plan"][1]["index_bytes"] *= 2
    assert scale_page.fill_tables(text, changed) != text


def test_what_follows_from_the_measurements_follows():
    derived = scale_plan.derive(DATA["results"], DATA["files"])
    assert json.loads(json.dumps(derived)) == {name: DATA[name] for name in derived}


def test_the_sizes_are_those_that_the_page_names():
    found = {}
    for row in DATA["results"]:
        found.setdefault(row["stage"], []).append(row["size"])
    assert PHOTOS.keys() <= found.keys()
    for stage, sizes in found.items():  # the page's second column says to which
        assert sizes == PHOTOS.get(stage, ROWS)[: len(sizes)]
        assert len(sizes) > 1
    assert (DATA["dim"], DATA["prompts"]) == (512, 500)
    sizes = [held["rows"] for held in DATA["files"]]
    assert sizes == ROWS[: len(sizes)]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_a_slope_is_the_exponent_of_a_power(power):
    points = {n: 7 * n**power for n in (10, 100, 1000, 5000)}
    assert scale_plan.slope(points) == pytest.approx(power)


def costs(**core_seconds):
    stages = [*scale_plan.INDEXING, "update with nothing changed", "opening", "segmenting"]
    stages += ["search of one query", "search of 500 prompts"]
    blank = {"core_seconds": 0.0, "bytes": 1e9, "peak_mib": 100, "measured_at": 10**6}
    return {s: {**blank, "core_seconds": core_seconds.get(s.split()[0], 0.0)} for s in stages}


def test_the_plan_of_costs_that_are_easy_to_reckon():
    """36,000 core-seconds per million: ten core-hours, of which one is decoding."""
    assumed = {**scale_plan.ASSUMED, "cores": 10, "hours": 1, "gpu": 1000, "photo": 9e5}
    rows = scale_plan.plan(costs(decoding=3600, embedding=32400, search=3.6), 1200, assumed)
    ten, hundred, _ = rows
    assert [row["photos"] for row in rows] == [10**7, 10**8, 5 * 10**9]
    assert ten["indexing_core_hours"] == pytest.approx(100)
    assert (ten["indexing_nodes"], hundred["indexing_nodes"]) == (10, 100)
    assert ten["indexing_gpu_hours"] == pytest.approx(10**7 / 1000 / 3600)
    assert ten["indexing_gpu_nodes"] == 3  # for the GPUs; the processors need one
    assert ten["indexing_gpu_network_hours"] == pytest.approx(9e12 / 1.25e9 / 3 / 3600)
    assert ten["index_bytes"] == 1.2e10
    assert ten["query_core_seconds"] == pytest.approx(36)
    assert ten["query_disk_seconds"] == pytest.approx(5)
    assert hundred["prompts_core_hours"] == pytest.approx(0.1)
    assert hundred["update_memory_bytes"] == 100 * 2**20 * 100


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (7, "7"),
        (12.345, "12.3"),
        (1234, "1,230"),
        (5e9, "5" + 3 * ",000"),
    ],
)
def test_three_digits_are_shown(value, shown):
    assert scale_page.number(value) == shown


def test_bytes_are_shown_in_a_unit():
    shown = [scale_page.size(value) for value in (7, 999, 1000, 1.5e9, 2.5e16)]
    assert shown == ["7 B", "999 B", "1 kB", "1.5 GB", "25 PB"]


def test_the_benchmark_measures_the_stages_that_the_page_has(tmp_path, monkeypatch):
    monkeypatch.setattr(update, "COARSE_NS", 10**7)
    monkeypatch.setattr(scale_rows, "peak", lambda *_: 1.0)  # starts a process
    found = {stage: spent for stage, spent, _ in scale_rows.stages(tmp_path, 60, 16, 1)}
    measured = {row["stage"] for row in DATA["results"]} - PHOTOS.keys()
    assert found.keys() == measured
    assert all(spent.seconds > 0 for spent in found.values())


def test_tables_of_the_page_wait_until_every_stage_was_measured(tmp_path, monkeypatch):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    scale = importlib.import_module("scale")
    sys.path.remove(str(ROOT / "benchmarks"))
    page, out = tmp_path / "scale.md", tmp_path / "scale.json"
    whole = scale_page.PAGE.read_text(encoding="utf-8")
    text = whole.replace("| 1,000,000 |", "| 0 |")
    page.write_text(text, encoding="utf-8")
    monkeypatch.setattr(scale_page, "PAGE", page)
    monkeypatch.setattr(scale_page, "RESULTS", out)
    last = sorted(scale_plan.NEEDED)[-1]
    facts = {name: DATA[name] for name in ("commit", "dim", "prompts")}
    early = [row for row in DATA["results"] if row["stage"] != last]
    scale.write(out, facts, early, DATA["files"])
    assert page.read_text(encoding="utf-8") == text
    scale.write(out, facts, [row for row in DATA["results"] if row["stage"] == last], [])
    assert sorted(page.read_text(encoding="utf-8").splitlines()) == sorted(whole.splitlines())
