"""What the site keeps about people beside the log: one SQLite file, written by edge-gate alone.

Rules:

1. The file does not exist before a site turns bodies on. Only edge-gate's user may read it, and it holds ciphertext:
   the key of each day is random, and wrapped under a key made from the site's secret, which is not in this file.
2. A body is on disk before the entry that commits to it. One whose entry was never written stays until its day goes; no
   export takes it along.
3. Deletion is marked, told in the log, and then done; what was marked and not done is done at the next start.
4. What is deleted is overwritten (``secure_delete``), and the write-ahead log is cut. Flash may remember a wrapped key,
   which is of use only together with the site's secret.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from edge.audit.body import KEY, NONCE, SALT, Body, enclose
from edge.audit.entry import Event, Kind, LogError, Value
from edge.credential import Credential
from edge.decision import personal
from edge.devices import readonly
from edge.devices.logfile import left_by_owner
from edge.devices.worker import Worker
from edge.errors import DeviceError
from edge.ports import Clock, Journal

T = TypeVar("T")
_DEADLINE_S = 5.0
_TABLES = (
    """CREATE TABLE IF NOT EXISTS period(name TEXT PRIMARY KEY, wrapped BLOB NOT NULL, going INTEGER NOT NULL DEFAULT 0)
        STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS body(commitment BLOB PRIMARY KEY, period TEXT NOT NULL, salt BLOB NOT NULL,
        encoded BLOB NOT NULL, going INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID""",
)


class SqliteBodies:
    """The bodies of ``ports.Bodies``.

    Args:
        path: of the file.
        origin: name of the log.
        secret: of the site; the keys of the days are wrapped under a key made from it.
        clock: says which day it is at least.
        names: what is kept about a holder: ``identifier``, ``name``; nothing unless the site says so.
        refused_only: keep nothing of visits that were granted.
    """

    def __init__(
        self,
        path: Path,
        origin: str,
        secret: bytes,
        clock: Clock,
        names: tuple[str, ...] = (),
        *,
        refused_only: bool = True,
    ) -> None:
        self._path, self._origin, self._clock = path, origin, clock
        self._names, self._refused_only = names, refused_only
        self._wrap = _wrap(secret, origin)
        self._file: sqlite3.Connection | None = None
        self._worker = Worker("bodies")

    def told(self, credential: Credential) -> Mapping[str, Value]:
        """What is kept of this holder."""
        return personal(self._names, credential)

    async def keep(self, told: Mapping[str, Value], *, granted: bool) -> bytes | None:
        """Put this away, encrypted; the commitment to it, None when this site keeps nothing of such a visit.

        Raises:
            DeviceError: it is not on disk.
        """
        if not told or (granted and self._refused_only):
            return None
        return await self._call(lambda file: self._keep(file, told))

    async def settle(self, journal: Journal) -> None:
        """At the start: finish what was to be deleted, and tell it again, because it may not have been told.

        Raises:
            DeviceError: it is not deleted.
        """
        if not self._path.exists():
            return
        periods = await self._call(lambda file: _marked(file, "SELECT name FROM period WHERE going"))
        bodies = await self._call(lambda file: _marked(file, "SELECT commitment FROM body WHERE going"))
        if periods or bodies:
            await self._delete(periods, bodies, "found half done", journal)

    async def forget(self, commitment: bytes, why: str, journal: Journal) -> bool:
        """Take one body away, because somebody may ask for that; whether there was one."""
        query = "UPDATE body SET going = 1 WHERE commitment = ?"
        if not self._path.exists() or not await self._call(lambda file: file.execute(query, (commitment,)).rowcount):
            return False
        await self._delete([], [commitment], why, journal)
        return True

    async def expire(self, days: float, journal: Journal) -> int:
        """Destroy the keys of the days before, and what was encrypted under them; how many days went."""
        if not self._path.exists():
            return 0
        before = (self._clock.now().lower - timedelta(days=days)).date().isoformat()
        query = "UPDATE period SET going = 1 WHERE name <= ? RETURNING name"
        names = await self._call(lambda file: _marked(file, query, before))
        if names:
            await self._delete(names, [], "kept long enough", journal)
        return len(names)

    def close(self) -> None:
        """Let go of the file."""
        self._worker.close(self._drop)

    async def _delete(self, periods: list[str], bodies: list[bytes], why: str, journal: Journal) -> None:
        """Rule 3."""
        count = await self._call(lambda file: _count(file, periods, bodies))
        fields: dict[str, Value] = {"why": why, "count": count, "periods": [*periods], "bodies": [*bodies]}
        await journal.append(Event(Kind.BODIES_DELETED, fields))
        await self._call(lambda file: _take(file, periods, bodies))

    def _keep(self, file: sqlite3.Connection, told: Mapping[str, Value]) -> bytes:
        period = self._clock.now().lower.date().isoformat()
        keys = file.execute("SELECT name, wrapped FROM period WHERE name = ?", (period,)).fetchall()
        key = _unwrapped(keys, period, self._wrap) if keys else self._new_key(file, period)
        salt, nonce = secrets.token_bytes(SALT), secrets.token_bytes(NONCE)
        body = enclose(told, period, key, self._origin, nonce=nonce, salt=salt)
        row = (body.commitment, period, salt, body.encoded)
        file.execute("INSERT INTO body(commitment, period, salt, encoded) VALUES (?, ?, ?, ?)", row)
        return body.commitment

    def _new_key(self, file: sqlite3.Connection, period: str) -> bytes:
        key, nonce = secrets.token_bytes(KEY), secrets.token_bytes(NONCE)
        wrapped = nonce + AESGCM(self._wrap).encrypt(nonce, key, period.encode())
        file.execute("INSERT INTO period(name, wrapped) VALUES (?, ?)", (period, wrapped))
        return key

    async def _call(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        def asked() -> T:
            try:
                return ask(self._file or self._open())
            except (sqlite3.Error, OSError, LogError) as error:
                self._drop()
                raise DeviceError("bodies", str(error)) from error

        return await self._worker.call(asked, _DEADLINE_S)

    def _open(self) -> sqlite3.Connection:
        """The file, made if need be so that nobody else can read it."""
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        self._file = file = sqlite3.connect(self._path, timeout=2.0, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "trusted_schema = OFF"):
            file.execute(f"PRAGMA {pragma}")
        for table in _TABLES:
            file.execute(table)
        left_by_owner(self._path)
        return file

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def bodies_in(path: Path) -> list[Body]:
    """All bodies that are kept, for an export; none where the site keeps none.

    Raises:
        DeviceError: they cannot be read.
    """
    query = "SELECT period, salt, encoded FROM body WHERE NOT going ORDER BY period, commitment"
    return [Body(*row) for row in _read(path, query)]


def told_by(path: Path, origin: str, secret: bytes, commitment: bytes) -> Mapping[str, Value] | None:
    """What the body of this commitment says; None when it is gone, or never was.

    Raises:
        DeviceError: it cannot be read, or the site's secret is another one.
    """
    rows = _read(path, "SELECT period, salt, encoded FROM body WHERE commitment = ?", commitment)
    keys = [(str(name), bytes(wrapped)) for name, wrapped in _read(path, "SELECT name, wrapped FROM period")]
    try:
        return next((Body(*row).opened(_unwrapped(keys, row[0], _wrap(secret, origin)), origin) for row in rows), None)
    except LogError as error:
        raise DeviceError("bodies", str(error)) from error


def _read(path: Path, query: str, *values: bytes) -> list[tuple[Any, ...]]:
    """Rows, for who may only read."""
    if not path.exists():
        return []
    try:
        with closing(readonly.connect(path)) as file:
            return file.execute(query, values).fetchall()
    except sqlite3.Error as error:
        raise DeviceError("bodies", f"{path}: {error}") from error


def _wrap(secret: bytes, origin: str) -> bytes:
    """The key that the keys of the days are wrapped under."""
    return HKDF(hashes.SHA256(), KEY, salt=None, info=b"edge-gate bodies" + origin.encode()).derive(secret)


def _unwrapped(keys: list[tuple[str, bytes]], period: str, wrap: bytes) -> bytes:
    """The key of a day.

    Raises:
        LogError: it was destroyed, or the site's secret is another one.
    """
    wrapped = dict(keys).get(period)
    if wrapped is None:
        raise LogError(f"the key of {period} was destroyed")
    try:
        return AESGCM(wrap).decrypt(wrapped[:NONCE], wrapped[NONCE:], period.encode())
    except InvalidTag as error:
        raise LogError(f"the key of {period} does not open: the site's secret is another one") from error


def _marked(file: sqlite3.Connection, query: str, *values: str) -> list[Any]:
    return [found for (found,) in file.execute(query, values).fetchall()]


def _count(file: sqlite3.Connection, periods: Sequence[str], bodies: Sequence[bytes]) -> int:
    """How many bodies go."""
    query = "SELECT count(*) FROM body WHERE period = ?"
    return sum(int(file.execute(query, (name,)).fetchone()[0]) for name in periods) + len(bodies)


def _take(file: sqlite3.Connection, periods: Sequence[str], bodies: Sequence[bytes]) -> None:
    """Rule 4."""
    file.execute("BEGIN IMMEDIATE")
    file.executemany("DELETE FROM period WHERE name = ?", [(name,) for name in periods])
    file.executemany("DELETE FROM body WHERE period = ?", [(name,) for name in periods])
    file.executemany("DELETE FROM body WHERE commitment = ?", [(row,) for row in bodies])
    file.execute("COMMIT")
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
