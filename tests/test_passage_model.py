"""Every history that a passage can have, walked to the end: tables with doors, beams, timers and locks around them.

The model knows nothing of the tables. It knows what a lock, a timer and a contact are, lets every contact change at any
moment and every running timer end, and asks in each situation that can be reached whether the rules still hold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.passage import (
    AT_REST,
    DISPENSER,
    INTERLOCK,
    OPPOSITE,
    PLANS,
    TURNSTILE,
    Command,
    Event,
    Happening,
    Plan,
    Sensed,
    State,
)
from edge.passage.words import Step, stands

_TIMERS = {
    Command.TIME_RELEASE: Happening.RELEASE_OVER,
    Command.TIME_HELD: Happening.HELD_OVER,
    Command.TIME_ALARM: Happening.ALARM_OVER,
}
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
            case Command.TIME_RELEASE | Command.TIME_HELD | Command.TIME_ALARM:
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
    if now.state not in plan.clear | plan.alarmed:
        assert now.running, "whoever stands there, nobody hears of it and nobody else can come"
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


def test_an_exit_that_falls_shut_again_and_again_holds_nobody_longer() -> None:
    exits_end(INTERLOCK)


def exits_end(plan: Plan) -> None:
    """The held time begins when the exit opens first; opening and closing it begins it no second time."""
    for now in reached(plan):
        if now.state not in (State.EXIT_OPENED, State.EXIT_AGAIN):
            continue
        assert Happening.HELD_OVER in now.running, f"{now.state.value}: without end"
        for event in set(possible(plan, now)) - {Happening.STOP}:
            to = plan.follow(now.state, event, now.standing)
            again = to.state in plan.pending and Command.TIME_HELD in to.commands
            assert not again, f"{now.state.value}, {event.value}: begins anew"


def test_a_portion_is_never_unseen() -> None:
    portions_are_seen(DISPENSER)


def portions_are_seen(plan: Plan) -> None:
    """Counted while a visit waits for them, reported in every other situation."""
    for now in reached(plan):
        to = plan.follow(now.state, Sensed.PORTION, now.standing)
        if now.state in plan.pending:
            assert to.state in plan.pending, f"{now.state.value}: nobody counts it any more"
        else:
            assert Command.REPORT_PORTION in to.commands, f"{now.state.value}: nobody hears of it"


def test_no_visit_to_a_dispenser_is_over_while_something_may_still_fall() -> None:
    visits_are_waited_for(DISPENSER)


def visits_are_waited_for(plan: Plan) -> None:
    """Not taken is what it was when nothing is stuck and the held time after that is over, and never before."""
    for now in reached(plan):
        if now.state not in plan.pending:
            continue
        well = {Sensed.FAULT_OVER, Sensed.DOOR_CLOSED} <= now.standing
        assert now.entry or well == (Happening.HELD_OVER in now.running), f"{now.state.value}: counts too early"
        assert well or now.state in plan.alarmed, f"{now.state.value}: nobody mends it"
        for event in set(possible(plan, now)) - {Happening.STOP}:
            to = plan.follow(now.state, event, now.standing)
            over = well and event is Happening.HELD_OVER
            assert over or Command.NOT_TAKEN not in to.commands, f"{now.state.value}, {event.value}: too early"


def test_the_alarm_of_a_lane_ends_only_when_both_beams_are_clear_and_that_of_a_door_when_it_is_closed() -> None:
    alarms_are_mended(TURNSTILE)


def alarms_are_mended(plan: Plan) -> None:
    """Where an alarm ends, and what has to stand how at that moment."""
    for now in reached(plan):
        if now.state not in plan.alarmed:
            continue
        for event in set(possible(plan, now)) - {Happening.STOP}:
            then = after(plan, now, event)
            if then.state in plan.alarmed:
                continue
            if now.state is State.DOOR_FORCED:
                assert event is Sensed.DOOR_CLOSED
            else:
                assert event is Happening.ALARM_OVER, event
                assert {Sensed.BEAM_1_CLEAR, Sensed.BEAM_2_CLEAR} <= then.standing


def test_the_second_beam_blinds_nobody() -> None:
    second_beam_is_minded(TURNSTILE)


def second_beam_is_minded(plan: Plan) -> None:
    """Nothing is released while it is broken, and one that stays broken is an alarm when the timers have run out."""
    for now in reached(plan):
        if Sensed.BEAM_2_CLEAR in now.standing:
            continue
        assert not now.entry, f"{now.state.value}: released behind a broken beam"
        then = now
        for _ in range(3):
            if then.running and then.state not in plan.alarmed:
                then = after(plan, then, min(then.running, key=lambda end: end.value))
        assert then.state in plan.alarmed, f"{now.state.value}: nobody hears of it"


def test_a_grant_is_over_before_its_time_only_when_somebody_comes_the_other_way() -> None:
    grants_last(TURNSTILE)


def grants_last(plan: Plan) -> None:
    """Who was granted keeps it as long as the release lasts; who broke the first beam is taken by the second."""
    for now in reached(plan):
        if now.state not in plan.pending:
            continue
        for event in set(possible(plan, now)) - {Happening.STOP, Happening.RELEASE_OVER}:
            to = plan.follow(now.state, event, now.standing)
            if event is Sensed.BEAM_2:
                outcome = Command.NOT_TAKEN if now.state is State.RELEASED else Command.TAKEN
                assert outcome in to.commands, f"{now.state.value}: whose passage is it"
            elif Happening.RELEASE_OVER in now.running:
                assert Command.NOT_TAKEN not in to.commands, f"{now.state.value}, {event.value}: too early"


def test_whoever_stands_in_the_entry_beam_when_an_alarm_or_a_passage_ends_is_not_taken_for_leaving() -> None:
    for now in reached(TURNSTILE):
        for event in set(possible(TURNSTILE, now)) - {Happening.STOP}:
            then = after(TURNSTILE, now, event)
            if then.state is State.LOCKED is not now.state:
                assert Sensed.BEAM_1_CLEAR in then.standing, (now, event)


def test_a_door_that_opens_in_the_time_of_an_exit_request_is_no_intrusion_and_afterwards_is() -> None:
    exits_are_excused(TURNSTILE)


def exits_are_excused(plan: Plan) -> None:
    """In the time of it from every situation, afterwards from none that has nobody in the lane."""
    for now in reached(plan):
        if Sensed.DOOR_OPEN in now.standing or now.state in plan.alarmed:
            continue
        asked = stands(now.standing, Sensed.EXIT_REQUEST)
        to = plan.follow(now.state, Sensed.DOOR_OPEN, stands(asked, Sensed.DOOR_OPEN))
        assert not {Command.REPORT_FORCED, Command.ALARM} & set(to.commands), f"{now.state.value}: excused"
        over = stands(now.standing, Sensed.EXIT_REQUEST_OVER)
        to = plan.follow(now.state, Sensed.DOOR_OPEN, stands(over, Sensed.DOOR_OPEN))
        quiet = now.state in plan.pending or now.state in (State.PASSED, State.LEAVING, State.LEFT)
        assert quiet or {Command.REPORT_FORCED, Command.ALARM} <= set(to.commands), f"{now.state.value}: intrusion"


def test_a_door_that_stays_open_after_an_exit_request_is_an_alarm() -> None:
    for state in (State.LOCKED, State.APPROACHED):
        to = TURNSTILE.step(state, Happening.DOOR_LEFT_OPEN)
        assert (to.state, to.commands) == (State.DOOR_FORCED, (Command.REPORT_HELD, Command.ALARM))


@dataclass(frozen=True)
class Room:
    """An interlock and two people at it; where each stands: 0 outside, 1 in beam 1, 2 in both, 3 in the room."""

    passage: Situation
    people: tuple[int, int] = (0, 0)
    gap: bool = False

    def seen(self) -> dict[Sensed, bool]:
        """What the beams should report."""
        second = {3} if self.gap else {2, 3}
        return {Sensed.BEAM_1: bool({1, 2} & {*self.people}), Sensed.BEAM_2: bool(second & {*self.people})}


def moved(now: Room, which: int, to: int) -> Room:
    """Somebody takes a step, and the beams tell it; beam 2 first on the way in, beam 1 first on the way out."""
    people = (to, now.people[1]) if which == 0 else (now.people[0], to)
    then, passage = replace(now, people=people), now.passage
    for beam in (Sensed.BEAM_1, Sensed.BEAM_2):
        broken = then.seen()[beam]
        if broken != (beam in passage.standing):
            passage = after(INTERLOCK, passage, beam if broken else OPPOSITE[beam])
    return replace(then, passage=passage)


def steps(now: Room) -> Iterator[Room]:
    """What may happen next while the entry door is in use: two people never stand in the entry beam at once."""
    standing = now.passage.standing
    if Sensed.DOOR_OPEN in standing:
        for which, at in enumerate(now.people):
            for to in {at - 1, at + 1} & {0, 1, 2, 3}:
                if not (to in (1, 2) and now.people[1 - which] in (1, 2)):
                    yield moved(now, which, to)
    if not {1, 2} & {*now.people}:
        door = Sensed.DOOR_CLOSED if Sensed.DOOR_OPEN in standing else Sensed.DOOR_OPEN
        yield replace(now, passage=after(INTERLOCK, now.passage, door))


def rooms(first: Room) -> set[Room]:
    """All that can come about, as far as the exit or an alarm."""
    found, todo = {first}, deque([first])
    while todo:
        now = todo.popleft()
        if now.passage.state is State.EXIT_RELEASED or now.passage.state not in INTERLOCK.pending:
            continue
        for then in steps(now):
            if then not in found:
                found.add(then)
                todo.append(then)
    return found


RELEASED = after(INTERLOCK, Situation(), Happening.GRANTED)


def test_two_who_come_in_one_after_the_other_never_get_the_exit_released() -> None:
    ends = [room for room in rooms(Room(RELEASED)) if room.passage.exit]
    assert ends
    for room in ends:
        assert sorted(room.people) == [0, 3], room


def test_one_who_hesitates_at_the_threshold_is_no_second_person() -> None:
    for back_from in ((1,), (1, 2), (1, 1, 2, 1)):
        now = Room(after(INTERLOCK, RELEASED, Sensed.DOOR_OPEN))
        for furthest in back_from:
            for to in (*range(1, furthest + 1), *range(furthest - 1, -1, -1)):
                now = moved(now, 0, to)
            assert now.passage.state is State.OPENED
        for to in (1, 2, 3):
            now = moved(now, 0, to)
        assert after(INTERLOCK, now.passage, Sensed.DOOR_CLOSED).exit


def test_a_room_whose_beams_leave_a_gap_shows_itself_at_the_first_person() -> None:
    first = Room(after(INTERLOCK, RELEASED, Sensed.DOOR_OPEN), gap=True)
    gap = moved(moved(first, 0, 1), 0, 0)  # past beam 1 and not yet in beam 2: to the gate as if they had turned back
    now = moved(replace(gap, people=(0, 0)), 0, 3)
    assert now.passage.state is State.FORCED
    assert not now.passage.exit


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
    "who stands in the second beam is waited for without end": (
        TURNSTILE,
        State.LOCKED,
        Sensed.BEAM_2,
        Step(State.LEAVING),
    ),
    "a grant opens for whoever comes the other way": (
        TURNSTILE,
        State.LEAVING,
        Happening.GRANTED,
        Step(State.RELEASED, (Command.UNLOCK,)),
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


UNHEARD: dict[str, tuple[Callable[[Plan], None], Plan, State, Event, Step]] = {
    "a jam ends the visit at once": (
        visits_are_waited_for,
        DISPENSER,
        State.DISPENSING,
        Sensed.FAULT,
        Step(State.JAMMED, (Command.LOCK, Command.STOP_TIMERS, Command.NOT_TAKEN, Command.REPORT_FAULT)),
    ),
    "a jam ends the visit when the held time is over": (
        visits_are_waited_for,
        DISPENSER,
        State.DISPENSING,
        Sensed.FAULT,
        Step(State.JAMMED_SETTLING, (Command.LOCK, Command.STOP_TIMERS, Command.TIME_HELD, Command.REPORT_FAULT)),
    ),
    "a jam that is mended ends the visit at once": (
        visits_are_waited_for,
        DISPENSER,
        State.JAMMED_SETTLING,
        Sensed.FAULT_OVER,
        Step(State.LOCKED, (Command.SILENCE, Command.NOT_TAKEN)),
    ),
    "an exit that falls shut and opens begins its time anew": (
        exits_end,
        INTERLOCK,
        State.EXIT_AGAIN,
        Sensed.EXIT_DOOR_OPEN,
        Step(State.EXIT_OPENED, (Command.LOCK_EXIT, Command.STOP_TIMERS, Command.TIME_HELD)),
    ),
    "nobody hears of a portion that falls while it is jammed": (
        portions_are_seen,
        DISPENSER,
        State.JAMMED,
        Sensed.PORTION,
        Step(State.JAMMED),
    ),
    "who stands in the second beam is only somebody who leaves": (
        second_beam_is_minded,
        TURNSTILE,
        State.LEAVING,
        Happening.HELD_OVER,
        Step(State.LOCKED),
    ),
    "half a step back ends the grant": (
        grants_last,
        TURNSTILE,
        State.ENTERED,
        Sensed.BEAM_1_CLEAR,
        Step(State.LOCKED, (Command.LOCK, Command.STOP_TIMERS, Command.NOT_TAKEN)),
    ),
    "the holder who clears the second beam ends the alarm": (
        alarms_are_mended,
        TURNSTILE,
        State.FORCED,
        Sensed.BEAM_2_CLEAR,
        Step(State.LOCKED, (Command.SILENCE,)),
    ),
}


@pytest.mark.parametrize("fault", UNHEARD)
def test_a_fault_that_moves_no_lock_is_found_too(fault: str) -> None:
    asked, plan, state, event, wrong = UNHEARD[fault]
    asked(plan)
    with pytest.raises(AssertionError):
        asked(replace(plan, table={**plan.table, (state, event): wrong}))


def test_an_exit_request_that_excuses_nothing_is_found() -> None:
    with pytest.raises(AssertionError, match="excused"):
        exits_are_excused(replace(TURNSTILE, excused={}))


@given(st.sampled_from(list(PLANS.values())), st.lists(st.integers(0, 30), max_size=60))
def test_over_any_history_the_lock_follows_the_state_and_is_bounded_by_timers(plan: Plan, choices: list[int]) -> None:
    now = Situation()
    for choice in choices:
        events = sorted(possible(plan, now), key=lambda event: event.value)
        now = after(plan, now, events[choice % len(events)])
        holds(plan, now)
