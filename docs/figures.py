"""Draw the figures of docs/method.md: ``python docs/figures.py [docs/pictures]``.

The archive is sixty cut-outs of the ten photos below, which scikit-image and scikit-learn ship, so
that anybody can draw the same figures without a download.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import recoseg
from recoseg.building.reference import saliency
from recoseg.crf.refine import refine
from recoseg.drawing import palette
from recoseg.io import images
from recoseg.io.squares import cut_square
from recoseg.models.base import batch, encode_shared
from recoseg.models.registry import Models

PHOTOS = {
    "skimage": ["chelsea.png", "astronaut.png", "coffee.png", "motorcycle_left.png", "rocket.jpg"],
    "sklearn": ["china.jpg", "flower.jpg"],
}
TEXTURES = {"skimage": ["grass.png", "gravel.png", "brick.png"]}
HOMES = {"skimage": "data", "sklearn": "datasets/images"}
CUTS = 6
SHORT = 320


def main(out: Path) -> None:
    """Draw all three."""
    photos = shipped(PHOTOS)
    with tempfile.TemporaryDirectory() as folder:
        for name, photo in {**photos, **shipped(TEXTURES)}.items():
            for number, cut in enumerate(cuts(photo)):
                Image.fromarray(cut).save(Path(folder) / f"{name}{number}.jpg", quality=92)
        index = recoseg.Index.build(folder, Path(folder) / "cuts.index", progress=False)
        recipe = recoseg.LITE.replace(k=CUTS)
        bank = recoseg.ConceptBank.build(["cat"], index, recipe, progress=False)
        evidence = bank["cat"].evidence
        palette.write(out / "retrieved.jpg", evidence.draw(columns=CUTS))
    palette.write(out / "saliency.jpg", weights(photos["china"], "temple"))
    palette.write(out / "crf.jpg", before_and_after(photos["flower"], "flower,leaf,forest"))


def shipped(files: dict[str, list[str]]) -> dict[str, images.RGB]:
    """Name to photo, short side SHORT."""
    found = {}
    for package, names in files.items():
        home = Path(importlib.util.find_spec(package).origin).parent / HOMES[package]
        for name in names:
            found[Path(name).stem] = images.resize_short(images.read(home / name), SHORT)
    return found


def cuts(photo: images.RGB) -> list[images.RGB]:
    """Squares of four fifths of the short side, from different places, every other one mirrored."""
    height, width = photo.shape[:2]
    side = min(height, width) * 4 // 5
    generator = np.random.default_rng(0)
    found = []
    for number in range(CUTS):
        top, left = generator.integers(height - side + 1), generator.integers(width - side + 1)
        cut = photo[top : top + side, left : left + side]
        found.append(cut[:, ::-1] if number % 2 else cut)
    return found


def weights(photo: images.RGB, name: str) -> images.RGB:
    """The photo, what language says, what context elimination keeps, and their product."""
    bank = recoseg.ConceptBank.everyday()
    recipe = bank.recipe.replace(image_size=2 * SHORT)
    models = Models.load(recipe)
    square = cut_square(photo, 2 * SHORT)
    dense, features = encode_shared(models.dense, models.encoder, batch([square]))
    contexts = [bank[context].reference for context in recipe.contexts]
    tiles = [(square, "photo")]
    for title, lgc, ce in [
        (f"saliency of {name!r}", True, False),
        ("kept by context elimination", False, True),
        ("product: the weights", True, True),
    ]:
        one = recipe.replace(lgc=lgc, ce=ce)
        heat = saliency(dense, features, bank[name].text, contexts, one)[0].numpy()
        low, high = float(heat.min()), float(heat.max())
        caption = f"{title}\n{low:.2f} (dark) to {high:.2f}"
        tiles.append((palette.heatmap(square, (heat - low) / (high - low)), caption))
    return palette.contact_sheet(tiles, 4, size=220)


def before_and_after(photo: images.RGB, names: str) -> images.RGB:
    """The photo, the argmax of the scores, and the same after the CRF, with the key."""
    bank = recoseg.ConceptBank.everyday()
    segmenter = recoseg.Segmenter(bank, names.split(","), refine=False)
    result = segmenter(photo)
    sharp = refine(result.scores, photo, bank.recipe.crf).argmax(0).numpy()
    key = np.full((220, 220, 3), 255, np.uint8)
    drawn = palette.legend(result.names, result.colours)[:220, :220]
    key[: drawn.shape[0], : drawn.shape[1]] = drawn
    tiles = [(photo, "photo"), (np.asarray(result.overlay()), "largest score")]
    after = palette.overlay(photo, sharp, result.colours)
    return palette.contact_sheet([*tiles, (after, "after the CRF"), (key, "")], 4, size=220)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures")
