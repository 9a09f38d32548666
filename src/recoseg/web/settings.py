"""Validated settings of a server."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from recoseg.errors import InputError

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{8,200}")


def home() -> Path:
    """Where banks and indexes made on the page are kept, by the XDG base directories."""
    base = os.environ.get("XDG_DATA_HOME", "")
    below = Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "share"
    return below / "recoseg"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class ServerSettings:
    """A server's settings.

    Attributes:
        banks: bank files to offer besides the everyday bank.
        indexes: folders of indexes to offer.
        roots: folders of photos that may be indexed, with all below them.
        student: a student's file, offered beside the banks.
        state: folder for banks and indexes that are made on the page.
        host: address to bind to; beyond loopback a token is needed.
        port: 0 lets the system choose.
        token: what every request must show; None for none.
        max_bytes: of one upload.
        max_pixels: of one image.
        bound: how many jobs may wait.
        device: where to compute; None for CUDA if present.
    """

    banks: tuple[Path, ...] = ()
    indexes: tuple[Path, ...] = ()
    roots: tuple[Path, ...] = ()
    student: Path | None = None
    state: Path = field(default_factory=home)
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    max_bytes: int = 32 * 2**20
    max_pixels: int = 50_000_000
    bound: int = 16
    device: str | None = None

    def __post_init__(self) -> None:
        """Check what would be unsafe or cannot work."""
        if not is_loopback(self.host) and self.token is None:
            raise InputError(beyond(self.host))
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise InputError(
                "a token must be 8 to 200 letters, digits, dots, dashes, underscores or tildes; "
                'make one with: python -c "import secrets; print(secrets.token_urlsafe())".'
            )
        if not 0 <= self.port <= 65535:
            raise InputError(f"a port is a number from 0 to 65535, not {self.port!r}.")
        for name in ("max_bytes", "max_pixels", "bound"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)!r}.")
        for root in self.roots:
            if not root.is_dir():
                raise InputError(f"{root} is not a folder; name one that holds photos.")


def beyond(host: str) -> str:
    """The sentence for a host that others can reach, without a token."""
    return (
        f"others could reach a server on {host}, so it needs a secret; add --token SECRET, or "
        "leave --host out to serve this machine alone."
    )
