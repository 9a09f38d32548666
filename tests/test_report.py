"""The page of an evaluation: what it shows, what it escapes, what it refuses."""

from __future__ import annotations

import builtins
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import ReportError
from recoseg.reporting import benchmarkpage, plots, reportfile
from recoseg.reporting.reportfile import PublishedRow
from tests.toys import paint

HOSTILE = '<script>alert("x")</script>'
FORMULA = "$\\frac{a}{b}$ & co"
CLASSES = ["road", HOSTILE, FORMULA, "日本 ' onload=x"]
CONFUSION = [[80, 10, 0, 10], [0, 50, 50, 0], [0, 0, 0, 0], [5, 0, 0, 95]]
EMBEDDED = "data:image/"


class Page(HTMLParser):
    """Tags with attributes, the text, and the cells of every table."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self._cell = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._cell = tag in ("td", "th") or (self._cell and tag not in ("tr", "table"))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data):
        self.words.append(data)
        if self._cell:
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def row(self, name: str) -> list[str]:
        return next(row[1:] for row in self.rows if row and row[0].strip() == name)

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def system(name="reco+crf", label="ReCo + CRF", miou=0.5619, **more):
    ious = (0.7017, 0.25, None, 0.0)
    rows = [
        {"name": c, "iou": i, "accuracy": i, "pixels": 100}
        for c, i in zip(CLASSES, ious, strict=True)
    ]
    base = {"name": name, "label": label, "miou": miou, "accuracy": 0.7761}
    return base | {"per_class": rows, "confusion": CONFUSION} | more


def everything():
    sweep = {"name": "archive size", "x": "images"}
    sweep["points"] = [
        {"x": x, "system": "reco", "miou": m} for x, m in ((500, 0.4123), (12712, 0.4771))
    ]
    encoders = {"name": "encoder", "x": "encoder"}
    encoders["points"] = [{"x": x, "system": "reco", "miou": 0.4} for x in ("lite", HOSTILE)]
    views = ("image", "truth", "denseclip", "reco", "crf")
    case = {"id": "a&b.jpg", "files": {view: f"gallery/{view}.png" for view in views}}
    return {
        "format": "recoseg report",
        "version": 1,
        "provenance": {"commit": "abc123", "seeds": [1, 2], "machine": {"threads": 2, "gpu": None}},
        "dataset": {"name": "street <b>", "split": "val", "images": 1234, "classes": CLASSES},
        "protocol": {"name": "native", "geometry": "full resolution"},
        "systems": [
            system("denseclip", "DenseCLIP", 0.4608, confusion=None),
            system(recipe={"k": 30, "crf": {"iterations": 10}}),
        ],
        "sweeps": [sweep, encoders],
        "grid": [
            {"denseclip": True, "lgc": False, "ce": False, "crf": False, "miou": 0.218},
            {
                **{"denseclip": True, "lgc": True, "ce": True, "crf": True, "miou": 0.272},
                "published": [
                    {"protocol": "context", "accuracy": None, "miou": 0.3, "footnote": "from here"},
                    {"protocol": "context", "accuracy": 0.5, "miou": 0.4},
                ],
            },
        ],
        "purity": [
            {
                "archive": "objects",
                "k": 10,
                "mean": 0.85,
                "per_concept": [
                    {"name": "anvil", "precision": 0.7, "positives": 12},
                    {"name": HOSTILE, "precision": 1.0, "positives": 3},
                ],
            }
        ],
        "gallery": [case | {"miou": 0.812, "case": "best"}, case | {"miou": 0.05, "case": "worst"}],
    }


def with_gallery(folder: Path) -> Path:
    for view, colour in zip(
        ("image", "truth", "denseclip", "reco", "crf"),
        ("red", "green", "blue", "white", "black"),
        strict=True,
    ):
        paint(folder / "gallery" / f"{view}.png", colour, size=8)
    return folder


@pytest.fixture
def folder(tmp_path):
    return with_gallery(tmp_path)


def written(folder: Path, data: object) -> Path:
    (folder / "report.json").write_text(json.dumps(data))
    return folder


def html(folder: Path, data: object) -> str:
    return benchmarkpage.render_benchmark_page(reportfile.read(written(folder, data)), folder)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return Page(html(with_gallery(tmp_path_factory.mktemp("whole")), everything()))


def test_nothing_is_fetched_from_elsewhere(page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "data", "srcset", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", EMBEDDED)), (tag, value)
    assert {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags} == set()
    style = "".join(word for word in page.words if "--ink" in word)
    assert "url(" not in style
    assert "@import" not in style


def test_every_anchor_leads_somewhere_and_no_id_is_used_twice(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for _, a in page.tags if a.get("href", "").startswith("#")}
    assert targets <= set(ids)
    assert {"results", "classes", "ablation", "gallery"} <= targets


def test_hostile_names_are_shown_as_text(page):
    assert page.text.count(HOSTILE) > 5
    assert page.row(HOSTILE)
    assert not any(name.startswith("on") for _, a in page.tags for name in a)
    assert page.all("b") == []


def test_every_class_is_in_the_table_and_in_the_plots(page):
    for name in CLASSES:
        assert page.row(name)
        assert page.words.count(name) >= 3


def test_the_table_shows_the_figures_of_the_file(page):
    assert page.row("DenseCLIP")[:2] == ["77.6", "46.1"]
    assert page.row("ReCo + CRF")[:2] == ["77.6", "56.2"]
    assert page.row("road") == ["70.2", "70.2", "70.2", "25.0"]
    assert page.row(FORMULA)[0] == "\N{EN DASH}"
    assert page.row("anvil") == ["70.0", "12"]
    assert page.row("objects") == ["10", "2", "85.0"]
    assert page.row("500") == ["reco", "\N{EN DASH}", "41.2"]
    assert page.row("12,712")[2] == "47.7"


def test_the_summary_says_what_the_table_says(page):
    assert (
        "ReCo + CRF reaches 56.2 % mIoU and 77.6 % pixel accuracy on 1,234 images of 4 classes: "
        "10.1 points of mIoU above DenseCLIP."
    ) in page.text


def test_the_ablation_has_check_marks_where_something_is_on(page):
    heads = ["Co-segmentation", "DenseCLIP", "LGC", "CE", "CRF", "Acc.", "mIoU"]
    start = page.rows.index([*heads, "Published Acc.", "Published mIoU"])
    off = "\N{EN DASH}"
    assert page.rows[start + 1] == ["✓", "✓", off, off, off, off, "21.8", off, off]
    # Two sources of the paper may differ; both are shown.
    both = [f"{off} / 50.0", "30.0 / 40.0"]
    assert page.rows[start + 2] == ["✓", "✓", "✓", "✓", "✓", off, "27.2", *both]
    assert "Published 30.0: from here." in page.text
    assert "own ablation on context, not measured here" in page.text


def test_the_gallery_is_inside_the_page_with_words_for_each_picture(page):
    pictures = page.all("img")
    assert len(pictures) == 10
    assert all(picture["src"].startswith("data:image/png;base64,") for picture in pictures)
    assert pictures[1]["alt"] == "Ground truth of a&b.jpg"
    assert "Best cases" in page.text
    assert "Worst cases" in page.text


def test_protocol_provenance_and_recipe_are_spelt_out(page):
    for words in ("full resolution", "abc123", "1, 2", "machine, threads", "crf, iterations"):
        assert words in page.text


def test_mistakes_are_shares_of_the_true_class(page, folder):
    best = reportfile.read(written(folder, everything())).best
    assert benchmarkpage.find_mistakes(best, CLASSES) == (
        (HOSTILE, FORMULA, 0.5),
        ("road", HOSTILE, 0.1),
        ("road", CLASSES[3], 0.1),
        (CLASSES[3], "road", 0.05),
    )
    assert "50.0 % of" in page.text


def test_published_rows_stand_apart_from_ours(folder, tmp_path):
    source = tmp_path / "published.json"
    rows = [{"system": "MDC*", "group": "zero-shot", "accuracy": None, "miou": 7.0}]
    source.write_text(json.dumps({"source": "the paper", "Street-27": rows}))
    found = reportfile.find_published("street 27", source=source)
    assert found == (PublishedRow(system="MDC*", group="zero-shot", accuracy=None, miou=7.0),)
    assert reportfile.find_published("cows", "STREET27", source) == found
    assert reportfile.find_published("cows", source=source) == ()
    assert reportfile.find_published("street 27", source=tmp_path / "absent.json") == ()


def test_published_rows_are_marked_as_the_paper_s(folder, monkeypatch):
    rows = (PublishedRow(system="MDC*", group="zero-shot", accuracy=None, miou=7.0),)
    monkeypatch.setattr(reportfile, "find_published", lambda *_: rows)
    page = Page(html(folder, everything()))
    assert page.row("MDC*") == ["\N{EN DASH}", "7.0"]
    assert "Published in the paper: zero-shot" in page.text
    assert "not measured here" in page.text


def test_an_almost_empty_report_is_a_page_too(tmp_path):
    page = Page(html(tmp_path, {"format": "recoseg report", "version": 1}))
    assert "unnamed dataset" in page.text
    assert page.all("section") == []


@pytest.mark.parametrize("key", ["systems", "sweeps", "grid", "purity", "gallery", "dataset"])
def test_any_part_may_be_absent(folder, key):
    data = everything()
    del data[key]
    assert Page(html(folder, data)).all("h1")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"format": "x"}, "is not a report"),
        ({"version": 2}, "upgrade"),
        ({"systems": 3}, "systems must be a list, not 3"),
        ({"systems": [3]}, r"systems\[0\] must be an object"),
        ({"systems": [{"miou": 56.2}]}, r"systems\[0\].miou must be a finite number from 0 to 1"),
        ({"systems": [{"miou": float("nan")}]}, "finite"),
        ({"systems": [{"miou": True}]}, "finite"),
        ({"systems": [{"label": []}]}, "must be a text"),
        ({"systems": [{"confusion": [[1, 2]]}]}, "square table of 4 rows"),
        ({"systems": [{"confusion": [[-1] * 4] * 4}]}, r"confusion\[0\]\[0\]"),
        ({"dataset": {"images": -1}}, "dataset.images must be a whole number"),
        ({"dataset": {"classes": [1]}}, r"classes\[0\] must be a text"),
        ({"dataset": {"colours": [[1, 2]]}}, "three numbers"),
        ({"grid": [{"ce": "yes"}]}, "true or false"),
        ({"sweeps": [{"points": [{"miou": 0.1}]}]}, r"points\[0\].x"),
        ({"protocol": []}, "protocol must be an object"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_its_place(folder, change, cause):
    with pytest.raises(ReportError, match=cause) as caught:
        reportfile.read(written(folder, everything() | change))
    assert str(caught.value).count("\n") == 0
    assert "report.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff\xfe", "[" * 100_000])
def test_a_damaged_file_is_one_sentence(tmp_path, text):
    (tmp_path / "report.json").write_text(text, encoding="latin-1")
    with pytest.raises(ReportError, match=r"report\.json is"):
        reportfile.read(tmp_path)


def test_a_folder_without_a_report_is_one_sentence(tmp_path):
    with pytest.raises(ReportError, match=r"cannot be read .* give the report\.json"):
        reportfile.read(tmp_path)


def test_a_missing_picture_is_one_sentence(folder):
    (folder / "gallery" / "reco.png").unlink()
    with pytest.raises(ReportError, match=r"reco\.png cannot be read .* beside report\.json"):
        html(folder, everything())


def test_a_picture_that_is_none_is_refused(folder):
    (folder / "gallery" / "reco.png").write_text("<svg onload='alert(1)'/>")
    with pytest.raises(ReportError, match="no JPEG, PNG or WebP"):
        html(folder, everything())


@pytest.mark.parametrize("file", ["../secret.png", "/etc/hostname"])
def test_no_picture_is_taken_from_outside_the_folder(folder, file):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder.parent / "secret.png")
    data = everything()
    data["gallery"][0]["files"] = {"image": file}
    with pytest.raises(ReportError, match="outside the report's folder"):
        html(folder, data)


def test_without_matplotlib_the_remedy_is_named(folder, monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ReportError, match=r"pip install 'recoseg\[report\]'"):
        html(folder, everything())


def test_names_with_control_letters_or_half_letters_do_no_harm(folder):
    data = everything()
    data["dataset"]["classes"][0] = "ro\x00ad\ud800"
    data["systems"][1]["per_class"][0]["name"] = "ro\x00ad\ud800"
    shown = Page(html(folder, data))
    assert shown.row("ro\ufffdad\ufffd")


def test_plots_follow_the_page_s_colours(folder):
    report = reportfile.read(written(folder, everything()))
    svg = plots.plot_classes(report)
    assert svg.startswith("<svg")
    assert "var(--series-1)" in svg
    assert "var(--ink)" in svg
    assert "#0102" not in svg
    assert "http" not in svg


def test_a_plot_is_the_same_each_time(folder):
    report = reportfile.read(written(folder, everything()))
    assert plots.plot_purity(report.purity) == plots.plot_purity(report.purity)


def test_a_row_tells_how_it_was_matched_what_it_is_and_what_was_printed_of_it(tmp_path):
    told = {"matching": {"road": 0}, "note": "reimplementation, lite encoder"}
    told["published"] = {"miou": 0.123, "accuracy": None}
    rows = [system("picie", "PiCIE", **told), system("reco", "ReCo", published=None)]
    data = everything() | {"systems": rows}
    names = [row[0] for row in Page(html(with_gallery(tmp_path), data)).rows if row]
    picie = next(name for name in names if name.startswith("PiCIE"))
    assert "named by Hungarian matching" in picie
    assert "reimplementation, lite encoder" in picie
    assert "published: accuracy \N{EN DASH}, mIoU 12.3" in picie
    assert "ReCo" in names


def labels_of(svg: str) -> list[str]:
    return Page(svg).text.split()


def test_a_sweep_that_begins_with_nought_and_spans_much_shows_where_it_was_measured():
    points = [{"x": x, "system": "cat", "miou": 0.5} for x in (0, 1, 3, 10, 236, 246, 357)]
    series = {"name": "rarity", "x": "photos", "y": "IoU", "points": points}
    svg = plots.plot_sweep(reportfile.SweepSeries.model_validate(series))
    shown = labels_of(svg)
    assert {"0", "1", "3", "10", "236"} <= set(shown)
    assert not {"246", "357"} & set(shown)  # they would be written over 236


def test_the_lines_of_more_than_six_systems_are_told_apart():
    points = [{"x": x, "system": f"class {i}", "miou": i / 10} for i in range(8) for x in (1, 2)]
    series = {"name": "many", "x": "k", "y": "IoU", "points": points}
    svg = plots.plot_sweep(reportfile.SweepSeries.model_validate(series))
    assert svg.count("stroke-dasharray") >= 2  # the seventh and eighth
