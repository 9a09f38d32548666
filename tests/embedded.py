"""Archives as others embed and write them, for tests of their import."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
from PIL import Image

from recoseg.io import images
from tests.toys import COLOURS, Toy

NAMES = tuple(f"{colour}{number}.png" for colour in COLOURS for number in range(3))


def picture(name: str) -> np.ndarray:
    """Of the colour in the name, its lower part darker by the number."""
    colour = next(c for c in COLOURS if c in name)
    pixels = np.full((32, 32, 3), COLOURS[colour], dtype=np.uint8)
    pixels[16:] //= 2 + sum(map(ord, name)) % 7
    return pixels


def encoded(name: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture(name)).save(stream, "PNG")
    return stream.getvalue()


def embed(names: Sequence[str], model: Toy | None = None) -> np.ndarray:
    """(n, d) float32, as another program would have embedded the pictures of these names."""
    model = model or Toy()
    rows = [model.embed_images(model.preprocess(images.read(encoded(n)))[None]) for n in names]
    return np.concatenate([row.numpy() for row in rows])


def photos(folder: Path, names: Sequence[str] = NAMES) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(name))
    return folder


def listed(folder: Path, vectors: np.ndarray, names: Sequence[str]) -> Path:
    """``vectors.npy`` and ``vectors.txt`` beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "vectors.npy", vectors)
    (folder / "vectors.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return folder / "vectors.npy"


def clip_retrieval(
    folder: Path, vectors: np.ndarray, names: Sequence[str], *, parts: int = 2, **columns: object
) -> Path:
    """``img_emb`` and ``metadata`` in some parts; other columns may be given instead."""
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    for number, places in enumerate(np.array_split(np.arange(len(names)), parts)):
        np.save(folder / "img_emb" / f"img_emb_{number}.npy", vectors[places])
        data = columns or {"image_path": [names[i] for i in places], "caption": ["x"] * len(places)}
        parquet.write_table(pyarrow.table(data), folder / "metadata" / f"metadata_{number}.parquet")
    return folder
