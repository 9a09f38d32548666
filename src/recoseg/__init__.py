"""Name a concept, point at a folder of unlabelled photos, get a segmenter.

Public names are imported on first use (PEP 562), so ``import recoseg`` is fast and loads no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Archive": "archive",
    "Index": "index",
    "ConceptBank": "concepts",
    "Concept": "concepts",
    "Segmenter": "segment",
    "Segmentation": "segment",
    "Recipe": "recipe",
    "CRF": "recipe",
    "PAPER": "recipe",
    "LITE": "recipe",
    "refine": "refine",
    "cosegment": "cosegment",
    "RecosegError": "errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'recoseg' has no attribute {name!r}")
    return getattr(importlib.import_module(f"recoseg.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
