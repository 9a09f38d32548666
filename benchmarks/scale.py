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
import os
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
    facts = machine.describe_machine()
    settings = {"dim": options.dim, "prompts": scale_rows.PROMPTS}
    for count in options.rows:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            rows, files = list[dict[str, Any]](), list[dict[str, int]]()
            repeats = options.repeats if count < 10**6 else max(1, options.repeats - 1)
            home = Path(name)
            for stage, spent, moved in scale_rows.stages(home, count, options.dim, repeats):
                rows.append(row(stage, count, spent, moved, facts))
                if stage == "writing shards and ledger":
                    files.append(sum_files(home / "x.index", count))
        write(options.out, {**facts, **settings}, rows, files)
    if options.photos:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            write(options.out, {**facts, **settings}, photos(Path(name), options, facts), [])


def photos(home: Path, options: argparse.Namespace, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the stages that look at photos, and of what a folder of results keeps of them."""
    stages = scale_photos.stages(home, options.photos, options.ks, options.slow, options.repeats)
    rows = [row(stage, count, spent, moved, facts) for stage, count, spent, moved in stages]
    for count in options.records:
        folder = home / f"record {count}"
        folder.mkdir()
        spent, size = scale_photos.record(folder, count)
        rows.append(row("record of results", count, spent, size, facts))
    return rows


def write(
    out: Path | None, facts: dict[str, Any], rows: list[dict[str, Any]], files: list[dict[str, int]]
) -> None:
    """Put rows into the file, beside those that it holds of other stages or sizes."""
    if out is None:
        return
    held = json.loads(out.read_bytes()) if out.exists() else {"results": [], "files": []}
    places = {(row["stage"], row["size"]): row for row in [*held["results"], *rows]}
    sizes = {size["rows"]: size for size in [*held["files"], *files]}
    stages = dict.fromkeys(stage for stage, _ in places)
    data = {
        **facts,
        "results": [places[p] for s in stages for p in sorted(places) if p[0] == s],
        "files": [sizes[count] for count in sorted(sizes)],
    }
    whole = stages.keys() >= scale_plan.NEEDED
    if whole:
        data |= scale_plan.derive(data["results"], data["files"])
    out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    if whole and out.resolve() == scale_page.RESULTS:
        scale_page.fill(data)


def row(stage: str, size: int, spent: Cost, moved: float, facts: dict[str, Any]) -> dict[str, Any]:
    data = {
        "stage": stage,
        "size": size,
        "processor_seconds": round(spent.processor, 4),
        "seconds": round(spent.seconds, 4),
        "peak_mib": round(spent.mib, 1),
        "bytes": round(moved),
        "commit": facts["commit"],
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(data), flush=True)
    return data


def sum_files(index: Path, rows: int) -> dict[str, int]:
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
    parser.add_argument("--rows", type=int, nargs="*", default=[10**4, 10**5, 10**6])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--photos", type=int, nargs="*", default=[8, 32, 128])
    parser.add_argument("--ks", type=int, nargs="+", default=[8, 15, 30])
    parser.add_argument("--slow", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--records", type=int, nargs="*", default=[10**4, 10**5])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
