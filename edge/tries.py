"""How often one holder was not recognised: after as many as the policy says a person decides."""

from __future__ import annotations

from edge.decision import AccessDecision
from edge.errors import Reason
from edge.ports import Clock

_FORGET_S = 600.0
_HOLDERS = 1000
_FAILED = frozenset({Reason.NO_MATCH, Reason.PRESENTATION_ATTACK, Reason.TASK_NOT_DONE})
_UNSEEN = frozenset({Reason.NO_PROBE, Reason.PROBE_QUALITY, Reason.SEVERAL_FACES})


class Tries:
    """Failed comparisons, or captures, of each holder; a grant or ten minutes forgive them."""

    def __init__(self, clock: Clock, *, captures: bool) -> None:
        self._clock = clock
        self._counted = _FAILED | _UNSEEN if captures else _FAILED
        self._tries: dict[bytes, tuple[int, float]] = {}

    def of(self, subject: bytes) -> int:
        """How many there were."""
        count, since = self._tries.get(subject, (0, 0.0))
        return count if self._clock.monotonic() - since < _FORGET_S else 0

    def count(self, decision: AccessDecision) -> None:
        """Take in what was decided."""
        if decision.subject is None:
            return
        if decision.reason in self._counted:
            self._tries[decision.subject] = (self.of(decision.subject) + 1, self._clock.monotonic())
            if len(self._tries) > _HOLDERS:
                self._tries.pop(next(iter(self._tries)))
        elif decision.granted:
            self._tries.pop(decision.subject, None)
