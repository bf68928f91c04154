"""The log's file as a file: how it is opened, whether SQLite finds it whole, and how a bad one is set aside.

A damaged file is evidence: it is renamed, with its write-ahead log, and never opened for writing again.
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

Connect = Callable[[Path], sqlite3.Connection]
_LEFT_OUT = range(10, 100)
_MOST = 10**9  # of epochs: what a damaged file or a name says beyond that is no number of ours


class Damaged(Exception):  # noqa: N818 -- a finding, not a failure of ours
    """The file is not the log it should be; the message says why."""


def sqlite(path: Path) -> sqlite3.Connection:
    """A connection for writing."""
    return sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)


def prepared(file: sqlite3.Connection) -> sqlite3.Connection:
    """The connection with rule 1 in force."""
    try:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = FULL")
        file.execute("PRAGMA trusted_schema = OFF")
        file.execute("PRAGMA secure_delete = ON")  # what is pruned is overwritten
        file.execute("PRAGMA journal_size_limit = 8388608")
    except BaseException:
        file.close()
        raise
    return file


def whole(file: sqlite3.Connection) -> None:
    """SQLite's own check of the whole file."""
    found = file.execute("PRAGMA quick_check(1)").fetchone()
    if found != ("ok",):
        raise Damaged(f"the file is damaged: {found[0]}")


def suspect(path: Path) -> Path:
    """Marks a file in which damage was found while it was in service."""
    return path.with_name(path.name + ".suspect")


def is_corrupt(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is wrong, rather than the disk full or the directory read-only."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such" in str(error)


def epoch_of(path: Path) -> int:
    """The epoch that a damaged file still tells, else 0."""
    try:
        with closing(sqlite3.connect(path)) as file:
            epoch = int(file.execute("SELECT epoch FROM log").fetchone()[0])
            return epoch if 0 <= epoch < _MOST else 0
    except (sqlite3.Error, TypeError, ValueError):
        return 0


def evidence(path: Path) -> list[int]:
    """The epochs of the files that were set aside, and those that are left out (``replaced``)."""
    pattern = re.compile(re.escape(path.stem) + r"\.epoch-(\d{1,9})\.(?:\d+\.db|none)")
    return [int(found[1]) for part in path.parent.iterdir() if (found := pattern.fullmatch(part.name))]


def replaced(path: Path) -> None:
    """Set aside a log that is a copy of before: what was written since is not in it, so it is not gone on with.

    Some numbers are left out, at random, for epochs that were opened since the copy was made: two logs of one number
    would be a fork.
    """
    if not path.exists():
        return
    owner, epoch = path.stat(), epoch_of(path)
    known = max((epoch, *evidence(path)))
    set_aside(path, epoch)
    left_out = path.with_name(f"{path.stem}.epoch-{known + secrets.choice(_LEFT_OUT)}.none")
    left_out.touch()
    os.chown(left_out, owner.st_uid, owner.st_gid)
    sync(path.parent)


def missing(path: Path) -> str:
    """Why there is no log where one should be."""
    newest = max(evidence(path), default=0)
    replaced_here = path.with_name(f"{path.stem}.epoch-{newest}.none").exists()
    return "a copy of the log was put back" if replaced_here else "the log is missing"


def left_by_owner(path: Path) -> None:
    """Let a file that root made belong to whom its directory belongs, for the process that goes on with it."""
    owner = path.parent.stat()
    for part in path.parent.glob(f"{path.name}*"):
        if part.stat().st_uid != owner.st_uid and os.geteuid() == 0:
            os.chown(part, owner.st_uid, owner.st_gid)


def set_aside(path: Path, epoch: int) -> str:
    """Rename the file and what belongs to it; returns the new name."""
    number = 0
    while (kept := path.with_name(f"{path.stem}.epoch-{epoch}.{number}.db")).exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(kept.with_name(kept.name + suffix))
    suspect(path).unlink(missing_ok=True)
    sync(path.parent)
    return kept.name


def sync(path: Path) -> None:
    """Have a file, or the names in a directory, on disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
