"""Catalogue of models: ids, roles, sizes, licences, and local weights."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recoseg.errors import UnknownModel
from recoseg.models import ids, registry
from recoseg.models.weights import PublishedWeights

TABLE = Path(__file__).parent.parent / "data" / "models.json"
# The user asked for the network, so it may take its time to answer.
_PATIENCE = 15.0


@dataclass(frozen=True)
class ModelEntry:
    """One model of the table.

    Attributes:
        id: what ``registry.load`` takes.
        aliases: other names for it.
        roles: "retrieval", "dense", "encoder".
        parameters: millions of numbers; four bytes each in memory.
        licence: of the weights, in its owner's words.
        source: where that is stated.
        file: where its weights lie on this machine, None if they do not.
    """

    id: str
    aliases: tuple[str, ...]
    roles: tuple[str, ...]
    parameters: float
    licence: str
    source: str
    file: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "aliases": list(self.aliases), "roles": list(self.roles)}


def list_models() -> list[ModelEntry]:
    """Every model of the table, those of the presets first; no network is used."""
    rows = json.loads(TABLE.read_text(encoding="utf-8"))["models"]
    return [
        ModelEntry(
            id=row["id"],
            aliases=tuple(alias for alias, id in ids.ALIASES.items() if id == row["id"]),
            roles=tuple(row["roles"]),
            parameters=row["parameters"],
            licence=row["licence"],
            source=row["source"],
            file=_find_local(row["id"]),
        )
        for row in rows
    ]


def fetch(models: Iterable[str]) -> dict[str, Path]:
    """Download the weights of model ids; returns id to file.

    Raises:
        UnknownModel: an id has no published weights.
        MissingWeights: they cannot be had; the message says why.
    """
    found = {}
    for model in dict.fromkeys(models):
        published = publication(model)
        if published is None:
            continue
        found[model] = published.find(patience=_PATIENCE)
        for other in _texts(model):
            other.find(patience=_PATIENCE)
    return found


def _texts(model: str) -> list[PublishedWeights]:
    from recoseg.models import cliptable

    id = registry.identify(model)
    return cliptable.tokenizer_files(id) if id.scheme == "clip" else []


def publication(model: str) -> PublishedWeights | None:
    """Where an id's weights are published; None for ``lite``, which pip brings."""
    id = registry.identify(model)
    if id.scheme == "lite":
        return None
    if id.path is not None:
        raise UnknownModel(f"{model} names a file of yours; only published weights are fetched.")
    if id.scheme == "timm":
        from recoseg.models import patches

        return patches.publication(id)
    from recoseg.models import cliptable

    return cliptable.publication(id)


def _find_local(model: str) -> str | None:
    published = publication(model)
    if published is None:
        from recoseg.models import lite

        return str(lite.HEAD_FILE) if all(row[1] for row in lite.status()) else None
    cached = published.find_cached()
    return None if cached is None else str(cached)
