"""Name a concept, point at a folder of unlabelled photos, get a segmenter.

Public names are imported on first use (PEP 562), so ``import recoseg`` is fast and loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from recoseg._version import VERSION as __version__

if TYPE_CHECKING:
    from recoseg.building.calibration import calibrate as calibrate
    from recoseg.concepts.bank import ConceptBank as ConceptBank
    from recoseg.concepts.concept import Concept as Concept
    from recoseg.errors import RecosegError as RecosegError
    from recoseg.evaluation.ablation import ablate as ablate
    from recoseg.evaluation.evaluate import evaluate as evaluate
    from recoseg.evaluation.results import Report as Report
    from recoseg.index.index import Index as Index
    from recoseg.io.archive import Archive as Archive
    from recoseg.learning.adaptation import adapt as adapt
    from recoseg.recipe import CRF as CRF
    from recoseg.recipe import LITE as LITE
    from recoseg.recipe import MODERN as MODERN
    from recoseg.recipe import PAPER as PAPER
    from recoseg.recipe import Recipe as Recipe
    from recoseg.segmenting.options import Options as Options
    from recoseg.segmenting.result import Segmentation as Segmentation
    from recoseg.segmenting.segmenter import Segmenter as Segmenter
    from recoseg.student.student import Student as Student


# A name here must not be a module's too: importing that module would put it in the name's place.
_HOMES = {
    "Archive": "io.archive",
    "Index": "index.index",
    "ConceptBank": "concepts.bank",
    "Concept": "concepts.concept",
    "Options": "segmenting.options",
    "Segmenter": "segmenting.segmenter",
    "Segmentation": "segmenting.result",
    "calibrate": "building.calibration",
    "evaluate": "evaluation.evaluate",
    "ablate": "evaluation.ablation",
    "Report": "evaluation.results",
    "Student": "student.student",
    "adapt": "learning.adaptation",
    "Recipe": "recipe",
    "CRF": "recipe",
    "MODERN": "recipe",
    "PAPER": "recipe",
    "LITE": "recipe",
    "RecosegError": "errors",
}
_MODULES = {
    "cosegment": "building.cosegment",
    "datasets": "datasets",
    "errors": "errors",
    "exporting": "exporting",
    "images": "io.images",
    "models": "models",
    "palette": "drawing.palette",
    "recipe": "recipe",
    "refine": "crf.refine",
    "video": "video",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"recoseg.{_MODULES[name]}")
    if name not in _HOMES:
        raise AttributeError(f"module 'recoseg' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"recoseg.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
