"""Every baseline on inputs whose clusters are known: where it must succeed and where it cannot."""

from __future__ import annotations

import pytest
import torch

from recoseg.baselines.plan import LABELS
from recoseg.errors import TrainingError
from tests.scenes import Scenes, accuracy, learnt, predicted, scored

# IIC merges two of the classes from some starts; it has no way out of that.
STARTS = {"iic": {"dim": 64}}
SHORT = {method: {"rounds": 2} for method in LABELS} | {
    "iic": {"rounds": 2, "steps": 4},
    "stego": {"rounds": 2, "steps": 4},
}


@pytest.mark.parametrize("method", LABELS)
def test_four_classes_that_differ_are_found(method):
    assert accuracy(method, Scenes(), **STARTS.get(method, {})) >= 0.95


def test_iic_depends_on_its_start_and_says_so():
    found = [learnt("iic", Scenes(), seed=seed, dim=64) for seed in (1, 2)]
    right = [scored(predicted(each, Scenes()), Scenes().labels, 4, 4).accuracy for each in found]
    assert right[0] >= 0.95 > right[1]
    shares = [each.run_round(6)["largest cluster"] for each in found]
    assert shares[0] < 0.35 < shares[1]


LOUD = {"classes": 3, "colours": 6, "loud": 1.35, "photos": 32}


def test_picie_sees_through_colours_that_k_means_takes_for_classes():
    loud = Scenes(**LOUD)
    assert accuracy("kmeans", loud) < 0.5
    assert accuracy("picie", loud, rounds=10) >= 0.95


def test_picie_without_other_colours_in_its_pairs_takes_them_too():
    assert accuracy("picie", Scenes(**LOUD, pairs=False), rounds=10) < 0.7


def test_a_second_clustering_finds_what_one_cannot():
    louder = Scenes(classes=2, colours=4, loud=1.5, photos=32)
    assert accuracy("picie", louder, rounds=10) < 0.7
    assert accuracy("picie+h", louder, rounds=10, overclusters=8) >= 0.95
    same = Scenes(classes=2, colours=4, loud=1.5, photos=32, pairs=False)
    assert accuracy("picie+h", same, rounds=10, overclusters=8) < 0.7


def test_stego_draws_all_together_with_shifts_below_every_likeness():
    found = predicted(learnt("stego", Scenes(), shifts=(-2, -2, -2), fresh=False), Scenes())
    assert torch.bincount(found.flatten()).max() / found.numel() > 0.9


def test_stego_draws_nothing_together_with_shifts_above_every_likeness():
    apart = learnt("stego", Scenes(), shifts=(2, 2, 2), fresh=False)
    assert (apart.run_round(6)["loss"]) >= 0  # no pair is attracted, so nothing is below 0
    floor = accuracy("kmeans", Scenes())
    assert scored(predicted(apart, Scenes()), Scenes().labels, 4, 4).accuracy <= floor


def test_stego_takes_its_shifts_from_the_likeness_of_features():
    itself, near, far = learnt("stego", Scenes(), rounds=1).extra["shifts"].tolist()
    assert -1 < itself < near < far < 1


def test_of_99_to_1_a_collapse_keeps_accuracy_and_loses_miou():
    rare = Scenes(classes=2, shares=(0.99, 0.01), photos=60)
    assert (rare.labels == 1).any()
    found = predicted(learnt("stego", rare, shifts=(-2, -2, -2), fresh=False), rare)
    figures = scored(found, rare.labels, 2, 2)
    assert figures.accuracy > 0.95
    assert figures.miou < 0.55


@pytest.mark.parametrize("method", ["kmeans", "picie", "primaps-em"])
def test_shuffled_truth_gives_no_more_than_the_largest_class(method):
    """A method that did better on labels of no meaning would have seen them."""
    scenes = Scenes(shares=(0.4, 0.3, 0.2, 0.1))
    found = predicted(learnt(method, scenes), scenes)
    order = torch.randperm(scenes.labels.numel(), generator=torch.Generator().manual_seed(0))
    shuffled = scenes.labels.flatten()[order].view_as(scenes.labels)
    figures = scored(found, shuffled, 4, 4)
    assert figures.accuracy < 0.4 + 0.05
    assert figures.miou < 0.2


@pytest.mark.parametrize("method", LABELS)
def test_a_seed_decides_everything(method):
    first, again = (learnt(method, Scenes(), seed=3, **SHORT[method]) for _ in range(2))
    assert first.state().keys() == again.state().keys()
    for name, value in first.state().items():
        assert torch.equal(value, again.state()[name]), name
    assert torch.equal(predicted(first, Scenes()), predicted(again, Scenes()))


@pytest.mark.parametrize("method", LABELS)
def test_a_learner_goes_on_from_its_state_to_the_bit(method):
    short = SHORT[method]
    whole = learnt(method, Scenes(), **short | {"rounds": 3})
    half = learnt(method, Scenes(), **short)
    state = {name: value.clone() for name, value in half.state().items()}
    rest = learnt(method, Scenes(), **short | {"rounds": 1})
    rest.load(state)
    rest.run_round(2)
    for name, value in whole.state().items():
        assert torch.equal(value, rest.state()[name]), name


def test_a_loss_that_is_lost_ends_the_training():
    broken = Scenes(noise=float("nan"))
    with pytest.raises(TrainingError, match="train with a lower rate"):
        learnt("iic", broken)
