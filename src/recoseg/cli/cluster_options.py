"""``--ray [ADDRESS]``: an option whose value may be left out, for verbs that work on a cluster."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from recoseg.cluster.engine import RayCluster

FLAG = "--ray"
_ADDRESS = re.compile(r"auto|local|ray://\S+|\[?[\w.:-]+\]?:\d+")

Ray = Annotated[
    str | None,
    typer.Option(
        FLAG,
        metavar="[ADDRESS]",
        help="Work on the Ray cluster at HOST:PORT or `auto` (the one that runs here); without an "
        "address on all processors of this machine.",
    ),
]


class ClusterVerb(TyperCommand):
    """A verb with ``--ray``, after which only what looks like an address is one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, with an empty address where none is given."""
        return super().parse_args(ctx, with_addresses(args))


def with_addresses(words: list[str]) -> list[str]:
    """The words of a command line with ``--ray=`` for each ``--ray`` that no address follows."""
    end = words.index("--") if "--" in words else len(words)
    after = [*words[1:end], ""]
    return [
        f"{FLAG}=" if word == FLAG and not _ADDRESS.fullmatch(after[place]) else word
        for place, word in enumerate(words[:end])
    ] + words[end:]


@contextlib.contextmanager
def on_cluster(address: str | None, device: str | None) -> Iterator[RayCluster | None]:
    """The cluster that the options ask for, while it is used; None if they ask for none."""
    if address is None:
        yield None
        return
    from recoseg.cluster.engine import RayCluster

    gpus = None if device is None else device != "cpu"
    # Ray says on stdout that a worker was lost; results alone belong there.
    with (
        contextlib.redirect_stdout(sys.stderr),
        RayCluster.connect(address or None, gpus=gpus) as cluster,
    ):
        yield cluster
