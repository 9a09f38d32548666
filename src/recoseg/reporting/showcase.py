"""``recoseg demo``: the main job on real photos, as a folder of results and a page to look at.

First the photos that scikit-image and scikit-learn ship are segmented with the bank of everyday
concepts. Then, if a folder is given, it is indexed without labels, the concepts named are learnt
from it, and some of its photos are segmented with them.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recoseg.drawing import palette
from recoseg.errors import InputError
from recoseg.io import durable, images
from recoseg.io.progress import Progress
from recoseg.reporting import pages

if TYPE_CHECKING:
    from recoseg.concepts.bank import ConceptBank
    from recoseg.segmenting.result import Segmentation
    from recoseg.segmenting.segmenter import Segmenter

# What a person who looks at the photo would name; all are concepts of the everyday bank.
SHIPPED = {
    "skimage": {
        "data/chelsea.png": "cat, sofa, wall",
        "data/astronaut.png": "woman, flag, rocket, wall",
        "data/coffee.png": "coffee, cup, table",
        "data/motorcycle_left.png": "motorcycle, building, door, floor",
        "data/rocket.jpg": "rocket, tower, sky",
        "data/camera.png": "man, camera, grass, sky, tower",
    },
    "sklearn": {
        "datasets/images/china.jpg": "temple, sky, tree, person, road",
        "datasets/images/flower.jpg": "flower, leaf, forest",
    },
}
LONGEST = 640
TILE = 240
SHOWN = 12

Say = Callable[[str], None]


@dataclass(frozen=True)
class Found:
    """A concept that covers a visible part of a photo.

    Attributes:
        name: the concept.
        colour: (3,) uint8 RGB of its pixels in the overlay.
        share: of the photo, in [0, 1].
    """

    name: str
    colour: tuple[int, int, int]
    share: float


@dataclass(frozen=True)
class Figure:
    """One photo of the page: its name, the two pictures as addresses, and what was found."""

    name: str
    photo: str
    overlay: str
    found: Sequence[Found]


def load_shipped_photos() -> tuple[dict[str, images.RGB], dict[str, list[str]]]:
    """Name to photo and to the concepts to look for, of those packages that are installed."""
    photos, names = {}, {}
    for package, files in SHIPPED.items():
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            continue
        for file, wanted in files.items():
            path = Path(found.origin).parent / file
            if path.is_file():
                photos[path.stem] = images.read(path)
                names[path.stem] = wanted.split(", ")
    return photos, names


def demo_everyday(out: Path, tell: Say) -> Path:
    """Segment the shipped photos with the everyday bank; the page that shows them.

    Raises:
        InputError: neither scikit-image nor scikit-learn is installed.
    """
    from recoseg.concepts.bank import ConceptBank
    from recoseg.segmenting.segmenter import Segmenter

    photos, names = load_shipped_photos()
    if not photos:
        raise InputError(
            "the demo's photos come with scikit-image, which is not installed; pip install "
            "'recoseg[demo]', or give photos of yours with --photos FOLDER."
        )
    bank = ConceptBank.everyday()
    tell(f"Segmenting {len(photos)} photos with the bank of {len(bank)} everyday concepts.")
    whole = Segmenter(bank)
    choices = {name: whole.choose(wanted) for name, wanted in names.items()}
    return segment(photos, choices, out / "everyday", "Everyday concepts", tell)


def demo_own_photos(
    out: Path, folder: str, concepts: Sequence[str], tell: Say, progress: Progress = True
) -> Path:
    """Index a folder, learn concepts from it, segment some of it; the page that shows them."""
    from recoseg.concepts.bank import ConceptBank
    from recoseg.index.index import Index
    from recoseg.segmenting.segmenter import Segmenter

    durable.make_folder(out)
    tell(f"Indexing {folder}.")
    index = Index.build(folder, out / "photos.index", progress=progress)
    tell(f"Learning {', '.join(concepts)} from {len(index)} photos.")
    bank = ConceptBank.build(concepts, index, progress=progress)
    bank.save(out / "yours.bank")
    results = durable.make_folder(out / "yours")
    for concept in bank.concepts:
        if concept.evidence is not None:
            concept.evidence.save(results / f"evidence_{plain(concept.name)}.png")
    chosen = rank_photos(bank)[:SHOWN]
    tell(f"Segmenting {len(chosen)} of them.")
    photos = {id: index.image(id, at_least=LONGEST) for id in chosen}
    choices = dict.fromkeys(photos, Segmenter(bank))
    return segment(photos, choices, results, "Your photos, your concepts", tell)


def rank_photos(bank: ConceptBank) -> list[str]:
    """Photos the concepts were learnt from, each concept's first before any one's second."""
    ranked = [c.evidence.images for c in bank.concepts if c.evidence is not None]
    longest = max(map(len, ranked), default=0)
    rounds = [ids[rank] for rank in range(longest) for ids in ranked if rank < len(ids)]
    return list(dict.fromkeys(rounds))


def segment(
    photos: Mapping[str, images.RGB],
    segmenters: Mapping[str, Segmenter],
    out: Path,
    title: str,
    tell: Say,
) -> Path:
    """Segment each photo, save labels, overlays and a sheet; the page that shows them."""
    durable.make_folder(out)
    tiles: list[tuple[images.RGB, str]] = []
    figures = []
    for name, photo in photos.items():
        start = time.perf_counter()
        result = segmenters[name](shrink(photo))
        seconds = time.perf_counter() - start
        overlay = np.asarray(result.overlay())
        palette.write(out / f"{plain(name)}_overlay.jpg", overlay)
        result.save(out / f"{plain(name)}_labels.png")
        found = find_largest(result)
        summary = ", ".join(f"{one.name} {one.share:.0%}" for one in found)
        tell(f"  {name}: {summary} ({seconds:.1f} s)")
        tiles += [(result.image, name), (overlay, ""), (draw_key(found), "")]
        figures.append(
            Figure(name, pages.embed_image(result.image, 88), pages.embed_image(overlay, 88), found)
        )
    palette.write(out / "sheet.png", palette.contact_sheet(tiles, 6, title, size=TILE))
    html = pages.render("showcase.html", title, {"figures": figures})
    return pages.write(out / "index.html", html)


def find_largest(result: Segmentation, most: int = 8) -> list[Found]:
    """What covers at least a hundredth of the image, largest first."""
    rows = zip(result.names, result.colours.tolist(), result.area.values(), strict=True)
    present = [Found(name, tuple(rgb), share) for name, rgb, share in rows if share >= 0.01]
    return sorted(present, key=lambda one: -one.share)[:most]


def draw_key(found: Sequence[Found]) -> images.RGB:
    """The colours of one image with their names, as a tile of the sheet."""
    colours = np.array([one.colour for one in found], np.uint8).reshape(-1, 3)
    shares = {one.name: one.share for one in found}
    drawn = palette.legend(list(shares), colours, shares)
    tile = np.full((max(TILE, drawn.shape[0]), max(TILE, drawn.shape[1]), 3), 255, np.uint8)
    tile[: drawn.shape[0], : drawn.shape[1]] = drawn
    return tile


def shrink(photo: images.RGB) -> images.RGB:
    """At most LONGEST pixels on the long side: enough to look at, and soon done."""
    height, width = photo.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    return images.resize(photo, (max(1, round(height * scale)), max(1, round(width * scale))))


def plain(name: str) -> str:
    """A file name made of letters, digits, dots, hyphens and underscores."""
    return "".join(c if c.isalnum() or c in ".-_" else "_" for c in name)
