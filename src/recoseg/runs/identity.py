"""What decides a result, so that one made under other settings is never taken for it."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recoseg.concepts.bank import ConceptBank
    from recoseg.segmenting.segmenter import Segmenter


def segmenter_settings(segmenter: Segmenter) -> dict[str, Any]:
    """All that decides what a segmenter makes of an image, of plain JSON types."""
    return {
        "bank": bank_digest(segmenter.bank),
        "names": list(segmenter.names),
        "refine": segmenter.refine,
        "unknown": segmenter.unknown,
        "strictness": segmenter.strictness,
        "shortlist": segmenter.shortlist,
        "crf": dataclasses.asdict(segmenter.crf),
    }


def bank_digest(bank: ConceptBank) -> str:
    """SHA-256 of all in a bank that decides a result, hex; its evidence does not."""
    facts = (
        [(concept.name, concept.threshold, concept.levels) for concept in bank.concepts],
        bank.recipe.hash,
        sorted(bank.fingerprints.items()),
    )
    digest = hashlib.sha256(repr(facts).encode())
    for vectors in (bank.texts, bank.references, *([bank.medians] if bank.recipe.centre else [])):
        digest.update(vectors.float().cpu().numpy().tobytes())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
