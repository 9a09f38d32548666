"""``recoseg baseline``: the unsupervised systems that ReCo is compared with, trained on photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.output import Device, Json, Quiet, check_output_file, show
from recoseg.errors import InputError

Method = Annotated[
    str,
    typer.Argument(metavar="NAME", help="kmeans, mdc, picie, picie+h, iic, stego or primaps-em."),
]
Train = Annotated[Path, typer.Option(metavar="DIR", help="Folder of unlabelled photos.")]
Clusters = Annotated[int, typer.Option(min=2, max=256, help="Clusters to look for.")]
Out = Annotated[Path, typer.Option(metavar="FILE", help="The file to write.")]
Preset = Annotated[str, typer.Option(help="small (for a CPU) or paper; stego also has paper-b8.")]
Encoder = Annotated[
    str | None,
    typer.Option(
        metavar="ID[+ID]", help="Of frozen features: lite, lite:16, lite0, timm:...; joined by +."
    ),
]
Size = Annotated[int | None, typer.Option(min=32, help="Side of the photos, in pixels.")]
Rounds = Annotated[int | None, typer.Option(min=1, help="Epochs, in place of the preset's.")]
Gap = Annotated[
    int | None, typer.Option(min=0, help="Of a film's frames: so many places are no neighbours.")
]
Cache = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Keep features there, for other methods.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random.")]
Replace = Annotated[bool, typer.Option("--replace", help="Write over FILE if it is there already.")]


def baseline(
    method: Method,
    train: Train,
    clusters: Clusters,
    out: Out,
    preset: Preset = "small",
    encoder: Encoder = None,
    size: Size = None,
    rounds: Rounds = None,
    gap: Gap = None,
    cache: Cache = None,
    seed: Seed = 0,
    replace: Replace = False,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a system that ReCo is compared with: it finds clusters without names.

    They are reimplementations; `recoseg evaluate --baseline FILE` matches their clusters with the
    classes by the truth. After an interruption the same command goes on.

    Example:
        recoseg baseline picie --train photos --clusters 8 --out picie.baseline
    """
    from recoseg.baselines.plan import preset as named
    from recoseg.baselines.training import train as run

    if out.is_file() and not replace:
        raise InputError(f"{out} is there already; write over it with --replace.")
    check_output_file(out)
    changes = {"encoder": encoder, "size": size, "rounds": rounds, "gap": gap}
    plan = named(method, preset).replace(**changes)
    made = run(
        plan,
        train,
        clusters,
        out,
        seed=seed,
        cache=cache,
        device=device,
        progress=not quiet,
    )
    last = {key: round(value, 4) for key, value in made.provenance["rounds"][-1].items()}
    data = {"baseline": str(out), "method": plan.label, "note": made.note, "last round": last}
    said = ", ".join(f"{key} {value}" for key, value in last.items())
    columns = ("file", "method", "encoder", "photos", "last round")
    row = (out, plan.label, plan.encoder, made.provenance["photos"], said)
    show({**data, **made.provenance}, columns, [row], as_json=as_json)
