"""Check the fields of a dataclass against their annotations.

Values read from files are as likely to be wrong as a caller's, so both pass this one check.
"""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_WORDS: dict[Any, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    dict: "an object",
    Mapping: "an object",
    type(None): "None",
}


def check_fields(value: Any, error: Callable[[str], Exception]) -> None:
    """Raise ``error`` of one sentence unless every field has the type of its annotation.

    A bool is no number, a whole number is a ``float``, NaN and infinity are none, a list may stand
    for a tuple, and a text is no sequence of texts.
    """
    annotated: Any = type(value)
    for name, kind in _annotations(annotated).items():
        found = getattr(value, name)
        if not fits(found, kind):
            raise error(f"{name} must be {describe(kind)}, not {found!r}.")


def fits(value: Any, kind: Any) -> bool:
    """Whether a value has the type of an annotation, as ``check_fields`` understands it."""
    if type(value) is kind and kind is not float:
        return True
    if kind is float:
        return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)
    origin, inner = _parts(kind)
    if origin in (Union, types.UnionType):
        return any(map(fits, [value] * len(inner), inner))
    if origin is Literal:
        return value in inner
    if origin is tuple and inner[-1] is not Ellipsis:
        listed = isinstance(value, list | tuple) and len(value) == len(inner)
        return listed and all(map(fits, value, inner))
    if origin in (tuple, Sequence):
        listed = isinstance(value, list | tuple if origin is tuple else Sequence)
        return listed and not isinstance(value, str | bytes) and _all_fit(value, inner[0])
    if origin in (dict, Mapping):
        mapped = isinstance(value, origin)
        return mapped and _all_fit(value, inner[0]) and _all_fit(value.values(), inner[1])
    if kind is Any:
        return True
    return isinstance(value, origin or kind) and (kind is not int or type(value) is not bool)


def describe(kind: Any) -> str:
    """An annotation in the words of an error, for example ``"a list, each a text"``."""
    origin, inner = _parts(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe, inner))
    if origin is Literal:
        return "one of " + ", ".join(map(repr, inner))
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"a list of {len(inner)}: {', '.join(map(describe, inner))}"
    if origin in (tuple, Sequence):
        return f"a list, each {describe(inner[0])}"
    return _WORDS.get(origin or kind, f"a {getattr(kind, '__name__', kind)}")


def _all_fit(values: Any, kind: Any) -> bool:
    return all(fits(value, kind) for value in values)


@functools.cache
def _annotations(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


@functools.cache
def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(kind), get_args(kind)
