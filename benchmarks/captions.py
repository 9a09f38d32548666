"""Recall of text-to-image search: ``python benchmarks/captions.py FOLDER [--head FILE]``.

FOLDER holds ``images/`` and ``captions.tsv``. Figures on photos that a head was trained on mean
little: ``python -m training.lite_head DATA HEAD --hold-out 1000`` trains one without some of the
captioned photos and names them in a file; give both here.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import machine

from recoseg.evaluation import captions
from recoseg.models import registry
from recoseg.models.lite import Lite


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="lite")
    parser.add_argument("--head", type=Path, help="another head of lite")
    parser.add_argument("--only", type=Path, help="a file of the names to measure on, one a line")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    args = parser.parse_args()
    facts = machine.describe_machine()
    model = registry.load_joint(args.model) if args.head is None else Lite.load(head=args.head)
    only = None if args.only is None else set(args.only.read_text(encoding="utf-8").split())
    found = captions.measure(args.folder, model, only=only)
    recalls = "  ".join(f"R@{k} {100 * share:.1f}" for k, share in found["recall"].items())
    print(f"{found['model']}: {found['photos']} photos, {found['captions']} captions: {recalls}")
    if args.out is not None:
        args.out.write_text(json.dumps({**facts, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
