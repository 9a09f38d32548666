"""Build the bank that ships: ``python -m training.everyday_bank INDEX OUT [--sheets FOLDER]``.

INDEX is an index of the four archive folders (``benchmarks/material.py`` makes it). The names are
in ``everyday.txt``, their groups in ``everyday_groups.json``; thresholds for ``unknown`` are
calibrated on the same archive.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import recoseg
from recoseg import ConceptBank, Index, calibrate
from recoseg.recipe import LITE

LISTING = Path(__file__).with_name("everyday.txt")
GROUPS = Path(recoseg.__file__).parent / "data" / "everyday_groups.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sheets", type=Path, help="draw every concept's evidence here")
    args = parser.parse_args()
    index = Index.open(args.index)
    bank = grouped(calibrate(ConceptBank.build(names(LISTING), index, LITE), index))
    bank.save(args.out, evidence="none")
    print(f"{len(bank)} concepts, {args.out.stat().st_size} bytes")
    if args.sheets is not None:
        args.sheets.mkdir(parents=True, exist_ok=True)
        for concept in bank.concepts:
            if concept.evidence is not None:
                concept.evidence.save(args.sheets / f"{concept.name}.png")


def grouped(bank: ConceptBank) -> ConceptBank:
    """The bank whose concepts know what they are kinds of."""
    table = json.loads(GROUPS.read_text(encoding="utf-8"))
    home = {name: group for group, members in table.items() for name in members}
    return bank.put(*(replace(concept, group=home[concept.name]) for concept in bank.concepts))


def names(file: Path) -> dict[str, list[str]]:
    """Name to the words that describe it."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    rows = [line.partition(":") for line in lines if line and not line.startswith("#")]
    return {name: [word.strip() for word in (rest or name).split(",")] for name, _, rest in rows}


if __name__ == "__main__":
    main()
