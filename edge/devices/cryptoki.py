"""The PKCS#11 library: how it is loaded, how a token is found in it, and its errors as sentences.

A token is found by its label, and its serial number if one is given; never by slot, which changes.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pkcs11
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11.exceptions import PKCS11Error

from edge.errors import DeviceError

PIN_TROUBLE = (
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
        if not place.serial or text_of(token.serial) == place.serial
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


def text_of(value: Any) -> str:
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
    if isinstance(error, PIN_TROUBLE):
        return f"the PIN of {label!r} is wrong"
    return f"{label!r}: {type(error).__name__} {error}".rstrip()
