"""What was signed until a day is flagged from that day on, and refused when the profile says it is too old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from edge.credential import verify
from edge.credential.issue import SPEC_TABLE, issue
from edge.decision import Policy
from edge.devices.simulated import SimulatedClock
from edge.errors import Reason, Refusal
from edge.settings import profile
from edge.trust.charter import MAY, Charter, Operator
from edge.trust.commands import heard, order
from edge.trust.cose import signer
from edge.trust.interval import ClockState, Interval
from edge.trust.keys import pinned
from edge.trust.list import Issuer, TrustList
from edge.visit import Visit

ROOT = Path(__file__).resolve().parents[2]
ISS = "https://id.example"
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FACE = b"RIFF\x2a\x00\x00\x00WEBPVP8 " + bytes(30)


class Standing:
    """A trust list, and a log that is sealed."""

    def __init__(self, trust: TrustList) -> None:
        self._trust = trust

    def trust(self) -> TrustList:
        return self._trust

    def unsealed(self) -> tuple[int, float]:
        return 0, 0.0


def shown(trust: TrustList) -> set[str]:
    """The flags of a visit to a turnstile with a good card.

    Raises:
        Refusal: it ends before anybody looks at a face.
    """
    clock = SimulatedClock()
    clock.moment = NOW
    policy = profile("turnstile", Policy, ROOT / "config" / "edge.toml")
    claims = {"iss": ISS, "iat": NOW - DAY, "exp": NOW + 30 * DAY, "id": "1", "full_name": "Ada Example", "face": FACE}
    visit = Visit(clock, policy, Standing(trust))
    credential = verify(issue(claims, signer(KEY, "k"), SPEC_TABLE), visit.trust, visit.now)
    visit.verified(credential, b"subject", lambda _: 0)
    return visit._flags


def a_list(*, issued: timedelta = -DAY, ends: timedelta = 9 * DAY, until: timedelta | None = None) -> TrustList:
    issuer = Issuer((ISS,), (pinned(KEY.public_key(), kids=("k",)),), until=None if until is None else NOW + until)
    return TrustList((issuer,), 1, NOW + issued, NOW + ends)


@pytest.mark.parametrize(
    ("trust", "old"),
    [
        (a_list(), False),
        (a_list(until=9 * DAY), False),
        (a_list(ends=-DAY / 24), True),
        (a_list(until=-DAY / 24), True),
        (a_list(until=-8 * DAY), True),
    ],
    ids=["fresh", "of an authority", "ended", "authority's ended", "authority's ended long ago"],
)
def test_a_list_past_its_end_is_flagged(trust: TrustList, old: bool) -> None:
    assert ("trust-old" in shown(trust)) is old


def test_an_issuer_whose_authoritys_list_ended_too_long_ago_lets_nobody_in() -> None:
    with pytest.raises(Refusal) as caught:
        shown(a_list(until=-31 * DAY))
    assert caught.value.reason is Reason.NO_TRUST


def test_an_operator_commands_nothing_after_the_end_of_the_charter() -> None:
    anna = ec.generate_private_key(ec.SECP256R1())
    operator = Operator("anna", pinned(anna.public_key()), frozenset(MAY))
    times = (NOW - DAY / 1440, NOW + DAY / 1440)
    command = order("unlock", "urn:gate:1", 1, times, signer(anna))
    for state, upper in ((ClockState.SYNCED, NOW), (ClockState.FLOOR, None)):
        now = Interval(NOW, upper, state)
        with pytest.raises(Refusal, match="the charter that names the operators has ended"):
            heard(command, Charter(1, operators=(operator,), expires=NOW - DAY), "urn:gate:1", {}, now)
    good = Charter(1, operators=(operator,), expires=NOW + DAY)
    assert heard(command, good, "urn:gate:1", {}, Interval.exactly(NOW)).by == "anna"
