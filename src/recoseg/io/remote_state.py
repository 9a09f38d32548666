"""What file systems behind URLs tell of a file, by which a change of it is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

# Size, two times and a number, as in ``Item``.
State = tuple[int, int, int, int]
# What they call the time of a change, what changes with the bytes, and what may change with them.
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "timeModified", "created")
_TAGS = ("ETag", "etag", "md5Hash", "generation", "checksum")
_HINTS = ("ino",)


def state_of(info: Mapping[str, Any]) -> State:
    """Size, time of change twice, and a number that changes with the content, as far as told."""
    told = next((info[name] for name in _TIMES if info.get(name) is not None), 0)
    if isinstance(told, str):
        told = datetime.fromisoformat(told)
    seconds = told.timestamp() if isinstance(told, datetime) else float(told)
    tags = repr([info.get(name) for name in (*_TAGS, *_HINTS)]).encode()
    number = int.from_bytes(hashlib.sha256(tags).digest()[:7], "big")
    return int(info.get("size") or 0), int(seconds * 1e9), int(seconds * 1e9), number


def has_tag(info: Mapping[str, Any]) -> bool:
    """Whether a tag is told that is another one as soon as a file's bytes are others."""
    told = [info[name] for name in _TAGS if info.get(name) is not None]
    # A tag that a web server calls weak may stay while bytes change.
    return any(not str(tag).startswith("W/") for tag in told)
