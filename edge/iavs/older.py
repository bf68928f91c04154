"""A gallery that an earlier version wrote, made one of this version when it is opened.

Rules:

1. Earlier versions bound a record to its name alone, and marked no membership. Both are made good once; a gallery that
   holds anything of this version is never taken for one of before, whatever its number says, for then somebody changed
   it who has no key.
2. Records are renewed some at a time: what a power cut leaves is finished at the next start, and the write-ahead log
   stays small.
3. A later version's gallery is not opened.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from edge.iavs.vault import Vault, member_name, record_name, template_name

VERSION = 2
_MARKED = 1
_AT_ONCE = 16
_TEMPLATES = (
    "SELECT t.record, t.model, t.small, r.subject, r.encounter, r.gallery, t.sealed"
    " FROM templates AS t JOIN records AS r ON r.id = t.record"
)
_log = logging.getLogger("edge.iavs")


def renew(file: sqlite3.Connection, vault: Vault) -> None:
    """Bring the gallery to this version.

    Raises:
        ValueError: it was written under another key, by a later version, or was changed without the key.
    """
    found = int(file.execute("PRAGMA user_version").fetchone()[0])
    if found > VERSION:
        raise ValueError("a gallery of a later version")
    if found < _MARKED:
        _mark(file, vault)
    if found < VERSION:
        _reseal(file, vault)
        file.execute(f"PRAGMA user_version = {VERSION}")


def _mark(file: sqlite3.Connection, vault: Vault) -> None:
    columns = {
        table: {row[1] for row in file.execute(f"PRAGMA table_info({table})")} for table in ("templates", "members")
    }
    with _change(file):
        if "small" not in columns["templates"]:
            file.execute("ALTER TABLE templates ADD COLUMN small INTEGER NOT NULL DEFAULT 0")
        if "mark" not in columns["members"]:
            file.execute("ALTER TABLE members ADD COLUMN mark BLOB NOT NULL DEFAULT x''")
        for record, model, *facts, sealed in file.execute(_TEMPLATES):
            if _opened(vault, sealed, template_name(record, model, *facts)) is not None:
                raise ValueError("a gallery that was made an older one without its key")
        for row in file.execute("SELECT gallery, subject, encounter, claim FROM members").fetchall():
            file.execute(
                "UPDATE members SET mark = ? WHERE gallery = ? AND subject = ? AND encounter = ? AND claim = ?",
                (vault.mark(member_name(*row)), *row),
            )
        file.execute(f"PRAGMA user_version = {_MARKED}")


def _reseal(file: sqlite3.Connection, vault: Vault) -> None:
    """Rule 2."""
    last, lost = 0, 0
    while numbers := [
        row[0]
        for row in file.execute("SELECT number FROM records WHERE number > ? ORDER BY number LIMIT ?", (last, _AT_ONCE))
    ]:
        with _change(file):
            for number in numbers:
                lost += not _renewed(file, vault, number)
        last = numbers[-1]
    if lost:
        _log.error("the gallery has %d records that its key does not open", lost)


def _renewed(file: sqlite3.Connection, vault: Vault, number: int) -> bool:
    """Seal a record and its template anew; whether the record opens at all.

    Raises:
        ValueError: its template does not.
    """
    select = "SELECT id, subject, encounter, gallery, kind, label, sealed FROM records WHERE number = ?"
    record, *facts, sealed = file.execute(select, (number,)).fetchone()
    for _, model, *whose, template in file.execute(f"{_TEMPLATES} WHERE t.record = ?", (record,)).fetchall():
        name = template_name(record, model, *whose)
        if _opened(vault, template, name) is None:
            renewed = vault.seal(vault.open(template, f"{record} {model}"), name)
            file.execute("UPDATE templates SET sealed = ? WHERE record = ?", (renewed, record))
    name = record_name(record, *facts)
    if _opened(vault, sealed, name) is not None:
        return True
    plain = _opened(vault, sealed, record)
    if plain is not None:
        file.execute("UPDATE records SET sealed = ? WHERE number = ?", (vault.seal(plain, name), number))
    return plain is not None


def _opened(vault: Vault, sealed: bytes, name: str) -> bytes | None:
    try:
        return vault.open(sealed, name)
    except ValueError:
        return None


@contextmanager
def _change(file: sqlite3.Connection) -> Iterator[None]:
    file.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        file.rollback()
        raise
    file.commit()
