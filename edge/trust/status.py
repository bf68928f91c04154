"""Token status lists (IETF draft, CWT form): which credentials of an issuer are withdrawn or suspended.

Rules:

1. A list is a signed message with tag 18, never with the CWT tag, of type ``application/statuslist+cwt``.
2. Its ``sub`` is the address that the credential's ``status`` claim names; nothing is fetched here.
3. One to eight bits for each credential, the lowest bits of a byte first; an index beyond the list is an error.
4. Inflated with a hard bound.
5. An issuer that is pinned by roots alone signs it as it signs cards: the chain comes along, and leads to one of those
   roots by certificates that were valid when the list was issued.
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
from edge.trust.chain import key_of_chain
from edge.trust.interval import Interval
from edge.trust.keys import Key
from edge.trust.list import Issuer

TYPE: Final = "application/statuslist+cwt"
LIMIT: Final = 4 << 20
_EXP, _IAT, _TTL = 4, 6, 65534
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
        by: thumbprint of the key that signed it.
    """

    uri: str
    bits: int
    issued_at: datetime
    expires: datetime | None
    ttl: timedelta | None
    statuses: bytes = field(repr=False)
    by: bytes = b""

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
    message = _message(data)
    by = _signer(message, keys)
    if by is None:
        raise Refusal(Reason.BAD_SIGNATURE, "the status list is not signed by its issuer")
    return _list(decode(message.payload), uri, by)


def open_list_of(issuer: Issuer, data: bytes, uri: str | None = None) -> StatusList:
    """Verify a list of this issuer: by a key that no entry calls compromised, or by a chain to one of its roots.

    Raises:
        Refusal: what ``open_status_list`` raises, unknown-key and key-withdrawn for a chain.
    """
    message = _message(data)
    by = _signer(message, issuer.sound) or _chained(message, issuer)
    if by is None:
        raise Refusal(Reason.BAD_SIGNATURE, "the status list is not signed by its issuer")
    return _list(decode(message.payload), uri, by)


def _message(data: bytes) -> cose.Message:
    envelope = cose.unwrap(data)
    if envelope.tags != (cose.SIGN1,):
        raise malformed("a status list has tag 18")
    message = cose.message(envelope)
    if message.protected.get(cose.TYP) != TYPE:
        raise malformed("signed, but not as a status list")
    return message


def _signer(message: cose.Message, keys: Sequence[Key]) -> Key | None:
    return next((key for key in keys if message.verifies(message.signatures[0], key)), None)


def _chained(message: cose.Message, issuer: Issuer) -> Key | None:
    """Whose chain leads to a root of this issuer; a key that is pinned besides was asked already, or is lost."""
    signature = message.signatures[0]
    sent, x5t = signature.header(cose.X5CHAIN), signature.header(cose.X5T)
    if sent is None or not issuer.roots:
        return None
    then = Interval.exactly(_issued(decode(message.payload)))
    names = () if issuer.profile.own_roots else issuer.names
    key = key_of_chain(sent, x5t, issuer.roots, names, then, timedelta())
    return None if issuer.pins(key) else _signer(message, (key,))


def _issued(claims: Any) -> datetime:
    return _EPOCH + timedelta(seconds=_seconds(claims.get(_IAT) if isinstance(claims, dict) else None))


def _seconds(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 36:
        raise Refusal(Reason.BAD_CLAIM, "a time of the status list is none")
    return value


def _list(claims: Any, uri: str | None, by: Key) -> StatusList:
    match claims:
        case {2: str() as sub, 65533: {"bits": int() as bits, "lst": bytes() as packed}} if (
            type(bits) is int and bits in _BITS  # 1.0 and true equal 1, and are none of these
        ):
            pass
        case _:
            raise Refusal(Reason.BAD_CLAIM, "not the claims of a status list")
    if uri is not None and sub != uri:
        raise Refusal(Reason.BAD_CLAIM, "the status list of another address")
    expires, ttl = claims.get(_EXP), claims.get(_TTL)
    return StatusList(
        sub,
        bits,
        _issued(claims),
        None if expires is None else _EPOCH + timedelta(seconds=_seconds(expires)),
        None if ttl is None else timedelta(seconds=_seconds(ttl)),
        inflated(packed),
        by.thumbprint,
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
