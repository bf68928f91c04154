"""A PostgreSQL database in the place of the collector's SQLite file, for collectors on several machines.

Rules:

1. It speaks what ``received`` speaks: the same statements with other types and placeholders, errors as ``OSError``.
2. A log is locked by its own row until the commit, so collectors work on different gates side by side, and two of them
   never on the same one.
3. Commits are on disk when they return (``synchronous_commit`` is the server's default and is set here all the same).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg

_TYPES = (
    ("INTEGER PRIMARY KEY", "BIGSERIAL PRIMARY KEY"),
    ("INTEGER", "BIGINT"),
    ("BLOB", "BYTEA"),
    (" WITHOUT ROWID", ""),
)
_STARTING = 0x6564_6765  # one collector makes the tables, the others wait


class Postgres:
    """One connection, as ``received`` uses one of SQLite."""

    def __init__(self, where: str) -> None:
        with _as_os_error():
            self._connection = psycopg.connect(where, autocommit=True, connect_timeout=5)
            self._connection.execute("SET synchronous_commit = on")
            self._connection.execute("SET lock_timeout = '5s'")

    def executescript(self, script: str) -> None:
        """Make the tables that are not there yet."""
        for here, there in _TYPES:
            script = script.replace(here, there)
        with _as_os_error(), self._connection.transaction():
            self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (_STARTING,))
            self._connection.execute(script)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        """One statement."""
        with _as_os_error():
            return self._connection.execute(_said(statement), values or None)

    def executemany(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        """One statement for many rows."""
        with _as_os_error(), self._connection.cursor() as cursor:
            cursor.executemany(_said(statement), values)

    @property
    def in_transaction(self) -> bool:
        """Whether something waits for its commit."""
        status = psycopg.pq.TransactionStatus
        return self._connection.info.transaction_status in (status.INTRANS, status.INERROR, status.ACTIVE)

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()


def _said(statement: str) -> LiteralString:
    return statement.replace("?", "%s")


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise OSError(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__) from error
