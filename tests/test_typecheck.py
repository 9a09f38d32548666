"""Fields against annotations: what each kind takes, what it refuses, and in which words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
import torch

from recoseg.concepts.concept import Concept
from recoseg.concepts.evidence import Evidence, Seed
from recoseg.errors import InputError, RecipeError, RecosegError, TrainingError
from recoseg.evaluation.sweeps import Sweeps
from recoseg.index.manifest import Manifest
from recoseg.learning.adaptation import Settings
from recoseg.learning.plan import Plan
from recoseg.learning.pseudolabels import Ignoring
from recoseg.recipe import CRF, LITE
from recoseg.student.deeplab import Architecture
from recoseg.typecheck import check_fields, describe, fits


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (str, ["", "sky"], [b"sky", 1, None, ["sky"]]),
        (bool, [True, False], [0, 1, "false", None, np.bool_(True)]),
        (int, [0, -3], [True, 1.0, "1", None]),
        (float, [0, 1.5, -2], [True, "1", None, math.nan, math.inf, -math.inf, 1j]),
        (float | None, [None, 0.5], [False, "x", math.nan]),
        (tuple[str, ...], [(), ("a",), ["a", "b"]], ["ab", {"a"}, {"a": 1}, ("a", 1), None]),
        (tuple[float, float], [(1, 2.0), [0.5, 1]], [(1,), (1, 2, 3), ("1", 2), "12", 1]),
        (Sequence[int], [(), [1], range(3)], ["12", b"12", {1}, [1, "2"], 1]),
        (Sequence[Sequence[str]], [[], [["a"], ("b", "c")]], ["ab", ["ab"], [[1]]]),
        (Literal["a", "b"], ["a", "b"], ["c", None, 1]),
        (dict[str, Any], [{}, {"a": 1}], [[], None, "a", {1: 1}]),
        (Mapping[str, int], [{}, {"a": 1}], [{"a": "1"}, {"a": True}, [("a", 1)]]),
        (Callable[[int], int], [abs, str], ["abs", None]),
        (Any, [None, object(), "a"], []),
        (bytes, [b""], ["", None]),
    ],
    ids=str,
)
def test_what_fits_an_annotation(kind, good, bad):
    assert [value for value in good if not fits(value, kind)] == []
    assert [value for value in bad if fits(value, kind)] == []


@dataclass(frozen=True)
class Thing:
    name: str
    sizes: tuple[int, ...] = ()
    share: float | None = None

    def __post_init__(self) -> None:
        check_fields(self, InputError)


def test_the_field_what_it_must_be_and_what_it_is_are_said():
    Thing("a", [1, 2], 0.5)
    with pytest.raises(InputError, match=r"^sizes must be a list, each a whole number, not '1'\.$"):
        Thing("a", "1")
    with pytest.raises(InputError, match=r"^share must be a finite number or None, not True\.$"):
        Thing("a", (), True)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tuple[float, float], "a list of 2: a finite number, a finite number"),
        (Literal["reco", "both"], "one of 'reco', 'both'"),
        (Sequence[Sequence[str]], "a list, each a list, each a text"),
        (dict[str, Any], "an object"),
        (Thing, "a Thing"),
    ],
    ids=str,
)
def test_the_words_of_an_annotation(kind, words):
    assert describe(kind) == words


VECTOR = torch.ones(2)
SEED = Seed("a.jpg", None, 0.5, 0.5, 0.9)
VALUES = [
    (CRF(), RecipeError),
    (LITE, RecipeError),
    (Plan(), TrainingError),
    (Settings(Plan()), InputError),
    (Ignoring(), InputError),
    (Architecture("x", 16, 8, 0.1, 3, (0.5,) * 3, (0.5,) * 3), InputError),
    (Manifest("lite", "0" * 64, 8, {}, {}, 100), ValueError),
    (Concept("sky", ("sky",), VECTOR, VECTOR), InputError),
    (SEED, InputError),
    (Evidence("sky", (SEED,), 1.0), InputError),
    (Sweeps(), InputError),
]


@pytest.mark.parametrize(
    ("value", "error", "field"),
    [
        pytest.param(value, error, field.name, id=f"{type(value).__name__}.{field.name}")
        for value, error in VALUES
        for field in dataclasses.fields(value)
    ],
)
def test_no_field_takes_what_it_is_not(value, error, field):
    dataclasses.replace(value)
    with pytest.raises(error, match=f"{field} must be"):
        dataclasses.replace(value, **{field: object()})


@pytest.mark.parametrize(
    ("value", "field", "wrong"),
    [
        (VALUES[7][0], "aliases", "sky"),
        (Sweeps(), "encoders", "lite"),
        (Sweeps(), "contexts", ["sky"]),
        (Plan(), "frozen_norms", "false"),
        (Plan(), "scale", "12"),
        (Ignoring(), "unknown", 0),
    ],
)
def test_a_text_is_no_list_and_nothing_but_a_bool_is_true_or_false(value, field, wrong):
    with pytest.raises(RecosegError, match=f"{field} must be"):
        dataclasses.replace(value, **{field: wrong})
