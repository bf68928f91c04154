"""The signed lists on the operator's desk, made of the book: what a gate opens once TUF has brought it.

Rules:

1. A list is signed again when what it says changed, or when two thirds of its time are over; its version only grows.
2. The trust list and the charter carry the list key's signature, what is withdrawn and the daily confirmation the live
   key's, a status list its issuer's.
3. A status list is passed on only if the issuer signed it, and never an older one than before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.errors import Refusal
from edge.sync.book import Book, OfficeError
from edge.sync.keyring import Keyring
from edge.trust import charter as charters
from edge.trust.cycles import Cycle, write_cycles
from edge.trust.list import parse, write_list
from edge.trust.members import write_members
from edge.trust.status import StatusList, open_list_of
from edge.trust.whole import CHARTER, CONFIRMATION, MAIN, hashes_path, status_path, write_confirmation
from edge.trust.withdrawn import write_denied, write_hashes

LASTS: Final = timedelta(days=180)
LIVES: Final = timedelta(days=21)
"""How long what the list key signs is good for, and what the live key does."""


class Lists:
    """The folder ``lists/``."""

    def __init__(self, folder: Path, book: Book, keys: Keyring) -> None:
        self.folder, self.book, self.keys = folder, book, keys

    def write(self, now: datetime) -> None:
        """Bring every list up to what the book says, and confirm them all.

        Raises:
            OfficeError: a key that is needed is not here.
            ValueError: the list would not be accepted by a gate.
        """
        self._write_main(now)
        self._write_charter(now)
        self._write_withdrawn(now)
        self._write_sites(now)
        files = {path: data for path, data in self.files().items() if path != CONFIRMATION}
        self._write(CONFIRMATION, write_confirmation(files, (now, now + LIVES), self.keys.signer("live")))

    def files(self) -> dict[str, bytes]:
        """The signed lists."""
        base = self.folder
        paths = sorted(path for path in base.rglob("*") if path.is_file())
        return {path.relative_to(base).as_posix(): path.read_bytes() for path in paths}

    def list_status(self, iss: str, token: bytes, uri: str | None = None) -> StatusList:
        """Pass an issuer's token status list on.

        Raises:
            OfficeError: it is not the issuer's, or is older than the one that is passed on already.
        """
        listed = self.status_of(iss, token, uri)
        path = status_path(iss, listed.uri)
        issued = int(listed.issued_at.timestamp())
        if issued < self.book.versions.get(path, 0):
            raise OfficeError(f"an older list of {listed.uri} than the one that is passed on")
        self.book.versions[path] = issued
        self._write(path, token)
        return listed

    def status_of(self, iss: str, token: bytes, uri: str | None = None) -> StatusList:
        """The status list in this token, by the keys that the book has of the issuer.

        Raises:
            OfficeError: it is not the issuer's.
        """
        issuer = parse({"issuers": [self.book.issuer(iss)]}, b"").issuers[0]
        try:
            return open_list_of(issuer, token, uri)  # as the gates will see it
        except Refusal as refusal:
            raise OfficeError(f"not a status list of {iss}: {refusal}") from refusal

    def passed_on(self, iss: str, uri: str) -> datetime | None:
        """When the status list was issued that is passed on for this address."""
        issued = self.book.versions.get(status_path(iss, uri))
        return None if issued is None else datetime.fromtimestamp(issued, UTC)

    def _write_main(self, now: datetime) -> None:
        content = {"issuers": self.book.issuers}
        version = self._changed(MAIN, content, now)
        if version:
            ends = now + LASTS
            times = {"issued_at": int(now.timestamp()), "expires": int(ends.timestamp())}
            self._write(MAIN, write_list({**content, "version": version, **times}, self.keys.signer("list")))

    def _write_charter(self, now: datetime) -> None:
        live = self.keys.public("live").public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        content = {"live": live.hex(), "authorities": self.book.authorities, "operators": self.book.operators}
        version = self._changed(CHARTER, content, now)
        if version:
            times = (now, now + LASTS)
            key = self.keys.signer("list")
            parts = self.book.authorities, self.book.operators
            self._write(CHARTER, charters.write_charter(version, [live], *parts, times, key))

    def _write_withdrawn(self, now: datetime) -> None:
        ends = now + LIVES
        key = self.keys.signer("live")
        for iss, hashes in self.book.withdrawn.items():
            path = hashes_path(iss)
            version = self._next(path)
            self._write(path, write_hashes(version, iss, _bytes(hashes), (now, ends), key))
        for site, hashes in self.book.denied.items():
            path = f"denied/{site}.cose"
            self._write(path, write_denied(self._next(path), site, _bytes(hashes), (now, ends), key))

    def _write_sites(self, now: datetime) -> None:
        """What belongs to one site: its lists of people, and which benefits are open there."""
        times, key = (now, now + LIVES), self.keys.signer("live")
        for site, lists in self.book.members.items():
            path = f"members/{site}.cose"
            packed = {name: _bytes(hashes) for name, hashes in lists.items()}
            self._write(path, write_members(self._next(path), site, packed, times, key))
        for site, cycles in self.book.cycles.items():
            path = f"cycles/{site}.cose"
            told = [_cycle(programme, each) for programme, each in sorted(cycles.items())]
            self._write(path, write_cycles(self._next(path), site, told, times, key))

    def _changed(self, path: str, content: Any, now: datetime) -> int:
        """The next version of a list if it must be signed again, else 0."""
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        signed = self.book.signed.get(path)
        again = int((now - LASTS * 2 / 3).timestamp())
        if signed is not None and signed[0] == digest and signed[1] > again:
            return 0
        self.book.signed[path] = [digest, int(now.timestamp())]
        return self._next(path)

    def _next(self, path: str) -> int:
        version: int = self.book.versions.get(path, 0) + 1
        self.book.versions[path] = version
        return version

    def _write(self, path: str, data: bytes) -> None:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def _cycle(programme: str, told: dict[str, Any]) -> Cycle:
    until = datetime.fromtimestamp(told["disputed_until"], UTC)
    return Cycle(programme, told["cycle"], told["number"], told["amount"], until)


def _bytes(hashes: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(one) for one in hashes]
