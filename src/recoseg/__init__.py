"""Name a concept, point at a folder of unlabelled photos, get a segmenter.

Public names are imported on first use (PEP 562), so ``import recoseg`` is fast and loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recoseg.archive import Archive as Archive
    from recoseg.concepts import Concept as Concept
    from recoseg.concepts import ConceptBank as ConceptBank
    from recoseg.errors import RecosegError as RecosegError
    from recoseg.index import Index as Index
    from recoseg.learning.adaptation import adapt as adapt
    from recoseg.learning.student import Student as Student
    from recoseg.measuring.ablation import ablate as ablate
    from recoseg.measuring.evaluation import evaluate as evaluate
    from recoseg.measuring.results import Report as Report
    from recoseg.recipe import CRF as CRF
    from recoseg.recipe import LITE as LITE
    from recoseg.recipe import MODERN as MODERN
    from recoseg.recipe import PAPER as PAPER
    from recoseg.recipe import Recipe as Recipe
    from recoseg.segment import Segmentation as Segmentation
    from recoseg.segment import Segmenter as Segmenter
    from recoseg.thresholds import calibrate as calibrate

__version__ = "0.1.0"

# A name here must not be a module's too: importing that module would put it in the name's place.
_HOMES = {
    "Archive": "archive",
    "Index": "index",
    "ConceptBank": "concepts",
    "Concept": "concepts",
    "Segmenter": "segment",
    "Segmentation": "segment",
    "calibrate": "thresholds",
    "evaluate": "measuring.evaluation",
    "ablate": "measuring.ablation",
    "Report": "measuring.results",
    "Student": "learning.student",
    "adapt": "learning.adaptation",
    "Recipe": "recipe",
    "CRF": "recipe",
    "MODERN": "recipe",
    "PAPER": "recipe",
    "LITE": "recipe",
    "RecosegError": "errors",
}
_MODULES = (
    "cosegment",
    "datasets",
    "errors",
    "exporting",
    "images",
    "models",
    "palette",
    "recipe",
    "refine",
    "video",
)

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"recoseg.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'recoseg' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"recoseg.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
