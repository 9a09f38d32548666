"""Arithmetic of ``docs/scale.md``: from measured costs to nodes, hours and bytes at other sizes.

    python benchmarks/scale_plan.py benchmarks/results/scale.json [--set cores=32 gpu=800 ...]

prints the plan with other assumptions. Nothing is measured here.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SIZES = (10**7, 10**8, 5 * 10**9)
# What a reader knows better: a node's cores and its network, photos' size, a GPU, and the patience.
ASSUMED: dict[str, float] = {
    "cores": 16,
    "network": 1.25e9,
    "disk": 2e9,
    "photo": 100_000,
    "gpu": 500,
    "hours": 24,
}
MENDED = {
    "ledger's check": ("ledger's check, row by row", "ledger's check, by its file"),
    "rows of images": ("rows of images, grouped", "rows of images, counted"),
    "known files": ("known files, one by one", "known files, by pages"),
}
# Stages whose bytes cross the network, and those that read photos besides.
CROSSING = (
    "listing tars",
    "decoding",
    "writing shards and ledger",
    "segmenting",
    "labels for adapt",
)
READING = ("segmenting", "labels for adapt")
INDEXING = ("listing tars", "decoding", "embedding", "writing shards and ledger")
NEEDED = {
    *INDEXING,
    "update with nothing changed",
    "opening",
    "search of one query",
    "search of 500 prompts",
    "segmenting",
}


def slope(points: Mapping[int, float]) -> float:
    """Exponent of the power of the size that costs follow, by least squares of their logarithms."""
    x, y = [math.log(n) for n in points], [math.log(max(c, 1e-9)) for c in points.values()]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum(
        (a - mx) ** 2 for a in x
    )


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Per stage: costs per million, by the largest size that was measured, and the slope.

    ``network`` is what crosses it where photos and indexes lie on a store of their own.
    """
    found = {}
    for stage in dict.fromkeys(row["stage"] for row in rows):
        here = sorted((r for r in rows if r["stage"] == stage), key=lambda r: r["size"])
        last = here[-1]
        found[stage] = {
            "core_seconds": round(last["processor_seconds"] * 1e6 / last["size"], 3),
            "bytes": round(last["bytes"] * 1e6 / last["size"]),
            "slope": round(slope({r["size"]: r["processor_seconds"] for r in here}), 2),
            "peak_mib": last["peak_mib"],
            "measured_at": last["size"],
        }
    photos = found["decoding"]["bytes"]
    for stage in found:
        crossing = found[stage]["bytes"] if stage in CROSSING else 0
        found[stage]["network"] = crossing + (photos if stage in READING else 0)
    return found


def derive(rows: list[dict[str, Any]], files: list[dict[str, int]]) -> dict[str, Any]:
    """All of a result that follows from what was measured."""
    costs, last = summary(rows), files[-1]
    stored = round((last["ledger"] + last["shards"] + last["manifest"]) / last["rows"], 1)
    return {
        "per_million": costs,
        "mended": list_mended(rows),
        "stored": stored,
        "assumed": ASSUMED,
        "plan": plan(costs, stored),
    }


def list_mended(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Both sides, measured in one process, of what was mended."""
    found = []
    spent = {(row["stage"], row["size"]): row["processor_seconds"] for row in rows}
    for name, (before, after) in MENDED.items():
        for size in sorted({row["size"] for row in rows if row["stage"] == before}):
            was, now = spent[before, size], spent[after, size]
            ratio = round(was / max(now, 1e-4), 1)
            found.append({"what": name, "size": size, "before": was, "after": now, "times": ratio})
    return found


def plan(
    costs: Mapping[str, Mapping[str, float]], stored: float, assumed: Mapping[str, float] = ASSUMED
) -> list[dict[str, Any]]:
    """One row for each size.

    Args:
        costs: per million photos, by stage, from ``summary``.
        stored: bytes of an index per photo.
        assumed: as ``ASSUMED``.
    """
    return [_plan(costs, stored, photos, assumed) for photos in SIZES]


def _plan(
    costs: Mapping[str, Mapping[str, float]], stored: float, photos: int, assumed: Any
) -> dict[str, Any]:
    def hours(*stages: str) -> float:
        return sum(costs[stage]["core_seconds"] for stage in stages) * photos / 1e6 / 3600

    def nodes(core_hours: float) -> int:
        return max(1, math.ceil(core_hours / assumed["cores"] / assumed["hours"]))

    cpu, fed = hours(*INDEXING), hours(*(stage for stage in INDEXING if stage != "embedding"))
    gpu = photos / assumed["gpu"] / 3600
    many = max(nodes(fed), math.ceil(gpu / assumed["hours"]))
    batch = hours("search of 500 prompts")
    scanned = photos * costs["search of one query"]["bytes"] / 1e6
    return {
        "photos": photos,
        "photo_bytes": photos * assumed["photo"],
        "index_bytes": photos * stored,
        "indexing_core_hours": cpu,
        "indexing_nodes": nodes(cpu),
        "indexing_gpu_hours": gpu,
        "indexing_gpu_nodes": many,
        "indexing_gpu_network_hours": photos * assumed["photo"] / assumed["network"] / many / 3600,
        "update_core_hours": hours("update with nothing changed"),
        "opening_seconds": hours("opening") * 3600,
        "query_core_seconds": hours("search of one query") * 3600,
        "query_disk_seconds": scanned / assumed["disk"],
        "prompts_core_hours": batch,
        "prompts_node_hours": batch / assumed["cores"],
        "prompts_nodes_for_an_hour": max(1, math.ceil(batch / assumed["cores"])),
        "segmenting_core_hours": hours("segmenting"),
        "segmenting_nodes": nodes(hours("segmenting")),
        "update_memory_bytes": costs["update with nothing changed"]["peak_mib"]
        * 2**20
        / costs["update with nothing changed"]["measured_at"]
        * photos,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=NUMBER", dest="values")
    options = parser.parse_args()
    changes = {name: float(value) for name, _, value in (v.partition("=") for v in options.values)}
    if strange := changes.keys() - ASSUMED:
        parser.error(f"{strange} cannot be set; those can: {', '.join(ASSUMED)}")
    held = json.loads(options.results.read_text(encoding="utf-8"))
    print(json.dumps(plan(held["per_million"], held["stored"], {**ASSUMED, **changes}), indent=1))


if __name__ == "__main__":
    main()
