"""The settings of the fully connected CRF as one frozen, validated value."""

from __future__ import annotations

from dataclasses import dataclass, replace

from recoseg.errors import RecipeError
from recoseg.typecheck import check_fields


@dataclass(frozen=True)
class CRF:
    """Fully connected CRF (paper section 4, implementation details; Kraehenbuehl & Koltun 2011).

    Attributes:
        iterations: mean-field iterations.
        gaussian_xy: standard deviation of the smoothness kernel, pixels.
        gaussian_weight: its Potts weight.
        bilateral_xy: spatial standard deviation of the appearance kernel, pixels.
        bilateral_rgb: its colour standard deviation, grey levels of 0..255.
        bilateral_weight: its Potts weight.
        temperature: scores are divided by it before the softmax that gives the unary; smaller
            trusts the scores more.
    """

    iterations: int = 10
    gaussian_xy: float = 1.0
    gaussian_weight: float = 3.0
    bilateral_xy: float = 67.0
    bilateral_rgb: float = 3.0
    bilateral_weight: float = 4.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Check every type and range."""
        check_whole("iterations", self.iterations, 0, 1000)
        for name in ("gaussian_xy", "bilateral_xy", "bilateral_rgb", "temperature"):
            check_positive(name, getattr(self, name))
        check_fields(self, RecipeError)
        for name in ("gaussian_weight", "bilateral_weight"):
            if getattr(self, name) < 0:
                raise RecipeError(f"{name} must not be negative, not {getattr(self, name)!r}.")

    def with_strength(self, strength: float = 1.0, temperature: float | None = None) -> CRF:
        """With both kernels' weights multiplied, by 0 to 100, and another temperature if given.

        A strength of 0 leaves the softmax of the scores as it is.
        """
        if not 0 <= strength <= 100:
            raise RecipeError(f"strength must be a number from 0 to 100, not {strength!r}.")
        return replace(
            self,
            gaussian_weight=strength * self.gaussian_weight,
            bilateral_weight=strength * self.bilateral_weight,
            temperature=self.temperature if temperature is None else temperature,
        )


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """RecipeError unless a value is a whole number from ``low`` to ``high``."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise RecipeError(f"{name} must be a whole number from {low} to {high}, not {value!r}.")


def check_positive(name: str, value: object) -> None:
    """RecipeError unless a value is a positive number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise RecipeError(f"{name} must be a positive number, not {value!r}.")
