"""One record of the log, as deterministic CBOR (RFC 8949 section 4.2.1).

Rules:

1. An entry is a map with small integer keys; its ``fields`` are a map with text keys, so that a log explains itself.
2. Values are integers, text, byte strings, booleans, None, arrays and maps. No floats (a score is an integer 0 to 10000), no tags.
3. No image, template, code text or plain identifier, ever. Kinds are added, never renamed or renumbered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

Value = int | str | bytes | bool | None | list["Value"] | Mapping[str, "Value"]


class Kind(IntEnum):
    """What happened. The number is on disk for years."""

    BOOT = 1
    SHUTDOWN = 2
    GRANTED = 10
    DENIED = 11
    TAKEN = 12
    NOT_TAKEN = 13
    DOOR_FORCED = 20
    DOOR_HELD = 21
    TAILGATE = 22
    EXIT_REQUEST = 23
    FIRE = 24
    FIRE_OVER = 25
    TAMPER = 26
    DEVICE_LOST = 30
    DEVICE_BACK = 31
    CLOCK_STEP = 40
    CONFIGURATION = 50
    TRUST_UPDATE = 51
    EPOCH_OPEN = 60


@dataclass(frozen=True)
class Event:
    """Something to be written down; the journal adds index, epoch, time and boot."""

    kind: Kind
    fields: Mapping[str, Value] = field(default_factory=dict)
