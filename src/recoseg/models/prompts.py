"""Prompt templates and text embeddings of concepts (paper sec. 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from recoseg.errors import InputError
from recoseg.models.base import JointModel
from recoseg.similarity import unit

LITE = ("{}", "a photo of {}", "a photo of a {}", "there is a {} in the scene")
SCENE = (
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)
# With "an" before vowels and without the full stop.
INFLECTED = tuple(form.replace(" a ", " {article} ").rstrip(".") for form in SCENE)


def templates(name: str) -> tuple[str, ...]:
    """Prompt forms with one ``{}`` each, by the name of their list.

    ``"plain"`` is the bare name. ``"paper"`` is the 80 ImageNet templates of open_clip and the five
    scene forms that the paper's release adds, word for word: with "a" before vowels, too.
    ``"inflected"`` has the same forms with "an" before vowels. ``"lite"`` is four forms.
    """
    if name == "lite":
        return LITE
    if name == "plain":
        return ("{}",)
    if name == "paper":
        return (*_imagenet(), *SCENE)
    if name == "inflected":
        return (*_imagenet(), *INFLECTED)
    raise InputError(f"no prompt templates {name!r}; choose lite, plain, paper or inflected.")


def embed_concepts(
    joint: JointModel, concepts: Mapping[str, Sequence[str]], ensemble: str = "paper"
) -> Tensor:
    """One unit vector per concept.

    Each prompt's embedding is a unit vector; they are averaged over templates and aliases and
    normalised again.

    Args:
        joint: the model whose text space to use.
        concepts: name to the words that describe it, one or more (aliases).
        ensemble: what ``templates`` takes.

    Returns:
        (C, d) in the order of ``concepts``.
    """
    forms = templates(ensemble)
    rows = []
    for name, words in concepts.items():
        if isinstance(words, str) or not words or not all(word.strip() for word in words):
            raise InputError(f"concept {name!r} needs a list of words that describe it.")
        prompts = [_fill(form, word.strip()) for word in words for form in forms]
        rows.append(unit(joint.embed_texts(prompts).mean(dim=0)))
    if not rows:
        raise InputError("no concept was named; give at least one.")
    return torch.stack(rows)


def _fill(form: str, word: str) -> str:
    article = "an" if word[:1].lower() in "aeiou" else "a"
    return form.replace("{article}", article).replace("{}", word)


def _imagenet() -> tuple[str, ...]:
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return tuple(form("{}") for form in OPENAI_IMAGENET_TEMPLATES)
