"""A database that another process writes, opened by one that may only read it.

In WAL mode a reader joins the writer's shared memory file. After the writer has ended in order that file is gone, and
who may not write in the directory cannot make it again: SQLite then says "attempt to write a readonly database". A file
without a WAL beside it does not change, so it is read as it lies (``immutable``), until it is another one.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.audit.entry import LogError
from edge.devices.logfile import is_corrupt
from edge.errors import DeviceError

Identity = tuple[int, ...]


class Corrupt(DeviceError):  # noqa: N818 -- a finding about a file
    """The file is damaged: it stays so until somebody acts."""


def identity(path: Path) -> Identity:
    """Tell one state of the file from another, for somebody who holds it open; FileNotFoundError when it is gone."""
    stat = path.stat()
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns) if _at_rest(path) else (stat.st_ino,)


def connect(path: Path) -> sqlite3.Connection:
    """Open the file to read it, from any thread, one at a time."""
    how = "mode=ro&immutable=1" if _at_rest(path) else "mode=ro"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, check_same_thread=False)


class ReadFile:
    """One such database, followed by its name: when another file gets the name, that one is read from then on.

    Calls come from any thread; whoever asks holds ``asking`` meanwhile.

    Args:
        path: of the file; it need not be there yet.
        device: whose part it is, for errors.
        made: whether an opened file is already what it is going to be, and not still being made.
        anew: called when another file is about to be read.
        remedy: what the technician does about a damaged one.
    """

    def __init__(
        self,
        path: Path,
        device: str,
        made: Callable[[sqlite3.Connection], bool],
        anew: Callable[[], None] = lambda: None,
        remedy: str = "",
    ) -> None:
        self._path, self._device, self._made, self._anew = path, device, made, anew
        self._remedy = f"; {remedy}" if remedy else ""
        self._lock = threading.Lock()
        self._file: sqlite3.Connection | None = None
        self._found: Identity = ()

    @contextmanager
    def asking(self, *, look: bool = True) -> Iterator[sqlite3.Connection | None]:
        """The file that now has the name, None while there is none; SQLite's errors as the technician's.

        Args:
            look: whether another file has the name by now; to look is a good part of the cost of a small question.

        Raises:
            DeviceError: it cannot be read; the next call opens it anew.
            Corrupt: it is damaged.
        """
        with self._lock:
            try:
                yield self._present() if look or self._file is None else self._file
            except (sqlite3.Error, OSError) as error:
                self.drop()
                if isinstance(error, sqlite3.DatabaseError) and is_corrupt(error):
                    raise Corrupt(self._device, f"{self._path} is damaged: {error}{self._remedy}") from error
                raise DeviceError(self._device, f"{self._path} cannot be read: {error}") from error
            except LogError as error:
                raise Corrupt(self._device, f"{self._path}: {error}{self._remedy}") from error

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self.drop()

    def drop(self) -> None:
        """The same, for who is asking."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _present(self) -> sqlite3.Connection | None:
        try:
            found = identity(self._path)
        except FileNotFoundError:
            self.drop()
            return None
        if self._file is None or found != self._found:
            self.drop()
            self._anew()
            self._found, self._file = found, connect(self._path)
            if not self._made(self._file):
                self.drop()
        return self._file


def _at_rest(path: Path) -> bool:
    """Nobody writes, and we could not join if somebody did."""
    return not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
