"""The ONNX file against the student itself, at sizes it was not traced at."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch

from recoseg.errors import InputError
from recoseg.student import onnx as exporting
from recoseg.student.deeplab import stretch_to_fit
from recoseg.student.student import TILING
from tests import pupils


def photos(*sizes):
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.fixture(scope="module")
def made():
    return pupils.student()


def test_the_graph_agrees_with_the_student_at_any_size(made, tmp_path):
    path = tmp_path / "s.onnx"
    exported = exporting.export(made, path, photos=photos((64, 64), (50, 37), (130, 97)))
    assert exported.agreement >= 0.995
    facts = {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}
    assert facts["names"] == list(pupils.NAMES)
    assert len(facts["colours"]) == 3
    (labels,) = exporting.run(path, photos((33, 65)))
    assert (labels.shape, labels.dtype) == ((33, 65), np.uint8)


def test_eight_bits_are_smaller_and_their_loss_is_measured(made, tmp_path):
    shown = photos((64, 64), (64, 96), (50, 37), (64, 64))
    whole = exporting.export(made, tmp_path / "s.onnx")
    small = exporting.export(made, tmp_path / "s8.onnx", photos=shown, int8=True)
    assert whole.agreement is None
    assert 0.3 < small.agreement <= 1
    weights = {t.data_type for t in onnx.load(small.path).graph.initializer}
    assert onnx.TensorProto.INT8 in weights


def test_what_cannot_be_exported_is_told(made, tmp_path):
    with pytest.raises(InputError, match=r"\.onnx"):
        exporting.export(made, tmp_path / "s.bin")
    with pytest.raises(InputError, match="int8 needs photos"):
        exporting.export(made, tmp_path / "s.onnx", int8=True)


@pytest.mark.parametrize("size", [(480, 2000), (2000, 900), (360, 480), (50, 3000), (1, 1)])
@pytest.mark.parametrize("short_side", [0, 512])
def test_photos_to_compare_on_are_seen_in_one_piece(size, short_side):
    image = exporting._limit_size(np.zeros((*size, 3), np.uint8), short_side)
    assert min(image.shape[:2]) == min(*size, 480)
    seen = stretch_to_fit(torch.zeros(1, 3, *image.shape[:2]), short_side)
    assert max(seen.shape[-2:]) <= TILING.side
