"""The parts that baselines share, and their losses, held to closed forms and slow versions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recoseg.baselines import iic, picie, primaps, spherical, stego
from recoseg.baselines.neighbours import derangement, nearest
from recoseg.baselines.plan import LABELS, PRESETS, BaselinePlan, preset
from recoseg.baselines.views import Geometry, recolour, warp
from recoseg.errors import InputError
from recoseg.evaluation import metrics
from recoseg.similarity import unit


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# IIC


def one_hot(clusters, side=6, seed=0):
    """(1, K, h, w) maps that use all clusters equally often, one per cell."""
    labels = torch.arange(side * side) % clusters
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    return F.one_hot(labels.view(1, side, side), clusters).movedim(-1, 1).float()


@pytest.mark.parametrize("lam", [1.0, 1.5])
@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_iic_of_maps_that_agree_or_say_nothing(clusters, lam):
    agreeing = one_hot(clusters)
    log = math.log(clusters)
    # A mutual information of log K, whose two marginals have entropy log K each.
    assert float(iic.loss(agreeing, agreeing, 0, lam=lam)) == pytest.approx((1 - 2 * lam) * log)
    flat = torch.full((1, clusters, 6, 6), 1 / clusters)
    expected = 0 if lam == 1 else 2 * log - 2 * lam * log
    assert float(iic.loss(flat, flat, 1, lam=lam)) == pytest.approx(expected, abs=1e-5)
    single = torch.zeros(1, clusters, 6, 6)
    single[:, 0] = 1
    assert float(iic.loss(single, single, 1, lam=lam)) == pytest.approx(0, abs=1e-5)


def test_iic_does_not_care_which_view_is_first_and_displaces_as_its_equation_says():
    first, second = (noise(2, 3, 5, 4, seed=s).softmax(1) for s in (1, 2))
    there, back = (float(iic.loss(*pair, 1)) for pair in ((first, second), (second, first)))
    assert there == pytest.approx(back, abs=1e-6)
    found = iic.joint(first, second, 1)
    assert found.shape == (9, 3, 3)
    torch.testing.assert_close(found.sum((1, 2)), torch.ones(9))
    for table, (down, right) in zip(found, itertools.product((-1, 0, 1), repeat=2), strict=True):
        slow = torch.zeros(3, 3)
        for b, y, x in itertools.product(range(2), range(5), range(4)):
            if 0 <= y + down < 5 and 0 <= x + right < 4:
                slow += torch.outer(first[b, :, y, x], second[b, :, y + down, x + right])
        torch.testing.assert_close(table, (slow + slow.T) / (2 * slow.sum()))


def test_iic_leaves_out_what_only_one_view_sees():
    first, second = (noise(1, 3, 4, 6, seed=s).softmax(1) for s in (1, 2))
    mask = torch.ones(1, 4, 6)
    mask[..., 3:] = 0
    left = iic.joint(first[..., :3], second[..., :3], 0)
    torch.testing.assert_close(iic.joint(first, second, 0, mask), left)


# STEGO


def test_stego_of_equal_and_of_orthogonal_codes():
    features = stego.compare_cells(noise(2, 8, 3, 3), noise(2, 8, 3, 3, seed=1))
    mean = float(features.mean())
    for shift in (-0.2, 0.1, 0.7):
        same = stego.loss(features, torch.ones_like(features), shift)
        assert float(same) == pytest.approx(shift - mean, abs=1e-6)
        assert float(stego.loss(features, torch.zeros_like(features), shift)) == 0
        assert float(stego.loss(features, -torch.ones_like(features), shift)) == 0
    assert float(stego.centre(features).mean()) == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("shift", [0.1, 0.5, 0.9])
def test_stego_of_two_blocks_with_ideal_codes(shift):
    """Half of the pairs are in one block and have F = 1, which centring leaves as it is."""
    blocks = F.one_hot(torch.tensor([[0, 0], [1, 1]])).movedim(-1, 0)[None].float()
    features = stego.compare_cells(blocks, blocks)
    assert float(stego.loss(features, features, shift)) == pytest.approx(-(1 - shift) / 2)


def test_negatives_are_never_the_photo_itself():
    generator = torch.Generator().manual_seed(0)
    for size in (2, 3, 16):
        for _ in range(20):
            order = derangement(size, generator)
            assert sorted(order.tolist()) == list(range(size))
            assert not (order == torch.arange(size)).any()


def test_a_neighbour_is_never_the_photo_itself_even_if_photos_are_copies():
    features = torch.cat([noise(3, 8)] * 3)
    found = nearest(features, 2)
    assert not (found == torch.arange(9)[:, None]).any()
    # The two copies of each photo are its nearest.
    assert {tuple(sorted(row)) for row in (found % 3).tolist()} == {(n, n) for n in range(3)}
    away = nearest(features, 2, gap=2)
    assert int((away - torch.arange(9)[:, None]).abs().min()) > 2
    with pytest.raises(InputError, match="9 photos do not leave 2 neighbours"):
        nearest(features, 2, gap=4)


# PiCIE


def test_weights_of_the_two_clusterings_sum_to_one():
    assert picie.balance(27, 100) == pytest.approx((0.583, 0.417), abs=1e-3)
    for k in (2, 27):
        assert picie.balance(k, k) == (0.5, 0.5)
    assert sum(picie.balance(5, 77)) == pytest.approx(1)


def test_the_loss_is_the_mean_of_four_fits_each_to_its_own_centroids():
    codes = [unit(noise(6, 4, seed=s)) for s in (0, 1)]
    centroids = [unit(noise(3, 4, seed=s)) for s in (2, 3)]
    labels = [torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([2, 2, 1, 1, 0, 0])]
    slow = 0.0
    for view, taught in itertools.product(range(2), repeat=2):
        for n in range(6):
            logits = [float(codes[view][n] @ mean) for mean in centroids[taught]]
            right = logits[int(labels[taught][n])]
            slow += (math.log(sum(map(math.exp, logits))) - right) / (6 * 4)
    assert float(picie.loss(codes, centroids, labels)) == pytest.approx(slow, abs=1e-6)
    # Clusters are numbered at will, as long as centroids and labels agree.
    renumbered = [torch.tensor([2, 0, 1]), torch.tensor([1, 2, 0])]
    others = [c[r.argsort()] for c, r in zip(centroids, renumbered, strict=True)]
    told = [r[y] for y, r in zip(labels, renumbered, strict=True)]
    assert float(picie.loss(codes, others, told)) == pytest.approx(slow, abs=1e-6)


# PriMaPs


def test_masks_of_a_photo_are_its_parts_and_cover_nearly_all_of_it():
    labels = torch.tensor([[0, 0, 1], [0, 0, 1], [2, 2, 2]]).repeat_interleave(2, 0)
    features = F.one_hot(labels, 3).movedim(-1, 0).float() + 0.02 * noise(3, 6, 3)
    found = primaps.find_masks(features)
    assert (found >= 0).float().mean() >= primaps.ENOUGH
    assert (
        metrics.scores(
            metrics.count(labels.numpy(), found.numpy(), 3, 3).take(
                metrics.hungarian(metrics.count(labels.numpy(), found.numpy(), 3, 3).confusion)
            )
        ).accuracy
        == 1
    )


def test_a_mask_is_given_to_one_cluster_and_cells_outside_masks_to_none():
    scores = noise(2, 4, 3, 3).softmax(1)
    masks = torch.tensor([[[0, 0, 1], [0, 0, 1], [2, 2, -1]]] * 2)
    found = primaps.vote_by_mask(scores, masks)
    for photo, mask in itertools.product(range(2), range(3)):
        cells = masks[photo] == mask
        best = int(scores[photo][:, cells].sum(1).argmax())
        assert set(found[photo][cells].tolist()) == {best}
    assert (found[masks == -1] == -1).all()
    assert (primaps.vote_by_mask(scores, torch.full((2, 3, 3), -1)) == -1).all()


def test_focal_loss_is_cross_entropy_that_trusts_what_is_sure():
    logits, labels = noise(5, 3), torch.tensor([0, 2, 1, 1, -1])
    p = logits.softmax(1)[range(4), labels[:4]]
    expected = (-((1 - p) ** 2) * p.log()).mean()
    assert float(primaps.focal(logits, labels)) == pytest.approx(float(expected), abs=1e-6)
    assert float(primaps.focal(logits, torch.full((5,), -1))) == 0


# k-means


def test_the_objective_never_rises_and_the_best_start_is_kept():
    points = torch.cat([noise(200, 6, seed=s) + 3 * noise(1, 6, seed=90 + s) for s in range(5)])
    for k in (2, 5, 9):
        found = spherical.cluster(points, k, seed=3)
        assert all(b <= a + 1e-9 for a, b in itertools.pairwise(found.objectives))
        assert found.objectives[-1] == min(found.starts)
        torch.testing.assert_close(found.centroids.norm(dim=1), torch.ones(k))
        _, cosines = spherical.assign(points, found.centroids)
        assert float(1 - cosines.mean()) == pytest.approx(found.objectives[-1], abs=1e-5)


def test_one_cluster_is_the_direction_of_the_mean():
    points = noise(50, 4) + 1
    mean = unit(unit(points).mean(dim=0))
    torch.testing.assert_close(spherical.cluster(points, 1, seed=0).centroids[0], mean)
    whole = spherical.cluster_batches(points.split(7), 1, seed=0, initial=1).centroids[0]
    assert float(whole @ mean) > 0.99


def test_every_cluster_has_points_even_where_most_are_copies():
    points = torch.cat([torch.eye(4)[:1].repeat(100, 1), torch.eye(4)])
    labels, cosines = spherical.assign(points, spherical.cluster(points, 4, seed=1).centroids)
    assert len(set(labels.tolist())) == 4
    assert float(cosines.min()) == pytest.approx(1)
    with pytest.raises(InputError, match="3 points cannot make 4 clusters"):
        spherical.cluster(points[:3], 4, seed=0)


def test_neither_the_scale_of_points_nor_later_batches_move_what_is_plain():
    points = F.one_hot(torch.arange(120) % 3, 5).float() + 0.05 * noise(120, 5)
    plain = spherical.cluster(points, 3, seed=0)
    scaled = spherical.cluster(points * torch.rand(120, 1) * 9 + 0, 3, seed=0)
    torch.testing.assert_close(plain.centroids, scaled.centroids)
    batched = spherical.cluster_batches(points.split(30), 3, seed=0, initial=2).centroids
    assert (batched @ plain.centroids.T).amax(dim=1).min() > 0.999


# Matching


@pytest.mark.parametrize(("classes", "clusters"), [(3, 3), (4, 2), (2, 5), (5, 4), (1, 1)])
def test_matching_is_the_best_of_all_and_loses_no_pixel(classes, clusters):
    generator = np.random.default_rng(classes * 10 + clusters)
    confusion = generator.integers(0, 50, (classes, clusters + 1))
    band = np.zeros_like(confusion)
    counts = metrics.Counts(confusion, band, band[:, 0], band[0])
    columns = metrics.hungarian(confusion)
    right = sum(confusion[c, k] for c, k in enumerate(columns) if k >= 0)
    some = min(classes, clusters)
    best = max(
        sum(confusion[c, k] for c, k in zip(rows, order, strict=True))
        for rows in itertools.combinations(range(classes), some)
        for order in itertools.permutations(range(clusters), some)
    )
    assert right == best
    taken = counts.take(columns)
    assert taken.confusion.sum() == confusion.sum()
    found = metrics.scores(taken)
    assert found.accuracy == pytest.approx(right / confusion.sum())
    assert [found.iou[c] for c in range(classes) if columns[c] < 0] == [0.0] * (classes - some)


def test_scores_do_not_depend_on_how_clusters_are_numbered_or_what_lies_under_void():
    generator = np.random.default_rng(0)
    truth = generator.integers(-1, 3, (8, 8))
    found = generator.integers(0, 5, (8, 8))
    order = generator.permutation(5)
    other = np.where(truth < 0, generator.integers(0, 5, (8, 8)), found)

    def score(labels):
        confusion = metrics.count(truth, labels, 3, 5).confusion
        band = np.zeros_like(confusion)
        counts = metrics.Counts(confusion, band, band[:, 0], band[0])
        return metrics.scores(counts.take(metrics.hungarian(confusion))).iou.tolist()

    assert score(found) == score(order[found]) == score(other)


# Views


def test_geometry_moves_photos_features_and_labels_alike():
    geometries = [Geometry.draw(1, photo, 0) for photo in range(4)]
    maps = F.interpolate(noise(4, 3, 4, 4), size=(16, 16), mode="bilinear")
    # An identity network commutes with geometry, whichever is first.
    torch.testing.assert_close(
        warp(geometries, maps),
        torch.stack([warp([g], m[None])[0] for g, m in zip(geometries, maps, strict=True)]),
    )
    labels = (maps[:, 0] > 0).long()
    laid = warp(geometries, labels)
    assert laid.dtype == labels.dtype
    torch.testing.assert_close(
        laid, warp(geometries, labels[:, None].float(), nearest=True)[:, 0].long()
    )
    assert float((warp(geometries, maps)[:, 0] > 0).eq(laid == 1).float().mean()) > 0.9


def test_a_flip_twice_and_the_whole_window_change_nothing():
    maps, labels = noise(2, 3, 6, 6), torch.randint(0, 99, (2, 6, 6))
    flip, whole = [Geometry(flip=True)] * 2, [Geometry()] * 2
    torch.testing.assert_close(warp(flip, warp(flip, maps)), maps)
    torch.testing.assert_close(warp(flip, maps), maps.flip(3))
    torch.testing.assert_close(warp(whole, maps), maps)
    assert torch.equal(warp(flip, labels), labels.flip(2))
    assert torch.equal(warp(whole, labels), labels)


def test_views_are_drawn_from_their_numbers_alone():
    photo = (255 * torch.rand(3, 16, 16)).byte()
    for view in (1, 2):
        same = [recolour(photo, 5, 0, 1, view) for _ in range(2)]
        assert torch.equal(*same)
        assert same[0].shape == photo.shape
        assert same[0].dtype == torch.uint8
    drawn = {
        recolour(photo, *key).numpy().tobytes()
        for key in ((5, 0, 1, 1), (5, 0, 1, 2), (5, 0, 2, 1), (5, 1, 1, 1), (6, 0, 1, 1))
    }
    assert len(drawn) >= 4  # a fifth of the draws leaves colours as they are
    windows = [Geometry.draw(0, n, 0) for n in range(300)]
    assert all(0.5 <= w.side**2 <= 1 and w.left + w.side <= 1 + 1e-9 for w in windows)
    assert 0.4 < np.mean([w.flip for w in windows]) < 0.6


# Plans


def test_every_method_has_a_plan_for_a_cpu_and_the_published_one():
    for method in LABELS:
        assert {"small", "paper"} <= {plan.name for plan in PRESETS if plan.method == method}
        for plan in (preset(method), preset(method, "paper")):
            assert BaselinePlan.from_dict(plan.to_dict()) == plan
    with pytest.raises(InputError, match="no baseline 'deepcluster'"):
        preset("deepcluster")
    with pytest.raises(InputError, match="has no preset 'huge'"):
        preset("stego", "huge")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "unet"}, "no network 'unet'"),
        ({"size": 8}, "size must be from 32"),
        ({"crops": 3}, "crops are 1 or 5"),
        ({"shifts": (1, 2)}, "three numbers"),
        ({"network": "pyramid"}, "made on frozen features"),
        ({"rate": 0.0}, "rate and lam"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        preset("stego").replace(**changes)
