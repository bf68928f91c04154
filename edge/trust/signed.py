"""Small signed documents beside the trust list: sealed for one purpose, opened for that purpose only.

Rules:

1. Each kind has its own content type and its own fixed text among the signed bytes; a signature over one kind is
   worth nothing for another one.
2. A document is a CBOR map with ``issued_at`` and ``expires``, seconds since 1970, both there, the second later.
3. Unknown members are errors: whoever signs learns of a mistake at the desk, not at the gate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from edge.errors import Reason, Refusal
from edge.trust import cose
from edge.trust.cbor import Tagged, decode, encode, malformed
from edge.trust.keys import Key

LIMIT: Final = 4 << 20
_LATEST: Final = 1 << 36


class Purpose(Enum):
    """What a document is signed for."""

    CHARTER = "charter"
    CONFIRMATION = "confirmation"
    HASHES = "withdrawn-hashes"
    DENIED = "site-denied"
    COMMAND = "command"
    MEMBERS = "site-members"
    CYCLES = "benefit-cycles"
    SITE = "site-configuration"

    @property
    def content_type(self) -> str:
        """In the protected header."""
        return f"application/vnd.edge-gate.{self.value}+cbor"

    @property
    def aad(self) -> bytes:
        """Among the signed bytes."""
        return f"edge-gate {self.value} v1".encode()


@dataclass(frozen=True)
class Document:
    """A verified document.

    Attributes:
        members: without the two times.
        issued_at, expires: of the document.
        digest: SHA-256 of what was signed.
        by: the key that signed.
    """

    members: Mapping[str, Any] = field(repr=False)
    issued_at: datetime
    expires: datetime
    digest: bytes
    by: Key


Times = tuple[datetime, datetime]
"""When a document was issued, and when it ends."""


def seal(purpose: Purpose, members: Mapping[str, Any], times: Times, by: cose.Signer) -> bytes:
    """Sign a document."""
    issued_at, expires = (int(moment.timestamp()) for moment in times)
    payload = encode({**members, "issued_at": issued_at, "expires": expires})
    header: dict[int | str, Any] = {cose.CONTENT_TYPE: purpose.content_type}
    return encode(Tagged(cose.SIGN1, cose.make_sign1(payload, by, header, aad=purpose.aad)))


def unseal(purpose: Purpose, data: bytes, keys: Iterable[Key], known: Sequence[str], limit: int = LIMIT) -> Document:
    """Verify a document.

    Args:
        purpose: what it must be signed for.
        data: as ``seal`` made it.
        keys: any of which may have signed.
        known: members it may have, and must have.
        limit: bytes.

    Raises:
        Refusal: too-large, unreadable, unsupported, bad-signature, bad-claim.
    """
    if len(data) > limit:
        raise Refusal(Reason.TOO_LARGE, f"larger than any {purpose.value}")
    envelope = cose.unwrap(data)
    if envelope.tags != (cose.SIGN1,):
        raise malformed(f"not a signed {purpose.value}")
    message = cose.message(envelope)
    if message.protected.get(cose.CONTENT_TYPE) != purpose.content_type:
        raise malformed(f"signed, but not as a {purpose.value}")
    by = next((key for key in keys if message.verifies(message.signatures[0], key, aad=purpose.aad)), None)
    if by is None:
        raise Refusal(Reason.BAD_SIGNATURE, f"the {purpose.value} is not signed by who may")
    return _document(purpose, message.payload, by, known)


def _document(purpose: Purpose, payload: bytes, by: Key, known: Sequence[str]) -> Document:
    members = decode(payload, depth=12, items=1 << 16)
    if not isinstance(members, dict) or set(members) != {*known, "issued_at", "expires"}:
        raise Refusal(Reason.BAD_CLAIM, f"not the members of a {purpose.value}")
    issued_at, expires = (moment(members.pop(name)) for name in ("issued_at", "expires"))
    if expires <= issued_at:
        raise Refusal(Reason.BAD_CLAIM, f"the {purpose.value} ends before it begins")
    return Document(members, issued_at, expires, hashlib.sha256(payload).digest(), by)


def moment(value: object) -> datetime:
    """Seconds since 1970 as an aware time.

    Raises:
        Refusal: bad-claim.
    """
    if type(value) is not int or not 0 <= value < _LATEST:
        raise Refusal(Reason.BAD_CLAIM, "a time is not a number of seconds")
    return datetime.fromtimestamp(value, UTC)


def counting(value: object) -> int:
    """A version or counter.

    Raises:
        Refusal: bad-claim.
    """
    if type(value) is not int or not 0 < value < 1 << 53:
        raise Refusal(Reason.BAD_CLAIM, "a version is not a number")
    return value
