"""Addresses of vector servers: ``postgresql://HOST/DATABASE`` and ``faiss:FOLDER``."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from recoseg.errors import InputError
from recoseg.index.index import Index
from recoseg.servers.server import VectorServer

POSTGRES = ("postgresql://", "postgres://")
FAISS = "faiss:"


def connect(address: str, index: Index) -> VectorServer:
    """The server at an address, for one index.

    Args:
        address: a URL of PostgreSQL as libpq takes it, and after ``#`` the name of the index there,
            by default its absolute path; or ``faiss:`` and a folder, for a server inside this
            process.
        index: what is searched, or is to be.

    Raises:
        InputError: the address has no form that is known, or a package is missing.
        ServerError: the server cannot be reached.
    """
    if address.startswith(POSTGRES):
        from recoseg.servers.pgvector import PgVector

        url, _, name = address.partition("#")
        return PgVector(url, unquote(name) or str(index.path.absolute()))
    if address.startswith(FAISS) and (place := address.removeprefix(FAISS)):
        from recoseg.servers.faiss_folder import FaissFolder

        return FaissFolder(Path(place).expanduser())
    raise InputError(
        f"{address.partition('@')[2] or address!r} is no address of a vector server; give "
        "postgresql://HOST/DATABASE or faiss:FOLDER."
    )
