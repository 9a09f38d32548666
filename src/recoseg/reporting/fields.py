"""Validated types of the fields of ``report.json``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from recoseg.errors import ReportError, optional_import

with optional_import("an evaluation's report needs pydantic", "report", ReportError):
    from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
    from pydantic_core import ErrorDetails, PydanticCustomError

_SHOWN = 60
_EXPECTED = {"model_type": "an object", "tuple_type": "a list", "dict_type": "an object"}


def _is(kind: type, value: object) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    plain = _is(int, value) or _is(float, value)
    return plain and math.isfinite(value) and low <= value <= high


def _valid(
    expected: str, good: Callable[[Any], bool], made: Callable[[Any], Any] | None = None
) -> BeforeValidator:
    """A field that holds what is ``good``, as ``made`` of it; else it "must be ``expected``"."""

    def validate(value: Any) -> Any:
        if not good(value):
            raise PydanticCustomError("expected", "{expected}", {"expected": expected})
        return value if made is None else made(value)

    return BeforeValidator(validate)


def _clean(text: object) -> str:
    """``text`` without what neither a page nor a plot can hold: control letters, half letters."""
    letters = str(text)
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in letters)


def _flat(data: Mapping[str, Any], above: str = "") -> tuple[tuple[str, str], ...]:
    """Every value below as (dotted name, words), lists of plain values in one line."""
    found: list[tuple[str, str]] = []
    for key, value in data.items():
        name = above + _clean(key)
        if isinstance(value, Mapping):
            found += _flat(value, f"{name}.")
        elif isinstance(value, list) and not any(isinstance(v, Mapping | list) for v in value):
            found.append((name, ", ".join(map(_word, value))))
        else:
            found.append((name, _word(value)))
    return tuple(found)


def _word(value: object) -> str:
    names = {None: "\N{EN DASH}", True: "yes", False: "no"}
    return names[value] if value is None or isinstance(value, bool) else _clean(value)


Text = Annotated[str, _valid("a text", lambda v: isinstance(v, str) or _number(v), _clean)]
Name = Annotated[str, _valid("a text", lambda v: isinstance(v, str), _clean)]
Number = Annotated[float, _valid("a finite number", _number)]
Fraction = Annotated[float, _valid("a finite number from 0 to 1", lambda v: _number(v, 0, 1))]
Pixels = Annotated[float, _valid("a finite number from 0", lambda v: _number(v, 0))]
Whole = Annotated[int, _valid("a whole number", lambda v: _is(int, v) and v >= 0)]
Flag = Annotated[bool, _valid("true or false", lambda v: isinstance(v, bool))]
Axis = Annotated[
    float | str,
    _valid(
        "a finite number",
        lambda v: isinstance(v, str) or _number(v),
        lambda v: _clean(v) if isinstance(v, str) else v,
    ),
]
Colour = Annotated[
    tuple[int, int, int],
    _valid(
        "three numbers from 0 to 255",
        lambda v: isinstance(v, list) and len(v) == 3 and all(_number(c, 0, 255) for c in v),
        lambda v: tuple(int(c) for c in v),
    ),
]
Pairs = Annotated[
    tuple[tuple[str, str], ...], _valid("an object", lambda v: isinstance(v, Mapping), _flat)
]


class ReportPart(BaseModel):
    """An object of the file; scores are fractions in [0, 1], None where undefined."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None}


def sentence_of(error: ErrorDetails) -> str:
    """A failed validation in words: ``systems[0].miou must be a finite number, not "x"``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    shown = repr(error["input"])
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
    expected = _EXPECTED.get(error["type"], error["msg"])
    return f"{''.join(parts).lstrip('.')} must be {expected}, not {shown}."
