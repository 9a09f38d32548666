"""The three models of a recipe, loaded together and told apart by their fingerprints."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from recoseg.models import registry
from recoseg.models.base import JointModel, PatchEncoder
from recoseg.recipe import Recipe


@dataclass(frozen=True)
class Models:
    """What a recipe's three ids stand for; two or all may be the same object.

    Attributes:
        retrieval: embeds the archive and the names.
        dense: scores pixels by language (DenseCLIP).
        encoder: gives the pixels that are co-segmented.
    """

    retrieval: JointModel
    dense: JointModel
    encoder: PatchEncoder

    @classmethod
    def load(cls, recipe: Recipe, device: str | torch.device | None = None) -> Models:
        """Load the models that a recipe names.

        Raises:
            UnknownModel: an id has no backend.
            MissingWeights: a backend's weights are absent or damaged.
        """
        return cls(
            registry.load_joint(recipe.retrieval, device),
            registry.load_joint(recipe.dense, device),
            registry.load_encoder(recipe.encoder, device),
        )

    @property
    def fingerprints(self) -> dict[str, str]:
        """Role to the digest of that model's weights and preprocessing."""
        return {
            "retrieval": self.retrieval.fingerprint,
            "dense": self.dense.fingerprint,
            "encoder": self.encoder.fingerprint,
        }
