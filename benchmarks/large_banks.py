"""Processor time of a bank's verbs against its size, and against looking names up one by one.

    python benchmarks/large_banks.py [--sizes 500 1000 2000 4000] [--out large_banks.json]

The slope is that of the logarithms of time and size over the whole range: 1 is linear, 2 quadratic.
Banks are built from words with the toy model of the tests on an index of a few painted images, so
that what grows with the bank is seen beside what each concept costs.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.toys import COLOURS, Toy, paint  # noqa: E402

from recoseg import ConceptBank, Index  # noqa: E402
from recoseg.concepts.concept import Concept  # noqa: E402
from recoseg.models.registry import Models  # noqa: E402
from recoseg.recipe import Recipe  # noqa: E402

RECIPE = Recipe(
    name="toy", retrieval="toy", dense="toy", encoder="toy", templates="plain", k=2,
    archive_size=32, contexts=("green",),
)  # fmt: skip


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    toy = Toy()
    models = Models(toy, toy, toy)
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for colour in COLOURS:
            paint(Path(folder) / "photos" / f"{colour}.png", colour, size=32)
        photos, place = Path(folder) / "photos", Path(folder) / "photos.index"
        index = Index.build(photos, place, model=toy, progress=False)
        for size in options.sizes:
            for verb, seconds in measure(size, index, models, Path(folder) / "x.bank").items():
                times.setdefault(verb, []).append(seconds)
    growth = math.log(options.sizes[-1] / options.sizes[0])
    rows = [
        {
            "verb": verb,
            "milliseconds": [round(1000 * value, 2) for value in seconds],
            "slope": round(math.log(seconds[-1] / seconds[0]) / growth, 2),
        }
        for verb, seconds in times.items()
    ]
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    print(f"subset: {times['subset, one by one'][-1] / times['subset'][-1]:.0f} times faster")
    if options.out:
        result = {"machine": machine.describe_machine(), "sizes": options.sizes, "rows": rows}
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measure(size: int, index: Index, models: Models, file: Path) -> dict[str, float]:
    """Seconds of each verb on a bank of so many concepts."""
    names = [f"concept {i}" for i in range(size)]
    half = names[: size // 2]
    first, bank = time_call(
        lambda: ConceptBank.build(half, index, RECIPE, models=models, progress=False)
    )
    second, bank = time_call(
        lambda: bank.add(names[size // 2 :], index, models=models, progress=False)
    )
    verbs: dict[str, Callable[[], object]] = {
        "subset": lambda: bank.subset(names[::-1]),
        "subset, one by one": lambda: one_by_one(bank.concepts, names[::-1]),
        "put": lambda: bank.put(*bank.concepts),
        "drop": lambda: bank.drop(half),
        "save": lambda: bank.save(file),
        "open": lambda: ConceptBank.open(file),
    }
    rest = {verb: min(time_call(run)[0] for _ in range(3)) for verb, run in verbs.items()}
    return {"build half": first, "add the other half": second, **rest}


def one_by_one(concepts: tuple[Concept, ...], names: list[str]) -> list[Concept]:
    """The concepts of some names by a search from the beginning for each."""
    return [next(concept for concept in concepts if concept.name == name) for name in names]


def time_call(run: Callable[[], ConceptBank]) -> tuple[float, ConceptBank]:
    began = time.process_time()
    result = run()
    return time.process_time() - began, result


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000, 2000, 4000])
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
