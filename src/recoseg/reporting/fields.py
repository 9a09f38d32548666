"""Look-ups in JSON that another program wrote: each checks the type and range it promises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from recoseg.errors import ReportError

_SHOWN = 60


class Fields:
    """One JSON object and its place in the file; an absent or null value is what is said below."""

    def __init__(self, data: object, place: str = "") -> None:
        if not isinstance(data, Mapping):
            raise ReportError(_refusal(place or "it", "an object", data))
        self._data: Mapping[str, Any] = data
        self._place = place

    def place(self, key: str) -> str:
        """Where ``key`` stands, for example ``systems[0].miou``."""
        return f"{self._place}.{key}" if self._place else key

    def text(self, key: str, default: str = "") -> str:
        """A string, or a number written as one; ``default`` if absent."""
        value = self._data.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ReportError(_refusal(self.place(key), "a text", value))
        return _clean(str(value))

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float | None:
        """A finite number from ``low`` to ``high``; None if absent."""
        value = self._data.get(key)
        return None if value is None else _number(value, self.place(key), low, high)

    def fraction(self, key: str) -> float | None:
        """A number from 0 to 1; None if absent."""
        return self.number(key, 0.0, 1.0)

    def whole(self, key: str) -> int | None:
        """A whole number that is not negative; None if absent."""
        value = self._data.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ReportError(_refusal(self.place(key), "a whole number", value))
        return value

    def flag(self, key: str) -> bool:
        """True or false; false if absent."""
        value = self._data.get(key)
        if value is not None and not isinstance(value, bool):
            raise ReportError(_refusal(self.place(key), "true or false", value))
        return bool(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings; empty if absent."""
        values = self._list(key)
        for i, value in enumerate(values):
            if not isinstance(value, str):
                raise ReportError(_refusal(f"{self.place(key)}[{i}]", "a text", value))
        return tuple(_clean(value) for value in values)

    def objects(self, key: str) -> list[Fields]:
        """A list of objects; empty if absent."""
        return [Fields(v, f"{self.place(key)}[{i}]") for i, v in enumerate(self._list(key))]

    def object(self, key: str) -> Fields:
        """An object; an empty one if absent."""
        value = self._data.get(key)
        return Fields({} if value is None else value, self.place(key))

    def matrix(self, key: str, side: int | None = None) -> tuple[tuple[float, ...], ...]:
        """A square table of numbers that are not negative, of ``side`` rows; empty if absent."""
        rows = self._list(key)
        side = len(rows) if side is None else side
        if rows and (len(rows) != side or any(not _is_list(r) or len(r) != side for r in rows)):
            raise ReportError(
                f"{self.place(key)} must be a square table of {side} rows and columns."
            )
        return tuple(
            tuple(_number(v, f"{self.place(key)}[{i}][{j}]", 0) for j, v in enumerate(row))
            for i, row in enumerate(rows)
        )

    def triples(self, key: str) -> list[tuple[float, float, float]]:
        """A list of colours, three numbers from 0 to 255 each; empty if absent."""
        found = []
        for i, value in enumerate(self._list(key)):
            place = f"{self.place(key)}[{i}]"
            if not isinstance(value, list) or len(value) != 3:
                raise ReportError(_refusal(place, "three numbers", value))
            r, g, b = (_number(part, place, 0, 255) for part in value)
            found.append((r, g, b))
        return found

    def scalar(self, key: str) -> float | str:
        """A finite number or a string; it must be there."""
        value = self._data.get(key)
        return _clean(value) if isinstance(value, str) else _number(value, self.place(key))

    def flat(self) -> list[tuple[str, str]]:
        """Every value below as (dotted name, words), lists of plain values in one line."""
        return [
            pair for key, value in self._data.items() for pair in _flat(_clean(str(key)), value)
        ]

    def names(self) -> list[str]:
        """The names of what is there."""
        return [str(key) for key in self._data]

    def has(self, key: str) -> bool:
        """Whether ``key`` is there and not null."""
        return self._data.get(key) is not None

    def _list(self, key: str) -> Sequence[Any]:
        value = self._data.get(key)
        if value is None:
            return ()
        if not _is_list(value):
            raise ReportError(_refusal(self.place(key), "a list", value))
        return list(value)


def _clean(text: str) -> str:
    """``text`` without what neither a page nor a plot can hold: control letters, half letters."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _number(value: Any, place: str, low: float = -math.inf, high: float = math.inf) -> float:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if plain and math.isfinite(value) and low <= value <= high:
        return float(value)
    bounds = f" from {low:g} to {high:g}" if math.isfinite(low) and math.isfinite(high) else ""
    raise ReportError(_refusal(place, f"a finite number{bounds}", value))


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [
            pair
            for key, below in value.items()
            for pair in _flat(f"{name}.{_clean(str(key))}", below)
        ]
    if _is_list(value) and not any(isinstance(v, Mapping | list) for v in value):
        return [(name, ", ".join(_word(v) for v in value))]
    return [(name, _word(value))]


def _word(value: object) -> str:
    names = {None: "\N{EN DASH}", True: "yes", False: "no"}
    return names[value] if value is None or isinstance(value, bool) else _clean(str(value))


def _refusal(place: str, wanted: str, value: object) -> str:
    shown = repr(value)
    if len(shown) > _SHOWN:
        shown = shown[:_SHOWN] + "…"
    return f"{place} must be {wanted}, not {shown}."
