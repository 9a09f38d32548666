"""Published tensors reach the layers of their names, in whatever order a file holds them."""

from __future__ import annotations

import pytest
import timm
import torch

from recoseg.errors import MissingWeights
from recoseg.models import efficientnet, encoders
from recoseg.models.lite import ARCHITECTURE, load_trunk
from recoseg.models.packaged import IMAGE_WEIGHTS

FIRST, SECOND = "_blocks.1._bn0.weight", "_blocks.1._bn1.weight"


@pytest.fixture(scope="module")
def stored():
    return torch.load(IMAGE_WEIGHTS.find(), map_location="cpu", weights_only=True)


@pytest.fixture(scope="module")
def model():
    return timm.create_model(ARCHITECTURE)


def swapped(state):
    """The same tensors under the same names, two of one shape in each other's place."""
    assert state[FIRST].shape == state[SECOND].shape
    other = {FIRST: SECOND, SECOND: FIRST}
    return {other.get(name, name): state[other.get(name, name)] for name in state}


ORDERS = {"swapped": swapped, "reversed": lambda state: dict(reversed(state.items()))}


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_in_a_file_changes_nothing(stored, tmp_path, order):
    file = tmp_path / "other.pth"
    torch.save(ORDERS[order](stored), file)
    ours, truth = (load_trunk(f).state_dict() for f in (file, IMAGE_WEIGHTS.find()))
    assert all(torch.equal(ours[name], truth[name]) for name in truth)


@pytest.mark.parametrize("order", ORDERS)
def test_an_encoder_s_weights_are_those_of_their_names(stored, tmp_path, monkeypatch, order):
    file = tmp_path / "other.pth"
    torch.save(ORDERS[order](stored), file)
    truth = encoders.find_encoder("lite2").weights
    monkeypatch.setattr(type(IMAGE_WEIGHTS), "find", lambda self: file)
    ours = encoders.find_encoder("lite2").weights
    assert list(ours) == list(truth)
    assert all(torch.equal(ours[name], truth[name]) for name in truth)


@pytest.mark.parametrize("name", [ARCHITECTURE, "tf_efficientnet_lite0"])
def test_names_are_those_of_the_layers_in_the_order_they_run(name):
    """The longhand: both name a network's layers one after the other."""
    keys = list(timm.create_model(name).state_dict())
    names = efficientnet.published_names(keys)
    assert len(set(names.values())) == len(names) == len(keys)
    numbers = [int(names[k].split(".")[1]) for k in keys if k.startswith("blocks.")]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(max(numbers) + 1))
    for key, theirs in names.items():
        assert ("_bn" in theirs) == ("bn" in key)
        assert key.split(".")[-1] == theirs.split(".")[-1]


def test_every_name_of_the_file_is_met(stored, model):
    assert set(efficientnet.published_names(model.state_dict()).values()) == set(stored)


@pytest.mark.parametrize(
    "change",
    [
        {FIRST: None},
        {FIRST: torch.ones(3)},
        {"_blocks.99._bn0.weight": torch.ones(96)},
        {"extra": torch.ones(1)},
    ],
    ids=["missing", "another shape", "a block too many", "left over"],
)
def test_what_does_not_fit_is_refused(stored, model, tmp_path, change):
    file = tmp_path / "other.pth"
    changed = {**stored, **change}
    torch.save({k: v for k, v in changed.items() if v is not None}, file)
    with pytest.raises(MissingWeights, match="does not fit timm's tf_efficientnet_lite2"):
        efficientnet.read(file, model.state_dict(), ARCHITECTURE)
