"""Storms: kills at random moments and damage in random places, over every verb that writes.

    python benchmarks/storm.py --kills 1000 --damages 600 --out benchmarks/results/storm.json

Everything is seeded; what must not happen is counted: lost, repeated, torn and stray after kills,
silent and unexpected after damage. A note says what each was.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import machine

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
BAD = ("lost", "lost or repeated", "torn", "stray", "failed", "silent", "unexpected")


def main() -> None:
    from tests.storms import VERBS, Storm

    options = arguments()
    chosen = [verb for verb in VERBS if not options.verbs or verb.name in options.verbs]
    rows, notes, total = [], list[str](), Counter[str]()
    for verb in chosen:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            storm = Storm(verb, Path(folder), options.seed)
            storm.kill(-(-options.kills // len(chosen)))
            storm.damage(-(-options.damages // len(chosen)))
        seconds = round(time.monotonic() - began, 1)
        row = {**dict.fromkeys(BAD, 0), **storm.counts}
        print(f"{verb.name:10}", json.dumps(row), f"{seconds} s", flush=True)
        rows.append({"verb": verb.name, "seconds": seconds, **row})
        notes += storm.notes
        total += storm.counts
    bad = {name: total[name] for name in BAD}
    print(f"{total['kills']} kills, {total['damages']} damages:", json.dumps(bad))
    print("\n".join(notes))
    if options.out:
        data = {**machine.describe_machine(), "seed": options.seed, "total": total, "bad": bad}
        text = json.dumps({**data, "verbs": rows, "notes": notes}, indent=1)
        options.out.write_text(text + "\n", encoding="utf-8")
    sys.exit(any(bad.values()))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--damages", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", nargs="*", help="only these")
    parser.add_argument(
        "--folder", type=Path, help="where to work; by default the temporary folder"
    )
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
