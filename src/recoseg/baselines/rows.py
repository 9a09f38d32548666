"""Baselines as rows of a table: features of an image are made once for all that share them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from torch import Tensor

from recoseg.baselines.baseline import Baseline
from recoseg.datasets import Sample
from recoseg.evaluation.clock import Clock
from recoseg.evaluation.systems import Labels, System
from recoseg.io.images import RGB

# The paper's tables have no other.
_PRINTED = {"mdc": "MDC", "picie": "PiCIE", "picie+h": "PiCIE+H", "iic": "IIC", "stego": "STEGO"}


class BaselineRows:
    """A panel of baselines, by the names of their rows."""

    def __init__(self, baselines: Mapping[str, Baseline]) -> None:
        self._baselines = dict(baselines)
        self.systems = tuple(_system(name, each) for name, each in self._baselines.items())

    def run(
        self, image: RGB, sample: Sample, wanted: Collection[str], clock: Clock
    ) -> Iterator[tuple[str, Labels]]:
        """Labels of each wanted baseline on one image."""
        made: dict[object, Tensor] = {}
        for name, baseline in self._baselines.items():
            if name not in wanted:
                continue
            with clock("models"):
                views = [
                    _prepare_once(made, baseline, image, mirrored)
                    for mirrored in (False, True)[: 1 + baseline.plan.mirror]
                ]
                maps = baseline.scores(*views)[0]
            with clock("labels"):
                labels = baseline.decide(image, maps).labels
            yield name, labels


def _prepare_once(
    made: dict[object, Tensor], baseline: Baseline, image: RGB, mirrored: bool
) -> Tensor:
    key = (baseline.inputs_key, mirrored)
    if key not in made:
        made[key] = baseline.prepare(image, mirrored)
    return made[key]


def _system(name: str, baseline: Baseline) -> System:
    plan = baseline.plan
    return System(
        name,
        plan.label if name == plan.method else name,
        baseline.names,
        baseline.digest,
        {**plan.to_dict(), "clusters": len(baseline.names), "seed": baseline.provenance["seed"]},
        match=baseline.match,
        note=baseline.note,
        published=_PRINTED.get(plan.method, ""),
    )
