"""COSE_Sign1 and COSE_Sign (RFC 9052): taken apart, checked, made.

Rules:

1. Tags are stripped from the outside in: at most one 61 (CWT), then at most one of COSE.
2. ``alg`` and ``crit`` count from the protected header only. The signature is over the protected bytes as received.
3. An empty protected header is ``h''`` in what is signed, also when it was sent as ``h'A0'``.
4. ``crit``: an array, not empty, no label twice, each understood here and present in the protected header.
5. Nothing in a header adds trust: a key comes from the trust list, ``kid`` only proposes one.

What is not verified yet is not frozen: it lives for one reading, and freezing would take longer than decoding it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from edge.errors import Reason, Refusal
from edge.trust.algorithms import BY_NUMBER, Algorithm, PrivateKey, fitting, sign
from edge.trust.cbor import DEPTH, Tagged, decode, encode, head, malformed
from edge.trust.keys import Key

ALG: Final = 1
CRIT: Final = 2
CONTENT_TYPE: Final = 3
KID: Final = 4
TYP: Final = 16
X5BAG, X5CHAIN, X5T, X5U = 32, 33, 34, 35
UNDERSTOOD: Final = frozenset({ALG, CRIT, CONTENT_TYPE, KID, TYP, X5CHAIN, X5T})

CWT_TAG, SIGN1, ENCRYPT0, SIGN, ENCRYPT, MAC0, MAC = 61, 18, 16, 98, 96, 17, 97
SIGNERS: Final = 4
_TAGS: Final = frozenset({CWT_TAG, SIGN1, ENCRYPT0, SIGN, ENCRYPT, MAC0, MAC})
_NOTHING: Final[Mapping[int | str, Any]] = MappingProxyType({})
_SHORT: Final = 128
_USUAL: Final = ((b"\xd8\x3d\xd2\x84", (CWT_TAG, SIGN1)), (b"\xd2\x84", (SIGN1,)), (b"\x84", ()))


@dataclass(slots=True)
class Envelope:
    """What the tags say and the array they are on; ``kind`` is the COSE tag, COSE_Sign1 where there is none."""

    tags: tuple[int, ...]
    body: Any = field(repr=False)
    kind: int = SIGN1


@dataclass(slots=True)
class Signature:
    """One signature with the headers that speak about it; in a COSE_Sign these are the signer's.

    Attributes:
        protected, unprotected: the headers.
        value: the signature.
        signed: the signer's protected header as received; None in a COSE_Sign1, where it is the body's.
    """

    protected: Mapping[int | str, Any] = field(repr=False)
    unprotected: Mapping[int | str, Any] = field(repr=False)
    value: bytes = field(repr=False)
    signed: bytes | None = field(default=None, repr=False)

    @property
    def kid(self) -> bytes | None:
        """The key identifier: protected wins; text counts as its bytes."""
        return key_identifier(self.protected, self.unprotected)

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm that the protected header names.

        Raises:
            Refusal: unreadable when it is missing or outside, unsupported when it is not one of ours.
        """
        return algorithm(self.protected, self.unprotected)

    def header(self, label: int) -> Any:
        """A header parameter that may stand in either; protected wins."""
        return self.protected.get(label, self.unprotected.get(label))


@dataclass(slots=True)
class Message:
    """A COSE_Sign1 or COSE_Sign, not verified.

    Attributes:
        protected_bytes: the body's protected header as received.
        protected: the same, decoded.
        payload: what is signed.
        signatures: one, or those of the signers.
    """

    protected_bytes: bytes = field(repr=False)
    protected: Mapping[int | str, Any] = field(repr=False)
    payload: bytes = field(repr=False)
    signatures: tuple[Signature, ...]

    @property
    def kid(self) -> bytes | None:
        """The first signature's key identifier."""
        return self.signatures[0].kid

    @property
    def notes(self) -> set[str]:
        """What is unusual about the headers."""
        found = set()
        for one in self.signatures:
            if not one.unprotected:
                continue
            if KID in one.unprotected:
                if KID not in one.protected:
                    found.add("kid-unprotected")
                elif one.protected[KID] != one.unprotected[KID]:
                    found.add("kid-differs")
            if ALG in one.unprotected:
                found.add("alg-repeated")
        return found

    @property
    def digest(self) -> bytes:
        """SHA-256 of the body's protected header and the payload, as they were signed.

        Whoever carries a message can write its other parts anew: tags, headers outside, the order and number of
        signatures, an ECDSA signature itself, an empty header as ``h'A0'``. None of that may give it another name.
        """
        return hashlib.sha256(_as_signed(self.protected_bytes) + self.payload).digest()

    def verifies(self, signature: Signature, key: Key, *, aad: bytes = b"", der: bool = False) -> bool:
        """Whether a signature is the key's, by the algorithm that is pinned on it and that the message names."""
        if signature.algorithm is not key.algorithm:
            return False
        signed = sig_structure(self.protected_bytes, self.payload, aad, signature.signed)
        return key.check(signature.value, signed, der)


def key_identifier(protected: Mapping[int | str, Any], unprotected: Mapping[int | str, Any]) -> bytes | None:
    """``kid`` of two headers: protected wins; text counts as its bytes.

    Raises:
        Refusal: unreadable.
    """
    kid = protected.get(KID)
    if kid is None:
        kid = unprotected.get(KID)
    if kid is None or isinstance(kid, bytes):
        return kid
    if isinstance(kid, str):
        return kid.encode()
    raise malformed("kid is neither bytes nor text")


def unwrap(data: bytes, notes: set[str] | None = None) -> Envelope:
    """Read the outermost item and strip its tags.

    Raises:
        Refusal: unreadable, too-large, or unsupported for an order of tags that has no place here.
    """
    for prefix, tags in _USUAL:  # most cards by far; what follows must be the array, and no further tag
        if data.startswith(prefix):
            return Envelope(tags, decode(data, depth=DEPTH - len(tags), tags=_TAGS, notes=notes, at=len(prefix) - 1))
    item = decode(data, tags=_TAGS, notes=notes)
    tags = ()
    kind = SIGN1
    while isinstance(item, Tagged):
        if item.tag in tags or (tags and tags[-1] != CWT_TAG):
            raise malformed("COSE tags in an order that has no place here")
        if item.tag != CWT_TAG:
            kind = item.tag
        tags = (*tags, item.tag)
        item = item.value
    return Envelope(tags, item, kind)


def message(envelope: Envelope) -> Message:
    """Take the array of a COSE_Sign1 or COSE_Sign apart.

    Raises:
        Refusal: unreadable, or unsupported for a critical header that is not understood.
    """
    match envelope.body:
        case [bytes() as raw, dict() as unprotected, bytes() as payload, bytes() as value] if envelope.kind == SIGN1:
            protected = header(raw)
            check_critical(protected, unprotected)
            return Message(raw, protected, payload, (Signature(protected, unprotected, value),))
        case [bytes() as raw, dict() as unprotected, bytes() as payload, list() as signers] if envelope.kind == SIGN:
            protected = header(raw)
            check_critical(protected, unprotected)
            if not 1 <= len(signers) <= SIGNERS:
                raise malformed("no signer, or too many")
            return Message(raw, protected, payload, tuple(_signature(one) for one in signers))
        case [bytes(), dict(), None, bytes() | list()]:
            raise malformed("a signed message without its payload")
        case _:
            raise malformed("not the array of a signed message")


def _signature(entry: object) -> Signature:
    match entry:
        case [bytes() as raw, dict() as unprotected, bytes() as value]:
            protected = header(raw)
            check_critical(protected, unprotected)
            return Signature(protected, unprotected, value, raw)
        case _:
            raise malformed("not the array of a signer")


def header(raw: bytes) -> Mapping[int | str, Any]:
    """Decode a protected header: a map in a byte string, or nothing at all.

    An issuer writes the same one on all of its cards, so short ones are remembered.
    """
    return _remembered(raw) if len(raw) <= _SHORT else _header(raw)


def _header(raw: bytes) -> Mapping[int | str, Any]:
    if not raw:
        return _NOTHING
    decoded = decode(raw)
    if not isinstance(decoded, dict):
        raise malformed("protected header is not a map")
    return MappingProxyType(decoded)


_remembered = lru_cache(64)(_header)


def check_critical(protected: Mapping[int | str, Any], unprotected: Mapping[int | str, Any]) -> None:
    """Hold the header to what it calls critical.

    Raises:
        Refusal: unreadable for a malformed ``crit``, unsupported for one that is not understood.
    """
    if CRIT in unprotected:
        raise malformed("crit outside the protected header")
    if CRIT not in protected:
        return
    labels = protected[CRIT]
    if not isinstance(labels, list) or not labels or len({repr(label) for label in labels}) != len(labels):
        raise malformed("crit is not a list of different labels")
    for label in labels:
        if type(label) is not int or label not in UNDERSTOOD:
            raise Refusal(Reason.UNSUPPORTED, "a critical header is not understood")
        if label not in protected:
            raise malformed("crit names a label that is not in the protected header")


def algorithm(protected: Mapping[int | str, Any], unprotected: Mapping[int | str, Any]) -> Algorithm:
    """The algorithm that the protected header names.

    Raises:
        Refusal: unreadable when it is missing or outside, unsupported when it is not one of ours.
    """
    number = protected.get(ALG)
    found = BY_NUMBER.get(number) if type(number) is int else None
    if found is not None:
        return found
    if ALG not in protected:
        raise malformed("alg outside the protected header" if ALG in unprotected else "no alg")
    raise Refusal(Reason.UNSUPPORTED, f"algorithm {number!r:.12} is not accepted")


def sig_structure(protected: bytes, payload: bytes, aad: bytes = b"", signer: bytes | None = None) -> bytes:
    """What is signed: RFC 9052 section 4.4, with ``signer`` the protected header of one signer of a COSE_Sign."""
    protected = _as_signed(protected)
    rest = b"".join((head(2, len(aad)) + aad if aad else b"\x40", head(2, len(payload)), payload))
    if signer is None:
        return b"".join((b"\x84\x6aSignature1", head(2, len(protected)), protected, rest))
    signer = _as_signed(signer)
    return b"\x85\x69Signature" + head(2, len(protected)) + protected + head(2, len(signer)) + signer + rest


def _as_signed(protected: bytes) -> bytes:
    """A protected header as it is signed: an empty one is ``h''`` however it was sent."""
    return b"" if protected == b"\xa0" else protected


@dataclass(frozen=True)
class Signer:
    """Somebody who signs: a key in a file or in a token.

    Attributes:
        number: COSE number of the algorithm.
        kid: what the key is called.
        sign: makes the signature over a message: r || s for ECDSA.
        chain: DER certificates to send along, the signer's own first.
    """

    number: int
    kid: bytes | None
    sign: Callable[[bytes], bytes] = field(repr=False)
    chain: tuple[bytes, ...] = ()


def signer(private: PrivateKey, kid: str | bytes | None = None, name: str | None = None) -> Signer:
    """Make a signer of a private key; ``name`` is the JOSE name where the key's usual algorithm is not meant."""
    _, chosen = fitting(private.public_key(), name)
    called = kid.encode() if isinstance(kid, str) else kid
    return Signer(chosen.numbers[0], called, lambda message: sign(private, chosen, message))


def make_sign1(
    payload: bytes,
    by: Signer,
    protected: Mapping[int | str, Any] | None = None,
    unprotected: Mapping[int | str, Any] | None = None,
    aad: bytes = b"",
) -> list[Any]:
    """Sign a payload; ``alg`` is put into the protected header. Returns the array, not tagged."""
    protected_bytes = encode({ALG: by.number, **(protected or {})})
    signature = by.sign(sig_structure(protected_bytes, payload, aad))
    return [protected_bytes, dict(unprotected or {}), payload, signature]


def make_sign(payload: bytes, by: Sequence[Signer], protected: Mapping[int | str, Any] | None = None) -> list[Any]:
    """Sign a payload by several signers. Returns the array of a COSE_Sign, not tagged."""
    body = encode(protected) if protected else b""
    signers: list[list[Any]] = []
    for one in by:
        raw = encode({ALG: one.number} if one.kid is None else {ALG: one.number, KID: one.kid})
        signers.append([raw, {}, one.sign(sig_structure(body, payload, signer=raw))])
    return [body, {}, payload, signers]
