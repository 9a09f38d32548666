"""``recoseg export`` and ``recoseg video``: results for other tools, and moving pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from recoseg.cli.output import Json, Quiet, say, show

Format = Annotated[
    str,
    typer.Argument(
        help="masks, voc, coco-rle, coco-polygons, yolo, cvat, labelstudio, labelstudio-polygons "
        "or huggingface."
    ),
]
Photos = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="The photos that were segmented; voc and yolo hold them."),
]
Concepts = Annotated[
    str | None,
    typer.Option(metavar="A,B,C", help="Only these, in this order.", show_default="all"),
]
PartsOption = Annotated[
    str | None,
    typer.Option(
        help="An annotation per `class` or per connected `component`.",
        show_default="class; yolo: component",
    ),
]


def export(
    segmented: Annotated[Path, typer.Argument(help="A folder that `recoseg segment` filled.")],
    format: Format,
    out: Annotated[Path, typer.Option(help="Folder to make; it must not exist yet.")],
    images: Photos = None,
    concepts: Concepts = None,
    parts: PartsOption = None,
    min_area: Annotated[
        int, typer.Option(min=1, help="Leave out annotations of fewer pixels.")
    ] = 1,
    prefix: Annotated[
        str | None,
        typer.Option(
            help="Before each image's path, for Label Studio.", show_default="local files"
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write label maps in the format of another tool.

    The folder is made whole or not at all. `unknown` and void pixels are left out. What the format
    could not hold by its name is listed in recoseg.json, with what was written.
    """
    from recoseg import exporting
    from recoseg.exporting.regions import Parts
    from recoseg.exporting.target import PREFIX

    made = exporting.write(
        segmented,
        format,
        out,
        names=None if concepts is None else [name.strip() for name in concepts.split(",")],
        parts=cast(Parts | None, parts),
        min_area=min_area,
        images=images,
        prefix=PREFIX if prefix is None else prefix,
        progress=not quiet,
    )
    for old, new in made.renamed.items():
        say(f"renamed {old}: {new}")
    columns = ("folder", "format", "images", "annotations", "too small")
    row = (made.out, made.format, made.images, made.annotations, made.small)
    show(made.to_dict(), columns, [row], as_json=as_json)
