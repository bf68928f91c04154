"""What the person in front of the gate is shown.

Rules:

1. The gate's own panel leads: the screen says what the lights say. It is heard at each change and once a second, so
   silence means that the gate is not working, and the screen says so.
2. The log adds the reason. It may come a moment before or after the lights turn red.
3. A sentence stays long enough to be read, unless the next person begins.
4. Fire comes before everything, an alarm before whatever the log says of a visit.
5. In a lane without cards nobody is asked for one: the screen at rest asks to look, with the hints of that moment, and
   a refusal that would ask for the card again says that the person is not recognised.
6. A gate that an operator locked down asks nobody for anything: the screen at rest says that it is closed.
7. Told the time, never asks for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from edge.audit.entry import Kind
from edge.biometric.values import Hint
from edge.errors import Reason
from edge.passage import Indication
from edge.web.standing import Told, reason_of

SILENT_S = 5.0
REFUSED_S = 7.0
RECEIPT_S = 20.0
"""How long a refusal stays where a receipt comes with it: long enough to take a telephone out."""
WELCOME_S = 3.0
HINT_S = 4.0
"""How long a hint stays in a lane without cards, where nothing else says that the person has gone."""


class Screen(Enum):
    """One full screen each."""

    IDLE = "idle"
    READING = "reading"
    LOOK = "look"
    WELCOME = "welcome"
    REFUSED = "refused"
    STEP_BACK = "step-back"
    ASSISTED = "assisted"
    ALARM = "alarm"
    FIRE = "fire"
    CLOSED = "closed"
    OUT_OF_SERVICE = "out-of-service"


_SCREENS = {
    Indication.READY: Screen.IDLE,
    Indication.READING: Screen.READING,
    Indication.LOOK: Screen.LOOK,
    Indication.WELCOME: Screen.WELCOME,
    Indication.REFUSED: Screen.REFUSED,
    Indication.STEP_BACK: Screen.STEP_BACK,
    Indication.ALARM: Screen.ALARM,
    Indication.OUT_OF_SERVICE: Screen.OUT_OF_SERVICE,
}
_THE_GATE_ITSELF = frozenset(
    {
        Reason.NO_TRUST,
        Reason.NO_ATTACK_DETECTION,
        Reason.CAMERA_FAULT,
        Reason.MODEL_FAULT,
        Reason.JOURNAL_FAULT,
        Reason.DISPENSER_FAULT,
    }
)
_A_PERSON_DECIDES = frozenset({Reason.REFERRED, Reason.UNSEALED_TOO_LONG})
_NOBODY_LOOKED_AT = frozenset({Indication.ALARM, Indication.READY})
_ASKS_FOR_THE_CARD = frozenset({Reason.PRESENTATION_ATTACK, Reason.TASK_NOT_DONE})


@dataclass(frozen=True)
class Face:
    """What the screen shows: a state, why when somebody is refused, and what would help when a face is looked for."""

    screen: Screen
    reason: Reason | None = None
    hint: Hint | None = None


_IDLE = Face(Screen.IDLE)


class Kiosk:
    """One screen, from what the panel shows and what the log says. Seconds are on the monotonic clock."""

    def __init__(self, at_s: float, refused_s: float = REFUSED_S) -> None:
        self._heard_s = at_s
        self._held_s = {Screen.REFUSED: refused_s, Screen.WELCOME: WELCOME_S}
        self._indication: Indication | None = None
        self._reason: Reason | None = None
        self._hint: Hint | None = None
        self._shown = Face(Screen.OUT_OF_SERVICE)
        self._until_s = at_s
        self._fire = False
        self._lane = False
        self._closed = False
        self._hint_until_s = math.inf

    def shown(self, indication: Indication, at_s: float) -> None:
        """The panel shows this now."""
        self._heard_s = at_s
        if indication is self._indication:
            return
        if indication is Indication.REFUSED and self._indication in _NOBODY_LOOKED_AT and self._reason is None:
            self._reason = Reason.NO_PROBE  # a card held up through an alarm: to be shown again
        self._indication, self._hint = indication, None
        if indication in (Indication.READY, Indication.READING, Indication.LOOK):
            self._reason = None
        if indication is not Indication.READY or at_s >= self._until_s:
            self._turn(_SCREENS[indication], at_s)

    def hinted(self, hint: Hint, at_s: float = math.inf) -> None:
        """This would help the person to be seen."""
        self._hint, self._hint_until_s = hint, at_s + HINT_S

    def without_cards(self, lane: bool) -> None:
        """Whether nobody is asked for a card."""
        self._lane = lane

    def locked_down(self, closed: bool) -> None:
        """Whether an operator locked the gate down."""
        self._closed = closed

    def burning(self, fire: bool) -> None:
        """Whether the fire alarm is on."""
        self._fire = fire

    def told(self, told: Told, at_s: float) -> None:
        """The log says this now."""
        if told.kind in (Kind.GRANTED, Kind.OVERRIDE):
            self._reason, screen = None, Screen.WELCOME
        elif told.kind is Kind.DENIED:
            self._reason, screen = reason_of(told), Screen.REFUSED
        else:
            return
        waits = screen is Screen.WELCOME and self._indication is Indication.STEP_BACK  # it opens a moment later
        if not (waits or self._indication is Indication.ALARM):
            self._turn(screen, at_s)

    def face(self, at_s: float) -> Face:
        """What the screen shows at this moment."""
        if self._fire:
            return Face(Screen.FIRE)
        if at_s - self._heard_s >= SILENT_S:
            return Face(Screen.OUT_OF_SERVICE)
        if at_s >= self._until_s and self._indication is Indication.READY:
            return self._at_rest(at_s)
        if self._shown.screen is Screen.LOOK:
            return Face(Screen.LOOK, hint=self._hint)
        return self._shown

    def _at_rest(self, at_s: float) -> Face:
        if self._closed:
            return Face(Screen.CLOSED)
        if self._lane:
            return Face(Screen.LOOK, hint=self._hint if at_s < self._hint_until_s else None)
        return _IDLE

    def serving(self, at_s: float) -> bool:
        """Whether the gate is heard and says that it works."""
        return at_s - self._heard_s < SILENT_S and self._indication not in (None, Indication.OUT_OF_SERVICE)

    def _turn(self, screen: Screen, at_s: float) -> None:
        self._until_s = at_s + self._held_s.get(screen, 0.0)
        if screen is not Screen.REFUSED:
            self._shown = Face(screen)
        elif self._reason in _A_PERSON_DECIDES:
            self._shown = Face(Screen.ASSISTED, self._reason)
        elif self._reason in _THE_GATE_ITSELF:
            self._shown = Face(Screen.OUT_OF_SERVICE)  # the fault is not the person's
        elif self._lane and self._reason in _ASKS_FOR_THE_CARD:
            self._shown = Face(Screen.REFUSED, Reason.NOT_RECOGNISED)
        else:
            self._shown = Face(Screen.REFUSED, self._reason)
