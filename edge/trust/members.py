"""A site's own lists of people: who is staff, who is watched, whose card is a silent alarm. Signed, and without names.

Rules:

1. Like the site's list of denied cards (``withdrawn.py``): keyed hashes of sixteen bytes, signed by a live key, with a
   version that never goes back. Whoever finds the file learns nobody's name.
2. The name of the list is under the hash too: the same card has unrelated hashes in two lists.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from edge.errors import Reason, Refusal
from edge.trust.cose import Signer
from edge.trust.keys import Key
from edge.trust.list import normal
from edge.trust.signed import Purpose, Times, counting, seal, unseal
from edge.trust.withdrawn import KEYED, Card, Hashes, ordered

LISTS: Final = 64


@dataclass(frozen=True)
class Members:
    """The lists of one site, by name.

    Attributes:
        site: whose they are.
        lists: sorted hashes.
        version: only ever grows.
        issued_at, expires: of the whole.
    """

    site: str
    lists: Mapping[str, Hashes] = field(default_factory=dict, repr=False)
    version: int = 0
    issued_at: datetime | None = None
    expires: datetime | None = None

    def of(self, card: Card, site_key: bytes) -> frozenset[str]:
        """The lists that this card, or its holder, is on."""
        return frozenset(
            name
            for name, hashes in self.lists.items()
            if any(membership(site_key, name, card.issuer, one) in hashes for one in card.names)
        )


def membership(site_key: bytes, listed: str, issuer: str, name: bytes) -> bytes:
    """A card's or holder's place in a list of the site."""
    told = b"member\0" + listed.encode() + b"\0" + normal(issuer).encode() + b"\0" + name
    return hmac.digest(site_key, told, "sha256")[:KEYED]


def write_members(version: int, site: str, lists: Mapping[str, Iterable[bytes]], times: Times, by: Signer) -> bytes:
    """Sign a site's lists, made by ``membership``."""
    packed = {name: b"".join(sorted(set(hashes))) for name, hashes in lists.items()}
    return seal(Purpose.MEMBERS, {"version": version, "site": site, "lists": packed}, times, by)


def open_members(data: bytes, keys: Sequence[Key], known_version: int = 0) -> Members:
    """Verify a site's lists.

    Raises:
        Refusal: whatever is wrong with them.
    """
    document = unseal(Purpose.MEMBERS, data, keys, ("version", "site", "lists"))
    version, site, lists = counting(document.members["version"]), document.members["site"], document.members["lists"]
    if not isinstance(site, str) or not site or not isinstance(lists, dict) or len(lists) > LISTS:
        raise Refusal(Reason.BAD_CLAIM, "not the lists of a site")
    if version < known_version:
        raise Refusal(Reason.NO_TRUST, f"version {version} is older than {known_version}")
    for name, packed in lists.items():
        if not isinstance(name, str) or not isinstance(packed, bytes) or len(packed) % KEYED:
            raise Refusal(Reason.BAD_CLAIM, "not hashes of equal length")
        if not ordered(packed, KEYED):
            raise Refusal(Reason.BAD_CLAIM, "hashes out of order, or twice")
    hashes = {
        name: Hashes(packed, KEYED, version, document.issued_at, document.expires) for name, packed in lists.items()
    }
    return Members(site, hashes, version, document.issued_at, document.expires)
