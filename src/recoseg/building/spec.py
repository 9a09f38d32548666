"""Validated requests for concepts to be built."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from recoseg.concepts.concept import Examples, Exclude, Unnamed, Words, words
from recoseg.errors import InputError
from recoseg.io.images import ImageLike


@dataclass(frozen=True)
class Request:
    """A concept to be built.

    Attributes:
        name: what it is called.
        aliases: the words that describe it.
        examples: images handed over by the user.
        exclude: ids of archive images that must not be retrieved.
        search: whether to retrieve images from the archive by the aliases.
        nameless: whether the aliases guide neither co-segmentation nor inference.
    """

    name: str
    aliases: tuple[str, ...]
    examples: tuple[ImageLike, ...] = ()
    exclude: frozenset[str] = frozenset()
    search: bool = True
    nameless: bool = False


def requests(
    concepts: Words, examples: Examples | None, exclude: Exclude | None, *, searchable: bool
) -> dict[str, Request]:
    """One request per concept, by name, in the order they were named.

    A name in ``concepts`` is searched for if the archive is at hand (``searchable``), a name in
    ``examples`` uses those images, and a name in both does both.

    Raises:
        InputError: nothing to build, a name without images, or something that is no list.
    """
    named, examples, exclude = words(concepts), dict(examples or {}), dict(exclude or {})
    if not named and not examples:
        raise InputError("no concept was named; give at least one.")
    shown = {name: (name,) for name in words(list(examples)) if name not in named}
    _check_lists(examples, exclude)
    made = {}
    for name, aliases in {**named, **shown}.items():
        search, given = searchable and name in named, tuple(examples.get(name, ()))
        if not search and not given:
            raise InputError(
                f"there is no image for {name!r}; give an index to search, or examples."
            )
        excluded = frozenset(exclude.get(name, ()))
        nameless = isinstance(examples.get(name), Unnamed)
        made[name] = Request(name, aliases, given, excluded, search, nameless)
    return made


def context_requests(
    contexts: Sequence[str], made: Mapping[str, Request], exclude: Exclude | None
) -> list[Request]:
    """The contexts in order: as the user asked for them, or by their bare names."""
    return [
        made.get(name) or Request(name, (name,), (), frozenset((exclude or {}).get(name, ())))
        for name in contexts
    ]


def check_known(exclude: Exclude | None, known: Collection[str]) -> None:
    """InputError if images are excluded for a name that is not being built."""
    for name in exclude or {}:
        if name not in known:
            raise InputError(
                f"images are excluded for {name!r}, which is not being built; check its spelling."
            )


def _check_lists(examples: Examples, exclude: Exclude) -> None:
    for name, given in examples.items():
        if not isinstance(given, list | tuple) or not given:
            raise InputError(f"the examples of {name!r} must be a list of at least one image.")
    for name, ids in exclude.items():
        if isinstance(ids, str):
            raise InputError(f"the images excluded for {name!r} must be a list of ids.")
