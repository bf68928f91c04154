"""The claims of a CBOR web token (RFC 8392), as values.

Rules:

1. Claims that the gate decides by are exact or refused: ``iss`` is text, times are numbers of seconds.
2. A time is a whole or finite number of seconds since 1970, at most 1e11: a later one is milliseconds by mistake.
3. What is not known is kept, not dropped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from edge.errors import Reason, Refusal
from edge.trust.cbor import Tagged, decode

ISS, SUB, AUD, EXP, NBF, IAT, CTI, CNF = range(1, 9)
IDENTITY: Final = 169
STATUS: Final = 65535
_EXACT: Final = (ISS, AUD, EXP, NBF, IAT, CTI)
_KNOWN: Final = frozenset({ISS, SUB, AUD, EXP, NBF, IAT, CTI, CNF, IDENTITY, STATUS})
_LATEST_S: Final = 100_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_TAG: Final = 1


@dataclass(frozen=True)
class Claims:
    """What the token says about itself.

    Attributes:
        iss: the issuer.
        sub: the subject, as the issuer calls it.
        aud: whom it is for.
        exp, nbf, iat: end, begin, time of issue.
        cti: the token's own identifier.
        found: all claims as they came.
    """

    iss: str | None
    sub: str | None = field(repr=False)
    aud: tuple[str, ...] = ()
    exp: datetime | None = None
    nbf: datetime | None = None
    iat: datetime | None = None
    cti: bytes | None = field(default=None, repr=False)
    found: Mapping[int | str, Any] = field(default_factory=dict, repr=False)

    @property
    def cnf(self) -> Any:
        """Key of the holder, not interpreted."""
        return self.found.get(CNF)

    @property
    def status(self) -> Any:
        """Where its status is listed (``idx``, ``uri``), not interpreted."""
        return self.found.get(STATUS)

    @property
    def identity(self) -> Any:
        """Claim 169, a map, or a byte string with one in it."""
        return self.found.get(IDENTITY)

    @property
    def others(self) -> dict[int | str, Any]:
        """Every other claim, by its key."""
        return {key: value for key, value in self.found.items() if key not in _KNOWN}


def read(payload: bytes, notes: set[str] | None = None) -> dict[int | str, Any]:
    """Decode the payload of a token: a map.

    Raises:
        Refusal: unreadable or too-large.
    """
    claims = decode(payload, notes=notes)
    if not isinstance(claims, dict):
        raise Refusal(Reason.UNREADABLE, "the signed payload is not a map of claims")
    return claims


def claims(found: Mapping[int | str, Any]) -> Claims:
    """Take the claims of a decoded payload apart.

    Raises:
        Refusal: bad-claim for a claim that the gate decides by.
    """
    get = found.get
    if None in found.values():
        for key in _EXACT:
            if key in found and found[key] is None:
                raise Refusal(Reason.BAD_CLAIM, f"claim {key} is null")
    aud = get(AUD)
    return Claims(
        _text(get(ISS), "iss"),
        _text(get(SUB), "sub"),
        () if aud is None else _audience(aud),
        moment(get(EXP), "exp"),
        moment(get(NBF), "nbf"),
        moment(get(IAT), "iat"),
        _identifier(get(CTI)),
        found,
    )


def moment(value: object, name: str) -> datetime | None:
    """A NumericDate as an aware time.

    Raises:
        Refusal: bad-claim.
    """
    if value is None:
        return None
    if type(value) is int and 0 <= value <= _LATEST_S:
        return _EPOCH + timedelta(0, value)
    if isinstance(value, Tagged) and value.tag == _EPOCH_TAG:
        value = value.value
    if type(value) is float and math.isfinite(value):
        value = math.floor(value)
    if type(value) is not int:
        raise Refusal(Reason.BAD_CLAIM, f"{name} is not a number of seconds")
    if not 0 <= value <= _LATEST_S:
        raise Refusal(Reason.BAD_CLAIM, f"{name} is out of range, or in milliseconds")
    return _EPOCH + timedelta(seconds=value)


def _text(value: object, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise Refusal(Reason.BAD_CLAIM, f"{name} is not text")


def _audience(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in values):
        raise Refusal(Reason.BAD_CLAIM, "aud is not text")
    return tuple(values)


def _identifier(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise Refusal(Reason.BAD_CLAIM, "cti is neither bytes nor text")
