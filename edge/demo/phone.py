"""An authenticator app: six digits each half minute, and none of them twice."""

from __future__ import annotations

import base64
import time

from edge.trust.operators import STEP_S, code_of, step_of


class Phone:
    """What an operator has in the pocket."""

    def __init__(self, secret: str) -> None:
        """``secret`` in Base32, as the enrolment page's drawing tells it."""
        self._secret = base64.b32decode(secret + "=" * (-len(secret) % 8))
        self._shown = 0

    def code(self) -> str:
        """The next code that the gate takes; waits for it if the last ones came too fast."""
        step = max(step_of(time.time()) - 1, self._shown + 1)
        time.sleep(max(0.0, (step - 1) * STEP_S - time.time()))
        self._shown = step
        return code_of(self._secret, step)
