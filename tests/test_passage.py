"""The passage table: every (state, event) pair, and what must hold over any history."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.passage import CLEAR, EVENTS, TABLE, UNLOCKED, Command, Event, Happening, Sensed, State, diagram, step

EVERY_PAIR = list(product(State, EVENTS))


@pytest.mark.parametrize(("state", "event"), EVERY_PAIR)
def test_every_pair_has_an_answer_that_keeps_the_lock_honest(state: State, event: Event) -> None:
    to = step(state, event)
    assert to.state in State
    if Command.UNLOCK in to.commands:
        assert event is Happening.GRANTED
        assert to.state in UNLOCKED
        assert Command.TIME_RELEASE in to.commands
    if state in UNLOCKED and to.state not in UNLOCKED:
        assert Command.LOCK in to.commands
        assert {Command.TAKEN, Command.NOT_TAKEN} & set(to.commands)
    if state not in UNLOCKED and to.state in UNLOCKED:
        assert Command.UNLOCK in to.commands


@pytest.mark.parametrize("state", list(State))
def test_every_grant_is_answered_at_once_or_leads_to_an_unlocked_state(state: State) -> None:
    to = step(state, Happening.GRANTED)
    if state not in UNLOCKED:
        assert (to.state in UNLOCKED) == (state in CLEAR)
        assert to.state in UNLOCKED or Command.NOT_TAKEN in to.commands


@pytest.mark.parametrize("state", list(State))
def test_stop_locks_from_everywhere(state: State) -> None:
    to = step(state, Happening.STOP)
    assert to.state is State.LOCKED
    assert to.commands[0] is Command.LOCK


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", [Sensed.FIRE, Sensed.FIRE_OVER, Sensed.TAMPER, Sensed.EXIT_REQUEST])
def test_reports_move_nothing(state: State, event: Sensed) -> None:
    to = step(state, event)
    assert to.state is state
    assert not {Command.LOCK, Command.UNLOCK} & set(to.commands)


def walk(*events: Event) -> tuple[State, list[Command]]:
    state, done = State.LOCKED, list[Command]()
    for event in events:
        to = step(state, event)
        state = to.state
        done += to.commands
    return state, done


def test_a_person_passes_and_the_lock_falls_behind_them() -> None:
    state, done = walk(Happening.GRANTED, Sensed.BEAM_1, Sensed.BEAM_2, Sensed.BEAM_1_CLEAR, Sensed.BEAM_2_CLEAR)
    assert state is State.LOCKED
    assert done.index(Command.LOCK) < done.index(Command.TAKEN)


def test_a_person_who_turns_back_has_not_passed() -> None:
    state, done = walk(Happening.GRANTED, Sensed.BEAM_1, Sensed.BEAM_1_CLEAR)
    assert state is State.LOCKED
    assert Command.NOT_TAKEN in done
    assert Command.LOCK in done


def test_nobody_comes_and_the_gate_locks_again() -> None:
    state, done = walk(Happening.GRANTED, Happening.RELEASE_OVER)
    assert state is State.LOCKED
    assert done[-2:] == [Command.LOCK, Command.NOT_TAKEN]


def test_a_second_person_behind_the_first_is_a_tailgate() -> None:
    _, done = walk(Happening.GRANTED, Sensed.BEAM_1, Sensed.BEAM_2, Sensed.BEAM_1_CLEAR, Sensed.BEAM_1)
    assert Command.REPORT_TAILGATE in done


def test_passing_without_a_grant_is_forced() -> None:
    _, done = walk(Sensed.BEAM_1, Sensed.BEAM_2)
    assert Command.REPORT_FORCED in done
    assert Command.UNLOCK not in done


def test_leaving_is_nobody_s_alarm() -> None:
    state, done = walk(Sensed.BEAM_2, Sensed.BEAM_1, Sensed.BEAM_2_CLEAR)
    assert state is State.LOCKED
    assert done == []


@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_over_any_history_the_lock_follows_the_state_and_is_bounded_by_timers(events: list[Event]) -> None:
    state, unlocked, running, due = State.LOCKED, False, set[Happening](), 0
    for event in events:
        if isinstance(event, Happening) and event in (Happening.RELEASE_OVER, Happening.HELD_OVER):
            if event not in running:
                continue  # a timer that does not run does not end
            running.discard(event)
        to = step(state, event)
        state = to.state
        for command in to.commands:
            match command:
                case Command.UNLOCK:
                    unlocked, due = True, due + 1
                case Command.LOCK:
                    unlocked = False
                case Command.TIME_RELEASE:
                    running.add(Happening.RELEASE_OVER)
                case Command.TIME_HELD:
                    running.add(Happening.HELD_OVER)
                case Command.STOP_TIMERS:
                    running.clear()
                case _:
                    pass
        assert unlocked == (state in UNLOCKED)
        if unlocked:
            assert running, "an unlocked gate always has a timer that will lock it"


def test_the_diagram_in_the_readme_is_the_table() -> None:
    readme = Path(__file__).parents[1] / "edge" / "README.md"
    assert diagram() in readme.read_text(encoding="utf-8")


def test_every_state_is_reached() -> None:
    assert {to.state for to in TABLE.values()} | {State.LOCKED} == set(State)
    assert all(a != b for a, b in pairwise(State))
