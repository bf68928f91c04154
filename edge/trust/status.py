"""Token status lists (IETF draft, CWT form): which credentials of an issuer are withdrawn or suspended.

Rules:

1. A list is a signed message with tag 18, never with the CWT tag, of type ``application/statuslist+cwt``.
2. Its ``sub`` is the address that the credential's ``status`` claim names; nothing is fetched here.
3. One to eight bits for each credential, the lowest bits of a byte first; an index beyond the list is an error.
4. Inflated with a hard bound.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from edge.errors import Reason, Refusal
from edge.trust import cose
from edge.trust.cbor import decode, malformed
from edge.trust.keys import Key

TYPE: Final = "application/statuslist+cwt"
LIMIT: Final = 4 << 20
_EXP, _TTL = 4, 65534
_BITS: Final = (1, 2, 4, 8)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
VALID, INVALID, SUSPENDED = 0, 1, 2


@dataclass(frozen=True)
class StatusList:
    """A verified list.

    Attributes:
        uri: its address, as credentials name it.
        bits: for each credential: 1, 2, 4 or 8.
        issued_at, expires: of the list; None is open.
        ttl: how long it may be used before a newer one is looked for.
        statuses: the list itself.
    """

    uri: str
    bits: int
    issued_at: datetime
    expires: datetime | None
    ttl: timedelta | None
    statuses: bytes = field(repr=False)

    def status(self, index: int) -> int:
        """The status at an index: 0 valid, 1 invalid, 2 suspended, others as the issuer says.

        Raises:
            Refusal: bad-claim for an index that the list does not have.
        """
        each = 8 // self.bits
        if not 0 <= index < each * len(self.statuses):
            raise Refusal(Reason.BAD_CLAIM, "the status list has no such index")
        return self.statuses[index // each] >> index % each * self.bits & (1 << self.bits) - 1


def open_status_list(data: bytes, keys: Sequence[Key], uri: str | None = None) -> StatusList:
    """Verify a list.

    Args:
        data: the token.
        keys: of the issuer whose credentials it speaks about.
        uri: the address it was asked for by; None takes what it says.

    Raises:
        Refusal: unreadable, too-large, unsupported, bad-signature, bad-claim.
    """
    envelope = cose.unwrap(data)
    if envelope.tags != (cose.SIGN1,):
        raise malformed("a status list has tag 18")
    message = cose.message(envelope)
    if message.protected.get(cose.TYP) != TYPE:
        raise malformed("signed, but not as a status list")
    if not any(message.verifies(message.signatures[0], key) for key in keys):
        raise Refusal(Reason.BAD_SIGNATURE, "the status list is not signed by its issuer")
    return _list(decode(message.payload), uri)


def _list(claims: Any, uri: str | None) -> StatusList:
    match claims:
        case {2: str() as sub, 6: int() as issued, 65533: {"bits": int() as bits, "lst": bytes() as packed}} if (
            type(bits) is int and bits in _BITS  # 1.0 and true equal 1, and are none of these
        ):
            pass
        case _:
            raise Refusal(Reason.BAD_CLAIM, "not the claims of a status list")
    if uri is not None and sub != uri:
        raise Refusal(Reason.BAD_CLAIM, "the status list of another address")
    expires, ttl = claims.get(_EXP), claims.get(_TTL)
    for moment in (issued, expires or 0, ttl or 0):
        if type(moment) is not int or not 0 <= moment < 1 << 36:
            raise Refusal(Reason.BAD_CLAIM, "a time of the status list is none")
    return StatusList(
        sub,
        bits,
        _EPOCH + timedelta(seconds=issued),
        None if expires is None else _EPOCH + timedelta(seconds=expires),
        None if ttl is None else timedelta(seconds=ttl),
        inflated(packed),
    )


def inflated(packed: bytes) -> bytes:
    """The statuses of a list, decompressed.

    Raises:
        Refusal: unreadable, too-large.
    """
    stream = zlib.decompressobj()
    try:
        statuses = stream.decompress(packed, LIMIT + 1)
    except zlib.error as error:
        raise malformed("the status list is damaged") from error
    if len(statuses) > LIMIT:
        raise Refusal(Reason.TOO_LARGE, "the status list grows beyond the limit")
    if not stream.eof or stream.unused_data:
        raise malformed("the status list is cut off or has bytes after its end")
    return statuses
