"""Every history that a passage can have, walked to the end: tables with doors, beams, timers and locks around them.

The model knows nothing of the tables. It knows what a lock, a timer and a contact are, lets every contact change at any
moment and every running timer end, and asks in each situation that can be reached whether the rules still hold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.passage import AT_REST, INTERLOCK, OPPOSITE, PLANS, TURNSTILE, Command, Event, Happening, Plan, Sensed, State
from edge.passage.words import Step, stands

_TIMERS = {Command.TIME_RELEASE: Happening.RELEASE_OVER, Command.TIME_HELD: Happening.HELD_OVER}
_PULSES = (Sensed.PORTION, Sensed.EXIT_REQUEST, Sensed.TAMPER)


@dataclass(frozen=True)
class Situation:
    """Where the passage is and how the world around it stands.

    Attributes:
        entry, exit: whether each lock is released.
        granted: whether a grant is on disk whose outcome is not.
        running: timers that will end.
        freed: whether the exit is released because of a fire, not of a grant.
    """

    state: State = State.LOCKED
    standing: frozenset[Sensed] = AT_REST
    entry: bool = False
    exit: bool = False
    granted: bool = False
    running: frozenset[Happening] = frozenset()
    freed: bool = False


def possible(plan: Plan, now: Situation) -> Iterator[Event]:
    """What may happen next."""
    for sensed in now.standing:
        yield OPPOSITE[sensed]
    yield from _PULSES
    yield from now.running
    yield Happening.STOP
    if not now.granted:
        yield Happening.GRANTED
    else:
        yield Happening.ALL_OUT
    if (State.LOCKED, Happening.DOOR_LEFT_OPEN) in plan.table and Sensed.DOOR_OPEN in now.standing:
        yield Happening.DOOR_LEFT_OPEN


def after(plan: Plan, now: Situation, event: Event) -> Situation:
    """The situation after an event, with every rule about single steps held against it."""
    standing = stands(now.standing, event) if isinstance(event, Sensed) else now.standing
    granted = now.granted or event is Happening.GRANTED
    running = now.running - {event} if isinstance(event, Happening) else now.running
    was = replace(now, standing=standing, granted=granted, running=running)
    return carried_out(plan, was, plan.follow(now.state, event, standing))


def carried_out(plan: Plan, now: Situation, to: Step) -> Situation:
    """The commands, one after the other, as the doorway carries them out."""
    for command in to.commands:
        match command:
            case Command.UNLOCK:
                assert now.granted, "the entry opens without a grant on disk"
                assert not now.exit, "both doors are released"
                now = replace(now, entry=True)
            case Command.UNLOCK_EXIT:
                assert now.granted, "the exit opens without a grant on disk"
                assert not now.entry, "both doors are released"
                assert Sensed.DOOR_CLOSED in now.standing, "the exit is released while the entry door stands open"
                now = replace(now, exit=True, freed=False)
            case Command.FREE_EXIT:
                assert Sensed.FIRE in now.standing, "the exit is freed without a fire"
                now = replace(now, exit=True, freed=True)
            case Command.LOCK:
                now = replace(now, entry=False)
            case Command.LOCK_EXIT:
                now = replace(now, exit=False, freed=False)
            case Command.TIME_RELEASE | Command.TIME_HELD:
                now = replace(now, running=now.running | {_TIMERS[command]})
            case Command.STOP_TIMERS:
                now = replace(now, running=frozenset())
            case Command.TAKEN | Command.NOT_TAKEN:
                assert now.granted, "an outcome without a grant"
                now = replace(now, granted=False)
            case _:
                pass
    return replace(now, state=to.state)


def holds(plan: Plan, now: Situation) -> None:
    """What must be so in every situation."""
    assert now.entry == (now.state in plan.unlocked)
    assert now.exit == (now.state in plan.exit_unlocked)
    assert now.granted == (now.state in plan.pending)
    assert not (now.entry and now.exit), "both doors are released"
    if now.entry or (now.exit and not now.freed):
        assert now.granted, "a lock is released for nobody"
        assert now.running, "a released lock has no timer that will drop it"
    if plan.name == INTERLOCK.name:
        if Sensed.FIRE in now.standing and now.state is not State.LOCKED:
            assert now.freed, "a fire, and the way out is not free"
        if now.exit and not now.freed:
            assert Sensed.DOOR_CLOSED in now.standing, "the exit is released while the entry door stands open"


def reached(plan: Plan) -> dict[Situation, tuple[Situation, Event] | None]:
    """Every situation that can come about, each with one way to it."""
    found: dict[Situation, tuple[Situation, Event] | None] = {Situation(): None}
    todo = deque([Situation()])
    while todo:
        now = todo.popleft()
        for event in possible(plan, now):
            then = after(plan, now, event)
            holds(plan, then)
            if then not in found:
                found[then] = (now, event)
                todo.append(then)
    return found


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_in_every_situation_that_can_come_about_the_rules_hold(plan: Plan) -> None:
    found = reached(plan)
    assert {now.state for now in found} == set(plan.states), "a state of the table that no history reaches"


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_from_every_situation_two_ends_of_timers_lock_the_gate(plan: Plan) -> None:
    for now in reached(plan):
        then = now
        for _ in range(2):
            if not (then.entry or (then.exit and not then.freed)):
                break
            then = after(plan, then, min(then.running, key=lambda end: end.value == "held-over"))
        assert not then.entry
        assert not then.exit or then.freed


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_from_every_situation_the_gate_comes_to_rest_when_everything_stands_as_it_should(plan: Plan) -> None:
    for now in reached(plan):
        then = now
        for _ in range(len(State)):
            amiss = sorted(then.standing - AT_REST, key=lambda sensed: sensed.value)
            if amiss:
                then = after(plan, then, OPPOSITE[amiss[0]])
            elif then.running:
                then = after(plan, then, min(then.running, key=lambda end: end.value))
        if then.state is State.PASSED or then.state in plan.alarmed:
            continue  # a missed edge: the next person, or whoever mends it, clears it
        assert then.state in plan.clear, now


def test_a_fire_frees_the_way_out_from_every_situation_and_until_it_is_over() -> None:
    for now in reached(INTERLOCK):
        if Sensed.FIRE in now.standing:
            continue
        then = after(INTERLOCK, now, Sensed.FIRE)
        assert then.freed
        for event in possible(INTERLOCK, then):
            if event not in (Sensed.FIRE_OVER, Happening.STOP):
                assert after(INTERLOCK, then, event).freed, event


FAULTS: dict[str, tuple[Plan, State, Event, Step]] = {
    "the exit opens while the entry door stands open": (
        INTERLOCK,
        State.INSIDE,
        Sensed.BEAM_1,
        Step(State.EXIT_RELEASED, (Command.TIME_RELEASE, Command.UNLOCK_EXIT)),
    ),
    "the exit stays released when the entry door opens": (
        INTERLOCK,
        State.EXIT_RELEASED,
        Sensed.DOOR_OPEN,
        Step(State.EXIT_RELEASED),
    ),
    "a beam opens the entry": (
        TURNSTILE,
        State.LOCKED,
        Sensed.BEAM_1,
        Step(State.ENTERED, (Command.TIME_RELEASE, Command.UNLOCK)),
    ),
    "nobody comes and it stays open": (TURNSTILE, State.RELEASED, Happening.RELEASE_OVER, Step(State.RELEASED)),
    "a fire is only reported": (
        INTERLOCK,
        State.EXIT_OPENED,
        Sensed.FIRE,
        Step(State.EXIT_OPENED, (Command.REPORT_FIRE,)),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_table_is_found(fault: str) -> None:
    plan, state, event, wrong = FAULTS[fault]
    with pytest.raises(AssertionError):
        reached(replace(plan, table={**plan.table, (state, event): wrong}))


@given(st.sampled_from(list(PLANS.values())), st.lists(st.integers(0, 30), max_size=60))
def test_over_any_history_the_lock_follows_the_state_and_is_bounded_by_timers(plan: Plan, choices: list[int]) -> None:
    now = Situation()
    for choice in choices:
        events = sorted(possible(plan, now), key=lambda event: event.value)
        now = after(plan, now, events[choice % len(events)])
        holds(plan, now)
