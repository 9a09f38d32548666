from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from recoseg import datasets
from recoseg.datasets import tables
from recoseg.datasets.inspection import inspect
from recoseg.errors import DatasetError, InputError
from tests import trees

VOID = -1


def first_row(dataset, number=0):
    """Class names along the first row of a label map; None for void."""
    _, labels = dataset.read(dataset.samples[number])
    names = dataset.table.classes
    return [None if label == VOID else names[label] for label in labels[0]]


@pytest.mark.parametrize(
    ("name", "variant", "names", "classes"),
    [
        ("cityscapes", "27", 27, 27),
        ("cityscapes", "19", 19, 19),
        ("cocostuff", "27", 171, 27),
        ("cocostuff", "171", 171, 171),
        ("kitti_step", "19", 19, 19),
        ("pascal_context", "59", 59, 59),
        ("pascal_voc", "21", 21, 21),
        ("ade20k", "150", 150, 150),
        ("camvid", "11", 11, 11),
        ("msrc", "23", 23, 23),
    ],
)
def test_tables_have_the_official_number_of_classes_and_a_source(name, variant, names, classes):
    table = tables.table(name, variant)
    assert (len(table.names), len(table.classes)) == (names, classes)
    assert len(table.colours) == classes
    assert len(table.source) > 20
    assert set(table.merge) == set(range(classes))
    assert all(table.aliases[name] for name in table.names)


def test_cityscapes_ids_less_seven_are_the_27_classes(tmp_path):
    dataset = datasets.open("auto", trees.cityscapes(tmp_path, 7, 33, 6, 0, 21, 9))
    assert dataset.name == "cityscapes"
    assert [sample.id for sample in dataset] == [
        "aachen/aachen_000000_000019",
        "ulm/ulm_000001_000019",
    ]
    names = first_row(dataset)[:6]
    assert names == ["road", "bicycle", None, None, "vegetation", "parking"]
    assert [dataset.table.ids.index(id) for id in (7, 33)] == [0, 26]


def test_the_19_classes_leave_the_other_8_void(tmp_path):
    dataset = datasets.open("cityscapes", trees.cityscapes(tmp_path, 7, 33, 9, 29), variant="19")
    assert first_row(dataset)[:4] == ["road", "bicycle", None, None]


def test_cocostuff_reads_the_list_and_scores_171_names_as_27(tmp_path):
    root = trees.cocostuff(tmp_path, 0, 181, 255, 123, 168)
    dataset = datasets.open("auto", root)
    assert [sample.id for sample in dataset] == ["000000000632", "000000000139"]
    assert first_row(dataset)[:5] == ["person", "solid", None, "plant", "plant"]
    fine = datasets.open("cocostuff", root, "val-all", "171")
    assert len(fine) == 3
    assert first_row(fine)[:5] == ["person", "wood", None, "grass", "tree"]
    assert len(datasets.open("cocostuff", root, "val-7")) == 1


def test_cocostuff_wants_its_list_or_another(tmp_path):
    root = trees.cocostuff(tmp_path / "a", 0, home="stuffthingmaps")
    (root / "curated" / "val2017" / "Coco164kFull_Stuff_Coarse.txt").unlink()
    with pytest.raises(DatasetError, match=r"no list Coco164kFull_Stuff_Coarse.txt"):
        datasets.open("cocostuff", root)
    mine = trees.text(tmp_path / "mine.txt", "000000000285")
    assert len(datasets.open("cocostuff", root, listing=mine)) == 1


def test_kitti_takes_the_first_channel_and_the_split_s_sequences(tmp_path):
    dataset = datasets.open("auto", trees.kitti_step(tmp_path, 0, 18, 255))
    assert [sample.id for sample in dataset] == ["0002/000000"]
    assert first_row(dataset)[:3] == ["road", "bicycle", None]
    assert len(datasets.open("kitti_step", tmp_path, "train")) == 1


def test_voc_reads_palette_masks_of_its_list(tmp_path):
    dataset = datasets.open("auto", trees.pascal_voc(tmp_path, 0, 15, 255, 20))
    assert len(dataset) == 2
    assert first_row(dataset)[:4] == ["background", "person", None, "tv monitor"]


@pytest.mark.parametrize(
    ("home", "ids"),
    [
        # aeroplane, bag, wood, nothing: three files, three orders.
        ("trainval", (2, 9, 458, 1)),
        ("59_context_labels", (1, 21, 59, 0)),
        ("SegmentationClassContext", (1, 2, 59, 0)),
    ],
)
def test_pascal_context_in_each_of_its_forms(tmp_path, home, ids):
    dataset = datasets.open("auto", trees.pascal_context(tmp_path, home, *ids))
    assert dataset.name == "pascal_context"
    assert first_row(dataset)[:4] == ["aeroplane", "bag", "wood", None]


def test_ade20k_ids_begin_at_one(tmp_path):
    dataset = datasets.open("auto", trees.ade20k(tmp_path, 1, 150, 0))
    assert first_row(dataset)[:3] == ["wall", "flag", None]


def test_camvid_gathers_32_colours_into_11(tmp_path):
    root = trees.camvid_painted(tmp_path, (128, 128, 128), (192, 0, 64), (0, 0, 0), (64, 192, 0))
    dataset = datasets.open("auto", root)
    assert first_row(dataset)[:4] == ["sky", "road", None, "building"]


def test_a_colour_that_is_none_of_camvid_s_names_the_file(tmp_path):
    dataset = datasets.open("camvid", trees.camvid_painted(tmp_path, (1, 2, 3)))
    with pytest.raises(DatasetError, match=r"006690_L.png holds the colour \[1, 2, 3\]"):
        dataset.read(dataset.samples[0])


def test_camvid_in_the_tutorial_s_folders(tmp_path):
    trees.photo(tmp_path / "val" / "x.png")
    trees.mask(tmp_path / "valannot" / "x.png", 0, 10, 11)
    assert first_row(datasets.open("auto", tmp_path))[:3] == ["sky", "bicyclist", None]


def test_polygons_are_drawn_small_over_large(tmp_path):
    dataset = datasets.open("auto", trees.firenet(tmp_path))
    assert dataset.name == "firenet"
    assert dataset.table.classes == ("background", "exit sign", "extinguisher")
    _, labels = dataset.read(dataset.samples[0])
    assert (labels[0, 0], labels[4, 4], labels[7, 7]) == (0, 2, 1)


@pytest.mark.parametrize("deep", [False, True])
def test_a_plain_folder_and_its_names(tmp_path, deep):
    dataset = datasets.open("auto", trees.folder(tmp_path, 0, 1, 2, 255, deep=deep))
    assert [sample.id for sample in dataset] == ["a", "b"]
    assert first_row(dataset)[:4] == ["sky", "road", "car", None]


@pytest.mark.parametrize(
    "content",
    [
        [{"id": 300, "name": "road", "colour": [1, 2, 3]}, {"id": 9, "name": "unknown"}],
        {"300": "road", "9": "void"},
    ],
)
def test_names_in_json_with_ids_above_255(tmp_path, content):
    root = trees.folder(tmp_path, 300, 9, names=None, deep=True)
    (root / "masks" / "names.json").write_text(json.dumps(content))
    assert first_row(datasets.open("folder", root))[:2] == ["road", None]


def test_names_can_be_given(tmp_path):
    root = trees.folder(tmp_path, 0, 1, names=None)
    with pytest.raises(DatasetError, match="nothing says what the ids"):
        datasets.open("folder", root)
    assert first_row(datasets.open("folder", root, names=["x", "y"]))[:2] == ["x", "y"]


def test_pairs_are_matched_by_name_never_by_position(tmp_path):
    root = trees.folder(tmp_path, 0)
    (root / "masks" / "a.png").rename(root / "masks" / "c.png")
    trees.photo(root / "images" / "c.jpg")
    with pytest.raises(DatasetError, match=r"images/a.jpg has no mask"):
        datasets.open("folder", root)
    (root / "images" / "a.jpg").unlink()
    dataset = datasets.open("folder", root)
    assert all(s.image.stem == s.label.stem for s in dataset)
    (root / "images" / "b.jpg").unlink()
    with pytest.raises(DatasetError, match=r"masks/b.png has no image"):
        datasets.open("folder", root)


def test_an_id_outside_the_table_names_file_and_id(tmp_path):
    dataset = datasets.open("auto", trees.cityscapes(tmp_path, 7, 34))
    with pytest.raises(DatasetError, match=r"aachen.*labelIds.png holds the id 34"):
        dataset.read(dataset.samples[0])


def test_a_mask_of_another_size_names_both_files(tmp_path):
    root = trees.folder(tmp_path, 0)
    trees.mask(root / "masks" / "a.png", 0, size=(5, 8))
    dataset = datasets.open("folder", root)
    with pytest.raises(DatasetError, match=r"a.png is 8x5 but .*a.jpg is 8x6"):
        dataset.read(dataset.samples[0])


@pytest.mark.parametrize("data", [b"", b"no image at all"])
def test_a_broken_mask_names_the_file(tmp_path, data):
    root = trees.folder(tmp_path, 0)
    (root / "masks" / "a.png").write_bytes(data)
    dataset = datasets.open("folder", root)
    with pytest.raises(DatasetError, match=r"a.png cannot be read"):
        dataset.read(dataset.samples[0])


def test_a_coloured_mask_is_refused(tmp_path):
    root = trees.folder(tmp_path, 0)
    pixels = np.zeros((*trees.SIZE, 3), np.uint8)
    Image.fromarray(pixels).save(root / "masks" / "a.png")
    dataset = datasets.open("folder", root)
    with pytest.raises(DatasetError, match="3 channels"):
        dataset.read(dataset.samples[0])


def test_what_is_no_dataset_is_told(tmp_path):
    with pytest.raises(DatasetError, match="layout of no dataset"):
        datasets.open("auto", tmp_path)
    with pytest.raises(DatasetError, match="not a folder"):
        datasets.open("auto", tmp_path / "nowhere")
    with pytest.raises(InputError, match="no dataset 'imagenet'"):
        datasets.open("imagenet", tmp_path)
    with pytest.raises(InputError, match="no variant '42'"):
        datasets.open("cityscapes", trees.cityscapes(tmp_path, 7), variant="42")


def test_an_inspection_tells_everything_at_once(tmp_path):
    root = trees.folder(tmp_path, 0, 0, 1, 255)
    trees.mask(root / "masks" / "b.png", 9)
    trees.mask(root / "masks" / "c.png", 0)
    trees.photo(root / "images" / "d.jpg", (3, 3))
    trees.mask(root / "masks" / "d.png", 0)
    found = inspect(datasets.open("folder", root, strict=False), progress=False)
    assert found.pixels == (24, 12, 0)
    assert found.images == (1, 1, 0)
    assert found.void == 0.25
    assert found.sizes == (((6, 8), 1),)
    assert len(found.problems) == 3
    text = " ".join(found.problems)
    assert all(part in text for part in ("c.png has no image", "holds the id 9", "3x3"))
    assert found.to_dict()["absent"] == ["car"]


def test_a_sample_is_spread_evenly(tmp_path):
    for number in range(10):
        trees.photo(tmp_path / "images" / f"{number}.jpg")
        trees.mask(tmp_path / "masks" / f"{number}.png", 0)
    dataset = datasets.open("folder", tmp_path, names=["x"])
    assert [s.id for s in dataset.sample(5)] == ["0", "2", "4", "6", "8"]
    assert dataset.sample(99) is dataset
