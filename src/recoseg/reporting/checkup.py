"""Quality assessment of a bank, with or without its archive."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recoseg.concepts.bank import ConceptBank
from recoseg.concepts.evidence import Evidence
from recoseg.errors import ArchiveError, IndexMismatch
from recoseg.index.index import Hit, Index
from recoseg.models import registry
from recoseg.models.prompts import embed_concepts
from recoseg.reporting import quality
from recoseg.reporting.quality import Quality


def judge_bank(
    bank: ConceptBank, index: Index | None = None, device: str | None = None
) -> list[Quality]:
    """Assess every concept of a bank, in order.

    Args:
        bank: the concepts.
        index: the archive, to tell which concepts it is too poor for; None if it is not at hand.
        device: where the retrieval model computes, if the bank does not hold its vectors.

    Raises:
        IndexMismatch: the index was built by another model than the bank.
        ArchiveError: the index is empty.
    """
    judged = quality.judge_concepts(bank.concepts)
    if index is None or not judged:
        return judged
    if index.fingerprint != bank.fingerprints["retrieval"]:
        raise IndexMismatch(
            f"{index.path} was built by {index.model_id!r}, not by this bank's model "
            f"{bank.recipe.retrieval!r}; give the index that the bank was built from."
        )
    if not len(index):
        raise ArchiveError(f"{index.path} holds no image; add some to the index.")
    texts = _texts(bank, device)
    # No more than half, or the best photos would be among the worst.
    k = max(1, min(bank.recipe.k, len(index) // 2))
    best, worst = index.search(texts, k), index.search(-texts, k)
    means = (texts @ torch.from_numpy(index.mean())).tolist()
    there = set(index.ids)
    found = []
    for i, one in enumerate(judged):
        own, others = _cosines(texts, i, _photos(bank[one.name].evidence, there), index)
        names = [name for name in bank.names if name != one.name]
        seen = quality.judge_retrieval(
            _scores(best[i]), -_scores(worst[i]), means[i], own, others, names
        )
        found.append(dataclasses.replace(one, retrieval=seen))
    return found


def _texts(bank: ConceptBank, device: str | None) -> Tensor:
    """(C, d) unit vectors in the space of the index."""
    if bank.fingerprints["retrieval"] == bank.fingerprints["dense"]:
        return bank.texts.float()
    model = registry.load_joint(bank.recipe.retrieval, device)
    words = {concept.name: concept.aliases for concept in bank.concepts}
    return embed_concepts(model, words, bank.recipe.templates).cpu().float()


def _photos(evidence: Evidence | None, there: set[str]) -> list[str]:
    """Retrieved photos that the index still has."""
    if evidence is None:
        return []
    return [s.image for s in evidence.seeds if s.score is not None and s.image in there]


def _cosines(
    texts: Tensor, i: int, photos: list[str], index: Index
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(n,) cosines of photos with words ``i`` and (C - 1, n) with all others."""
    if not photos:
        return np.zeros(0, np.float32), np.zeros((len(texts) - 1, 0), np.float32)
    cosines = texts.numpy() @ index.vectors(photos).T
    return cosines[i], np.delete(cosines, i, axis=0)


def _scores(hits: list[Hit]) -> NDArray[np.float64]:
    return np.array([hit.score for hit in hits])
