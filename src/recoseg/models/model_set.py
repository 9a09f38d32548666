"""Lazily loaded models of a recipe."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

import torch

from recoseg.errors import BankError
from recoseg.models import registry
from recoseg.models.base import JointModel, PatchEncoder
from recoseg.recipe import Recipe

T = TypeVar("T")
ROLES = ("retrieval", "dense", "encoder")


class Models:
    """Lazily loaded models of a recipe; two or all may be the same object.

    Each is given as a model or as a function that loads it. A segmenter never asks for the one
    that retrieves, so it never pays for it.
    """

    def __init__(
        self,
        retrieval: JointModel | Callable[[], JointModel],
        dense: JointModel | Callable[[], JointModel],
        encoder: PatchEncoder | Callable[[], PatchEncoder],
    ) -> None:
        self._retrieval, self._dense, self._encoder = retrieval, dense, encoder

    @classmethod
    def load(cls, recipe: Recipe, device: str | torch.device | None = None) -> Models:
        """The models that a recipe names; nothing is loaded yet.

        What is wrong with an id or its weights is raised when that model is first asked for.
        """
        return cls(
            lambda: registry.load_joint(recipe.retrieval, device),
            lambda: registry.load_joint(recipe.dense, device),
            lambda: registry.load_encoder(recipe.encoder, device),
        )

    @functools.cached_property
    def retrieval(self) -> JointModel:
        """Embeds the archive and the names."""
        return _resolve(self._retrieval)

    @functools.cached_property
    def dense(self) -> JointModel:
        """Scores pixels by language (DenseCLIP)."""
        return _resolve(self._dense)

    @functools.cached_property
    def encoder(self) -> PatchEncoder:
        """Gives the pixels that are co-segmented."""
        return _resolve(self._encoder)

    @property
    def fingerprints(self) -> dict[str, str]:
        """Role to the digest of that model's weights and preprocessing; loads all three."""
        return self.of(ROLES)

    def of(self, roles: Sequence[str]) -> dict[str, str]:
        """Fingerprints of some roles; loads those alone."""
        return {role: getattr(self, role).fingerprint for role in roles}

    def check(self, fingerprints: Mapping[str, str], roles: Sequence[str] = ROLES) -> None:
        """BankError unless the models of ``roles``, which it loads, have these fingerprints."""
        for role, digest in self.of(roles).items():
            if fingerprints.get(role, digest) != digest:
                raise BankError(
                    f"the {role} model at hand ({getattr(self, role).id}) is not the one the bank "
                    "was built with; use the same weights, or build the bank again."
                )


def _resolve(given: T | Callable[[], T]) -> T:
    # Models may be callable too, as torch's modules are; a loader has no fingerprint.
    return cast(T, given() if callable(given) and not hasattr(given, "fingerprint") else given)
