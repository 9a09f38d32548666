"""Word lists: which words ask for the classes of a dataset.

The paper's release asks for each class by the one name of the dataset's own list, and lets the
reference of the context "tree" answer for "vegetation". Users are better served by several words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recoseg.errors import InputError

if TYPE_CHECKING:
    from recoseg.datasets import ClassTable


@dataclass(frozen=True)
class WordList:
    """A way to ask for classes.

    Attributes:
        name: what to call it.
        about: one line for people.
        literal: one word of the dataset's own list per class, in place of those for users.
        answered: class to the context whose reference answers for it at inference; the class keeps
            its own text.
    """

    name: str
    about: str
    literal: bool = False
    answered: Mapping[str, str] = field(default_factory=dict)

    def words(self, table: ClassTable) -> dict[str, tuple[str, ...]]:
        """Class name to the words that ask for it, in the table's order."""
        if self.literal:
            return {name: (table.literal[name],) for name in table.names}
        return {name: table.aliases[name] for name in table.names}


LISTS = {
    one.name: one
    for one in (
        WordList("usual", "several words a class, chosen for users"),
        WordList("paper", "one word a class, that of the dataset's own list", literal=True),
        WordList(
            "paper-tree",
            "as paper, and tree's reference answers for vegetation, as in the paper's release",
            literal=True,
            answered={"vegetation": "tree"},
        ),
    )
}


def word_list(name: str) -> WordList:
    """The list called so; InputError names those there are."""
    if name not in LISTS:
        raise InputError(f"no word list {name!r}; choose one of {', '.join(LISTS)}.")
    return LISTS[name]
