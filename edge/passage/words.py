"""The words of every passage: what is sensed, what happens, where a passage can be, what is to be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Indication(Enum):
    """What the lights and the buzzer say."""

    READY = "ready"
    READING = "reading"
    LOOK = "look"
    WELCOME = "welcome"
    REFUSED = "refused"
    STEP_BACK = "step-back"
    ALARM = "alarm"
    OUT_OF_SERVICE = "out-of-service"


class Sensed(Enum):
    """What a sensor reports.

    The beams are those of a turnstile; of an interlock, beam 1 is crossed in the entry door and beam 2 is broken while
    somebody stands between the doors. An exit request stands for as long as it excuses a door that opens.
    """

    BEAM_1 = "beam-1"
    BEAM_1_CLEAR = "beam-1-clear"
    BEAM_2 = "beam-2"
    BEAM_2_CLEAR = "beam-2-clear"
    DOOR_OPEN = "door-open"
    DOOR_CLOSED = "door-closed"
    EXIT_DOOR_OPEN = "exit-door-open"
    EXIT_DOOR_CLOSED = "exit-door-closed"
    PORTION = "portion"
    FAULT = "fault"
    FAULT_OVER = "fault-over"
    EXIT_REQUEST = "exit-request"
    EXIT_REQUEST_OVER = "exit-request-over"
    FIRE = "fire"
    FIRE_OVER = "fire-over"
    TAMPER = "tamper"


class Happening(Enum):
    """What else the passage hears: the decision, its own timers, the end of service."""

    GRANTED = "granted"
    RELEASE_OVER = "release-over"
    HELD_OVER = "held-over"
    DOOR_LEFT_OPEN = "door-left-open"
    ALARM_OVER = "alarm-over"
    ALL_OUT = "all-out"
    STOP = "stop"


Event = Sensed | Happening
EVENTS: tuple[Event, ...] = (*Happening, *Sensed)


class State(Enum):
    """Where a passage is; each plan uses some of these."""

    LOCKED = "locked"
    APPROACHED = "approached"
    RELEASED = "released"
    ENTERED = "entered"
    STEPPED_BACK = "stepped-back"
    LINGERING = "lingering"
    PASSED = "passed"
    LEAVING = "leaving"
    LEFT = "left"
    FORCED = "forced"
    CLEARING = "clearing"
    DOOR_FORCED = "door-forced"
    DISPENSING = "dispensing"
    SETTLING = "settling"
    JAMMED_SETTLING = "jammed-settling"
    FORCED_SETTLING = "forced-settling"
    JAMMED = "jammed"
    OPENED = "opened"
    CROSSING = "crossing"
    ENTERING = "entering"
    INSIDE = "inside"
    UNSEEN = "unseen"
    RETURNING = "returning"
    EXIT_RELEASED = "exit-released"
    EXIT_OPENED = "exit-opened"
    EXIT_AGAIN = "exit-again"
    EXITED = "exited"
    EMPTYING = "emptying"
    AWAY = "away"
    EXIT_FORCED = "exit-forced"
    EVACUATED = "evacuated"


class Command(Enum):
    """What is to be done, in this order."""

    UNLOCK = "unlock"
    LOCK = "lock"
    UNLOCK_EXIT = "unlock-exit"
    LOCK_EXIT = "lock-exit"
    FREE_EXIT = "free-exit"
    TIME_RELEASE = "time-release"
    TIME_HELD = "time-held"
    TIME_ALARM = "time-alarm"
    STOP_TIMERS = "stop-timers"
    TAKEN = "taken"
    NOT_TAKEN = "not-taken"
    ALARM = "alarm"
    SILENCE = "silence"
    REPORT_FORCED = "report-forced"
    REPORT_HELD = "report-held"
    REPORT_TAILGATE = "report-tailgate"
    REPORT_FAULT = "report-fault"
    REPORT_PORTION = "report-portion"
    REPORT_EXIT_REQUEST = "report-exit-request"
    REPORT_FIRE = "report-fire"
    REPORT_FIRE_OVER = "report-fire-over"
    REPORT_TAMPER = "report-tamper"


OPPOSITE: Mapping[Sensed, Sensed] = {
    a: b
    for one, other in (
        (Sensed.BEAM_1, Sensed.BEAM_1_CLEAR),
        (Sensed.BEAM_2, Sensed.BEAM_2_CLEAR),
        (Sensed.DOOR_OPEN, Sensed.DOOR_CLOSED),
        (Sensed.EXIT_DOOR_OPEN, Sensed.EXIT_DOOR_CLOSED),
        (Sensed.FAULT, Sensed.FAULT_OVER),
        (Sensed.EXIT_REQUEST, Sensed.EXIT_REQUEST_OVER),
        (Sensed.FIRE, Sensed.FIRE_OVER),
    )
    for a, b in ((one, other), (other, one))
}
"""What stands one way or the other, not both; a pulse such as a portion stands no way."""

AT_REST = frozenset(
    {
        Sensed.BEAM_1_CLEAR,
        Sensed.BEAM_2_CLEAR,
        Sensed.DOOR_CLOSED,
        Sensed.EXIT_DOOR_CLOSED,
        Sensed.FAULT_OVER,
        Sensed.EXIT_REQUEST_OVER,
        Sensed.FIRE_OVER,
    }
)
"""How everything stands when nobody is there and nothing is wrong."""


def stands(standing: frozenset[Sensed], sensed: Sensed) -> frozenset[Sensed]:
    """How the sensors stand after this report."""
    return (standing - {OPPOSITE[sensed]}) | {sensed} if sensed in OPPOSITE else standing


@dataclass(frozen=True)
class Step:
    """Where to go, and what to do on the way."""

    state: State
    commands: tuple[Command, ...] = ()


ALWAYS: Mapping[Event, Command] = {
    Sensed.EXIT_REQUEST: Command.REPORT_EXIT_REQUEST,
    Sensed.FIRE: Command.REPORT_FIRE,
    Sensed.FIRE_OVER: Command.REPORT_FIRE_OVER,
    Sensed.TAMPER: Command.REPORT_TAMPER,
}
"""What is reported from every state and moves nothing, unless a table says otherwise."""


@dataclass(frozen=True)
class Plan:
    """One kind of passage.

    Attributes:
        name: as the configuration calls it.
        table: where each event leads from each state; what it does not name changes nothing.
        pending: states in which a person has been granted and it is not yet known whether they went.
        unlocked: states in which the entry is released.
        exit_unlocked: states in which the second door is.
        alarmed: states that somebody has to mend.
        clear: states from which a grant opens.
        anew: what counts as happening once more on arrival in a state, if a sensor stands so at that moment.
        excused: what changes nothing in these states while something stands, whatever the table says.
    """

    name: str
    table: Mapping[tuple[State, Event], Step]
    pending: frozenset[State]
    unlocked: frozenset[State]
    alarmed: frozenset[State]
    clear: frozenset[State]
    exit_unlocked: frozenset[State] = frozenset()
    anew: Mapping[State, tuple[Sensed, ...]] = field(default_factory=dict)
    excused: Mapping[tuple[State, Event], Sensed] = field(default_factory=dict)

    @property
    def counts(self) -> bool:
        """Whether portions are granted here, so that an outcome is also a number."""
        return any(event is Happening.ALL_OUT for _, event in self.table)

    @property
    def states(self) -> tuple[State, ...]:
        """All states of this plan, in the order of the word list."""
        used = {State.LOCKED} | {to.state for to in self.table.values()}
        return tuple(state for state in State if state in used)

    def step(self, state: State, event: Event) -> Step:
        """Where this event leads from this state."""
        if event is Happening.STOP:
            ends = (Command.LOCK, *((Command.LOCK_EXIT,) if self.exit_unlocked else ()), Command.STOP_TIMERS)
            return Step(State.LOCKED, (*ends, *((Command.NOT_TAKEN,) if state in self.pending else ())))
        if (to := self.table.get((state, event))) is not None:
            return to
        if event in ALWAYS:
            return Step(state, (ALWAYS[event],))
        if event is Happening.GRANTED and state not in self.pending:
            return Step(state, (Command.NOT_TAKEN,))
        return Step(state)

    def follow(self, state: State, event: Event, standing: frozenset[Sensed]) -> Step:
        """The step for this event, and those that follow at once from how the sensors stand on arrival.

        Args:
            state: where the passage is.
            event: what happens.
            standing: how each contact and beam stands after it.

        Raises:
            RuntimeError: the table goes round in circles; a model check proves that none does.
        """
        if self.excused.get((state, event)) in standing:
            return Step(state)
        to = self.step(state, event)
        done = list(to.commands)
        for _ in State:
            if to.state is state:
                return Step(state, tuple(done))
            state = to.state
            found = next((seen for seen in self.anew.get(state, ()) if seen in standing), None)
            if found is None:
                return Step(state, tuple(done))
            to = self.step(state, found)
            done += to.commands
        raise RuntimeError(f"the table of {self.name} does not come to rest")

    def diagram(self) -> str:
        """The table as a Mermaid state diagram, for the README."""
        lines = ["stateDiagram-v2", "    [*] --> locked"]
        for (state, event), to in self.table.items():
            done = " / " + ", ".join(command.value for command in to.commands) if to.commands else ""
            excuse = self.excused.get((state, event))
            unless = f" unless {excuse.value}" if excuse is not None else ""
            lines.append(f"    {state.value} --> {to.state.value}: {event.value}{unless}{done}")
        return "\n".join(lines)
