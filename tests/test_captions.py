"""Recall of text-to-image search against closed forms and the toy model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.errors import InputError
from recoseg.evaluation import captions
from tests.toys import COLOURS, Toy


def test_recall_counts_the_photos_that_are_nearer():
    photos = torch.eye(4)
    # The own photo comes first, third and last.
    texts = torch.tensor([[0.9, 0.3, 0.2, 0.1], [0.8, 0.5, 0.7, 0.1], [0.4, 0.3, 0.2, 0.1]])
    owners = torch.tensor([0, 1, 3])
    found = captions.recall(photos, texts, owners, (1, 2, 3, 4))
    assert found == pytest.approx({1: 1 / 3, 2: 1 / 3, 3: 2 / 3, 4: 1})


def test_vectors_that_are_all_alike_find_nothing():
    photos = torch.ones(12, 3)
    assert captions.recall(photos, torch.ones(2, 3), torch.tensor([0, 5])) == {1: 0, 5: 0, 10: 0}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    lines = []
    for name in ("red", "green", "blue"):
        pixels = np.full((32, 32, 3), COLOURS[name], np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
        lines.append(f"{name}.png\t{name}")
    (tmp_path / "captions.tsv").write_text("\n".join([*lines, "gone.png\tred", "red.png\t"]))
    return tmp_path


def test_photos_are_found_by_their_colours(folder):
    found = captions.measure(folder, Toy(), (1,), progress=False)
    assert (found["photos"], found["captions"], found["recall"]) == (3, 3, {1: 1.0})


def test_a_wrong_caption_is_a_miss(folder):
    (folder / "captions.tsv").write_text("red.png\tred\ngreen.png\tblue\nblue.png\tblue\n")
    found = captions.measure(folder, Toy(), (1, 3), progress=False)
    assert found["recall"] == pytest.approx({1: 2 / 3, 3: 1})


def test_only_the_named_photos_are_searched(folder):
    found = captions.measure(folder, Toy(), (1,), only={"red.png", "blue.png"}, progress=False)
    assert (found["photos"], found["captions"]) == (2, 2)


def test_folders_without_captions_are_refused(folder):
    with pytest.raises(InputError, match="no captioned photo"):
        captions.measure(folder, Toy(), only=set(), progress=False)
    (folder / "captions.tsv").unlink()
    with pytest.raises(InputError, match=r"captions\.tsv cannot be read"):
        captions.measure(folder, Toy(), progress=False)
