"""Stages of ``scale.py`` that cost by the photo: decoding, embedding, concepts, labels.

The photos are 640x480 JPEG of soft noise and the models the default's own, so that the times are
those of real photos of that size; their labels mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scale_rows import Cost, cost

from recoseg import ConceptBank, Index, Segmenter
from recoseg.index import ingest
from recoseg.io.archive import Archive
from recoseg.learning.pseudolabels import make_pseudo_labels
from recoseg.models.base import input_size
from recoseg.models.registry import Models
from recoseg.recipe import LITE
from recoseg.runs import batch, inputs
from recoseg.runs.record import Record

SIZE, BATCH = (640, 480), 4


def stages(
    home: Path, counts: Sequence[int], ks: Sequence[int], slow: Sequence[int], repeats: int
) -> Iterator[tuple[str, int, Cost, float]]:
    """(stage, photos, cost, bytes read or written) at each number of photos."""
    models = Models.load(LITE)
    warm = Archive.open(paint(home / "warm", 1))
    ingest.encode(
        models.retrieval, [prepare_photo(warm, item.id, models.retrieval) for item in warm]
    )
    for count in counts:
        archive = Archive.open(paint(home / f"{count}", count))
        bytes_read = sum(item.size for item in archive)
        prepared = list[torch.Tensor]()

        def decode(archive: Archive = archive, prepared: list[torch.Tensor] = prepared) -> None:
            prepared[:] = [prepare_photo(archive, item.id, models.retrieval) for item in archive]

        yield "decoding", count, cost(decode, repeats), bytes_read

        def embed(prepared: list[torch.Tensor] = prepared) -> None:
            for first in range(0, len(prepared), BATCH):
                ingest.encode(models.retrieval, prepared[first : first + BATCH])

        yield "embedding", count, cost(embed, repeats), count * models.retrieval.dim * 2
    largest = home / f"{counts[-1]}"
    index = Index.build(largest, home / "x.index", model=models.retrieval, progress=False)
    yield from concepts(index, models, ks)
    yield from labels(home, largest, slow)


def concepts(
    index: Index, models: Models, ks: Sequence[int]
) -> Iterator[tuple[str, int, Cost, float]]:
    """A concept of k photos, the reference after the first that warms up; no contexts."""
    plain = LITE.replace(ce=False)

    def build(name: str, k: int) -> None:
        ConceptBank.build([name], index, plain.replace(k=k), models=models, progress=False)

    build("sky", 2)
    for k in ks:
        yield "building a concept", k, cost(lambda k=k: build(f"tree {k}", k), 1), 0


def labels(
    home: Path, photos: Path, counts: Sequence[int]
) -> Iterator[tuple[str, int, Cost, float]]:
    """Photos segmented into a folder of results, and labelled for a student; the everyday bank."""
    segmenter = Segmenter(ConceptBank.everyday())
    jobs = inputs.gather([photos])
    segmenter(jobs[0].source)
    for count in counts:
        some, out = jobs[:count], home / f"results {count}"

        def segment(some: Any = some, out: Path = out) -> None:
            outcomes = batch.run(some, segmenter, out, segmenter.identity, progress=False)
            if any(outcome.state != "done" for outcome in outcomes):
                raise SystemExit("a photo was not segmented")

        yield "segmenting", count, cost(segment, 1), size(out)
        taught = home / f"labels {count}"

        def teach(some: Any = some, out: Path = taught) -> None:
            done = make_pseudo_labels(
                some, segmenter, segmenter.names, out, segmenter.identity, progress=False
            )
            if len(done.pairs) != len(some):
                raise SystemExit("a photo was not labelled")

        yield "labels for adapt", count, cost(teach, 1), size(taught)


def record(home: Path, count: int) -> tuple[Cost, int]:
    """Saving the record of a folder of results once, and its bytes."""
    kept = Record(home, {"names": ["road", "sky", "tree"]})
    for number in range(count):
        name = f"{number // 1000:05d}/{number:010d}"
        kept.images[f"{name}.jpg"] = {
            "sha256": "0" * 64,
            "labels": f"labels/{name}.png",
            "overlay": f"overlays/{name}.jpg",
            "area": {"road": 0.412345, "sky": 0.301234, "tree": 0.286421},
            "digests": {f"labels/{name}.png": "0" * 64, f"overlays/{name}.jpg": "1" * 64},
        }
    spent = cost(kept.save, 1)
    return spent, kept.path.stat().st_size


def prepare_photo(archive: Archive, id: str, model: Any) -> torch.Tensor:
    """A photo as the model takes it."""
    return model.preprocess(archive.image(id, at_least=input_size(model)))


def paint(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        coarse = np.random.default_rng(number).integers(0, 256, (36, 48, 3), np.uint8)
        photo = Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)
        photo.save(folder / f"{number:05}.jpg", quality=90)
    return folder


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
