"""Train the head of ``lite``: ``python -m training.lite_head DATA OUT [--hold-out PHOTOS]``.

DATA holds the folders named in ``photos.FOLDERS``; OUT is the safetensors file to write. What is
random has a fixed seed, and all runs on one thread: two runs give the same bytes. With
``--hold-out`` some captioned photos teach nothing, neither words nor captions, and are named beside
OUT in ``.held.txt``: ``benchmarks/captions.py`` measures search on them. Steps:

1. Dense features of every photo (short side 320, centre crop), cached beside OUT as fp16.
2. One visual direction per word and per group of words (``word_groups.txt``): shrinkage LDA of its
   photos, first on pooled features, then twice on pixels: each photo's pixels are shared among its
   words by how well they fit them (expectation), and the directions are solved again from what each
   word got (maximisation). Groups overlap, so each looks for its pixels alone.
3. The 1000 rows of the ImageNet classifier with their names, and their means over the groups of
   ``imagenet_groups.txt``.
4. A Gaussian process from sentence embeddings to those directions (``regression.py``).
5. A linear map from pooled features to the captions' directions (``captions.py``).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from threadpoolctl import threadpool_limits
from torch import Tensor

from training import captions, classifier, regression, words
from training.photos import Matrix, Photos, Rows, encode, normalise

CAPTIONED, TAGGED = "flickr8k_train", "corel5k_train"
SHRINKAGE = 0.8
SHARPNESS = 20.0
CLASS_WEIGHT = 2.0
SAMPLE = 1500
# How many of a photo's texts must agree, and how many photos a word and a group need.
CAPTIONS, TAGS = (2, 15, 6), (1, 5, 3)
Names = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Labelled:
    """One captioned or tagged folder.

    Attributes:
        rows: the folder's rows among all photos.
        words: a word to the rows that show it.
        groups: the names of a group of words to the rows that show any of them.
    """

    rows: Rows
    words: Mapping[Names, Rows]
    groups: Mapping[Names, Rows]


def main(data: Path, out: Path, hold_out: int = 0) -> None:
    # Sums and convolutions round otherwise with another number of threads.
    torch.set_num_threads(1)
    with threadpool_limits(1):
        train(data, out, hold_out)


def train(data: Path, out: Path, hold_out: int) -> None:
    """What ``main`` does, on as many threads as are set."""
    photos = encode(data, out.with_suffix(".cache.npy"))
    texts = words.read_captions(data / CAPTIONED / "captions.tsv")
    held = np.random.default_rng(0).permutation(sorted(texts))[:hold_out].tolist()
    if held:
        out.with_suffix(".held.txt").write_text("".join(f"{name}\n" for name in sorted(held)))
    at = {name: row for name, row in photos.of(CAPTIONED).items() if name not in set(held)}
    texts = {name: sets for name, sets in texts.items() if name in at}
    tags = words.read_tags(data / TAGGED / "tags.tsv")
    parts = labelled(at, texts, *CAPTIONS), labelled(photos.of(TAGGED), tags, *TAGS)
    head = {**of_texts(photos, parts), "visual_mean": photos.mean}
    head.update(of_images(photos, data / CAPTIONED / "captions.tsv", at, head))
    stored = {name: t.float() if t.ndim == 1 else t.half() for name, t in head.items()}
    # More than one entry here would be written in an order that differs from run to run.
    save_file(stored, out, {"format": "recoseg-lite-head/2"})
    print(f"wrote {out} ({len(head['anchors'])} names, {out.stat().st_size} bytes)")


def of_texts(photos: Photos, parts: Sequence[Labelled]) -> dict[str, Tensor]:
    """The head's text side from the classifier and from what photos show."""
    names, directions, weights = learnt_from_classifier()
    for part in parts:
        print(f"{len(part.words)} words of {len(part.rows)} photos", flush=True)
        # A word and a group may share a name.
        shown = [*part.words.items(), *part.groups.items()]
        found = word_directions(photos, part)
        for (synonyms, rows), direction in zip(shown, found, strict=True):
            names += synonyms
            directions += [direction] * len(synonyms)
            weights += [np.log1p(len(rows))] * len(synonyms)
    merged, means, totals = regression.merge(names, np.stack(directions), np.array(weights))
    return regression.fit(regression.embed(merged), means, totals)


def of_images(
    photos: Photos, file: Path, at: Mapping[str, int], head: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The head's image side from the captions of the photos in ``at``, name to row."""
    direct = regression.text_side(head)
    vectors, owners = captions.embed(file, at, direct)
    held = set(photos.of(CAPTIONED).values()) - set(at.values())
    material = captions.Material(
        torch.from_numpy(photos.pooled(np.arange(len(photos.keys)))).float(),
        vectors,
        owners,
        direct(head["anchors"].float()),
        torch.tensor([row for row in range(len(photos.keys)) if row not in held]),
    )
    return captions.fit(material)


def learnt_from_classifier() -> tuple[list[str], list[Matrix], list[float]]:
    """Names, directions and weights of ImageNet's classes and of their groups."""
    class_names, rows = classifier.classes()
    group_names, means = classifier.groups(rows)
    names = class_names + group_names
    return names, [*rows, *means], [CLASS_WEIGHT] * len(names)


def labelled(
    at: Mapping[str, int], texts: words.Texts, agree: int, minimum: int, of_group: int
) -> Labelled:
    """What the photos of a folder, name to row, show."""

    def rows(names: list[str]) -> Rows:
        return np.array(sorted(at[name] for name in names))

    single = words.shown(texts, agree, minimum)
    groups = words.shown_groups(texts, words.read_groups(), agree, of_group)
    return Labelled(
        np.array(sorted(at.values())),
        {(word,): rows(names) for word, names in single.items()},
        {synonyms: rows(names) for synonyms, names in groups.items()},
    )


def word_directions(photos: Photos, part: Labelled) -> Matrix:
    """One unit direction per word, then per group (words + groups, 1280).

    From pooled features, then from pixels twice.
    """
    pooled = photos.pooled(part.rows)
    at = {row: i for i, row in enumerate(part.rows)}
    shown = [*part.words.values(), *part.groups.values()]
    means = np.stack([pooled[[at[r] for r in rows]].mean(axis=0) for rows in shown])
    first = solve(means, pooled)
    size = min(SAMPLE, len(part.rows))
    chosen = np.sort(np.random.default_rng(0).choice(part.rows, size, replace=False))
    background = photos.pixels(chosen)[:, ::2].reshape(-1, 1280).double().numpy()
    second = solve(attend(photos, part, first), background)
    third = solve(attend(photos, part, second), background)
    return normalise(second + third)


def solve(means: Matrix, samples: Matrix) -> Matrix:
    """Shrinkage LDA: (1 - s) Cov + s (trace / d) I, solved for every word's mean offset."""
    centre = samples.mean(axis=0)
    covariance = np.cov(samples.T)
    ridge = np.trace(covariance) / len(centre) * np.eye(len(centre))
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * ridge
    return normalise(np.linalg.solve(shrunk, (means - centre).T).T)


def attend(photos: Photos, part: Labelled, directions: Matrix) -> Matrix:
    """Mean pixel (words + groups, 1280) of each word and group under its own attention."""
    count = len(part.words)
    of_words = share(photos, list(part.words.values()), directions[:count], exclusive=True)
    of_groups = share(photos, list(part.groups.values()), directions[count:], exclusive=False)
    return np.concatenate([of_words, of_groups])


def share(photos: Photos, shown: list[Rows], directions: Matrix, exclusive: bool) -> Matrix:
    """Mean pixel (words, 1280) of each word: pixels that fit it, more than they fit the others.

    In each photo a word's attention is a softmax over pixels, normalised to one; if words exclude
    each other, first times the pixel's softmax over the photo's words. Every photo of a word counts
    the same.
    """
    present: dict[int, list[int]] = {}
    for word, rows in enumerate(shown):
        for row in rows:
            present.setdefault(int(row), []).append(word)
    vectors = torch.from_numpy(np.ascontiguousarray(directions)).float()
    total = torch.zeros(len(shown), 1280, dtype=torch.float64)
    for row, chosen in sorted(present.items()):
        pixels = photos.pixels(np.array([row]))[0]
        fit = SHARPNESS * pixels @ vectors[chosen].T
        attention = fit.softmax(dim=0)
        if exclusive:
            attention = attention * fit.softmax(dim=1)
            attention = attention / attention.sum(dim=0).clamp_min(1e-9)
        total[chosen] += (attention.T @ pixels).double()
    counts = np.array([len(rows) for rows in shown])
    return total.numpy() / counts[:, None]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--hold-out", type=int, default=0, metavar="PHOTOS")
    args = parser.parse_args()
    main(args.data, args.out, args.hold_out)
