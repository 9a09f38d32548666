"""Which words a photo shows, from its tags or its captions, and more general names for them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

STOP = frozenset(Path(__file__).with_name("stopwords.txt").read_text(encoding="utf-8").split())
GROUPS = Path(__file__).with_name("word_groups.txt")
Texts = Mapping[str, list[set[str]]]


def read_tags(file: Path) -> dict[str, list[set[str]]]:
    """Photo to the set of its tags, in a list of one (name TAB tag,tag)."""
    return {name: [{tag.strip() for tag in tags.split(",")}] for name, tags in _rows(file)}


def read_captions(file: Path) -> dict[str, list[set[str]]]:
    """Photo to the set of content words of each of its captions (name TAB caption)."""
    captions: dict[str, list[set[str]]] = defaultdict(list)
    for name, caption in _rows(file):
        captions[name].append(_content(caption.lower()))
    return dict(captions)


def shown(texts: Texts, agree: int, minimum: int) -> dict[str, list[str]]:
    """Word to the photos of which at least ``agree`` texts use it, if those are ``minimum``."""
    photos: dict[str, list[str]] = defaultdict(list)
    for name, sets in texts.items():
        counts = Counter(word for words in sets for word in sorted(words))
        for word, count in counts.items():
            if count >= agree:
                photos[word].append(name)
    return {word: names for word, names in photos.items() if len(names) >= minimum}


def shown_groups(
    texts: Texts, groups: Mapping[tuple[str, ...], str], agree: int, minimum: int
) -> dict[tuple[str, ...], list[str]]:
    """A group's names to the photos of which at least ``agree`` texts use one of its words."""
    found = {}
    for names, listed in groups.items():
        members = set(listed.split())
        photos = [
            name for name, sets in texts.items() if sum(bool(s & members) for s in sets) >= agree
        ]
        if len(photos) >= minimum:
            found[names] = photos
    return found


def read_groups(file: Path = GROUPS) -> dict[tuple[str, ...], str]:
    """``name, synonym: members`` lines as names to members; empty lines and # are left out."""
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    rows = (line.partition(":") for line in lines if line and not line.startswith("#"))
    return {_split(names): members.strip() for names, _, members in rows}


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _content(text: str) -> set[str]:
    return {word for word in re.findall(r"[a-z]+", text) if len(word) > 2 and word not in STOP}


def _rows(file: Path) -> Iterable[tuple[str, str]]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [(name, rest) for name, _, rest in (line.partition("\t") for line in lines) if rest]
