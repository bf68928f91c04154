"""A dispenser at a benefit point: the release lets it give out portions, and it tells each one by a pulse.

Rules:

1. Only ``GRANTED`` enables it, and only while it is shut and has nothing against it.
2. Whoever counts says ``ALL_OUT`` when as many portions came as were granted: it is disabled, the benefit is taken.
3. A portion may still fall after it was disabled. It is waited for, and counts; only then is a visit over as not taken.
4. A portion that nobody was granted is reported in every state, and stops the point until somebody has looked.
5. A fault, or a cabinet that is opened, disables it in the same step. What is stuck then comes loose when somebody
   mends it, however long that takes: the visit stays open until then, and rule 3 begins when it is mended.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge.passage.words import Command, Event, Happening, Plan, Sensed, State, Step

_S, _E, _H, _C = State, Sensed, Happening, Command
_JAMS = (_C.STOP_TIMERS, _C.REPORT_FAULT, _C.ALARM)
_OPENS = (_C.STOP_TIMERS, _C.REPORT_FORCED, _C.ALARM)

_TABLE: Mapping[tuple[State, Event], Step] = {
    (_S.LOCKED, _H.GRANTED): Step(_S.DISPENSING, (_C.TIME_RELEASE, _C.UNLOCK)),
    (_S.LOCKED, _E.PORTION): Step(_S.JAMMED, (_C.REPORT_PORTION, _C.ALARM)),
    (_S.LOCKED, _E.FAULT): Step(_S.JAMMED, (_C.REPORT_FAULT, _C.ALARM)),
    (_S.LOCKED, _E.DOOR_OPEN): Step(_S.DOOR_FORCED, (_C.REPORT_FORCED, _C.ALARM)),
    (_S.DISPENSING, _E.PORTION): Step(_S.DISPENSING, (_C.TIME_RELEASE,)),
    (_S.DISPENSING, _H.ALL_OUT): Step(_S.LOCKED, (_C.LOCK, _C.STOP_TIMERS, _C.TAKEN)),
    (_S.DISPENSING, _H.RELEASE_OVER): Step(_S.SETTLING, (_C.LOCK, _C.TIME_HELD)),
    (_S.DISPENSING, _E.FAULT): Step(_S.JAMMED_SETTLING, (_C.LOCK, *_JAMS)),
    (_S.DISPENSING, _E.DOOR_OPEN): Step(_S.FORCED_SETTLING, (_C.LOCK, *_OPENS)),
    (_S.SETTLING, _H.ALL_OUT): Step(_S.LOCKED, (_C.STOP_TIMERS, _C.TAKEN)),
    (_S.SETTLING, _H.HELD_OVER): Step(_S.LOCKED, (_C.NOT_TAKEN,)),
    (_S.SETTLING, _E.FAULT): Step(_S.JAMMED_SETTLING, _JAMS),
    (_S.SETTLING, _E.DOOR_OPEN): Step(_S.FORCED_SETTLING, _OPENS),
    (_S.JAMMED_SETTLING, _H.ALL_OUT): Step(_S.JAMMED, (_C.TAKEN,)),
    (_S.JAMMED_SETTLING, _E.FAULT_OVER): Step(_S.SETTLING, (_C.SILENCE, _C.TIME_HELD)),
    (_S.JAMMED_SETTLING, _E.DOOR_OPEN): Step(_S.FORCED_SETTLING, (_C.REPORT_FORCED,)),
    (_S.FORCED_SETTLING, _H.ALL_OUT): Step(_S.DOOR_FORCED, (_C.TAKEN,)),
    (_S.FORCED_SETTLING, _E.DOOR_CLOSED): Step(_S.SETTLING, (_C.SILENCE, _C.TIME_HELD)),
    (_S.JAMMED, _E.PORTION): Step(_S.JAMMED, (_C.REPORT_PORTION,)),
    (_S.JAMMED, _E.FAULT_OVER): Step(_S.LOCKED, (_C.SILENCE,)),
    (_S.JAMMED, _E.DOOR_OPEN): Step(_S.DOOR_FORCED),
    (_S.DOOR_FORCED, _E.PORTION): Step(_S.DOOR_FORCED, (_C.REPORT_PORTION,)),
    (_S.DOOR_FORCED, _E.DOOR_CLOSED): Step(_S.LOCKED, (_C.SILENCE,)),
}

DISPENSER = Plan(
    name="dispenser",
    table=_TABLE,
    pending=frozenset({_S.DISPENSING, _S.SETTLING, _S.JAMMED_SETTLING, _S.FORCED_SETTLING}),
    unlocked=frozenset({_S.DISPENSING}),
    alarmed=frozenset({_S.JAMMED_SETTLING, _S.FORCED_SETTLING, _S.JAMMED, _S.DOOR_FORCED}),
    clear=frozenset({_S.LOCKED}),
    anew={_S.LOCKED: (_E.FAULT, _E.DOOR_OPEN), _S.SETTLING: (_E.FAULT, _E.DOOR_OPEN)},
)
