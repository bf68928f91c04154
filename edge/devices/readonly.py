"""A database that another process writes, opened by one that may only read it.

In WAL mode a reader joins the writer's shared memory file. After the writer has ended in order that file is gone, and
who may not write in the directory cannot make it again: SQLite then says "attempt to write a readonly database". A file
without a WAL beside it does not change, so it is read as it lies (``immutable``), until it is another one.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

Identity = tuple[int, ...]


def identity(path: Path) -> Identity:
    """Tell one state of the file from another, for somebody who holds it open; FileNotFoundError when it is gone."""
    stat = path.stat()
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns) if _at_rest(path) else (stat.st_ino,)


def connect(path: Path) -> sqlite3.Connection:
    """Open the file to read it, from any thread, one at a time."""
    how = "mode=ro&immutable=1" if _at_rest(path) else "mode=ro"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, check_same_thread=False)


def _at_rest(path: Path) -> bool:
    """Nobody writes, and we could not join if somebody did."""
    return not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
