"""``recoseg index`` and ``recoseg search``: index photos, and search them by text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recoseg.cli.cluster_options import Ray, on_cluster
from recoseg.cli.embedding_verbs import say_skipped
from recoseg.cli.output import (
    Device,
    Json,
    Preset,
    Quiet,
    Server,
    check_output_file,
    check_output_folder,
    open_served,
    say,
    show,
    warn_unread,
)
from recoseg.errors import InputError

if TYPE_CHECKING:
    from recoseg.cluster.engine import RayCluster
    from recoseg.index.index import Hit, Index
    from recoseg.io.archive import Archive

Check = Annotated[bool, typer.Option("--check", help="Read all of it, and mend what is damaged.")]
Compact = Annotated[bool, typer.Option("--compact", help="Drop vectors of photos that are gone.")]


def index(
    photos: Annotated[
        str, typer.Argument(help="Folder of photos, list file of paths, tar file, or pattern.")
    ],
    out: Annotated[Path, typer.Argument(help="The index to make, or to bring up to date.")],
    preset: Preset = "lite",
    model: Annotated[
        str | None,
        typer.Option(help="Language-image model; see `models`.", show_default="the preset's"),
    ] = None,
    moved: Annotated[
        bool, typer.Option("--moved", help="The photos of an index that exists are now here.")
    ] = False,
    check: Check = False,
    compact: Compact = False,
    ray: Ray = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Embed every photo once, so that words can find it.

    No labels are needed. Run it again after photos were added, changed or deleted, or after it was
    interrupted: only the difference is done. Files that cannot be read are skipped and listed.
    Photos that were embedded elsewhere are taken over by `recoseg index import`. (A folder that
    is named import or export is given as ./import or ./export.)

    Example:
        recoseg index photos photos.index
    """
    from recoseg import Archive

    found = Archive.open(photos)  # before torch is imported: a misspelt path is told at once
    check_output_folder(out)
    warn_unread(found.unread_note)
    from recoseg import recipe
    from recoseg.index import update
    from recoseg.models import registry

    if not moved:
        update.check_folder(out, found)
    joint = registry.load_joint(model or recipe.preset(preset).retrieval, device)
    how: Any = {"model": joint, "check": check, "compact": compact, "progress": not quiet}
    with on_cluster(ray, device) as cluster:
        made = _embed(found, out, moved, cluster, how)
    skipped = say_skipped(made)
    data = {"index": str(out), "images": len(made), "skipped": [s._asdict() for s in skipped]}
    show(data, ("index", "images", "skipped"), [(out, len(made), len(skipped))], as_json=as_json)


def _embed(
    found: Archive, out: Path, moved: bool, cluster: RayCluster | None, how: Mapping[str, Any]
) -> Index:
    from recoseg import Index

    if not moved:
        return Index.build(found, out, cluster=cluster, **how)
    made = Index.open(out, cluster=cluster)
    made.add(found, **how)
    return made


def search(
    index: Annotated[Path, typer.Argument(help="An index made by `recoseg index`.")],
    words: Annotated[list[str], typer.Argument(help="What to look for; quote longer phrases.")],
    k: Annotated[int, typer.Option("-k", min=1, help="Photos per phrase.")] = 10,
    sheet: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Also draw the photos here.")
    ] = None,
    server: Server = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Find the photos that fit each phrase best, by cosine similarity.

    A look here tells whether the photos hold a concept at all, before it is built.

    Example:
        recoseg search photos.index "fire hydrant" bench -k 5 --sheet found.png
    """
    from recoseg import Index
    from recoseg.models import prompts, registry

    if sheet is not None:
        check_output_file(sheet)
    opened = Index.open(index)
    if not all(phrase.strip() for phrase in words):
        raise InputError("one of the phrases is empty; say what to look for.")
    joint = registry.load_joint(opened.model_id, device)
    opened.check(joint)
    vectors = prompts.embed_concepts(joint, {phrase: [phrase] for phrase in words}, "lite")
    searched = open_served(opened, server)
    found = dict(zip(dict.fromkeys(words), searched.search(vectors, k), strict=True))
    if sheet is not None:
        _draw(opened, found, sheet)
        say(f"drew {sheet}")
    data = {
        phrase: [{"id": id, "score": round(score, 6)} for id, score in hits]
        for phrase, hits in found.items()
    }
    rows = [
        (phrase, rank, f"{score:.4f}", id)
        for phrase, hits in found.items()
        for rank, (id, score) in enumerate(hits, start=1)
    ]
    show(data, ("phrase", "rank", "score", "photo"), rows, as_json=as_json)


def _draw(index: Index, found: Mapping[str, Sequence[Hit]], path: Path) -> None:
    from recoseg.drawing import palette

    tiles = [
        (index.image(id, at_least=256), f"{id}\n{phrase} {score:.3f}")
        for phrase, hits in found.items()
        for id, score in hits
    ]
    palette.write(path, palette.contact_sheet(tiles, columns=5, title=", ".join(found)))
