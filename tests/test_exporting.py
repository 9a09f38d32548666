"""Each format, written to disk and read back by the tool's own reader or by its description."""

from __future__ import annotations

import base64
import io
import json
import warnings
from contextlib import redirect_stdout
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pycocotools.coco import COCO

from recoseg import exporting
from recoseg.datasets.base import read_values
from recoseg.datasets.folder import read_names
from recoseg.errors import ImageError, InputError, Locked
from recoseg.exporting import naming
from recoseg.exporting.rasters import standard_colours
from recoseg.segmenting.result import Segmentation
from tests.exported import NAMES, beside_photos, go, hard_labels
from tests.test_polygons import by_coco, unbrushed

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import supervision as sv

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def items(tmp_path):
    return beside_photos(tmp_path)


@pytest.fixture
def relative(items, tmp_path, monkeypatch):
    """The items by paths that keep their folder."""
    monkeypatch.chdir(tmp_path)
    return [(path.relative_to(tmp_path), labels, names) for path, labels, names in items]


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("format", ["coco-rle", "coco-polygons"])
@pytest.mark.parametrize("parts", ["class", "component"])
def test_coco_by_pycocotools(relative, tmp_path, format, parts):
    made = go(relative, format, parts=parts)
    with redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "out/annotations.json"))
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(NAMES)
    assert len(coco.anns) == made.annotations
    for image in coco.loadImgs(coco.getImgIds()):
        labels = hard_labels()[image["file_name"]]
        assert (image["height"], image["width"]) == labels.shape
        painted = np.full(labels.shape, -1)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            mask = coco.annToMask(annotation).astype(bool)
            assert annotation["area"] == mask.sum()
            x, y, w, h = annotation["bbox"]
            assert mask[y : y + h, x : x + w].sum() == mask.sum()
            assert (painted[mask] == -1).all()
            painted[mask] = annotation["category_id"] - 1
        np.testing.assert_array_equal(painted, labels)


def test_coco_by_supervision(items, tmp_path):
    flat = [item for item in items if "deep" not in str(item[0])]
    go(flat, "coco-rle", tmp_path / "out")
    dataset = sv.DetectionDataset.from_coco(
        str(tmp_path), str(tmp_path / "out/annotations.json"), force_masks=True
    )
    assert dataset.classes == list(NAMES)
    seen = {path.rsplit("/")[-1]: found for path, _, found in dataset}
    labels = hard_labels()["holed.jpg"]
    for mask, label in zip(seen["holed.jpg"].mask, seen["holed.jpg"].class_id, strict=True):
        np.testing.assert_array_equal(mask, labels == label)
    assert len(seen["empty.png"]) == 0


def test_yolo_by_supervision(relative, tmp_path):
    made = go(relative, "yolo", images=None)
    out = tmp_path / "out"
    dataset = sv.DetectionDataset.from_yolo(
        str(out / "images/train"), str(out / "labels/train"), str(out / "data.yaml"), True
    )
    assert dataset.classes == list(NAMES)
    assert made.renamed == {"deep/noisy one.png": "deep_noisy_one"}
    table = yaml.safe_load((out / "data.yaml").read_text())
    assert table["names"] == dict(enumerate(NAMES))
    # Ultralytics takes them relative to the file, as long as no "path" says otherwise.
    assert "path" not in table
    assert (out / table["train"]).is_dir()
    truth = dict(zip(("holed", "deep_noisy_one", "empty"), hard_labels().values(), strict=True))
    assert len(dataset) == 3
    for path, image, found in dataset:
        labels = truth[path.rsplit("/")[-1].rsplit(".")[0]]
        assert image.shape[:2] == labels.shape
        painted = np.full(labels.shape, -1)
        for mask, label in zip(found.mask if len(found) else (), found.class_id, strict=True):
            painted[mask.astype(bool)] = label
        np.testing.assert_array_equal(painted, labels)


def test_masks_are_read_as_those_of_a_segmenter(relative, tmp_path):
    go(relative, "masks")
    table = read_names(tmp_path / "out/labels/names.json")
    assert table.names == NAMES
    for id, labels in hard_labels().items():
        file = tmp_path / "out/labels" / id.replace(".jpg", ".png")
        np.testing.assert_array_equal(table.decode(read_values(file), file), labels)


def test_masks_of_more_names_than_a_byte_holds(tmp_path):
    names = [f"name {i}" for i in range(300)]
    labels = np.array([[0, 299, -1], [255, 256, 4]])
    go([("a.png", labels, names)], "masks", tmp_path / "out")
    file = tmp_path / "out/labels/a.png"
    table = read_names(tmp_path / "out/labels/names.json")
    np.testing.assert_array_equal(table.decode(read_values(file), file), labels)


def test_voc_by_index_and_by_colour(relative, tmp_path):
    go(relative, "voc")
    out = tmp_path / "out"
    stems = (out / "ImageSets/Segmentation/trainval.txt").read_text().split()
    assert stems == ["holed", "deep_noisy_one", "empty"]
    classes = (out / "labels.txt").read_text().splitlines()
    assert classes[:3] == ["background", "road", "fire hydrant"]
    for stem, labels in zip(stems, hard_labels().values(), strict=True):
        with Image.open(out / f"JPEGImages/{stem}.jpg") as photo:
            assert (photo.format, photo.size) == ("JPEG", labels.shape[::-1])
        with Image.open(out / f"SegmentationClass/{stem}.png") as image:
            index, colours = np.asarray(image), np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(index, np.where(labels < 0, 255, labels + 1))
        by_colour = unpainted(colours, out / "labelmap.txt")
        expected = np.array([*classes[1:], "ignored"])[labels]
        np.testing.assert_array_equal(by_colour, expected)


def unpainted(colours, label_map):
    """Names by pixel, from the colours that a label map gives them."""
    rows = [row.split(":") for row in label_map.read_text().splitlines() if row[0] != "#"]
    assert {len(row) for row in rows} == {4}
    table = {tuple(map(int, row[1].split(","))): row[0] for row in rows}
    assert len(table) == len(rows)
    return np.array([[table[tuple(pixel)] for pixel in row] for row in colours.tolist()])


@pytest.mark.parametrize("parts", ["class", "component"])
def test_cvat_by_colour(relative, tmp_path, parts):
    go(relative, "cvat", parts=parts)
    out = tmp_path / "out"
    stems = (out / "ImageSets/Segmentation/default.txt").read_text().splitlines()
    assert stems == ["holed", "deep/noisy one", "empty"]
    names = np.array([*NAMES[:2], 'a "b"_ c_ _d', NAMES[3], "background"])
    instances = {tuple(colour): i for i, colour in enumerate(standard_colours().tolist())}
    for stem, labels in zip(stems, hard_labels().values(), strict=True):
        classes = np.asarray(Image.open(out / f"SegmentationClass/{stem}.png"))
        np.testing.assert_array_equal(unpainted(classes, out / "labelmap.txt"), names[labels])
        painted = np.asarray(Image.open(out / f"SegmentationObject/{stem}.png")).tolist()
        number = np.array([[instances[tuple(pixel)] for pixel in row] for row in painted])
        np.testing.assert_array_equal(number == 0, labels == -1)
        for i in range(1, number.max() + 1):
            assert len(np.unique(labels[number == i])) == 1
        if parts == "class":
            assert number.max() == len(np.unique(labels[labels >= 0]))


def test_colours_of_instances_are_those_that_voc_publishes():
    first = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128)]
    assert standard_colours()[:6].tolist() == [list(c) for c in first]
    assert standard_colours()[[20, 255]].tolist() == [[0, 64, 128], [224, 224, 192]]


def test_cvat_refuses_more_parts_than_it_can_tell_apart(tmp_path):
    chessboard = (np.indices((30, 30)).sum(0) % 2).astype(np.int32)
    item = [("a.png", chessboard, ["a", "b"])]
    with pytest.raises(InputError, match="--min-area"):
        go(item, "cvat", tmp_path / "out", parts="component")
    assert list(tmp_path.iterdir()) == []
    assert go(item, "cvat", tmp_path / "out").annotations == 2


def test_labelstudio_brushes(relative, tmp_path):
    made = go(relative, "labelstudio", prefix="http://x/")
    tasks = json.loads((tmp_path / "out/tasks.json").read_text())
    config = ElementTree.parse(tmp_path / "out/config.xml").getroot()
    assert [label.get("value") for label in config.iter("Label")] == list(NAMES)
    assert config.find("BrushLabels").get("toName") == config.find("Image").get("name")
    assert [t["data"]["image"] for t in tasks] == ["http://x/" + id for id in hard_labels()]
    ids = []
    for task, labels in zip(tasks, hard_labels().values(), strict=True):
        painted = np.full(labels.shape, -1)
        for result in task["predictions"][0]["result"]:
            size = result["original_height"], result["original_width"]
            assert size == labels.shape
            (name,) = result["value"]["brushlabels"]
            painted[unbrushed(result["value"]["rle"], *size)[:, :, 3] > 0] = NAMES.index(name)
            ids.append(result["id"])
        np.testing.assert_array_equal(painted, labels)
    assert len(set(ids)) == len(ids) == made.annotations


def test_labelstudio_polygons(relative, tmp_path):
    go(relative, "labelstudio-polygons")
    tasks = json.loads((tmp_path / "out/tasks.json").read_text())
    for task, labels in zip(tasks, hard_labels().values(), strict=True):
        painted = np.full(labels.shape, -1)
        for result in task["predictions"][0]["result"]:
            assert result["type"] == "polygonlabels"
            points = np.array(result["value"]["points"]) / 100 * labels.shape[::-1]
            (name,) = result["value"]["polygonlabels"]
            painted[by_coco([points], labels.shape)] = NAMES.index(name)
        np.testing.assert_array_equal(painted, labels)


def test_huggingface_records(relative, tmp_path):
    go(relative, "huggingface")
    rows = [json.loads(row) for row in (tmp_path / "out/segments.jsonl").read_text().splitlines()]
    assert [row["image"] for row in rows] == list(hard_labels())
    for row, labels in zip(rows, hard_labels().values(), strict=True):
        painted = np.full(labels.shape, -1)
        for segment in row["segments"]:
            assert set(segment) == {"label", "score", "mask"}
            assert segment["score"] is None
            mask = Image.open(io.BytesIO(base64.b64decode(segment["mask"])))
            assert mask.mode == "L"
            painted[np.asarray(mask) == 255] = NAMES.index(segment["label"])
        np.testing.assert_array_equal(painted, labels)
    assert rows[2]["segments"] == []


def result():
    labels = np.array([[0, 0, 1], [0, 2, 1], [2, 2, 0]], np.uint8)
    confidence = np.array([[0.5, 0.7, 1], [0.9, 0.2, 0], [0.1, 0.3, 0.7]], np.float32)
    image = np.zeros((3, 3, 3), np.uint8)
    return Segmentation(labels, ("sky", "sea", "unknown"), confidence, image, torch.zeros(2, 1, 1))


def test_detections_of_supervision():
    found = exporting.to_detections(result())
    assert isinstance(found, sv.Detections)
    assert found.data["class_name"].tolist() == ["sky", "sea"]
    assert found.class_id.tolist() == [0, 1]
    assert found.xyxy.tolist() == [[0, 0, 3, 3], [2, 0, 3, 2]]
    np.testing.assert_array_equal(found.mask[1], result().labels == 1)
    np.testing.assert_allclose(found.confidence, [0.7, 0.5], atol=1e-6)
    assert len(exporting.to_detections(result(), "component")) == 3
    assert len(exporting.to_detections(result(), "component", 2)) == 2
    assert len(exporting.to_detections(result(), min_area=100)) == 0


def test_results_of_a_segmenter_bring_their_probabilities_and_no_unknown(tmp_path):
    go([("a.png", result())], "huggingface", tmp_path / "out")
    (row,) = map(json.loads, (tmp_path / "out/segments.jsonl").read_text().splitlines())
    assert [(s["label"], s["score"]) for s in row["segments"]] == [("sky", 0.7), ("sea", 0.5)]


@pytest.mark.parametrize("format", exporting.FORMATS)
def test_the_same_again_gives_the_same_bytes(relative, tmp_path, format):
    go(relative, format, "one/out")
    go(iter(relative), format, "two/out")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["out"]


@pytest.mark.parametrize("format", exporting.FORMATS)
def test_an_error_in_the_middle_leaves_nothing(relative, tmp_path, format):
    def failing():
        yield relative[0]
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        go(failing(), format, "one/out")
    assert list((tmp_path / "one").iterdir()) == []


def test_a_folder_that_holds_something_is_never_touched(relative, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        go(relative, "masks")
    assert tree(tmp_path / "out") == {"mine.txt": b"mine"}
    (tmp_path / "out/mine.txt").unlink()
    assert go(relative, "masks").images == 3


def test_what_a_killed_run_left_is_cleared_away(relative, tmp_path):
    (tmp_path / "one/.out.partial").mkdir(parents=True)
    (tmp_path / "one/.out.partial/annotations.json").write_text("half")
    go(relative, "coco-rle", "one/out")
    json.loads((tmp_path / "one/out/annotations.json").read_text())
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["out"]


def test_two_writers_of_one_folder_exclude_each_other(relative):
    def rivals():
        yield relative[0]
        go(relative, "masks")

    with pytest.raises(Locked):
        go(rivals(), "masks")


def test_chosen_names_are_renumbered_and_the_rest_is_void(relative, tmp_path):
    made = go(relative, "masks", names=[NAMES[3], NAMES[0]], min_area=2, parts="component")
    table = read_names(tmp_path / "out/labels/names.json")
    assert table.names == (NAMES[3], NAMES[0])
    file = tmp_path / "out/labels/holed.png"
    got = table.decode(read_values(file), file)
    labels = hard_labels()["holed.jpg"]
    np.testing.assert_array_equal(got, np.where(labels == 0, 1, -1))
    assert made.small >= 2
    assert json.loads((tmp_path / "out/recoseg.json").read_text())["names"] == [NAMES[3], NAMES[0]]


def test_the_same_name_after_cleaning_is_told_apart(tmp_path):
    names = ["a:b", "a,b", "background", "Background", "A_B"]
    labels = np.arange(5, dtype=np.int32)[None]
    made = go([("#x.png", labels, names)], "cvat", tmp_path / "out")
    shown = (tmp_path / "out/labelmap.txt").read_text().splitlines()[1:]
    assert [row.split(":")[0] for row in shown] == [
        *("background", "a_b", "a_b_2", "background_2", "Background_3", "A_B_3")
    ]
    assert made.renamed["#x.png"] == "_x"


@pytest.mark.parametrize(
    ("id", "stem"),
    [
        ("a b/c,d.jpg", "a_b_c_d"),
        ("Ärger.png", "Arger"),
        ("日本.png", "image"),
        (".hidden.jpg", "hidden"),
        ("a\nb.png", "a_b"),
        ("x" * 400 + ".png", "x" * 120),
    ],
)
def test_file_names_are_plain(id, stem):
    assert naming.file_stem(id) == stem


def test_photos_that_lie_on_their_side_are_stored_upright(tmp_path):
    path, exif = tmp_path / "side.jpg", Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = 255
    Image.fromarray(pixels).save(path, exif=exif)
    labels = np.zeros((16, 8), np.int32)
    go([(path, labels, ["a"])], "yolo", tmp_path / "out")
    with Image.open(tmp_path / "out/images/train/side.jpg") as stored:
        assert stored.size == (8, 16)
        assert stored.getexif().get(0x0112, 1) == 1
        assert np.asarray(stored)[2].min() > 200
    with pytest.raises(InputError, match="8x16 and its labels are 16x8"):
        go([(path, labels.T, ["a"])], "coco-rle", tmp_path / "other")


def test_upright_photos_are_copied_byte_by_byte(relative, tmp_path):
    go(relative, "yolo")
    stored = (tmp_path / "out/images/train/deep_noisy_one.png").read_bytes()
    assert stored == (tmp_path / "deep/noisy one.png").read_bytes()


ONE = np.zeros((2, 2), np.int32)


@pytest.mark.parametrize(
    ("items", "options", "message"),
    [
        ([], {}, "nothing to export"),
        (5, {}, "takes a folder or"),
        (["a.png"], {}, "each item must be"),
        ([("a.png", ONE, "ab")], {}, "each item must be"),
        ([("a.png", ONE, ["a", "a"])], {}, "twice"),
        ([("a.png", ONE, ["Void", "unknown"])], {}, "no class"),
        ([("a.png", ONE + 1, ["a"])], {}, "beyond its 1 names"),
        ([("a.png", ONE - 2, ["a"])], {}, "beyond its 1 names"),
        ([("a.png", ONE / 2, ["a"])], {}, "whole numbers"),
        ([("a.png", ONE[0], ["a"])], {}, "whole numbers"),
        ([("../a.png", ONE, ["a"])], {}, "below a folder"),
        ([("b\\..\\a.png", ONE, ["a"])], {}, "below a folder"),
        ([("a.png", ONE, ["a"])], {"images": "photos"}, "bring their own"),
        ([("a.png", ONE, ["a"]), ("a.png", ONE, ["a"])], {}, "two images are called"),
        ([("a.png", ONE, ["a"]), ("b.png", ONE, ["b"])], {}, "other names"),
        ([("a.png", ONE, ["a"])], {"format": "pascal"}, "choose masks, voc"),
        ([("a.png", ONE, ["a"])], {"format": "yolo"}, "say where"),
        ([("a.png", ONE, ["a"])], {"format": "voc"}, "say where"),
        ([("a.png", ONE, ["a"])], {"format": "yolo", "parts": "class"}, "line for each component"),
        ([("a.png", ONE, ["a"])], {"parts": "blob"}, "'class' or 'component'"),
        ([("a.png", ONE, ["a"])], {"min_area": 0}, "min_area"),
        ([("a.png", ONE, ["a"])], {"names": ["b"]}, "there are a"),
        ([("a.png", ONE, ["a"])], {"names": "a"}, r"write \['a'\]"),
    ],
)
def test_wrong_input_gets_one_sentence(tmp_path, items, options, message):
    options = {"format": "masks", **options}
    with pytest.raises(InputError, match=message):
        go(items, out=tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_photo_gets_one_sentence(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match="cannot be read"):
        go([(tmp_path / "a.png", ONE, ["a"])], "masks", tmp_path / "out")


def test_more_classes_than_a_byte_holds_are_refused_where_they_do_not_fit(tmp_path):
    item = ("a.png", ONE, [f"n{i}" for i in range(255)])
    for format in ("voc", "cvat"):
        with pytest.raises(InputError, match="254 classes"):
            go([item], format, tmp_path / "out")


@pytest.mark.parametrize(
    ("package", "format"), [("contourpy", "coco-polygons"), ("pycocotools", "coco-rle")]
)
def test_a_missing_extra_is_named(tmp_path, monkeypatch, package, format):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(InputError, match=r"pip install 'recoseg\[export\]'"):
        go([("a.png", ONE, ["a"])], format, tmp_path / "out")
