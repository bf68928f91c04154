"""The passage tables: every (state, event) pair, and stories of people who come."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from edge.passage import (
    AT_REST,
    DISPENSER,
    EVENTS,
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
    stands,
)

EVERY_PAIR = [
    pytest.param(plan, state, event, id=f"{plan.name}-{state.value}-{event.value}")
    for plan in PLANS.values()
    for state, event in product(plan.states, EVENTS)
]
EVERY_STATE = [
    pytest.param(plan, state, id=f"{plan.name}-{state.value}") for plan in PLANS.values() for state in plan.states
]
OUTCOMES = {Command.TAKEN, Command.NOT_TAKEN}


@pytest.mark.parametrize(("plan", "state", "event"), EVERY_PAIR)
def test_every_pair_has_an_answer_that_keeps_the_lock_honest(plan: Plan, state: State, event: Event) -> None:
    to = plan.step(state, event)
    assert to.state in plan.states
    if Command.UNLOCK in to.commands:
        assert event is Happening.GRANTED
        assert state in plan.clear
        assert Command.TIME_RELEASE in to.commands
    if Command.UNLOCK_EXIT in to.commands:
        assert state in plan.pending
        assert to.state in plan.pending
    assert (Command.FREE_EXIT in to.commands) <= (event is Sensed.FIRE)
    for unlocked, unlock, lock in (
        (plan.unlocked, {Command.UNLOCK}, Command.LOCK),
        (plan.exit_unlocked, {Command.UNLOCK_EXIT, Command.FREE_EXIT}, Command.LOCK_EXIT),
    ):
        if state in unlocked and to.state not in unlocked:
            assert lock in to.commands
        if state not in unlocked and to.state in unlocked:
            assert unlock & set(to.commands)


@pytest.mark.parametrize(("plan", "state", "event"), EVERY_PAIR)
def test_every_grant_has_exactly_one_outcome(plan: Plan, state: State, event: Event) -> None:
    to = plan.step(state, event)
    said = [command for command in to.commands if command in OUTCOMES]
    if state in plan.pending:
        assert len(said) == (to.state not in plan.pending)
    elif event is Happening.GRANTED and to.state not in plan.pending:
        assert said == [Command.NOT_TAKEN]
    else:
        assert said == []


@pytest.mark.parametrize(("plan", "state"), EVERY_STATE)
def test_a_grant_opens_exactly_where_the_plan_says_it_is_clear(plan: Plan, state: State) -> None:
    if state not in plan.pending:
        assert (plan.step(state, Happening.GRANTED).state in plan.pending) == (state in plan.clear)


@pytest.mark.parametrize(("plan", "state"), EVERY_STATE)
def test_stop_locks_from_everywhere(plan: Plan, state: State) -> None:
    to = plan.step(state, Happening.STOP)
    assert to.state is State.LOCKED
    assert to.commands[0] is Command.LOCK
    assert (Command.LOCK_EXIT in to.commands) == (plan is INTERLOCK)


@pytest.mark.parametrize(("plan", "state"), EVERY_STATE)
@pytest.mark.parametrize("event", [Sensed.FIRE, Sensed.FIRE_OVER, Sensed.TAMPER, Sensed.EXIT_REQUEST])
def test_reports_move_nothing_but_the_way_out_of_a_fire(plan: Plan, state: State, event: Sensed) -> None:
    to = plan.step(state, event)
    if plan is INTERLOCK and event in (Sensed.FIRE, Sensed.FIRE_OVER):
        return  # has tests of its own
    assert to.state is state
    assert not {Command.LOCK, Command.UNLOCK, Command.UNLOCK_EXIT} & set(to.commands)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_state_is_one_that_somebody_leaves(plan: Plan) -> None:
    assert {state for state, _ in plan.table} == set(plan.states)
    assert plan.pending | plan.unlocked | plan.exit_unlocked | plan.alarmed | plan.clear <= set(plan.states)


def walk(plan: Plan, *events: Event) -> tuple[State, list[Command]]:
    state, done, standing = State.LOCKED, list[Command](), AT_REST
    for event in events:
        if isinstance(event, Sensed):
            standing = stands(standing, event)
        to = plan.follow(state, event, standing)
        state = to.state
        done += to.commands
    return state, done


def test_a_person_passes_and_the_lock_falls_behind_them() -> None:
    story = (Happening.GRANTED, Sensed.BEAM_1, Sensed.BEAM_2, Sensed.BEAM_1_CLEAR, Sensed.BEAM_2_CLEAR)
    state, done = walk(TURNSTILE, *story)
    assert state is State.LOCKED
    assert done.index(Command.LOCK) < done.index(Command.TAKEN)


def test_a_person_who_turns_back_has_not_passed() -> None:
    state, done = walk(TURNSTILE, Happening.GRANTED, Sensed.BEAM_1, Sensed.BEAM_1_CLEAR, Happening.RELEASE_OVER)
    assert state is State.LOCKED
    assert done[-2:] == [Command.LOCK, Command.NOT_TAKEN]
    late = (Happening.RELEASE_OVER, Sensed.BEAM_1_CLEAR)
    state, done = walk(TURNSTILE, Happening.GRANTED, Sensed.BEAM_1, *late)
    assert state is State.LOCKED
    assert done[-3:] == [Command.LOCK, Command.STOP_TIMERS, Command.NOT_TAKEN]


WHEEL = (Sensed.BEAM_1, Sensed.BEAM_1_CLEAR)


@pytest.mark.parametrize(
    "story",
    [
        (*WHEEL, Sensed.BEAM_1, Sensed.BEAM_2, Sensed.BEAM_1_CLEAR),
        (*WHEEL, *WHEEL, Sensed.BEAM_1, Happening.RELEASE_OVER, Sensed.BEAM_2, Sensed.BEAM_1_CLEAR),
        (*WHEEL, Sensed.BEAM_2),
    ],
    ids=["a wheel", "two wheels, slowly", "a gap between the beams"],
)
def test_what_leaves_a_gap_in_the_entry_beam_is_still_one_person_on_the_way_in(story: tuple[Event, ...]) -> None:
    state, done = walk(TURNSTILE, Happening.GRANTED, *story, Sensed.BEAM_2_CLEAR)
    assert state is State.LOCKED
    assert Command.TAKEN in done
    assert Command.ALARM not in done


def test_half_a_step_back_at_the_moment_of_the_grant_does_not_lock_it() -> None:
    state, done = walk(TURNSTILE, Sensed.BEAM_1, Happening.GRANTED, Sensed.BEAM_1_CLEAR)
    assert state in TURNSTILE.unlocked
    assert Command.LOCK not in done


def test_who_stands_in_the_second_beam_is_an_alarm_after_the_held_time() -> None:
    state, done = walk(TURNSTILE, Sensed.BEAM_2, Happening.HELD_OVER)
    assert state is State.FORCED
    assert done == [Command.TIME_HELD, Command.REPORT_HELD, Command.ALARM]
    state, done = walk(TURNSTILE, Sensed.DOOR_OPEN, Sensed.BEAM_2, Sensed.DOOR_CLOSED, Happening.HELD_OVER)
    assert state is State.FORCED, "and so is who stood there while a door was the alarm"


def test_nothing_opens_while_somebody_leaves_and_the_lane_is_clear_again_behind_them() -> None:
    leaving = (Sensed.BEAM_2, Sensed.BEAM_1, Sensed.BEAM_2_CLEAR, Sensed.BEAM_1_CLEAR)
    for so_far in range(1, len(leaving)):
        _, done = walk(TURNSTILE, *leaving[:so_far], Happening.GRANTED)
        assert Command.UNLOCK not in done
        assert done[-1] is Command.NOT_TAKEN
    state, done = walk(TURNSTILE, *leaving, Happening.GRANTED)
    assert state is State.RELEASED


def test_who_stays_in_the_entry_beam_behind_somebody_who_left_has_come_to_go_in() -> None:
    left = (Sensed.BEAM_2, Sensed.BEAM_1, Sensed.BEAM_2_CLEAR, Happening.HELD_OVER)
    assert walk(TURNSTILE, *left)[0] is State.APPROACHED
    _, done = walk(TURNSTILE, *left, Sensed.BEAM_2)
    assert Command.REPORT_FORCED in done
    _, done = walk(TURNSTILE, *left, Happening.GRANTED, Sensed.BEAM_2)
    assert done[-1] is Command.TAKEN


def test_nobody_comes_and_the_gate_locks_again() -> None:
    state, done = walk(TURNSTILE, Happening.GRANTED, Happening.RELEASE_OVER)
    assert state is State.LOCKED
    assert done[-2:] == [Command.LOCK, Command.NOT_TAKEN]


def test_a_second_person_behind_the_first_is_a_tailgate() -> None:
    story = (Happening.GRANTED, Sensed.BEAM_1, Sensed.BEAM_2, Sensed.BEAM_1_CLEAR, Sensed.BEAM_1)
    _, done = walk(TURNSTILE, *story)
    assert Command.REPORT_TAILGATE in done


def test_passing_without_a_grant_is_forced() -> None:
    _, done = walk(TURNSTILE, Sensed.BEAM_1, Sensed.BEAM_2)
    assert Command.REPORT_FORCED in done
    assert Command.UNLOCK not in done


def test_leaving_is_nobody_s_alarm() -> None:
    one = (Sensed.BEAM_2, Sensed.BEAM_1, Sensed.BEAM_2_CLEAR, Sensed.BEAM_1_CLEAR)
    close_behind = (*one[:3], *one)
    for story in (one, close_behind):
        state, done = walk(TURNSTILE, *story)
        assert state is State.LOCKED
        assert set(done) <= {Command.TIME_HELD, Command.STOP_TIMERS}


def test_a_tailgater_is_not_taken_for_somebody_who_leaves() -> None:
    story = (Happening.GRANTED, Sensed.BEAM_1, Sensed.BEAM_2, Sensed.BEAM_1_CLEAR, Sensed.BEAM_1)
    state, done = walk(TURNSTILE, *story, Sensed.BEAM_2_CLEAR, Sensed.BEAM_2)
    assert state is State.FORCED
    assert Command.SILENCE not in done
    state, done = walk(TURNSTILE, *story, Sensed.BEAM_2_CLEAR, Sensed.BEAM_2, Sensed.BEAM_1_CLEAR, Sensed.BEAM_2_CLEAR)
    assert (state, done[-1]) == (State.CLEARING, Command.TIME_ALARM)


def test_somebody_so_close_behind_that_the_entry_beam_never_clears_is_forced() -> None:
    story = (Happening.GRANTED, Sensed.BEAM_1, Sensed.BEAM_2, Sensed.BEAM_2_CLEAR, Sensed.BEAM_2)
    state, done = walk(TURNSTILE, *story)
    assert state is State.FORCED
    assert Command.REPORT_FORCED in done


def test_an_exit_request_makes_a_door_that_opens_no_intrusion_for_a_while() -> None:
    state, done = walk(TURNSTILE, Sensed.EXIT_REQUEST, Sensed.DOOR_OPEN, Sensed.DOOR_CLOSED)
    assert (state, done) == (State.LOCKED, [Command.REPORT_EXIT_REQUEST])
    state, done = walk(TURNSTILE, Sensed.EXIT_REQUEST, Sensed.EXIT_REQUEST_OVER, Sensed.DOOR_OPEN)
    assert state is State.DOOR_FORCED
    assert Command.REPORT_FORCED in done


def test_a_benefit_is_taken_when_all_of_it_came_out() -> None:
    state, done = walk(DISPENSER, Happening.GRANTED, Sensed.PORTION, Sensed.PORTION, Happening.ALL_OUT)
    assert state is State.LOCKED
    assert done[-3:] == [Command.LOCK, Command.STOP_TIMERS, Command.TAKEN]


def test_a_portion_that_falls_after_the_time_still_counts() -> None:
    state, done = walk(DISPENSER, Happening.GRANTED, Happening.RELEASE_OVER, Sensed.PORTION, Happening.ALL_OUT)
    assert state is State.LOCKED
    assert Command.TAKEN in done
    assert Command.NOT_TAKEN not in done


def test_a_portion_that_nobody_was_granted_stops_the_point() -> None:
    state, done = walk(DISPENSER, Sensed.PORTION, Happening.GRANTED)
    assert state is State.JAMMED
    assert done == [Command.REPORT_PORTION, Command.ALARM, Command.NOT_TAKEN]


@pytest.mark.parametrize(
    ("amiss", "waits", "rests"),
    [
        (Sensed.FAULT, State.JAMMED_SETTLING, State.JAMMED),
        (Sensed.DOOR_OPEN, State.FORCED_SETTLING, State.DOOR_FORCED),
    ],
)
def test_a_jam_disables_the_dispenser_at_once_and_what_is_loose_still_counts(
    amiss: Sensed, waits: State, rests: State
) -> None:
    state, done = walk(DISPENSER, Happening.GRANTED, amiss)
    assert state is waits
    assert Command.LOCK in done
    assert Command.ALARM in done
    assert not OUTCOMES & set(done)
    state, done = walk(DISPENSER, Happening.GRANTED, amiss, Sensed.PORTION, Happening.ALL_OUT)
    assert (state, done[-1]) == (rests, Command.TAKEN)


@pytest.mark.parametrize("amiss", [Sensed.FAULT, Sensed.DOOR_OPEN])
def test_a_visit_is_open_until_the_jam_is_mended_and_for_the_held_time_after_it(amiss: Sensed) -> None:
    for before in ((), (Happening.RELEASE_OVER,)):
        waiting = (Happening.GRANTED, *before, amiss)
        state, done = walk(DISPENSER, *waiting, Happening.HELD_OVER)
        assert state in DISPENSER.pending, "an old timer says nothing of a portion that is stuck"
        assert done[-3] is Command.STOP_TIMERS
        state, done = walk(DISPENSER, *waiting, OPPOSITE[amiss])
        assert (state, done[-2:]) == (State.SETTLING, [Command.SILENCE, Command.TIME_HELD])
        state, done = walk(DISPENSER, *waiting, OPPOSITE[amiss], Happening.HELD_OVER)
        assert (state, done[-1]) == (State.LOCKED, Command.NOT_TAKEN)


def test_a_portion_that_comes_loose_while_the_jam_is_cleared_is_the_one_that_was_granted() -> None:
    story = (Happening.GRANTED, Sensed.FAULT, Happening.HELD_OVER, Sensed.DOOR_OPEN, Sensed.PORTION, Happening.ALL_OUT)
    state, done = walk(DISPENSER, *story, Sensed.DOOR_CLOSED)
    assert state is State.JAMMED, "the fault still stands"
    assert Command.TAKEN in done
    assert Command.REPORT_PORTION not in done


GO_IN = (
    Happening.GRANTED,
    Sensed.DOOR_OPEN,
    Sensed.BEAM_1,
    Sensed.BEAM_2,
    Sensed.BEAM_1_CLEAR,
    Sensed.DOOR_CLOSED,
)


def test_one_person_goes_through_both_doors_one_after_the_other() -> None:
    state, done = walk(INTERLOCK, *GO_IN, Sensed.EXIT_DOOR_OPEN, Sensed.BEAM_2_CLEAR, Sensed.EXIT_DOOR_CLOSED)
    assert state is State.LOCKED
    moves = (Command.UNLOCK, Command.LOCK, Command.UNLOCK_EXIT, Command.LOCK_EXIT, Command.TAKEN)
    assert [command for command in done if command in moves] == list(moves)


def test_the_second_door_stays_shut_for_two_people() -> None:
    story = (*GO_IN[:-1], Sensed.BEAM_1, Sensed.BEAM_1_CLEAR, Sensed.DOOR_CLOSED)
    state, done = walk(INTERLOCK, *story)
    assert state is State.FORCED
    assert Command.REPORT_TAILGATE in done
    assert Command.UNLOCK_EXIT not in done


def test_somebody_who_comes_in_while_the_first_is_out_of_sight_is_a_second_person() -> None:
    story = (*GO_IN[:-1], Sensed.BEAM_2_CLEAR, Sensed.BEAM_1)
    state, done = walk(INTERLOCK, *story)
    assert state is State.DOOR_FORCED
    assert Command.REPORT_TAILGATE in done
    state, done = walk(INTERLOCK, *GO_IN[:-1], Sensed.BEAM_2_CLEAR, Sensed.BEAM_2, Sensed.DOOR_CLOSED)
    assert state is State.EXIT_RELEASED, "out of sight for a moment is still one person"


def test_a_fire_frees_the_way_out_before_anything_else_can_fail() -> None:
    for state in INTERLOCK.states:
        done = INTERLOCK.step(state, Sensed.FIRE).commands
        assert not done or done[0] is Command.FREE_EXIT


def test_somebody_who_goes_back_out_of_the_first_door_has_not_passed() -> None:
    story = (*GO_IN, Sensed.DOOR_OPEN, Sensed.BEAM_2_CLEAR, Sensed.DOOR_CLOSED)
    state, done = walk(INTERLOCK, *story)
    assert state is State.LOCKED
    assert Command.NOT_TAKEN in done
    assert Command.ALARM not in done


def test_an_exit_that_falls_shut_before_the_person_is_out_is_released_again_for_the_rest_of_the_held_time() -> None:
    shut = (*GO_IN, *(Sensed.EXIT_DOOR_OPEN, Sensed.EXIT_DOOR_CLOSED) * 2)
    state, done = walk(INTERLOCK, *shut)
    assert state is State.EXIT_AGAIN
    assert done.count(Command.UNLOCK_EXIT) == 3
    assert done.count(Command.TIME_HELD) == 2, "one for the way in, one for the way out"
    state, done = walk(INTERLOCK, *shut, Sensed.EXIT_DOOR_OPEN, Sensed.BEAM_2_CLEAR, Sensed.EXIT_DOOR_CLOSED)
    assert state is State.LOCKED
    assert Command.TAKEN in done
    for end in (Happening.HELD_OVER, Happening.RELEASE_OVER):
        state, done = walk(INTERLOCK, *shut, end)
        assert state is State.EMPTYING
        assert done[-4:] == [Command.LOCK_EXIT, Command.STOP_TIMERS, Command.NOT_TAKEN, Command.TIME_HELD]


def test_nobody_is_let_in_while_somebody_stands_between_the_doors() -> None:
    state, done = walk(INTERLOCK, *GO_IN, Happening.RELEASE_OVER, Happening.GRANTED)
    assert state is State.EMPTYING
    assert done.count(Command.UNLOCK) == 1


def test_a_fire_frees_the_way_out_and_keeps_the_way_in() -> None:
    story = (*GO_IN, Sensed.FIRE, Happening.GRANTED, Sensed.DOOR_OPEN, Sensed.EXIT_DOOR_OPEN, Happening.HELD_OVER)
    state, done = walk(INTERLOCK, *story)
    assert state is State.EVACUATED
    fire = done[done.index(Command.FREE_EXIT) :]
    assert Command.UNLOCK not in fire
    assert Command.LOCK_EXIT not in fire


def test_the_diagrams_in_the_readme_are_the_tables() -> None:
    readme = (Path(__file__).parents[1] / "edge" / "passage" / "README.md").read_text(encoding="utf-8")
    for plan in PLANS.values():
        assert plan.diagram() in readme, plan.name
