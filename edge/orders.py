"""What the pages ask of edge-gate for an operator, and what they are answered. Sent as ``wire.py`` says.

Rules:

1. Nothing here is believed: edge-web is open to the local network. Password, codes and tickets are verified by
   edge-gate alone, and an order that moves or closes the gate carries a fresh code of its own.
2. Why something was done is one of ``Why``: free text would bring names into a log that lives for years.
3. ``Invite``, ``Dismiss`` and ``AskOperators`` are heard on the console's own socket only, which edge-web cannot open.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from edge.trust.operators import Role

LIMIT = 4096
"""Bytes of the longest message of this kind."""


class What(Enum):
    """What is ordered."""

    OVERRIDE = "override"
    LOCK_DOWN = "lock-down"
    LIFT = "lift"
    EXPORT = "export"


class Why(Enum):
    """Why; the words are in the log."""

    IDENTITY_CHECKED = "identity-checked"
    CARD_DAMAGED = "card-damaged"
    NEEDS_HELP = "needs-help"
    DEVICE_FAULT = "device-fault"
    EMERGENCY = "emergency"
    THREAT = "threat"
    MAINTENANCE = "maintenance"
    DRILL = "drill"
    OVER = "over"
    AUDIT = "audit"
    OTHER = "other"


class No(Enum):
    """Why something asked for is not done."""

    WRONG = "wrong"  # name, password or code: which of them is not told
    WAIT = "wait"  # too many tries
    TWO_CODES = "two-codes"  # the gate cannot tell the time: two codes in a row
    CODE = "code"  # wrong, old or used
    OVER = "over"  # the ticket or the set-up code is not good any more
    ROLE = "role"  # this operator may not
    UNFIT = "unfit"  # a password that is easy to guess
    NO_VISIT = "no-visit"  # nobody was refused just now
    STANDS = "stands"  # the site's policy lets nobody overrule that refusal
    ALARM = "alarm"  # nothing opens before somebody has mended something
    BUSY = "busy"  # somebody is going through, or is looked at
    CLOSED = "closed"  # locked down
    NOT_HERE = "not-here"  # this gate or this way does not offer it


@dataclass(frozen=True)
class LogIn:
    """Let me in: one code, or two in a row."""

    name: str
    password: str = field(repr=False)
    codes: tuple[str, ...] = field(repr=False)
    browser: str = field(default="", repr=False)
    """What this browser was given when it logged in before."""


@dataclass(frozen=True)
class LoggedIn:
    """A ticket for what comes, and how long it is good at most; ``browser``: what to show at the next time."""

    ticket: str = field(repr=False)
    name: str
    role: Role
    left_s: float
    browser: str = field(repr=False)


@dataclass(frozen=True)
class WhoIs:
    """Whose ticket is this? ``here``: somebody is at the page."""

    ticket: str = field(repr=False)
    here: bool


@dataclass(frozen=True)
class Known:
    """Whose it is; ``two_codes``: one code is not enough now; ``closed``: the gate is locked down."""

    name: str
    role: Role
    two_codes: bool
    closed: bool
    left_s: float


@dataclass(frozen=True)
class LogOut:
    """This ticket is not needed any more."""

    ticket: str = field(repr=False)


@dataclass(frozen=True)
class Enrol:
    """The set-up code from the console, and the password that is wanted."""

    setup: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True)
class Enrolling:
    """What the phone is told; nobody is enrolled before its first code has come back."""

    name: str
    role: Role
    address: str = field(repr=False)


@dataclass(frozen=True)
class Confirm:
    """The phone's first code (or two)."""

    setup: str = field(repr=False)
    codes: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class Order:
    """Do this: ``visit`` is the entry of the refusal that is overridden, or the first entry that is exported."""

    ticket: str = field(repr=False)
    what: What
    why: Why
    codes: tuple[str, ...] = field(repr=False)
    visit: int = -1


@dataclass(frozen=True)
class Obeyed:
    """It is written down as this entry, and done."""

    entry: int


@dataclass(frozen=True)
class Declined:
    """It is not done; ``wait_s`` until trying again makes sense."""

    no: No
    wait_s: float = 0.0


@dataclass(frozen=True)
class Invite:
    """From the console: somebody of this name shall be enrolled."""

    name: str
    role: Role


@dataclass(frozen=True)
class Invited:
    """The set-up code, for this one person, once, for so long."""

    setup: str = field(repr=False)
    valid_s: float


@dataclass(frozen=True)
class Dismiss:
    """From the console: this operator is none any more."""

    name: str


@dataclass(frozen=True)
class AskOperators:
    """From the console: who is enrolled?"""


@dataclass(frozen=True)
class Operators:
    """Name and role of everybody enrolled."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class AskDevices:
    """How is every device that the gate has heard of? Nobody needs a ticket for that: ``/health`` says as much."""


@dataclass(frozen=True)
class Devices:
    """Name of each, whether it does its part, and what the technician should know; ``closed``: a lock-down is on."""

    rows: tuple[tuple[str, bool, str], ...]
    closed: bool = False


Asked = LogIn | WhoIs | LogOut | Enrol | Confirm | Order | AskDevices
AskedAtConsole = Invite | Dismiss | AskOperators
Told = LoggedIn | Known | Enrolling | Obeyed | Declined | Invited | Operators | Devices
