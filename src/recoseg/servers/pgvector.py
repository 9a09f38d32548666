"""PostgreSQL with pgvector: a table for each index, searched by an HNSW graph."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recoseg.errors import Locked, ServerError, optional_import
from recoseg.servers.server import Sample, State, Vectors

if TYPE_CHECKING:
    import psycopg

PAGE = 4096
# What pgvector can index; above it every search reads all rows, which is exact.
INDEXED_DIM = 4000
# Neighbours looked at per query: more is better and slower.
EF_SEARCH = (400, 1000)
TABLES = """
CREATE TABLE IF NOT EXISTS recoseg_indexes(
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE NOT NULL,
    dim integer NOT NULL, fingerprint text NOT NULL, digest text, seal bytea
)"""
_LOCK = 0x7EC05E6


class PgVector:
    """One index in a database; names and ids are only ever parameters, never parts of a query."""

    def __init__(self, url: str, name: str) -> None:
        """Connect.

        Args:
            url: as libpq takes it.
            name: of the index in the database.

        Raises:
            ServerError: the server cannot be reached or has no pgvector.
            InputError: psycopg or pgvector's package is missing.
        """
        with optional_import("a server of PostgreSQL needs psycopg and pgvector", "pgvector"):
            import pgvector.psycopg
            import psycopg
        self.name = name.replace("\0", "")
        with _explain_errors(_hide_password(url)):
            self._connection = psycopg.connect(url, autocommit=True, connect_timeout=10)
            # Whoever forgets to close it does not keep a session of the server busy.
            weakref.finalize(self, self._connection.close)
            info = self._connection.info
            self.where = f"database {info.dbname!r} on {info.host or 'this machine'}"
        with self._explain():
            # Two that make it at once would both fail without the lock.
            with self._connection.transaction():
                self._ask("SELECT pg_advisory_xact_lock(%s)", _LOCK)
                self._ask("CREATE EXTENSION IF NOT EXISTS vector")
                self._ask(TABLES)
            pgvector.psycopg.register_vector(self._connection)

    def nearest(self, vectors: Vectors, k: int) -> tuple[list[list[str]], list[list[float]]]:
        """As the protocol says, by one query each."""
        from pgvector import HalfVector

        ids, scores = list[list[str]](), list[list[float]]()
        with self._explain(), self._connection.transaction():
            low, high = EF_SEARCH
            self._set("hnsw.ef_search", min(high, max(low, 4 * k)))
            # Where more are wanted than that, the graph is walked on.
            self._set("hnsw.iterative_scan", "strict_order")
            self._set("hnsw.max_scan_tuples", max(20_000, 20 * k))
            table = self._table()
            query = (
                "SELECT id, 1 - (vector <=> %(q)s) FROM {} ORDER BY vector <=> %(q)s LIMIT %(k)s"
            )
            for vector in vectors:
                wanted = {"q": HalfVector(vector), "k": k}
                found = self._connection.execute(_with(query, table), wanted).fetchall()
                ids.append([id for id, _ in found])
                scores.append([float(score) for _, score in found])
        return ids, scores

    def state(self) -> State | None:
        """What the database holds under the name."""
        query = "SELECT dim, fingerprint, digest, seal FROM recoseg_indexes WHERE name = %s"
        with self._explain():
            found = self._ask(query, self.name)
        return State(*found[0]) if found else None

    @contextlib.contextmanager
    def session(self, dim: int, fingerprint: str, rows: int, sample: Sample) -> Iterator[None]:
        """Hold the database's lock for this index, and make its table."""
        query = (
            "INSERT INTO recoseg_indexes(name, dim, fingerprint) VALUES (%s, %s, %s) "
            "ON CONFLICT (name) DO UPDATE SET digest = NULL"
        )
        with self._explain():
            ((free,),) = self._ask(
                "SELECT pg_try_advisory_lock(%s, hashtext(%s))", _LOCK, self.name
            )
            if not free:
                raise Locked(f"another writer is at work on {self.where}; wait for it to finish.")
            with self._connection.transaction():
                self._ask(query, self.name, dim, fingerprint)
                table = (
                    'CREATE TABLE IF NOT EXISTS {}(id text COLLATE "C" PRIMARY KEY, hash bytea '
                    f"NOT NULL, vector halfvec({int(dim)}) NOT NULL)"
                )
                self._connection.execute(_with(table, self._table()))
        try:
            yield
        finally:
            # The server drops it with the connection in any case.
            with contextlib.suppress(ServerError), self._explain():
                self._ask("SELECT pg_advisory_unlock(%s, hashtext(%s))", _LOCK, self.name)

    def list_images(self) -> Iterator[tuple[str, bytes]]:
        """Page by page, so that the table can be changed beside."""
        after = ""
        query = "SELECT id, hash FROM {} WHERE id > %s ORDER BY id LIMIT %s"
        while True:
            with self._explain():
                table = _with(query, self._table())
                found = self._connection.execute(table, (after, PAGE)).fetchall()
            if not found:
                return
            after = found[-1][0]
            yield from found

    def put(self, ids: Sequence[str], hashes: Sequence[bytes], vectors: Vectors) -> None:
        """Copy rows in, in one transaction."""
        from pgvector import HalfVector

        rows = zip(ids, hashes, vectors.astype(np.float16), strict=True)
        with self._explain(), self._connection.transaction():
            table = self._table()
            self._connection.execute(
                _with("CREATE TEMP TABLE fresh(LIKE {}) ON COMMIT DROP", table)
            )
            with self._connection.cursor().copy("COPY fresh FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["text", "bytea", "halfvec"])
                for id, digest, vector in rows:
                    copy.write_row((id, digest, HalfVector(vector)))
            query = (
                "INSERT INTO {} SELECT * FROM fresh ON CONFLICT (id) DO UPDATE "
                "SET hash = EXCLUDED.hash, vector = EXCLUDED.vector"
            )
            self._connection.execute(_with(query, table))

    def drop(self, ids: Sequence[str]) -> None:
        """Delete rows."""
        with self._explain():
            query = _with("DELETE FROM {} WHERE id = ANY(%s)", self._table())
            self._connection.execute(query, (list(ids),))

    def finish(self, digest: str, seal: bytes) -> None:
        """Build the graph if there is none yet; PostgreSQL keeps it up to date from then on."""
        query = "UPDATE recoseg_indexes SET digest = %s, seal = %s WHERE name = %s"
        with self._explain():
            held = self.state()
            table = self._table()
            if held is not None and held.dim <= INDEXED_DIM:
                self._ask("SET maintenance_work_mem = '1GB'")
                graph = "CREATE INDEX IF NOT EXISTS {0} ON {1} USING hnsw "
                graph += "(vector halfvec_cosine_ops)"
                self._connection.execute(_with(graph, f"{table}_graph", table))
            self._connection.execute(_with("ANALYZE {}", table))
            self._ask(query, digest, seal, self.name)

    def clear(self) -> None:
        """Drop the table and the name, at once or not at all."""
        if self.state() is None:
            return
        with self._explain(), self._connection.transaction():
            self._connection.execute(_with("DROP TABLE IF EXISTS {}", self._table()))
            self._ask("DELETE FROM recoseg_indexes WHERE name = %s", self.name)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _table(self) -> str:
        found = self._ask("SELECT number FROM recoseg_indexes WHERE name = %s", self.name)
        if not found:
            raise ServerError(
                f"{self.where} holds no index of this name; run `recoseg index sync`."
            )
        return f"recoseg_vectors_{int(found[0][0])}"

    def _set(self, name: str, value: object) -> None:
        self._ask("SELECT set_config(%s, %s, true)", name, str(value))

    def _ask(self, query: str, *values: Any) -> list[Any]:
        cursor = self._connection.execute(query.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def _explain(self) -> contextlib.AbstractContextManager[None]:
        return _explain_errors(self.where)


def _with(query: str, *names: str) -> psycopg.sql.Composed:
    """A query with the names of tables in the places of ``{}``, quoted."""
    from psycopg import sql

    literal: Any = query
    return sql.SQL(literal).format(*map(sql.Identifier, names))


def _hide_password(url: str) -> str:
    """A URL without what comes before the host, which may be a password."""
    return f"the server at {url.rpartition('@')[2].removeprefix('postgresql://').partition('?')[0]}"


@contextlib.contextmanager
def _explain_errors(where: str) -> Iterator[None]:
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        text = str(error).strip().splitlines() or [type(error).__name__]
        if isinstance(error, psycopg.OperationalError):
            raise ServerError(
                f"{where} cannot be reached, or went away ({text[0]}); start it and run the same "
                "again: what was synchronised is kept."
            ) from error
        raise ServerError(
            f"{where} refuses ({text[0]}); it needs the extension pgvector 0.8 or newer, and the "
            "right to make tables."
        ) from error
