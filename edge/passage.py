"""The gate as a state machine, one table.

A turnstile with two beams: beam 1 on the entry side, beam 2 behind the barrier. Their order gives the direction.

Rules:

1. Only ``GRANTED`` unlocks, and only from a state in which nobody is where they should not be.
2. Every way out of an unlocked state locks; two timers bound how long it can last.
3. Beam 2 after beam 1 is a passage. Beam 1 cleared before beam 2 is a person who turned back: not taken.
4. Leaving (beam 2 first) is free and is nobody's alarm. Software never owns the exit.
5. A door that is forced, or stands open when nobody passes, is an alarm until it is closed; beams do not mend it.
6. Fire, tampering and exit requests are reported in every state and move nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Indication(Enum):
    """What the lights and the buzzer say."""

    READY = "ready"
    READING = "reading"
    LOOK = "look"
    WELCOME = "welcome"
    REFUSED = "refused"
    ALARM = "alarm"
    OUT_OF_SERVICE = "out-of-service"


class Sensed(Enum):
    """What a sensor reports."""

    BEAM_1 = "beam-1"
    BEAM_1_CLEAR = "beam-1-clear"
    BEAM_2 = "beam-2"
    BEAM_2_CLEAR = "beam-2-clear"
    DOOR_OPEN = "door-open"
    DOOR_CLOSED = "door-closed"
    EXIT_REQUEST = "exit-request"
    FIRE = "fire"
    FIRE_OVER = "fire-over"
    TAMPER = "tamper"


class Happening(Enum):
    """What else the passage hears: the decision, its own timers, the end of service."""

    GRANTED = "granted"
    RELEASE_OVER = "release-over"
    HELD_OVER = "held-over"
    DOOR_LEFT_OPEN = "door-left-open"
    STOP = "stop"


Event = Sensed | Happening
EVENTS: tuple[Event, ...] = (*Happening, *Sensed)


class State(Enum):
    """Where the passage is."""

    LOCKED = "locked"
    APPROACHED = "approached"
    RELEASED = "released"
    ENTERED = "entered"
    PASSED = "passed"
    LEAVING = "leaving"
    FORCED = "forced"
    DOOR_FORCED = "door-forced"


class Command(Enum):
    """What is to be done, in this order."""

    UNLOCK = "unlock"
    LOCK = "lock"
    TIME_RELEASE = "time-release"
    TIME_HELD = "time-held"
    STOP_TIMERS = "stop-timers"
    TAKEN = "taken"
    NOT_TAKEN = "not-taken"
    ALARM = "alarm"
    SILENCE = "silence"
    REPORT_FORCED = "report-forced"
    REPORT_HELD = "report-held"
    REPORT_TAILGATE = "report-tailgate"
    REPORT_EXIT_REQUEST = "report-exit-request"
    REPORT_FIRE = "report-fire"
    REPORT_FIRE_OVER = "report-fire-over"
    REPORT_TAMPER = "report-tamper"


@dataclass(frozen=True)
class Step:
    """Where to go, and what to do on the way."""

    state: State
    commands: tuple[Command, ...] = ()


_S, _E, _H, _C = State, Sensed, Happening, Command

TABLE: Mapping[tuple[State, Event], Step] = {
    (_S.LOCKED, _H.GRANTED): Step(_S.RELEASED, (_C.TIME_RELEASE, _C.UNLOCK)),
    (_S.LOCKED, _E.BEAM_1): Step(_S.APPROACHED),
    (_S.LOCKED, _E.BEAM_2): Step(_S.LEAVING),
    (_S.LOCKED, _E.DOOR_OPEN): Step(_S.DOOR_FORCED, (_C.REPORT_FORCED, _C.ALARM)),
    (_S.LOCKED, _H.DOOR_LEFT_OPEN): Step(_S.DOOR_FORCED, (_C.REPORT_HELD, _C.ALARM)),
    (_S.APPROACHED, _H.GRANTED): Step(_S.ENTERED, (_C.TIME_RELEASE, _C.UNLOCK)),
    (_S.APPROACHED, _E.BEAM_1_CLEAR): Step(_S.LOCKED),
    (_S.APPROACHED, _E.BEAM_2): Step(_S.FORCED, (_C.REPORT_FORCED, _C.ALARM)),
    (_S.APPROACHED, _E.DOOR_OPEN): Step(_S.DOOR_FORCED, (_C.REPORT_FORCED, _C.ALARM)),
    (_S.RELEASED, _E.BEAM_1): Step(_S.ENTERED),
    (_S.RELEASED, _E.BEAM_2): Step(_S.LEAVING, (_C.LOCK, _C.STOP_TIMERS, _C.NOT_TAKEN)),
    (_S.RELEASED, _H.RELEASE_OVER): Step(_S.LOCKED, (_C.LOCK, _C.NOT_TAKEN)),
    (_S.ENTERED, _E.BEAM_2): Step(_S.PASSED, (_C.LOCK, _C.STOP_TIMERS, _C.TIME_HELD, _C.TAKEN)),
    (_S.ENTERED, _E.BEAM_1_CLEAR): Step(_S.LOCKED, (_C.LOCK, _C.STOP_TIMERS, _C.NOT_TAKEN)),
    (_S.ENTERED, _H.RELEASE_OVER): Step(_S.ENTERED, (_C.TIME_HELD,)),
    (_S.ENTERED, _H.HELD_OVER): Step(_S.FORCED, (_C.LOCK, _C.NOT_TAKEN, _C.REPORT_HELD, _C.ALARM)),
    (_S.PASSED, _E.BEAM_2_CLEAR): Step(_S.LOCKED, (_C.STOP_TIMERS,)),
    (_S.PASSED, _E.BEAM_1): Step(_S.FORCED, (_C.STOP_TIMERS, _C.REPORT_TAILGATE, _C.ALARM)),
    (_S.PASSED, _H.HELD_OVER): Step(_S.FORCED, (_C.REPORT_HELD, _C.ALARM)),
    (_S.PASSED, _H.GRANTED): Step(_S.PASSED, (_C.NOT_TAKEN,)),
    (_S.LEAVING, _E.BEAM_1_CLEAR): Step(_S.LOCKED),
    (_S.LEAVING, _E.BEAM_2_CLEAR): Step(_S.LOCKED),
    (_S.LEAVING, _H.GRANTED): Step(_S.RELEASED, (_C.TIME_RELEASE, _C.UNLOCK)),
    (_S.FORCED, _E.BEAM_1_CLEAR): Step(_S.LOCKED, (_C.SILENCE,)),
    (_S.FORCED, _E.BEAM_2_CLEAR): Step(_S.LOCKED, (_C.SILENCE,)),
    (_S.FORCED, _E.DOOR_OPEN): Step(_S.DOOR_FORCED),
    (_S.FORCED, _H.GRANTED): Step(_S.FORCED, (_C.NOT_TAKEN,)),
    (_S.DOOR_FORCED, _E.DOOR_CLOSED): Step(_S.LOCKED, (_C.SILENCE,)),
    (_S.DOOR_FORCED, _H.GRANTED): Step(_S.DOOR_FORCED, (_C.NOT_TAKEN,)),
}

_ALWAYS: Mapping[Event, Command] = {
    _E.EXIT_REQUEST: _C.REPORT_EXIT_REQUEST,
    _E.FIRE: _C.REPORT_FIRE,
    _E.FIRE_OVER: _C.REPORT_FIRE_OVER,
    _E.TAMPER: _C.REPORT_TAMPER,
}

UNLOCKED = frozenset({State.RELEASED, State.ENTERED})
ALARMED = frozenset({State.FORCED, State.DOOR_FORCED})
CLEAR = frozenset({State.LOCKED, State.APPROACHED, State.LEAVING})  # a grant opens from here


def step(state: State, event: Event) -> Step:
    """Where this event leads from this state; what the table does not name changes nothing."""
    if event is Happening.STOP:
        pending = (Command.NOT_TAKEN,) if state in UNLOCKED else ()
        return Step(State.LOCKED, (Command.LOCK, Command.STOP_TIMERS, *pending))
    if event in _ALWAYS:
        return Step(state, (_ALWAYS[event],))
    return TABLE.get((state, event), Step(state))


def diagram() -> str:
    """The table as a Mermaid state diagram, for the README."""
    lines = ["stateDiagram-v2", "    [*] --> locked"]
    for (state, event), to in TABLE.items():
        done = " / " + ", ".join(command.value for command in to.commands) if to.commands else ""
        lines.append(f"    {state.value} --> {to.state.value}: {event.value}{done}")
    return "\n".join(lines)
