from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import recoseg
from recoseg import datasets
from recoseg.errors import DatasetError, InputError
from recoseg.evaluation import published, purity
from recoseg.evaluation.ablation import ablate
from recoseg.evaluation.clock import Clock
from recoseg.evaluation.encoding_cache import cache_encodings
from recoseg.evaluation.evaluate import Run, evaluate
from recoseg.evaluation.gallery import gallery
from recoseg.evaluation.metrics import count
from recoseg.evaluation.predictions import Predictions
from recoseg.evaluation.protocols import Protocol, available, protocol
from recoseg.evaluation.results import Report, entry
from recoseg.evaluation.subsets import Subset
from recoseg.evaluation.sweeps import Sweeps
from recoseg.evaluation.system_groups import Row, Rows
from recoseg.evaluation.systems import Several, Single, System
from recoseg.models.registry import Models
from recoseg.recipe import CRF, LITE
from recoseg.segmenting.segmenter import Segmenter
from tests.toys import Toy, paint

NAMES = ("red", "green", "blue")
SMALL = LITE.replace(
    archive_size=64, image_size=64, scales=(1.0,), k=3, contexts=("green",), crf=CRF(iterations=2)
)


@pytest.fixture(scope="module")
def toy():
    return Toy()


@pytest.fixture(scope="module")
def models(toy):
    return Models(toy, toy, toy)


@pytest.fixture(scope="module")
def index(tmp_path_factory, toy):
    home = tmp_path_factory.mktemp("archive")
    for number, (ground, thing) in enumerate([(a, b) for a in NAMES for b in NAMES]):
        paint(home / "photos" / ground / f"{number}.png", ground, thing)
    return recoseg.Index.build(home / "photos", home / "toy.index", model=toy, progress=False)


@pytest.fixture(scope="module")
def bank(index, models):
    return recoseg.ConceptBank.build(list(NAMES), index, SMALL, models=models, progress=False)


@pytest.fixture
def dataset(tmp_path):
    return tree(tmp_path / "data", 4)


def tree(root, count):
    """Photos of two colours whose masks are known."""
    for number in range(count):
        ground, thing = NAMES[number % 3], NAMES[(number + 1) % 3]
        paint(root / "images" / f"{number}.png", ground, thing)
        labels = np.full((64, 64), NAMES.index(ground), np.uint8)
        labels[16:48, 16:48] = NAMES.index(thing)
        labels[:2] = 255
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(labels).save(root / "masks" / f"{number}.png")
    return datasets.open("folder", root, names=NAMES)


def rows(bank, models):
    return [
        Row.of(Segmenter(bank, system=system, models=models), refine)
        for system in ("denseclip", "reco")
        for refine in (False, True)
    ]


def test_every_row_is_what_its_segmenter_says_alone(bank, models, dataset):
    shared = evaluate(Rows(rows(bank, models)), dataset, workers=2, progress=False)
    assert [s["name"] for s in shared.systems] == [
        "denseclip",
        "denseclip+crf",
        "reco",
        "reco+crf",
    ]
    for row in rows(bank, models):
        expected = np.zeros((3, 3), np.int64)
        for sample in dataset:
            image, truth = dataset.read(sample)
            found = row.segmenter(image).labels
            for t, p in zip(truth[truth >= 0], found[truth >= 0], strict=True):
                expected[t, p] += 1
        assert shared[row.system.name]["confusion"] == expected.tolist()
    assert shared.miou > 0.8


def test_the_report_holds_what_the_page_reads(bank, models, dataset, tmp_path):
    out = tmp_path / "out"
    report = evaluate(Rows(rows(bank, models)), dataset, out=out, progress=False)
    data = json.loads((out / "report.json").read_text())
    assert (data["format"], data["version"]) == ("recoseg report", 1)
    assert data["dataset"]["classes"] == list(NAMES)
    assert {"provenance", "protocol", "sweeps", "grid", "purity", "gallery"} <= set(data)
    system = data["systems"][-1]
    assert {"recipe", "miou", "accuracy", "fw_iou", "boundary_iou"} <= set(system)
    assert [row["id"] for row in system["per_image"]] == ["0", "1", "2", "3"]
    assert sum(row["pixels"] for row in system["per_class"]) == 4 * 62 * 64
    assert Report.open(out).to_dict() == data == json.loads(json.dumps(report.to_dict()))
    assert set(data["provenance"]["shares"]) == {"read", "models", "labels", "crf", "counting"}


class Dies(Rows):
    """Stops the run at its third image, as a kill would."""

    def run(self, image, sample, wanted, clock):
        if sample.id == "2":
            raise KeyboardInterrupt
        return super().run(image, sample, wanted, clock)


class Counting(Rows):
    seen = 0

    def run(self, image, sample, wanted, clock):
        self.seen += 1
        return super().run(image, sample, wanted, clock)


def test_a_stopped_run_goes_on_and_gives_the_identical_matrix(bank, models, dataset, tmp_path):
    panel = rows(bank, models)[:3]
    whole = evaluate(Rows(panel), dataset, progress=False)
    with pytest.raises(KeyboardInterrupt):
        evaluate(Dies(panel), dataset, out=tmp_path, workers=1, progress=False)
    rest = Counting(panel)
    resumed = evaluate(rest, dataset, out=tmp_path, workers=1, progress=False)
    assert rest.seen == 2
    assert resumed.systems == whole.systems


def test_only_what_changed_is_counted_again(bank, models, dataset, tmp_path):
    panel = rows(bank, models)
    evaluate(Rows(panel[:1]), dataset, out=tmp_path, progress=False)
    for change, expected in ((None, 0), ("mask", 1), ("protocol", 4)):
        wanted = protocol("original")
        if change == "mask":
            label = dataset.samples[1].label
            Image.fromarray(np.zeros((64, 64), np.uint8)).save(label)
        if change == "protocol":
            wanted = Protocol("half", short_side=32)
        counting = Counting(panel[:1])
        evaluate(counting, dataset, wanted, out=tmp_path, progress=False)
        assert counting.seen == expected, change


def test_geometry_and_names_of_protocols():
    paper = protocol("cityscapes-27")
    image = np.zeros((100, 200, 3), np.uint8)
    assert paper.image(image).shape == (320, 320, 3)
    labels = np.arange(200)[None].repeat(100, 0)
    fitted = paper.labels(labels)
    assert fitted.shape == (320, 320)
    assert set(np.unique(fitted)) <= set(range(50, 150))  # the centre; no id is invented
    assert paper.geometry == "short side 320, centre crop 320, nearest"
    assert protocol("kitti-step-19").geometry == "original resolution"
    assert protocol("pascal-context-59").resampling == "bilinear"
    assert {p.variant for p in available().values() if p.dataset == "cityscapes"} == {"27", "19"}
    with pytest.raises(InputError, match="no protocol 'cityscape'"):
        protocol("cityscape")


def test_a_protocol_of_another_dataset_is_refused(bank, models, dataset):
    with pytest.raises(InputError, match="is for cityscapes, not folder"):
        evaluate(Segmenter(bank, models=models), dataset, "cityscapes-27")


def test_names_that_are_no_class_are_wrong_and_none_at_all_is_refused(bank, models, dataset):
    other = dataclasses.replace(
        dataset, table=datasets.tables.plain(["red", "green", "sky"], void=[255])
    )
    report = evaluate(Segmenter(bank, models=models, refine=False), other, progress=False)
    assert sum(report.systems[0]["no_class"]) > 0
    strange = dataclasses.replace(dataset, table=datasets.tables.plain(["a", "b", "c"]))
    with pytest.raises(InputError, match="none of which is a class"):
        evaluate(Segmenter(bank, models=models), strange, progress=False)


def test_fine_names_are_merged_after_the_argmax(bank, models, dataset):
    fine = dataset.table
    merged = dataclasses.replace(
        fine, classes=("warm", "cold"), merge=(0, 1, 1), colours=fine.colours[:2]
    )
    coarse = dataclasses.replace(dataset, table=merged)
    plain = evaluate(Segmenter(bank, models=models, refine=False), dataset, progress=False)
    found = evaluate(Segmenter(bank, models=models, refine=False), coarse, progress=False)
    matrix = np.array(plain.systems[0]["confusion"])
    joined = np.add.reduceat(np.add.reduceat(matrix, [0, 1], 0), [0, 1], 1)
    assert found.systems[0]["confusion"] == joined.tolist()


def save_predictions(dataset, folder, ids):
    for sample in dataset:
        _, truth = dataset.read(sample)
        folder.mkdir(exist_ok=True)
        labels = np.array([*ids, ids[0]], np.uint8)[truth]
        Image.fromarray(labels).save(folder / f"{sample.id}.png")


def test_unnamed_clusters_are_matched_and_named_ones_are_not(dataset, tmp_path):
    save_predictions(dataset, tmp_path / "made", (7, 3, 250))
    ours = protocol("original")
    clusters = Predictions(tmp_path / "made", dataset, ours, match="hungarian")
    report = evaluate(clusters, dataset, progress=False)
    assert report.miou == 1
    assert report.systems[0]["matching"] == {"red": 7, "green": 3, "blue": 250}
    named = Predictions(tmp_path / "made", dataset, ours)
    with pytest.raises(DatasetError, match="which has no name"):
        evaluate(named, dataset, progress=False)
    (tmp_path / "made" / "names.json").write_text(
        json.dumps({"7": "red", "3": "blue", "250": "unknown"})
    )
    told = Predictions(tmp_path / "made", dataset, ours)
    system = evaluate(told, dataset, progress=False).systems[0]
    iou = {row["name"]: row["iou"] for row in system["per_class"]}
    assert iou == {"red": 1.0, "green": 0.0, "blue": 0.0}
    assert system["no_class"][2] > 0


def test_predictions_are_cropped_as_the_truth_is(dataset, tmp_path):
    save_predictions(dataset, tmp_path / "made", (0, 1, 2))
    half = Protocol("half", short_side=32, crop=16)
    panel = Predictions(tmp_path / "made", dataset, half)
    assert evaluate(panel, dataset, half, progress=False).miou == 1


def test_a_missing_or_misshapen_prediction_names_the_file(dataset, tmp_path):
    save_predictions(dataset, tmp_path / "made", (0, 1, 2))
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(tmp_path / "made" / "1.png")
    panel = Predictions(tmp_path / "made", dataset, protocol("original"))
    with pytest.raises(DatasetError, match=r"1.png is 7x5"):
        evaluate(panel, dataset, progress=False)
    (tmp_path / "made" / "1.png").unlink()
    with pytest.raises(DatasetError, match="has 0 label maps for 1"):
        Predictions(tmp_path / "made", dataset, protocol("original"))


def test_anything_called_like_a_segmenter_is_measured(bank, models, dataset):
    inner = Segmenter(bank, models=models, refine=False)

    class Student:
        names = NAMES

        def __call__(self, image):
            return inner(image)

    report = evaluate({"student": Student(), "reco": inner}, dataset, progress=False)
    assert report["student"]["confusion"] == report["reco"]["confusion"]


def test_the_gallery_shows_the_best_and_the_worst(bank, models, dataset, tmp_path):
    panel = Rows(rows(bank, models)[1:])
    ours = protocol("original")
    report = evaluate(panel, dataset, out=tmp_path, progress=False)
    shown = gallery(report, panel, dataset, ours, tmp_path, cases=1).gallery
    assert [case["case"] for case in shown] == ["best", "worst"]
    assert shown[0]["miou"] >= shown[1]["miou"]
    assert set(shown[0]["files"]) == {"image", "truth", "denseclip+crf", "reco", "crf"}
    for file in shown[0]["files"].values():
        with Image.open(tmp_path / file) as picture:
            assert picture.size == (64, 64)


def test_the_grid_and_the_sweeps_share_work_and_go_on(index, models, dataset, tmp_path):
    sweeps = Sweeps(sizes=(4, 99), ks=(1, 3), contexts=((), ("green",)), unknown=(0.5,))
    calls = []

    def load(recipe):
        calls.append(recipe)
        return models

    def run():
        return ablate(
            dataset, index, SMALL, sweeps, out=tmp_path, models=load, workers=1, progress=False
        )

    report = run()
    assert len(report.grid) == 14
    parts = ("cosegmentation", "denseclip", "lgc", "ce", "crf")
    assert len({tuple(row[part] for part in parts) for row in report.grid}) == 14
    assert {s["name"]: [p["x"] for p in s["points"]] for s in report.sweeps} == {
        "archive size": [4, 9],
        "k": [1, 3],
        "contexts": ["none", "green"],
        "unknown": [0.5],
    }
    full = next(r for r in report.grid if (r["ce"], r["lgc"], r["crf"]) == (True, True, False))
    # The recipe's own k and the whole archive are the grid's row: it is measured once.
    assert report.sweeps[1]["points"][1]["miou"] == full["miou"]
    assert len(report.systems) < len(report.grid) + 7
    assert len(calls) == 1
    banks = {file: file.stat().st_mtime_ns for file in (tmp_path / "banks").iterdir()}
    again = run()
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "banks").iterdir()} == banks
    assert (again.grid, again.sweeps) == (report.grid, report.sweeps)


def test_the_paper_s_second_row_is_plain_co_segmentation_times_denseclip(
    index, models, dataset, tmp_path
):
    """It differs from DenseCLIP alone, which stays as the baseline's row."""
    report = ablate(dataset, index, SMALL, out=tmp_path, models=lambda _: models, progress=False)
    grid = {
        tuple(
            part for part in ("cosegmentation", "denseclip", "lgc", "ce", "crf") if row[part]
        ): row
        for row in report.grid
    }
    plain = SMALL.replace(lgc=False, ce=False)
    bank = recoseg.ConceptBank.build(list(NAMES), index, plain, models=models, progress=False)
    for kind, switches in (
        ("reco", ("cosegmentation", "denseclip")),
        ("denseclip", ("denseclip",)),
    ):
        segmenter = Segmenter(bank, refine=False, system=kind, models=models)
        alone = evaluate(segmenter, dataset, progress=False)
        assert grid[switches]["miou"] == alone.miou
        assert grid[switches]["system"] == "+".join(switches)
    (printed,) = grid["cosegmentation", "denseclip"]["published"]
    assert (round(printed["miou"], 6), printed["protocol"]) == (0.218, "pascal-context-59")
    (figure,) = grid[("denseclip",)]["published"]
    assert (round(figure["miou"], 6), "figure" in figure["footnote"]) == (0.208, True)
    # Two sources of the paper differ on what was ticked in the first row.
    for switches in (("cosegmentation",), ("cosegmentation", "lgc")):
        (first,) = grid[switches]["published"]
        assert (round(first["miou"], 6), "one source" in first["footnote"]) == (0.057, True)


def test_k_crossed_with_encoders_is_one_series_with_a_line_each(index, models, dataset, tmp_path):
    sweeps = Sweeps(grid=False, ks=(1, 3), encoders=("lite", "other"), crossed=True)
    report = ablate(
        dataset, index, SMALL, sweeps, out=tmp_path, models=lambda _: models, progress=False
    )
    (series,) = report.sweeps
    assert (series["name"], series["x"]) == ("k by encoder", "k")
    lines = [(point["system"], point["x"]) for point in series["points"]]
    assert lines == [("lite", 1), ("lite", 3), ("other", 1), ("other", 3)]
    assert report.grid == []


def test_footnotes_and_both_sources_are_published():
    rows = published.rows("cityscapes-27-original")
    reco = [(100 * r["accuracy"], 100 * r["miou"]) for r in rows if r["system"] == "ReCo"]
    assert np.round(reco, 6).tolist() == [[65.4, 22.0], [74.6, 19.3]]
    notes = {r["system"]: r["footnote"] for r in rows}
    assert notes["D&S"] == notes["MDC"] == "trained on Waymo Open"
    assert notes["DenseCLIP"] == "vision-language pretraining"
    assert not any("Waymo" in r["footnote"] for r in published.rows("cityscapes-27"))


def test_subsets_are_nested_and_searched_alone(index, toy):
    small, large = Subset(index, 3, seed=5), Subset(index, 6, seed=5)
    assert set(small.ids) < set(large.ids) < set(index.ids)
    assert len({small.hash, large.hash, index.hash, Subset(index, 3, seed=6).hash}) == 4
    query = toy.embed_texts(["red"])
    assert {hit.id for hit in small.search(query, 99)[0]} == set(small.ids)
    whole = [hit for hit in index.search(query, 99)[0] if hit.id in large.ids]
    assert large.search(query, 99)[0] == whole
    with pytest.raises(InputError, match="1 to 9"):
        Subset(index, 10)


def test_remembered_maps_are_the_model_s_own():
    import torch

    toy = Toy()
    memory = cache_encodings(Models(toy, toy, toy), most_bytes=2 * 5 * 1024)
    batch = torch.rand(5, 3, 32, 32)
    expected = toy.features(batch)
    before = toy.calls
    torch.testing.assert_close(memory.encoder.features(batch), expected)
    torch.testing.assert_close(memory.encoder.features(batch.flip(0)), expected.flip(0))
    assert toy.calls == before + 1
    memory.encoder.features(torch.rand(1, 3, 32, 32))  # pushes the oldest out
    torch.testing.assert_close(memory.encoder.features(batch), expected)
    torch.testing.assert_close(memory.dense.dense(batch), toy.dense(batch))
    assert memory.fingerprints == Models(toy, toy, toy).fingerprints


def test_purity_counts_what_the_folders_say(index, toy):
    found = purity.precision(index, toy, 3, archive="toys")
    rows = {row["name"]: row for row in found["per_concept"]}
    assert {row["positives"] for row in rows.values()} == {3}
    query = toy.embed_texts(["red"])
    hits = [hit.id for hit in index.search(query, 3)[0]]
    expected = sum(id.startswith("red/") for id in hits) / 3
    assert rows["red"]["precision"] == pytest.approx(expected, abs=1e-6)
    assert found["mean"] == pytest.approx(
        np.mean([r["precision"] for r in rows.values()]), abs=1e-5
    )


def test_classes_of_ids():
    assert purity.class_of("a/n01440764_great_white_shark.jpg") == "great white shark"
    assert purity.class_of("x/grand_piano/0001.jpg") == "grand piano"
    assert purity.class_of("0001.jpg") is None
    assert purity.class_of("val/n01440764/ILSVRC2012_val_00000293.JPEG") == "tench"


def test_time_inside_another_kind_counts_once():
    clock = Clock()
    with clock("outer"), clock("inner"):
        sum(range(200_000))
    seconds = clock.seconds
    assert seconds["inner"] > seconds["outer"] > 0
    assert sum(clock.shares.values()) == pytest.approx(1)


def test_keys_tell_datasets_and_geometries_apart(bank, models, dataset, tmp_path):
    panel = Rows(rows(bank, models))
    other = tree(tmp_path / "other", 2)
    keys = {
        Run(panel, data, p).key(system)
        for data in (dataset, other)
        for p in (protocol("original"), Protocol("half", short_side=32))
        for system in panel.systems
    }
    assert len(keys) == 16


class Clusters:
    """A segmenter whose names mean nothing: those of the photos' colours, turned round."""

    names = ("a", "b", "c", "d")
    match = "hungarian"
    digest = "clusters"

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, image):
        found = self.inner(image)
        labels, maps = 3 - found.labels, found.maps[:0]
        return dataclasses.replace(found, labels=labels, names=self.names, maps=maps)


def test_match_is_a_property_of_a_row(bank, models, dataset, tmp_path):
    """One table holds named rows and clusters, each counted as if it were alone."""
    inner = Segmenter(bank, models=models, refine=False)
    both = Several([Single(Clusters(inner), "clusters"), Rows([Row.of(inner, False)])])
    report = evaluate(both, dataset, out=tmp_path, progress=False)
    assert [s["match"] for s in report.systems] == ["hungarian", "name"]
    assert report["clusters"]["matching"] == {"red": 3, "green": 2, "blue": 1}
    assert report["reco"]["matching"] is None
    # The clusters are the same regions, so that matched they are the same row.
    for figure in ("miou", "accuracy", "boundary_iou", "confusion", "per_image"):
        assert report["clusters"][figure] == report["reco"][figure]
    alone = evaluate(Clusters(inner), dataset, progress=False)
    assert alone.systems[0]["confusion"] == report["clusters"]["confusion"]
    # Drawn as the classes that they were matched with.
    shown = gallery(report, both, dataset, protocol("original"), tmp_path, cases=1).gallery[0]
    pictures = [(tmp_path / shown["files"][view]).read_bytes() for view in ("clusters", "reco")]
    assert pictures[0] == pictures[1]


def test_a_row_carries_its_note_and_the_figures_that_were_published_of_it(dataset):
    ours = System(
        "iic", "IIC", NAMES, "k", match="hungarian", note="reimplementation", published="IIC"
    )
    counts = count(np.zeros((4, 4), np.int64), np.ones((4, 4), np.int64), 3, 3)
    paper = [{"system": "IIC", "group": "", "miou": 0.067, "accuracy": 0.218}]
    row = entry(ours, dataset, lambda: iter([counts] * len(dataset)), paper)
    assert (row["note"], row["published"]) == (
        "reimplementation",
        {"miou": 0.067, "accuracy": 0.218},
    )
    assert row["matching"]["red"] == 1
    other = dataclasses.replace(ours, published="")
    assert entry(other, dataset, lambda: iter([counts] * len(dataset)), paper)["published"] is None
    with pytest.raises(InputError, match="no match 'oracle'"):
        dataclasses.replace(ours, match="oracle")
