"""Enrolled people on disk: SQLite for what is true, matrices in memory for what is searched.

Rules:

1. One thread owns the file. Changes go one after another: work, entry in the log, commit, matrices; reading sees what
   is committed only.
2. No change without an entry: the entry is on disk before the commit, and a change that cannot be recorded is undone.
3. What is said about a person (samples, templates, biographic and document data) is encrypted, record by record; every
   template names its model.
4. Deleting overwrites (``secure_delete``), empties the write-ahead log, zeroes the rows of the matrices and opens the
   file anew, for a connection remembers pages and values.
5. Person-centric data has the encounter ``""``; data of one gallery only has that gallery's name, all other ``""``.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import uuid
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edge.biometric.gallery import Floats, Index
from edge.iavs.refused import Refused
from edge.iavs.vault import Vault

T = TypeVar("T")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS subjects (id TEXT PRIMARY KEY, made TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS encounters (
    number INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT NOT NULL REFERENCES subjects ON DELETE CASCADE,
    id TEXT NOT NULL, category TEXT NOT NULL, UNIQUE (subject, id));
CREATE TABLE IF NOT EXISTS members (
    gallery TEXT NOT NULL, subject TEXT NOT NULL REFERENCES subjects ON DELETE CASCADE, encounter TEXT NOT NULL,
    claim TEXT NOT NULL, PRIMARY KEY (gallery, subject, encounter));
CREATE INDEX IF NOT EXISTS members_by_claim ON members (gallery, claim);
CREATE INDEX IF NOT EXISTS members_by_subject ON members (subject);
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, subject TEXT NOT NULL REFERENCES subjects ON DELETE CASCADE,
    encounter TEXT NOT NULL, gallery TEXT NOT NULL, kind TEXT NOT NULL, label TEXT NOT NULL, sealed BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS records_by_subject ON records (subject, kind, encounter);
CREATE TABLE IF NOT EXISTS templates (
    record TEXT PRIMARY KEY REFERENCES records (id) ON DELETE CASCADE, model TEXT NOT NULL, sealed BLOB NOT NULL)
    WITHOUT ROWID;
"""
_SETTINGS = """
PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 256; PRAGMA busy_timeout = 2000;
"""


@dataclass(frozen=True)
class Item:
    """One record about a person.

    Attributes:
        kind: biometric, biographic or document.
        label: biometric type, document category, or "".
        content: what is said.
        template: of a face, with its model.
        encounter: in which it was said.
        gallery: "" where it holds for all.
    """

    kind: str
    label: str
    content: dict[str, Any] = field(repr=False)
    template: tuple[str, Floats] | None = field(repr=False, default=None)
    encounter: str = ""
    gallery: str = ""


@dataclass(frozen=True)
class Membership:
    """A person in a gallery."""

    gallery: str
    subject: str = field(repr=False)
    encounter: str = field(repr=False)
    claim: str = field(repr=False)


class View:
    """What can be asked and done within one transaction; used in the owner's thread only."""

    def __init__(self, connection: sqlite3.Connection, vault: Vault, galleries: tuple[str, ...]) -> None:
        self._db = connection
        self._vault = vault
        self._galleries = galleries
        self.touched: set[str] = set()
        self.erased = False

    # what must be there

    def subject(self, subject: str) -> str:
        """The subject, which must be known."""
        if not self._row("SELECT 1 FROM subjects WHERE id = ?", subject):
            raise Refused("UNKNOWN_SUBJECT")
        return subject

    def encounter(self, subject: str, encounter: str) -> str:
        """The encounter, which must be one of the subject's."""
        if not self._row("SELECT 1 FROM encounters WHERE subject = ? AND id = ?", subject, encounter):
            raise Refused("UNKNOWN_ENCOUNTER")
        return encounter

    def gallery(self, gallery: str) -> str:
        """The gallery, which must be one of this gate's."""
        if gallery not in self._galleries:
            raise Refused("UNKNOWN_GALLERY")
        return gallery

    def claimed(self, claim: str, gallery: str = "") -> Membership:
        """Who is known by this claim."""
        found = [each for each in self._members("claim = ?", claim) if gallery in ("", each.gallery)]
        if not found:
            raise Refused("UNKNOWN_IDENTITY_CLAIM")
        if len({each.subject for each in found}) > 1:
            raise Refused("INVALID_INPUT", "the claim needs its gallery")
        return found[-1]

    def memberships(self, subject: str) -> list[Membership]:
        """All galleries that a subject is in."""
        return self._members("subject = ?", subject)

    def claim_of(self, gallery: str, subject: str) -> str:
        """By which claim the gallery knows a subject."""
        row = self._row("SELECT claim FROM members WHERE gallery = ? AND subject = ? LIMIT 1", gallery, subject)
        return str(row[0]) if row else subject

    # subjects and encounters

    def make_subject(self, wanted: str | None) -> str:
        """Make a subject."""
        subject = wanted or str(uuid.uuid4())
        if self._row("SELECT 1 FROM subjects WHERE id = ?", subject):
            raise Refused("INVALID_SUBJECT_ID", "already in use")
        self._db.execute("INSERT INTO subjects VALUES (?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))", (subject,))
        return subject

    def drop_subject(self, subject: str) -> None:
        """Erase a subject and everything about it."""
        self._erase("DELETE FROM subjects WHERE id = ?", subject, subject=subject)

    def make_encounter(self, subject: str, wanted: str | None, category: str) -> str:
        """Make an encounter."""
        encounter = wanted or str(uuid.uuid4())
        if self._row("SELECT 1 FROM encounters WHERE subject = ? AND id = ?", subject, encounter):
            raise Refused("INVALID_ENCOUNTER_ID", "already in use")
        self._db.execute(
            "INSERT INTO encounters (subject, id, category) VALUES (?, ?, ?)", (subject, encounter, category)
        )
        return encounter

    def drop_encounter(self, subject: str, encounter: str) -> None:
        """Erase an encounter and everything said in it."""
        for table in ("records", "members"):
            self._erase(f"DELETE FROM {table} WHERE subject = ? AND encounter = ?", subject, encounter, subject=subject)  # noqa: S608 -- two fixed names
        self._erase("DELETE FROM encounters WHERE subject = ? AND id = ?", subject, encounter, subject=subject)

    def encounters(self, subject: str, category: str | None = None, kind: str | None = None) -> list[str]:
        """Encounters of a subject, the newest last; only those with records of a kind, if one is named."""
        rows = self._db.execute(
            "SELECT id FROM encounters AS e WHERE subject = ?1 AND (?2 IS NULL OR category = ?2) AND (?3 IS NULL OR"
            " EXISTS (SELECT 1 FROM records WHERE subject = ?1 AND encounter = e.id AND kind = ?3)) ORDER BY number",
            (subject, category, kind),
        )
        return [str(row[0]) for row in rows]

    # galleries

    def join(self, gallery: str, subject: str, encounter: str, claim: str) -> None:
        """Put a subject into a gallery."""
        for other in self._members("claim = ?", claim):
            if other.gallery == gallery and other.subject != subject:
                raise Refused("INVALID_IDENTITY_CLAIM", "already in use in this gallery")
        self._db.execute("INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?)", (gallery, subject, encounter, claim))
        self.touched.add(subject)

    def leave(self, gallery: str, subject: str, encounter: str | None) -> None:
        """Take a subject out of a gallery."""
        if not any(
            each.gallery == gallery and encounter in (None, each.encounter) for each in self.memberships(subject)
        ):
            raise Refused("UNKNOWN_SUBJECT", "not in this gallery")
        self._erase(
            "DELETE FROM members WHERE gallery = ?1 AND subject = ?2 AND (?3 IS NULL OR encounter = ?3)",
            gallery,
            subject,
            encounter,
            subject=subject,
        )

    # records

    def put(self, subject: str, item: Item) -> None:
        """Keep a record."""
        name = uuid.uuid4().hex
        sealed = self._vault.seal(json.dumps(item.content, ensure_ascii=False).encode(), name)
        row = (name, subject, item.encounter, item.gallery, item.kind, item.label, sealed)
        self._db.execute(
            "INSERT INTO records (id, subject, encounter, gallery, kind, label, sealed) VALUES (?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        if item.template is not None:
            model, vector = item.template
            sealed = self._vault.seal(np.asarray(vector, "<f4").tobytes(), f"{name} {model}")
            self._db.execute("INSERT INTO templates VALUES (?, ?, ?)", (name, model, sealed))
        self.touched.add(subject)

    def records(self, subject: str, kind: str, encounter: str | None = None, gallery: str | None = None) -> list[Item]:
        """Records about a subject."""
        rows = self._db.execute(
            "SELECT id, label, sealed, encounter, gallery FROM records WHERE subject = ?1 AND kind = ?2"
            " AND (?3 IS NULL OR encounter = ?3) AND (?4 IS NULL OR gallery IN ('', ?4)) ORDER BY number",
            (subject, kind, encounter, gallery),
        ).fetchall()
        return [
            Item(kind, label, json.loads(self._vault.open(sealed, name)), None, within, of)
            for name, label, sealed, within, of in rows
        ]

    def templates(self, subject: str) -> Iterator[tuple[str, str, str, Floats]]:
        """Encounter, gallery, model and vector of all templates of a subject."""
        rows = self._db.execute(
            "SELECT r.id, r.encounter, r.gallery, t.model, t.sealed FROM records AS r JOIN templates AS t"
            " ON t.record = r.id WHERE r.subject = ?",
            (subject,),
        ).fetchall()
        for name, encounter, gallery, model, sealed in rows:
            plain = self._vault.open(sealed, f"{name} {model}")
            yield encounter, gallery, model, np.frombuffer(plain, "<f4").astype(np.float32)

    def drop(
        self, subject: str, kind: str, encounter: str | None, gallery: str | None, labels: list[str] | None = None
    ) -> int:
        """Erase records; how many there were."""
        found = self._db.execute(
            "SELECT id, label FROM records WHERE subject = ?1 AND kind = ?2 AND (?3 IS NULL OR encounter = ?3)"
            " AND (?4 IS NULL OR gallery = ?4)",
            (subject, kind, encounter, gallery),
        ).fetchall()
        names = [name for name, label in found if labels is None or label in labels]
        for name in names:
            self._erase("DELETE FROM records WHERE id = ?", name, subject=subject)
        return len(names)

    def subjects(self) -> list[str]:
        """All subjects that are in a gallery."""
        return [str(row[0]) for row in self._db.execute("SELECT DISTINCT subject FROM members")]

    def count(self, gallery: str) -> int:
        """How many people are in a gallery."""
        row = self._row("SELECT count(DISTINCT subject) FROM members WHERE gallery = ?", gallery)
        return int(row[0]) if row else 0

    def _members(self, where: str, value: str) -> list[Membership]:
        rows = self._db.execute(f"SELECT gallery, subject, encounter, claim FROM members WHERE {where}", (value,))  # noqa: S608 -- two fixed texts
        return [Membership(*row) for row in rows]

    def _row(self, statement: str, *values: Any) -> Any:
        return self._db.execute(statement, values).fetchone()

    def _erase(self, statement: str, *values: Any, subject: str) -> None:
        self._db.execute(statement, values)
        self.touched.add(subject)
        self.erased = True


class Gallery:
    """The whole: file, matrices, and the order of things."""

    def __init__(self, path: Path, vault: Vault, galleries: tuple[str, ...]) -> None:
        self.galleries = galleries
        self.index = Index()
        self._vault = vault
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gallery")
        self._turn = asyncio.Lock()
        self._writes: sqlite3.Connection | None = None
        self._reads: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file and fill the matrices.

        Raises:
            sqlite3.Error: it cannot be opened.
            ValueError: it was written under another key.
        """
        await self._call(self._open)

    async def close(self) -> None:
        """Close the file."""
        await self._call(self._close)
        self._thread.shutdown()

    async def read(self, ask: Callable[[View], T]) -> T:
        """What the file says.

        Raises:
            Refused: what ``ask`` raises, or INTERNAL_DATABASE_ERROR.
        """
        return await self._call(lambda: ask(self._view(self._reads)))

    async def look(self, ask: Callable[[Index], T]) -> T:
        """What the matrices say."""
        return await self._call(lambda: ask(self.index))

    async def change(self, work: Callable[[View], T], record: Callable[[T], Awaitable[None]]) -> T:
        """Do the work, let it be recorded, and only then make it true.

        Raises:
            Refused: what ``work`` and ``record`` raise, or INTERNAL_DATABASE_ERROR; nothing is changed then.
        """
        async with self._turn:
            view, done = await self._call(lambda: self._begin(work))
            try:
                await record(done)
            except BaseException:
                await asyncio.shield(self._call(self._undo))
                raise
            await asyncio.shield(self._call(lambda: self._commit(view)))
            return done

    def _begin(self, work: Callable[[View], T]) -> tuple[View, T]:
        view = self._view(self._writes)
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
            self._writes.commit()
        except sqlite3.Error as error:
            self._undo()
            raise Refused("CANNOT_STORE_DATA", type(error).__name__) from error
        for subject in view.touched:
            self._reindex(subject)
        if view.erased:
            self._writes.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
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

    def _view(self, connection: sqlite3.Connection | None) -> View:
        if connection is None:
            raise Refused("INTERNAL_DATABASE_ERROR", "the gallery is closed")
        return View(connection, self._vault, self.galleries)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writes, self._reads = self._connected(), self._connected()
        self._writes.executescript(_SCHEMA)
        self._path.chmod(0o600)
        for subject in self._view(self._reads).subjects():
            self._reindex(subject)

    def _begin_anew(self) -> None:
        """Rule 4: pages, bound values and small change that a connection keeps in memory go with it."""
        old = (self._reads, self._writes)
        self._writes, self._reads = self._connected(), self._connected()
        for connection in old:
            if connection is not None:
                connection.close()

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.executescript(_SETTINGS)
        return connection

    def _close(self) -> None:
        for connection in (self._reads, self._writes):
            if connection is not None:
                connection.close()
        self._reads = self._writes = None

    async def _call(self, work: Callable[[], T]) -> T:
        def guarded() -> T:
            try:
                return work()
            except sqlite3.Error as error:
                raise Refused("INTERNAL_DATABASE_ERROR", type(error).__name__) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)
