"""Files of banks: safetensors of the vectors, everything else in the JSON header.

header "recoseg"   JSON: format, recipe, models, concepts, contexts, digest of it all
text, reference    (N, d1) and (N, d2), fp16 or fp32, concepts first, then other contexts
guide              (N, d1) likewise (absent unless all have one)
evidence           zlib-compressed JSON (may be absent)
pictures           the thumbnails' JPEG files and heat maps end to end (may be absent)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recoseg.concepts.concept import Concept
from recoseg.concepts.evidence import Evidence, Pictures
from recoseg.errors import BankError, InputError
from recoseg.io import durable, locks
from recoseg.io.sealed import Seal
from recoseg.recipe import Recipe
from recoseg.similarity import unit

SEAL = Seal(
    "recoseg",
    "a concept bank",
    1,
    BankError,
    "give a file written by bank.save, copy it again, or build the bank again",
)
DTYPES = {"float16": torch.float16, "float32": torch.float32}
EVIDENCE = ("full", "compact", "none")
_MAX_JSON = 256 * 2**20


@dataclass(frozen=True)
class Contents:
    """What a bank's file holds.

    Attributes:
        concepts: the bank's concepts, in order.
        contexts: those whose references are eliminated from others, in order; some may be among
            the concepts.
        recipe: the settings all were built with.
        fingerprints: role ("retrieval", "dense", "encoder") to the digest of its model.
    """

    concepts: tuple[Concept, ...]
    contexts: tuple[Concept, ...]
    recipe: Recipe
    fingerprints: Mapping[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides a result, hex; evidence and contexts do not."""
        rows = [(c.name, c.threshold, c.thresholds) for c in self.concepts]
        facts = (rows, self.recipe.hash, sorted(self.fingerprints.items()))
        digest = hashlib.sha256(repr(facts).encode())
        for vector in (*(c.text for c in self.concepts), *(c.reference for c in self.concepts)):
            digest.update(vector.float().cpu().numpy().tobytes())
        groups = [(c.name, c.group) for c in self.concepts if c.group]
        for more in ([c.medians for c in self.concepts] if self.recipe.centre else [], groups):
            digest.update(repr(more).encode() if more else b"")
        return digest.hexdigest()


def write(path: Path, contents: Contents, dtype: str, evidence: str) -> None:
    """Replace ``path`` by these contents, whole or not at all.

    Args:
        path: where to.
        contents: what to write.
        dtype: "float32" keeps vectors to the bit, "float16" to about three decimal digits each.
        evidence: "full" with pictures, "compact" without them, "none" for vectors alone.
    """
    if dtype not in DTYPES or evidence not in EVIDENCE:
        raise InputError(
            f"a bank is saved as {' or '.join(DTYPES)} with evidence "
            f"{', '.join(EVIDENCE)}, not as {dtype!r} with {evidence!r}."
        )
    if not contents.concepts:
        raise BankError("the bank is empty; add a concept before saving it.")
    everyone = [*contents.concepts, *(c for c in contents.contexts if c not in contents.concepts)]
    tensors = {
        "text": torch.stack([c.text for c in everyone]).to(DTYPES[dtype]),
        "reference": torch.stack([c.reference for c in everyone]).to(DTYPES[dtype]),
    }
    guides = [c.guide for c in everyone if c.guide is not None]
    if len(guides) == len(everyone):
        tensors["guide"] = torch.stack(guides).to(DTYPES[dtype])
    if evidence != "none":
        tensors.update(_pack(everyone, pictures=evidence == "full"))
    header: dict[str, Any] = {
        "recipe": contents.recipe.to_dict(),
        "models": dict(contents.fingerprints),
        "concepts": [
            {
                "name": c.name,
                "aliases": list(c.aliases),
                "threshold": c.threshold,
                "levels": None if c.thresholds is None else list(c.thresholds),
                **{k: v for k, v in (("medians", c.medians), ("group", c.group)) if v is not None},
            }
            for c in everyone
        ],
        "named": len(contents.concepts),
        "contexts": [everyone.index(c) for c in contents.contexts],
    }
    if not path.parent.is_dir():
        raise BankError(f"the folder {path.parent} does not exist; make it first.")
    SEAL.write(path, header, tensors)


@contextlib.contextmanager
def exclusive(
    path: Path, wait: Callable[[str], None] | None = None, patience: float = -1
) -> Iterator[None]:
    """Be the only one to change a bank's file, from before it is read until it is replaced.

    Args:
        path: the bank, there or to be made.
        wait: is told that another writer is waited for; None refuses at once.
        patience: how many seconds it is waited for; -1 is without end.

    Raises:
        Locked: another process, the page's server for example, is changing it.
    """
    place = durable.hidden(path, "lock")
    with locks.hold(place, str(path), wait=wait, patience=patience, keep=False):
        yield


def read(path: Path) -> Contents:
    """The contents of a bank's file.

    Raises:
        BankError: missing, damaged, something else, or of a newer version.
    """
    header, tensors = SEAL.read(path)
    try:
        return _parse(header, tensors)
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        zlib.error,
        OverflowError,
        RecursionError,
    ) as error:
        raise BankError(
            f"{path} does not describe a bank of this version; {SEAL.remedy}."
        ) from error


def _parse(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Contents:
    found = _unpack(tensors, len(header["concepts"]))
    texts, references = _float32(tensors["text"]), _float32(tensors["reference"])
    guides = _float32(tensors["guide"]) if "guide" in tensors else [None] * len(texts)
    rows = zip(header["concepts"], texts, references, guides, found, strict=True)
    everyone = [
        Concept(
            d["name"],
            tuple(d["aliases"]),
            text,
            reference,
            d["threshold"],
            evidence,
            d.get("levels"),
            d.get("medians"),
            *(guide, d.get("group")),
        )
        for d, text, reference, guide, evidence in rows
    ]
    return Contents(
        tuple(everyone[: header["named"]]),
        tuple(everyone[i] for i in header["contexts"]),
        Recipe.from_dict(header["recipe"]),
        dict(header["models"]),
    )


def _float32(vectors: Tensor) -> Tensor:
    # Rounding to fp16 moves a unit vector off the sphere.
    return vectors if vectors.dtype == torch.float32 else unit(vectors.float())


def _pack(everyone: Sequence[Concept], *, pictures: bool) -> dict[str, Tensor]:
    """Evidence as JSON, and behind it the pictures, whose sizes the JSON gives."""
    items: list[dict[str, Any] | None] = []
    blobs: list[bytes] = []
    for concept in everyone:
        if concept.evidence is None:
            items.append(None)
            continue
        item = concept.evidence.to_dict()
        shown = concept.evidence.pictures
        if pictures and shown is not None:
            item["jpeg"], item["heat"] = [len(j) for j in shown.thumbnails], list(shown.heat.shape)
            blobs += [*shown.thumbnails, shown.heat.tobytes()]
        items.append(item)
    text = json.dumps(items, ensure_ascii=False, separators=(",", ":")).encode()
    packed = {"evidence": _bytes(zlib.compress(text, 9))}
    if blobs:
        packed["pictures"] = _bytes(b"".join(blobs))
    return packed


def _unpack(tensors: Mapping[str, Tensor], count: int) -> list[Evidence | None]:
    if "evidence" not in tensors:
        return [None] * count
    text = zlib.decompressobj().decompress(tensors["evidence"].numpy().tobytes(), _MAX_JSON)
    blob = tensors["pictures"].numpy().tobytes() if "pictures" in tensors else b""
    found: list[Evidence | None] = []
    place = 0
    for item in json.loads(text):
        if item is None:
            found.append(None)
            continue
        pictures = None
        if "jpeg" in item:
            pictures, place = _pictures(blob, place, item["jpeg"], item["heat"])
        found.append(Evidence.from_dict(item, pictures))
    return found


def _pictures(
    blob: bytes, place: int, sizes: Sequence[int], shape: Sequence[int]
) -> tuple[Pictures, int]:
    thumbnails = []
    for size in sizes:
        thumbnails.append(blob[place : place + size])
        place += size
    count = int(np.prod(shape))
    heat = np.frombuffer(blob, np.uint8, count, place).reshape(tuple(shape))
    return Pictures(tuple(thumbnails), heat), place + count


def _bytes(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
