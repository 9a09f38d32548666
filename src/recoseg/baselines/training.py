"""From a folder of photos to a baseline's file: features, rounds with checkpoints, the result."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recoseg import __version__
from recoseg.baselines import features
from recoseg.baselines.baseline import Baseline
from recoseg.baselines.features import MOST_SQUARES, Extractor
from recoseg.baselines.iic import IIC
from recoseg.baselines.inputs import Features, Inputs, Pixels
from recoseg.baselines.kmeans import KMeans
from recoseg.baselines.learner import Learner
from recoseg.baselines.mdc import MDC
from recoseg.baselines.photos import Photos
from recoseg.baselines.picie import PiCIE
from recoseg.baselines.plan import BaselinePlan, preset
from recoseg.baselines.primaps import Primaps
from recoseg.baselines.rounds import SAVE_EVERY, RoundCheckpoint, run_rounds
from recoseg.baselines.stego import Stego
from recoseg.errors import InputError
from recoseg.io import durable, locks
from recoseg.io.progress import Progress
from recoseg.models import registry
from recoseg.models.base import PatchEncoder
from recoseg.models.weights import fingerprint

LEARNERS: Mapping[str, type[Learner]] = {
    "kmeans": KMeans,
    "mdc": MDC,
    "picie": PiCIE,
    "picie+h": PiCIE,
    "iic": IIC,
    "stego": Stego,
    "primaps-em": Primaps,
}
# What a method is trained on besides the photos as they are.
VIEWS = {"mdc": (1,), "picie": (1, 2), "picie+h": (1, 2), "iic": (1, 2), "primaps-em": (1,)}


def train(
    method: str | BaselinePlan,
    folder: str | Path,
    clusters: int,
    out: str | Path,
    *,
    seed: int = 0,
    cache: str | Path | None = None,
    device: str | torch.device | None = None,
    save_every: float = SAVE_EVERY,
    progress: Progress = True,
) -> Baseline:
    """Train a baseline on unlabelled photos and write its file.

    What is interrupted goes on when it is called again, and ends in the same bytes.

    Args:
        method: one of ``recoseg.baselines.plan.LABELS``, or a plan.
        folder: of the photos.
        clusters: how many are looked for, 2 to 256.
        out: the file to write.
        seed: of everything random.
        cache: folder where frozen features stay, for other methods on the same photos.
        device: where models and networks compute.
        save_every: seconds between checkpoints; 0 saves after every round.
        progress: as in ``recoseg.io.progress.track``.

    Raises:
        InputError: a number is out of range, or the photos are too few.
        MissingWeights: the encoder is not here.
        TrainingError: the checkpoint is of another training, or the loss is lost.
    """
    plan = preset(method) if isinstance(method, str) else method
    if not 2 <= clusters <= 256 or not 0 <= seed < 2**31:
        raise InputError("clusters are from 2 to 256, and a seed is a whole number from 0.")
    out = Path(out)
    work = out.with_name(f".{out.name}.training")
    where = registry.device_of(device)
    with locks.hold(durable.make_folder(work) / ".lock", str(out)):
        home = Path(cache) if cache is not None else work
        photos = Photos.of(folder, plan.size, plan.crops)
        inputs, extractor = _inputs(plan, photos, seed, home, where, progress)
        learner = LEARNERS[plan.method](inputs, clusters, plan, seed, where)
        facts = _settings(plan, clusters, seed, photos, extractor)
        log = run_rounds(learner, RoundCheckpoint(work / "checkpoint", facts, save_every), progress)
        made = _take_result(learner, extractor, {**facts, "rounds": log})
        made.save(out)
    shutil.rmtree(work, ignore_errors=True)
    return made


def _take_result(
    learner: Learner, extractor: Extractor | None, provenance: dict[str, Any]
) -> Baseline:
    if "shifts" in learner.extra:
        provenance["shifts"] = [round(b, 4) for b in learner.extra["shifts"].tolist()]
    learner.network.eval().requires_grad_(False)
    parts = (learner.architecture, learner.result(), extractor, provenance, learner.device)
    return Baseline(learner.plan, learner.network, *parts)


def _inputs(
    plan: BaselinePlan,
    photos: Photos,
    seed: int,
    cache: Path,
    device: torch.device,
    progress: Progress,
) -> tuple[Inputs, Extractor | None]:
    if not plan.frozen:
        return Pixels(photos, seed), None
    encoders = features.load(plan.encoder, device)
    prints = [encoder.fingerprint for encoder in encoders]
    home = cache / f"features-{fingerprint(photos.digest, plan.reduced, *prints)[:16]}"
    extractor = _extractor(plan, photos, encoders, durable.make_folder(home))
    # Frozen views are the same for all seeds, so that they are made once.
    found = Features(Pixels(photos, 0), extractor, plan.draws, home)
    found.prepare(VIEWS.get(plan.method, ()), progress)
    return found, extractor


def _extractor(
    plan: BaselinePlan, photos: Photos, encoders: tuple[PatchEncoder, ...], home: Path
) -> Extractor:
    """That of a folder of features, or one that is fitted to some of the photos and kept there."""
    from safetensors.torch import load, save

    file = home / "extractor.safetensors"
    if file.is_file():
        return Extractor.of(encoders, load(file.read_bytes()))
    chosen = np.unique(np.linspace(0, len(photos) - 1, MOST_SQUARES).round().astype(int))
    batches = (photos.batch(part.tolist()) for part in np.array_split(chosen, -(-len(chosen) // 8)))
    made = Extractor.fit(encoders, batches, plan.reduced)
    durable.write(file, save(made.tensors))
    return made


def _settings(
    plan: BaselinePlan, clusters: int, seed: int, photos: Photos, extractor: Extractor | None
) -> dict[str, Any]:
    return {
        "recoseg": __version__,
        "plan": plan.to_dict(),
        "clusters": clusters,
        "seed": seed,
        "photos": len(photos.files),
        "photos_digest": photos.digest,
        "features": None if extractor is None else extractor.digest,
    }
