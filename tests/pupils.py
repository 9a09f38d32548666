"""Makers of small students and of things to teach them.

Run as a program it trains in forks, as ordered on stdin: to be killed, or to be a team.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path

import numpy as np
import torch

from recoseg.io import images
from recoseg.learning.checkpoint import Checkpoint
from recoseg.learning.plan import Plan
from recoseg.learning.pseudolabels import PseudoLabels, make_pseudo_labels, read_pseudo_labels
from recoseg.learning.sampling import Sampler
from recoseg.learning.team import join_processes
from recoseg.learning.trainer import Trainer
from recoseg.learning.training import TrainingHooks, train
from recoseg.models import encoders
from recoseg.runs.inputs import gather
from recoseg.segmenting.result import Segmentation
from recoseg.student.deeplab import Architecture, Network
from recoseg.student.student import Student
from tests.toys import COLOURS, paint

NAMES = ("red", "green", "blue")
PLAN = Plan(
    name="tiny",
    encoder="random:test_efficientnet",
    output_stride=16,
    channels=16,
    dropout=0.0,
    iterations=6,
    batch=4,
    crop=64,
    scale=(0.9, 1.1),
    jitter=(0.1, 0.1, 0.1, 0.0),
    head_rate=1e-2,
    encoder_rate=1e-2,
    average=0.5,
)
# Small steps, so that rounding is not blown up by Adam's division.
GENTLE = PLAN.replace(head_rate=1e-4, encoder_rate=1e-4)


def colour_segmenter(path) -> Segmentation:
    """A teacher that is right: the nearest of three colours."""
    image = images.read(path)
    table = np.array([COLOURS[name] for name in NAMES])
    distance = np.abs(image[:, :, None].astype(int) - table).sum(-1)
    confidence = np.full(image.shape[:2], 0.9, np.float32)
    confidence[:8] = 0.3
    labels = distance.argmin(-1).astype(np.uint8)
    return Segmentation(labels, NAMES, confidence, image, torch.zeros(3, 1, 1))


def paint_scenes(folder: Path) -> Path:
    paint(folder / "a.png", "red", "green")
    paint(folder / "b.png", "green", "blue")
    paint(folder / "deep" / "a.png", "blue", "red")
    return folder


def teaching(folder: Path, out: Path) -> PseudoLabels:
    return make_pseudo_labels(gather([folder]), colour_segmenter, NAMES, out, {}, progress=False)


def architecture(plan: Plan = PLAN, classes: int = len(NAMES)) -> Architecture:
    encoder = encoders.find_encoder(plan.encoder)
    return Architecture(
        encoder.name,
        plan.output_stride,
        plan.channels,
        plan.dropout,
        classes,
        encoder.mean,
        encoder.std,
    )


def network(plan: Plan = PLAN, seed: int = 0) -> Network:
    return Network.initialise(architecture(plan), encoders.find_encoder(plan.encoder), seed)


def student(seed: int = 0) -> Student:
    return Student(network(seed=seed), NAMES, architecture(), {"teacher": "colours"}, device="cpu")


def fit(folder: Path, labels: Path, file: Path, plan: Plan = PLAN, **watch) -> Trainer:
    """Train on scenes that are labelled already, from a checkpoint if there is one."""
    torch.set_num_threads(1)
    if not (labels / "coverage.json").exists():
        teaching(folder, labels)
    sampler = Sampler(read_pseudo_labels(gather([folder]), NAMES, labels).pairs, plan, 0)
    with join_processes("cpu") as team:
        trainer = Trainer(network(plan), plan, 0, team)
        train(
            trainer,
            sampler,
            Checkpoint(file, plan.to_dict()),
            TrainingHooks(progress=False, **watch),
        )
    return trainer


def work(order: dict) -> None:
    """One process of a training: killed after a step if so ordered, or one of a team."""
    os.environ.update(order["environment"])
    step = Trainer.step

    def mortal(self, batch):
        loss = step(self, batch)
        if self.iteration == order["dies_after"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss

    Trainer.step = mortal
    folder, labels, file = (Path(order[key]) for key in ("folder", "labels", "file"))
    plan = Plan.from_dict(order["plan"])
    fit(folder, labels, file, plan, save_every=0.0)


def main() -> None:
    """Everything is imported once; each line is a list of orders, a fork for each."""
    torch.set_num_threads(1)
    network()
    importlib.import_module("torchvision.transforms.v2")
    for line in sys.stdin:
        children = []
        for order in json.loads(line):
            child = os.fork()
            if child == 0:
                try:
                    torch.set_num_threads(1)  # before there are threads (storms.begun)
                    work(order)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
            children.append(child)
        print(json.dumps([os.waitpid(child, 0)[1] for child in children]), flush=True)


if __name__ == "__main__":
    main()
