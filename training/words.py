"""Which words a photo shows, from its tags or its captions."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

STOP = frozenset(Path(__file__).with_name("stopwords.txt").read_text(encoding="utf-8").split())


def of_tags(file: Path, minimum: int = 5) -> dict[str, list[str]]:
    """Word to photo names, for words with at least ``minimum`` photos (name TAB tag,tag)."""
    photos: dict[str, list[str]] = defaultdict(list)
    for name, tags in _rows(file):
        for tag in dict.fromkeys(tag.strip() for tag in tags.split(",")):
            photos[tag].append(name)
    return _frequent(photos, minimum)


def of_captions(file: Path, minimum: int = 15, agree: int = 2) -> dict[str, list[str]]:
    """Content words that at least ``agree`` captions of a photo use (name TAB caption)."""
    captions: dict[str, list[str]] = defaultdict(list)
    for name, caption in _rows(file):
        captions[name].append(caption.lower())
    photos: dict[str, list[str]] = defaultdict(list)
    for name, texts in captions.items():
        counts = Counter(word for text in texts for word in sorted(_content(text)))
        for word, count in counts.items():
            if count >= agree:
                photos[word].append(name)
    return _frequent(photos, minimum)


def _content(text: str) -> set[str]:
    return {word for word in re.findall(r"[a-z]+", text) if len(word) > 2 and word not in STOP}


def _rows(file: Path) -> list[tuple[str, str]]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [(name, rest) for name, _, rest in (line.partition("\t") for line in lines) if rest]


def _frequent(photos: dict[str, list[str]], minimum: int) -> dict[str, list[str]]:
    return {word: names for word, names in photos.items() if len(names) >= minimum}
