"""The gate as a state machine: one table for each kind of passage, and nothing that is not in a table.

Read ``turnstile.py`` first. ``PLANS`` has every kind under the name that the configuration uses.
"""

from collections.abc import Mapping

from edge.passage.dispenser import DISPENSER
from edge.passage.interlock import INTERLOCK
from edge.passage.turnstile import TURNSTILE
from edge.passage.words import (
    ALWAYS,
    AT_REST,
    EVENTS,
    OPPOSITE,
    Command,
    Event,
    Happening,
    Indication,
    Plan,
    Sensed,
    State,
    Step,
    stands,
)

PLANS: Mapping[str, Plan] = {plan.name: plan for plan in (TURNSTILE, DISPENSER, INTERLOCK)}

__all__ = [
    "ALWAYS",
    "AT_REST",
    "DISPENSER",
    "EVENTS",
    "INTERLOCK",
    "OPPOSITE",
    "PLANS",
    "TURNSTILE",
    "Command",
    "Event",
    "Happening",
    "Indication",
    "Plan",
    "Sensed",
    "State",
    "Step",
    "stands",
]
