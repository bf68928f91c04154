"""edge-gate knows its operators: who they are, whether it is they, and what they may have done.

Rules:

1. Passwords, codes and tickets are verified here, never in edge-web. Whoever breaks into edge-web can do what is done
   with a fresh code that an operator types in just then, and nothing without one.
2. A code that is taken is on disk as used before anything is done with it.
3. The file is edge-gate's alone (0600). One that cannot be read stops nobody at the entrance; it stops operators.
4. Who was enrolled or dismissed, and under which name somebody tried in vain, is an entry. Names that nobody has share
   one place in all that is counted and written.
5. One password at a time: each takes memory and a tenth of a second.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from edge import orders
from edge.app.tickets import TRIES, Patience, Session, Tickets
from edge.audit.entry import Event, Kind, Value
from edge.devices import kept
from edge.errors import DeviceError
from edge.orders import Declined, No
from edge.ports import Clock, Journal
from edge.trust import operators as known
from edge.trust.operators import Operator, Role, UnfitError

SETUP_S = 15 * 60.0
MOST = 32
_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_PIECE = 4000
_DETAIL, _MOST_DEVICES = 50, 20
_log = logging.getLogger("edge.gate")

Do = Callable[[orders.Order, Operator], Awaitable[int]]
"""Does what was ordered; the entry it is written down as. Raises ``NotDoneError`` or ``DeviceError``."""


class NotDoneError(Exception):
    """What was asked for is not done."""

    def __init__(self, no: No, wait_s: float = 0.0) -> None:
        super().__init__(no.value)
        self.no = no
        self.wait_s = wait_s


class Operators:
    """Answers what the pages and the console ask."""

    def __init__(
        self,
        gate: str,
        place: Path,
        journal: Journal,
        clock: Clock,
        do: Do,
        closed: Callable[[], bool],
        devices: Callable[[], Mapping[str, tuple[bool, str]]] = dict,
    ) -> None:
        """Set up.

        Args:
            gate: its name, for the phone's list.
            place: the file they are kept in.
            journal: where all of it is written down.
            clock: of the gate.
            do: what an order comes to.
            closed: whether the gate is locked down.
            devices: how every device is.
        """
        self._gate = re.sub(r"[^A-Za-z0-9._-]", "-", gate)
        self._place, self._journal, self._clock, self._do, self._closed = place, journal, clock, do, closed
        self._devices = devices
        self._tickets, self._patience = Tickets(clock.monotonic), Patience(clock.monotonic)
        self._setups: dict[bytes, _Setup] = {}
        self._told: dict[str, tuple[int, float]] = {}
        self._alone = asyncio.Lock()
        self._operators: dict[str, Operator] | None = None

    async def answer(self, asked: orders.Asked | orders.AskedAtConsole) -> orders.Told:
        """What to tell whoever asked.

        Raises:
            DeviceError: operators or log cannot be read or written.
        """
        try:
            match asked:
                case orders.WhoIs(ticket, here):
                    return self._known(ticket, here)
                case orders.AskDevices():
                    rows = ((name, ok, detail[:_DETAIL]) for name, (ok, detail) in self._devices().items())
                    return orders.Devices(tuple(rows)[:_MOST_DEVICES], self._closed())
                case orders.LogOut(ticket):
                    self._tickets.take(ticket)
                    return Declined(No.OVER)
            async with self._alone:
                return await self._answer(asked)
        except NotDoneError as error:
            return Declined(error.no, error.wait_s)

    async def _answer(self, asked: orders.Asked | orders.AskedAtConsole) -> orders.Told:
        match asked:
            case orders.LogIn():
                return await self._log_in(asked)
            case orders.Enrol(setup, password):
                return await self._enrol(setup, password)
            case orders.Confirm(setup, codes):
                return await self._confirm(setup, codes)
            case orders.Order():
                return await self._order(asked)
            case orders.Invite(name, role):
                return self._invite(name, role)
            case orders.Dismiss(name):
                return await self._dismiss(name)
            case _:
                return self._rows()

    # who is there

    def _all(self) -> dict[str, Operator]:
        """Rule 3."""
        if self._operators is None:
            try:
                self._operators = {one.name: one for one in known.read(self._place.read_text(encoding="utf-8"))}
            except FileNotFoundError:
                self._operators = {}
            except (OSError, ValueError) as error:
                told = f"{self._place} cannot be read ({type(error).__name__}); take it away and enrol everybody again"
                raise DeviceError("operators", told) from error
        return self._operators

    async def _keep(self, operators: Iterable[Operator]) -> None:
        changed = {one.name: one for one in operators}
        try:
            await asyncio.to_thread(kept.keep, self._place, known.written(changed.values()), private=True)
        except OSError as error:
            raise DeviceError("operators", f"{self._place} cannot be written: {error.strerror}") from error
        self._operators = changed

    def _known(self, ticket: str, here: bool) -> orders.Known:
        session, operator = self._holder(ticket, here=here)
        left_s = self._tickets.left_s(session)
        return orders.Known(operator.name, operator.role, self._pair_wanted(operator), self._closed(), left_s)

    def _holder(self, ticket: str, *, here: bool) -> tuple[Session, Operator]:
        session = self._tickets.of(ticket, here=here)
        operator = None if session is None else self._all().get(session.name)
        if session is None or operator is None:
            raise NotDoneError(No.OVER)
        return session, operator

    def _rows(self) -> orders.Operators:
        return orders.Operators(tuple((one.name, one.role.value) for one in self._all().values()))

    # a password and a code

    async def _log_in(self, asked: orders.LogIn) -> orders.LoggedIn:
        operator = self._all().get(asked.name)
        who = operator.name if operator else ""
        counted = known.fingerprint(asked.browser).hex() if operator and known.marks(operator, asked.browser) else who
        self._patient(counted)
        right = await asyncio.to_thread(known.proves, operator, asked.password)
        if not right or operator is None:
            await self._wrong(counted, who)
            raise NotDoneError(No.WRONG)
        try:
            await self._spend(operator, asked.codes)
        except NotDoneError as error:
            if error.no is No.TWO_CODES:
                raise
            await self._wrong(counted, who)
            raise NotDoneError(No.WRONG) from error
        self._patience.right(counted)
        ticket = self._tickets.give(operator.name)
        browser = known.marked(operator, secrets.token_bytes(known.MARK))
        return orders.LoggedIn(ticket, operator.name, operator.role, self._known(ticket, True).left_s, browser)

    def _patient(self, counted: str) -> None:
        if (wait_s := self._patience.wait_s(counted)) > 0:
            raise NotDoneError(No.WAIT, wait_s)

    async def _wrong(self, counted: str, who: str) -> None:
        if self._patience.wrong(counted) == TRIES:
            await self._write({"what": "tried-in-vain", "who": who, "count": TRIES})

    async def _spend(self, operator: Operator, codes: tuple[str, ...]) -> None:
        """Take the code or codes, once; rule 2.

        Raises:
            NotDoneError: wrong, used, or one where two are asked for.
        """
        steps = self._steps(operator)
        if steps is not None:
            step = known.taken(operator, codes[-1] if codes else "", steps)
        elif len(codes) != 2:
            raise NotDoneError(No.TWO_CODES)
        else:
            step = await self._searched(operator, *codes)
        if step is None:
            raise NotDoneError(No.CODE)
        if operator.name in self._all():
            await self._keep(one.after(step) if one.name == operator.name else one for one in self._all().values())
        self._told[operator.name] = (step, self._clock.monotonic())

    def _pair_wanted(self, operator: Operator) -> bool:
        return self._steps(operator) is None

    def _steps(self, operator: Operator) -> Iterable[int] | None:
        """The steps whose code is good now: by the clock, else by what this phone said since the start."""
        if (window := known.window(self._clock.now())) is not None:
            return window
        if operator.name not in self._told:
            return None
        step, at_s = self._told[operator.name]
        here = step + int((self._clock.monotonic() - at_s) // known.STEP_S)
        return range(here - 1, here + 3)

    async def _searched(self, operator: Operator, first: str, second: str) -> int | None:
        """Two codes in a row, wherever they are; a little at a time, for the entrance does not wait."""
        steps = known.searched(self._clock.now(), operator.used)
        for begin in range(steps.start, steps.stop, _PIECE):
            piece = range(begin, min(begin + _PIECE, steps.stop))
            if (step := known.taken_pair(operator, first, second, piece)) is not None:
                return step
            await asyncio.sleep(0.005)
        return None

    # enrolment

    def _invite(self, name: str, role: Role) -> orders.Invited:
        known.named(name)
        if len(self._all()) >= MOST and name not in self._all():  # with a new phone or password they may
            raise NotDoneError(No.NOT_HERE)
        now_s = self._clock.monotonic()
        self._setups = {key: one for key, one in self._setups.items() if one.until_s > now_s and one.name != name}
        setup = "".join(secrets.choice(_ALPHABET) for _ in range(12))
        self._setups[known.fingerprint(setup)] = _Setup(name, role, now_s + SETUP_S)
        return orders.Invited("-".join((setup[:4], setup[4:8], setup[8:])), SETUP_S)

    def _setup(self, text: str) -> _Setup:
        """The invitation that this set-up code is of.

        The right one is taken however many wrong ones came: it has 59 bits, and whoever sends wrong ones must not keep
        out who stands at the console.
        """
        found = self._setups.get(known.fingerprint(re.sub(r"[\s-]", "", text).upper()))
        if found is None or found.until_s <= self._clock.monotonic():
            self._patient("/setup")
            self._patience.wrong("/setup")
            raise NotDoneError(No.OVER)
        return found

    async def _enrol(self, text: str, password: str) -> orders.Enrolling:
        setup = self._setup(text)
        try:
            plain = known.fit(password, setup.name)
        except UnfitError as error:
            raise NotDoneError(No.UNFIT) from error
        salt, secret = secrets.token_bytes(known.SALT), secrets.token_bytes(known.SECRET)
        hashed = await asyncio.to_thread(known.hashed, plain, salt)
        setup.operator = Operator(setup.name, setup.role, salt, hashed, secret)
        return orders.Enrolling(setup.name, setup.role, known.address(setup.name, self._gate, secret))

    async def _confirm(self, text: str, codes: tuple[str, ...]) -> orders.Told:
        setup = self._setup(text)
        if setup.operator is None:
            raise NotDoneError(No.OVER)
        self._told.pop(setup.name, None)
        try:
            await self._spend(setup.operator, codes)
        except NotDoneError as error:
            setup.wrong += error.no is not No.TWO_CODES
            if setup.wrong >= TRIES:
                setup.until_s = 0.0
            raise
        entry = await self._write({"what": "enrolled", "who": setup.name, "role": setup.role.value})
        setup.until_s = 0.0
        used = setup.operator.after(self._told[setup.name][0])
        self._tickets.take_all(setup.name)
        await self._keep({**self._all(), setup.name: used}.values())
        return orders.Obeyed(entry)

    async def _dismiss(self, name: str) -> orders.Told:
        if name not in self._all():
            raise NotDoneError(No.WRONG)
        self._tickets.take_all(name)
        await self._keep(one for one in self._all().values() if one.name != name)
        return orders.Obeyed(await self._write({"what": "dismissed", "who": name}))

    # orders

    async def _order(self, asked: orders.Order) -> orders.Obeyed:
        """Rule 1 and 2, then what is ordered."""
        _, operator = self._holder(asked.ticket, here=True)
        wanted = Role.ADMIN if asked.what is orders.What.EXPORT else Role.OPERATOR
        if not operator.role.includes(wanted):
            raise NotDoneError(No.ROLE)
        try:
            await self._spend(operator, asked.codes)
        except NotDoneError as error:
            if error.no is No.CODE:
                self._tickets.wrong(asked.ticket)
            raise
        return orders.Obeyed(await self._do(asked, operator))

    async def _write(self, fields: dict[str, Value]) -> int:
        return (await self._journal.append(Event(Kind.OPERATOR, fields))).index


class _Setup:
    """Somebody who may be enrolled for a while."""

    def __init__(self, name: str, role: Role, until_s: float) -> None:
        self.name, self.role, self.until_s = name, role, until_s
        self.operator: Operator | None = None
        self.wrong = 0
