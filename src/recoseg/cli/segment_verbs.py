"""``recoseg segment``: images in, label maps and overlays out, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoseg.cli.cluster_options import Ray, on_cluster
from recoseg.cli.output import Json, Quiet, gather_images, say, show
from recoseg.cli.segment_options import SegmentOptions, with_segment_options

if TYPE_CHECKING:
    from recoseg.runs.batch import Outcome

BAD_INPUT = 3

Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGES",
        help="Images, folders of images, URLs of either, tar files, or quoted patterns.",
    ),
]


@with_segment_options
def segment(
    images: Images,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    how: SegmentOptions,
    ray: Ray = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Name every pixel of every image.

    Fills the folder with labels/ (indexed PNG, and names.json for what each index means),
    overlays/ (to look at) and manifest.json. Run it again after an interruption or with more
    images: what is there already, made from the same bytes with the same bank and settings, is
    kept. An image that cannot be read is reported and the others go on; the exit status is then 3.

    Photos behind a URL that fsspec opens (s3://bucket/photos, gs://, https:// and others; pip
    install 'recoseg[remote]') are fetched and not kept; tar files are read in place.

    Examples:
        recoseg segment photos --concepts cat,grass,sky --out seen
        recoseg segment "photos/*.jpg" --bank street.bank --out streets
    """
    found = gather_images(images, out)
    from recoseg.runs import batch

    segmenter, outcomes = how.segmenter(), []
    with on_cluster(ray, how.device) as cluster:
        for outcome in batch.run(
            found, segmenter, out, segmenter.identity, progress=not quiet, cluster=cluster
        ):
            outcomes.append(outcome)
            if outcome.state == "failed":
                say(f"failed {outcome.id}: {outcome.reason}")
    _report(outcomes, as_json)


def _report(outcomes: Sequence[Outcome], as_json: bool) -> None:
    rows = [(done.state, done.id, done.summary(), done.labels or "") for done in outcomes]
    data = [outcome.to_dict() for outcome in outcomes]
    show(data, ("", "image", "largest areas", "labels"), rows, as_json=as_json)
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(BAD_INPUT)
