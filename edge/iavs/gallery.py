"""Enrolled people on disk: SQLite for what is true, matrices in memory for what is searched.

Rules:

1. One thread of one process owns the file (``gallery.db.lock``): another would find the deleted in its matrices.
   Changes go one after another: work, entry in the log, commit, matrices; reading sees what is committed only.
2. No change without an entry: the entry is on disk before the commit, and a change that cannot be recorded is undone.
3. What is said about a person (samples, templates, biographic and document data) is encrypted, record by record, and
   opens only where it belongs (``vault.py``); every template names its model.
4. Deleting overwrites (``secure_delete``), empties the write-ahead log (as soon as no other process reads it), zeroes
   the rows of the matrices and opens the file anew, for a connection remembers pages and values.
5. What the gate may know is handed over with the change (``handing.py``); where it cannot be taken back, nothing is
   deleted.
6. The log is on the same disk, and the gate opens for nobody without it: nothing is taken in that would leave less than
   a tenth of the disk, or ``ROOM``, free. Deleting is always possible.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from edge.biometric.enrolled import Place
from edge.biometric.gallery import Floats, Index
from edge.iavs.forgetting import AGAIN_S, Sweeper, sweep
from edge.iavs.handing import Handing, merged
from edge.iavs.older import renew
from edge.iavs.refused import Refused
from edge.iavs.vault import Vault
from edge.iavs.view import Membership, View

T = TypeVar("T")
_log = logging.getLogger("edge.iavs")
ROOM = 256 * 1024**2
"""Bytes: entries of half a year; a tenth of a large disk is more than the log needs."""
LEAST_ROOM = 64 * 1024**2
"""Bytes: a change and the write-ahead log need so much on a small one."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS subjects (id TEXT PRIMARY KEY, made TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS encounters (
    number INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT NOT NULL REFERENCES subjects ON DELETE CASCADE,
    id TEXT NOT NULL, category TEXT NOT NULL, UNIQUE (subject, id));
CREATE TABLE IF NOT EXISTS members (
    gallery TEXT NOT NULL, subject TEXT NOT NULL REFERENCES subjects ON DELETE CASCADE, encounter TEXT NOT NULL,
    claim TEXT NOT NULL, mark BLOB NOT NULL, PRIMARY KEY (gallery, subject, encounter));
CREATE INDEX IF NOT EXISTS members_by_claim ON members (gallery, claim);
CREATE INDEX IF NOT EXISTS members_by_subject ON members (subject);
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, subject TEXT NOT NULL REFERENCES subjects ON DELETE CASCADE,
    encounter TEXT NOT NULL, gallery TEXT NOT NULL, kind TEXT NOT NULL, label TEXT NOT NULL, sealed BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS records_by_subject ON records (subject, kind, encounter);
CREATE TABLE IF NOT EXISTS templates (
    record TEXT PRIMARY KEY REFERENCES records (id) ON DELETE CASCADE, model TEXT NOT NULL, sealed BLOB NOT NULL,
    small INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
"""
_SETTINGS = """
PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 256; PRAGMA busy_timeout = 2000;
"""
_AT_ONCE = "PRAGMA busy_timeout = 0"
_PATIENT = "PRAGMA busy_timeout = 2000"


class Disk(Protocol):
    """How large it is, and how much of it is free, bytes."""

    @property
    def total(self) -> int:
        """All of it."""
        ...

    @property
    def free(self) -> int:
        """For who is not root."""
        ...


class Gallery:
    """The whole: file, matrices, and the order of things."""

    def __init__(
        self,
        path: Path,
        vault: Vault,
        galleries: tuple[str, ...],
        handing: Handing | None = None,
        disk: Callable[[Path], Disk] = shutil.disk_usage,
        again_s: float = AGAIN_S,
    ) -> None:
        self.galleries = galleries
        self._handing = handing
        self.index = Index()
        self._vault = vault
        self._path = path
        self._disk = disk
        self._full = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gallery")
        self._turn = asyncio.Lock()
        self._sweeper = Sweeper(self._emptied_now, again_s)
        self._lock: BinaryIO | None = None
        self._writes: sqlite3.Connection | None = None
        self._reads: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file and fill the matrices.

        Raises:
            Refused: INTERNAL_DATABASE_ERROR; it is no gallery.
            OSError: it cannot be opened, or another process has it.
            ValueError: it was written under another key.
        """
        try:
            await self._call(self._open)
        except BaseException:
            await self._call(self._close)
            raise
        if not await self._emptied_now():
            self._sweeper.later()

    async def close(self) -> None:
        """Close the file."""
        self._sweeper.close()
        await self._call(self._close)
        self._thread.shutdown()

    async def read(self, ask: Callable[[View], T], only: frozenset[str] | None = None) -> T:
        """What the file says, of these galleries only.

        Raises:
            Refused: what ``ask`` raises, or INTERNAL_DATABASE_ERROR.
        """
        return await self._call(lambda: ask(self._view(self._reads, only=only)))

    async def look(self, ask: Callable[[Index], T]) -> T:
        """What the matrices say."""
        return await self._call(lambda: ask(self.index))

    async def change(
        self, work: Callable[[View], T], record: Callable[[T], Awaitable[None]], only: frozenset[str] | None = None
    ) -> T:
        """Do the work, in these galleries only, let it be recorded, and only then make it true.

        Raises:
            Refused: what ``work`` and ``record`` raise, or INTERNAL_DATABASE_ERROR; nothing is changed then.
        """
        async with self._turn:
            view, done = await self._call(lambda: self._begin(work, only))
            try:
                await record(done)
            except BaseException:
                await asyncio.shield(self._call(self._undo))
                raise
            await asyncio.shield(self._call(lambda: self._commit(view)))
            if view.erased:
                self._sweeper.later()
            return done

    def _begin(self, work: Callable[[View], T], only: frozenset[str] | None) -> tuple[View, T]:
        view = self._view(self._writes, full=self._nearly_full(), only=only)
        try:
            if self._writes is not None:
                self._writes.execute("BEGIN IMMEDIATE")
            return view, work(view)
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        if self._writes is not None and self._writes.in_transaction:
            self._writes.rollback()

    def _commit(self, view: View) -> None:
        if self._writes is None:
            raise Refused("CANNOT_STORE_DATA", "the gallery is closed")
        try:
            self._take_back(view.touched)
            self._writes.commit()
        except (sqlite3.Error, OSError) as error:
            self._undo()
            self._hand_over(view.touched)
            raise Refused("CANNOT_STORE_DATA", type(error).__name__) from error
        for subject in view.touched:
            self._reindex(subject)
        self._hand_over(view.touched)
        if view.erased:
            if not self._emptied():
                _log.warning("somebody reads the gallery: what was deleted leaves its write-ahead log after that")
            self._begin_anew()

    def _reindex(self, subject: str) -> None:
        self.index.drop(subject)
        view = self._view(self._reads)
        members = view.memberships(subject)
        if not members:
            return
        for encounter, gallery, model, vector in view.templates(subject):
            for member in members:
                if gallery in ("", member.gallery) and encounter == member.encounter:
                    self.index.put(member.gallery, model, subject, encounter, vector)

    def _places(self, subject: str) -> Iterator[tuple[Membership, Place]]:
        """Where the gate knows a subject from."""
        if self._handing is not None:
            for member in self._view(self._reads).memberships(subject):
                for place in self._handing.places(member.gallery, subject, member.claim):
                    yield member, place

    def _take_back(self, subjects: set[str]) -> None:
        """Rule 5, before."""
        if self._handing is not None:
            self._handing.take_back(place for subject in subjects for _, place in self._places(subject))

    def _hand_over(self, subjects: set[str]) -> None:
        """Rule 5, after; what fails is made good at the next start."""
        for subject in subjects if self._handing is not None else ():
            try:
                self._hand_over_one(subject)
            except OSError as error:
                _log.error("the gate does not know somebody who was enrolled: %s", type(error).__name__)

    def _hand_over_one(self, subject: str) -> None:
        view = self._view(self._reads)
        if not any(True for _ in view.templates(subject)):
            return
        kept = list(view.templates(subject, small=False))
        found: dict[Place, list[tuple[str, Floats]]] = {}
        for member, place in self._places(subject):
            found.setdefault(place, []).extend(
                (model, vector)
                for encounter, gallery, model, vector in kept
                if gallery in ("", member.gallery) and encounter == member.encounter
            )
        for place, templates in found.items():
            if self._handing is not None:
                self._handing.hand_over(place, merged(templates))

    def _view(
        self, connection: sqlite3.Connection | None, *, full: bool = False, only: frozenset[str] | None = None
    ) -> View:
        if connection is None:
            raise Refused("INTERNAL_DATABASE_ERROR", "the gallery is closed")
        return View(connection, self._vault, self.galleries, full=full, only=only)

    def _nearly_full(self) -> bool:
        """Rule 6; said once."""
        try:
            disk = self._disk(self._path.parent)
            full = disk.free < max(LEAST_ROOM, min(ROOM, disk.total // 10))
        except OSError:
            full = True
        if full and not self._full:
            _log.error("the disk is nearly full: the gallery takes nobody in until there is room")
        self._full = full
        return full

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = self._path.with_name(f"{self._path.name}.lock").open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError("another process has the gallery open") from error
        self._writes, self._reads = self._connected(), self._connected()
        self._writes.executescript(_SCHEMA)
        renew(self._writes, self._vault)
        self._path.chmod(0o600)
        for gallery, model, subject, encounter, vector in self._view(self._reads).searched():
            self.index.put(gallery, model, subject, encounter, vector)
        subjects = self._view(self._reads).subjects()
        if self._handing is not None:
            self._handing.begin()
            expected = {place: subject for subject in subjects for _, place in self._places(subject)}
            self._hand_over(self._handing.missing(expected))

    def _emptied(self) -> bool:
        """Whether nothing is left in the write-ahead log; one that somebody reads cannot be emptied."""
        if self._writes is None:
            return True
        busy, *_ = self._writes.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    async def _emptied_now(self) -> bool:
        """The same without waiting for who reads it."""

        def work() -> bool:
            if self._writes is None or self._writes.in_transaction:
                return self._writes is None
            self._writes.execute(_AT_ONCE)
            try:
                return self._emptied()
            finally:
                self._writes.execute(_PATIENT)

        try:
            return await self._call(work)
        except Refused:
            return False

    def _begin_anew(self) -> None:
        """Rule 4: pages, bound values and small change that a connection keeps in memory go with it."""
        old = (self._reads, self._writes)
        self._writes, self._reads = self._connected(), self._connected()
        for connection in old:
            if connection is not None:
                connection.close()
        sweep()

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.executescript(_SETTINGS)
        return connection

    def _close(self) -> None:
        for connection in (self._reads, self._writes):
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):  # what is true was committed; the lock must go in any case
                    connection.close()
        self._reads = self._writes = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def _call(self, work: Callable[[], T]) -> T:
        def guarded() -> T:
            try:
                return work()
            except sqlite3.Error as error:
                raise Refused("INTERNAL_DATABASE_ERROR", type(error).__name__) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)
