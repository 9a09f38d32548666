from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score

from recoseg.errors import InputError
from recoseg.evaluation import metrics
from recoseg.evaluation.metrics import VOID, Counts


def maps(seed, classes, predictions, shape=(17, 23), void=True):
    """Blocky random label maps, some of whose pixels are void or of no class."""
    rng = np.random.default_rng(seed)
    low = VOID if void else 0
    coarse = (shape[0] // 3 + 1, shape[1] // 3 + 1)
    truth, predicted = (rng.integers(low, top, coarse) for top in (classes, predictions))
    big = [np.kron(m, np.ones((3, 3), int))[: shape[0], : shape[1]] for m in (truth, predicted)]
    return big[0], big[1]


def slow_band(mask, distance):
    """Pixels of a mask that ``distance`` erosions by a 3 x 3 square take away, one by one."""
    height, width = mask.shape
    inside = mask.copy()
    for _ in range(distance):
        before = inside.copy()
        for y, x in itertools.product(range(height), range(width)):
            neighbours = [
                0 <= y + dy < height and 0 <= x + dx < width and before[y + dy, x + dx]
                for dy, dx in itertools.product((-1, 0, 1), repeat=2)
            ]
            inside[y, x] = all(neighbours)
    return mask & ~inside


@pytest.mark.parametrize("seed", range(3))
def test_the_confusion_is_sklearn_s(seed):
    truth, predicted = maps(seed, 4, 4)
    found = metrics.count(truth, predicted, 4, 4).confusion
    valid = truth != VOID
    seen = np.where(predicted == VOID, 4, predicted)[valid]
    expected = confusion_matrix(truth[valid], seen, labels=range(5))
    np.testing.assert_array_equal(found, expected[:4])


def test_iou_is_sklearn_s_where_every_class_is_there():
    truth, predicted = maps(5, 4, 4, void=False)
    scores = metrics.scores(metrics.count(truth, predicted, 4, 4))
    expected = jaccard_score(truth.ravel(), predicted.ravel(), average=None)
    np.testing.assert_allclose(scores.iou, expected)
    assert scores.miou == pytest.approx(expected.mean())
    assert scores.accuracy == pytest.approx((truth == predicted).mean())
    weights = np.bincount(truth.ravel()) / truth.size
    assert scores.fw_iou == pytest.approx((weights * expected).sum())


# The band is the nearest whole number of pixels, which is 1 (of 1.46), then 2 (of 1.80).
@pytest.mark.parametrize("shape", [(40, 61), (60, 67)])
@pytest.mark.parametrize("seed", range(3))
def test_boundary_iou_is_that_of_eroded_masks(seed, shape):
    truth, predicted = maps(seed, 3, 3, shape)
    found = metrics.scores(metrics.count(truth, predicted, 3, 3))
    distance = max(1, round(0.02 * math.hypot(*shape)))
    valid = truth != VOID
    for c in range(3):
        masks = [(labels == c) & valid for labels in (truth, predicted)]
        bands = [slow_band(mask, distance) for mask in masks]
        union = (bands[0] | bands[1]).sum()
        assert found.boundary[c] == pytest.approx((bands[0] & bands[1]).sum() / union)


def test_absent_classes_are_left_out_unless_they_are_predicted():
    truth = np.zeros((4, 4), int)
    half = truth.copy()
    half[:2] = 1
    scores = metrics.scores(metrics.count(truth, half, 3, 3))
    assert scores.iou[0] == 0.5
    assert scores.iou[1] == 0  # predicted but absent
    assert math.isnan(scores.iou[2])  # neither
    assert scores.miou == 0.25
    assert math.isnan(scores.recall[1])


def test_void_does_not_count_and_no_class_is_never_right():
    truth = np.array([[0, 0, VOID, 1]])
    predicted = np.array([[0, VOID, 1, 1]])
    counts = metrics.count(truth, predicted, 2, 2)
    assert counts.confusion.tolist() == [[1, 0, 1], [0, 1, 0]]
    scores = metrics.scores(counts)
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.iou.tolist() == [0.5, 1.0]


def test_a_perfect_prediction_scores_one_everywhere_even_beside_void():
    truth, _ = maps(1, 3, 3)
    predicted = np.where(truth == VOID, 0, truth)
    scores = metrics.scores(metrics.count(truth, predicted, 3, 3))
    assert scores.miou == scores.accuracy == scores.boundary_iou == scores.fw_iou == 1


def test_nothing_but_void_is_not_a_number():
    truth = np.full((3, 3), VOID)
    scores = metrics.scores(metrics.count(truth, np.zeros((3, 3), int), 2, 2))
    assert math.isnan(scores.miou)
    assert math.isnan(scores.accuracy)


def test_counts_of_parts_add_up_to_those_of_all():
    pairs = [maps(seed, 3, 4) for seed in range(4)]
    total = sum((metrics.count(*pair, 3, 4) for pair in pairs), start=Counts.none(3, 4))
    tall = [np.concatenate([pair[side] for pair in pairs]) for side in (0, 1)]
    np.testing.assert_array_equal(total.confusion, metrics.count(*tall, 3, 4).confusion)


@pytest.mark.parametrize("clusters", [2, 3, 5])
def test_matching_is_the_best_of_all_assignments(clusters):
    rng = np.random.default_rng(clusters)
    confusion = rng.integers(0, 100, (3, clusters + 1))
    columns = metrics.hungarian(confusion)
    places = range(max(3, clusters))
    padded = np.pad(confusion[:, :-1], ((0, len(places) - 3), (0, len(places) - clusters)))
    best = max(
        sum(padded[row, column] for row, column in enumerate(order))
        for order in itertools.permutations(places)
    )
    assert sum(confusion[c, k] for c, k in enumerate(columns) if k != VOID) == best
    assert (columns != VOID).sum() == min(3, clusters)


def test_clusters_in_excess_count_as_no_class_and_renaming_changes_nothing():
    truth, _ = maps(2, 3, 3)
    named = np.where(truth == VOID, 0, truth)
    clusters = np.array([4, 2, 0])[named]
    clusters[:3] = 1  # a cluster of its own
    counts = metrics.count(truth, clusters, 3, 5)
    matched = counts.take(metrics.hungarian(counts.confusion))
    direct = metrics.count(truth, np.where(clusters == 1, VOID, named), 3, 3)
    np.testing.assert_array_equal(matched.confusion, direct.confusion)
    assert metrics.scores(matched).iou.tolist() == metrics.scores(direct).iou.tolist()


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        ([[0, 2]], [[0, 0]], "truth holds the label 2"),
        ([[0, 1]], [[0, 5]], "prediction holds the label 5"),
        ([[-2, 1]], [[0, 0]], "truth holds the label -2"),
        ([[0, 1, 1]], [[0, 0]], "resize"),
    ],
)
def test_labels_out_of_range_and_other_sizes_are_refused(truth, predicted, message):
    with pytest.raises(InputError, match=message):
        metrics.count(np.array(truth), np.array(predicted), 2, 2)


def test_counts_of_unmatched_clusters_have_no_scores():
    truth, predicted = maps(0, 3, 5)
    with pytest.raises(InputError, match="match"):
        metrics.scores(metrics.count(truth, predicted, 3, 5))
