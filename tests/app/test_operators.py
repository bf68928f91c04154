"""Operators at edge-gate: enrolled at the console, a fresh code for each act, nothing moves before it is written."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import stat
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from edge import orders, wire
from edge.app.acts import VISIT_S, Acts
from edge.app.commands import Commands
from edge.app.counter import attend
from edge.app.operators import SETUP_S, NotDoneError, Operators
from edge.app.service import wait_for
from edge.app.tickets import IDLE_S, LONGEST_S, TICKETS, TRIES, WAIT_S
from edge.audit.entry import Event, Kind, Value
from edge.devices.follower import Follower
from edge.devices.journal import SqliteJournal
from edge.devices.simulated import SimulatedClock
from edge.errors import DeviceError, Reason
from edge.orders import Declined, No, What, Why
from edge.ports import Receipt
from edge.trust import operators as known
from edge.trust.charter import Charter
from edge.trust.interval import ClockState
from edge.trust.operators import Operator, Role, code_of, step_of


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords that cost little: how much they cost is tested beside them."""
    monkeypatch.setattr(known, "COST", 2**8)


Run = Callable[[Coroutine[Any, Any, Any]], Any]
PASSWORD = "correct horse battery"


class Phone:
    """An authenticator app: it has the time, the gate may not."""

    def __init__(self, address: str, clock: SimulatedClock) -> None:
        self.secret = base32(parse_qs(urlsplit(address).query)["secret"][0])
        self.clock = clock
        self.ahead = timedelta()

    def code(self, steps: int = 0) -> str:
        return code_of(self.secret, step_of((self.clock.moment + self.ahead).timestamp()) + steps)

    def next(self) -> str:
        """Wait for a code that was not used."""
        self.clock.go(30)
        return self.code()

    def pair(self) -> tuple[str, str]:
        self.clock.go(60)
        return self.code(-1), self.code()


def base32(text: str) -> bytes:
    import base64

    return base64.b32decode(text + "=" * (-len(text) % 8))


@dataclass
class Doorway:
    """A way that is opened with a receipt."""

    receipts: list[Receipt] = field(default_factory=list)
    free: bool = True
    outcome: Kind = Kind.TAKEN
    size_when_opened: list[int] = field(default_factory=list)
    log: Follower | None = None

    async def let_through(self, receipt: Receipt) -> Kind:
        assert self.log is not None
        self.size_when_opened.append(self.log.size())
        self.receipts.append(receipt)
        return self.outcome


@dataclass
class Gate:
    """edge-gate, as far as operators are concerned."""

    clock: SimulatedClock
    journal: SqliteJournal
    log: Follower
    doorway: Doorway
    commands: Commands
    operators: Operators
    folder: Path

    async def enrolled(self, name: str = "anna", role: Role = Role.OPERATOR) -> Phone:
        invited = await self.operators.answer(orders.Invite(name, role))
        assert isinstance(invited, orders.Invited)
        told = await self.operators.answer(orders.Enrol(invited.setup, PASSWORD))
        assert isinstance(told, orders.Enrolling), told
        phone = Phone(told.address, self.clock)
        codes = (phone.code(),) if self.clock.state is ClockState.SYNCED else phone.pair()
        assert isinstance(await self.operators.answer(orders.Confirm(invited.setup, codes)), orders.Obeyed)
        return phone

    async def ticket(self, phone: Phone, name: str = "anna") -> str:
        told = await self.operators.answer(orders.LogIn(name, PASSWORD, (phone.next(),)))
        assert isinstance(told, orders.LoggedIn), told
        return told.ticket

    async def refusal(self) -> int:
        return (await self.journal.append(Event(Kind.DENIED, {"reason": "unreadable"}))).index

    async def ask(self, question: orders.Asked | orders.AskedAtConsole) -> orders.Told:
        return await self.operators.answer(question)

    async def no(self, question: orders.Asked | orders.AskedAtConsole) -> No:
        told = await self.operators.answer(question)
        assert isinstance(told, Declined), told
        return told.no

    async def settled(self) -> None:
        """Whatever was begun is over."""
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    def kinds(self) -> list[Kind | int]:
        return [entry.kind for entry in self.log.entries(0, 1000)]

    def newest(self) -> Any:
        return self.log.entries(self.log.size() - 1, 1)[0]


@contextlib.asynccontextmanager
async def standing(folder: Path) -> AsyncIterator[Gate]:
    clock = SimulatedClock()
    clock.ticks = 1000.0
    journal = SqliteJournal.open(folder / "journal.db", "urn:gate:a:b:c", "c", clock, None)
    log = Follower(folder / "journal.db")
    doorway = Doorway(log=log)
    commands = Commands("urn:gate:a:b:c", Charter, journal, clock, None, folder / "commands")
    acts = Acts(log, journal, clock, doorway, lambda: doorway.free, commands)
    operators = Operators("gate 1", folder / "operators", journal, clock, acts.do, commands.locked_down)
    try:
        yield Gate(clock, journal, log, doorway, commands, operators, folder)
    finally:
        journal.close()
        log.close()


def order(ticket: str, what: What, *codes: str, visit: int = -1, why: Why = Why.IDENTITY_CHECKED) -> orders.Order:
    return orders.Order(ticket, what, why, codes, visit)


def test_nobody_is_let_in_before_somebody_was_enrolled_at_the_console(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            for name, password in (("admin", "admin"), ("nobody", ""), ("root", "root"), ("", ""), ("pi", "raspberry")):
                assert await gate.no(orders.LogIn(name, password, ("000000",))) is No.WRONG
                gate.clock.go(WAIT_S)
            assert await gate.no(orders.Enrol("AAAA-AAAA-AAAA", PASSWORD)) is No.OVER

    run(story())


def test_an_operator_is_enrolled_logs_in_and_is_in_the_log(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            assert gate.newest().kind is Kind.OPERATOR
            assert gate.newest().fields == {"what": "enrolled", "who": "anna", "role": "operator"}
            ticket = await gate.ticket(phone)
            told = await gate.ask(orders.WhoIs(ticket, False))
            assert isinstance(told, orders.Known)
            assert (told.name, told.role, told.two_codes, told.closed) == ("anna", Role.OPERATOR, False, False)
            await gate.ask(orders.LogOut(ticket))
            assert await gate.no(orders.WhoIs(ticket, False)) is No.OVER

    run(story())


def test_a_set_up_code_is_good_once_for_a_quarter_of_an_hour(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            invited = await gate.ask(orders.Invite("anna", Role.ADMIN))
            assert isinstance(invited, orders.Invited)
            gate.clock.go(SETUP_S)
            assert await gate.no(orders.Enrol(invited.setup, PASSWORD)) is No.OVER
            again = await gate.ask(orders.Invite("anna", Role.ADMIN))
            assert isinstance(again, orders.Invited)
            told = await gate.ask(orders.Enrol(again.setup.lower().replace("-", " "), PASSWORD))
            assert isinstance(told, orders.Enrolling)
            phone = Phone(told.address, gate.clock)
            assert await gate.no(orders.Confirm(again.setup, ("000000",))) is No.CODE
            assert isinstance(await gate.ask(orders.Confirm(again.setup, (phone.code(),))), orders.Obeyed)
            assert await gate.no(orders.Enrol(again.setup, PASSWORD)) is No.OVER
            assert await gate.no(orders.Confirm(again.setup, (phone.next(),))) is No.OVER

    run(story())


def test_set_up_codes_cannot_be_guessed_away(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            for _ in range(TRIES):
                assert await gate.no(orders.Enrol("AAAA-AAAA-AAAA", PASSWORD)) is No.OVER
            assert await gate.no(orders.Enrol("AAAA-AAAA-AAAA", PASSWORD)) is No.WAIT

    run(story())


def test_nobody_who_guesses_set_up_codes_keeps_the_right_person_out(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            invited = await gate.ask(orders.Invite("anna", Role.ADMIN))
            assert isinstance(invited, orders.Invited)
            for _ in range(TRIES + 1):
                await gate.no(orders.Enrol("AAAA-AAAA-AAAA", PASSWORD))
            assert isinstance(await gate.ask(orders.Enrol(invited.setup, PASSWORD)), orders.Enrolling)

    run(story())


def test_the_file_is_for_edge_gate_alone_and_survives_a_restart(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        before = os.umask(0o022)
        try:
            async with standing(tmp_path) as gate:
                phone = await gate.enrolled()
                phone.next()
                used = await gate.ticket(phone)
                assert used
        finally:
            os.umask(before)
        path = tmp_path / "operators"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert PASSWORD not in path.read_text(encoding="utf-8")
        code = phone.code()
        async with standing(tmp_path) as gate:
            gate.clock.moment = phone.clock.moment
            assert await gate.no(orders.WhoIs(used, False)) is No.OVER
            assert await gate.no(orders.LogIn("anna", PASSWORD, (code,))) is No.WRONG  # used before the restart
            phone.clock = gate.clock
            assert await gate.ticket(phone)

    run(story())


@pytest.mark.parametrize("damage", ["", "{", '{"version": 1, "operators": [{"name": "anna"}]}', None])
def test_a_damaged_file_stops_operators_and_nobody_else(damage: str | None, tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        path = tmp_path / "operators"
        path.mkdir() if damage is None else path.write_text(damage, encoding="utf-8")
        async with standing(tmp_path) as gate:
            with pytest.raises(DeviceError, match="enrol everybody again"):
                await gate.ask(orders.LogIn("anna", PASSWORD, ("000000",)))
            await gate.refusal()

    run(story())


def test_a_code_opens_once(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            ticket = await gate.ticket(phone)
            visit, code = await gate.refusal(), phone.next()
            told = await gate.ask(order(ticket, What.OVERRIDE, code, visit=visit))
            assert isinstance(told, orders.Obeyed)
            await gate.settled()
            assert [receipt.index for receipt in gate.doorway.receipts] == [told.entry]
            assert gate.doorway.size_when_opened[0] > told.entry  # it was on disk
            written = gate.log.entries(told.entry, 1)[0]
            assert written.kind is Kind.OVERRIDE
            assert {name: told for name, told in written.fields.items() if name != "age_s"} == {
                "by": "anna",
                "role": "operator",
                "why": "identity-checked",
                "visit": visit,
                "reason": "unreadable",
            }
            assert gate.newest().kind is Kind.TAKEN
            assert gate.newest().fields["visit"] == told.entry
            other = await gate.refusal()
            assert await gate.no(order(ticket, What.OVERRIDE, code, visit=other)) is No.CODE
            assert len(gate.doorway.receipts) == 1

    run(story())


def test_without_a_fresh_code_a_ticket_moves_nothing(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            ticket = await gate.ticket(phone)
            visit, size = await gate.refusal(), gate.log.size()
            for what in (What.OVERRIDE, What.LOCK_DOWN, What.LIFT):
                assert await gate.no(order(ticket, what, visit=visit)) is No.CODE
            assert not gate.doorway.receipts
            assert not gate.commands.locked_down()
            assert gate.log.size() == size

    run(story())


def test_wrong_codes_end_the_ticket(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            ticket = await gate.ticket(phone)
            for _ in range(TRIES):
                assert await gate.no(order(ticket, What.LOCK_DOWN, "000000")) is No.CODE
            assert await gate.no(order(ticket, What.LOCK_DOWN, phone.next())) is No.OVER

    run(story())


def test_only_the_newest_refusal_is_overridden_soon_and_once(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            ticket = await gate.ticket(phone)

            async def no(visit: int) -> No:
                return await gate.no(order(ticket, What.OVERRIDE, phone.next(), visit=visit))

            first = await gate.refusal()
            newest = await gate.refusal()
            assert await no(first) is No.NO_VISIT
            assert await no(newest + 1) is No.NO_VISIT
            assert await no(-1) is No.NO_VISIT
            granted = (await gate.journal.append(Event(Kind.GRANTED))).index
            assert await no(newest) is No.NO_VISIT
            assert await no(granted) is No.NO_VISIT
            late = await gate.refusal()
            gate.clock.go(VISIT_S)
            assert await no(late) is No.NO_VISIT
            good = await gate.refusal()
            assert isinstance(await gate.ask(order(ticket, What.OVERRIDE, phone.next(), visit=good)), orders.Obeyed)
            assert await no(good) is No.NO_VISIT
            await gate.settled()
            assert len(gate.doorway.receipts) == 1

    run(story())


def test_a_refusal_before_the_restart_is_not_overridden(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            visit = await gate.refusal()
        async with standing(tmp_path) as gate:
            phone.clock = gate.clock
            gate.clock.go(300)
            gate.clock.ticks = 1001.0
            await gate.journal.append(Event(Kind.CONFIGURATION))
            ticket = await gate.ticket(phone)
            gate.clock.ticks = 1002.0
            assert await gate.no(order(ticket, What.OVERRIDE, phone.next(), visit=visit)) is No.NO_VISIT

    run(story())


def test_whatever_an_order_is_declined_for_the_page_has_a_sentence_of_its_own() -> None:
    at_log_in = {No.WRONG, No.UNFIT}
    said_apart = {No.WAIT, No.TWO_CODES}
    page = (Path(wire.__file__).parent / "web" / "static" / "acting.js").read_text(encoding="utf-8")
    sentences = set(re.findall(r'^  "?([a-z-]+)"?: "[A-Z]', page, re.MULTILINE))
    assert {no.value for no in No} - {no.value for no in at_log_in | said_apart} <= sentences


def test_nobody_is_let_in_while_somebody_goes_through_or_the_gate_is_locked_down(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            ticket = await gate.ticket(phone)
            gate.doorway.free = False
            assert await gate.no(order(ticket, What.OVERRIDE, phone.next(), visit=await gate.refusal())) is No.BUSY
            gate.doorway.free = True
            assert isinstance(await gate.ask(order(ticket, What.LOCK_DOWN, phone.next())), orders.Obeyed)
            assert await gate.no(order(ticket, What.OVERRIDE, phone.next(), visit=await gate.refusal())) is No.CLOSED

    run(story())


def test_lock_down_is_written_kept_and_lifted(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            ticket = await gate.ticket(phone)
            told = await gate.ask(order(ticket, What.LOCK_DOWN, phone.next(), why=Why.THREAT))
            assert isinstance(told, orders.Obeyed)
            assert gate.commands.locked_down()
            entry = gate.log.entries(told.entry, 1)[0]
            assert entry.kind is Kind.COMMAND
            assert {name: entry.fields[name] for name in ("what", "on", "by", "why")} == {
                "what": "lock-down",
                "on": True,
                "by": "anna",
                "why": "threat",
            }
        async with standing(tmp_path) as gate:
            assert gate.commands.locked_down()
            phone.clock = gate.clock
            gate.clock.go(600)
            ticket = await gate.ticket(phone)
            assert isinstance(await gate.ask(order(ticket, What.LIFT, phone.next(), why=Why.OVER)), orders.Obeyed)
            assert not gate.commands.locked_down()

    run(story())


class Full:
    """A journal whose disk is full."""

    async def append(self, event: Event) -> Receipt:
        raise DeviceError("journal", "no space left")


def test_nothing_opens_when_the_order_cannot_be_written(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            ticket = await gate.ticket(phone)
            await gate.ask(order(ticket, What.LOCK_DOWN, phone.next()))
            full = Acts(gate.log, Full(), gate.clock, gate.doorway, lambda: True, gate.commands)
            gate.operators._do = full.do
            with pytest.raises(DeviceError):
                await gate.ask(order(ticket, What.LIFT, phone.next()))
            assert gate.commands.locked_down()  # opening is written first
            await gate.commands.close(False)
            visit = await gate.refusal()
            with pytest.raises(DeviceError):
                await gate.ask(order(ticket, What.OVERRIDE, phone.next(), visit=visit))
            full._journal = gate.journal  # a disk that hung may have written it: not a second time
            with pytest.raises(NotDoneError):
                await full.do(order(ticket, What.OVERRIDE, visit=visit), Operator("anna", Role.ADMIN, b"", b"", b""))
            assert not gate.doorway.receipts
            gate.operators._do = Acts(gate.log, Full(), gate.clock, gate.doorway, lambda: True, gate.commands).do
            with pytest.raises(DeviceError):
                await gate.ask(order(ticket, What.LOCK_DOWN, phone.next()))
            assert gate.commands.locked_down()  # closing is done first

    run(story())


def test_a_viewer_acts_on_nothing_and_only_an_admin_takes_the_log(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            for name, role in (("vi", Role.VIEWER), ("op", Role.OPERATOR), ("ad", Role.ADMIN)):
                phone = await gate.enrolled(name, role)
                ticket = await gate.ticket(phone, name)
                allowed = []
                for what in What:
                    visit = await gate.refusal()
                    if isinstance(await gate.ask(order(ticket, what, phone.next(), visit=visit)), orders.Obeyed):
                        allowed.append(what)
                assert (
                    allowed
                    == {
                        Role.VIEWER: [],
                        Role.OPERATOR: [What.OVERRIDE, What.LOCK_DOWN, What.LIFT],
                        Role.ADMIN: list(What),
                    }[role]
                )

    run(story())


def test_tries_in_vain_wait_and_are_written_down(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            for _ in range(TRIES):
                assert await gate.no(orders.LogIn("anna", "wrong password", (phone.next(),))) is No.WRONG
            assert gate.newest().fields == {"what": "tried-in-vain", "who": "anna", "count": TRIES}
            told = await gate.ask(orders.LogIn("anna", PASSWORD, (phone.code(),)))
            assert isinstance(told, Declined)
            assert told.no is No.WAIT
            assert 0 < told.wait_s <= WAIT_S
            gate.clock.go(told.wait_s + 30)
            assert await gate.ticket(phone)
            for name in ("a1", "b2", "c3", "d4", "e5"):  # names that nobody has share one place
                assert await gate.no(orders.LogIn(name, "x", ())) is No.WRONG
            assert gate.newest().fields == {"what": "tried-in-vain", "who": "", "count": TRIES}
            assert await gate.no(orders.LogIn("f6", "x", ())) is No.WAIT
            assert await gate.ticket(phone)  # and stop nobody else

    run(story())


def test_a_browser_that_was_there_before_waits_for_its_own_tries_only(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            other = await gate.enrolled("ben")
            first = await gate.ask(orders.LogIn("anna", PASSWORD, (phone.next(),)))
            bens = await gate.ask(orders.LogIn("ben", PASSWORD, (other.next(),)))
            assert isinstance(first, orders.LoggedIn)
            assert isinstance(bens, orders.LoggedIn)
            for _ in range(TRIES):
                assert await gate.no(orders.LogIn("anna", "wrong password", ("000000",))) is No.WRONG
            for browser in ("", "00" * 48, "not hex", "\u00e4", bens.browser, first.browser[2:]):
                assert await gate.no(orders.LogIn("anna", PASSWORD, (phone.code(1),), browser)) is No.WAIT
            again = await gate.ask(orders.LogIn("anna", PASSWORD, (phone.code(1),), first.browser))
            assert isinstance(again, orders.LoggedIn)
            for _ in range(TRIES):
                assert await gate.no(orders.LogIn("anna", "wrong password", ("000000",), first.browser)) is No.WRONG
            assert gate.newest().fields == {"what": "tried-in-vain", "who": "anna", "count": TRIES}
            assert await gate.no(orders.LogIn("anna", PASSWORD, (phone.code(1),), first.browser)) is No.WAIT

    run(story())


def test_a_wrong_code_is_not_told_from_a_wrong_password(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            told = [
                await gate.ask(orders.LogIn("anna", PASSWORD, ("000000",))),
                await gate.ask(orders.LogIn("anna", "wrong password", (phone.next(),))),
                await gate.ask(orders.LogIn("annb", PASSWORD, (phone.next(),))),
            ]
            assert told == [Declined(No.WRONG)] * 3

    run(story())


def test_a_ticket_ends_when_nobody_is_there_and_after_a_shift(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            ticket = await gate.ticket(phone)
            gate.clock.go(IDLE_S - 1)
            await gate.ask(orders.WhoIs(ticket, False))  # an open page is nobody
            gate.clock.go(2)
            assert await gate.no(orders.WhoIs(ticket, False)) is No.OVER
            ticket = await gate.ticket(phone)
            for _ in range(int(LONGEST_S / IDLE_S)):
                assert isinstance(await gate.ask(orders.WhoIs(ticket, True)), orders.Known)
                gate.clock.go(IDLE_S - 1)
            gate.clock.go(LONGEST_S % IDLE_S + 60)
            assert await gate.no(orders.WhoIs(ticket, True)) is No.OVER

    run(story())


def test_only_so_many_tickets_are_out(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            first = await gate.ticket(phone)
            for _ in range(TICKETS):
                gate.operators._tickets.give("anna")
            assert await gate.no(orders.WhoIs(first, True)) is No.OVER

    run(story())


def test_who_is_dismissed_is_out_at_once(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            ticket = await gate.ticket(phone)
            assert await gate.ask(orders.AskOperators()) == orders.Operators((("anna", "operator"),))
            assert isinstance(await gate.ask(orders.Dismiss("anna")), orders.Obeyed)
            assert gate.newest().fields == {"what": "dismissed", "who": "anna"}
            assert await gate.no(orders.WhoIs(ticket, True)) is No.OVER
            assert await gate.no(orders.LogIn("anna", PASSWORD, (phone.next(),))) is No.WRONG
            assert await gate.no(orders.Dismiss("anna")) is No.WRONG

    run(story())


def test_a_new_phone_ends_the_old_one(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            old = await gate.enrolled()
            ticket = await gate.ticket(old)
            new = await gate.enrolled()
            assert await gate.no(orders.WhoIs(ticket, True)) is No.OVER
            assert await gate.no(orders.LogIn("anna", PASSWORD, (old.next(),))) is No.WRONG
            assert await gate.ticket(new)

    run(story())


def test_without_the_time_two_codes_in_a_row_do_and_then_one(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            gate.clock.state = ClockState.FLOOR
            gate.operators._told.clear()  # as after a restart
            phone.ahead = timedelta(days=5)  # the gate's floor is five days old
            assert await gate.no(orders.LogIn("anna", PASSWORD, (phone.next(),))) is No.TWO_CODES
            first, second = phone.pair()
            assert await gate.no(orders.LogIn("anna", PASSWORD, (second, first))) is No.WRONG
            told = await gate.ask(orders.LogIn("anna", PASSWORD, (first, second)))
            assert isinstance(told, orders.LoggedIn)
            assert await gate.no(orders.LogIn("anna", PASSWORD, (first, second))) is No.WRONG
            known = await gate.ask(orders.WhoIs(told.ticket, True))
            assert isinstance(known, orders.Known)
            assert not known.two_codes  # its phone has told which half minute it is
            assert isinstance(await gate.ask(order(told.ticket, What.LOCK_DOWN, phone.next())), orders.Obeyed)

    run(story())


@pytest.fixture
def sockets(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "operators.sock", tmp_path / "console.sock"


async def asked(path: Path, message: wire.Message) -> wire.Message | None:
    """One question on a socket; None when the line is cut."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        await wire.send(writer, message)
        return await wire.receive(reader)
    except (EOFError, ConnectionError):
        return None
    finally:
        writer.close()


def test_the_console_is_heard_on_its_own_socket_only(tmp_path: Path, sockets: tuple[Path, Path], run: Run) -> None:
    async def story() -> None:
        pages, console = sockets
        async with standing(tmp_path) as gate:
            serving = asyncio.create_task(attend(pages, console, gate.operators))
            await wait_for(console)
            await asyncio.sleep(0.02)
            assert stat.S_IMODE(console.stat().st_mode) == 0o600
            for question in (orders.Invite("eve", Role.ADMIN), orders.Dismiss("anna"), orders.AskOperators()):
                assert await asked(pages, question) is None
            assert await asked(console, orders.LogIn("a", "b", ("c",))) is None
            assert isinstance(await asked(console, orders.Invite("anna", Role.ADMIN)), orders.Invited)
            assert await asked(console, orders.Invite("../anna", Role.ADMIN)) is None
            assert await asked(pages, orders.LogIn("a", "b", ("c",))) == Declined(No.WRONG)
            assert await asked(pages, wire.Done()) is None
            (tmp_path / "operators").write_text("nonsense", encoding="utf-8")
            gate.operators._operators = None
            told = await asked(pages, orders.LogIn("a", "b", ("c",)))
            assert isinstance(told, wire.Failed)
            assert told.device == "operators"
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    run(story())


def test_long_and_strange_bytes_end_the_line(tmp_path: Path, sockets: tuple[Path, Path], run: Run) -> None:
    async def story() -> None:
        pages, console = sockets
        async with standing(tmp_path) as gate:
            serving = asyncio.create_task(attend(pages, console, gate.operators))
            await wait_for(console)
            await asyncio.sleep(0.02)
            for sent in (b"\xff" * 8, b"\x00\x00\x20\x00" + b"a" * 8192, b"\x00\x00\x00\x02\xff\xff", b""):
                reader, writer = await asyncio.open_unix_connection(pages)
                writer.write(sent)
                writer.write_eof()
                assert await reader.read(10) == b""
                writer.close()
            long = orders.LogIn("a" * 5000, "b", ())
            assert await asked(pages, long) is None
            assert await asked(pages, orders.LogIn("a", "b", ())) == Declined(No.WRONG)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    run(story())


def test_entries_about_operators_hold_no_secret(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            ticket = await gate.ticket(phone)
            await gate.ask(order(ticket, What.LOCK_DOWN, phone.next()))
            told = json.dumps([dict(entry.fields) for entry in gate.log.entries(0, 100)], default=str)
            for secret in (PASSWORD, ticket, phone.secret.hex()):
                assert secret not in told

    run(story())


def test_a_refusal_that_the_policy_lets_stand_is_overruled_by_nobody(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        async with standing(tmp_path) as gate:
            phone = await gate.enrolled()
            ticket = await gate.ticket(phone)
            visit = await gate.refusal()
            asked: list[int] = []

            def stands(fields: Mapping[str, Value], age_s: int) -> Reason | None:
                asked.append(age_s)
                return Reason.UNREADABLE if fields["reason"] == "unreadable" else None

            parts = (gate.log, gate.journal, gate.clock, gate.doorway, lambda: True, gate.commands)
            gate.operators._do = Acts(*parts, stands=stands).do
            assert await gate.no(order(ticket, What.OVERRIDE, phone.next(), visit=visit)) is No.STANDS
            assert len(asked) == 1
            assert not gate.doorway.receipts
            assert gate.newest().kind is Kind.DENIED

    run(story())
