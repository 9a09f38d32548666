"""Component grid and parameter sweeps of an ablation (paper section 4.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from recoseg.errors import InputError
from recoseg.recipe import Recipe
from recoseg.segmenting.options import SystemName
from recoseg.typecheck import check_fields

# Co-segmentation, DenseCLIP, LGC, CE: the baseline, plain co-segmentation, then the paper's rows in
# its order. Its DenseCLIP is the language factor at inference, so that its second row is plain
# co-segmentation times DenseCLIP.
COMPONENTS = (
    (False, True, False, False),
    (True, False, False, False),
    (True, False, True, False),
    (True, True, False, False),
    (True, True, True, False),
    (True, True, False, True),
    (True, True, True, True),
)


@dataclass(frozen=True)
class Sweeps:
    """Values of each sweep; an empty sequence leaves that sweep out.

    Attributes:
        grid: the component grid, every row with and without the CRF.
        sizes: images of the archive, random nested subsets; those beyond its size are left out.
        ks: retrieved images per concept.
        encoders: ids of visual encoders for co-segmentation.
        contexts: lists of concepts to eliminate.
        unknown: strictnesses of the thresholds below which a pixel is unknown.
        seed: of the subsets.
        crossed: every k with every encoder, as one series with a line per encoder, in place of
            the two series.
    """

    grid: bool = True
    sizes: Sequence[int] = ()
    ks: Sequence[int] = ()
    encoders: Sequence[str] = ()
    contexts: Sequence[Sequence[str]] = ()
    unknown: Sequence[float] = ()
    seed: int = 0
    crossed: bool = False

    def __post_init__(self) -> None:
        """Check every type."""
        check_fields(self, InputError)


@dataclass(frozen=True)
class Point:
    """A bank to be built and a way to use it.

    Attributes:
        sweep: the series it is part of.
        x: its place there.
        recipe: how the bank is built and used.
        kind: ``"reco"``, or ``"denseclip"`` for the baseline that uses the names alone.
        size: images of the archive; None for all.
        strictness: of the thresholds for unknown; None for none.
        refine: with the CRF.
        line: what to call its line in the series.
    """

    sweep: str
    x: Any
    recipe: Recipe
    kind: SystemName = "reco"
    size: int | None = None
    strictness: float | None = None
    refine: bool = False
    line: str = "reco"


def points(recipe: Recipe, sweeps: Sweeps, archive: int) -> Iterator[Point]:
    """All points of the sweeps, for an archive of so many images."""
    if sweeps.grid:
        yield from _components(recipe)
    for size in sorted({min(size, archive) for size in sweeps.sizes}):
        yield Point("archive size", size, recipe, size=size if size < archive else None)
    if sweeps.crossed:
        for encoder in sweeps.encoders:
            for k in sweeps.ks:
                changed = recipe.replace(encoder=encoder, k=k)
                yield Point("k by encoder", k, changed, line=encoder)
    else:
        for k in sweeps.ks:
            yield Point("k", k, recipe.replace(k=k))
        for encoder in sweeps.encoders:
            yield Point("encoder", encoder, recipe.replace(encoder=encoder))
    for contexts in sweeps.contexts:
        changed = recipe.replace(contexts=tuple(contexts), ce=bool(contexts))
        yield Point("contexts", ", ".join(contexts) or "none", changed)
    for strictness in sweeps.unknown:
        yield Point("unknown", strictness, recipe, strictness=strictness)


def _components(recipe: Recipe) -> Iterator[Point]:
    for cosegmentation, denseclip, lgc, ce in COMPONENTS:
        kind: SystemName = "reco" if cosegmentation else "denseclip"
        # The baseline uses no reference, so it takes the full method's bank.
        parts = {"denseclip": denseclip, "lgc": lgc, "ce": ce} if kind == "reco" else {}
        for refine in (False, True):
            x = {"cosegmentation": cosegmentation, "denseclip": denseclip, "lgc": lgc, "ce": ce}
            x["crf"] = refine
            yield Point("grid", x, recipe.replace(**parts), kind, refine=refine)
