"""``recoseg index import`` and ``export``: embeddings that others made, or are to use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoseg.cli.output import Device, Json, Quiet, check_output_folder, say, show

if TYPE_CHECKING:
    from recoseg import Index
    from recoseg.embeddings.importing import Imported
    from recoseg.io.archive import Archive, Skipped
    from recoseg.models.base import JointModel

Moved = Annotated[
    bool, typer.Option("--moved", help="The source of an index that exists is now here.")
]
Check = Annotated[
    bool, typer.Option("--check", help="Read all of the index, and mend what is damaged.")
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Go on though no photo can be read to compare.")
]
Photos = Annotated[
    str | None,
    typer.Option(
        metavar="PHOTOS",
        help="Folder, tar files or URL of the photos; those elsewhere are not read.",
    ),
]


def import_(
    source: Annotated[
        Path, typer.Argument(help="Folder of clip-retrieval, .npy file, tar shards or tables.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="INDEX", help="The index to make, or to bring up to date.")
    ],
    model: Annotated[str, typer.Option(help="The model that made the vectors; see `models`.")],
    photos: Photos = None,
    paths: Annotated[
        Path | None, typer.Option(metavar="LIST", help="Paths of the rows of a .npy file.")
    ] = None,
    trust: Trust = False,
    moved: Moved = False,
    check: Check = False,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Take over the vectors of photos that were embedded elsewhere.

    The model that made them must be named: some of the photos are embedded again, and what does
    not agree is refused. Photos that cannot be fetched can be searched, and are passed over when a
    concept is learnt. Run it again after the source was changed, or after it was interrupted: only
    the difference is done.

    Example:
        recoseg index import embeddings other.index --model lite --photos photos
    """
    from recoseg.embeddings.importing import import_table
    from recoseg.embeddings.recognise import open_table, open_unembedded
    from recoseg.models import registry

    alone = open_unembedded(source)
    if alone is not None:
        _embed(alone, out, registry.load_joint(model, device), check, quiet, as_json)
        return
    table = open_table(source, photos=photos, paths=paths)
    check_output_folder(out)
    joint = registry.load_joint(model, device)
    how = {"trust": trust, "moved": moved, "check": check, "progress": not quiet}
    made = import_table(table, out, model=joint, **how)
    _tell(made)
    _report(made, out, as_json)


def export(
    index: Annotated[Path, typer.Argument(help="An index made by `recoseg index`.")],
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="To be made; it must not exist.")],
    rows: Annotated[int, typer.Option(min=1, help="Rows per file.")] = 1_000_000,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write an index as a folder of clip-retrieval: `img_emb/*.npy` with `metadata/*.parquet`.

    Example:
        recoseg index export photos.index embeddings
    """
    from recoseg import Index
    from recoseg.embeddings.exporting import export_clip_retrieval

    opened = Index.open(index)
    check_output_folder(out)
    files = export_clip_retrieval(opened, out, rows=rows, progress=not quiet)
    data = {"folder": str(out), "images": len(opened), "files": files}
    show(data, ("folder", "images", "files"), [(out, len(opened), files)], as_json=as_json)


def sync(
    index: Annotated[Path, typer.Argument(help="An index made by `recoseg index`.")],
    address: Annotated[
        str,
        typer.Argument(metavar="SERVER", help="postgresql://HOST/DATABASE[#NAME] or faiss:FOLDER."),
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Forget another model's vectors of this name.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Bring a vector server to the state of an index, for `--server` of `search` and `concept`.

    Run it again after the index was changed, or after it was interrupted: only the difference is
    sent. Several indexes may be in one database.

    Example:
        recoseg index sync photos.index faiss:photos.faiss
    """
    from recoseg import Index
    from recoseg.servers import addresses
    from recoseg.servers.sync import sync as bring

    opened = Index.open(index)
    server = addresses.connect(address, opened)
    changes = bring(opened, server, replace=replace, progress=not quiet)
    data = {"server": server.where, **changes._asdict()}
    data.pop("skipped")
    show(data, tuple(data), [tuple(data.values())], as_json=as_json)


def say_skipped(index: Index) -> list[Skipped]:
    """What an index left out, told on stderr."""
    skipped = index.skipped
    for name, reason in skipped:
        say(f"skipped {name}: {reason}")
    return skipped


def _embed(
    photos: Archive, out: Path, model: JointModel, check: bool, quiet: bool, as_json: bool
) -> None:
    from recoseg import Index

    say("note: it holds no vectors, so its photos are embedded.")
    made = Index.build(photos, out, model=model, check=check, progress=not quiet)
    skipped = say_skipped(made)
    data = {"index": str(out), "images": len(made), "skipped": [s._asdict() for s in skipped]}
    show(data, ("index", "images", "skipped"), [(out, len(made), len(skipped))], as_json=as_json)


def _report(made: Imported, out: Path, as_json: bool) -> None:
    skipped = say_skipped(made.index)
    images = len(made.index)
    data = {
        "index": str(out),
        "images": images,
        "unreachable": made.unreachable,
        "repeated": made.repeated,
        "nameless": made.nameless,
        "normalised": made.agreement.normalised,
        "compared": made.agreement.compared,
        "least_cosine": made.agreement.least,
        "skipped": [s._asdict() for s in skipped],
    }
    rows = [(out, images, made.unreachable, len(skipped))]
    show(data, ("index", "images", "unreachable", "skipped"), rows, as_json=as_json)


def _tell(made: Imported) -> None:
    found = made.agreement
    if found.least is None:
        say("note: no photo could be read, so the vectors were not compared with the model.")
    else:
        say(f"compared {found.compared} photos with the model: cosine at least {found.least:.4f}.")
    if not found.normalised:
        say("note: the vectors did not have length 1; they were normalised.")
    if made.unreachable:
        say(
            f"note: {made.unreachable} photos cannot be fetched now; they can be searched, and are "
            "passed over when a concept is learnt."
        )
    if made.repeated:
        say(f"note: {made.repeated} rows name a photo that had a row before; the first counts.")
    if made.nameless:
        say(f"note: {made.nameless} rows name no photo and were left out.")
