"""What each stage costs per million photos, and how that grows: the constants of docs/scale.md.

    python benchmarks/scale.py [--rows 10000 100000 1000000] [--folder /tmp] [--out scale.json]

Rows are synthetic where photos do not matter. Core-seconds are processor time of one thread, the
least of some runs, because that says more than seconds on a machine that others use, too. Needs 4
GB of disk and a million files in ``--folder`` for a while, and a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import machine
import scale_photos
import scale_plan
import scale_rows
import torch
from scale_rows import Cost

from recoseg.index import update
from recoseg.index.manifest import NAME

ROOT = Path(__file__).resolve().parents[1]
MENDED = {
    "ledger's check": ("ledger's check, row by row", "ledger's check, by its file"),
    "rows of images": ("rows of images, grouped", "rows of images, counted"),
    "known files": ("known files, one by one", "known files, by pages"),
}


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    facts = {**machine.described(), "dim": options.dim, "prompts": scale_rows.PROMPTS}
    rows, files = list[dict[str, Any]](), list[dict[str, Any]]()
    for count in options.rows:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            home = Path(name)
            repeats = options.repeats if count < 10**6 else max(1, options.repeats - 1)
            for stage, spent, moved in scale_rows.stages(home, count, options.dim, repeats):
                rows.append(row(stage, count, spent, moved))
                if stage == "writing shards and ledger":
                    files.append(stored(home / "x.index", count))
            shutil.rmtree(home / "photos")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        home = Path(name)
        for stage, count, spent, moved in scale_photos.stages(
            home, options.photos, options.ks, options.slow, options.repeats
        ):
            rows.append(row(stage, count, spent, moved))
        for count in options.rows[:2]:
            folder = home / f"record {count}"
            folder.mkdir()
            spent, size = scale_photos.record(folder, count)
            rows.append(row("record of results", count, spent, size))
    costs = scale_plan.summary(rows)
    largest = files[-1]
    per_photo = (largest["ledger"] + largest["shards"] + largest["manifest"]) / largest["rows"]
    data = {
        **facts,
        "results": rows,
        "files": files,
        "per_million": costs,
        "mended": mended(rows),
        "stored": round(per_photo, 1),
        "assumed": scale_plan.ASSUMED,
        "plan": scale_plan.plan(costs, round(per_photo, 1)),
    }
    if options.out:
        options.out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def row(stage: str, size: int, spent: Cost, moved: float) -> dict[str, Any]:
    data = {
        "stage": stage,
        "size": size,
        "processor_seconds": round(spent.processor, 4),
        "seconds": round(spent.seconds, 4),
        "peak_mib": round(spent.mib, 1),
        "bytes": round(moved),
    }
    print(json.dumps(data), flush=True)
    return data


def stored(index: Path, rows: int) -> dict[str, int]:
    """Bytes of the parts of an index."""
    sizes = {path: path.stat().st_size for path in index.rglob("*") if path.is_file()}
    return {
        "rows": rows,
        "manifest": sizes[index / NAME],
        "ledger": sizes[index / update.LEDGER],
        "shards": sum(size for path, size in sizes.items() if path.suffix == ".f16"),
    }


def mended(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Both sides, measured in this process, of what was mended."""
    found = []
    spent = {(row["stage"], row["size"]): row["processor_seconds"] for row in rows}
    for name, (before, after) in MENDED.items():
        for size in sorted({row["size"] for row in rows if row["stage"] == before}):
            was, now = spent[before, size], spent[after, size]
            ratio = round(was / max(now, 1e-4), 1)
            found.append({"what": name, "size": size, "before": was, "after": now, "times": ratio})
            print(json.dumps(found[-1]), flush=True)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--photos", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--ks", type=int, nargs="+", default=[8, 15, 30])
    parser.add_argument("--slow", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
