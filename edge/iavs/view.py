"""What can be asked of the gallery's file and done to it, within one transaction.

Person-centric data has the encounter ``""``; data of one gallery only has that gallery's name, all other ``""``.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge.biometric.gallery import Floats
from edge.iavs.refused import Refused
from edge.iavs.vault import Vault, member_name, record_name, template_name


@dataclass(frozen=True)
class Item:
    """One record about a person.

    Attributes:
        kind: biometric, biographic or document.
        label: biometric type, document category, or "".
        content: what is said.
        template: of a face, with its model.
        small: whether that was made from a picture as small as a card's.
        encounter: in which it was said.
        gallery: "" where it holds for all.
    """

    kind: str
    label: str
    content: dict[str, Any] = field(repr=False)
    template: tuple[str, Floats] | None = field(repr=False, default=None)
    encounter: str = ""
    gallery: str = ""
    small: bool = False


@dataclass(frozen=True)
class Membership:
    """A person in a gallery."""

    gallery: str
    subject: str = field(repr=False)
    encounter: str = field(repr=False)
    claim: str = field(repr=False)


class View:
    """What can be asked and done within one transaction; used in the owner's thread only."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        vault: Vault,
        galleries: tuple[str, ...],
        *,
        full: bool = False,
        only: frozenset[str] | None = None,
    ) -> None:
        """``full``: nothing is taken in. ``only``: who is in another gallery is nobody's business here."""
        self._db = connection
        self._vault = vault
        self._galleries = galleries
        self._full = full
        self._only = only
        self.touched: set[str] = set()
        self.erased = False

    # what must be there

    def subject(self, subject: str) -> str:
        """The subject, which must be known, and in no gallery that is not the caller's."""
        if not self._row("SELECT 1 FROM subjects WHERE id = ?", subject):
            raise Refused("UNKNOWN_SUBJECT")
        if self._only is not None and not {each.gallery for each in self.memberships(subject)} <= self._only:
            raise Refused("NOT_AUTHORISED", "somebody of another gallery")
        return subject

    def encounter(self, subject: str, encounter: str) -> str:
        """The encounter, which must be one of the subject's."""
        if not self._row("SELECT 1 FROM encounters WHERE subject = ? AND id = ?", subject, encounter):
            raise Refused("UNKNOWN_ENCOUNTER")
        return encounter

    def gallery(self, gallery: str) -> str:
        """The gallery, which must be one of this gate's, and of the caller's."""
        if gallery not in self._galleries:
            raise Refused("UNKNOWN_GALLERY")
        if self._only is not None and gallery not in self._only:
            raise Refused("NOT_AUTHORISED", "not for this gallery")
        return gallery

    def claimed(self, claim: str, gallery: str = "") -> list[Membership]:
        """Who is known by this claim: at least one membership, all of one person."""
        named = (
            (gallery,) if gallery else [each for each in self._galleries if self._only is None or each in self._only]
        )
        found = [each for of in named for each in self._members("gallery = ? AND claim = ?", of, claim)]
        if not found:
            raise Refused("UNKNOWN_IDENTITY_CLAIM")
        if len({each.subject for each in found}) > 1:
            raise Refused("INVALID_INPUT", "the claim needs its gallery")
        return found

    def memberships(self, subject: str) -> list[Membership]:
        """All galleries that a subject is in."""
        return self._members("subject = ?", subject)

    def claim_of(self, gallery: str, subject: str) -> str:
        """By which claim the gallery knows a subject."""
        found = self._members("gallery = ? AND subject = ?", gallery, subject)
        return found[0].claim if found else subject

    # subjects and encounters

    def make_subject(self, wanted: str | None) -> str:
        """Make a subject."""
        self._room()
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
        self._room()
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
        self._room()
        for other in self._members("gallery = ? AND claim = ?", gallery, claim):
            if other.subject != subject:
                raise Refused("INVALID_IDENTITY_CLAIM", "already in use in this gallery")
        mark = self._vault.mark(member_name(gallery, subject, encounter, claim))
        row = (gallery, subject, encounter, claim, mark)
        self._db.execute("INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?)", row)
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
        self._room()
        name = uuid.uuid4().hex
        bound = record_name(name, subject, item.encounter, item.gallery, item.kind, item.label)
        sealed = self._vault.seal(json.dumps(item.content, ensure_ascii=False).encode(), bound)
        row = (name, subject, item.encounter, item.gallery, item.kind, item.label, sealed)
        self._db.execute(
            "INSERT INTO records (id, subject, encounter, gallery, kind, label, sealed) VALUES (?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        if item.template is not None:
            model, vector = item.template
            small = int(item.small)
            bound = template_name(name, model, small, subject, item.encounter, item.gallery)
            sealed = self._vault.seal(np.asarray(vector, "<f4").tobytes(), bound)
            self._db.execute("INSERT INTO templates VALUES (?, ?, ?, ?)", (name, model, sealed, small))
        self.touched.add(subject)

    def records(self, subject: str, kind: str, encounter: str | None = None, gallery: str | None = None) -> list[Item]:
        """Records about a subject."""
        rows = self._db.execute(
            "SELECT id, label, sealed, encounter, gallery FROM records WHERE subject = ?1 AND kind = ?2"
            " AND (?3 IS NULL OR encounter = ?3) AND (?4 IS NULL OR gallery IN ('', ?4)) ORDER BY number",
            (subject, kind, encounter, gallery),
        ).fetchall()
        found = []
        for name, label, sealed, within, of in rows:
            plain = self._vault.open(sealed, record_name(name, subject, within, of, kind, label))
            found.append(Item(kind, label, json.loads(plain), None, within, of))
        return found

    def templates(self, subject: str, *, small: bool = True) -> Iterator[tuple[str, str, str, Floats]]:
        """Encounter, gallery, model and vector of all templates of a subject; also of small pictures, or not."""
        rows = self._db.execute(
            "SELECT r.id, r.encounter, r.gallery, t.model, t.small, t.sealed FROM records AS r JOIN templates AS t"
            " ON t.record = r.id WHERE r.subject = ? AND t.small <= ?",
            (subject, small),
        ).fetchall()
        for name, encounter, gallery, model, little, sealed in rows:
            vector = self._vector(sealed, template_name(name, model, little, subject, encounter, gallery))
            yield encounter, gallery, model, vector

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

    def searched(self) -> Iterator[tuple[str, str, str, str, Floats]]:
        """Gallery, model, subject, encounter and vector of all templates that are searched, in one go."""
        rows = self._db.execute(
            "SELECT m.gallery, m.claim, m.mark, t.model, t.small, r.subject, r.encounter, r.gallery, r.id, t.sealed"
            " FROM members AS m JOIN records AS r"
            " ON r.subject = m.subject AND r.encounter = m.encounter AND r.gallery IN ('', m.gallery)"
            " JOIN templates AS t ON t.record = r.id"
        )
        for gallery, claim, mark, model, small, subject, encounter, of, name, sealed in rows:
            self._vault.marked(mark, member_name(gallery, subject, encounter, claim))
            vector = self._vector(sealed, template_name(name, model, small, subject, encounter, of))
            yield gallery, model, subject, encounter, vector

    def subjects(self) -> list[str]:
        """All subjects that are in a gallery."""
        return [str(row[0]) for row in self._db.execute("SELECT DISTINCT subject FROM members")]

    def count(self, gallery: str) -> int:
        """How many people are in a gallery."""
        row = self._row("SELECT count(DISTINCT subject) FROM members WHERE gallery = ?", gallery)
        return int(row[0]) if row else 0

    def _room(self) -> None:
        if self._full:
            raise Refused("CANNOT_STORE_DATA", "the disk is nearly full; deleting is possible")

    def _members(self, where: str, *values: str) -> list[Membership]:
        rows = self._db.execute(f"SELECT gallery, subject, encounter, claim, mark FROM members WHERE {where}", values)  # noqa: S608 -- fixed texts
        found = []
        for *row, mark in rows:
            self._vault.marked(mark, member_name(*row))
            found.append(Membership(*row))
        return found

    def _vector(self, sealed: bytes, name: str) -> Floats:
        return np.frombuffer(self._vault.open(sealed, name), "<f4").astype(np.float32)

    def _row(self, statement: str, *values: Any) -> Any:
        return self._db.execute(statement, values).fetchone()

    def _erase(self, statement: str, *values: Any, subject: str) -> None:
        self._db.execute(statement, values)
        self.touched.add(subject)
        self.erased = True
