"""Commands from an operator: judged by the gate, each an entry, none twice, none opens unless the site wants it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edge.app.commands import Commands
from edge.app.passing import Passing
from edge.audit.entry import Event, Kind
from edge.demo.broker import OPERATOR, write_key
from edge.devices.clock import SystemClock
from edge.devices.follower import Follower
from edge.devices.journal import SqliteJournal
from edge.devices.simulated import SimulatedClock, SimulatedGate
from edge.doorway import Doorway
from edge.errors import DeviceError, Reason, Refusal
from edge.passage import State
from edge.ports import Receipt
from edge.settings import Clock, Gate
from edge.sync.batch import unpack
from edge.sync.commands import ask
from edge.sync.connection import Connection, Message
from edge.sync.sender import Pace, Sender, pinned
from edge.trust.cbor import decode
from edge.trust.charter import MAY, Charter, Operator
from edge.trust.commands import Command, heard, order
from edge.trust.cose import signer
from edge.trust.interval import ClockState, Interval
from edge.trust.keys import pinned as pinned_key
from edge.turn import Turn
from edge.wire import Carried
from edge.wire import decode as received

GATE, ORIGIN = "demo/lobby/gate-1", "urn:gate:demo:lobby:gate-1"
NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)
ANNA, EVE = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
CHARTER = Charter(
    operators=(
        Operator("anna", pinned_key(ANNA.public_key()), frozenset(MAY)),
        Operator("watch", pinned_key(EVE.public_key()), frozenset({"lock-down"})),
    )
)
HERE = Interval.exactly(NOW)


def command(
    what: str = "reload",
    count: int = 1,
    *,
    by: Any = ANNA,
    gate: str = ORIGIN,
    begins: timedelta = -MINUTE,
    lasts: timedelta = 5 * MINUTE,
    **arguments: int,
) -> bytes:
    return order(what, gate, count, (NOW + begins, NOW + begins + lasts), signer(by), arguments)


def fresh(what: str, count: int, **arguments: int) -> bytes:
    """A command of this moment, for a gate with a clock."""
    now = datetime.now(UTC).replace(microsecond=0)
    return order(what, ORIGIN, count, (now - MINUTE, now + 4 * MINUTE), signer(ANNA), arguments)


def refused(data: bytes, now: Interval = HERE, **counts: int) -> Reason:
    with pytest.raises(Refusal) as caught:
        heard(data, CHARTER, ORIGIN, counts, now)
    return caught.value.reason


def test_a_good_command_is_heard() -> None:
    found = heard(command("fetch-log", 7, first=3, entries=2), CHARTER, ORIGIN, {"anna": 6}, HERE)
    assert isinstance(found, Command)
    assert (found.what, found.by, found.count, found.arguments) == ("fetch-log", "anna", 7, {"first": 3, "entries": 2})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (command(by=ec.generate_private_key(ec.SECP256R1())), Reason.BAD_SIGNATURE),
        (command("unlock", by=EVE), Reason.BAD_SIGNATURE),
        (command("open-sesame"), Reason.BAD_SIGNATURE),
        (command(gate="urn:gate:demo:lobby:gate-2"), Reason.WRONG_AUDIENCE),
        (command(begins=-10 * MINUTE), Reason.EXPIRED),
        (command(begins=5 * MINUTE), Reason.NOT_YET_VALID),
        (command(lasts=11 * MINUTE), Reason.BAD_CLAIM),
        (command(count=4), Reason.BAD_CLAIM),
        (command(count=5), Reason.BAD_CLAIM),
        (b"", Reason.UNREADABLE),
        (bytes(5000), Reason.TOO_LARGE),
        (command(count=9)[:-1], Reason.UNREADABLE),
    ],
)
def test_d17_every_other_command_is_refused(data: bytes, reason: Reason) -> None:
    assert refused(data, anna=5) is reason


def test_a_gate_that_cannot_tell_the_time_closes_but_does_not_open() -> None:
    floor = Interval(NOW - timedelta(days=3), None, ClockState.FLOOR)
    assert refused(command("unlock"), floor) is Reason.TIME_UNSURE
    assert heard(command("lock-down"), CHARTER, ORIGIN, {}, floor).what == "lock-down"


class Doors:
    """A doorway that only notes who was let through."""

    def __init__(self) -> None:
        self.state = State.LOCKED
        self.opened: list[int] = []

    async def let_through(self, receipt: Receipt) -> Kind:
        self.opened.append(receipt.index)
        return Kind.TAKEN


class House:
    """A journal, a follower and the commands of one gate."""

    def __init__(self, folder: Path, doors: Doors | None = None) -> None:
        clock = SystemClock(Clock("system", 2.0), folder / "floor")
        self.journal = SqliteJournal.open(folder / "journal.db", ORIGIN, GATE, clock)
        self.log = Follower(folder / "journal.db", 0.02)
        self.turn = Turn()
        kept = folder / "commands"
        self.commands = Commands(ORIGIN, lambda: CHARTER, self.journal, clock, doors, kept, turn=self.turn)

    def entries(self) -> list[tuple[str, str]]:
        found = [entry for entry in self.log.entries(0, self.log.size()) if entry.kind is Kind.COMMAND]
        return [(str(entry.fields.get("what")), str(entry.fields["outcome"])) for entry in found]

    async def close(self) -> None:
        self.log.close()
        self.journal.close()


def lived(folder: Path, story: Callable[[House], Coroutine[Any, Any, None]], doors: Doors | None = None) -> None:
    async def whole() -> None:
        house = House(folder, doors)
        try:
            await story(house)
        finally:
            await house.close()

    asyncio.run(whole())


def test_each_command_is_an_entry_and_none_is_obeyed_twice(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await house.commands.hear(fresh("lock-down", 1, on=1))
        assert house.commands.locked_down()
        await house.commands.hear(fresh("lock-down", 1, on=1))
        await house.commands.hear(b"noise")
        assert house.entries() == [("lock-down", "obeyed"), ("None", "refused"), ("None", "refused")]

    lived(tmp_path, story)

    async def after_a_restart(house: House) -> None:
        assert house.commands.locked_down()
        await house.commands.hear(fresh("lock-down", 1, on=0))
        assert house.commands.locked_down()
        await house.commands.hear(fresh("lock-down", 2, on=0))
        assert not house.commands.locked_down()

    lived(tmp_path, after_a_restart)


def test_remote_unlock_is_off_unless_the_site_turns_it_on(tmp_path: Path) -> None:
    async def off(house: House) -> None:
        await house.commands.hear(fresh("unlock", 1))
        assert house.entries() == [("unlock", "refused")]

    (tmp_path / "off").mkdir()
    lived(tmp_path / "off", off)
    doors = Doors()

    async def on(house: House) -> None:
        await house.commands.hear(fresh("unlock", 1))
        while not doors.opened:  # noqa: ASYNC110 -- a doorway that only notes
            await asyncio.sleep(0.01)
        assert len(doors.opened) == 1
        await house.commands.hear(fresh("unlock", 1))
        doors.state = State.FORCED
        await house.commands.hear(fresh("unlock", 2))
        await house.commands.hear(fresh("lock-down", 3))
        doors.state = State.LOCKED
        await house.commands.hear(fresh("unlock", 4))
        await asyncio.sleep(0.05)
        assert len(doors.opened) == 1
        assert house.entries()[0] == ("unlock", "obeyed")

    (tmp_path / "on").mkdir()
    lived(tmp_path / "on", on, doors)


def test_a_remote_unlock_opens_for_nobody_who_is_looked_at_and_nobody_is_looked_at_meanwhile(tmp_path: Path) -> None:
    doors, gone = Doors(), asyncio.Event()
    note = doors.let_through

    async def goes_through(receipt: Receipt) -> Kind:
        outcome = await note(receipt)
        await gone.wait()
        return outcome

    doors.let_through = goes_through  # type: ignore[method-assign] # somebody who takes their time

    async def story(house: House) -> None:
        async with house.turn:  # somebody at the camera was just told to look
            await house.commands.hear(fresh("unlock", 1))
        assert house.entries() == [("unlock", "refused")]
        await house.commands.hear(fresh("unlock", 2))
        assert house.turn.taken
        await house.commands.hear(fresh("unlock", 3))
        gone.set()
        async with asyncio.timeout(60), house.turn:  # the next person at the camera
            assert len(doors.opened) == 1
        assert house.entries() == [("unlock", "refused"), ("unlock", "obeyed"), ("unlock", "refused")]

    lived(tmp_path, story, doors)


def test_an_unlock_that_cannot_be_written_keeps_nobody_waiting(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        async def full(event: Event) -> Receipt:
            raise DeviceError("journal", "no space left")

        house.journal.append = full  # type: ignore[method-assign] # a disk that is full
        await house.commands.hear(fresh("unlock", 1))
        assert not house.turn.taken

    lived(tmp_path, story, Doors())


def test_an_unlock_whose_lock_fails_has_its_outcome_in_the_log_and_ends_the_process(tmp_path: Path, pins: Gate) -> None:
    async def story(house: House) -> None:
        gate = SimulatedGate(pins)

        def fails(receipt: Receipt) -> None:
            raise DeviceError("gate", f"GPIO: no answer at entry {receipt.index}")

        gate.unlock = fails  # type: ignore[method-assign] # a relay that fails
        clock = SimulatedClock()
        door = Doorway(gate, gate, gate, house.journal, clock, release_s=60, held_s=1)
        commands = Commands(ORIGIN, lambda: CHARTER, house.journal, clock, door, tmp_path / "counts")
        clock.moment = datetime.now(UTC)
        running = asyncio.ensure_future(door.run())
        await commands.hear(fresh("unlock", 1))
        with pytest.raises(ExceptionGroup) as failed:
            await asyncio.wait_for(running, 60)
        assert failed.group_contains(DeviceError, match="no answer at entry 0")
        end = time.monotonic() + 60
        while (last := house.log.entries(0, house.log.size())[-1]).kind is not Kind.NOT_TAKEN:
            assert time.monotonic() < end, last.kind
            await asyncio.sleep(0.01)
        assert last.fields == {"command": 0}
        gate.close()

    lived(tmp_path, story)


def test_a_flood_is_bounded(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for _ in range(50):
            await house.commands.hear(b"flood")
        assert len(house.entries()) == 20
        await house.commands.hear(fresh("lock-down", 1, on=1))
        assert house.commands.locked_down(), "noise dropped a lock-down"
        for count in range(2, 60):
            await house.commands.hear(fresh("fetch-log", count, first=0, entries=1))
        assert len(house.entries()) == 40

    lived(tmp_path, story)


def by_hand(site: Any, folder: Path) -> subprocess.CompletedProcess[str]:
    """What an operator types."""
    key, identity = folder / "anna.pem", site.broker.identities[OPERATOR]
    write_key(key, ANNA)
    words = ["trust", "command", "fetch-log", GATE, "--key", key, "--first", 0, "--entries", 2]
    words += ["--host", site.broker.host, "--port", site.broker.port, "--ca", site.broker.ca]
    words += ["--certificate", identity.certificate, "--client-key", identity.key]
    command = [sys.executable, "-m", "edge", *map(str, words)]
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)


def test_from_the_operator_to_the_gate_and_back_over_the_broker(site: Any, tmp_path: Path) -> None:
    """The whole way: broker, sender, datagram, gate, log, answer; a retained and a replayed one do nothing."""
    ear = tmp_path / "ear"

    async def listens(house: House) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard_at:
            heard_at.setblocking(False)
            heard_at.bind(str(ear))
            while True:
                message = received(await asyncio.get_running_loop().sock_recv(heard_at, 8192))
                assert isinstance(message, Carried)
                await house.commands.hear(message.signed)

    async def story(house: House) -> None:
        for _ in range(5):
            await house.journal.append(Event(Kind.GRANTED, {"score": 1}))
        passing = Passing(ear, Follower(tmp_path / "journal.db", 0.02), ORIGIN)
        parts = [asyncio.ensure_future(listens(house)), asyncio.ensure_future(passing.run())]
        log, pace = site.log(GATE, 1), Pace(connect_s=0.05, connect_most_s=0.4)
        sender = Sender(
            site.address(GATE),
            site.link(GATE),
            pinned(site.broker.collector_key),
            log,
            log,
            tmp_path / "sync.db",
            pace=pace,
            commands=passing,
        )
        sender.start()
        while sender.condition() != "no collector listens":  # noqa: ASYNC110 -- a thread tells it: connected
            await asyncio.sleep(0.01)
        link, address = site.link(OPERATOR), site.address(GATE)
        wanted = fresh("fetch-log", 1, first=1, entries=3)
        answer = decode(await asyncio.to_thread(ask, link, OPERATOR, address, wanted, 60.0))
        assert answer["outcome"] == "obeyed"
        assert list(unpack(answer["log"]).entries) == house.log.read(1, 3)
        again = decode(await asyncio.to_thread(ask, link, OPERATOR, address, wanted, 60.0))
        assert again["outcome"] == "refused"
        said = await asyncio.to_thread(by_hand, site, tmp_path)
        assert said.returncode == 0, said.stderr
        assert said.stdout.startswith("obeyed: entry ")
        assert "GRANTED" in said.stdout
        retained = Connection(link, OPERATOR)
        retained.open()
        retained.publish(Message(address.topic("cmd"), fresh("lock-down", 9), retain=True))
        deadline = time.monotonic() + 60
        while not sender.ignored and time.monotonic() < deadline:
            retained.turn(0.05)
        retained.publish(Message(address.topic("cmd"), b"", retain=True))
        while retained.in_flight:
            retained.turn(0.05)
        retained.close()
        assert not house.commands.locked_down()
        assert house.entries() == [("fetch-log", "obeyed"), ("None", "refused"), ("fetch-log", "obeyed")]
        await asyncio.to_thread(sender.stop)
        for part in parts:
            part.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await part

    lived(tmp_path, story)


def test_a_lock_down_is_not_lifted_by_what_is_not_on_disk(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await house.commands.hear(fresh("lock-down", 1, on=1))

        async def full(event: Event) -> Receipt:
            raise DeviceError("journal", "no space")

        house.journal.append = full  # type: ignore[method-assign] # the disk is full
        await house.commands.hear(fresh("lock-down", 2, on=0))
        assert house.commands.locked_down()

    lived(tmp_path, story)
