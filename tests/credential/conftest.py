"""An issuer with keys, and the trust list that knows it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from edge.credential import Credential, verify
from edge.credential.issue import SPEC_TABLE, Dialect, issue, signer
from edge.errors import Reason, Refusal
from edge.trust.interval import Interval
from edge.trust.keys import pinned
from edge.trust.list import Issuer, TrustList
from edge.trust.profile import Profile

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ISS = "https://id.example"
WEBP = b"RIFF\x2a\x00\x00\x00WEBPVP8 " + bytes(30)


@dataclass
class Mint:
    """Makes cards and verifies them."""

    private: Any = field(default_factory=lambda: ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    profile: Profile = field(default_factory=Profile)
    kid: str = "key-1"
    others: tuple[Issuer, ...] = ()
    now: datetime = NOW

    @property
    def claims(self) -> dict[str, Any]:
        return {
            "iss": ISS,
            "iat": self.now - timedelta(days=1),
            "nbf": self.now - timedelta(days=1),
            "exp": self.now + timedelta(days=365),
            "id": "3918592438",
            "full_name": "Ada Example",
            "date_of_birth": "19840418",
            "face": WEBP,
        }

    @property
    def trust(self) -> TrustList:
        issuer = Issuer((ISS,), (pinned(self.private.public_key(), kids=(self.kid,)),), profile=self.profile)
        return TrustList((issuer, *self.others), version=1)

    def card(self, dialect: Dialect = SPEC_TABLE, **changed: Any) -> str:
        return issue({**self.claims, **changed}, signer(self.private, self.kid), dialect)

    def verify(self, text: str, at: datetime | None = None, **options: Any) -> Credential:
        return verify(text, self.trust, Interval.exactly(at or self.now), **options)

    def refused(self, text: str, at: datetime | None = None, **options: Any) -> Reason:
        with pytest.raises(Refusal) as caught:
            self.verify(text, at, **options)
        return caught.value.reason


@pytest.fixture
def mint() -> Mint:
    return Mint()


@pytest.fixture
def minting() -> Callable[..., Mint]:
    """Make mints with other keys, profiles or neighbours."""
    return Mint


@pytest.fixture
def p256() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1())


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of public test vectors."""
    shared = Path(os.environ.get("EDGE_SHARED", Path(__file__).parents[2] / ".." / "shared")) / "vectors"
    if not shared.is_dir():
        pytest.skip("public test vectors are not here")
    return shared


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many vectors of each public suite were held against the engine."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    counts = [
        value
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "public vectors"
    ]
    if counts:
        terminalreporter.section("public vectors")
        for line in sorted(set(counts)):
            terminalreporter.line(line)
