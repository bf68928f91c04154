"""What the gates of a site tell each other: who went through, and who received a benefit. Never who that is.

Rules:

1. A statement is encrypted and authenticated under a key made of the site's secret, which all gates of the site hold
   and nobody who carries it. People stand in it under the pseudonyms and marks of the log; after the turn of a month
   under two of them, which nobody else is to see side by side.
2. It is bounded, and it has a *word* of its own, drawn at random. It answers the newest words of others. Only what
   answers a word of ours was said after it: nothing that was recorded is a sign of life, whatever was forgotten, lost
   or begun anew on either side, and nothing has to be counted or kept for that. Nor does it take the place of what was
   said: while a gate answers, only its answers are answered.
3. It tells how long ago somebody passed, not when: the gates' clocks may be days apart.
4. It is said again and again, a few at a time, and faster once when somebody is back who was away. Nothing depends on
   one message.
5. Without an answer from anybody a gate knows its own passes only, and its entries say so.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from edge.errors import Reason, Refusal
from edge.policy.presence import Pass
from edge.policy.rules import LONGEST
from edge.trust.cbor import decode, encode

LIMIT: Final = 4096
MOST: Final = 40
ANSWERS: Final = 32
MONTHS: Final = 4
WORD: Final = 8
LATE_S: Final = 15.0
"""An answer to an older word is none: three times as long as a gate is silent."""
AWAY_S: Final = 60.0
"""Who did not answer for so long was away, and does not know what was told meanwhile."""
_GATES: Final = 256
_NONCE: Final = 12
_VERSION: Final = 3
_LATEST: Final = 1 << 40


@dataclass(frozen=True)
class Statement:
    """What one gate says.

    Attributes:
        gate: origin of its log.
        word: of this statement.
        answers: words of others, the newest that it heard of each.
        months: on its clock, counted from year 0: its pseudonyms that count are of these.
        passes: who went through, some of them.
        cycle: number of the open cycle of its benefit; 0 for none.
        marks: of people who received their benefit there in that cycle, some of them.
    """

    gate: str
    word: bytes
    answers: tuple[bytes, ...] = ()
    months: tuple[int, ...] = ()
    passes: tuple[Pass, ...] = ()
    cycle: int = 0
    marks: tuple[bytes, ...] = field(default=(), repr=False)


def say(site_key: bytes, statement: Statement, now_s: int) -> bytes:
    """The statement as it goes out; ``now_s`` on our clock.

    Its nonce is made of what it says, and no two say the same: each has a word of its own.
    """
    passes = [[each.subject, each.zone, max(0, now_s - each.at_s), each.turn] for each in statement.passes[:MOST]]
    answers, marks = list(statement.answers[:ANSWERS]), list(statement.marks[:MOST])
    months = list(statement.months[:MONTHS])
    body = encode([_VERSION, statement.gate, statement.word, answers, months, passes, statement.cycle, marks])
    nonce = hmac.digest(_key(site_key, b"nonce"), body, "sha256")[:_NONCE]
    return nonce + ChaCha20Poly1305(_key(site_key, b"body")).encrypt(nonce, body, None)


def hear(site_key: bytes, data: bytes, now_s: int) -> Statement:
    """The statement of another gate of this site; ``now_s`` on our clock, and so its passes.

    Raises:
        Refusal: too-large, bad-signature, unreadable or bad-claim.
    """
    if len(data) > LIMIT:
        raise Refusal(Reason.TOO_LARGE, "a statement beyond the limits")
    body = _opened(site_key, data[:_NONCE], data[_NONCE:])
    match decode(body, depth=4, items=1024):
        case [
            int(version),
            str(gate),
            bytes(word),
            list(answers),
            list(months),
            list(passes),
            int(cycle),
            list(marks),
        ] if version == _VERSION:
            lengths = ((answers, ANSWERS), (months, MONTHS), (passes, MOST), (marks, MOST))
            if any(len(told) > most for told, most in lengths) or not 0 <= cycle < _LATEST or gate == "":
                raise Refusal(Reason.BAD_CLAIM, "a statement that no gate makes")
            heard = tuple(_pass(each, now_s) for each in passes)
            words = tuple(_bytes(each, WORD) for each in answers)
            told = tuple(_bytes(each, 16) for each in marks)
            return Statement(gate, _bytes(word, WORD), words, tuple(map(_month, months)), heard, cycle, told)
        case _:
            raise Refusal(Reason.BAD_CLAIM, "not a statement")


def _pass(told: Any, now_s: int) -> Pass:
    match told:
        case [bytes(subject), str(zone), int(ago_s), int(turn)] if len(subject) == 16 and 0 <= turn < _LATEST:
            if len(zone.encode()) <= LONGEST and 0 <= ago_s < _LATEST:
                return Pass(subject, zone, max(0, now_s - ago_s), turn)
    raise Refusal(Reason.BAD_CLAIM, "not a pass")


def _month(told: Any) -> int:
    if type(told) is not int or not 12 <= told < 12 * 9999:
        raise Refusal(Reason.BAD_CLAIM, "not a month")
    return told


def _bytes(told: Any, length: int) -> bytes:
    if not isinstance(told, bytes) or len(told) != length:
        raise Refusal(Reason.BAD_CLAIM, "neither a word nor a mark")
    return told


def _opened(site_key: bytes, nonce: bytes, sealed: bytes) -> bytes:
    try:
        return ChaCha20Poly1305(_key(site_key, b"body")).decrypt(nonce, sealed, None)
    except (InvalidTag, ValueError) as error:
        raise Refusal(Reason.BAD_SIGNATURE, "not said by a gate of this site") from error


def _key(site_key: bytes, use: bytes) -> bytes:
    return hmac.digest(site_key, b"told\0" + use, "sha256")


class Hearing:
    """Who answers us, and how lately: rule 2.

    Attributes:
        back: whether the newest answer came from a gate that was away.
    """

    def __init__(self, own: str) -> None:
        self.back = False
        self._own = own
        self._words: dict[str, bytes] = {}
        self._said: dict[bytes, float] = {}
        self._answered: dict[str, float] = {}

    def said(self, word: bytes, now_s: float) -> None:
        """We said this."""
        self._said = {each: at_s for each, at_s in self._said.items() if now_s - at_s <= LATE_S}
        self._said[word] = now_s

    def answers(self, statement: Statement, now_s: float) -> bool:
        """Take note of what is said; whether another gate said it after a word of ours, lately."""
        self.back = False
        if statement.gate == self._own:
            return False
        found = [self._said[word] for word in statement.answers if word in self._said]
        before = self._answered.get(statement.gate)
        if not found or now_s - max(found) > LATE_S:
            if before is None or now_s - before > LATE_S:
                self._note(statement)
            return False
        if before is None or max(found) >= before:
            self._note(statement)
            self._answered.pop(statement.gate, None)
            self._answered[statement.gate] = max(found)
        self.back = before is None or max(found) - before > AWAY_S
        if len(self._answered) > _GATES:
            del self._answered[next(iter(self._answered))]
        return True

    def _note(self, statement: Statement) -> None:
        """Its word is the newest of its gate."""
        self._words.pop(statement.gate, None)
        self._words[statement.gate] = statement.word
        if len(self._words) > _GATES:
            del self._words[next(iter(self._words))]

    def words(self) -> tuple[bytes, ...]:
        """What is to be answered, the newest at the end."""
        return tuple(self._words.values())

    def silent_s(self, now_s: float) -> float | None:
        """Seconds since the word that somebody answered last; None for never."""
        return now_s - max(self._answered.values()) if self._answered else None


T = TypeVar("T")


class Rounds(Generic[T]):
    """Chooses what is said next: what is new first, then everything again, a few at a time."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._at = 0

    def next(self, known: Sequence[T]) -> tuple[T, ...]:
        """The newest few, which stand last, and the next few of the rest."""
        if len(known) <= self._most:
            return tuple(known)
        half = self._most // 2
        older = len(known) - half
        first = self._at if self._at < older else 0
        self._at = first + half
        return (*known[first : min(first + half, older)], *known[older:])

    def lasts(self, known: Sequence[T]) -> int:
        """How often something is said until all of it was."""
        return -(-len(known) // (self._most // 2))
