"""The gate as a state machine, one table."""

from __future__ import annotations

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
