"""Fields of a form: lists as JSON, files as bytes."""

from __future__ import annotations

import json
from pathlib import PurePath

from fastapi import UploadFile

from recoseg.io.images import printable
from recoseg.web.failures import Unprocessable

MOST = 1000


def texts(field: str, name: str) -> tuple[str, ...]:
    """A JSON list of strings; each once.

    Raises:
        Unprocessable: something else.
    """
    try:
        values = json.loads(field or "[]")
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise Unprocessable(f'{name} must be a list of texts as JSON, such as ["cat", "dog"].')
    if len(values) > MOST:
        raise Unprocessable(f"{name} has more than {MOST} entries; name fewer.")
    return tuple(dict.fromkeys(values))


def name_of(upload: UploadFile) -> str:
    """What to call an upload in a message: the name of its file, without folders."""
    name = PurePath((upload.filename or "").replace("\\", "/")).name
    kept = "".join(c for c in printable(name) if c.isprintable())
    return kept[-80:] or "the upload"
