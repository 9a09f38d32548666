"""Where the time of one concept goes with the paper's architectures: encoders or the rest.

    python benchmarks/concept.py [--images 50] [--out benchmarks/results/concept.json]

RN50x16, distilled DeiT-S and, for retrieval, ViT-B/32 in place of ViT-L/14@336 (its text tower
alone works here) have random weights, which take the time that trained ones take. One concept is
built by ``ConceptBank.build`` from images on disk, at the paper's settings without contexts; the
seconds inside ``dense`` and ``features`` are the encoders'.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import numpy as np
import open_clip
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from recoseg import PAPER, ConceptBank, Index
from recoseg.models.registry import Models

RETRIEVAL = "ViT-B-32"
DEIT = "deit_small_distilled_patch16_224"


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos(folder / "photos", options.images)
        recipe = PAPER.replace(
            retrieval=f"clip:{RETRIEVAL}/{weights(folder, RETRIEVAL, open_clip.create_model)}",
            dense=f"clip:RN50x16/{weights(folder, 'RN50x16', open_clip.create_model)}",
            encoder=f"timm:{DEIT}/{weights(folder, DEIT, timm.create_model)}",
            k=options.images,
            ce=False,
        )
        models = Models.load(recipe)
        index = Index.build(folder / "photos", folder / "index", model=models.retrieval)
        row = time_steps(recipe, models, index)
    print("  ".join(f"{key} {value}" for key, value in row.items()))
    if options.out:
        facts = {**machine.describe_machine(), "images": options.images, "retrieval": RETRIEVAL}
        options.out.write_text(json.dumps({**facts, **row}, indent=1) + "\n", encoding="utf-8")


def time_steps(recipe: Any, models: Models, index: Index) -> dict[str, float]:
    """Build a first concept to warm up, then one more with clocks around the models."""
    ConceptBank.build(["road"], index, recipe.replace(k=2), models=models, progress=False)
    seconds: dict[str, float] = {"dense": 0.0, "encoder": 0.0, "texts": 0.0}
    clock(models.dense, "dense", seconds, "dense")
    clock(models.encoder, "features", seconds, "encoder")
    clock(models.dense, "embed_texts", seconds, "texts")
    clock(models.retrieval, "embed_texts", seconds, "texts")
    start = time.perf_counter()
    ConceptBank.build(["car"], index, recipe, models=models, progress=False)
    whole = time.perf_counter() - start
    share = (seconds["dense"] + seconds["encoder"]) / whole
    row = {"whole": whole, **seconds, "rest": whole - sum(seconds.values())}
    return {**{key: round(value, 2) for key, value in row.items()}, "share": round(share, 3)}


def clock(model: Any, method: str, seconds: dict[str, float], name: str) -> None:
    """Add the seconds inside a model's method to ``seconds[name]``."""
    original = getattr(model, method)

    def measured(*arguments: Any) -> Any:
        start = time.perf_counter()
        result = original(*arguments)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds[name] += time.perf_counter() - start
        return result

    setattr(model, method, measured)


def weights(folder: Path, architecture: str, create: Callable[[str], Any]) -> Path:
    """A file of random weights."""
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    file = folder / f"{architecture}.safetensors"
    state = create(architecture).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, file)
    return file


def photos(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        coarse = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
        Image.fromarray(coarse).resize((500, 375)).save(folder / f"{number:03}.jpg")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
