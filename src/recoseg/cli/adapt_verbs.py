"""``recoseg adapt`` and ``recoseg onnx``: train a student, and export it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recoseg.cli.cluster_options import Ray, on_cluster
from recoseg.cli.concept_options import open_bank
from recoseg.cli.dataset_verbs import split_names
from recoseg.cli.output import Device, Json, Quiet, check_output_file, check_output_folder, show
from recoseg.errors import InputError

if TYPE_CHECKING:
    from recoseg import Segmenter
    from recoseg.datasets import ClassTable
    from recoseg.learning.plan import Plan
    from recoseg.learning.validation import Labelled


Folder = Annotated[
    str, typer.Argument(help="Folder of the target's unlabelled images, or its URL.")
]
Home = Annotated[Path, typer.Option(help="Folder for the student and its report.")]
Bank = Annotated[str, typer.Option(help="The teacher's bank, or `everyday` for the one shipped.")]
Concepts = Annotated[
    str | None, typer.Option(metavar="A,B,C", help="Only these concepts.", show_default="all")
]
Iterations = Annotated[int | None, typer.Option(min=1, help="In place of the preset's.")]
Encoder = Annotated[
    str | None, typer.Option(help="lite2, lite0, timm:NAME, timm:NAME/FILE, or random:NAME.")
]
ProtocolName = Annotated[
    str | None, typer.Option("--protocol", help="Learn its classes, in its geometry.")
]
Images = Annotated[int | None, typer.Option(min=1, help="Only so many, chosen evenly.")]
Rounds = Annotated[int, typer.Option(min=1, help="2: once more, on its own labels.")]
Confidence = Annotated[float, typer.Option(min=0, max=1, help="Ignore pixels labelled with less.")]
Unknown = Annotated[
    bool,
    typer.Option("--unknown", help="Ignore also those below the bank's calibrated thresholds."),
]
ValidationImages = Annotated[Path | None, typer.Option(help="Labelled images, to report on.")]
ValidationMasks = Annotated[Path | None, typer.Option(help="Their masks: PNG of indices.")]
Select = Annotated[
    bool, typer.Option("--select", help="Keep the best on those labels, not the last.")
]


def adapt(
    folder: Folder,
    out: Home,
    bank: Bank = "everyday",
    concepts: Concepts = None,
    preset: Annotated[str, typer.Option(help="small (for a CPU) or paper.")] = "small",
    iterations: Iterations = None,
    batch: Iterations = None,
    encoder: Encoder = None,
    protocol: ProtocolName = None,
    images: Images = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    rounds: Rounds = 1,
    confidence: Confidence = 0.0,
    unknown: Unknown = False,
    val_images: ValidationImages = None,
    val_masks: ValidationMasks = None,
    select: Select = False,
    ray: Ray = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a small, fast network for your kind of images; no labels are needed.

    Labels the images with the bank (CRF included), trains a student on them, and writes
    student.safetensors, report.json and curves.png. After an interruption it goes on where it was.

    Example:
        recoseg adapt photos --bank street.bank --out student
    """
    from recoseg.io.remote import is_url
    from recoseg.learning import adaptation, plan
    from recoseg.learning.pseudolabels import Ignoring
    from recoseg.runs import inputs

    check_output_folder(out)
    if not is_url(folder):  # a wrong path is told before the model is loaded
        inputs.gather([folder], leave_out=out)
    chosen = plan.preset(preset).replace(iterations=iterations, batch=batch, encoder=encoder)
    chosen, table = _as_protocol(chosen, protocol)
    teacher = _teacher(bank, concepts, unknown, device)
    kept: Any = {"table": table, "images": images, "device": device, "progress": not quiet}
    kept |= {"seed": seed, "rounds": rounds, "select": select, "ignoring": Ignoring(confidence)}
    kept |= {"validate": _validation(val_images, val_masks), "preset": chosen}
    kept |= {"validate_every": max(1, chosen.iterations // 10)}
    with on_cluster(ray, device) as cluster:
        adaptation.adapt(teacher, folder, out, cluster=cluster, **kept)
    _print(out, as_json)


def onnx(
    student: Annotated[Path, typer.Argument(metavar="STUDENT", help="The student's file.")],
    out: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    photos: Annotated[
        list[str] | None,
        typer.Option(help="Photos or a folder, to compare on and to set the ranges of --int8."),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="8-bit integers; needs --photos.")] = False,
    as_json: Json = False,
) -> None:
    """Write a student as ONNX: any image size, preprocessing inside, names in the metadata.

    With --photos it says on how many of their pixels the file agrees with the student.

    Example:
        recoseg onnx student/student.safetensors student.onnx --photos photos
    """
    from recoseg.cli.concept_options import find_photos
    from recoseg.student import onnx
    from recoseg.student.student import Student

    check_output_file(out)
    made = onnx.export(Student.open(student), out, photos=find_photos(photos or ()), int8=int8)
    agreement = "not compared" if made.agreement is None else f"{made.agreement:.2%}"
    data = {"onnx": str(made.path), "agreement": made.agreement, "int8": made.int8}
    show(data, ("file", "pixels that agree"), [(made.path, agreement)], as_json=as_json)


def _teacher(bank: str, concepts: str | None, unknown: bool, device: str | None) -> Segmenter:
    """The bank's segmenter that labels the images."""
    from recoseg import Options, Segmenter

    options = Options(concepts=split_names(concepts), unknown=unknown)
    return Segmenter(open_bank(bank), options=options, device=device)


def _as_protocol(chosen: Plan, name: str | None) -> tuple[Plan, ClassTable | None]:
    """The plan in a protocol's geometry, and the classes it scores if they are fewer."""
    from recoseg.datasets import tables
    from recoseg.evaluation import protocols

    if name is None:
        return chosen, None
    found = protocols.protocol(name)
    if found.short_side is not None:
        chosen = chosen.replace(image_size=found.short_side, resampling=found.resampling)
    if found.dataset is None:
        return chosen, None
    table = tables.table(found.dataset, found.variant)
    return chosen, table if table.names != table.classes else None


def _validation(images: Path | None, masks: Path | None) -> Labelled | None:
    from recoseg.learning.validation import Labelled

    if images is None and masks is None:
        return None
    if images is None or masks is None:
        raise InputError("validation needs both --val-images and --val-masks.")
    return Labelled.of(images, masks)


def _print(out: Path, as_json: bool) -> None:
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    last = report["rounds"][-1]
    rows = [
        (name, f"{row['images']:.0%}", f"{row['pixels']:.1%}", f"{row['confidence']:.2f}")
        for name, row in last["labels"]["concepts"].items()
    ]
    show(
        {**report, "student": str(out / report["student"])},
        ("concept", "images", "pixels", "confidence"),
        rows,
        as_json=as_json,
        title=f"{out / report['student']}: began as {last['encoder']}; kept: {last['selected']}",
    )
