"""ReCo+ as the paper's release trains it: preset ``paper`` against plain PIL and torch."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import nn

import recoseg
from recoseg.datasets import tables
from recoseg.errors import TrainingError
from recoseg.io import images
from recoseg.learning.augment import augment
from recoseg.learning.plan import PRESETS, Plan, preset
from recoseg.learning.sampling import Pair, Sampler
from recoseg.learning.teachers import Teacher
from recoseg.learning.team import Team
from recoseg.learning.trainer import Trainer
from recoseg.models import encoders
from recoseg.segmenting.result import UNKNOWN, Segmentation
from recoseg.student.deeplab import Architecture, Network
from recoseg.student.student import Student
from tests import pupils
from tests.toys import paint

PAPER = preset("paper")
ALONE = Team(0, 1, torch.device("cpu"))
STILL = PAPER.replace(flip=0.0, jitter_share=0.0, blur_share=0.0)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("scale", [0.5, 0.77, 1.0, 1.6])
def test_a_crop_is_of_the_scaled_whole_filled_by_its_mean_at_the_right_and_the_bottom(scale):
    image = noise(320, 320)
    labels = np.arange(320 * 320, dtype=np.uint32).reshape(320, 320).astype(np.uint8)
    plan = STILL.replace(scale=(scale, scale))
    pixels, mask = augment(image, labels, plan, np.random.default_rng(3))
    size = int(320 * scale)
    scaled = np.asarray(Image.fromarray(image).resize((size, size), Image.BILINEAR))
    nearest = np.asarray(Image.fromarray(labels).resize((size, size), Image.NEAREST))
    found, ids = pixels.permute(1, 2, 0).numpy(), mask.numpy()
    if size <= 320:
        np.testing.assert_array_equal(found[:size, :size], scaled)
        np.testing.assert_array_equal(ids[:size, :size], nearest)
        mean = image.reshape(-1, 3).mean(0).astype(np.uint8)
        assert (found[size:] == mean).all()
        assert (found[:, size:] == mean).all()
        assert (ids[size:] == 255).all()
        assert (ids[:, size:] == 255).all()
    else:
        places = [
            (y, x)
            for y in range(size - 319)
            for x in range(size - 319)
            if np.array_equal(scaled[y, x : x + 320], found[0])
        ]
        ((y, x),) = places
        np.testing.assert_array_equal(scaled[y : y + 320, x : x + 320], found)
        np.testing.assert_array_equal(nearest[y : y + 320, x : x + 320], ids)


def test_colours_change_before_the_blur():
    image, labels = noise(320, 320), np.zeros((320, 320), np.uint8)
    plan = STILL.replace(scale=(1.0, 1.0), jitter=(0.0, 0.9, 0.0, 0.0), jitter_share=1.0)
    blurred = plan.replace(blur_share=1.0)
    for seed in range(4):
        alone, both, other = (
            augment(image, labels, p, np.random.default_rng(seed))[0]
            for p in (plan, blurred, blurred.replace(blur_first=True))
        )
        # What is drawn before the blur's deviation: scale, place, flip, jitter, blur.
        generator = np.random.default_rng(seed)
        generator.uniform(1, 1)
        generator.integers(1, size=2)
        generator.random(3)
        sigma = generator.uniform(0.1, 2.0)
        picture = Image.fromarray(alone.permute(1, 2, 0).numpy())
        expected = np.asarray(picture.filter(ImageFilter.GaussianBlur(sigma)))
        np.testing.assert_array_equal(both.permute(1, 2, 0).numpy(), expected)
        assert not torch.equal(both, other)


def test_rates_fall_to_one_millionth_and_no_further():
    plan = pupils.PLAN.replace(least_rate=1e-6, iterations=10, power=0.9)
    trainer = Trainer(network(plan), plan, 0, ALONE)
    seen = []
    for iteration in (0, 5, 10):
        trainer.iteration = iteration
        trainer._begin()
        seen.append([group["lr"] for group in trainer.optimiser.param_groups])
    assert seen[0] == [plan.head_rate, plan.encoder_rate]
    assert seen[1][0] == pytest.approx(plan.head_rate * 0.5**0.9)
    assert seen[2] == [1e-6, 1e-6]
    assert PAPER.least_rate == 1e-6


def network(plan, classes=3):
    return Network.initialise(
        pupils.architecture(plan, classes), encoders.find_encoder(plan.encoder), 0
    )


def test_the_head_is_the_published_one():
    made = dataclasses.replace(
        pupils.architecture(), channels=32, dropout=PAPER.dropout, head="published"
    )
    usual = Network(dataclasses.replace(made, head="smp"))
    ours = Network.initialise(made, encoders.find_encoder(pupils.PLAN.encoder), 0)
    gone = {name for name, _ in usual.named_parameters()} - {n for n, _ in ours.named_parameters()}
    # A separable convolution, depthwise and pointwise, and its norm.
    assert gone == {
        f"decoder.aspp.{end}" for end in ("1.0.weight", "1.1.weight", "2.weight", "2.bias")
    }
    drops = [m.p for m in ours.modules() if isinstance(m, nn.Dropout)]
    assert drops == [0.5]
    large = [
        c for c in ours.decoder.modules() if isinstance(c, nn.Conv2d) and c.weight.numel() > 2000
    ]
    assert len(large) > 4
    for weight in (conv.weight.detach() for conv in large):
        fan_in = weight[0].numel()
        assert float(weight.std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.1)
        # Normal, not uniform: some lie beyond the square root of three deviations.
        assert (weight.abs() > 1.8 * weight.std()).float().mean() > 0.02
    pixels = torch.rand(2, 3, 64, 64)
    assert ours.eval()(pixels).shape == usual.eval()(pixels).shape == (2, 3, 16, 16)


def test_students_of_either_head_are_read_back(tmp_path):
    for head in ("smp", "published"):
        made = dataclasses.replace(pupils.architecture(), head=head)
        student = Student(Network(made), pupils.NAMES, made, device="cpu")
        student.save(tmp_path / f"{head}.safetensors")
        again = Student.open(tmp_path / f"{head}.safetensors", device="cpu")
        assert (again.architecture, again.digest) == (made, student.digest)
    # A file that was written before there was a choice.
    old = {key: value for key, value in pupils.architecture().to_dict().items() if key != "head"}
    assert Architecture.from_dict(old).head == "smp"


def test_the_encoder_s_norms_have_the_paper_s_momentum():
    plan = pupils.PLAN.replace(norm_momentum=PAPER.norm_momentum)
    trainer = Trainer(network(plan), plan, 0, ALONE)
    norms = [m for m in trainer.network.encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert {norm.momentum for norm in norms} == {0.01}
    others = [m for m in trainer.network.decoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {norm.momentum for norm in others} == {0.1}


def test_photos_are_brought_to_320_and_labelled_there(tmp_path):
    for name in ("a", "b"):
        Image.fromarray(noise(200, 333, ord(name))).save(tmp_path / f"{name}.png")
    seen = []

    def segment(image):
        seen.append(image)
        return pupils.colour_segmenter(image)

    teacher = Teacher(segment, pupils.NAMES, PAPER.geometry)
    found = teacher(tmp_path / "a.png")
    photo = Image.open(tmp_path / "a.png")
    scaled = photo.resize((int(320 * 333 / 200), 320), Image.NEAREST)
    left = round((scaled.width - 320) / 2)
    expected = np.asarray(scaled.crop((left, 0, left + 320, 320)))
    np.testing.assert_array_equal(seen[0], expected)
    assert found.labels.shape == (320, 320)


class Colours:
    """A teacher for ``adapt``."""

    names = pupils.NAMES
    digest = "colours"
    identity = {"teacher": "colours"}  # noqa: RUF012

    def __call__(self, image, concepts=None, refine=None):
        return pupils.colour_segmenter(image)


def test_a_student_learns_a_dataset_s_classes_from_their_parts(tmp_path):
    """As COCO-Stuff's 27 of 171 names, from some of the images, each seen at the plan's size."""
    for number in range(4):
        paint(tmp_path / "photos" / f"{number}.png", "red", "green", size=96)
    table = dataclasses.replace(
        tables.plain(["red", "green", "blue"]),
        classes=("warm", "cold"),
        merge=(0, 1, 1),
        colours=((0, 0, 0), (1, 1, 1)),
    )
    plan = pupils.PLAN.replace(image_size=64, iterations=2)
    student = recoseg.adapt(
        Colours(),
        tmp_path / "photos",
        tmp_path / "out",
        preset=plan,
        table=table,
        images=2,
        device="cpu",
        progress=False,
    )
    assert student.names == ("warm", "cold")
    report = json.loads((tmp_path / "out" / "report.json").read_text())["rounds"][0]
    assert report["labels"]["images"] == 2
    assert report["plan"]["image_size"] == 64
    masks = sorted((tmp_path / "out" / "round-1" / "labels" / "labels").iterdir())
    assert [mask.name for mask in masks] == ["0.png", "2.png"]
    ids = np.asarray(Image.open(masks[0]))
    assert ids.shape == (64, 64)
    assert set(np.unique(ids)) == {0, 1}


def test_merging_keeps_unknown_and_refuses_strangers():
    table = dataclasses.replace(
        tables.plain(["red", "green"]), classes=("all",), merge=(0, 0), colours=((0, 0, 0),)
    )
    labels = np.array([[0, 1, 2]], np.uint8)

    def segment(path):
        names = ("red", "green", UNKNOWN)
        flat = np.ones((1, 3), np.float32)
        return Segmentation(
            labels, names, flat, np.zeros((1, 3, 3), np.uint8), torch.zeros(2, 1, 1)
        )

    teacher = Teacher(segment, ("red", "green", UNKNOWN), table=table)
    found = teacher("anything")
    assert found.names == teacher.names == ("all", UNKNOWN)
    assert found.labels.tolist() == [[0, 0, 1]]
    assert teacher.facts == {"classes": ["all"]}
    with pytest.raises(TrainingError, match="'owl' is no class"):
        Teacher(segment, ("red", "owl"), table=table)


def test_crops_come_from_the_photo_in_the_plan_s_geometry(tmp_path):
    paint(tmp_path / "a.png", "red", "green", size=96)
    plan = pupils.PLAN.replace(image_size=64, padding="mean", scale=(1.0, 1.0), flip=0.0)
    plan = plan.replace(jitter_share=0.0, blur_share=0.0)
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "labels.png")
    pair = Pair("a", tmp_path / "a.png", tmp_path / "labels.png", plan.geometry)
    pixels, _ = Sampler((pair,), plan, 0).crop(0)
    expected = plan.geometry.image(images.read(tmp_path / "a.png"))
    np.testing.assert_array_equal(pixels.permute(1, 2, 0).numpy(), expected)


def test_plans_of_before_are_written_and_read_as_they_were():
    """A checkpoint goes on only under the very plan it was begun with."""
    later = {
        "image_size",
        "resampling",
        "padding",
        "blur_first",
        "least_rate",
        "norm_momentum",
        "head",
    }
    assert not later & set(PRESETS["small"].to_dict())
    assert Plan.from_dict(PRESETS["small"].to_dict()) == PRESETS["small"]
    assert Plan.from_dict(json.loads(json.dumps(PAPER.to_dict()))) == PAPER
    assert PAPER.to_dict()["image_size"] == 320
    for change in ({"padding": "black"}, {"image_size": -1}, {"norm_momentum": 0.0}):
        with pytest.raises(TrainingError, match=next(iter(change))):
            PAPER.replace(**change)
