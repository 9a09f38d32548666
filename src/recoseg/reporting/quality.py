"""Label-free quality measures of concepts.

Cosines of one model mean little beside those of another, so nothing here is an absolute level of
similarity, but for two references of which nothing else is known.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from recoseg.concepts.concept import Concept
from recoseg.concepts.evidence import Evidence
from recoseg.similarity import unit

NEIGHBOURS = 3
# Measured on 131 nouns that had no part in choosing it, in 12,712 photos: 91 % of those with at
# most three photos fall below, and 4 % of those with forty or more.
STANDOUT = 1.7
ODD = 0.5
UNLIKE = 0.5
SHARED = 0.2
SAME = 0.9


@dataclass(frozen=True)
class Neighbour:
    """Neighbouring concept, and what the two share.

    Attributes:
        name: the other one.
        reference: cosine of the reference embeddings.
        text: cosine of the text vectors.
        shared: how many photos both were learnt from.
        confusable: whether the other's reference is as near as this one's own seeds are.
        synonymous: whether a fifth or more of the photos are shared, so that the words mean
            the same to this archive.
    """

    name: str
    reference: float
    text: float
    shared: int
    confusable: bool
    synonymous: bool


@dataclass(frozen=True)
class Retrieval:
    """Retrieval quality of a concept in an archive.

    Attributes:
        standout: see ``standout``.
        rare: whether too few photos show it, or the model does not know its words.
        margin: mean over its photos of its cosine minus the best other concept's; None alone.
        rivals: concepts that fit some of its photos better, with how many, most first.
    """

    standout: float
    rare: bool
    margin: float | None
    rivals: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Quality:
    """One concept, judged.

    Attributes:
        name: the concept.
        words: what describes it.
        photos: how many it was learnt from, examples included.
        examples: how many of them were handed over.
        score: mean cosine of the retrieved photos with the words; None if nothing was kept.
        drop: how far the last retrieved photo scores below the first.
        agreement: mean cosine between the seeds of different photos.
        support: median score of the seeds.
        odd: ids of photos whose seed has less than half of that.
        discordant: whether the seeds agree less than half as much as is usual in the bank.
        neighbours: the nearest other concepts, nearest first.
        retrieval: what an archive says; None without one.
    """

    name: str
    words: tuple[str, ...]
    photos: int
    examples: int
    score: float | None
    drop: float | None
    agreement: float | None
    support: float | None
    odd: tuple[str, ...]
    discordant: bool
    neighbours: tuple[Neighbour, ...]
    retrieval: Retrieval | None = None

    @property
    def confusable(self) -> tuple[Neighbour, ...]:
        """The neighbours that may be taken for it."""
        return tuple(one for one in self.neighbours if one.confusable)


def measure_standout(best: NDArray[np.floating], worst: NDArray[np.floating], mean: float) -> float:
    """How far the best photos rise above the archive, in units of how far the worst fall below.

    Where nothing shows a concept, its cosines scatter alike to both sides and this is about 1.
    Photos that show it raise one side alone.

    Args:
        best: (k,) the largest cosines of the archive with the words.
        worst: (k,) the smallest.
        mean: the mean over the archive.
    """
    above, below = float(np.mean(best)) - mean, mean - float(np.mean(worst))
    return above / below if below > 0 else 1.0


def judge_retrieval(
    best: NDArray[np.floating],
    worst: NDArray[np.floating],
    mean: float,
    own: NDArray[np.floating],
    others: NDArray[np.floating],
    names: Sequence[str],
) -> Retrieval:
    """Assess the retrieval of a concept in an archive.

    Args:
        best: as in ``standout``.
        worst: as in ``standout``.
        mean: as in ``standout``.
        own: (n,) cosines of the concept's retrieved photos with its words.
        others: (C, n) cosines of the same photos with every other concept's words.
        names: the C other concepts.
    """
    ratio = measure_standout(best, worst, mean)
    if not len(names) or not len(own):
        return Retrieval(ratio, ratio < STANDOUT, None, ())
    lead = own - others.max(axis=0)
    winners = others.argmax(axis=0)[lead < 0]
    counts = np.bincount(winners, minlength=len(names))
    order = [i for i in np.argsort(-counts, kind="stable") if counts[i]]
    rivals = tuple((names[i], int(counts[i])) for i in order[:NEIGHBOURS])
    return Retrieval(ratio, ratio < STANDOUT, float(lead.mean()), rivals)


def seed_likeness(agreement: float | None) -> float:
    """The cosine with its reference that a concept's own seeds have on average.

    The reference is the mean of seeds whose pairwise cosines average ``agreement``; a seed's
    cosine with it is then the square root. Another reference this near is as good a seed.
    """
    return SAME if agreement is None else math.sqrt(max(0.0, agreement))


def find_odd_photos(evidence: Evidence) -> tuple[str, ...]:
    """Ids of photos whose seed has less than half of the median support."""
    if not evidence.seeds:
        return ()
    usual = statistics.median(seed.support for seed in evidence.seeds)
    return tuple(seed.image for seed in evidence.seeds if seed.support < ODD * usual)


def judge_concepts(concepts: Sequence[Concept]) -> list[Quality]:
    """Assess the concepts of a bank, without an archive."""
    if not concepts:
        return []
    agreements = [c.evidence.agreement for c in concepts if c.evidence is not None]
    usual = statistics.median(agreements) if agreements else 0.0
    references = unit(torch.stack([concept.reference for concept in concepts]))
    texts = unit(torch.stack([concept.text for concept in concepts]))
    near, words = (references @ references.T).tolist(), (texts @ texts.T).tolist()
    return [
        _judge(concept, usual, _neighbours(i, concepts, near[i], words[i]))
        for i, concept in enumerate(concepts)
    ]


def _judge(concept: Concept, usual: float, neighbours: tuple[Neighbour, ...]) -> Quality:
    evidence = concept.evidence
    seeds = evidence.seeds if evidence is not None else ()
    scores = [seed.score for seed in seeds if seed.score is not None]
    agreement = evidence.agreement if evidence is not None else None
    return Quality(
        name=concept.name,
        words=concept.aliases,
        photos=len(seeds),
        examples=evidence.examples if evidence is not None else 0,
        score=statistics.fmean(scores) if scores else None,
        drop=max(scores) - min(scores) if scores else None,
        agreement=agreement,
        support=statistics.median(seed.support for seed in seeds) if seeds else None,
        odd=find_odd_photos(evidence) if evidence is not None else (),
        discordant=agreement is not None and agreement < UNLIKE * usual,
        neighbours=neighbours,
    )


def _neighbours(
    place: int, concepts: Sequence[Concept], near: Sequence[float], words: Sequence[float]
) -> tuple[Neighbour, ...]:
    """The nearest others of concept ``place``, from its C cosines with all by either vector."""
    concept = concepts[place]
    limit = seed_likeness(concept.evidence.agreement if concept.evidence is not None else None)
    others = [i for i in range(len(concepts)) if i != place]
    nearest = sorted(others, key=lambda i: (-near[i], concepts[i].name))[:NEIGHBOURS]
    mine = _photos(concept)
    found = []
    for i in nearest:
        shared = len(mine & _photos(concepts[i]))
        same = shared > 0 and shared >= SHARED * len(mine)
        found.append(Neighbour(concepts[i].name, near[i], words[i], shared, near[i] >= limit, same))
    return tuple(found)


def _photos(concept: Concept) -> frozenset[str]:
    evidence = concept.evidence
    if evidence is None:
        return frozenset()
    return frozenset(seed.image for seed in evidence.seeds if seed.score is not None)
