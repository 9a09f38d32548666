"""``recoseg export`` and ``recoseg video``: export label maps, segment films."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from recoseg.cli.output import Json, Quiet, say, show
from recoseg.cli.segment_options import SegmentOptions, with_segment_options

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

    Examples:
        recoseg export seen coco-rle --out coco
        recoseg export seen yolo --images photos --out yolo
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


@with_segment_options
def video(
    source: Annotated[str, typer.Argument(help="A video file, or a folder of frames.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    how: SegmentOptions,
    smooth: Annotated[
        float,
        typer.Option(
            min=0, max=0.999, metavar="S", help="How much scores linger: 0 not at all, 0.9 long."
        ),
    ] = 0.0,
    every: Annotated[int, typer.Option(min=1, metavar="N", help="Take each N-th frame.")] = 1,
    fps: Annotated[
        float | None, typer.Option(help="Of a folder of frames.", show_default="25")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Name every pixel of a video's frames, and lay the names' colours over it.

    Fills the folder with labels/ (indexed PNG and names.json), overlay.mp4 and manifest.json;
    `export` takes it. Run it again after an interruption: it goes on where it was.

    Example:
        recoseg video drive.mp4 --concepts road,tree,sky --smooth 0.7 --out drive
    """
    from recoseg.runs import batch
    from recoseg.video import open_frames, segment_video

    open_frames(source, fps, out)  # both are looked at before the model is loaded
    batch.ready(out)
    clip = segment_video(
        source, how.segmenter(), out, smooth=smooth, every=every, fps=fps, progress=not quiet
    )
    for reason in clip.skipped:
        say(f"skipped {reason}")
    height, width = clip.size
    columns = ("folder", "frames", "kept", "per second", "size", "cuts")
    row = (clip.out, clip.frames, clip.kept, f"{clip.fps:g}", f"{width}x{height}", clip.cuts)
    show(clip.to_dict(), columns, [row], as_json=as_json)
