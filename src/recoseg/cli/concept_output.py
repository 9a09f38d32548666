"""Output of the verbs of ``recoseg concept``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoseg.cli.output import check_output_file, say, show

if TYPE_CHECKING:
    from recoseg import Concept, ConceptBank, Index


def advise(archive: Index | None, k: int) -> None:
    """Note on stderr what is missing for learning a bank well."""
    if archive is None:
        say("note: without --index common context is not eliminated.")
    # With so few photos every concept would be learnt from nearly all of them, whatever they show.
    elif len(archive) < 3 * k:
        say(
            f"note: each concept is learnt from {min(k, len(archive))} of {len(archive)} photos; "
            "if fewer show it, give a smaller -k, or index more photos."
        )


def save(bank: ConceptBank, path: Path, as_json: bool, pictures: bool = True) -> None:
    """Write the bank, with or without the pictures of its evidence, and print its concepts."""
    bank.save(path, evidence="full" if pictures else "compact")
    show_concepts(bank, as_json)


def change(
    bank: Path,
    edit: Callable[[ConceptBank], ConceptBank],
    out: Path | None,
    as_json: bool,
    pictures: bool = True,
    no_wait: bool = False,
) -> None:
    """Write what ``edit`` makes of a bank in its place, or to ``out``, one writer at a time.

    Raises:
        Locked: another program is changing it, and is not to be waited for.
    """
    from recoseg import ConceptBank
    from recoseg.concepts import bankfile

    target = check_output_file(out or bank)
    with bankfile.exclusive(target, None if no_wait else say):
        save(edit(ConceptBank.open(bank)), target, as_json, pictures)


def show_concepts(bank: ConceptBank, as_json: bool) -> None:
    """Print the bank's concepts."""
    shown = [to_json(bank[name]) for name in bank.names]
    rows = [
        (
            concept["name"],
            ", ".join(concept["words"]),
            concept["images"],
            "" if concept["agreement"] is None else concept["agreement"],
            "" if concept["threshold"] is None else f"{concept['threshold']:.4f}",
        )
        for concept in shown
    ]
    brief = [{key: concept[key] for key in concept if key != "evidence"} for concept in shown]
    show(brief, ("concept", "words", "photos", "agreement", "threshold"), rows, as_json=as_json)


def to_json(concept: Concept) -> dict[str, Any]:
    """A concept in plain JSON types."""
    evidence = concept.evidence
    return {
        "name": concept.name,
        "words": list(concept.aliases),
        "threshold": concept.threshold,
        "levels": concept.thresholds,
        "images": 0 if evidence is None else len(evidence.seeds),
        "agreement": None if evidence is None else evidence.agreement,
        "evidence": None if evidence is None else evidence.to_dict(),
    }
