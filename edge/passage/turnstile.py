"""A turnstile with two beams: beam 1 on the entry side, beam 2 behind the barrier. Their order gives the direction.

Rules:

1. Only ``GRANTED`` unlocks, and only from a state in which nobody is where they should not be.
2. Every way out of an unlocked state locks; two timers bound how long it can last.
3. Beam 2 after beam 1 is a passage. Who clears beam 1 before beam 2 may come again for the rest of the release: a wheel
   and a stick leave gaps. Afterwards they have turned back: not taken.
4. Leaving (beam 2 first) is free and is nobody's alarm. Software never owns the exit. Nothing opens until the lane is
   clear again, and who stands in beam 2 for longer than the held time is an alarm: behind it the gate sees nobody else.
5. A door that is forced, or stands open when nobody passes, is an alarm until it is closed; beams do not mend it. One
   that opens in the time of an exit request is somebody leaving, and has the held time to close.
6. Fire, tampering and exit requests are reported in every state and move nothing.
7. The alarm of a lane that was forced, followed in or blocked ends when both beams have been clear for a while;
   whoever breaks one in that time begins it anew.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge.passage.words import Command, Event, Happening, Plan, Sensed, State, Step

_S, _E, _H, _C = State, Sensed, Happening, Command
_PASSES = (_C.LOCK, _C.STOP_TIMERS, _C.TIME_HELD, _C.TAKEN)

_TABLE: Mapping[tuple[State, Event], Step] = {
    (_S.LOCKED, _H.GRANTED): Step(_S.RELEASED, (_C.TIME_RELEASE, _C.UNLOCK)),
    (_S.LOCKED, _E.BEAM_1): Step(_S.APPROACHED),
    (_S.LOCKED, _E.BEAM_2): Step(_S.LEAVING, (_C.TIME_HELD,)),
    (_S.LOCKED, _E.DOOR_OPEN): Step(_S.DOOR_FORCED, (_C.REPORT_FORCED, _C.ALARM)),
    (_S.LOCKED, _H.DOOR_LEFT_OPEN): Step(_S.DOOR_FORCED, (_C.REPORT_HELD, _C.ALARM)),
    (_S.APPROACHED, _H.GRANTED): Step(_S.ENTERED, (_C.TIME_RELEASE, _C.UNLOCK)),
    (_S.APPROACHED, _E.BEAM_1_CLEAR): Step(_S.LOCKED),
    (_S.APPROACHED, _E.BEAM_2): Step(_S.FORCED, (_C.REPORT_FORCED, _C.ALARM)),
    (_S.APPROACHED, _E.DOOR_OPEN): Step(_S.DOOR_FORCED, (_C.REPORT_FORCED, _C.ALARM)),
    (_S.APPROACHED, _H.DOOR_LEFT_OPEN): Step(_S.DOOR_FORCED, (_C.REPORT_HELD, _C.ALARM)),
    (_S.RELEASED, _E.BEAM_1): Step(_S.ENTERED),
    (_S.RELEASED, _E.BEAM_2): Step(_S.LEAVING, (_C.LOCK, _C.STOP_TIMERS, _C.NOT_TAKEN, _C.TIME_HELD)),
    (_S.RELEASED, _H.RELEASE_OVER): Step(_S.LOCKED, (_C.LOCK, _C.NOT_TAKEN)),
    (_S.ENTERED, _E.BEAM_2): Step(_S.PASSED, _PASSES),
    (_S.ENTERED, _E.BEAM_1_CLEAR): Step(_S.STEPPED_BACK),
    (_S.ENTERED, _H.RELEASE_OVER): Step(_S.LINGERING, (_C.TIME_HELD,)),
    (_S.STEPPED_BACK, _E.BEAM_1): Step(_S.ENTERED),
    (_S.STEPPED_BACK, _E.BEAM_2): Step(_S.PASSED, _PASSES),
    (_S.STEPPED_BACK, _H.RELEASE_OVER): Step(_S.LOCKED, (_C.LOCK, _C.NOT_TAKEN)),
    (_S.LINGERING, _E.BEAM_2): Step(_S.PASSED, _PASSES),
    (_S.LINGERING, _E.BEAM_1_CLEAR): Step(_S.LOCKED, (_C.LOCK, _C.STOP_TIMERS, _C.NOT_TAKEN)),
    (_S.LINGERING, _H.HELD_OVER): Step(_S.FORCED, (_C.LOCK, _C.NOT_TAKEN, _C.REPORT_HELD, _C.ALARM)),
    (_S.PASSED, _E.BEAM_2_CLEAR): Step(_S.LOCKED, (_C.STOP_TIMERS,)),
    (_S.PASSED, _E.BEAM_1): Step(_S.FORCED, (_C.STOP_TIMERS, _C.REPORT_TAILGATE, _C.ALARM)),
    (_S.PASSED, _H.HELD_OVER): Step(_S.FORCED, (_C.REPORT_HELD, _C.ALARM)),
    (_S.LEAVING, _E.BEAM_2_CLEAR): Step(_S.LEFT, (_C.TIME_HELD,)),
    (_S.LEAVING, _H.HELD_OVER): Step(_S.FORCED, (_C.REPORT_HELD, _C.ALARM)),
    (_S.LEFT, _E.BEAM_1_CLEAR): Step(_S.LOCKED, (_C.STOP_TIMERS,)),
    (_S.LEFT, _E.BEAM_2): Step(_S.LEAVING, (_C.TIME_HELD,)),
    (_S.LEFT, _H.HELD_OVER): Step(_S.APPROACHED),
    (_S.FORCED, _E.BEAM_1_CLEAR): Step(_S.CLEARING, (_C.TIME_ALARM,)),
    (_S.FORCED, _E.BEAM_2_CLEAR): Step(_S.CLEARING, (_C.TIME_ALARM,)),
    (_S.FORCED, _E.DOOR_OPEN): Step(_S.DOOR_FORCED),
    (_S.CLEARING, _E.BEAM_1): Step(_S.FORCED, (_C.STOP_TIMERS,)),
    (_S.CLEARING, _E.BEAM_2): Step(_S.FORCED, (_C.STOP_TIMERS,)),
    (_S.CLEARING, _H.ALARM_OVER): Step(_S.LOCKED, (_C.SILENCE,)),
    (_S.CLEARING, _E.DOOR_OPEN): Step(_S.DOOR_FORCED, (_C.STOP_TIMERS,)),
    (_S.DOOR_FORCED, _E.DOOR_CLOSED): Step(_S.LOCKED, (_C.SILENCE,)),
}

_OPEN = frozenset({_S.RELEASED, _S.ENTERED, _S.STEPPED_BACK, _S.LINGERING})

TURNSTILE = Plan(
    name="turnstile",
    table=_TABLE,
    pending=_OPEN,
    unlocked=_OPEN,
    alarmed=frozenset({_S.FORCED, _S.CLEARING, _S.DOOR_FORCED}),
    clear=frozenset({_S.LOCKED, _S.APPROACHED}),
    anew={
        _S.LOCKED: (_E.BEAM_1, _E.BEAM_2),
        _S.APPROACHED: (_E.BEAM_2,),
        _S.LEFT: (_E.BEAM_1_CLEAR,),
        _S.CLEARING: (_E.BEAM_1, _E.BEAM_2),
    },
    excused={(_S.LOCKED, _E.DOOR_OPEN): _E.EXIT_REQUEST, (_S.APPROACHED, _E.DOOR_OPEN): _E.EXIT_REQUEST},
)
