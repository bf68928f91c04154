"""The last complete state of what is trusted, as it lies on disk between two processes, to be verified by each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stored:
    """What was committed last.

    Attributes:
        generation: grows with each commit.
        anchor: SHA-256 of the root that the chain began with.
        metadata: newest of each role.
        files: the verified files, by path.
        expires_s: when the timestamp ends, seconds since 1970.
    """

    generation: int = 0
    anchor: bytes = b""
    metadata: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    expires_s: int = 0
