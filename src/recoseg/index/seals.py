"""Digest of all that a ledger holds, kept up to date row by row, to notice damage.

Each row of each table has a digest of its own, and the ledger's is their sum, so that it can be
kept up to date row by row, in any order. Triggers of the writer's connection do so.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

# The columns that count, in their order.
TABLES = {
    "vectors": ("row", "hash"),
    "images": ("id", "row", "size", "mtime_ns", "ctime_ns", "inode", "read_ns"),
    "skipped": ("id", "reason"),
    "blocks": ("first", "count", "vectors", "hashes"),
}
BYTES = 16
_RANGE = 1 << 8 * BYTES


def row_digest(table: str, values: Sequence[Any]) -> int:
    """A number that changes with any value of a row."""
    data = repr((table, *values)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(data).digest()[:BYTES], "big")


def digest_rows(rows: Callable[[str], Iterable[Any]]) -> int:
    """The digest of all ``rows`` of a query, for each table; sqlite3.Error where one is damaged."""
    total = 0
    for table, columns in TABLES.items():
        for row in rows(f"SELECT {','.join(columns)} FROM {table}"):
            total += row_digest(table, row)
    return total % _RANGE


def encode_digest(total: int, generation: int) -> bytes:
    """The bytes that the ledger stores for a digest; they cover the shards' ``generation`` too."""
    return ((total + row_digest("generation", (generation,))) % _RANGE).to_bytes(BYTES, "big")


def decode_digest(kept: bytes, generation: int) -> int:
    """The inverse of ``encode_digest``."""
    return (int.from_bytes(kept, "big") - row_digest("generation", (generation,))) % _RANGE


class Tally:
    """The digest of a ledger that is being changed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Add up the changes that this connection makes from now on."""
        self.total = 0
        connection.execute("PRAGMA recursive_triggers = ON")  # for rows that are replaced
        connection.create_function("tally", -1, self._change)
        for table, columns in TABLES.items():
            new = ",".join(f"NEW.{name}" for name in columns)
            old = ",".join(f"OLD.{name}" for name in columns)
            added, gone = f"SELECT tally(1,'{table}',{new});", f"SELECT tally(-1,'{table}',{old});"
            for event, body in (
                ("INSERT", added),
                ("DELETE", gone),
                ("UPDATE", gone + added),
            ):
                connection.execute(
                    f"CREATE TEMP TRIGGER tally_{table}_{event} AFTER {event} ON main.{table} "
                    f"BEGIN {body} END"
                )

    def _change(self, sign: int, table: str, *values: Any) -> None:
        self.total = (self.total + sign * row_digest(table, values)) % _RANGE
