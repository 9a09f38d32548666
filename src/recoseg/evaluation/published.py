"""Published numbers of the paper, kept apart from measured ones."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parents[1] / "data" / "published.json"


def rows(protocol: str) -> list[dict[str, Any]]:
    """Published rows of one protocol.

    Returns:
        System, group, accuracy (or None) and mIoU in [0, 1], and footnote of each.
    """
    return [
        {
            "system": row["system"],
            "group": row["group"],
            "accuracy": None if row["accuracy"] is None else row["accuracy"] / 100,
            "miou": row["miou"] / 100,
            "footnote": row.get("footnote", ""),
        }
        for row in numbers().get(protocol, ())
    ]


def ablation(switches: Mapping[str, bool]) -> list[dict[str, Any]]:
    """The paper's figures of one combination of components, in [0, 1].

    Args:
        switches: ``cosegmentation``, ``denseclip``, ``lgc``, ``ce`` and ``crf``.

    Returns:
        Protocol, accuracy (None where no source gives it), mIoU and footnote of each row that has
        these switches; none, or two where two sources of the paper differ.
    """
    table = numbers()["ablation"]
    return [
        {
            "protocol": table["protocol"],
            "accuracy": None if row["accuracy"] is None else row["accuracy"] / 100,
            "miou": row["miou"] / 100,
            "footnote": row.get("footnote", ""),
        }
        for row in table["rows"]
        if all(row[name] == on for name, on in switches.items())
    ]


@functools.cache
def numbers() -> Mapping[str, Any]:
    """All of them as they were printed, per cent: rows by protocol, ``ablation``, ``source``."""
    data: Mapping[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return data
