"""The token that signs checkpoints: any PKCS#11 module, reached through python-pkcs11 on one thread.

Rules:

1. One thread owns the library, the session and the key; python-pkcs11 initialises modules without locking.
2. The token is found by its label, and its serial number if one is given; never by slot, which changes. The key is
   found by its id, and its public key must be the enrolled one at every opening: another token with the same label is
   refused.
3. After any error all handles are dropped and the library is initialised anew before the next try. Who calls decides
   when that is.
4. A wrong PIN is tried once, never twice: three would lock a token. Which PIN was refused is remembered on disk (as a
   scrypt hash), so that restarts and reboots do not use up the tries; another PIN is tried at once. The last try that
   a token has left is never used.
5. Nothing here ever makes a key; ``provision`` does, when a person asks for it.
6. Only statements of checkpoints are signed (``audit/sealing.Guard``). The hash is made here: many tokens know only
   CKM_ECDSA on a digest.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pkcs11
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11.exceptions import PKCS11Error
from pkcs11.util.ec import encode_named_curve_parameters

from edge.audit.checkpoint import Checkpoint, key_id, verify_es256
from edge.audit.entry import LogError
from edge.audit.sealing import Guard
from edge.audit.succession import succession_statement
from edge.devices.worker import Worker
from edge.errors import DeviceError

T = TypeVar("T")
_DEADLINE_S = 15.0
_NOTE = {
    pkcs11.Attribute.CLASS: pkcs11.ObjectClass.DATA,
    pkcs11.Attribute.LABEL: "edge-gate last head",
    pkcs11.Attribute.PRIVATE: True,
}
_PIN_TROUBLE = (
    pkcs11.exceptions.PinIncorrect,
    pkcs11.exceptions.PinLocked,
    pkcs11.exceptions.PinExpired,
    pkcs11.exceptions.PinInvalid,
    pkcs11.exceptions.PinLenRange,
    pkcs11.exceptions.UserPinNotInitialized,
)


@dataclass(frozen=True)
class TokenPlace:
    """Where the key is.

    Attributes:
        module: the PKCS#11 library.
        label: of the token.
        serial: of the token, empty if it does not matter.
        key_id: CKA_ID of the key pair, hexadecimal.
    """

    module: Path
    label: str
    serial: str
    key_id: str


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
        try:
            self._session = token.open(user_pin=self._pin)
        except _PIN_TROUBLE as error:
            self._pin_refused.remember(token, self._pin)
            raise DeviceError("token", f"{said(error, self._place.label)}; it is not tried again") from error
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
        if self._hash == "" and self._file is not None and self._file.exists():
            self._hash = self._file.read_text(encoding="ascii")
        if self._hash == self._hashed(token, pin):
            remedy = f"; after setting the token's PIN, remove {self._file}" if self._file is not None else ""
            raise DeviceError("token", f"the PIN of {token.label!r} is wrong; it is not tried again{remedy}")

    def remember(self, token: Any, pin: str) -> None:
        """Note that this PIN was refused."""
        self._hash = self._hashed(token, pin)
        if self._file is not None:
            self._file.write_text(self._hash, encoding="ascii")

    def _hashed(self, token: Any, pin: str) -> str:
        salt = b"edge-gate refused pin" + _text(token.serial).encode()
        return hashlib.scrypt(pin.encode(), salt=salt, n=2**12, r=8, p=1).hex()


def load(module: Path) -> Any:
    """The PKCS#11 library.

    Raises:
        DeviceError: it cannot be loaded.
    """
    try:
        return pkcs11.lib(str(module))
    except (PKCS11Error, RuntimeError, OSError) as error:
        raise DeviceError("token", f"module {module} does not load: {error}") from error


def reinitialise(module: Path) -> None:
    """Have the library forget what it knew: some see a token that came back only then."""
    with suppress(PKCS11Error, DeviceError):  # said at the next opening
        load(module).reinitialize()


def find(library: Any, place: TokenPlace) -> Any:
    """The one token with this label and serial number.

    Raises:
        DeviceError: there is none, or several.
    """
    found = [
        token
        for token in library.get_tokens(token_label=place.label)
        if not place.serial or _text(token.serial) == place.serial
    ]
    if not found:
        raise DeviceError("token", f"{place.label!r} is not plugged in")
    if len(found) > 1:
        raise DeviceError("token", f"{len(found)} tokens are called {place.label!r}; give the serial number")
    return found[0]


def point_of(ec_point: bytes) -> bytes:
    """The uncompressed P-256 point in CKA_EC_POINT, which is a DER octet string.

    Raises:
        DeviceError: it is another kind of key.
    """
    point = ec_point[2:] if ec_point[:2] == b"\x04\x41" else ec_point
    if len(point) != 65 or point[0] != 4:
        raise DeviceError("token", "the key is not a P-256 key")
    return point


def enrolled_point(pem: bytes) -> bytes:
    """The uncompressed point in a PEM public key.

    Raises:
        DeviceError: it is not a P-256 public key.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError as error:
        raise DeviceError("token", "the enrolled public key cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DeviceError("token", "the enrolled public key is not a P-256 key")
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def to_pem(point: bytes) -> bytes:
    """A point as PEM, which is how it is enrolled."""
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def provision(place: TokenPlace, pin: str) -> bytes:
    """Make the gate's key pair in an initialised token, because a person asked for it; returns its point.

    The key never leaves the token. An existing key of that id is never replaced.

    Raises:
        DeviceError: no such token, a wrong PIN, or there is a key already.
    """
    try:
        return _make_key(find(load(place.module), place), pin, bytes.fromhex(place.key_id))
    except PKCS11Error as error:
        raise DeviceError("token", said(error, place.label)) from error
    finally:
        reinitialise(place.module)


def initialise(module: Path, label: str, so_pin: str, pin: str) -> None:
    """Initialise the first empty token, because a person asked for it: C_InitToken, then the user's PIN.

    Args:
        module: the PKCS#11 library.
        label: that the token gets.
        so_pin: that its security officer gets.
        pin: that its user gets.

    Raises:
        DeviceError: a token has this label already, or there is no empty one.
    """
    library = load(module)
    try:
        if list(library.get_tokens(token_label=label)):
            raise DeviceError("token", f"there is a token called {label!r} already")
        slot = next((slot for slot in library.get_slots(token_present=True) if not _initialised(slot)), None)
        if slot is None:
            raise DeviceError("token", "no empty token is plugged in")
        _init_token(module, slot.slot_id, so_pin.encode(), label)
        library.reinitialize()
        with next(iter(library.get_tokens(token_label=label))).open(rw=True, so_pin=so_pin) as session:
            session.init_pin(pin)
    except PKCS11Error as error:
        raise DeviceError("token", said(error, label)) from error
    finally:
        reinitialise(module)


def _init_token(module: Path, slot: int, so_pin: bytes, label: str) -> None:
    """C_InitToken, which python-pkcs11 does not have."""
    function = ctypes.CDLL(str(module)).C_InitToken
    function.argtypes = (ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
    code = function(slot, so_pin, len(so_pin), label.encode().ljust(32)[:32])
    if code != 0:
        raise DeviceError("token", f"the token cannot be initialised: error 0x{code:x}")


def _initialised(slot: Any) -> bool:
    return bool(slot.get_token().flags & pkcs11.TokenFlag.TOKEN_INITIALIZED)


def _make_key(token: Any, pin: str, identity: bytes) -> bytes:
    with token.open(rw=True, user_pin=pin) as session:
        if next(iter(session.get_objects({pkcs11.Attribute.ID: identity})), None) is not None:
            raise DeviceError("token", f"there is a key {identity.hex()} already")
        curve = session.create_domain_parameters(
            pkcs11.KeyType.EC,
            {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")},
            local=True,
        )
        public, _ = curve.generate_keypair(
            store=True,
            id=identity,
            label="edge-gate checkpoints",
            mechanism=pkcs11.Mechanism.EC_KEY_PAIR_GEN,
            capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
            private_template={pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False},
        )
        return point_of(bytes(public[pkcs11.Attribute.EC_POINT]))


def _text(value: Any) -> str:
    """A serial number, which is bytes in some releases of python-pkcs11."""
    return value.decode(errors="replace").strip() if isinstance(value, bytes) else str(value).strip()


def said(error: PKCS11Error, label: str) -> str:
    """An error of the library, for the technician."""
    gone = (
        pkcs11.exceptions.DeviceRemoved,
        pkcs11.exceptions.TokenNotPresent,
        pkcs11.exceptions.NoSuchToken,
        pkcs11.exceptions.SlotIDInvalid,
    )
    if isinstance(error, gone):
        return f"{label!r} is not plugged in"
    if isinstance(error, pkcs11.exceptions.PinLocked):
        return f"the PIN of {label!r} is locked"
    if isinstance(error, _PIN_TROUBLE):
        return f"the PIN of {label!r} is wrong"
    return f"{label!r}: {type(error).__name__} {error}".rstrip()
