"""``recoseg serve``: start the web page and the API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.output import Device, Json, say, show

Banks = Annotated[
    list[Path] | None,
    typer.Option("--bank", help="A bank to offer besides the everyday one; repeatable."),
]
Indexes = Annotated[
    list[Path] | None, typer.Option("--index", "-i", help="An index to offer; repeatable.")
]
Roots = Annotated[
    list[Path] | None,
    typer.Option("--root", help="A folder whose photos may be indexed; repeatable."),
]
State = Annotated[
    Path | None,
    typer.Option(
        help="Folder for the banks and indexes made on the page.",
        show_default="$XDG_DATA_HOME/recoseg",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(envvar="RECOSEG_TOKEN", help="A secret to ask for; needed beyond this machine."),
]


def serve(
    bank: Banks = None,
    index: Indexes = None,
    root: Roots = None,
    student: Annotated[Path | None, typer.Option(help="A student's file to offer too.")] = None,
    state: State = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    token: Token = None,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Of one upload.")] = 32,
    max_megapixels: Annotated[int, typer.Option(min=1, help="Of one image.")] = 50,
    queue: Annotated[int, typer.Option(min=1, help="Jobs that may wait.")] = 16,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Serve a page for the browser, and an API for programs, until Ctrl-C.

    Photos are segmented, folders indexed and concepts learnt on the page; nothing leaves this
    machine. The API is described at /api/openapi.json.

    Examples:
        recoseg serve --root photos
        recoseg serve --bank street.bank --host 0.0.0.0 --token SECRET
    """
    from recoseg.web import serving, settings

    if not settings.is_loopback(host) and token is None:
        raise typer.BadParameter(settings.beyond(host))
    chosen = settings.ServerSettings(
        banks=tuple(bank or ()),
        indexes=tuple(index or ()),
        roots=tuple(root or ()),
        student=student,
        state=state or settings.home(),
        host=host,
        port=port,
        token=token,
        max_bytes=max_megabytes * 2**20,
        max_pixels=max_megapixels * 1_000_000,
        bound=queue,
        device=device,
    )
    say("starting; Ctrl-C ends it.")
    serving.run(chosen, lambda url: show({"url": url}, ("url",), [(url,)], as_json=as_json))
