"""Class tables of datasets: ids, names, aliases and colours."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoseg.drawing import palette
from recoseg.errors import DatasetError, InputError

VOID = -1
DATA = Path(__file__).parents[1] / "data" / "datasets"
_LARGEST = 1 << 16


@dataclass(frozen=True)
class ClassTable:
    """Classes of a dataset, in two layers: those that are predicted and those that are scored.

    The two are the same except where a fine class is predicted and several are scored as one.

    Attributes:
        names: what is predicted, in order.
        aliases: the words that ask for each name, chosen for users.
        literal: the one word that the dataset's own list has for each name.
        ids: the value of each name in a label file.
        void: values that do not count.
        classes: what is scored, in order.
        merge: for each name, the index of its class.
        colours: (R, G, B) of each class.
        source: where the table comes from.
    """

    names: tuple[str, ...]
    aliases: Mapping[str, tuple[str, ...]]
    literal: Mapping[str, str]
    ids: tuple[int, ...]
    void: frozenset[int]
    classes: tuple[str, ...]
    merge: tuple[int, ...]
    colours: tuple[tuple[int, int, int], ...]
    source: str = ""

    def __post_init__(self) -> None:
        """Check that names and ids are unique."""
        if len(set(self.names)) != len(self.names) or len(set(self.ids)) != len(self.ids):
            raise DatasetError("the class table names a class or an id twice; name each once.")
        if any(not 0 <= id < _LARGEST for id in self.ids):
            raise DatasetError("the class table holds an id outside 0..65535; correct it.")

    def decode(self, values: NDArray[np.integer[Any]], file: Path) -> NDArray[np.int32]:
        """Classes (H, W) of a label file's values; -1 for void.

        Raises:
            DatasetError: a value is in no table; the message names the file.
        """
        if values.size and (int(values.min()) < 0 or int(values.max()) >= _LARGEST):
            raise DatasetError(f"{file} holds values outside 0..65535; is it a label map?")
        decoded: NDArray[np.int32] = self._lookup[values]
        unknown = decoded == VOID - 1
        if unknown.any():
            found = sorted(set(values[unknown].tolist()))
            raise DatasetError(
                f"{file} holds the id {found[0]}, which the class table does not know; choose the "
                "table that belongs to these masks, or name the id."
            )
        return decoded

    def merge_labels(self, labels: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Classes of predicted names, both by index; -1 stays."""
        merged: NDArray[np.int32] = np.array([*self.merge, VOID], np.int32)[labels]
        return merged

    @functools.cached_property
    def _lookup(self) -> NDArray[np.int32]:
        table = np.full(_LARGEST, VOID - 1, np.int32)
        table[list(self.void)] = VOID
        table[list(self.ids)] = self.merge
        return table


def plain(
    names: Sequence[str],
    ids: Sequence[int] | None = None,
    void: Sequence[int] = (255,),
    aliases: Mapping[str, Sequence[str]] | None = None,
    literal: Mapping[str, str] | None = None,
    colours: Sequence[Sequence[int]] | None = None,
    source: str = "",
) -> ClassTable:
    """A table whose names are scored as they are; ids count from 0 by default."""
    chosen = tuple(ids) if ids is not None else tuple(range(len(names)))
    paints = palette.colours(len(names)).tolist() if colours is None else colours
    return ClassTable(
        names=tuple(names),
        aliases={name: tuple((aliases or {}).get(name, (name,))) for name in names},
        literal={name: (literal or {}).get(name, name) for name in names},
        ids=chosen,
        void=frozenset(void) - frozenset(chosen),
        classes=tuple(names),
        merge=tuple(range(len(names))),
        colours=tuple((int(r), int(g), int(b)) for r, g, b in paints),
        source=source,
    )


@functools.cache
def read_stored(dataset: str) -> Mapping[str, Any]:
    """The table of a dataset as it lies in ``data/datasets``."""
    data: Mapping[str, Any] = json.loads((DATA / f"{dataset}.json").read_text(encoding="utf-8"))
    return data


def table(dataset: str, variant: str | None = None) -> ClassTable:
    """The class table of a dataset's variant, by default its first.

    Raises:
        InputError: no such variant; the message lists them.
    """
    data = read_stored(dataset)
    chosen = next(iter(data["variants"])) if variant is None else variant
    if chosen not in data["variants"]:
        known = ", ".join(data["variants"])
        raise InputError(f"{dataset} has no variant {chosen!r} of its classes; choose {known}.")
    rules = data["variants"][chosen]
    rows = [row for row in data["classes"] if row["name"] in rules.get("only", (row["name"],))]
    left_out = [row["id"] for row in data["classes"] if row not in rows]
    made = plain(
        [row["name"] for row in rows],
        [row["id"] for row in rows],
        [*data["void"], *left_out],
        {row["name"]: row["aliases"] for row in rows if "aliases" in row},
        {row["name"]: row["literal"] for row in rows if "literal" in row},
        [row["colour"] for row in rows] if "colour" in rows[0] else None,
        data["source"],
    )
    return _group(made, rows, data["groups"]) if rules.get("merged") else made


def _group(
    fine: ClassTable, rows: Sequence[Mapping[str, Any]], groups: Sequence[str]
) -> ClassTable:
    scored = plain(groups)
    return ClassTable(
        names=fine.names,
        aliases=fine.aliases,
        literal=fine.literal,
        ids=fine.ids,
        void=fine.void,
        classes=scored.classes,
        merge=tuple(groups.index(row["group"]) for row in rows),
        colours=scored.colours,
        source=fine.source,
    )
