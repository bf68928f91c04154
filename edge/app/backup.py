"""A copy of what a gate knows, for the day its card dies: taken while it runs, encrypted, put back onto another card.

Rules:

1. Every database is copied as SQLite copies one that is being written to: whole, at one moment.
2. The copy is encrypted with a key that is not in it, in pieces that cannot be exchanged, cut off or put elsewhere.
   Nothing plain is written outside the state directory, one database at a time.
3. Secrets of systemd's are not in it: they are encrypted for the old machine. ``edge provision`` gives new ones.
4. What is kept about people beside the log is not in it: what the log says was deleted must not come back. A gallery
   is, so whoever was deleted in it since has to be deleted again. Operators are not either: nobody who was dismissed
   comes back, and everybody else is enrolled again at the console.
5. Put back, the log is a copy of before: what was written since is not in it. So it is kept as evidence, and the gate
   opens a new epoch that names what the copy knew. Where the token remembers more, it seals nothing until somebody
   says so: ``edge audit anew``, which writes down what is missing.
6. What is put back is whole and set aside before anything is moved to its place. A power cut between two moves leaves a
   mark: then the same command begins again, over its own half, unless a gate was started on that.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge.devices import kept
from edge.devices.logfile import replaced, sync
from edge.errors import DeviceError
from edge.settings import Settings

_MAGIC: Final = b"EDGEBAK1"
_PIECE: Final = 1 << 20
_LAST: Final = b"\x01"
_MORE: Final = b"\x00"
_STATE, _CONFIGURATION = "state", "configuration"
_NOT_KEPT: Final = (".new", "-wal", "-shm", "-journal", "lock")
_PLACE: Final = ".backup-"


def new_key(path: Path) -> bytes:
    """The key of a backup, made when there is none: 32 bytes, for its owner alone to read.

    Raises:
        DeviceError: it is not a key.
    """
    if not path.exists():
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(os.urandom(32))
    key = path.read_bytes()
    if len(key) != 32:
        raise DeviceError("backup", f"{path} is no key of a backup: 32 bytes")
    return key


def take(settings: Settings, out: Path, key: bytes) -> int:
    """Write a backup; returns how many files are in it.

    Raises:
        DeviceError: a database cannot be copied.
        OSError: it cannot be written.
    """
    count = 0
    new = out.with_name(out.name + ".new")
    new.unlink(missing_ok=True)
    with (
        open(new, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file,
        _Sealing(file, key) as sealing,
        tarfile.open(fileobj=sealing, mode="w|gz") as archive,
        tempfile.TemporaryDirectory(dir=settings.paths.state, prefix=_PLACE) as place,
    ):
        for name, path in _files(settings):
            copy = _copied(path, Path(place))
            archive.add(copy, arcname=name, recursive=False)
            if copy is not path:
                copy.unlink()
            count += 1
    descriptor = os.open(new, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.replace(out)
    return count


def put_back(settings: Settings, source: Path, key: bytes) -> int:
    """Put a backup back, over nothing or half of one: the state directory holds no gate's. Returns how many files came.

    Raises:
        DeviceError: not a whole backup under this key, or there is state already. Nothing was changed then.
        OSError: it cannot be written.
    """
    state = settings.paths.state
    half = state / f"{_PLACE}half"
    _vacant(settings, half)
    state.mkdir(parents=True, exist_ok=True)
    for left in state.glob(f"{_PLACE}*"):
        if left.is_dir():
            shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=state, prefix=_PLACE) as name:
        folder = Path(name)
        with source.open("rb") as file, tempfile.TemporaryFile(dir=folder) as plain:
            for piece in _opened(file, key):
                plain.write(piece)
            plain.seek(0)
            with tarfile.open(fileobj=plain, mode="r:gz") as archive:
                archive.extractall(folder, filter="tar")
        if settings.paths.journal.is_relative_to(state):
            replaced(folder / _STATE / settings.paths.journal.relative_to(state))
        moves = _moves(settings, folder)
        for path in moves:
            sync(path)
        kept.keep(half, "")
        for path, place in moves.items():
            _like(place.parent, path)
            shutil.move(path, place)
            sync(place)
    for parent in {place.parent for place in moves.values()} | {state}:
        sync(parent)
    half.unlink()
    return len(moves)


def _vacant(settings: Settings, half: Path) -> None:
    """Refuse to put anything over the state of a gate; what a power cut left of putting back is none.

    Raises:
        DeviceError: there is state already.
    """
    state = settings.paths.state
    if half.exists():
        if settings.paths.journal.exists():
            raise DeviceError("backup", f"a gate was started on half a backup: take away what is in {state}, and again")
        return
    here = state.rglob("*.db") if state.is_dir() else ()
    if any(not path.relative_to(state).parts[0].startswith(_PLACE) for path in here):
        raise DeviceError("backup", f"{state} holds the state of a gate; it would be lost")


def _moves(settings: Settings, folder: Path) -> dict[Path, Path]:
    """Where each file goes; the log that was set aside first, so that no start takes its absence for a new gate.

    Raises:
        DeviceError: one is no part of a backup.
    """
    bases = {_STATE: settings.paths.state, _CONFIGURATION: settings.source.parent}
    moves, log = {}, f"{settings.paths.journal.stem}.epoch-"
    files = (path for path in folder.rglob("*") if path.is_file())
    for path in sorted(files, key=lambda path: (not path.name.startswith(log), path)):
        kind, *rest = path.relative_to(folder).parts
        if kind not in bases:
            raise DeviceError("backup", f"{path.name} is no part of a backup")
        moves[path] = bases[kind].joinpath(*rest)
    return moves


def _files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """All that is kept in the state directory and beside the configuration, by its name in the backup."""
    state, configuration = settings.paths.state, settings.source.resolve().parent
    operators = settings.paths.journal.parent / "operators"
    apart = (
        settings.paths.bodies,
        settings.paths.credentials,
        state / "provision",
        operators,
        *state.glob(f"{_PLACE}*"),
    )
    for kind, base in ((_STATE, state), (_CONFIGURATION, configuration)):
        for path in sorted(base.rglob("*")) if kind == _STATE else _configured(configuration):
            if path.is_file() and not path.name.endswith(_NOT_KEPT) and not any(map(path.is_relative_to, apart)):
                yield f"{kind}/{path.relative_to(base)}", path


def _configured(folder: Path) -> list[Path]:
    """What a site and its gate have written down; nothing else that lies there."""
    return sorted(path for path in folder.rglob("*") if path.suffix in (".toml", ".pem", ".json", ".cbor"))


def _copied(path: Path, place: Path) -> Path:
    """A database as it is at one moment; any other file as it is, for they are replaced whole."""
    if path.suffix != ".db":
        return path
    copy = place / hashlib.sha256(str(path).encode()).hexdigest()
    try:
        source = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        target = sqlite3.connect(copy)
        try:
            source.backup(target)
        finally:
            source.close()
            target.close()
    except sqlite3.Error as error:
        raise DeviceError("backup", f"{path.name} cannot be copied: {error}") from error
    stat = path.stat()
    copy.chmod(stat.st_mode)
    os.chown(copy, stat.st_uid, stat.st_gid)
    return copy


def _like(folder: Path, path: Path) -> None:
    """The directory of a process, made as the units make it: its owner is that of the file."""
    if not folder.exists():
        _like(folder.parent, path)
        folder.mkdir(mode=0o750)
        os.chown(folder, path.stat().st_uid, path.stat().st_gid)


class _Sealing(io.RawIOBase):
    """A file that is written encrypted: pieces with their number and whether it is the last among what is signed."""

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        self._file = file
        salt = os.urandom(16)
        file.write(_MAGIC + salt)
        self._cipher = _cipher(key, salt)
        self._number = 0
        self._waiting = bytearray()

    def writable(self) -> bool:
        """It is there to be written."""
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override] # bytes only
        """Take more; whole pieces go to the file."""
        self._waiting += content
        while len(self._waiting) > _PIECE:
            self._piece(bytes(self._waiting[:_PIECE]), _MORE)
            del self._waiting[:_PIECE]
        return len(content)

    def close(self) -> None:
        """Write the last piece."""
        if not self.closed:
            self._piece(bytes(self._waiting), _LAST)
        super().close()

    def _piece(self, content: bytes, last: bytes) -> None:
        sealed = self._cipher.encrypt(self._number.to_bytes(12, "big"), content, last)
        self._file.write(last + len(sealed).to_bytes(4, "big") + sealed)
        self._number += 1


def _opened(file: IO[bytes], key: bytes) -> Iterator[bytes]:
    """The pieces in order, each verified; an end that is not the end is an error."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise DeviceError("backup", "this is no backup")
    cipher, number, last = _cipher(key, file.read(16)), 0, _MORE
    while last == _MORE:
        last, size = file.read(1), int.from_bytes(file.read(4), "big")
        if last not in (_MORE, _LAST) or size > _PIECE + 16:
            raise DeviceError("backup", "the backup is cut off or damaged")
        try:
            yield cipher.decrypt(number.to_bytes(12, "big"), file.read(size), last)
        except InvalidTag as error:
            raise DeviceError("backup", "another key than the backup's, or it was changed") from error
        number += 1
    if file.read(1):
        raise DeviceError("backup", "there is something after the end of the backup")


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    """A key of its own for each backup, so that numbers are nonces."""
    return AESGCM(hashlib.blake2b(salt, key=key, digest_size=32, person=b"edge-backup").digest())
