"""The paper's own numbers, as data; never mixed with what is measured here."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent / "data" / "published.json"


def rows(protocol: str) -> list[dict[str, Any]]:
    """Published rows of one protocol: system, setting, accuracy (or None) and mIoU in [0, 1]."""
    return [
        {**row, "published": True}
        for table in numbers()["tables"]
        if table["protocol"] == protocol
        for row in table["rows"]
    ]


@functools.cache
def numbers() -> Mapping[str, Any]:
    """All of them: ``tables``, ``ablation`` and their ``source``."""
    data: Mapping[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return data
