"""Tables of ``docs/scale.md``, from ``results/scale.json``: ``python benchmarks/scale_page.py``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "scale.json"
PAGE = ROOT / "docs" / "scale.md"
DIGITS = 3
# Stages whose memory was measured in a process of its own.
ALONE = ("update with nothing changed", "search of one query")
PLANNED = (
    ("photos, at the size assumed", "photo_bytes", "bytes"),
    ("index", "index_bytes", "bytes"),
    ("indexing on processors", "indexing_core_hours", "core-hours"),
    ("nodes for that in the time given", "indexing_nodes", ""),
    ("indexing with a GPU a node", "indexing_gpu_hours", "GPU-hours"),
    ("nodes for that in the time given", "indexing_gpu_nodes", ""),
    ("hours of them that the network needs", "indexing_gpu_network_hours", "hours"),
    ("update with nothing changed", "update_core_hours", "core-hours"),
    ("memory of an update, one index", "update_memory_bytes", "bytes"),
    ("opening, one index", "opening_seconds", "seconds"),
    ("one query, exactly", "query_core_seconds", "core-seconds"),
    ("the same, if rows come from one disk", "query_disk_seconds", "seconds"),
    ("500 prompts, exactly", "prompts_core_hours", "core-hours"),
    ("nodes for that in an hour", "prompts_nodes_for_an_hour", ""),
    ("segmenting every photo", "segmenting_core_hours", "core-hours"),
    ("nodes for that in the time given", "segmenting_nodes", ""),
)


def number(value: float) -> str:
    """Three digits that count, with commas between thousands."""
    if value == 0:
        return "0"
    return f"{float(f'{value:.{DIGITS}g}'):,.10f}".rstrip("0").rstrip(".")


def size(value: float) -> str:
    """Bytes in a unit of thousands."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000:
            return f"{number(value)} {unit}"
        value /= 1000
    return f"{number(value)} PB"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables(data: dict[str, Any]) -> dict[str, str]:
    """Name to Markdown of every table of the page."""
    return {
        "costs": _costs(data),
        "files": _files(data["files"]),
        "mended": _table_mended(data["mended"]),
        "assumed": _table_assumed(data["assumed"]),
        "plan": _plan(data["plan"]),
    }


def _costs(data: dict[str, Any]) -> str:
    heads = ("stage", "measured at", "core-seconds", "bytes", "network", "slope", "memory")
    rows = [
        (
            stage,
            number(cost["measured_at"]),
            number(cost["core_seconds"]),
            size(cost["bytes"]) if cost["bytes"] else "",
            size(cost["network"]) if cost["network"] else "",
            f"{cost['slope']:.2f}",
            f"{cost['peak_mib']:.0f} MiB" if stage in ALONE else "",
        )
        for stage, cost in data["per_million"].items()
        if not any(stage in sides for sides in _sides())
    ]
    return table(heads, rows)


def _sides() -> list[tuple[str, str]]:
    from scale_plan import MENDED

    return list(MENDED.values())


def _files(files: Sequence[dict[str, int]]) -> str:
    rows = [
        (
            number(held["rows"]),
            size(held["manifest"]),
            number(held["ledger"] / held["rows"]),
            number(held["shards"] / held["rows"]),
        )
        for held in files
    ]
    return table(("photos", "manifest", "ledger, bytes a photo", "rows, bytes a photo"), rows)


def _table_mended(found: Sequence[dict[str, Any]]) -> str:
    rows = [
        (
            row["what"],
            number(row["size"]),
            number(row["before"]),
            number(row["after"]),
            number(row["times"]),
        )
        for row in found
    ]
    heads = ("what", "photos", "core-seconds before", "now", "times less")
    return table(heads, rows)


def _table_assumed(assumed: dict[str, float]) -> str:
    words = {
        "cores": ("cores of a node, as fast as the one measured", number),
        "network": ("network of a node, a second", size),
        "disk": ("disk of a node, a second", size),
        "photo": ("a photo", size),
        "gpu": ("photos a GPU embeds in a second", number),
        "hours": ("hours given", number),
    }
    rows = [(f"`{name}`", said, shown(assumed[name])) for name, (said, shown) in words.items()]
    return table(("name", "what", "assumed"), rows)


def _plan(planned: Sequence[dict[str, Any]]) -> str:
    rows = []
    for said, name, unit in PLANNED:
        values = [row[name] for row in planned]
        shown = [size(v) if unit == "bytes" else f"{number(v)} {unit}".strip() for v in values]
        rows.append((said, *shown))
    return table(("", *(f"{number(row['photos'])} photos" for row in planned)), rows)


def fill_tables(text: str, data: dict[str, Any]) -> str:
    """The page with its tables written anew, each between its two marks."""
    for name, made in tables(data).items():
        pattern = rf"(<!-- table: {name} -->\n\n).*?(\n\n<!-- end -->)"
        text, count = re.subn(pattern, lambda m, t=made: m[1] + t + m[2], text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"docs/scale.md has {count} places for the table {name!r}")
    return text


def fill(data: dict[str, Any]) -> None:
    PAGE.write_text(fill_tables(PAGE.read_text(encoding="utf-8"), data), encoding="utf-8")


if __name__ == "__main__":
    fill(json.loads(RESULTS.read_text(encoding="utf-8")))
