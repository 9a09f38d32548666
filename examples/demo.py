"""The main job on real photos: ``make demo``, or ``make demo PHOTOS=folder CONCEPTS="a,b,c"``.

First the photos that scikit-image and scikit-learn ship are segmented with the bank of everyday
concepts. Then, if a folder is given, it is indexed without labels, the concepts named are learnt
from it, and some of its photos are segmented with them.
"""

from __future__ import annotations

import argparse
import base64
import html
import importlib.util
import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import recoseg
from recoseg import images, palette

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
CONCEPTS = "sky,tree,grass,water,building,road,person"
LONGEST = 640
TILE = 240
SHOWN = 12

Found = tuple[str, NDArray[np.uint8], float]


def main() -> None:
    """Run both parts and say where to look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--photos", default="", help="a folder of photos; empty for none")
    parser.add_argument("--concepts", default="", help="names, with commas between")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    try:
        pages = [everyday(asked.out)]
        if asked.photos:
            pages.append(own(asked.out, Path(asked.photos), asked.concepts or CONCEPTS))
    except recoseg.RecosegError as error:
        sys.exit(f"demo: {error}")
    say("")
    for page in pages:
        say(f"Look at {page.resolve()}")


def everyday(out: Path) -> Path:
    """Segment the shipped photos with the everyday bank; the page that shows them."""
    photos, names = shipped()
    bank = recoseg.ConceptBank.everyday()
    say(f"Segmenting {len(photos)} photos with the bank of {len(bank)} everyday concepts.")
    whole = recoseg.Segmenter(bank)
    choices = {id: whole.choose(wanted) for id, wanted in names.items()}
    return segment(photos, choices, out / "everyday", "Everyday concepts")


def own(out: Path, folder: Path, concepts: str) -> Path:
    """Index a folder, learn concepts from it, segment some of it; the page that shows them."""
    names = [name.strip() for name in concepts.split(",") if name.strip()]
    say(f"Indexing {folder}.")
    index = recoseg.Index.build(folder, out / "photos.index")
    say(f"Learning {', '.join(names)} from {len(index)} photos.")
    bank = recoseg.ConceptBank.build(names, index)
    bank.save(out / "yours.bank")
    results = out / "yours"
    results.mkdir(exist_ok=True)
    for concept in bank.concepts:
        if concept.evidence is not None:
            concept.evidence.save(results / f"evidence_{plain(concept.name)}.png")
    chosen = best(bank)[:SHOWN]
    say(f"Segmenting {len(chosen)} of them.")
    photos = {id: index.image(id, at_least=LONGEST) for id in chosen}
    choices = dict.fromkeys(photos, recoseg.Segmenter(bank))
    return segment(photos, choices, results, "Your photos, your concepts")


def shipped() -> tuple[dict[str, images.RGB], dict[str, list[str]]]:
    """Name to photo and to the concepts to look for, of those that are installed."""
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
    if not photos:
        sys.exit("demo: no photos are installed; run `make demo`, or pip install scikit-image.")
    return photos, names


def best(bank: recoseg.ConceptBank) -> list[str]:
    """Photos the concepts were learnt from, each concept's first before any one's second."""
    ranked = [c.evidence.images for c in bank.concepts if c.evidence is not None]
    longest = max(map(len, ranked), default=0)
    rounds = [ids[rank] for rank in range(longest) for ids in ranked if rank < len(ids)]
    return list(dict.fromkeys(rounds))


def segment(
    photos: dict[str, images.RGB],
    segmenters: dict[str, recoseg.Segmenter],
    out: Path,
    title: str,
) -> Path:
    """Segment each photo, save labels, overlays and a sheet; the page that shows them."""
    out.mkdir(parents=True, exist_ok=True)
    tiles, figures = [], []
    for name, photo in photos.items():
        start = time.perf_counter()
        result = segmenters[name](fit(photo))
        seconds = time.perf_counter() - start
        overlay = np.asarray(result.overlay())
        palette.write(out / f"{plain(name)}_overlay.jpg", overlay)
        result.save(out / f"{plain(name)}_labels.png")
        found = largest(result)
        summary = ", ".join(f"{concept} {share:.0%}" for concept, _, share in found)
        say(f"  {name}: {summary} ({seconds:.1f} s)")
        tiles += [(result.image, name), (overlay, ""), (key(found), "")]
        figures.append(figure(name, result.image, overlay, found))
    palette.write(out / "sheet.png", palette.contact_sheet(tiles, 6, title, size=TILE))
    page = out / "index.html"
    page.write_text(document(title, figures), encoding="utf-8")
    return page


def largest(result: recoseg.Segmentation, most: int = 8) -> list[Found]:
    """Name, colour and share of what covers at least a hundredth of the image, largest first."""
    rows = zip(result.names, result.colours, result.area.values(), strict=True)
    present = [(name, colour, share) for name, colour, share in rows if share >= 0.01]
    return sorted(present, key=lambda row: -row[2])[:most]


def key(found: Sequence[Found]) -> images.RGB:
    """The colours of one image with their names, as a tile of the sheet."""
    names, colours, shares = zip(*found, strict=True) if found else ((), (), ())
    drawn = palette.legend(
        names, np.array(colours, np.uint8).reshape(-1, 3), dict(zip(names, shares, strict=True))
    )
    tile = np.full((max(TILE, drawn.shape[0]), max(TILE, drawn.shape[1]), 3), 255, np.uint8)
    tile[: drawn.shape[0], : drawn.shape[1]] = drawn
    return tile


def figure(name: str, photo: images.RGB, overlay: images.RGB, found: Sequence[Found]) -> str:
    """One photo with its overlay and the key to its colours."""
    swatches = " ".join(
        f'<span><i style="background: rgb({r} {g} {b})"></i>{html.escape(name)} {share:.0%}</span>'
        for name, (r, g, b), share in found
    )
    caption = f"<figcaption><b>{html.escape(name)}</b> {swatches}</figcaption>"
    return f"<figure>{picture(photo)}{picture(overlay)}{caption}</figure>"


def document(title: str, figures: Sequence[str]) -> str:
    """A page that holds its pictures itself."""
    shown = "\n".join(figures)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem;
         padding: 0 1rem; color: #20242a; }}
  figure {{ margin: 0 0 2rem; display: grid; grid-template-columns: 1fr 1fr; gap: .75rem; }}
  img {{ width: 100%; border-radius: 6px; }}
  figcaption {{ grid-column: 1 / -1; color: #6e747c; }}
  b {{ color: #20242a; margin-right: .5rem; }}
  span {{ white-space: nowrap; margin-right: .75rem; }}
  i {{ display: inline-block; width: .8em; height: .8em; border-radius: 3px; margin-right: .3em; }}
</style>
<h1>{html.escape(title)}</h1>
{shown}
</html>
"""


def picture(image: images.RGB) -> str:
    """An <img> with its data inside."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=88)
    return (
        f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}">'
    )


def fit(photo: images.RGB) -> images.RGB:
    """At most LONGEST pixels on the long side: enough to look at, and soon done."""
    scale = min(1.0, LONGEST / max(photo.shape[:2]))
    height, width = photo.shape[:2]
    return images.resize(photo, (max(1, round(height * scale)), max(1, round(width * scale))))


def plain(name: str) -> str:
    """A file name made of letters, digits, dots, hyphens and underscores."""
    return "".join(c if c.isalnum() or c in ".-_" else "_" for c in name)


def say(line: str) -> None:
    """Tell the person who waits."""
    print(line, flush=True)


if __name__ == "__main__":
    main()
