"""Two doors with room for one person between them: the entry door, then the exit door, and never both.

Beam 1 is crossed in the entry door, beam 2 is broken while somebody stands between the doors, and already before a
person who comes in has cleared beam 1. Whoever is inside can push the entry door open from there by its own handle;
software holds nobody.

Rules:

1. ``GRANTED`` releases the entry door, and only while the room is empty and both doors are shut.
2. A release ends as soon as its door opens: the door falls shut behind the person without being asked.
3. The exit door is released only when the entry door is shut again behind exactly one person, and locked in the same
   step in which the entry door opens. One that falls shut before the person is out is released again, as often as the
   held time allows.
4. Two people, or one who does not leave, open nothing more; the room has to be empty before the next grant. Whoever
   clears beam 1 without having broken beam 2 has turned back and may try again; whoever breaks beam 2 without beam 1,
   or beam 1 after beam 2, counts as a second person.
5. A fire ends every visit, frees the exit door until it is over and locks the entry door, in that order. That is the
   one movement of a lock that waits for no entry; a grant opens nothing meanwhile.
6. How the doors and the room stand is looked at anew whenever the passage comes to rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge.passage.words import Command, Event, Happening, Plan, Sensed, State, Step

_S, _E, _H, _C = State, Sensed, Happening, Command
_ENDS = (_C.STOP_TIMERS, _C.NOT_TAKEN)
_FORCED = (_C.LOCK, *_ENDS, _C.REPORT_FORCED, _C.ALARM)
_TAILGATE = (*_ENDS, _C.REPORT_TAILGATE, _C.ALARM)
_STAYS = (_C.LOCK_EXIT, *_ENDS, _C.TIME_HELD)
_HELD = (_C.NOT_TAKEN, _C.REPORT_HELD, _C.ALARM)

_WAY_IN: Mapping[tuple[State, Event], Step] = {
    (_S.LOCKED, _H.GRANTED): Step(_S.RELEASED, (_C.TIME_RELEASE, _C.UNLOCK)),
    (_S.LOCKED, _E.DOOR_OPEN): Step(_S.DOOR_FORCED, (_C.REPORT_FORCED, _C.ALARM)),
    (_S.LOCKED, _E.EXIT_DOOR_OPEN): Step(_S.EXIT_FORCED, (_C.REPORT_FORCED, _C.ALARM)),
    (_S.LOCKED, _E.BEAM_2): Step(_S.EMPTYING, (_C.TIME_HELD,)),
    (_S.RELEASED, _E.DOOR_OPEN): Step(_S.OPENED, (_C.LOCK, _C.STOP_TIMERS, _C.TIME_HELD)),
    (_S.RELEASED, _H.RELEASE_OVER): Step(_S.LOCKED, (_C.LOCK, _C.NOT_TAKEN)),
    (_S.RELEASED, _E.EXIT_DOOR_OPEN): Step(_S.EXIT_FORCED, _FORCED),
    (_S.RELEASED, _E.BEAM_2): Step(_S.EMPTYING, (_C.LOCK, *_ENDS, _C.TIME_HELD)),
    (_S.OPENED, _E.BEAM_1): Step(_S.CROSSING),
    (_S.OPENED, _E.BEAM_2): Step(_S.FORCED, _TAILGATE),
    (_S.OPENED, _E.DOOR_CLOSED): Step(_S.LOCKED, _ENDS),
    (_S.OPENED, _H.HELD_OVER): Step(_S.DOOR_FORCED, _HELD),
    (_S.CROSSING, _E.BEAM_1_CLEAR): Step(_S.OPENED),
    (_S.CROSSING, _E.BEAM_2): Step(_S.ENTERING),
    (_S.CROSSING, _H.HELD_OVER): Step(_S.DOOR_FORCED, _HELD),
    (_S.ENTERING, _E.BEAM_1_CLEAR): Step(_S.INSIDE),
    (_S.ENTERING, _E.BEAM_2_CLEAR): Step(_S.CROSSING),
    (_S.ENTERING, _H.HELD_OVER): Step(_S.FORCED, _HELD),
    (_S.INSIDE, _E.BEAM_1): Step(_S.RETURNING),
    (_S.INSIDE, _E.BEAM_2_CLEAR): Step(_S.UNSEEN),
    (_S.INSIDE, _H.HELD_OVER): Step(_S.FORCED, _HELD),
    (_S.UNSEEN, _E.BEAM_1): Step(_S.DOOR_FORCED, _TAILGATE),
    (_S.UNSEEN, _E.BEAM_2): Step(_S.INSIDE),
    (_S.UNSEEN, _E.DOOR_CLOSED): Step(_S.LOCKED, _ENDS),
    (_S.UNSEEN, _H.HELD_OVER): Step(_S.DOOR_FORCED, _HELD),
    (_S.RETURNING, _E.BEAM_1_CLEAR): Step(_S.FORCED, _TAILGATE),
    (_S.RETURNING, _E.BEAM_2_CLEAR): Step(_S.CROSSING),
    (_S.RETURNING, _H.HELD_OVER): Step(_S.FORCED, _HELD),
}

_WAY_OUT: Mapping[tuple[State, Event], Step] = {
    (_S.INSIDE, _E.DOOR_CLOSED): Step(_S.EXIT_RELEASED, (_C.STOP_TIMERS, _C.TIME_RELEASE, _C.UNLOCK_EXIT)),
    (_S.EXIT_RELEASED, _E.EXIT_DOOR_OPEN): Step(_S.EXIT_OPENED, (_C.LOCK_EXIT, _C.STOP_TIMERS, _C.TIME_HELD)),
    (_S.EXIT_RELEASED, _E.DOOR_OPEN): Step(_S.AWAY, _STAYS),
    (_S.EXIT_RELEASED, _H.RELEASE_OVER): Step(_S.EMPTYING, (_C.LOCK_EXIT, _C.NOT_TAKEN, _C.TIME_HELD)),
    (_S.EXIT_OPENED, _E.BEAM_2_CLEAR): Step(_S.EXITED, (_C.TAKEN,)),
    (_S.EXIT_OPENED, _E.EXIT_DOOR_CLOSED): Step(_S.EXIT_AGAIN, (_C.TIME_RELEASE, _C.UNLOCK_EXIT)),
    (_S.EXIT_OPENED, _E.DOOR_OPEN): Step(_S.DOOR_FORCED, (*_ENDS, _C.REPORT_FORCED, _C.ALARM)),
    (_S.EXIT_OPENED, _H.HELD_OVER): Step(_S.EXIT_FORCED, _HELD),
    (_S.EXIT_AGAIN, _E.EXIT_DOOR_OPEN): Step(_S.EXIT_OPENED, (_C.LOCK_EXIT,)),
    (_S.EXIT_AGAIN, _E.DOOR_OPEN): Step(_S.AWAY, _STAYS),
    (_S.EXIT_AGAIN, _H.RELEASE_OVER): Step(_S.EMPTYING, _STAYS),
    (_S.EXIT_AGAIN, _H.HELD_OVER): Step(_S.EMPTYING, _STAYS),
    (_S.EXITED, _E.EXIT_DOOR_CLOSED): Step(_S.LOCKED, (_C.STOP_TIMERS,)),
    (_S.EXITED, _E.DOOR_OPEN): Step(_S.DOOR_FORCED, (_C.STOP_TIMERS, _C.REPORT_FORCED, _C.ALARM)),
    (_S.EXITED, _H.HELD_OVER): Step(_S.EXIT_FORCED, (_C.REPORT_HELD, _C.ALARM)),
}

_WAY_BACK: Mapping[tuple[State, Event], Step] = {
    (_S.EMPTYING, _E.BEAM_2_CLEAR): Step(_S.LOCKED, (_C.STOP_TIMERS,)),
    (_S.EMPTYING, _E.DOOR_OPEN): Step(_S.AWAY, (_C.STOP_TIMERS, _C.TIME_HELD)),
    (_S.EMPTYING, _E.EXIT_DOOR_OPEN): Step(_S.EXIT_FORCED, (_C.STOP_TIMERS, _C.REPORT_FORCED, _C.ALARM)),
    (_S.EMPTYING, _H.HELD_OVER): Step(_S.FORCED, (_C.REPORT_HELD, _C.ALARM)),
    (_S.AWAY, _E.DOOR_CLOSED): Step(_S.LOCKED, (_C.STOP_TIMERS,)),
    (_S.AWAY, _H.HELD_OVER): Step(_S.DOOR_FORCED, (_C.REPORT_HELD, _C.ALARM)),
    (_S.FORCED, _E.BEAM_2_CLEAR): Step(_S.AWAY, (_C.SILENCE, _C.TIME_HELD)),
    (_S.DOOR_FORCED, _E.DOOR_CLOSED): Step(_S.LOCKED, (_C.SILENCE,)),
    (_S.EXIT_FORCED, _E.EXIT_DOOR_CLOSED): Step(_S.LOCKED, (_C.SILENCE,)),
    (_S.EVACUATED, _E.FIRE): Step(_S.EVACUATED),
    (_S.EVACUATED, _E.FIRE_OVER): Step(_S.LOCKED, (_C.LOCK_EXIT, _C.REPORT_FIRE_OVER, _C.SILENCE)),
}

_PENDING = frozenset(
    {
        *(_S.RELEASED, _S.OPENED, _S.CROSSING, _S.ENTERING, _S.INSIDE, _S.UNSEEN, _S.RETURNING),
        *(_S.EXIT_RELEASED, _S.EXIT_OPENED, _S.EXIT_AGAIN),
    }
)
_USED = {state for state, _ in (*_WAY_IN, *_WAY_OUT, *_WAY_BACK)} - {_S.EVACUATED}

_FIRE: Mapping[tuple[State, Event], Step] = {
    (state, _E.FIRE): Step(
        _S.EVACUATED,
        (
            _C.FREE_EXIT,
            _C.LOCK,
            _C.STOP_TIMERS,
            *((_C.NOT_TAKEN,) if state in _PENDING else ()),
            _C.REPORT_FIRE,
            _C.ALARM,
        ),
    )
    for state in State
    if state in _USED
}

INTERLOCK = Plan(
    name="interlock",
    table={**_WAY_IN, **_WAY_OUT, **_WAY_BACK, **_FIRE},
    pending=_PENDING,
    unlocked=frozenset({_S.RELEASED}),
    exit_unlocked=frozenset({_S.EXIT_RELEASED, _S.EXIT_AGAIN, _S.EVACUATED}),
    alarmed=frozenset({_S.FORCED, _S.DOOR_FORCED, _S.EXIT_FORCED, _S.EVACUATED}),
    clear=frozenset({_S.LOCKED}),
    anew={
        _S.LOCKED: (_E.FIRE, _E.DOOR_OPEN, _E.EXIT_DOOR_OPEN, _E.BEAM_2),
        _S.EMPTYING: (_E.DOOR_OPEN, _E.BEAM_2_CLEAR),
        _S.AWAY: (_E.DOOR_CLOSED,),
        _S.OPENED: (_E.DOOR_CLOSED,),
        _S.INSIDE: (_E.DOOR_CLOSED,),
        _S.UNSEEN: (_E.DOOR_CLOSED,),
        _S.EXIT_OPENED: (_E.BEAM_2_CLEAR,),
        _S.EXITED: (_E.EXIT_DOOR_CLOSED,),
        _S.FORCED: (_E.BEAM_2_CLEAR,),
        _S.DOOR_FORCED: (_E.DOOR_CLOSED,),
        _S.EXIT_FORCED: (_E.EXIT_DOOR_CLOSED,),
    },
)
