"""Making credentials, for pilots, tests and re-issuers: claims and a signer in, the text of a code out.

A ``Dialect`` says how: the specification's table, its example and the hexadecimal text of some issuers are given; any
other mixture can be made for tests. What is written is told by name, as ``edge.credential.identity.NAMES`` has them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import IntEnum
from typing import Any, Final

from edge.credential import base45, cwt, picture
from edge.credential.identity import NAMES, SUBFORMATS, Format
from edge.credential.inflate import compress_brotli
from edge.trust import cose
from edge.trust.cbor import Tagged, encode
from edge.trust.cose import Signer, signer
from edge.trust.encryption import ContentKey, encrypt

_TOKEN: Final = {"iss": 1, "sub": 2, "aud": 3, "exp": 4, "nbf": 5, "iat": 6, "cti": 7, "cnf": 8, "status": cwt.STATUS}
_NUMBERS: Final = {name: number for number, name in NAMES.items()}
_BIOMETRICS: Final = range(50, 66)


@dataclass(frozen=True)
class Dialect:
    """How a credential is written.

    Attributes:
        name: for reports.
        tags: COSE and CWT tags, outermost first.
        in_bytes: claim 169 is a byte string with the map in it.
        kid_protected: where the key identifier stands.
        hex_text: the hexadecimal digits of the message are compressed, not its bytes.
        compression: "zlib", "brotli" or "none".
        listed: biometrics are lists, as in the table; else a single one stands alone, as in the example.
    """

    name: str
    tags: tuple[int, ...] = (cose.SIGN1,)
    in_bytes: bool = False
    kid_protected: bool = True
    hex_text: bool = False
    compression: str = "zlib"
    listed: bool = True


SPEC_TABLE: Final = Dialect("spec-table")
SPEC_EXAMPLE: Final = Dialect(
    "spec-example", (cose.CWT_TAG, cose.SIGN1), in_bytes=True, kid_protected=False, listed=False
)
HEX_TEXT: Final = Dialect("hex-text", (cose.CWT_TAG, cose.SIGN1), in_bytes=True, hex_text=True, listed=False)
DIALECTS: Final = {dialect.name: dialect for dialect in (SPEC_TABLE, SPEC_EXAMPLE, HEX_TEXT)}


def issue(
    claims: Mapping[str, Any],
    by: Signer,
    dialect: Dialect = SPEC_TABLE,
    content_key: ContentKey | None = None,
    nonce: bytes = b"",
) -> str:
    """Make the text of a code.

    Args:
        claims: by name: those of the token (iss, sub, aud, exp, nbf, iat, cti; times as aware ``datetime`` or seconds)
            and those of claim 169 (id, full_name, date_of_birth, gender, ..., face). A biometric is the bytes of a
            picture, a mapping with data, format, subformat and issuer, or a list of such.
        by: who signs.
        dialect: how it is written.
        content_key, nonce: to encrypt the signed message; 12 random bytes, never the same twice.

    Raises:
        ValueError: a claim is not known.
    """
    if content_key is None:
        return pack(message(payload(claims, dialect), by, dialect), dialect)
    if len(nonce) != 12:
        raise ValueError("a nonce has 12 bytes")
    inner = message(payload(claims, dialect), by, replace(dialect, tags=(cose.SIGN1,)))
    tags = (*(tag for tag in dialect.tags if tag == cose.CWT_TAG), cose.ENCRYPT0)
    return pack(tagged(encrypt(inner, content_key, nonce), tags), dialect)


def payload(claims: Mapping[str, Any], dialect: Dialect = SPEC_TABLE) -> bytes:
    """The claims, as CBOR, ready to be signed."""
    token: dict[int, Any] = {}
    person: dict[int, Any] = {}
    for name, value in claims.items():
        if value is None:
            continue
        if name in _TOKEN:
            token[_TOKEN[name]] = int(value.timestamp()) if isinstance(value, datetime) else value
        elif name in _NUMBERS:
            person[_NUMBERS[name]] = _written(_NUMBERS[name], value, dialect)
        else:
            raise ValueError(f"claim {name!r} is not known")
    token[cwt.IDENTITY] = encode(person) if dialect.in_bytes else person
    return encode(token)


def _written(number: int, value: Any, dialect: Dialect) -> Any:
    if isinstance(value, date):
        return f"{value:%Y%m%d}"
    if isinstance(value, IntEnum):
        return int(value)
    if isinstance(value, tuple):
        return list(value)
    if number not in _BIOMETRICS:
        return value
    entries = [_biometric(one) for one in (value if isinstance(value, list) else [value])]
    return entries if dialect.listed or len(entries) != 1 else entries[0]


def _biometric(value: Any) -> dict[int, Any]:
    if not isinstance(value, Mapping):
        value = {"data": value, "format": Format.IMAGE}
    members = {0: value["data"], 1: value.get("format"), 2: value.get("subformat"), 3: value.get("issuer")}
    if members[2] is None and members[1] == Format.IMAGE:
        members[2] = _image_subformat(value["data"])
    return {label: int(one) if isinstance(one, IntEnum) else one for label, one in members.items() if one is not None}


def _image_subformat(data: object) -> int | None:
    kind = picture.kind(data) if isinstance(data, bytes) else None
    return next((number for number, name in SUBFORMATS[Format.IMAGE].items() if name.lower() == kind), None)


def message(content: bytes, by: Signer, dialect: Dialect = SPEC_TABLE) -> bytes:
    """Sign a payload and put the dialect's tags around it."""
    kid: dict[int | str, Any] = {} if by.kid is None else {cose.KID: by.kid}
    chain: dict[int | str, Any] = {}
    if by.chain:
        chain[cose.X5CHAIN] = by.chain[0] if len(by.chain) == 1 else list(by.chain)
    protected, unprotected = (kid, chain) if dialect.kid_protected else ({}, kid | chain)
    return tagged(cose.make_sign1(content, by, protected, unprotected), dialect.tags)


def tagged(body: Any, tags: tuple[int, ...]) -> bytes:
    """Put tags around a message, outermost first."""
    for tag in reversed(tags):
        body = Tagged(tag, body)
    return encode(body)


def pack(data: bytes, dialect: Dialect = SPEC_TABLE) -> str:
    """The text of the code for a signed message."""
    if dialect.hex_text:
        data = data.hex().encode()
    match dialect.compression:
        case "zlib":
            data = zlib.compress(data, 9)
        case "brotli":
            data = compress_brotli(data)
    return base45.encode(data)


__all__ = ["DIALECTS", "HEX_TEXT", "SPEC_EXAMPLE", "SPEC_TABLE", "Dialect", "Signer", "issue", "signer"]
