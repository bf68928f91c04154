"""What the gates of a site tell each other: who went through, and who received a benefit. Never who that is.

Rules:

1. A statement is authenticated under a key made of the site's secret, which all gates of the site hold and nobody who
   carries it. People stand in it under the pseudonyms and marks of the log.
2. It is bounded, and it says which gate speaks, at which boot, and the how-manieth statement that is: an old one played
   again is no sign of life, and what it tells is known already.
3. It is said again and again, a few at a time: whoever was away hears it later. Nothing depends on one message.
4. Without a word from anybody a gate knows its own passes only, and its entries say so.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from edge.errors import Reason, Refusal
from edge.policy.presence import Pass
from edge.trust.cbor import decode, encode

LIMIT: Final = 4096
MOST: Final = 48
_MAC: Final = 16
_VERSION: Final = 1
_LONGEST: Final = 64
_LATEST: Final = 1 << 36


@dataclass(frozen=True)
class Statement:
    """What one gate says.

    Attributes:
        gate: origin of its log.
        boot: how often that log was opened.
        count: of its statements since.
        passes: who went through, some of them.
        marks: of people who received their benefit there, some of them.
    """

    gate: str
    boot: int
    count: int
    passes: tuple[Pass, ...] = ()
    marks: tuple[bytes, ...] = field(default=(), repr=False)


def say(site_key: bytes, statement: Statement) -> bytes:
    """The statement as it goes out."""
    passes = [[each.subject, each.zone, each.at_s] for each in statement.passes[:MOST]]
    told = [_VERSION, statement.gate, statement.boot, statement.count, passes, list(statement.marks[:MOST])]
    body = encode(told)
    return body + _mac(site_key, body)


def hear(site_key: bytes, data: bytes) -> Statement:
    """The statement of another gate of this site.

    Raises:
        Refusal: too-large, bad-signature, unreadable or bad-claim.
    """
    if len(data) > LIMIT:
        raise Refusal(Reason.TOO_LARGE, "a statement beyond the limits")
    body, mac = data[:-_MAC], data[-_MAC:]
    if len(mac) != _MAC or not hmac.compare_digest(mac, _mac(site_key, body)):
        raise Refusal(Reason.BAD_SIGNATURE, "not said by a gate of this site")
    match decode(body, depth=4, items=1024):
        case [int(version), str(gate), int(boot), int(count), list(passes), list(marks)] if version == _VERSION:
            if len(passes) > MOST or len(marks) > MOST or boot < 1 or count < 1 or not gate:
                raise Refusal(Reason.BAD_CLAIM, "a statement that no gate makes")
            return Statement(gate, boot, count, tuple(map(_pass, passes)), tuple(map(_mark, marks)))
        case _:
            raise Refusal(Reason.BAD_CLAIM, "not a statement")


def _pass(told: Any) -> Pass:
    match told:
        case [bytes(subject), str(zone), int(at_s)] if len(subject) == 16 and len(zone) <= _LONGEST:
            if 0 <= at_s < _LATEST:
                return Pass(subject, zone, at_s)
    raise Refusal(Reason.BAD_CLAIM, "not a pass")


def _mark(told: Any) -> bytes:
    if not isinstance(told, bytes) or len(told) != 16:
        raise Refusal(Reason.BAD_CLAIM, "not a mark")
    return told


def _mac(site_key: bytes, body: bytes) -> bytes:
    key = hmac.digest(site_key, b"told\0", "sha256")
    return hmac.digest(key, body, "sha256")[:_MAC]


class Hearing:
    """Who was heard, and when last: an old statement is no sign of life."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._newest: dict[str, tuple[int, int]] = {}
        self._heard_s: float | None = None

    def fresh(self, statement: Statement, now_s: float) -> bool:
        """Whether another gate says something that it has not said before."""
        newest = self._newest.get(statement.gate, (0, 0))
        if statement.gate == self._own or (statement.boot, statement.count) <= newest:
            return False
        if statement.gate not in self._newest and len(self._newest) >= 256:
            return False
        self._newest[statement.gate] = (statement.boot, statement.count)
        self._heard_s = now_s
        return True

    def silent_s(self, now_s: float) -> float | None:
        """Seconds since anybody was heard; None for never."""
        return None if self._heard_s is None else now_s - self._heard_s


T = TypeVar("T")


class Rounds(Generic[T]):
    """Chooses what is said next: what is new first, then everything again, a few at a time."""

    def __init__(self) -> None:
        self._at = 0

    def next(self, known: Sequence[T]) -> tuple[T, ...]:
        """The newest few, which stand last, and the next few of the rest."""
        if len(known) <= MOST:
            return tuple(known)
        half = MOST // 2
        older = len(known) - half
        first = self._at if self._at < older else 0
        self._at = first + half
        return (*known[first : min(first + half, older)], *known[older:])
