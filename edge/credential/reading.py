"""From the text of a code to a signed message and its claims. Nothing is believed here.

Rules:

1. Text: at most 4,296 characters; line ends and tabs at the ends go, spaces do not: a space is a Base45 digit.
2. Base45, zlib (or Brotli, or none), hexadecimal digits undone once, COSE, the claims: each reports its dialect.
3. What is not of this family is not-a-credential, and named; what is of it but broken is unreadable.
4. Oddities that only an issuer's profile can excuse are noted, for ``verify`` to hold against that profile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from edge.credential import base45, cwt, foreign
from edge.credential.inflate import inflate, is_zlib, unbrotli, unhex
from edge.credential.trace import Trace
from edge.errors import Reason, Refusal
from edge.trust import cose
from edge.trust.encryption import ContentKey, decrypt

TEXT_CHARS: Final = 4296
_MESSAGE_HEADS: Final = frozenset(b"\xd0\xd2\xd8\x84\x9f")


@dataclass(slots=True)
class Reading:
    """A code taken apart, not verified.

    Attributes:
        message: the signed message.
        claims: the decoded payload.
        dialect: how it is written, part by part.
        notes: what was unusual.
        encrypted: whether the signed message was inside an encrypted one.
    """

    message: cose.Message
    claims: Mapping[int | str, Any] = field(repr=False)
    dialect: tuple[str, ...]
    notes: set[str]
    encrypted: bool


def read(text: str, trace: Trace, prefixes: tuple[str, ...] = (), content_keys: Sequence[ContentKey] = ()) -> Reading:
    """Take a code apart.

    Args:
        text: as read from the code.
        trace: collects the stages.
        prefixes: beginnings that issuers known to this gate put before the Base45.
        content_keys: keys for encrypted messages.

    Raises:
        Refusal: not-a-credential, unreadable, too-large, unsupported, cannot-decrypt.
    """
    try:
        data, transport, notes = _message_bytes(text, trace, prefixes)
        envelope = cose.unwrap(data, notes)
    except Refusal as refusal:
        raise foreign.named(text, refusal) from refusal
    dialect = [_written(envelope.tags), *transport]
    encrypted = envelope.kind == cose.ENCRYPT0
    if encrypted:
        plaintext = decrypt(envelope, content_keys)
        trace.passed("decrypt", len(data), len(plaintext))
        data, envelope = plaintext, _inner(plaintext, notes)
        dialect[0] += " around " + _written(envelope.tags)
    message = _signed(envelope)
    trace.passed("cose", len(data), len(message.payload))
    claims = cwt.read(message.payload, notes)
    if cwt.IDENTITY not in claims:
        raise Refusal(Reason.NOT_A_CREDENTIAL, foreign.token(claims))
    trace.passed("claims", len(message.payload), len(claims))
    notes |= message.notes
    return Reading(message, claims, tuple(dialect), notes, encrypted)


@lru_cache(16)
def _written(tags: tuple[int, ...]) -> str:
    return "/".join(map(str, tags)) or "untagged"


def _inner(plaintext: bytes, notes: set[str]) -> cose.Envelope:
    """What was encrypted: a signed message, without the CWT tag, which is outermost only."""
    envelope = cose.unwrap(plaintext, notes)
    if cose.CWT_TAG in envelope.tags or envelope.kind == cose.ENCRYPT0:
        raise Refusal(Reason.UNREADABLE, "an encrypted message around something else than a signed one")
    return envelope


def _message_bytes(text: str, trace: Trace, prefixes: tuple[str, ...]) -> tuple[bytes, list[str], set[str]]:
    """Undo the transport: the bytes of the message, what was undone beyond the usual, and notes."""
    if len(text) > TEXT_CHARS:
        raise Refusal(Reason.TOO_LARGE, "more characters than a code can hold")
    chars = len(text)
    text = text.strip("\r\n\t")
    transport: list[str] = []
    for prefix in prefixes:
        if text.startswith(prefix):
            text = text[len(prefix) :]
            transport.append(f"prefix {prefix}")
            break
    packed = base45.decode(text)
    trace.passed("base45", chars, len(packed))
    notes: set[str] = set()
    if is_zlib(packed):
        data = inflate(packed, notes)
    elif packed[0] in _MESSAGE_HEADS:
        data = packed
        transport.append("not compressed")
    else:
        found = unbrotli(packed)
        if found is None:
            raise Refusal(Reason.NOT_A_CREDENTIAL, "neither compressed nor a signed message")
        data = found
        transport.append("Brotli")
    undone = unhex(data)
    if undone is not None:
        transport.append("hex text")
    trace.passed("inflate", len(packed), len(data))
    return (data if undone is None else undone), transport, notes


def _signed(envelope: cose.Envelope) -> cose.Message:
    if not isinstance(envelope.body, list):
        raise Refusal(Reason.NOT_A_CREDENTIAL, foreign.content(envelope.body))
    if envelope.kind not in (cose.SIGN1, cose.SIGN):
        raise Refusal(Reason.UNSUPPORTED, f"COSE tag {envelope.kind} is not accepted")
    return cose.message(envelope)
