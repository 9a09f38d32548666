"""From unlabelled images to a student: labels, training, interruption, several processes."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.errors import InputError, RecosegError, TrainingError
from recoseg.io import durable, images
from recoseg.learning import adaptation
from recoseg.learning.augment import augment
from recoseg.learning.plan import PRESETS, Plan, preset
from recoseg.learning.pseudolabels import (
    Ignoring,
    PseudoLabel,
    make_pseudo_labels,
    read_pseudo_labels,
)
from recoseg.learning.sampling import Pair, Sampler, read_labels
from recoseg.learning.team import SharedNorm, Team, join_processes, share_norms
from recoseg.learning.trainer import Trainer, balance_weights
from recoseg.learning.validation import Labelled
from recoseg.runs.inputs import gather
from recoseg.similarity import upsample
from recoseg.student.student import Student
from tests import pupils
from tests.pupils import PLAN, colour_segmenter, paint_scenes, teaching

ROOT = Path(__file__).parents[1]


@pytest.fixture
def scenes(tmp_path):
    return paint_scenes(tmp_path / "scenes")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "checkpoint.safetensors"


def fit(scenes, file, plan=PLAN, **watch):
    return pupils.fit(scenes, scenes.parent / "labels", file, plan, **watch)


# pseudo-labels


def test_labels_are_paired_by_name_and_hold_what_the_teacher_says(scenes, tmp_path):
    made = teaching(scenes, tmp_path / "out")
    assert [pair.id for pair in made.pairs] == ["a.png", "b.png", "deep/a.png"]
    for pair in made.pairs:
        assert pair.image == scenes / pair.id
        assert np.array_equal(read_labels(pair.labels), colour_segmenter(pair.image).labels)
    names = json.loads((tmp_path / "out/names.json").read_text())
    assert [row["name"] for row in names] == list(pupils.NAMES)


def test_unsure_pixels_are_ignored_and_counted(scenes, tmp_path):
    asked = Ignoring(confidence=0.5)
    made = make_pseudo_labels(
        gather([scenes]), colour_segmenter, pupils.NAMES, tmp_path / "o", {}, asked, False
    )
    labels = read_labels(made.pairs[0].labels)
    assert (labels[:8] == 255).all()
    assert (labels[8:] < 3).all()
    assert made.coverage["ignored"] == pytest.approx(8 / 64)
    levels = read_labels(tmp_path / "o/confidence/a.png")
    assert set(levels.ravel().tolist()) == {round(0.3 * 255), round(0.9 * 255)}
    row = made.coverage["concepts"]["red"]
    assert row["images"] == pytest.approx(2 / 3, abs=1e-3)
    assert row["confidence"] == pytest.approx(0.9, abs=0.01)


def test_unknown_of_the_teacher_is_ignored():
    result = colour_segmenter(np.zeros((16, 16, 3), np.uint8))
    result = type(result)(
        np.full((16, 16), 3, np.uint8),
        (*pupils.NAMES, "unknown"),
        result.confidence,
        result.image,
        result.maps,
    )
    made = PseudoLabel.of(result, Ignoring(), Path("out"))
    assert made.names == pupils.NAMES
    assert made.area["ignored"] == 1


def test_labels_are_kept_and_readable_by_others(scenes, tmp_path):
    first = teaching(scenes, tmp_path / "out")

    def refuses(path):
        raise AssertionError(path)

    again = make_pseudo_labels(
        gather([scenes]), refuses, pupils.NAMES, tmp_path / "out", {}, progress=False
    )
    assert again == first
    assert read_pseudo_labels(gather([scenes]), pupils.NAMES, tmp_path / "out").pairs == first.pairs


def test_photos_below_a_folder_named_labels_are_labelled(scenes, tmp_path):
    shutil.copytree(scenes, tmp_path / "photos" / "labels")
    made = make_pseudo_labels(
        gather([tmp_path / "photos"]),
        pupils.colour_segmenter,
        pupils.NAMES,
        tmp_path / "labels" / "labels",
        {},
        progress=False,
    )
    assert made.coverage["images"] == len(made.pairs) == len(gather([scenes]))


def test_a_broken_image_is_reported_and_nothing_but_ignored_is_refused(scenes, tmp_path):
    (scenes / "broken.png").write_bytes(b"no image")
    made = teaching(scenes, tmp_path / "out")
    assert list(made.failed) == ["broken.png"]
    with pytest.raises(TrainingError, match="ignored"):
        make_pseudo_labels(
            gather([scenes]),
            colour_segmenter,
            pupils.NAMES,
            tmp_path / "o",
            {},
            Ignoring(1.0),
            False,
        )


# crops and batches


def test_a_crop_keeps_labels_on_their_pixels(tmp_path):
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, 40:] = 250
    labels = (image[:, :, 0] > 0).astype(np.uint8)
    plan = PLAN.replace(jitter_share=0.0, blur_share=0.0, scale=(0.5, 2.0))
    for seed in range(20):
        pixels, mask = augment(image, labels, plan, np.random.default_rng(seed))
        assert pixels.shape == (3, 64, 64)
        assert mask.shape == (64, 64)
        inside = mask != 255
        bright = pixels[0] > 125
        assert (bright[inside] == (mask[inside] == 1)).float().mean() > 0.95
        assert (pixels[0][~inside] == 127).all()


def test_a_batch_is_a_function_of_seed_and_iteration(scenes, tmp_path):
    pairs = teaching(scenes, tmp_path / "out").pairs
    whole = list(Sampler(pairs, PLAN, 3).batches(0))
    late = next(Sampler(pairs, PLAN, 3).batches(4))
    assert len(whole) == PLAN.iterations
    assert torch.equal(late[0], whole[4][0])
    assert not torch.equal(whole[0][0], next(Sampler(pairs, PLAN, 4).batches(0))[0])


def test_processes_share_a_batch_and_an_epoch_shows_every_image(scenes, tmp_path):
    sampler = Sampler(teaching(scenes, tmp_path / "out").pairs, PLAN, 0)
    assert sampler.numbers(5, 0, 2) + sampler.numbers(5, 1, 2) == sampler.numbers(5)
    from recoseg.learning.sampling import _order

    assert sorted(_order(0, 7, 3)) == [0, 1, 2]


def test_labels_of_another_size_are_refused(scenes, tmp_path):
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "l.png")
    with pytest.raises(TrainingError, match="delete the labels"):
        Pair("a", scenes / "a.png", tmp_path / "l.png").read()


# training


def test_the_loss_falls_and_the_student_sees_what_its_teacher_saw(scenes, file):
    trainer = fit(scenes, file, PLAN.replace(iterations=25))
    assert trainer.losses[-1] < trainer.losses[0] / 2
    made = Student(trainer.network, pupils.NAMES, pupils.architecture(), device="cpu")
    seen = made(scenes / "a.png").labels
    assert (seen == colour_segmenter(scenes / "a.png").labels).mean() > 0.8


def test_the_paper_s_schedule_and_settings():
    paper = preset("paper")
    assert (paper.iterations, paper.batch, paper.crop) == (20_000, 8, 320)
    assert (paper.head_rate, paper.encoder_rate, paper.weight_decay) == (5e-4, 5e-5, 2e-4)
    assert paper.rate(0) == 1
    assert paper.rate(10_000) == pytest.approx(0.5**0.9)
    assert all(Plan.from_dict(json.loads(json.dumps(p.to_dict()))) == p for p in PRESETS.values())


@pytest.mark.parametrize(
    "change",
    [{"crop": 50}, {"batch": 0}, {"batch": 3, "accumulate": 2}, {"flip": 2.0}, {"precision": "x"}],
)
def test_impossible_plans_are_refused(change):
    with pytest.raises(TrainingError):
        PLAN.replace(**change)


def test_two_groups_are_trained_at_their_rates(scenes, file):
    trainer = fit(scenes, file, PLAN.replace(encoder_rate=1e-3))
    head, encoder = trainer.optimiser.param_groups
    assert head["lr"] == pytest.approx(10 * encoder["lr"])
    assert len(head["params"]) + len(encoder["params"]) == len(list(trainer.network.parameters()))


def test_accumulated_parts_give_the_whole_batch_s_loss(scenes, tmp_path):
    plan = PLAN.replace(iterations=3, frozen_norms=True)
    losses = []
    for parts in (1, 2):
        trainer = fit(scenes, tmp_path / f"{parts}.safetensors", plan.replace(accumulate=parts))
        losses.append(trainer.losses[0])
    # The decoder's norms see one part each, so that only their effect may differ.
    assert losses[0] == pytest.approx(losses[1], rel=0.2)


def test_a_finished_training_is_not_repeated(scenes, file):
    first = fit(scenes, file)
    assert fit(scenes, file).losses == first.losses


def interrupt(monkeypatch, *training):
    """Begin a training and send Ctrl-C during its third step."""
    step = Trainer.step

    def interrupting(self, batch):
        if self.iteration == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", interrupting)
        with pytest.raises(KeyboardInterrupt):
            fit(*training)


def test_interruption_saves_and_goes_on_with_the_same_curve(scenes, file, tmp_path, monkeypatch):
    whole = fit(scenes, tmp_path / "whole.safetensors").losses
    interrupt(monkeypatch, scenes, file)
    assert fit(scenes, file).losses == whole


@pytest.fixture(scope="module")
def trained():
    """Trains in other processes as ordered; their exit statuses."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-W", "ignore", "-m", "tests.pupils"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:

        def order(*orders):
            process.stdin.write(json.dumps(orders) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield order


def order_of(scenes, file, plan, dies_after=None, **environment):
    return {
        "folder": str(scenes),
        "labels": str(scenes.parent / "labels"),
        "file": str(file),
        "plan": plan.to_dict(),
        "dies_after": dies_after,
        "environment": environment,
    }


def test_a_kill_at_any_iteration_changes_nothing(scenes, file, tmp_path, trained):
    """Real processes, killed after every step but the last, one step each; then left to end."""
    teaching(scenes, tmp_path / "labels")
    killed = range(1, PLAN.iterations)
    statuses = [trained(order_of(scenes, file, PLAN, dies_after=n + 1))[0] for n in killed]
    assert statuses == [signal.SIGKILL] * len(statuses)
    resumed = fit(scenes, file)
    whole = fit(scenes, tmp_path / "whole.safetensors")
    assert resumed.losses == whole.losses
    ours, theirs = resumed.result.state_dict(), whole.result.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_training_draws_its_own_random_numbers_and_none_of_the_caller_s(
    scenes, file, tmp_path, monkeypatch
):
    """Dropout of each step depends on seed and iteration, after a resumption too."""
    plan = PLAN.replace(dropout=0.5, iterations=4)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    whole = fit(scenes, tmp_path / "whole.safetensors", plan)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    interrupt(monkeypatch, scenes, file, plan)
    torch.rand(3)
    resumed = fit(scenes, file, plan)
    assert resumed.losses == whole.losses
    ours, theirs = resumed.result.state_dict(), whole.result.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert fit(scenes, tmp_path / "o.safetensors", plan.replace(dropout=0.0)).losses != whole.losses


@pytest.mark.parametrize("seeded", ["a step", "a network"])
def test_the_seeds_of_other_devices_are_left_alone(monkeypatch, seeded):
    """torch.manual_seed would seed every accelerator, now or when it is first used."""
    calls = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", calls.append)
    monkeypatch.setattr(torch.cuda, "manual_seed", calls.append)
    before = torch.get_rng_state()
    if seeded == "a network":
        pupils.network()
    else:
        with join_processes("cpu") as team:
            trainer = Trainer(pupils.network(), PLAN, 0, team)
            trainer.step((torch.zeros(4, 3, 64, 64).byte(), torch.zeros(4, 64, 64).byte()))
    assert not calls
    assert torch.equal(torch.get_rng_state(), before)


def test_nan_ends_it_and_leaves_the_last_checkpoint(scenes, file, monkeypatch):
    step = Trainer._loss

    def poisoned(self, pixels, labels):
        return step(self, pixels, labels) * (float("nan") if self.iteration == 3 else 1)

    monkeypatch.setattr(Trainer, "_loss", poisoned)
    with pytest.raises(TrainingError, match=r"loss is nan .* iteration 3"):
        fit(scenes, file, save_every=0.0)
    monkeypatch.setattr(Trainer, "_loss", step)
    resumed = fit(scenes, file)
    assert len(resumed.losses) == PLAN.iterations
    assert all(np.isfinite(resumed.losses))


def test_a_full_disk_is_told_and_leaves_the_last_checkpoint(scenes, file, monkeypatch):
    fsync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 4:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    teaching(scenes, scenes.parent / "labels")
    monkeypatch.setattr(durable.os, "fsync", full)
    with pytest.raises(RecosegError, match=r"No space left|cannot be written"):
        fit(scenes, file, save_every=0.0)
    monkeypatch.undo()
    assert len(fit(scenes, file).losses) == PLAN.iterations


def test_a_checkpoint_of_other_settings_or_damaged_is_refused(scenes, file):
    fit(scenes, file)
    with pytest.raises(TrainingError, match="another head_rate"):
        fit(scenes, file, PLAN.replace(head_rate=0.5))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(TrainingError, match="damaged"):
        fit(scenes, file)


# several processes


def test_two_processes_train_as_one(scenes, file, tmp_path, trained):
    teaching(scenes, tmp_path / "labels")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    orders = [
        order_of(scenes, file, pupils.GENTLE, WORLD_SIZE="2", RANK=str(rank), **address)
        for rank in range(2)
    ]
    assert trained(*orders) == [0, 0]
    together = fit(scenes, file, pupils.GENTLE)
    alone = fit(scenes, tmp_path / "one.safetensors", pupils.GENTLE)
    assert together.losses == pytest.approx(alone.losses, rel=1e-4)
    norm = "decoder.block2.1.running_var"
    assert torch.allclose(
        together.network.state_dict()[norm], alone.network.state_dict()[norm], rtol=1e-3
    )


def test_shared_norms_keep_parameters_and_evaluation():
    network = pupils.network().eval()
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before = network(pixels)
        share_norms(network)
        assert torch.allclose(network(pixels), before)
    kinds = {type(m) for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert kinds == {SharedNorm}


# the whole


class Teacher(Student):
    """A teacher that labels by colour, known by a digest like any student."""

    def __call__(self, image, concepts=None, refine=None):
        return colour_segmenter(image)


@pytest.fixture
def teacher():
    return Teacher(pupils.network(), pupils.NAMES, pupils.architecture(), device="cpu")


def test_adapt_writes_a_student_a_report_and_curves(scenes, tmp_path, teacher):
    words = {"preset": PLAN, "device": "cpu", "progress": False}
    made = adaptation.adapt(teacher, scenes, tmp_path / "out", **words)
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["selected"] == "last"
    assert "random" in report["rounds"][0]["encoder"]
    assert set(report["rounds"][0]["labels"]["concepts"]) == set(pupils.NAMES)
    assert images.read(tmp_path / "out/curves.png").shape[1] > 100
    stored = Student.open(tmp_path / "out/student.safetensors", "cpu")
    assert stored.digest == made.digest
    assert stored.provenance["iteration"] == PLAN.iterations
    again = adaptation.adapt(teacher, scenes, tmp_path / "out", **words)
    assert again.digest == made.digest
    with pytest.raises(TrainingError, match="another seed"):
        adaptation.adapt(teacher, scenes, tmp_path / "out", seed=1, **words)


def test_a_second_round_learns_from_the_first(scenes, tmp_path, teacher):
    plan = PLAN.replace(iterations=2)
    made = adaptation.adapt(
        teacher, scenes, tmp_path / "out", preset=plan, rounds=2, device="cpu", progress=False
    )
    assert "student" in made.provenance["teacher"]
    assert made.provenance["teacher"]["student"] != teacher.digest
    assert (tmp_path / "out/round-2/labels/coverage.json").exists()


def test_validation_is_reported_and_decides_only_when_asked(scenes, tmp_path, teacher):
    marks = iter([5.0, 90.0, 10.0] * 2)
    words = {"preset": PLAN, "device": "cpu", "progress": False, "validate_every": 2}
    last = adaptation.adapt(
        teacher, scenes, tmp_path / "a", validate=lambda _: next(marks), **words
    )
    best = adaptation.adapt(
        teacher, scenes, tmp_path / "b", validate=lambda _: next(marks), select=True, **words
    )
    assert (last.provenance["iteration"], last.provenance["selected"]) == (6, "last")
    assert best.provenance["iteration"] == 4
    assert "validation" in best.provenance["selected"]
    report = json.loads((tmp_path / "b/report.json").read_text())["rounds"][0]
    assert [row["score"] for row in report["validation"]] == [5.0, 90.0, 10.0]
    with pytest.raises(InputError, match="selection"):
        adaptation.adapt(teacher, scenes, tmp_path / "c", select=True, **words)


def test_missing_weights_are_told_before_any_labelling(scenes, tmp_path, teacher):
    plan = PLAN.replace(encoder=f"timm:test_efficientnet/{tmp_path / 'nowhere.pth'}")
    with pytest.raises(RecosegError, match=r"nowhere.pth"):
        adaptation.adapt(teacher, scenes, tmp_path / "out", preset=plan, progress=False)
    assert not (tmp_path / "out/round-1").exists()


MISSING = ("matplotlib", "segmentation_models_pytorch")


@pytest.mark.parametrize("package", MISSING)
def test_missing_packages_are_told_before_any_labelling(
    scenes, tmp_path, teacher, monkeypatch, package
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(TrainingError, match=r"pip install 'recoseg\[train\]'"):
        adaptation.adapt(
            teacher, scenes, tmp_path / "out", preset=PLAN, device="cpu", progress=False
        )
    assert not (tmp_path / "out/round-1").exists()


@pytest.mark.parametrize(
    "change", [{"output_stride": 7}, {"encoder": "random:vit_tiny_patch16_224"}]
)
def test_an_impossible_network_is_told_before_any_labelling(scenes, tmp_path, teacher, change):
    plan = PLAN.replace(**change)
    with pytest.raises(RecosegError, match=r"output_stride|cannot be DeepLabv3\+'s encoder"):
        adaptation.adapt(teacher, scenes, tmp_path / "out", preset=plan, progress=False)
    assert not (tmp_path / "out/round-1").exists()


def test_a_batch_that_cannot_be_shared_is_told_before_any_labelling(scenes, tmp_path, teacher):
    team = Team(0, 3, torch.device("cpu"))
    round = adaptation._Round(
        teacher, gather([scenes]), tmp_path / "r", adaptation.Settings(PLAN), team
    )
    with pytest.raises(TrainingError, match="cannot be shared by 3 processes"):
        round.run()
    assert not (tmp_path / "r").exists()


def test_a_picture_that_cannot_be_drawn_does_not_cost_the_student(
    scenes, tmp_path, teacher, monkeypatch
):
    def fails(*arguments):
        raise RuntimeError("no font")

    words = {"preset": PLAN, "device": "cpu", "progress": False}
    with monkeypatch.context() as patch:
        patch.setattr(adaptation.curves, "draw_curves", fails)
        with pytest.raises(RuntimeError, match="no font"):
            adaptation.adapt(teacher, scenes, tmp_path / "out", **words)
    stored = Student.open(tmp_path / "out/student.safetensors", "cpu")
    assert json.loads((tmp_path / "out/report.json").read_text())["student"] == adaptation.STUDENT
    assert adaptation.adapt(teacher, scenes, tmp_path / "out", **words).digest == stored.digest
    assert (tmp_path / "out/curves.png").exists()


# marks


def test_the_mark_of_a_known_mistake(scenes, tmp_path):
    """A quarter of the pixels is green on red; a segmenter that sees red alone has 3/4 and 0."""
    labels = teaching(scenes, tmp_path / "out").pairs[0].labels

    def red(image):
        right = colour_segmenter(image)
        return type(right)(
            np.zeros_like(right.labels), right.names, right.confidence, image, right.maps
        )

    labelled = Labelled((Pair("a", scenes / "a.png", labels),))
    assert labelled(red) == pytest.approx(100 * (0.75 + 0) / 2)


def test_a_right_segmenter_has_a_full_mark(scenes, tmp_path):
    for pair in teaching(scenes, tmp_path / "out").pairs:
        assert pair.labels.exists()
    labelled = Labelled.of(scenes, tmp_path / "out/labels")
    assert labelled(colour_segmenter) == pytest.approx(100)
    with pytest.raises(InputError, match="no mask"):
        Labelled.of(scenes, tmp_path / "nowhere")


def test_balanced_weights_are_one_in_the_mean_pixel():
    shares = [0.64, 0.36, 0.0]
    assert balance_weights(shares, 0).tolist() == [1, 1, 1]
    half = balance_weights(shares, 0.5).double()
    assert half[0] / half[1] == pytest.approx((0.36 / 0.64) ** 0.5, rel=1e-6)
    assert float(half @ torch.tensor(shares).double()) == pytest.approx(1)
    whole = balance_weights(shares, 1).double() * torch.tensor(shares).double()
    assert whole.tolist() == pytest.approx([0.5, 0.5, 0])


def test_the_balanced_loss_is_the_weighted_mean():
    """Against a loop over pixels, before any step."""
    plan = pupils.PLAN.replace(balance=0.5, average=0.0)
    with join_processes("cpu") as team:
        trainer = Trainer(pupils.network(plan), plan, 0, team, [0.7, 0.2, 0.1])
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (4, 3, 64, 64), generator=generator).byte()
        labels = torch.randint(0, 3, (4, 64, 64), generator=generator).byte()
        labels[:, :8] = 255
        network = copy.deepcopy(trainer.network).train()
        weights = balance_weights([0.7, 0.2, 0.1], 0.5)
        with torch.no_grad():
            logits = upsample(network(pixels.float() / 255), (64, 64)).log_softmax(1)
        lost = mass = 0.0
        for c in range(3):
            lost -= float(weights[c] * logits[:, c][labels == c].sum())
            mass += float(weights[c] * (labels == c).sum())
        assert trainer.step((pixels, labels)) == pytest.approx(lost / mass, rel=1e-4)
