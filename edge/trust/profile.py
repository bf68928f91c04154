"""How one issuer's cards are written, where that must be known before they are read.

Reading is generous by itself wherever a card has only one meaning. A profile is for what would be unsafe or ambiguous
to guess; every member is off until an operator's trust list turns it on for that issuer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Profile:
    """What is known about an issuer's cards.

    Attributes:
        allow: algorithms that count only where named here: RS256, ES256K.
        encrypted: a card that is not encrypted is refused (somebody stripped it).
        no_expiry: a card without ``exp`` is accepted as long as ``max_age_days`` after its ``iat``.
        max_age_days: how long after ``iat`` a card is believed at most, whatever its ``exp`` says.
        der_signatures: ECDSA signatures may be DER.
        trailing: bytes after the compressed or the signed item are passed over.
        indefinite: CBOR of indefinite length is read.
        day_first: 04-03-1990 is the fourth of March; None leaves it as text.
        numbering: meaning of the claim numbers 14 to 21: "specification" or "vendor" (kept as text, no meaning).
        own_roots: the roots pinned for this issuer sign for nobody else, so a certificate need not name it.
        signers: how many signers of this issuer a COSE_Sign needs.
    """

    allow: frozenset[str] = frozenset()
    encrypted: bool = False
    no_expiry: bool = False
    max_age_days: int | None = None
    der_signatures: bool = False
    trailing: bool = False
    indefinite: bool = False
    day_first: bool | None = None
    numbering: str = "specification"
    own_roots: bool = False
    signers: int = 1

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> Profile:
        """Read the ``profile`` of an issuer.

        Raises:
            ValueError: a member is unknown or malformed.
        """
        known = {member.name: member for member in fields(cls)}
        for name, value in entry.items():
            if name not in known:
                raise ValueError(f"profile: {name!r} is not known")
            if not _fits(name, value):
                raise ValueError(f"profile: {name} is malformed")
        given = dict(entry)
        if "allow" in given:
            given["allow"] = frozenset(given["allow"])
        return cls(**given)


def _fits(name: str, value: object) -> bool:
    match name:
        case "allow":
            return isinstance(value, list | tuple) and all(one in ("RS256", "ES256K") for one in value)
        case "max_age_days" | "signers":
            return type(value) is int and 0 < value < 100_000
        case "numbering":
            return value in ("specification", "vendor")
        case "day_first":
            return value is None or isinstance(value, bool)
        case _:
            return isinstance(value, bool)


USUAL = Profile()
"""The profile of an issuer of whom nothing special is known."""
