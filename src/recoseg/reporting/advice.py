"""Remedies for concepts of poor quality, in words and commands."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from recoseg.reporting.quality import Neighbour, Quality

_EXCLUDED = 3


@dataclass(frozen=True)
class Advice:
    """One finding and its remedy.

    Attributes:
        flag: the finding in a word or two.
        finding: what was seen.
        remedy: what to do.
        command: how to do it; empty if no single command does.
    """

    flag: str
    finding: str
    remedy: str
    command: str = ""


@dataclass(frozen=True)
class Files:
    """What the commands name: a bank, and an index or a word in its place."""

    bank: str
    index: str = "INDEX"

    def rebuild(self, name: str, *options: str) -> str:
        """The command that builds a concept anew."""
        words = ("recoseg", "concept", "rebuild", self.bank, name, "--index", self.index, *options)
        return shlex.join(words)


def advise(quality: Quality, files: Files) -> list[Advice]:
    """Findings and remedies of a concept, the gravest first."""
    found = []
    if quality.retrieval is not None and quality.retrieval.rare:
        found.append(_advise_rare(quality, quality.retrieval.standout, files))
    found += [_confusable(quality, other, files) for other in quality.confusable]
    if quality.discordant:
        found.append(_advise_discordant(quality, files))
    elif quality.odd:
        found.append(_advise_odd(quality, files))
    return found


def _advise_rare(quality: Quality, standout: float, files: Files) -> Advice:
    return Advice(
        "too rare",
        f"The best photos for it hardly stand out from the archive ({standout:.2f}, where about 1 "
        "is chance): too few show it, the model does not know its words, or it is in nearly all.",
        "Describe it by other words, add photos that show it to the archive, or hand some over.",
        files.rebuild(quality.name, "--examples", "PHOTOS/"),
    )


def _confusable(quality: Quality, other: Neighbour, files: Files) -> Advice:
    finding = (
        f"The reference of “{other.name}” is as near to it as its own seeds are "
        f"(cosine {other.reference:.2f})"
    )
    if other.synonymous:
        return Advice(
            f"like {other.name}",
            f"{finding}, and {other.shared} of its {quality.photos} photos served both.",
            "Make one concept of the two, with the words of both, or drop one.",
            shlex.join(("recoseg", "concept", "drop", files.bank, other.name)),
        )
    return Advice(
        f"like {other.name}",
        f"{finding}, though they were learnt from different photos: one of them shows something "
        "else, or they do look alike.",
        "Look at both sheets, leave out photos whose seed is on the wrong thing, and rebuild.",
    )


def _advise_discordant(quality: Quality, files: Files) -> Advice:
    return Advice(
        "seeds disagree",
        "Its seeds agree less than half as much as is usual in this bank "
        f"({quality.agreement or 0.0:.2f}): the photos show different things.",
        "Use narrower words, or leave out the photos that show something else and rebuild.",
        _leave_out(quality, files),
    )


def _advise_odd(quality: Quality, files: Files) -> Advice:
    count = len(quality.odd)
    photos, have = ("photo", "has") if count == 1 else ("photos", "have")
    return Advice(
        f"{count} odd {photos}",
        f"{count} {photos} {have} a seed that the others support less than half as much as usual.",
        "Look at what is marked below; leave out what shows something else, and rebuild.",
        _leave_out(quality, files),
    )


def _leave_out(quality: Quality, files: Files) -> str:
    photos = quality.odd[:_EXCLUDED] or ("PHOTO",)
    options = [word for photo in photos for word in ("--exclude", photo)]
    return files.rebuild(quality.name, *options)
