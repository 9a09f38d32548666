"""The whole PAPER pipeline against its literal transcription, with and without the CRF.

    python benchmarks/faithful.py [--classes 27 59 171] [--size 75 101]
                                  [--out benchmarks/results/faithful.json]

The image towers are true with random weights (RN50x16, distilled DeiT-S), the text towers thin; the
transcription (``tests/oracles/paper.py``) is of PIL, torch, open_clip, timm and pydensecrf alone.
Writes the share of equal labels and the largest difference of scores. 320 x 320 and 375 x 1242 are
the sizes of the paper's protocols.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, nargs="+", default=[27, 59, 171])
    parser.add_argument("--size", type=int, nargs=2, default=[75, 101])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/faithful.json"))
    options = parser.parse_args()
    names = list(tables.table("cocostuff").literal.values())[: max(options.classes)]
    facts = {**machine.described(), "size": options.size}
    with tempfile.TemporaryDirectory() as home:
        weights = Path(home) / "weights"
        weights.mkdir()
        giants.register(weights)
        stage = paperstage.build(weights, Path(home), names)
        rows = []
        for count in options.classes:
            rows += compared(stage, names[:count], *options.size)
            options.out.write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")


def compared(
    stage: paperstage.Stage, names: list[str], height: int, width: int
) -> list[dict[str, object]]:
    """Agreement on one image, without the CRF and with it."""
    image = paperstage.scene(height, width)
    expected = paper.scores(image, names, stage.built, stage.nets)
    rows = []
    for refine in (False, True):
        ours = Segmenter(stage.bank, names, models=stage.models, refine=refine)(image)
        theirs = paper.crf(expected, image) if refine else expected.argmax(dim=0).numpy()
        row = {
            "classes": len(names),
            "crf": refine,
            "labels equal": float((ours.labels == theirs).mean()),
            "labels in use": len(np.unique(theirs)),
            "largest difference of scores": float((ours.maps - expected).abs().max()),
        }
        print(row, flush=True)
        rows.append(row)
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
