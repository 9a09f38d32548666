"""From photos to a baseline's file and to its row: resumed to the bit, refused when damaged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from recoseg import datasets, evaluate
from recoseg.baselines import features
from recoseg.baselines.baseline import Baseline, supervision
from recoseg.baselines.networks import BaselineArchitecture, describe_pyramid, start_network
from recoseg.baselines.photos import Photos
from recoseg.baselines.plan import LABELS, preset
from recoseg.baselines.rows import BaselineRows
from recoseg.baselines.training import train
from recoseg.cli.app import app
from recoseg.errors import BaselineError, InputError, TrainingError, UnknownModel
from recoseg.models import registry
from tests.toys import COLOURS, Toy

# A network of no training, whose maps of flat colours differ by colour.
ENCODER = "random:test_resnet:4"
NAMES = ("red", "green", "blue", "yellow")
SMALL = {"encoder": ENCODER, "size": 64, "dim": 16, "batch": 4, "rounds": 3, "rate": 1e-2}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Labelled photos of four quarters, each of a colour of its own."""
    root = tmp_path_factory.mktemp("quarters")
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for number in range(8):
        order = np.random.default_rng(number).permutation(4)
        labels = order.reshape(2, 2).repeat(48, 0).repeat(48, 1).astype(np.uint8)
        pixels = np.array([COLOURS[name] for name in NAMES], np.uint8)[labels]
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
        Image.fromarray(labels).save(root / "masks" / f"{number}.png")
    return root


def small(method, **changes):
    steps = {"steps": 8, "neighbours": 3} if method == "stego" else {}
    steps |= {"steps": 8} if method == "iic" else {}
    return preset(method).replace(**{**SMALL, **steps, **changes})


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("method", LABELS)
def test_a_stopped_training_goes_on_to_the_same_bytes(method, home, tmp_path):
    plan, photos = small(method), home / "images"
    if method == "kmeans":
        plan = plan.replace(rounds=2)
    cache = {"cache": tmp_path / "features", "save_every": 0}
    whole = train(plan, photos, 4, tmp_path / "whole.baseline", progress=False, **cache)

    def stop(done, total):
        if (done, total) == (1, plan.rounds):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(plan, photos, 4, tmp_path / "part.baseline", progress=stop, **cache)
    assert not (tmp_path / "part.baseline").exists()
    # What was stopped within its second round goes on from the end of the first, or before it.
    train(plan, photos, 4, tmp_path / "part.baseline", progress=False, **cache)
    parts = [(tmp_path / f"{name}.baseline").read_bytes() for name in ("whole", "part")]
    assert parts[0] == parts[1]
    assert not list(tmp_path.glob(".*training"))
    opened = Baseline.open(tmp_path / "part.baseline")
    assert opened.digest == whole.digest
    image = photos / "3.png"
    np.testing.assert_array_equal(opened(image).labels, whole(image).labels)
    assert opened.names == tuple(f"cluster {n}" for n in range(4))
    assert len(opened.provenance["rounds"]) == plan.rounds


def test_a_killed_training_goes_on_to_the_same_bytes(home, tmp_path):
    words = ["baseline", "picie", "--train", str(home / "images"), "--clusters", "4"]
    words += ["--encoder", ENCODER, "--size", "64", "--rounds", "2000", "-q"]
    killed = tmp_path / "killed.baseline"
    process = subprocess.Popen(
        [sys.executable, "-m", "recoseg", *words, "--out", str(killed)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    features_made = tmp_path / ".killed.baseline.training"
    deadline = time.monotonic() + 120
    while not list(features_made.glob("features-*/*view2*.npy")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    assert features_made.is_dir()
    short = small("picie", rate=1e-3, dim=64, batch=16)
    for file in (killed, tmp_path / "whole.baseline"):
        train(short, home / "images", 4, file, progress=False)
    assert killed.read_bytes() == (tmp_path / "whole.baseline").read_bytes()


def test_a_checkpoint_of_other_settings_or_damaged_is_refused(home, tmp_path):
    def stop(done, total):
        if (done, total) == (2, 3):
            raise KeyboardInterrupt

    out = tmp_path / "x.baseline"
    with pytest.raises(KeyboardInterrupt):
        train(small("mdc"), home / "images", 4, out, save_every=0, progress=stop)
    with pytest.raises(TrainingError, match="with other settings or photos"):
        train(small("mdc"), home / "images", 5, out, progress=False)
    checkpoint = tmp_path / ".x.baseline.training" / "checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    with pytest.raises(TrainingError, match="delete it to train from the beginning"):
        train(small("mdc"), home / "images", 4, out, progress=False)


@pytest.fixture(scope="module")
def made(home, tmp_path_factory):
    """A k-means floor and a STEGO on the four colours."""
    folder = tmp_path_factory.mktemp("made")
    for method in ("kmeans", "stego"):
        plan = small(method, rounds=1)
        train(plan, home / "images", 4, folder / f"{method}.baseline", progress=False)
    return folder


def test_the_floor_finds_colours_and_its_row_says_what_it_is(home, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_load", lambda model, device: Toy())
    for method in ("kmeans", "stego"):
        plan = small(method, rounds=1, encoder="lite")
        train(plan, home / "images", 4, tmp_path / f"{method}.baseline", progress=False)
    dataset = datasets.open("folder", home, names=NAMES)
    both = {name: Baseline.open(tmp_path / f"{name}.baseline") for name in ("kmeans", "stego")}
    report = evaluate(BaselineRows(both), dataset, progress=False)
    row = report["kmeans"]
    assert row["accuracy"] > 0.9
    assert sorted(row["matching"]) == sorted(NAMES)
    assert row["match"] == "hungarian"
    assert row["label"] == "k-means"
    assert row["note"] == "reimplementation, lite encoder, trained on ImageNet labels"
    # Made with the features of the other row, each is what it is alone.
    for name, baseline in both.items():
        alone = evaluate({name: baseline}, dataset, progress=False)
        assert alone.systems[0]["confusion"] == report[name]["confusion"]


def test_the_published_figures_stand_beside_the_row_of_the_same_protocol(made):
    from recoseg.evaluation import published
    from recoseg.evaluation.results import _find_published

    stego, floor = (
        BaselineRows({name: Baseline.open(made / f"{name}.baseline")}).systems[0]
        for name in ("stego", "kmeans")
    )
    printed = _find_published(stego, published.rows("cityscapes-27"))
    assert printed == {"accuracy": pytest.approx(0.732), "miou": pytest.approx(0.21)}
    assert _find_published(floor, published.rows("cityscapes-27")) is None


def test_the_verb_trains_and_evaluate_shows_its_row(home, tmp_path):
    out = tmp_path / "floor.baseline"
    words = ("--train", home / "images", "--clusters", "4", "--out", out, "-q")
    asked = ("baseline", "kmeans", *words, "--encoder", ENCODER, "--size", "64")
    done = run(*asked)
    assert done.exit_code == 0, done.output
    assert done.stdout.split("\t")[1:4] == ["k-means", ENCODER, "8"]
    again = run(*asked)
    assert again.exit_code == 3
    assert "is there already" in again.stderr
    told = json.loads(run(*asked, "--replace", "--json").stdout)
    assert (told["method"], told["clusters"], told["seed"]) == ("k-means", 4, 0)
    rows = ("--baseline", out, "--baseline", f"other={out}")
    shown = run(
        *("evaluate", "folder", home, "--classes", ",".join(NAMES), "--gallery", "1", "-q"),
        *("--out", tmp_path / "measured", *rows),
    )
    assert shown.exit_code == 0, shown.output
    cells = [line.split("\t") for line in shown.stdout.splitlines()]
    assert [row[0] for row in cells] == ["k-means", "other"]
    assert cells[0][1:5] == cells[1][1:5]
    assert cells[0][5] == (
        f"clusters matched by the truth; reimplementation, {ENCODER} encoder, untrained"
    )
    twice = ("--baseline", out, "--baseline", out)
    refused = run(
        *("evaluate", "folder", home, "--classes", ",".join(NAMES), "-q"),
        *("--out", tmp_path / "twice", *twice),
    )
    assert refused.exit_code == 3
    assert "two baselines are called kmeans" in refused.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("unet", "--clusters", "4"), "no baseline 'unet'"),
        (("mdc", "--clusters", "4", "--preset", "huge"), "has no preset 'huge'"),
        (("mdc", "--clusters", "4", "--encoder", "lite+lite"), "is not a list of encoders"),
        (("mdc", "--clusters", "4", "--encoder", "vgg"), "no model 'vgg'"),
    ],
)
def test_what_cannot_be_trained_is_told(home, tmp_path, words, message):
    done = run("baseline", *words, "--train", home / "images", "--out", tmp_path / "x.b", "-q")
    assert done.exit_code == 3, done.output
    assert message in done.stderr


def test_a_folder_of_one_photo_is_refused(home, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "0.png").write_bytes((home / "images" / "0.png").read_bytes())
    with pytest.raises(InputError, match="holds one photo"):
        Photos.of(tmp_path / "one", 32)


def test_a_damaged_or_foreign_file_is_refused(made, tmp_path, monkeypatch):
    good = (made / "kmeans.baseline").read_bytes()
    file = tmp_path / "x.baseline"
    for bad in (b"", b"nothing", good[: len(good) // 2], good[:-1] + bytes([good[-1] ^ 1])):
        file.write_bytes(bad)
        with pytest.raises(BaselineError, match="recoseg baseline"):
            Baseline.open(file)
    with pytest.raises(BaselineError, match="cannot be read"):
        Baseline.open(tmp_path / "missing")
    save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(BaselineError, match="is not a baseline"):
        Baseline.open(file)
    file.write_bytes(good)
    other = features.load(ENCODER)
    other[0].fingerprint = "another"
    monkeypatch.setattr(features, "load", lambda spec, device: other)
    with pytest.raises(BaselineError, match="trained on features of another"):
        Baseline.open(file)


def test_squares_are_central_or_the_five_of_half_the_side(tmp_path):
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30, 0], image[20:, :, 1] = 200, 200
    Image.fromarray(image).save(tmp_path / "a.png")
    whole, five = (Photos((tmp_path / "a.png",), 20, crops) for crops in (1, 5))
    assert (len(whole), len(five)) == (1, 5)
    assert whole.read(0).shape == five.read(4).shape == (3, 20, 20)
    means = [tuple(five.read(n).float().mean((1, 2)).round().int().tolist()[:2]) for n in range(4)]
    assert means == [(200, 0), (0, 0), (200, 200), (0, 200)]


def test_levels_weigh_the_same_and_principal_directions_keep_most():
    encoders = features.load("random:test_resnet:8+random:test_resnet:16")
    batch = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    whole = features.Extractor.fit(encoders, [batch], 0)
    maps = whole(batch)
    assert maps.shape == (4, sum(e.dim for e in encoders), 8, 8)
    first = maps[:, : encoders[0].dim].norm(dim=1)
    torch.testing.assert_close(first, torch.ones_like(first))
    few = features.Extractor.fit(encoders, [batch], 5)
    assert few.channels == 5
    spread = few(batch).movedim(1, -1).reshape(-1, 5)
    covariance = torch.cov(spread.T)
    assert float((covariance - covariance.diag().diag()).abs().max()) < 1e-4
    assert (covariance.diag().diff() <= 1e-6).all()
    again = features.Extractor.of(encoders, few.tensors)
    assert torch.equal(again(batch), few(batch))
    assert again.digest == few.digest != whole.digest
    with pytest.raises(UnknownModel):
        features.load("lite:7")


# The published networks, on random weights


def test_the_feature_pyramid_of_resnet_18_is_trained_from_the_pixels(home, tmp_path):
    plan = preset("picie", "paper").replace(encoder="random:resnet18", size=64, rounds=1, batch=4)
    out = tmp_path / "picie.baseline"
    made = train(plan, home / "images", 4, out, progress=False)
    began = start_network(describe_pyramid("random:resnet18", 128), "random:resnet18", 0)
    codes = began.eval()(torch.rand(1, 3, 64, 96))
    assert codes.shape == (1, 128, 16, 24)
    assert made.classifier.weight.shape == (4, 128)
    moved = made.network.state_dict()["backbone.trunk.layer1.0.conv1.weight"]
    assert not torch.equal(moved, began.state_dict()["backbone.trunk.layer1.0.conv1.weight"])
    image = home / "images" / "0.png"
    found = Baseline.open(out)(image)
    np.testing.assert_array_equal(found.labels, made(image).labels)
    assert found.labels.shape == (96, 96)


def test_the_network_of_iic_starts_from_nothing(home, tmp_path):
    plan = preset("iic", "paper").replace(size=32, rounds=1, batch=4)
    train(plan, home / "images", 4, tmp_path / "iic.baseline", progress=False)
    made = Baseline.open(tmp_path / "iic.baseline")
    assert made.note == "reimplementation, random:shallow encoder, untrained"
    assert made(home / "images" / "0.png").labels.shape == (96, 96)
    widths = [p.shape[0] for n, p in made.network.named_parameters() if n.endswith("0.weight")]
    assert widths == [64, 128, 256, 256, 512, 512]


@pytest.mark.parametrize(
    ("name", "preset_name", "channels"),
    [("vit_small_patch8_224", "paper", 384), ("vit_base_patch8_224", "paper-b8", 768)],
)
def test_stego_on_the_tokens_of_dino_with_patches_of_eight(
    home, tmp_path, name, preset_name, channels
):
    import timm

    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = timm.create_model(name, num_classes=0).state_dict()
    file = tmp_path / "dino.safetensors"
    save_file(weights, file)
    id = f"timm:{name}.dino/{file}"
    if channels == 768:  # the features alone; the method is the same
        maps = features.load(id)[0].features(torch.rand(1, 3, 32, 48))
        assert maps.shape == (1, channels, 4, 6)
        return
    plan = preset("stego", preset_name).replace(encoder=id, size=32, rounds=1, steps=2, batch=3)
    made = train(plan, home / "images", 4, tmp_path / "stego.baseline", progress=False)
    assert made.architecture == BaselineArchitecture("residual", channels, 70)
    assert made.note == f"reimplementation, timm:{name}.dino encoder, trained without labels"
    found = Baseline.open(tmp_path / "stego.baseline")(home / "images" / "0.png")
    assert found.labels.shape == (96, 96)


def test_what_an_encoder_has_seen_is_said():
    assert supervision("lite:16+lite") == "trained on ImageNet labels"
    assert supervision("DINO-S/8") == "trained without labels"
    assert (
        supervision("lite+clip:RN50/openai") == "trained on ImageNet labels and trained on captions"
    )
