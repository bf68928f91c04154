"""The token that signs checkpoints: any PKCS#11 module, reached through python-pkcs11 on one thread.

Rules:

1. One thread owns the library, the session and the key; python-pkcs11 initialises modules without locking.
2. The token is found by its label, and its serial number if one is given; never by slot, which changes. The key is
   found by its id, and its public key must be the enrolled one at every opening: another token with the same label is
   refused.
3. After any error all handles are dropped and the library is initialised anew before the next try. Who calls decides
   when that is.
4. A wrong PIN is tried once, never twice: three would lock a token. Which PIN is about to be tried is on disk before it
   is (as a scrypt hash; what cannot be written is not tried), and goes when it was good, so that restarts and reboots
   do not use up the tries; another PIN is tried at once. The last try that a token has left is never used.
5. Nothing here ever makes a key; ``provisioning`` does, when a person asks for it.
6. Only statements of checkpoints are signed (``audit/sealing.Guard``). The hash is made here: many tokens know only
   CKM_ECDSA on a digest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pkcs11
from pkcs11.exceptions import PKCS11Error

from edge.audit.checkpoint import Checkpoint, key_id, verify_es256
from edge.audit.entry import LogError
from edge.audit.sealing import Guard
from edge.audit.succession import succession_statement
from edge.devices import kept
from edge.devices.cryptoki import (
    PIN_TROUBLE,
    TokenPlace,
    enrolled_point,
    find,
    load,
    point_of,
    reinitialise,
    said,
    text_of,
    to_pem,
)
from edge.devices.worker import Worker
from edge.errors import DeviceError

T = TypeVar("T")
_DEADLINE_S = 15.0
_TRYING, _REFUSED = "?", "!"
_NOTE = {
    pkcs11.Attribute.CLASS: pkcs11.ObjectClass.DATA,
    pkcs11.Attribute.LABEL: "edge-gate last head",
    pkcs11.Attribute.PRIVATE: True,
}


class Pkcs11Token:
    """The token of ``ports.Token``."""

    def __init__(
        self,
        place: TokenPlace,
        pin: str,
        enrolled: bytes,
        origin: str,
        refused: Path | None = None,
        deadline_s: float = _DEADLINE_S,
    ) -> None:
        """Prepare; the token is opened at the first call.

        Args:
            place: where the key is.
            pin: of the token's user.
            enrolled: uncompressed point of the public key that this gate was enrolled with.
            origin: of the only log whose checkpoints are signed.
            refused: file that remembers a refused PIN, None to remember it in this process only.
            deadline_s: for one signature, opening included.
        """
        self._place = place
        self._pin = pin
        self._enrolled = enrolled
        self._guard = Guard(origin, key_id(enrolled))
        self._deadline_s = deadline_s
        self._session: Any = None
        self._public: Any = None
        self._private: Any = None
        self._stale = False
        self._pin_refused = PinRefused(refused)
        self._worker = Worker("token")

    def resume(self, last: Checkpoint | None) -> None:
        """Go on after this checkpoint: nothing older is signed any more."""
        if last is not None:
            self._guard.resume(last.head.epoch, last.head.size, last.digest)

    async def sign(self, statement: bytes) -> bytes:
        """Sign the statement of a checkpoint; returns r || s, 64 bytes."""
        try:
            self._guard.admit(statement)
        except LogError as error:
            raise DeviceError("token", f"not signed: {error}") from error
        signature = await self._signed(statement)
        self._guard.signed(statement)
        return signature

    async def countersign(self, checkpoint: Checkpoint, successor: bytes) -> bytes:
        """Countersign the first checkpoint of the key that follows this one; nothing is signed after that.

        Args:
            checkpoint: continues the last that this key signed.
            successor: uncompressed point of the new key, which signed it.
        """
        statement = succession_statement(checkpoint, key_id(self._enrolled))
        try:
            checkpoint.verify(successor)
            self._guard.admit_successor(statement, key_id(successor))
        except LogError as error:
            raise DeviceError("token", f"not countersigned: {error}") from error
        signature = await self._signed(statement)
        self._guard.succeeded()
        return signature

    async def public_key(self) -> bytes:
        """The uncompressed point of the key in the token, which is the enrolled one."""
        return await self._ask(self._present_point)

    async def remember(self, note: bytes) -> None:
        """Keep these few bytes in the token, in place of what it remembered before."""
        await self._ask(lambda: self._remember(note))

    async def recall(self) -> bytes | None:
        """What the token remembers, the newest first; None when nothing."""
        return await self._ask(self._recall)

    @property
    def stuck(self) -> bool:
        """Whether the module hangs; only a new process helps."""
        return self._worker.stuck

    def close(self) -> None:
        """Log out and let go of the module."""
        self._worker.close(self._drop)

    async def _signed(self, statement: bytes) -> bytes:
        """The token's signature, checked: one that signs wrongly is noticed here and not at an audit years later."""
        signature = await self._ask(lambda: self._sign(statement))
        try:
            verify_es256(self._enrolled, statement, signature)
        except LogError as error:
            raise DeviceError("token", f"its signature is wrong: {error}") from error
        return signature

    async def _ask(self, do: Callable[[], T]) -> T:
        """What the thread answers, with the library's errors as the technician's."""

        def tried() -> T:
            try:
                return do()
            except PKCS11Error as error:
                self._drop()
                raise DeviceError("token", said(error, self._place.label)) from error
            except BaseException:
                self._drop()
                raise

        return await self._worker.call(tried, self._deadline_s)

    def _sign(self, statement: bytes) -> bytes:
        self._present_point()
        return bytes(self._private.sign(hashlib.sha256(statement).digest(), mechanism=pkcs11.Mechanism.ECDSA))

    def _present_point(self) -> bytes:
        """The public key as the token tells it now: the cheapest question that a token which is gone cannot answer."""
        if self._session is None:
            self._open()
        found = point_of(bytes(self._public[pkcs11.Attribute.EC_POINT]))
        if found != self._enrolled:
            raise DeviceError("token", f"{self._place.label!r} holds another key than this gate was enrolled with")
        return found

    def _remember(self, note: bytes) -> None:
        """Write the new note before the old one goes: a power cut in between leaves two, and the greater one counts."""
        self._present_point()
        with self._session.token.open(rw=True) as writing:  # logged in already: a login is the token's, not a session's
            before = list(writing.get_objects(_NOTE))
            writing.create_object({**_NOTE, pkcs11.Attribute.TOKEN: True, pkcs11.Attribute.VALUE: note})
            for old in before:
                old.destroy()

    def _recall(self) -> bytes | None:
        self._present_point()
        notes = [bytes(found[pkcs11.Attribute.VALUE]) for found in list(self._session.get_objects(_NOTE))]
        return max(notes, default=None)

    def _key(self, kind: pkcs11.ObjectClass) -> Any:
        """The one key object of our id."""
        wanted = {pkcs11.Attribute.CLASS: kind, pkcs11.Attribute.ID: bytes.fromhex(self._place.key_id)}
        found = list(self._session.get_objects(wanted))  # get_key leaves a search open behind it when there is none
        if len(found) != 1:
            raise DeviceError("token", f"{self._place.label!r} does not hold the key, or was pulled out")
        return found[0]

    def _open(self) -> None:
        """Find the token, log in once, and check whose key it holds."""
        if self._stale:
            reinitialise(self._place.module)  # right before the look: some notice a token that came back only then
            self._stale = False
        token = find(load(self._place.module), self._place)
        self._pin_refused.check(token, self._pin)
        self._pin_refused.about_to_try(token, self._pin)
        try:
            self._session = token.open(user_pin=self._pin)
        except PIN_TROUBLE as error:
            self._pin_refused.remember(token, self._pin)
            raise DeviceError("token", f"{said(error, self._place.label)}; it is not tried again") from error
        self._pin_refused.good()
        self._public = self._key(pkcs11.ObjectClass.PUBLIC_KEY)
        self._private = self._key(pkcs11.ObjectClass.PRIVATE_KEY)
        self._present_point()

    def _drop(self) -> None:
        """Let go of all handles; the library looks afresh before the next opening."""
        session, self._session = self._session, None
        self._public = self._private = None
        with suppress(PKCS11Error):  # it is gone, which is why we are here
            if session is not None:
                session.close()
        self._stale = True


class PinRefused:
    """Which PIN a token refused, so that it is not tried again (rule 4)."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._hash = ""

    def check(self, token: Any, pin: str) -> None:
        """Raise if this PIN was refused by this token before, or if it has one try left."""
        if token.flags & pkcs11.TokenFlag.USER_PIN_LOCKED:
            raise DeviceError("token", f"the PIN of {token.label!r} is locked")
        if token.flags & pkcs11.TokenFlag.USER_PIN_FINAL_TRY:
            raise DeviceError("token", f"{token.label!r} has one try left for its PIN; it is not used up here")
        hashed = self._hashed(token, pin)
        if self._hash == "" and self._file is not None and self._file.exists():
            text = self._file.read_text(encoding="ascii")
            # after a power cut it is not known how a try ended: the token tells whether one failed since the last login
            refused = not text.startswith(_TRYING) or bool(token.flags & pkcs11.TokenFlag.USER_PIN_COUNT_LOW)
            self._hash = text.lstrip(_TRYING + _REFUSED) if refused else ""
        if self._hash == hashed:
            remedy = f"; after setting the token's PIN, remove {self._file}" if self._file is not None else ""
            raise DeviceError("token", f"the PIN of {token.label!r} is wrong; it is not tried again{remedy}")

    def about_to_try(self, token: Any, pin: str) -> None:
        """Have it on disk that this PIN is tried, as long as nothing is known against it; raise if it cannot be."""
        if self._file is None:
            return
        try:
            kept.keep(self._file, _TRYING + self._hashed(token, pin))
        except OSError as error:
            told = f"the PIN of {token.label!r} is not tried: {self._file} cannot be written, {error.strerror}"
            raise DeviceError("token", told) from error

    def good(self) -> None:
        """The PIN that was tried is right."""
        self._hash = ""
        if self._file is not None:
            with suppress(OSError):  # the token knows of no try that failed since
                self._file.unlink(missing_ok=True)

    def remember(self, token: Any, pin: str) -> None:
        """Note that this PIN was refused: one byte in its place, which no full disk keeps from being written."""
        self._hash = self._hashed(token, pin)
        if self._file is not None:
            with suppress(OSError), self._file.open("r+b") as file:  # it stays a try of which the token knows the end
                file.write(_REFUSED.encode())
                file.flush()
                os.fsync(file.fileno())

    def _hashed(self, token: Any, pin: str) -> str:
        salt = b"edge-gate refused pin" + text_of(token.serial).encode()
        return hashlib.scrypt(pin.encode(), salt=salt, n=2**12, r=8, p=1).hex()


__all__ = [
    "PinRefused",
    "Pkcs11Token",
    "TokenPlace",
    "enrolled_point",
    "find",
    "load",
    "point_of",
    "reinitialise",
    "said",
    "to_pem",
]
