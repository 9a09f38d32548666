"""What each stage costs per million photos, and how that grows: the constants of docs/scale.md.

    python benchmarks/scale.py [--rows 10000 100000 1000000] [--folder /tmp] [--out scale.json]

Rows are synthetic where photos do not matter. Core-seconds are processor time of one thread, the
least of some runs, because that says more than seconds on a machine that others use, too. Needs 4
GB of disk and a million files in ``--folder`` for a while, and a quarter of an hour. The tables of
the page are written anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import machine
import scale_page
import scale_photos
import scale_plan
import scale_rows
import torch
from scale_rows import Cost

from recoseg.index import update
from recoseg.index.manifest import NAME

ROOT = Path(__file__).resolve().parents[1]


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
    data = {**facts, "results": rows, "files": files, **scale_plan.derived(rows, files)}
    if options.out:
        options.out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        if options.out.resolve() == scale_page.RESULTS:
            scale_page.fill(data)


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
