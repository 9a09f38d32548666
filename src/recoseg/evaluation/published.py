"""The paper's own numbers, as data; never mixed with what is measured here."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parents[1] / "data" / "published.json"


def rows(protocol: str) -> list[dict[str, Any]]:
    """Published rows of one protocol: system, group, accuracy (or None) and mIoU in [0, 1]."""
    return [
        {
            "system": row["system"],
            "group": row["group"],
            "accuracy": None if row["accuracy"] is None else row["accuracy"] / 100,
            "miou": row["miou"] / 100,
        }
        for row in numbers().get(protocol, ())
    ]


@functools.cache
def numbers() -> Mapping[str, Any]:
    """All of them as they were printed, per cent: rows by protocol, ``ablation``, ``source``."""
    data: Mapping[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return data
