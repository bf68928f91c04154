"""One benefit for each person, programme and cycle: reserved, then handed out, then committed or released.

Rules:

1. A reservation is on disk before anything is handed out, and there is one for a person in a cycle as long as it is not
   released. At one point only one is unfinished at a time.
2. The ledger is made of the log and nothing else. What a power cut left unfinished is finished by the dispenser's own
   count; where it has none, the portion counts as handed out, and the entry says that nobody is sure.
3. A person stands in it under HMAC(key of the cycle, person ‖ programme ‖ cycle). The key of a cycle is made of the one
   before; the one before cannot be made of it. When the dispute window is over the older keys are destroyed, and with
   them whoever stands under them.
4. Two points that both reserved for one person: the reservation that was sealed earlier stands, the others are flagged.
5. A log that does not say when the open cycle was opened is not the whole ledger: then nobody can tell.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import Final

from edge.audit.entry import Entry, Event, Kind, Value
from edge.trust.cycles import Cycle

MARK: Final = 16
_NEVER: Final = 1 << 36
STEPS: Final = 1 << 16
"""No ratchet is turned further at once."""


class ForgottenError(ValueError):
    """The key of that cycle was destroyed, or is no key yet."""


@dataclass(frozen=True)
class LedgerKey:
    """The oldest key of a cycle that is still there.

    Attributes:
        number: of that cycle.
        key: 32 bytes.
    """

    number: int
    key: bytes = field(repr=False)

    def at(self, number: int) -> LedgerKey:
        """The key of a later cycle, or of this one.

        Raises:
            ForgottenError: it is an earlier one.
        """
        if not 0 <= number - self.number <= STEPS:
            raise ForgottenError(f"the key of cycle {number} is not there")
        key = self.key
        for step in range(self.number, number):
            key = hmac.digest(key, b"next\0" + step.to_bytes(8), "sha256")
        return LedgerKey(number, key)

    def mark(self, person: bytes, cycle: Cycle) -> bytes:
        """Under which sixteen bytes a person stands in a cycle.

        Raises:
            ForgottenError: its key is gone.
        """
        parts = (person, cycle.programme.encode(), cycle.cycle.encode())
        told = b"".join(len(part).to_bytes(4) + part for part in parts)
        return hmac.digest(self.at(cycle.number).key, b"benefit\0" + told, "sha256")[:MARK]


@dataclass(frozen=True)
class Reservation:
    """One reservation.

    Attributes:
        mark: of the person in the cycle.
        number: of the cycle.
        amount: portions.
        counted: the dispenser's own count before; None where it has none.
        index: of the entry.
    """

    mark: bytes = field(repr=False)
    number: int
    amount: int
    counted: int | None
    index: int = -1


def reserving(mark: bytes, cycle: Cycle, counted: int | None) -> Event:
    """The entry of a reservation."""
    fields: dict[str, Value] = {"mark": mark, "programme": cycle.programme, "cycle": cycle.cycle}
    fields |= {"number": cycle.number, "amount": cycle.amount}
    return Event(Kind.RESERVATION, fields if counted is None else fields | {"counted": counted})


def finishing(reservation: Reservation, dispensed: int | None, why: str) -> Event:
    """The entry that finishes a reservation: committed if anything was handed out, or if nobody can tell."""
    fields: dict[str, Value] = {"reservation": reservation.index, "mark": reservation.mark, "why": why}
    if dispensed == 0:
        return Event(Kind.RELEASE, fields)
    fields |= {"dispensed": dispensed, "sure": dispensed is not None and dispensed >= reservation.amount}
    return Event(Kind.COMMIT, fields)


def opening(cycle: Cycle) -> Event:
    """The entry of a cycle that is open from here on."""
    told: dict[str, Value] = {"programme": cycle.programme, "cycle": cycle.cycle, "number": cycle.number}
    told |= {"amount": cycle.amount, "disputed_until": int(cycle.disputed_until.timestamp())}
    return Event(Kind.CYCLE, told)


class Ledger:
    """What the log says about benefits.

    Attributes:
        disputed: end of the dispute window, by number, of every cycle that was open here.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._standing: dict[bytes, Kind] = {}
        self._received: dict[int, dict[bytes, None]] = {}
        self._unfinished: dict[int, Reservation] = {}
        self.disputed: dict[int, datetime] = {}
        for entry in entries:
            if isinstance(entry.kind, Kind):
                self.note(entry.kind, entry.fields, entry.index)

    def note(self, kind: Kind, fields: Mapping[str, Value], index: int) -> None:
        """Take in one entry; those of other kinds say nothing here."""
        mark, number = fields.get("mark"), fields.get("number")
        match kind:
            case Kind.CYCLE if isinstance(number, int):
                until = fields.get("disputed_until")
                self.disputed[number] = datetime.fromtimestamp(until if isinstance(until, int) else _NEVER, UTC)
            case Kind.RESERVATION if isinstance(mark, bytes) and isinstance(number, int):
                self._standing[mark] = kind
                self._unfinished[index] = _reservation(mark, number, fields, index)
            case Kind.COMMIT | Kind.RELEASE if isinstance(mark, bytes):
                if kind is Kind.COMMIT:
                    self._standing[mark] = kind
                else:
                    self._standing.pop(mark, None)
                told = fields.get("reservation")
                reserved = self._unfinished.pop(told if isinstance(told, int) else -1, None)
                if reserved is not None and kind is Kind.COMMIT:
                    self._received.setdefault(reserved.number, {})[mark] = None
            case _:
                pass

    def received(self, number: int) -> tuple[bytes, ...]:
        """The marks of everybody who received something here in this cycle, the newest at the end."""
        return tuple(self._received.get(number, ()))

    def forget(self, before: int) -> None:
        """Drop who received in cycles before this one: for when the keys are gone under which anybody stands there."""
        for number in [each for each in self._received if each < before]:
            for mark in self._received.pop(number):
                self._standing.pop(mark, None)

    def knows(self, cycle: Cycle) -> bool:
        """Whether the log reaches back to the opening of this cycle."""
        return cycle.number in self.disputed

    def benefit(self, mark: bytes) -> str:
        """``free``, ``reserved`` or ``received``: the fact of a visit."""
        words = {Kind.RESERVATION: "reserved", Kind.COMMIT: "received"}
        return words.get(self._standing.get(mark, Kind.RELEASE), "free")

    @property
    def unfinished(self) -> tuple[Reservation, ...]:
        """Reservations without an end, the oldest first."""
        return tuple(reservation for _, reservation in sorted(self._unfinished.items()))


def _reservation(mark: bytes, number: int, fields: Mapping[str, Value], index: int) -> Reservation:
    amount, counted = fields.get("amount"), fields.get("counted")
    return Reservation(
        mark, number, amount if isinstance(amount, int) else 1, counted if isinstance(counted, int) else None, index
    )


def dispensed(reservation: Reservation, counted: int | None) -> int | None:
    """How many portions came since the reservation, by the dispenser's own count; None where nobody can tell."""
    if counted is None or reservation.counted is None or counted < reservation.counted:
        return None
    return counted - reservation.counted


@dataclass(frozen=True)
class Claim:
    """A reservation as a point's sealed log tells of it.

    Attributes:
        mark: of the person in the cycle.
        origin: of the log.
        index: of the entry.
        sealed_s: time of the first checkpoint that covers it, seconds since 1970; None while none does.
        released: nothing was handed out.
    """

    mark: bytes = field(repr=False)
    origin: str
    index: int
    sealed_s: int | None = None
    released: bool = False


@dataclass(frozen=True)
class Dispute:
    """One person, one cycle, two points: which reservation stands, and which are flagged."""

    stands: Claim
    flagged: tuple[Claim, ...]


def claims(origin: str, entries: Iterable[Entry], sealed: Iterable[tuple[int, int]]) -> tuple[Claim, ...]:
    """The reservations of one log.

    Args:
        origin: of the log.
        entries: of one epoch.
        sealed: size and time of its checkpoints.
    """
    heads = sorted(sealed)
    found: dict[int, Claim] = {}
    for entry in entries:
        mark, reserved = entry.fields.get("mark"), entry.fields.get("reservation")
        if entry.kind is Kind.RESERVATION and isinstance(mark, bytes):
            at_s = next((at for size, at in heads if size > entry.index), None)
            found[entry.index] = Claim(mark, origin, entry.index, at_s)
        elif entry.kind is Kind.RELEASE and isinstance(reserved, int) and reserved in found:
            found[reserved] = replace(found[reserved], released=True)
    return tuple(found.values())


def disputes(told: Iterable[Claim]) -> tuple[Dispute, ...]:
    """Rule 4, over the logs of all points."""
    standing = sorted((claim for claim in told if not claim.released), key=_order)
    found = []
    for _, group in groupby(sorted(standing, key=attrgetter("mark")), key=attrgetter("mark")):
        first, *others = sorted(group, key=_order)
        if others:
            found.append(Dispute(first, tuple(others)))
    return tuple(found)


def _order(claim: Claim) -> tuple[bool, int, str, int]:
    return claim.sealed_s is None, claim.sealed_s or 0, claim.origin, claim.index
