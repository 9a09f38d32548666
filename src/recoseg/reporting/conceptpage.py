"""HTML page of a bank: each concept's photos, quality and remedies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from recoseg.concepts.bank import ConceptBank
from recoseg.concepts.evidence import THUMBNAIL, Evidence, Seed
from recoseg.drawing import palette
from recoseg.errors import ArchiveError, ImageError
from recoseg.index.index import Index
from recoseg.io.images import RGB
from recoseg.io.squares import cut_square
from recoseg.reporting import pages
from recoseg.reporting.advice import Advice, Files, advise
from recoseg.reporting.quality import Quality


@dataclass(frozen=True)
class Tile:
    """One photo of a sheet: its address in the page, its caption, and whether it is odd."""

    picture: str
    name: str
    caption: str
    odd: bool


@dataclass(frozen=True)
class ConceptSection:
    """One concept of the page.

    Attributes:
        id: its anchor.
        quality: its numbers.
        advice: what to do.
        tiles: its photos; empty if there are none to show.
        notes: what was left out when it was built.
    """

    id: str
    quality: Quality
    advice: tuple[Advice, ...]
    tiles: tuple[Tile, ...]
    notes: tuple[str, ...]


def render_concept_page(
    bank: ConceptBank, judged: Sequence[Quality], files: Files, index: Index | None = None
) -> str:
    """The HTML page of a bank.

    Args:
        bank: the concepts.
        judged: what ``checkup.look_over`` said of them.
        files: what the commands in the page name.
        index: the archive, to show photos that the bank did not keep.
    """
    entries = [
        _entry(f"concept-{number}", one, bank[one.name].evidence, files, index)
        for number, one in enumerate(judged)
    ]
    values = {
        "entries": entries,
        "summary": _summary(entries),
        "archive": index,
        "files": files,
        "recipe": bank.recipe,
        "moved": _has_moved(bank, index),
    }
    return pages.render("concepts.html", f"{files.bank}: recoseg concepts", values)


def to_json(judged: Sequence[Quality], files: Files) -> list[dict[str, Any]]:
    """Plain JSON types of every concept's numbers and advice."""
    return [
        {**asdict(one), "advice": [asdict(advice) for advice in advise(one, files)]}
        for one in judged
    ]


def _entry(
    id: str, judged: Quality, evidence: Evidence | None, files: Files, index: Index | None
) -> ConceptSection:
    notes = evidence.notes if evidence is not None else ()
    tiles = _tiles(evidence, judged.odd, index)
    return ConceptSection(id, judged, tuple(advise(judged, files)), tiles, notes)


def _summary(entries: Sequence[ConceptSection]) -> str:
    count = len(entries)
    wanting = sum(bool(entry.advice) for entry in entries)
    things = "1 concept" if count == 1 else f"{count} concepts"
    if not wanting:
        return f"{things}; nothing to do."
    return f"{things}; {wanting} {'wants' if wanting == 1 else 'want'} a look."


def _has_moved(bank: ConceptBank, index: Index | None) -> bool:
    """Whether the index is no longer what some concept was retrieved from."""
    if index is None:
        return False
    kept = {c.evidence.archive for c in bank.concepts if c.evidence is not None}
    return bool(kept - {"", index.hash})


def _tiles(evidence: Evidence | None, odd: Sequence[str], index: Index | None) -> tuple[Tile, ...]:
    if evidence is None:
        return ()
    if evidence.pictures is not None:
        drawn: list[tuple[RGB | None, str]] = list(evidence.tiles())
    elif index is not None:
        drawn = [(_fetch(seed, index), seed.caption()) for seed in evidence.seeds]
    else:
        return ()
    rows = zip(evidence.seeds, drawn, strict=True)
    return tuple(
        Tile(pages.embed_image(picture), seed.image, caption, seed.image in odd)
        for seed, (picture, caption) in rows
        if picture is not None
    )


def _fetch(seed: Seed, index: Index) -> RGB | None:
    """A photo as the archive still has it, with its seed; None if it is gone."""
    try:
        square = cut_square(index.image(seed.image, at_least=THUMBNAIL), THUMBNAIL)
    except (ArchiveError, ImageError):
        return None
    return palette.draw_ring(square, seed.x, seed.y)
