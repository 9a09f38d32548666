"""Settings of a baseline's training: presets for a CPU, and the published ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recoseg.errors import InputError

NETWORKS = ("head", "pyramid", "shallow")
# The others are defined on frozen features.
TRAINABLE = ("mdc", "picie", "picie+h", "iic")
LABELS = {
    "kmeans": "k-means",
    "mdc": "MDC",
    "picie": "PiCIE",
    "picie+h": "PiCIE+H",
    "iic": "IIC",
    "stego": "STEGO",
    "primaps-em": "PriMaPs-EM",
}


@dataclass(frozen=True)
class BaselinePlan:
    """Settings of a training: all that decides it but photos, number of clusters and seed.

    Attributes:
        method: one of ``LABELS``.
        name: of the preset.
        encoder: of a frozen network ids of the registry, ``lite0`` or ``random:NAME``, several
            joined by ``+``; of a trained one what ``recoseg.models.encoders`` takes.
        network: ``"head"`` is trained on frozen features, ``"pyramid"`` is the encoder with a
            feature pyramid, both trained, ``"shallow"`` is six convolutions from nothing.
        size: side of the square photos that are trained on, and short side in use, pixels.
        crops: 1 takes the central square, 5 four corners and the centre of half the side.
        reduced: channels that frozen features are brought to by principal components; 0 for all.
        dim: channels of a code.
        rounds: of training: an epoch where there is a clustering, else a number of ``steps``.
        steps: optimiser steps of a round, where it is no epoch.
        batch: photos of a step.
        rate: of Adam.
        draws: different views of a photo that frozen features are kept of.
        overclusters: of the second clustering (PiCIE+H) or of the second head (IIC); a number, or
            so many times the clusters if it is below 0.
        reach: displacements of IIC, cells of the codes' grid in each direction.
        lam: weight of the marginals of IIC.
        positions: of a photo in each direction that STEGO compares.
        fresh: clusters of STEGO are made anew at the end, in place of the probe's.
        neighbours: of a photo, for STEGO.
        gap: places between photos of a film that are no neighbours.
        shifts: b of pairs with itself, a neighbour and another photo; None takes them from data.
        weights: of the three kinds of pairs.
        mirror: average codes with those of the mirrored photo, in use.
        refine: sharpen with the CRF, in use.
    """

    method: str
    name: str = "small"
    encoder: str = "lite"
    network: str = "head"
    size: int = 320
    crops: int = 1
    reduced: int = 128
    dim: int = 64
    rounds: int = 8
    steps: int = 0
    batch: int = 16
    rate: float = 1e-3
    draws: int = 1
    overclusters: int = 0
    reach: int = 0
    lam: float = 1.0
    positions: int = 11
    fresh: bool = False
    neighbours: int = 0
    gap: int = 0
    shifts: tuple[float, float, float] | None = None
    weights: tuple[float, float, float] = (0.67, 0.25, 0.63)
    mirror: bool = False
    refine: bool = False

    def __post_init__(self) -> None:
        """Check every range."""
        if self.method not in LABELS:
            raise InputError(f"no baseline {self.method!r}; choose one of {', '.join(LABELS)}.")
        if self.network not in NETWORKS:
            raise InputError(f"no network {self.network!r}; choose {', '.join(NETWORKS)}.")
        for field, low, high in (
            ("size", 32, 2048),
            ("reduced", 0, 4096),
            ("dim", 1, 4096),
            ("rounds", 1, 100_000),
            ("steps", 0, 10**7),
            ("batch", 1, 4096),
            ("draws", 0, 1000),
            ("reach", 0, 64),
            ("positions", 1, 64),
            ("neighbours", 0, 1000),
            ("gap", 0, 10**6),
        ):
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise InputError(f"{field} must be from {low} to {high}, not {value!r}.")
        if not self.frozen and self.method not in TRAINABLE:
            raise InputError(f"{self.label} is made on frozen features; choose the network head.")
        if self.crops not in (1, 5) or not 0 < self.rate < 10 or not 0 < self.lam < 10:
            raise InputError("crops are 1 or 5, rate and lam positive numbers below 10.")
        object.__setattr__(self, "weights", tuple(float(w) for w in self.weights))
        if self.shifts is not None:
            object.__setattr__(self, "shifts", tuple(float(b) for b in self.shifts))
        if len(self.weights) != 3 or (self.shifts is not None and len(self.shifts) != 3):
            raise InputError("shifts and weights are three numbers: itself, neighbour, another.")

    @property
    def label(self) -> str:
        """The method's name for people."""
        return LABELS[self.method]

    @property
    def frozen(self) -> bool:
        """Whether features are made once and only a head is trained."""
        return self.network == "head"

    def second(self, clusters: int) -> int:
        """How many clusters the second clustering or head has."""
        return self.overclusters if self.overclusters >= 0 else -self.overclusters * clusters

    def replace(self, **changes: Any) -> BaselinePlan:
        """A copy with some fields changed; None leaves a field as it is."""
        wanted = {name: value for name, value in changes.items() if value is not None}
        return dataclasses.replace(self, **wanted)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        data = dataclasses.asdict(self)
        return {key: list(v) if isinstance(v, tuple) else v for key, v in data.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BaselinePlan:
        """The inverse of ``to_dict``."""
        return cls(**data)


def preset(method: str, name: str = "small") -> BaselinePlan:
    """The settings of a method; InputError lists the names if there is none such."""
    if method not in LABELS:
        raise InputError(f"no baseline {method!r}; choose one of {', '.join(LABELS)}.")
    plans = {plan.name: plan for plan in PRESETS if plan.method == method}
    if name not in plans:
        raise InputError(f"{LABELS[method]} has no preset {name!r}; choose {', '.join(plans)}.")
    return plans[name]


# Published settings, as far as they are the method's and not the dataset's.
_PYRAMID = BaselinePlan(
    "picie", "paper", "timm:resnet18.tv_in1k", "pyramid", reduced=0, draws=0
).replace(dim=128, rounds=10, batch=128, rate=1e-4)
_DINO = BaselinePlan("stego", "paper", "DINO-S/8", reduced=0, draws=0, neighbours=7).replace(
    size=224, crops=5, dim=70, rounds=50, steps=100, rate=5e-4
)
_STEGO = _DINO.replace(shifts=(0.18, 0.12, 0.46), mirror=True, refine=True)
_SHALLOW = BaselinePlan("iic", "paper", "random:shallow", "shallow", reduced=0, draws=0).replace(
    size=128, dim=512, rounds=4800, batch=60, rate=1e-4, overclusters=-3, reach=10
)
PRESETS = (
    BaselinePlan("kmeans", rounds=1, draws=0),
    BaselinePlan("mdc"),
    BaselinePlan("picie"),
    BaselinePlan("picie+h", overclusters=100),
    BaselinePlan("iic", steps=25, batch=32, overclusters=-3, reach=1),
    BaselinePlan("stego", steps=60, rate=5e-4, draws=0, neighbours=7).replace(
        positions=7, fresh=True, mirror=True
    ),
    BaselinePlan("primaps-em", rounds=10, batch=32, rate=5e-3),
    BaselinePlan("kmeans", "paper", "DINO-S/8", rounds=1, reduced=0, draws=0),
    _PYRAMID.replace(method="mdc"),
    _PYRAMID,
    _PYRAMID.replace(method="picie+h", overclusters=100),
    _SHALLOW,
    _STEGO,
    _STEGO.replace(name="paper-b8", encoder="timm:vit_base_patch8_224.dino"),
    BaselinePlan("primaps-em", "paper", "DINO-S/8", reduced=0, rounds=50, batch=32, rate=5e-3),
)
