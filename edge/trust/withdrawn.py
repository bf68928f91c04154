"""What is withdrawn, without a network: status lists, hash lists, and the site's own list. In this order.

Rules:

1. A card that names a status list is looked up there, and only in the list that its own issuer signed for that address.
2. A card without an index is looked up by truncated hashes of its names: sorted, eight bytes each.
3. The site's own list holds keyed hashes of sixteen bytes: whoever finds the file learns nobody's name.
4. "Unknown" is an answer: the card names a list that is not here, or is past its end; or a list that was in force is
   gone without a word. What it means the profile says.
5. A list never goes back: each comes with a version, a status list with its time of issue.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import pairwise
from typing import Any, Final

from edge.errors import Reason, Refusal
from edge.trust.cose import Signer
from edge.trust.interval import Interval
from edge.trust.keys import Key
from edge.trust.list import normal
from edge.trust.signed import Document, Purpose, Times, counting, seal, unseal
from edge.trust.status import INVALID, SUSPENDED, VALID, StatusList

_STATUS_LIST: Final = "status_list"
SHORT: Final = 8
KEYED: Final = 16


class CardStatus(Enum):
    """What the lists say about one card."""

    UNLISTED = "unlisted"  # no list speaks about it
    VALID = "valid"
    REVOKED = "revoked"
    SUSPENDED = "suspended"
    DENIED = "denied"  # by the site itself
    UNKNOWN = "unknown"  # there should be a list, and there is none that can be used


@dataclass(frozen=True)
class Found:
    """The answer, and the age in seconds of the list that gave it."""

    status: CardStatus
    age_s: int | None = None


UNLISTED: Final = Found(CardStatus.UNLISTED)


@dataclass(frozen=True)
class Hashes:
    """Sorted hashes of equal length in one byte string.

    Attributes:
        packed: the hashes, one after the other.
        size: bytes of each.
        version: only ever grows.
        issued_at, expires: of the list.
    """

    packed: bytes = field(repr=False)
    size: int
    version: int
    issued_at: datetime
    expires: datetime

    def __len__(self) -> int:
        return len(self.packed) // self.size

    def __contains__(self, wanted: object) -> bool:
        assert isinstance(wanted, bytes)
        low, high, size = 0, len(self), self.size
        while low < high:
            middle = (low + high) // 2
            at = self.packed[middle * size : (middle + 1) * size]
            if at < wanted:
                low = middle + 1
            elif at == wanted:
                return True
            else:
                high = middle
        return False


@dataclass(frozen=True)
class Card:
    """What the lists are asked about.

    Attributes:
        issuer: as the trust list calls it.
        names: identifiers of this card and its holder, the most exact first.
        status: the ``status`` claim, not interpreted; None where the card has none.
    """

    issuer: str
    names: tuple[bytes, ...] = field(repr=False)
    status: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Withdrawn:
    """All lists in force.

    Attributes:
        statuses: by issuer and address.
        hashes: by issuer.
        denied: the site's own list.
        hashes_lost: issuers whose hash list was in force and is gone, as nobody signed.
        denied_lost: the same of the site's own list.
    """

    statuses: Mapping[tuple[str, str], StatusList] = field(default_factory=dict)
    hashes: Mapping[str, Hashes] = field(default_factory=dict)
    denied: Hashes | None = None
    hashes_lost: frozenset[str] = frozenset()
    denied_lost: bool = False

    @property
    def oldest(self) -> datetime | None:
        """When the oldest of these lists was issued; None when there is none."""
        lists: list[StatusList | Hashes] = [*self.statuses.values(), *self.hashes.values()]
        lists += [] if self.denied is None else [self.denied]
        return min((one.issued_at for one in lists), default=None)

    def about(self, card: Card, now: Interval, site_key: bytes) -> Found:
        """What is known about a card.

        Raises:
            Refusal: bad-claim for a status claim that says nothing.
        """
        issuer = normal(card.issuer)
        found = Found(CardStatus.UNLISTED) if card.status is None else self._status(issuer, card.status, now)
        against = (CardStatus.REVOKED, CardStatus.SUSPENDED)
        if found.status not in against:
            found = self._hashed(issuer, card, now, found)
        if found.status in against or self.denied is None:
            return Found(CardStatus.UNKNOWN) if self.denied_lost and found.status not in against else found
        if any(keyed(site_key, issuer, name) in self.denied for name in card.names):
            return Found(CardStatus.DENIED, _age(self.denied.issued_at, now))
        return found

    def _hashed(self, issuer: str, card: Card, now: Interval, found: Found) -> Found:
        """What the issuer's hash list adds to what its status list said."""
        hashes = self.hashes.get(issuer)
        if hashes is None:
            return Found(CardStatus.UNKNOWN) if issuer in self.hashes_lost else found
        age = _age(hashes.issued_at, now)
        if any(short(issuer, name) in hashes for name in card.names):
            return Found(CardStatus.REVOKED, age)
        if found.status is CardStatus.UNLISTED:
            over = hashes.expires <= now.lower
            return Found(CardStatus.UNKNOWN if over else CardStatus.VALID, age)
        return found

    def _status(self, issuer: str, claim: Any, now: Interval) -> Found:
        if isinstance(claim, Mapping) and claim and _STATUS_LIST not in claim:
            return Found(CardStatus.UNKNOWN)  # said in another way, which is not read here
        uri, index = reference(claim)
        listed = self.statuses.get((issuer, uri))
        if listed is None:
            return Found(CardStatus.UNKNOWN)
        age = _age(listed.issued_at, now)
        match listed.status(index):
            case status if status == VALID:
                over = listed.expires is not None and listed.expires <= now.lower
                return Found(CardStatus.UNKNOWN if over else CardStatus.VALID, age)
            case status if status == SUSPENDED:
                return Found(CardStatus.SUSPENDED, age)
            case status:
                assert status >= INVALID
                return Found(CardStatus.REVOKED, age)  # what an issuer's own number means is not ours to guess


def reference(claim: Any) -> tuple[str, int]:
    """Address and index in a ``status`` claim.

    Raises:
        Refusal: bad-claim.
    """
    match claim:
        case {"status_list": {"uri": str() as uri, "idx": int() as index}} if type(index) is int and index >= 0 and uri:
            return uri, index
        case _:
            raise Refusal(Reason.BAD_CLAIM, "the status claim names no list")


def short(issuer: str, name: bytes) -> bytes:
    """A card's or holder's place in a hash list."""
    return hashlib.sha256(normal(issuer).encode() + b"\0" + name).digest()[:SHORT]


def keyed(site_key: bytes, issuer: str, name: bytes) -> bytes:
    """A card's or holder's place in the site's own list."""
    return hmac.digest(site_key, b"denied\0" + normal(issuer).encode() + b"\0" + name, "sha256")[:KEYED]


def write_hashes(version: int, issuer: str, hashes: Iterable[bytes], times: Times, by: Signer) -> bytes:
    """Sign a hash list of an issuer, made by ``short``."""
    members = {"version": version, "iss": issuer, "hashes": b"".join(sorted(set(hashes)))}
    return seal(Purpose.HASHES, members, times, by)


def write_denied(version: int, site: str, hashes: Iterable[bytes], times: Times, by: Signer) -> bytes:
    """Sign a site's own list, made by ``keyed``."""
    members = {"version": version, "site": site, "hashes": b"".join(sorted(set(hashes)))}
    return seal(Purpose.DENIED, members, times, by)


def open_hashes(data: bytes, keys: Sequence[Key], known_version: int = 0) -> tuple[str, Hashes]:
    """Verify a hash list; the issuer it is about, in one spelling, and the list.

    Raises:
        Refusal: whatever is wrong with it.
    """
    document = unseal(Purpose.HASHES, data, keys, ("version", "iss", "hashes"))
    return normal(_text(document, "iss")), _hashes(document, SHORT, known_version)


def open_denied(data: bytes, keys: Sequence[Key], known_version: int = 0) -> tuple[str, Hashes]:
    """Verify a site's own list; the site it is for, and the list.

    Raises:
        Refusal: whatever is wrong with it.
    """
    document = unseal(Purpose.DENIED, data, keys, ("version", "site", "hashes"))
    return _text(document, "site"), _hashes(document, KEYED, known_version)


def _text(document: Document, name: str) -> str:
    value = document.members[name]
    if not isinstance(value, str) or not value:
        raise Refusal(Reason.BAD_CLAIM, f"{name} is not text")
    return value


def _hashes(document: Document, size: int, known_version: int) -> Hashes:
    packed, version = document.members["hashes"], counting(document.members["version"])
    if not isinstance(packed, bytes) or len(packed) % size:
        raise Refusal(Reason.BAD_CLAIM, "not hashes of equal length")
    if not ordered(packed, size):
        raise Refusal(Reason.BAD_CLAIM, "hashes out of order, or twice")
    if version < known_version:
        raise Refusal(Reason.NO_TRUST, f"version {version} is older than {known_version}")
    return Hashes(packed, size, version, document.issued_at, document.expires)


def ordered(packed: bytes, size: int) -> bool:
    """Whether the hashes are sorted and different: only then a search finds what is there."""
    each = [packed[at : at + size] for at in range(0, len(packed), size)]
    return all(before < after for before, after in pairwise(each))


def _age(issued_at: datetime, now: Interval) -> int:
    return max(0, int((now.lower - issued_at).total_seconds()))
