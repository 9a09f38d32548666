from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.crf import lattice
from recoseg.crf.hash_table import KeyTable
from recoseg.crf.meanfield import mean_field
from recoseg.crf.refine import Field, refine
from recoseg.errors import InputError
from recoseg.recipe import CRF
from tests.oracles import crf as slow

SMALL = CRF(bilateral_xy=8, bilateral_rgb=20)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise(*shape: int, seed: int = 0, scale: float = 2.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def picture(height: int = 12, width: int = 17, seed: int = 0) -> np.ndarray:
    """Two flat halves and a little noise."""
    image = np.full((height, width, 3), 60, np.uint8)
    image[:, width // 2 :] = 190
    return image + np.random.default_rng(seed).integers(0, 9, image.shape, dtype=np.uint8)


def photo(name: str) -> np.ndarray:
    data = pytest.importorskip("skimage.data")
    transform = pytest.importorskip("skimage.transform")
    resized = transform.resize(getattr(data, name)()[..., :3], (321, 481), anti_aliasing=True)
    return np.ascontiguousarray((resized * 255).round().astype(np.uint8))


def colour_scores(image: np.ndarray, classes: int, sharpness: float) -> np.ndarray:
    """Minus the distance of the blurred colours to those of some pixels, (C, H, W)."""
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_filter(image.astype(np.float32), (6, 6, 0))
    rng = np.random.default_rng(classes)
    rows, columns = (
        rng.integers(0, image.shape[0], classes),
        rng.integers(0, image.shape[1], classes),
    )
    return -sharpness * np.linalg.norm(blurred - blurred[rows, columns][:, None, None], axis=-1)


@pytest.mark.parametrize(
    ("name", "classes", "sharpness"),
    [("astronaut", 21, 0.02), ("chelsea", 5, 0.02), ("coffee", 5, 0.2), ("rocket", 21, 0.05)],
)
def test_agrees_with_an_independent_implementation_on_photos(name, classes, sharpness):
    densecrf = pytest.importorskip("pydensecrf.densecrf")
    image = photo(name)
    scores = colour_scores(image, classes, sharpness)
    unary = -torch.log_softmax(torch.from_numpy(scores).flatten(1), dim=0).numpy()
    other = densecrf.DenseCRF2D(image.shape[1], image.shape[0], classes)
    other.setUnaryEnergy(np.ascontiguousarray(unary))
    other.addPairwiseGaussian(sxy=1, compat=3)
    other.addPairwiseBilateral(sxy=67, srgb=3, rgbim=image, compat=4)
    expected = np.array(other.inference(10)).reshape(scores.shape)
    ours = refine(scores, image).numpy()
    assert (ours.argmax(0) == expected.argmax(0)).mean() >= 0.999
    assert np.abs(ours - expected).max() < 1e-3
    assert np.abs(ours - expected).mean() < 1e-6


@pytest.mark.parametrize(("d", "spread"), [(1, 1), (2, 1.5), (3, 1), (5, 0.6), (5, 0.1), (5, 4)])
def test_the_lattice_is_the_one_described(d, spread):
    rng = np.random.default_rng(d)
    features = (rng.normal(size=(40, d)) * spread).astype(np.float32)
    x = rng.random((40, 3))
    norm = np.sqrt(slow.lattice_filter(features, np.ones((40, 1))))
    expected = slow.lattice_filter(features, x / norm) / norm
    ours = lattice.build(np.ascontiguousarray(features.T)).filter(torch.from_numpy(x).float())
    np.testing.assert_allclose(ours.numpy(), expected, atol=2e-6)


@pytest.mark.parametrize(
    ("crf", "largest", "mean", "agreement"),
    [
        # The lattice approximates the Gaussian to some per cent; iterations amplify it where the
        # decision is close.
        (CRF(iterations=1), 0.06, 5e-3, 0.98),
        (dataclasses.replace(SMALL, iterations=1), 0.06, 5e-3, 0.98),
        (CRF(), 1.0, 0.03, 0.96),
        (SMALL, 1.0, 0.03, 0.96),
    ],
)
def test_approximates_exact_mean_field(crf, largest, mean, agreement):
    image = photo("coffee")[40:280:10, 60:420:10]
    scores = colour_scores(image, 4, 0.02)
    deviations = [crf.bilateral_xy] * 2 + [crf.bilateral_rgb] * 3
    kernels = [
        (crf.gaussian_weight, np.full(2, crf.gaussian_xy)),
        (crf.bilateral_weight, np.array(deviations)),
    ]
    exact = slow.exact_mean_field(scores, image, kernels, crf.iterations)
    ours = refine(scores, np.ascontiguousarray(image), crf).flatten(1).T.numpy()
    difference = np.abs(ours - exact)
    assert difference.max() < largest
    assert difference.mean() < mean
    assert (ours.argmax(1) == exact.argmax(1)).mean() >= agreement


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(0, 99), st.floats(0.1, 9)
)
def test_probabilities_sum_to_one_at_any_size(height, width, classes, seed, scale):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    result = refine(noise(classes, height, width, seed=seed, scale=scale), image, SMALL)
    assert result.shape == (classes, height, width)
    assert result.dtype == torch.float32
    assert result.min() >= 0
    torch.testing.assert_close(result.sum(0), torch.ones(height, width), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "crf",
    [
        CRF(iterations=0),
        CRF(gaussian_weight=0, bilateral_weight=0),
        CRF(iterations=0, temperature=0.1),
    ],
)
def test_without_messages_the_softmax_of_the_scores_comes_back(crf):
    scores = noise(40, 12, 17)
    expected = torch.softmax(scores / crf.temperature, dim=0)
    torch.testing.assert_close(refine(scores, picture(), crf), expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("classes", [2, 7, 75])
def test_permuting_classes_permutes_the_result(classes):
    scores = noise(classes, 12, 17)
    order = torch.randperm(classes, generator=torch.Generator().manual_seed(1))
    result = refine(scores, picture(), SMALL)
    torch.testing.assert_close(
        refine(scores[order], picture(), SMALL), result[order], atol=1e-4, rtol=0
    )


def test_blocks_of_classes_do_not_show():
    # The classes that are added can win nowhere, but they push the others into two blocks.
    scores = noise(31, 12, 17)
    more = torch.cat([scores[:15], torch.full((30, 12, 17), -200.0), scores[15:]])
    result = refine(more, picture(), SMALL)
    kept = torch.cat([result[:15], result[45:]])
    torch.testing.assert_close(kept, refine(scores, picture(), SMALL), atol=1e-4, rtol=0)


def test_one_class_is_certain():
    assert torch.equal(refine(noise(1, 12, 17), picture()), torch.ones(1, 12, 17))


def test_one_pixel_keeps_its_label_and_gains_certainty():
    result = refine(torch.tensor([0.2, 0.0]).reshape(2, 1, 1), picture(1, 1))
    assert result[0, 0, 0] > 0.99


@pytest.mark.parametrize("size", [(1, 30), (30, 1)])
def test_a_line_of_pixels(size):
    scores = torch.zeros(2, *size)
    scores[0].view(-1)[:15] = 1
    scores[1].view(-1)[15:] = 1
    scores.view(2, -1)[:, 7] = torch.tensor([0.0, 1.0])
    labels = refine(scores, np.full((*size, 3), 100, np.uint8), CRF(bilateral_weight=0)).argmax(0)
    assert labels.view(-1).tolist() == [0] * 15 + [1] * 15


def test_a_stray_pixel_in_a_flat_image_is_overruled():
    scores = torch.zeros(3, 12, 17)
    scores[0] = 1
    scores[:, 5, 5] = torch.tensor([0.0, 1.5, 0.0])
    result = refine(scores, np.full((12, 17, 3), 128, np.uint8))
    assert (result.argmax(0) == 0).all()
    assert result[0].min() > 0.99


def test_labels_snap_to_the_edge_of_the_image():
    truth = torch.zeros(24, 32, dtype=torch.long)
    truth[:, 16:] = 1
    scores = torch.nn.functional.one_hot(truth.roll(3, dims=1), 2).permute(2, 0, 1).float()
    scores[:, :, :3] = torch.tensor([1.0, 0.0])[:, None, None]
    image = picture(24, 32)
    assert torch.equal(refine(scores, image, SMALL).argmax(0), truth)


def test_a_constant_per_pixel_and_the_temperature_cancel():
    scores = noise(6, 12, 17)
    result = refine(scores, picture(), SMALL)
    torch.testing.assert_close(
        refine(scores + noise(1, 12, 17, seed=3), picture(), SMALL), result, atol=1e-4, rtol=0
    )
    warm = dataclasses.replace(SMALL, temperature=0.5)
    torch.testing.assert_close(refine(scores / 2, picture(), warm), result, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "crf", [CRF(gaussian_weight=1e6, bilateral_weight=1e6), CRF(temperature=1e-6)]
)
def test_extreme_settings_stay_finite(crf):
    for scale in (1, 1e38):
        scores = noise(40, 12, 17, scale=1).clamp(-3, 3) * scale
        result = refine(scores, picture(), crf)
        torch.testing.assert_close(result.sum(0), torch.ones(12, 17))


@pytest.mark.parametrize("deviation", [1e-8, 0.1, 1e8])
def test_extreme_deviations(deviation):
    crf = CRF(gaussian_xy=deviation, bilateral_xy=deviation, bilateral_rgb=deviation)
    result = refine(noise(4, 12, 17), picture(), crf)
    torch.testing.assert_close(result.sum(0), torch.ones(12, 17))


def test_kernels_too_narrow_to_reach_a_neighbour_leave_labels_alone():
    crf = CRF(gaussian_xy=1e-8, bilateral_xy=1e-8)
    scores = noise(4, 12, 17)
    assert torch.equal(refine(scores, picture(), crf).argmax(0), scores.argmax(0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types(dtype):
    scores = noise(5, 12, 17).to(dtype)
    expected = refine(scores.float(), picture(), SMALL)
    torch.testing.assert_close(refine(scores, picture(), SMALL), expected, atol=1e-5, rtol=0)


def test_arrays_views_and_gradients_are_taken_and_left_unchanged():
    scores, image = noise(17, 12, 5), picture()
    view, mirrored = scores.permute(2, 1, 0).requires_grad_(), image[:, ::-1]
    before, pixels = view.detach().clone(), mirrored.copy()
    result = refine(view, mirrored, SMALL)
    assert not result.requires_grad
    assert torch.equal(result, refine(before.numpy(), pixels, SMALL))
    assert torch.equal(view, before)
    assert np.array_equal(mirrored, pixels)


def test_a_field_serves_many_scores():
    field = Field.of(picture(), SMALL)
    for classes in (3, 50):
        scores = noise(classes, 12, 17)
        assert torch.equal(field.refine(scores), refine(scores, picture(), SMALL))


def test_mean_field_takes_any_points():
    points = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    unary = noise(4, 50)
    result = mean_field(unary, [(2.0, lattice.build(points))], 5)
    torch.testing.assert_close(result.sum(0), torch.ones(50))
    shifted = mean_field(unary - 1000, [(2.0, lattice.build(points))], 5)
    torch.testing.assert_close(shifted, result, atol=1e-3, rtol=0)


def test_threads_do_not_disturb_each_other():
    jobs = [
        (noise(3 + k, 12, 17 + k % 3, seed=k), picture(12, 17 + k % 3, seed=k)) for k in range(12)
    ]
    alone = [refine(*job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: refine(*job), jobs))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_number_of_threads_and_the_mode_of_torch_do_not_show(count, mode):
    scores, image = noise(40, 60, 70, seed=5), picture(60, 70)
    expected = refine(scores, image, SMALL)
    torch.set_num_threads(count)
    with mode():
        result = refine(scores * 1, image, SMALL)
        assert torch.equal(result, expected)
    assert torch.equal(refine(scores, image, SMALL), result)
    assert torch.get_num_threads() == count


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_result_is_on_the_scores_device():
    assert refine(noise(3, 12, 17).cuda(), picture()).is_cuda


@pytest.mark.parametrize(
    ("scores", "image", "message"),
    [
        (torch.zeros(2, 4, 5), np.zeros((5, 4, 3), np.uint8), r"\(C, 5, 4\), not \(2, 4, 5\)"),
        (torch.zeros(4, 5), np.zeros((4, 5, 3), np.uint8), r"\(C, 4, 5\)"),
        (torch.zeros(0, 4, 5), np.zeros((4, 5, 3), np.uint8), r"\(C, 4, 5\)"),
        (torch.zeros(2, 4, 5, dtype=torch.int64), np.zeros((4, 5, 3), np.uint8), "floating point"),
        ([[[0.0]]], np.zeros((1, 1, 3), np.uint8), "floating point tensor or array, not list"),
        (np.zeros((2, 4, 5), object), np.zeros((4, 5, 3), np.uint8), "floating point"),
        (torch.full((2, 4, 5), torch.nan), np.zeros((4, 5, 3), np.uint8), "NaN"),
        (torch.full((2, 4, 5), torch.inf), np.zeros((4, 5, 3), np.uint8), "infinity"),
        (
            torch.full((2, 4, 5), 1e300, dtype=torch.float64),
            np.zeros((4, 5, 3), np.uint8),
            "infinity",
        ),
        (torch.zeros(2, 4, 5), np.zeros((4, 5, 3)), "uint8 array, not float64"),
        (torch.zeros(2, 4, 5), torch.zeros(4, 5, 3, dtype=torch.uint8), "uint8 array, not Tensor"),
        (torch.zeros(2, 4, 5), np.zeros((4, 5), np.uint8), r"\(H, W, 3\)"),
        (torch.zeros(2, 4, 5), np.zeros((4, 5, 4), np.uint8), r"\(H, W, 3\)"),
        (torch.zeros(2, 0, 5), np.zeros((0, 5, 3), np.uint8), r"\(H, W, 3\)"),
    ],
)
def test_bad_input_is_refused_in_words(scores, image, message):
    with pytest.raises(InputError, match=message):
        refine(scores, image)


@given(st.lists(st.sampled_from([0, 1, 2, 3, (1 << 64) - 1, (1 << 64) - 2, 1 << 63]), min_size=1))
def test_the_key_table_survives_collisions(values):
    # These keys share their leading bits, so that they probe, also past the end of the table.
    keys = np.array(values, dtype=np.uint64)
    table = KeyTable.of(keys)
    assert table.keys.tolist() == list(dict.fromkeys(values))
    assert table.keys[table.members].tolist() == values
    ahead, behind = table.neighbours(np.uint64(1))
    place = {key: index for index, key in enumerate(table.keys.tolist())}
    m = len(place)
    assert ahead.tolist() == [place.get((key + 1) % (1 << 64), m) for key in place] + [m]
    assert behind.tolist() == [place.get((key - 1) % (1 << 64), m) for key in place] + [m]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_is_called_after_every_iteration(threads):
    torch.set_num_threads(threads)
    seen = []
    image = np.zeros((9, 9, 3), np.uint8)
    scores = torch.rand(3, 9, 9)
    found = refine(scores, image, CRF(iterations=4), step=lambda: seen.append(1))
    assert len(seen) == 4
    torch.testing.assert_close(found, refine(scores, image, CRF(iterations=4)))


def test_what_a_step_raises_ends_the_inference():
    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        refine(torch.rand(3, 9, 9), np.zeros((9, 9, 3), np.uint8), step=stop)
