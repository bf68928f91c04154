"""Who may look after this gate: a password, and a code from a phone that counts once (RFC 6238, RFC 4226).

Rules:

1. No operator exists before one is enrolled at the device's own console: there is no default password.
2. A password is kept as scrypt (RFC 7914) with a salt of its own. One try at a name that nobody has takes the same work
   as one at a name that exists. Many tries do tell them apart: names that nobody has wait together (``tickets.py``), so
   that they cost the gate little; a name is no secret.
3. A code is good for its own half minute and the one on either side, and once: the step that was used, and every one
   before it, is never taken again.
4. A gate that knows no more than a floor of the time cannot say which half minute it is. Then two codes in a row are
   asked for: together they say which step it is, and that the phone is there (RFC 4226 section 7.4). ``SEARCHED`` steps
   from the floor on are looked through: one pair in 3.5 million fits by chance.
5. A browser in which an operator logged in keeps a mark of it, made with the operator's secret. It opens nothing;
   whoever has it waits for wrong tries of this browser alone, not for those of strangers. A new enrolment ends it.
6. Told the time and the chance, never asks for either.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from edge.trust.interval import Interval

STEP_S: Final = 30
DIGITS: Final = 6
SEARCHED: Final = 100 * 24 * 3600 // STEP_S
"""Steps of rule 4: a gate that lay longer than a hundred days without the time is told it by a signed list first."""
WIDEST_S: Final = 120.0
"""Seconds between the two ends of now from which on one code is not enough."""
SECRET: Final = 20
MARK: Final = 16
SALT: Final = 16
COST: Final = 2**15
SHORTEST, LONGEST = 10, 128
_NAME: Final = re.compile(r"[a-z][a-z0-9._-]{1,31}")
_CODE: Final = re.compile(rf"[0-9]{{{DIGITS}}}")


class Role(Enum):
    """What an operator may: read, also open and close, also take the log away."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether this role may what the other may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class UnfitError(ValueError):
    """A name or a password that is not taken; the message says what is asked."""


@dataclass(frozen=True)
class Operator:
    """One who may look after the gate.

    Attributes:
        name: in the log, with all that is done under it.
        role: what is allowed.
        salt: of the password.
        password: scrypt of it.
        secret: shared with the phone.
        used: the newest step of a code that was taken.
    """

    name: str
    role: Role
    salt: bytes = field(repr=False)
    password: bytes = field(repr=False)
    secret: bytes = field(repr=False)
    used: int = 0

    def after(self, step: int) -> Operator:
        """The operator whose codes up to this step are used up."""
        return replace(self, used=max(step, self.used))


NOBODY: Final = Operator("nobody", Role.VIEWER, bytes(SALT), bytes(32), bytes(SECRET))
"""Whose password is compared when a name is unknown (rule 2)."""


def named(name: str) -> str:
    """The name, if it is one.

    Raises:
        UnfitError: it is not.
    """
    if not _NAME.fullmatch(name):
        raise UnfitError("a name is 2 to 32 of a-z, 0-9, dot, dash and underscore, and begins with a letter")
    return name


def fit(password: str, name: str) -> str:
    """The password, if it is one that is hard to guess.

    Raises:
        UnfitError: too short, too long, too simple, or the name.
    """
    plain = unicodedata.normalize("NFC", password)
    if not SHORTEST <= len(plain) <= LONGEST:
        raise UnfitError(f"a password has {SHORTEST} to {LONGEST} characters")
    if len(set(plain)) < 5 or name in plain.lower():
        raise UnfitError("a password has five different characters at least, and not the name in it")
    return plain


def hashed(password: str, salt: bytes) -> bytes:
    """The password as it is kept; takes 32 MiB and a tenth of a second on purpose."""
    plain = unicodedata.normalize("NFC", password[: 2 * LONGEST]).encode("utf-8", "surrogatepass")
    return Scrypt(salt=salt, length=32, n=COST, r=8, p=1).derive(plain)


def proves(operator: Operator | None, password: str) -> bool:
    """Whether this is the operator's password."""
    known = operator or NOBODY
    right = hmac.compare_digest(hashed(password, known.salt), known.password)
    return right and operator is not None


def marked(operator: Operator, mark: bytes) -> str:
    """What a browser keeps, with ``MARK`` bytes of chance in it; rule 5."""
    mac = hmac.digest(operator.secret, b"a browser of " + operator.name.encode() + b"\0" + mark, "sha256")
    return (mark + mac).hex()


def marks(operator: Operator, browser: str) -> bool:
    """Whether this was given to a browser of this operator's."""
    try:
        mark = bytes.fromhex(browser)[:MARK]
    except ValueError:
        return False
    return hmac.compare_digest(marked(operator, mark).encode(), browser.encode())


def code_of(secret: bytes, step: int) -> str:
    """The code of that half minute (RFC 4226 section 5.3)."""
    mac = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    start = mac[-1] & 0x0F
    return f"{(int.from_bytes(mac[start : start + 4], 'big') & 0x7FFFFFFF) % 10**DIGITS:0{DIGITS}d}"


def step_of(seconds: float) -> int:
    """The half minute of a moment, seconds since 1970."""
    return int(seconds // STEP_S)


def window(now: Interval) -> range | None:
    """The steps whose code is good now; None when the time is too unsure for one code."""
    if now.upper is None or (now.upper - now.lower).total_seconds() > WIDEST_S:
        return None
    return range(step_of(now.lower.timestamp()) - 1, step_of(now.upper.timestamp()) + 2)


def taken(operator: Operator, code: str, steps: Iterable[int]) -> int | None:
    """The step among these of which this is the code and which is not used up; None when there is none.

    Every step is compared, whichever fits.
    """
    found: int | None = None
    if not _CODE.fullmatch(code):
        return None
    for step in steps:
        same = hmac.compare_digest(code_of(operator.secret, step), code)
        if same and step > operator.used:
            found = step
    return found


def taken_pair(operator: Operator, first: str, second: str, steps: Iterable[int]) -> int | None:
    """The step of the second of two codes in a row, among these; None when they are not two in a row."""
    if not _CODE.fullmatch(first) or not _CODE.fullmatch(second):
        return None
    for step in steps:
        if step <= operator.used or code_of(operator.secret, step - 1) != first:
            continue
        if hmac.compare_digest(code_of(operator.secret, step), second):
            return step
    return None


def searched(now: Interval, used: int) -> range:
    """The steps that rule 4 looks through."""
    first = max(step_of(now.lower.timestamp()) - 1, used + 1)
    return range(first, first + SEARCHED)


def address(operator: str, gate: str, secret: bytes) -> str:
    """What the phone scans (otpauth key URI); gate and operator are plain characters by then."""
    key = base64.b32encode(secret).decode().rstrip("=")
    return f"otpauth://totp/{gate}:{operator}?secret={key}&issuer={gate}&algorithm=SHA1&digits={DIGITS}&period={STEP_S}"


def written(operators: Iterable[Operator]) -> str:
    """All operators as they are kept."""
    rows = [
        {
            "name": one.name,
            "role": one.role.value,
            "salt": one.salt.hex(),
            "password": one.password.hex(),
            "secret": one.secret.hex(),
            "used": one.used,
        }
        for one in operators
    ]
    return json.dumps({"version": 1, "operators": rows})


def read(text: str) -> tuple[Operator, ...]:
    """All operators as they were kept.

    Raises:
        ValueError: this is something else.
    """
    table: Any = json.loads(text)
    if not isinstance(table, dict) or table.get("version") != 1:
        raise ValueError("not a table of operators")
    try:
        found = tuple(_one(row) for row in table["operators"])
    except (KeyError, TypeError) as error:
        raise ValueError("not a table of operators") from error
    if len({one.name for one in found}) != len(found):
        raise ValueError("one name twice")
    return found


def _one(row: dict[str, Any]) -> Operator:
    used = row["used"]
    if type(used) is not int or used < 0:
        raise ValueError("not a step")
    salt, password, secret = (bytes.fromhex(row[key]) for key in ("salt", "password", "secret"))
    made = Operator(named(row["name"]), Role(row["role"]), salt, password, secret, used)
    if (len(made.salt), len(made.password), len(made.secret)) != (SALT, 32, SECRET):
        raise ValueError("not an operator")
    return made


def fingerprint(setup: str) -> bytes:
    """What is kept of a set-up code or a ticket: enough to know it again, too little to use it."""
    return hashlib.sha256(setup.encode("utf-8", "surrogatepass")).digest()
