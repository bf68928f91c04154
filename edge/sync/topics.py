"""Where messages go: ``gates/v1/<tenant>/<site>/<gate>/<what>``.

Rules:

1. A name is 1 to 64 letters, digits, dots, dashes and underscores: no wildcard, slash, NUL or dot-dot fits in.
2. Who may publish where is the broker's to enforce; whoever receives compares the topic with what the message says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX = "gates/v1"
SHARED = f"$share/ingest/{PREFIX}/+/+/+/evt"
"""What a collector subscribes to: each message goes to one of all collectors."""

STATES = f"{PREFIX}/+/+/+/state"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Address:
    """One gate, as the topics name it.

    Raises:
        ValueError: a name that does not belong into a topic.
    """

    tenant: str
    site: str
    gate: str

    def __post_init__(self) -> None:
        for name in (self.tenant, self.site, self.gate):
            if _NAME.fullmatch(name) is None or ".." in name:
                raise ValueError(f"{name[:64]!r} cannot be part of a topic")

    @property
    def name(self) -> str:
        """The name in the gate's certificate: user and client id."""
        return f"{self.tenant}/{self.site}/{self.gate}"

    @property
    def origin(self) -> str:
        """Name of this gate's log."""
        return f"urn:gate:{self.tenant}:{self.site}:{self.gate}"

    def topic(self, what: str) -> str:
        """The gate's topic for ``evt``, ``ack``, ``state``, ``cmd`` or ``cmd/res``."""
        return f"{PREFIX}/{self.name}/{what}"


def addressed(topic: str, what: str) -> Address | None:
    """The gate whose ``what`` topic this is, or None when it is no such topic."""
    prefix, suffix = f"{PREFIX}/", f"/{what}"
    if not (topic.startswith(prefix) and topic.endswith(suffix)):
        return None
    parts = topic[len(prefix) : -len(suffix)].split("/")
    if len(parts) != 3:
        return None
    try:
        return Address(*parts)
    except ValueError:
        return None
