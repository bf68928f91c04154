"""The gates of a site through clocks days apart, the turn of a month, restarts, lost logs, statements played again."""

from __future__ import annotations

import asyncio
import hmac
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge.app.telling import SiteTelling
from edge.audit.entry import Entry, Event, Kind, Quality
from edge.benefit import Benefit, Entitlements
from edge.devices.dispenser import Uncounted
from edge.devices.heard import HeardFile
from edge.devices.simulated import SimulatedClock, SimulatedJournal
from edge.errors import Reason
from edge.policy.checks import not_inside, room_left
from edge.policy.ledger import Ledger, LedgerKey
from edge.policy.presence import Presence, passes
from edge.policy.rules import Passback, Rules, Zone
from edge.ports import Receipt
from edge.premises import Place, Premises
from edge.trust.cycles import Cycle
from edge.trust.interval import ClockState, Interval

SITE_KEY = b"site key of thirty-two bytes ...."
RESET_H = 12.0
RULES = Rules(
    zones=(Zone("inside", capacity=3), Zone("outside")),
    passback=Passback("hard", RESET_H, again_s=5, silent_s=60, alone="refer"),
)
NEARLY_NOVEMBER = datetime(2026, 10, 31, 20, tzinfo=UTC)
CYCLE = Cycle("rice", "2026-11", 1, 1, datetime(2027, 1, 31, tzinfo=UTC))
PEOPLE = (b"anna", b"ben", b"cho", b"dan", b"eva")
WAYS = {"north": "inside", "east": "inside", "south": "outside"}
BEHIND_S = st.sampled_from([0, 3, 3600, 5 * 3600, 30 * 3600, 50 * 86_400])


def pseudonym(person: bytes, at: Interval) -> bytes:
    """Another one every month, as ``decision.pseudonym`` makes them."""
    return hmac.digest(SITE_KEY, at.lower.strftime("%Y-%m").encode() + person, "sha256")[:16]


class Dispenser:
    """Gives one portion to whoever stands there."""

    dispensed = 1
    alarmed = False

    async def let_through(self, receipt: Receipt, *, longer_s: float = 0.0, portions: int = 1) -> Kind:
        return Kind.TAKEN


@dataclass
class Keyring:
    """A key that nobody has to forget here; it survives what the log does not."""

    key: LedgerKey = field(default_factory=lambda: LedgerKey(1, bytes(32)))
    opened: int = 0

    def open(self, number: int) -> None:
        self.opened = number

    def forget(self, disputed: Mapping[int, datetime], now_at_least: datetime) -> bool:
        return False


class Log(SimulatedJournal):
    """A log of which it is known when it was written."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self._clock = clock

    def written(self, event: Event) -> Receipt:
        receipt = super().written(event)
        at_ms, index = int(self._clock.moment.timestamp() * 1000), receipt.index
        self.entries.append(Entry(index, 1, at_ms, Quality.SYNCED, 0, 1, event.kind, "g", event.fields, event.subject))
        return receipt


class Gate:
    """One gate: what it has on disk, and what of that a restart brings back."""

    def __init__(self, folder: Path, name: str, behind_s: int) -> None:
        self.name, self.into, self._folder = name, WAYS[name], folder
        self.clock = SimulatedClock(NEARLY_NOVEMBER - timedelta(seconds=behind_s))
        self.clock.state = ClockState.FLOOR
        self.keyring = Keyring()
        self.log = Log(self.clock)
        self.set_right_at = float("-inf")
        self._begin()

    def _begin(self) -> None:
        self.heard = HeardFile(self._folder / f"{self.name}.db")
        told, marks = self.heard.read()
        self.telling = SiteTelling(SITE_KEY, f"urn:gate:demo:lobby:{self.name}", Path("/nowhere"), self.clock)
        benefit = Benefit(self.log, Uncounted(), Dispenser(), lambda: Ledger(self.log.entries))
        self.counter = Entitlements(benefit, self.keyring, lambda: CYCLE, marks, self.heard.note_marks)
        self.premises = self.telling.premises = Premises(
            RULES,
            self.clock.monotonic,
            Place(self.into),
            presence=Presence(passes(self.log.entries), told),
            counter=self.counter,
            silent_s=self.telling.silent_s,
            keep=self.heard.note_passes,
        )
        self.premises.steady(self.clock.now())

    def restart(self, *, losing_the_log: bool = False) -> None:
        self.heard.close()
        if losing_the_log:
            self.log = Log(self.clock)
            self.log.written(Event(Kind.EPOCH_OPEN, {"why": "the log is missing"}))
        self._begin()

    def asked(self, person: bytes) -> tuple[Reason | None, int | None]:
        """What the gate would say about passing twice, and how many it takes to be inside."""
        now = self.clock.now()
        names = self.premises.names(lambda at: pseudonym(person, at), now)
        facts = asyncio.run(self.premises.facts(None, names, now))
        return not_inside(RULES, facts), facts.inside if room_left(RULES, facts) is None else 3

    def goes(self, person: bytes) -> None:
        """Somebody who was found good goes through."""
        now = self.clock.now()
        self.asked(person)
        subject, told = pseudonym(person, now), {"zone": self.into}
        grant = self.log.written(Event(Kind.GRANTED, {"facts": {**told}}, subject=subject))
        self.log.written(Event(Kind.TAKEN, {"visit": grant.index}))
        self.premises.passed(subject, now)

    def benefit(self, person: bytes) -> str:
        due = asyncio.run(self.counter.due(person))
        assert due is not None
        return due.benefit

    def hands_out(self, person: bytes) -> None:
        async def handing() -> None:
            due = await self.counter.due(person)
            assert due is not None
            await self.counter.hand_out(await self.log.append(Event(Kind.GRANTED)), due)

        asyncio.run(handing())

    def keep(self) -> None:
        asyncio.run(self.heard.keep(*self.premises.to_keep(self.clock.now())))


class Lobby(RuleBasedStateMachine):
    """What really happened, and what the gates take for it."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.gates: dict[str, Gate] = {}
        self.inside: dict[bytes, float] = {}
        self.received: set[bytes] = set()
        self.recorded: list[bytes] = []
        self.now_s = 0.0

    @initialize(behind=st.tuples(BEHIND_S, BEHIND_S, BEHIND_S))
    def begin(self, behind: tuple[int, ...]) -> None:
        for name, behind_s in zip(WAYS, behind, strict=True):
            self.gates[name] = Gate(Path(self.place.name), name, behind_s)
        self.speak()

    def teardown(self) -> None:
        for gate in self.gates.values():
            gate.heard.close()
        self.place.cleanup()

    def go(self, seconds: float) -> None:
        self.now_s += seconds
        for gate in self.gates.values():
            gate.clock.go(seconds)

    def speak(self) -> None:
        """Everybody speaks three times, and what was told gets onto disk."""
        for _ in range(3):
            for gate in self.gates.values():
                self.say(gate)
            self.go(2.0)
        for gate in self.gates.values():
            gate.keep()

    def say(self, gate: Gate) -> None:
        said = gate.telling.next(gate.premises)
        self.recorded = [*self.recorded, said][-40:]
        for other in self.gates.values():
            other.telling.hear(said)

    def counts(self, person: bytes) -> bool | None:
        """Whether somebody is inside and counts; None when that is about to end."""
        left_s = RESET_H * 3600 - (self.now_s - self.inside.get(person, float("-inf")))
        return None if abs(left_s) < 120 else left_s > 0

    @rule(person=st.sampled_from(PEOPLE), name=st.sampled_from(["north", "east"]))
    def somebody_comes(self, person: bytes, name: str) -> None:
        if self.counts(person) is False and sum(self.counts(each) is not False for each in PEOPLE) < 3:
            self.go(6.0)
            self.gates[name].goes(person)
            self.inside[person] = self.now_s
            self.speak()

    @rule(person=st.sampled_from(PEOPLE))
    def somebody_leaves(self, person: bytes) -> None:
        if person in self.inside:
            self.go(6.0)
            self.gates["south"].goes(person)
            del self.inside[person]
            self.speak()

    @rule(person=st.sampled_from(PEOPLE), name=st.sampled_from([*WAYS]))
    def somebody_receives(self, person: bytes, name: str) -> None:
        if self.gates[name].benefit(person) == "free":
            assert person not in self.received
            self.gates[name].hands_out(person)
            self.received.add(person)
            self.speak()

    @rule(seconds=st.sampled_from([5.0, 300.0, 5 * 3600.0, 13 * 3600.0]))
    def time_passes(self, seconds: float) -> None:
        self.go(seconds)
        self.speak()

    @rule(name=st.sampled_from([*WAYS]), hours=st.sampled_from([2, 20, 24 * 50]))
    def a_clock_is_set_right(self, name: str, hours: int) -> None:
        gate = self.gates[name]
        gate.clock.raise_floor(gate.clock.moment + timedelta(hours=hours))
        gate.set_right_at = self.now_s
        self.speak()

    @rule(name=st.sampled_from([*WAYS]), lost=st.booleans(), played=st.lists(st.integers(0, 39), max_size=10))
    def a_gate_starts_again(self, name: str, lost: bool, played: list[int]) -> None:
        gate = self.gates[name]
        if self.now_s - gate.set_right_at < 2 * RESET_H * 3600:
            return  # passes before that are older by the clock that it starts with
        gate.restart(losing_the_log=lost)
        assert all(gate.benefit(person) != "free" for person in self.received), "before anybody tells it again"
        if not lost and len({each.clock.moment.month for each in self.gates.values()}) == 1:  # else it has to hear them
            self.nobody_is_taken_for_somewhere_else(gate, alone=True)
        gate.telling.next(gate.premises)  # nobody hears it
        for at in played:
            gate.telling.hear(self.recorded[at % len(self.recorded)])
        assert gate.telling.silent_s() is None, "what was recorded is no sign of life"
        self.speak()

    @rule(name=st.sampled_from([*WAYS]), played=st.lists(st.integers(0, 39), min_size=1, max_size=10))
    def old_statements_are_played_to_a_gate_that_is_cut_off(self, name: str, played: list[int]) -> None:
        gate, recorded = self.gates[name], list(self.recorded)
        self.go(61.0)
        for at in played:
            gate.telling.next(gate.premises)
            gate.telling.hear(recorded[at % len(recorded)])
        silent_s = gate.telling.silent_s()
        assert silent_s is None or silent_s > 60.0
        assert gate.asked(PEOPLE[0])[0] is not None
        self.speak()

    def nobody_is_taken_for_somewhere_else(self, gate: Gate, *, alone: bool) -> None:
        known = {person: self.counts(person) for person in PEOPLE}
        if gate.into != "inside" or None in known.values():
            return
        for person, counts in known.items():
            reason, inside = gate.asked(person)
            assert inside == sum(map(bool, known.values())), "everybody once, and nobody who left"
            assert reason is (Reason.PASSED_BEFORE if counts else Reason.REFERRED if alone else None)

    @invariant()
    def all_gates_know_who_is_inside_and_who_received(self) -> None:
        for gate in self.gates.values():
            self.nobody_is_taken_for_somewhere_else(gate, alone=False)
            assert all(gate.benefit(person) != "free" for person in self.received)


def test_a_gate_in_another_month_knows_its_neighbours_names_of_before_the_turn() -> None:
    lobby = Lobby()
    lobby.begin(behind=(0, 50 * 86_400, 0))
    lobby.somebody_comes(person=b"anna", name="north")
    lobby.time_passes(seconds=5 * 3600.0)
    lobby.a_gate_starts_again(name="east", lost=False, played=[])
    lobby.all_gates_know_who_is_inside_and_who_received()
    lobby.somebody_leaves(person=b"anna")
    lobby.all_gates_know_who_is_inside_and_who_received()
    lobby.teardown()


def test_a_gate_that_starts_again_is_told_every_month_that_a_neighbours_clock_was_in() -> None:
    lobby = Lobby()
    lobby.begin(behind=(0, 3, 108_000))
    lobby.a_clock_is_set_right(name="north", hours=1200)
    lobby.somebody_comes(person=b"ben", name="north")
    lobby.a_clock_is_set_right(name="north", hours=1200)
    lobby.a_gate_starts_again(name="east", lost=False, played=[])
    lobby.all_gates_know_who_is_inside_and_who_received()
    lobby.teardown()


@pytest.mark.parametrize("hours", [2, 20, 24 * 50])
def test_a_clock_that_is_set_right_lets_nobody_in_twice(hours: int) -> None:
    lobby = Lobby()
    lobby.begin(behind=(0, 0, 0))
    lobby.somebody_comes(person=b"anna", name="north")
    for name in WAYS:
        lobby.a_clock_is_set_right(name=name, hours=hours)
        lobby.all_gates_know_who_is_inside_and_who_received()
    lobby.somebody_leaves(person=b"anna")
    lobby.all_gates_know_who_is_inside_and_who_received()
    lobby.teardown()


def test_a_clock_that_is_set_right_by_months_twice_in_a_day_is_no_way_in_either() -> None:
    lobby = Lobby()
    lobby.begin(behind=(0, 0, 0))
    for person in (b"anna", b"ben"):
        lobby.somebody_comes(person=person, name="north")
        lobby.a_clock_is_set_right(name="north", hours=24 * 50)
        lobby.all_gates_know_who_is_inside_and_who_received()
    lobby.teardown()


def test_who_was_inside_before_a_restart_is_so_when_the_clock_is_set_right_after_it(tmp_path: Path) -> None:
    gate = Gate(tmp_path, "north", 0)
    gate.goes(b"anna")
    gate.restart()
    gate.clock.raise_floor(gate.clock.moment + timedelta(days=50))
    assert gate.asked(b"anna") == (Reason.PASSED_BEFORE, 1)
    gate.heard.close()


@pytest.mark.parametrize("first", [ClockState.FLOOR, ClockState.SYNCED])
def test_after_a_night_switched_off_who_was_inside_is_so_no_longer_once_the_clock_is_right(
    tmp_path: Path, first: ClockState
) -> None:
    gate = Gate(tmp_path, "north", 0)
    gate.goes(b"anna")
    gate.clock.go(600)
    gate.clock.state = first
    gate.restart()
    assert gate.asked(b"anna") == (Reason.PASSED_BEFORE, 1), "nobody knows how long it was off"
    gate.clock.go(60)
    gate.goes(b"ben")
    gate.clock.state = ClockState.HELD
    gate.clock.go(60)
    assert gate.asked(b"anna") == (Reason.PASSED_BEFORE, 2)
    gate.clock.moment += timedelta(hours=14)
    gate.clock.state = ClockState.SYNCED
    assert gate.asked(b"anna") == (Reason.REFERRED, 1), "alone, and not inside"
    assert gate.asked(b"ben") == (Reason.PASSED_BEFORE, 1), "two minutes by the stopwatch"
    gate.clock.go(RESET_H * 3600 - 200)
    assert gate.asked(b"ben") == (Reason.PASSED_BEFORE, 1)
    gate.clock.go(200)
    assert gate.asked(b"ben") == (Reason.REFERRED, 0)
    gate.heard.close()


def test_a_visit_that_takes_its_time_moves_nobody_s_pass(tmp_path: Path) -> None:
    gate = Gate(tmp_path, "north", 0)
    gate.clock.state = ClockState.SYNCED
    gate.goes(b"anna")
    gate.restart()
    before = gate.premises.presence.known()
    began = gate.clock.now()
    gate.clock.go(90)
    gate.premises.passed(pseudonym(b"ben", began), began)
    assert [each.at_s for each in gate.premises.presence.known()[:1]] == [each.at_s for each in before]
    gate.heard.close()


class LongLobby(Lobby):
    """The same for longer."""


QUICK = [Phase.explicit, Phase.reuse, Phase.generate]  # making a failing story shorter takes minutes
TestLobby = Lobby.TestCase
TestLobby.settings = settings(max_examples=20, stateful_step_count=20, phases=QUICK)
TestManyDays = pytest.mark.slow(LongLobby.TestCase)
TestManyDays.settings = settings(max_examples=500, stateful_step_count=40, phases=QUICK)
