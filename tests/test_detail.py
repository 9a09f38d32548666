"""What the fine map foretells of the deep one: the regression, its fit and its use in ``lite``."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from training import detail as training

from recoseg.errors import MissingWeights
from recoseg.models import detail, registry
from recoseg.models.detail import DEEP_DIM, FINE_DIM, Detail
from recoseg.models.lite import Lite
from recoseg.similarity import unit

WIDTH, RANK = 8, 5


def small(seed=0):
    drawn = torch.Generator().manual_seed(seed)
    shapes = ((FINE_DIM, WIDTH), (WIDTH,), (FINE_DIM + WIDTH + 1, RANK), (RANK, DEEP_DIM))
    return Detail(*(torch.randn(shape, generator=drawn) for shape in shapes))


def fine_map(height, width, seed=1):
    return torch.randn(2, FINE_DIM, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def real():
    return registry.load("lite", "cpu")


@pytest.mark.parametrize("size", [(4, 6), (5, 3), (1, 1)])
def test_the_prediction_is_the_mean_over_the_cells_that_there_are(size):
    model, fine = small(), fine_map(*size)
    found = model.predict(fine)
    height, width = ((side + 1) // 2 for side in size)
    assert found.shape == (2, DEEP_DIM, height, width)
    for image, row, column in ((0, 0, 0), (1, height - 1, width - 1)):
        cells = []
        for y in range(2 * row, min(2 * row + 2, size[0])):
            for x in range(2 * column, min(2 * column + 2, size[1])):
                pixel = fine[image, :, y, x] / fine[image, :, y, x].norm()
                hidden = torch.relu(pixel @ model.weights + model.bias)
                cells.append(torch.cat([pixel, hidden, torch.ones(1)]) @ model.inner @ model.outer)
        expected = torch.stack(cells).mean(dim=0)
        torch.testing.assert_close(found[image, :, row, column], expected, atol=1e-3, rtol=1e-4)


def test_the_scale_of_either_map_changes_nothing():
    model, fine = small(), fine_map(4, 4)
    deep = torch.randn(2, DEEP_DIM, 2, 2, generator=torch.Generator().manual_seed(2))
    once = model.add(deep, fine)
    torch.testing.assert_close(model.add(deep * 7, fine * 1e-3), once, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(once.norm(dim=1), torch.ones(2, 2, 2))


def test_shapes_that_do_not_fit_are_refused():
    good = small()
    with pytest.raises(MissingWeights, match="inner must be"):
        Detail(good.weights, good.bias, good.inner[1:], good.outer)


def test_absent_damaged_and_foreign_files_are_told(tmp_path):
    for name, content in (("absent", None), ("damaged", detail.FILE.read_bytes()[:-9])):
        file = tmp_path / name
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(MissingWeights, match="reinstall recoseg"):
            detail.read(file)
    stored = load_file(detail.FILE)
    stored["bias"] = stored["bias"][1:].clone()
    save_file(stored, tmp_path / "foreign")
    with pytest.raises(MissingWeights, match="bias must be"):
        detail.read(tmp_path / "foreign")


def test_every_pixel_of_lite_is_of_both_maps(real):
    photos = torch.rand(1, 3, 96, 130, generator=torch.Generator().manual_seed(3))
    fine = registry.load("lite:16", "cpu").features(photos)
    features = real.features(photos)
    expected = unit(unit(features, dim=1) + 0.5 * detail.read().predict(fine), dim=1)
    torch.testing.assert_close(real.dense(photos), expected, atol=1e-5, rtol=1e-3)
    dense, inner = real.dense_and_stage(photos)
    torch.testing.assert_close(inner, fine)
    assert torch.equal(dense, real.dense(photos))


def test_another_regression_is_another_fingerprint(real, tmp_path):
    stored = load_file(detail.FILE)
    stored["bias"] = stored["bias"] + 1
    save_file(stored, tmp_path / "other.safetensors")
    assert Lite.load(local=tmp_path / "other.safetensors").fingerprint != real.fingerprint


class TestFit:
    def products(self, rank=12):
        drawn = torch.Generator().manual_seed(4)
        x = torch.randn(400, 30, generator=drawn, dtype=torch.float64)
        low = torch.randn(30, rank, generator=drawn, dtype=torch.float64)
        y = x @ low @ torch.randn(rank, 20, generator=drawn, dtype=torch.float64)
        return x, y

    def test_at_full_rank_it_is_ridge_regression(self):
        x, y = self.products()
        inner, outer = training.solve(x.T @ x, x.T @ y, 20)
        ridge = training.RIDGE * (x**2).sum(dim=0).mean() * torch.eye(30, dtype=torch.float64)
        torch.testing.assert_close(inner @ outer, torch.linalg.solve(x.T @ x + ridge, x.T @ y))

    def test_a_lower_rank_keeps_the_best_predictions(self):
        x, y = self.products()
        full = x @ torch.matmul(*training.solve(x.T @ x, x.T @ y, 20))
        kept = x @ torch.matmul(*training.solve(x.T @ x, x.T @ y, 4))
        u, s, v = torch.linalg.svd(full, full_matrices=False)
        torch.testing.assert_close(kept, u[:, :4] * s[:4] @ v[:4], atol=1e-6, rtol=1e-4)

    def maps(self, told):
        """Fine pixels of two kinds; the deep ones follow them, or do not."""
        drawn = torch.Generator().manual_seed(5)
        kinds = torch.randn(2, FINE_DIM, generator=drawn)
        ends = unit(torch.randn(2, DEEP_DIM, generator=drawn))
        for _ in range(40):
            which = torch.randint(2, (4, 10, 10), generator=drawn)
            fine = kinds[which].permute(0, 3, 1, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
            other = which if told else torch.randint(2, (4, 10, 10), generator=drawn)
            sign = 1 if told else torch.randint(2, (4, 1, 10, 10), generator=drawn) * 2 - 1
            noise = 0.1 * torch.randn(fine.shape, generator=drawn)
            yield fine + noise, ends[other].permute(0, 3, 1, 2) * sign

    def test_what_the_fine_map_tells_is_foretold(self):
        fitted = Detail(**training.fit(self.maps(told=True), WIDTH, RANK))
        fine, deep = next(self.maps(told=True))
        assert float((fitted.predict(fine) - deep).norm(dim=1).max()) < 0.2

    def test_what_it_does_not_tell_is_hardly_added(self):
        fitted = Detail(**training.fit(self.maps(told=False), WIDTH, RANK))
        fine, _ = next(self.maps(told=False))
        assert float(fitted.predict(fine).norm(dim=1).mean()) < 0.2

    def test_it_is_the_same_twice(self):
        first, second = (training.fit(self.maps(told=True), WIDTH, RANK) for _ in range(2))
        assert all(torch.equal(first[name], second[name]) for name in first)
