"""Setting a token up, because a person asked for it: initialise an empty one, make the gate's key in it.

Nothing that runs by itself imports this.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11.exceptions import PKCS11Error
from pkcs11.util.ec import encode_named_curve_parameters

from edge.devices.cryptoki import TokenPlace, find, load, point_of, reinitialise, said
from edge.errors import DeviceError


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
