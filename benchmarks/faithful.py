"""The whole PAPER pipeline against its literal transcription, with and without the CRF.

    python benchmarks/faithful.py [--cases 320x320x27 320x320x59 320x320x171 375x1242x19]
                                  [--out benchmarks/results/faithful.json]

A case is height, width and number of classes; 320 x 320 and 375 x 1242 are the sizes of the paper's
protocols. The image towers are true with random weights (RN50x16, distilled DeiT-S), the text
towers thin, and all centred, so that many classes win (``tests/paperstage.py``). The transcription
(``tests/oracles/paper.py``) is of PIL, torch, open_clip, timm and pydensecrf alone. Writes how
many references differ, the share of equal labels, how many classes win, how near the two best
scores are, and the largest difference of scores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import machine
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests import giants, paperstage  # noqa: E402
from tests.oracles import paper  # noqa: E402

from recoseg import Segmenter  # noqa: E402
from recoseg.datasets import tables  # noqa: E402

CASES = ("320x320x27", "320x320x59", "320x320x171", "375x1242x19")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=CASES)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/faithful.json"))
    options = parser.parse_args()
    cases = [tuple(int(number) for number in case.split("x")) for case in options.cases]
    known = list(tables.table("cocostuff").literal.values())
    facts = machine.describe_machine()
    with tempfile.TemporaryDirectory() as home:
        weights = Path(home) / "weights"
        weights.mkdir()
        giants.register(weights)
        names = known[: max(classes for _, _, classes in cases)]
        stage = paperstage.build(weights, Path(home), names)
        facts["references"] = references(stage, names)
        print(facts["references"], flush=True)
        rows = []
        for height, width, classes in cases:
            rows += compare(stage, names[:classes], height, width)
            options.out.write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")


def references(stage: paperstage.Stage, names: list[str]) -> dict[str, object]:
    """How many references are those of the transcription; a tied seed may be another one."""
    cosines = {
        name: float(stage.bank[name].reference @ stage.built[name].to(torch.float32))
        for name in names
    }
    others = {name: round(cosine, 4) for name, cosine in cosines.items() if cosine < 1 - 1e-4}
    return {"of": len(names), "of another seed": others}


def compare(
    stage: paperstage.Stage, names: list[str], height: int, width: int
) -> list[dict[str, object]]:
    """Agreement on one image, without the CRF and with it."""
    image = paperstage.scene(height, width)
    expected = paper.scores(image, names, stage.built, stage.nets)
    best = expected.topk(2, dim=0).values
    rows = []
    for refine in (False, True):
        ours = Segmenter(stage.bank, names, models=stage.models, refine=refine)(image)
        theirs = paper.crf(expected, image) if refine else expected.argmax(dim=0).numpy()
        counts = np.bincount(theirs.ravel(), minlength=len(names))
        row = {
            "size": [height, width],
            "classes": len(names),
            "crf": refine,
            "labels equal": float((ours.labels == theirs).mean()),
            "labels in use": int((counts > 0).sum()),
            "share of the commonest label": float(counts.max() / counts.sum()),
            "median lead of the best score": float((best[0] - best[1]).median()),
            "largest difference of scores": float((ours.maps - expected).abs().max()),
        }
        print(row, flush=True)
        rows.append(row)
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
