"""Serving the application with uvicorn until it is interrupted."""

from __future__ import annotations

import logging
import socket
import tempfile
from collections.abc import Callable
from typing import NoReturn

import uvicorn
from fastapi import FastAPI

from recoseg.errors import RecosegError
from recoseg.web.app import create
from recoseg.web.settings import ServerSettings


def run(settings: ServerSettings, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C, which ends the running step first.

    Args:
        settings: what to serve, and to whom.
        say: is told the address when the server can be reached.

    Raises:
        RecosegError: something that was named cannot be opened, or the port is taken.
        KeyboardInterrupt: it was ended.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    with _listen(settings) as listening:
        app = create(settings)
        try:
            _serve(app, settings, listening, say)
        finally:
            app.state.service.close()


def _serve(
    app: FastAPI, settings: ServerSettings, listening: socket.socket, say: Callable[[str], None]
) -> NoReturn:
    # Uploads that the form parser puts aside belong with everything else that is removed.
    tempfile.tempdir = app.state.service.temporary.name
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=30,
        proxy_headers=False,
    )
    try:
        say(address(settings, listening.getsockname()[1]))
        uvicorn.Server(config).run([listening])
    finally:
        tempfile.tempdir = None
    # Where Ctrl-C was switched off, as in the background of a script, uvicorn only returns.
    raise KeyboardInterrupt


def address(settings: ServerSettings, port: int) -> str:
    """The URL to open, with the secret if there is one."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    secret = f"?token={settings.token}" if settings.token else ""
    return f"http://{host}:{port}/{secret}"


def _listen(settings: ServerSettings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise RecosegError(
            f"port {settings.port} of {settings.host} cannot be used ({error.strerror}); end what "
            "uses it, or choose another with --port."
        ) from error
