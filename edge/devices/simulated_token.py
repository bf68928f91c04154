"""The twin of the token: a P-256 key in memory that can be pulled out, swapped and slowed down.

It refuses what the real one refuses: another key than the enrolled one, and anything that is not the statement of a
checkpoint which continues what was signed before.
"""

from __future__ import annotations

import asyncio

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from edge.audit.checkpoint import key_id
from edge.audit.entry import LogError
from edge.audit.sealing import Guard
from edge.errors import DeviceError


class SimulatedToken:
    """The token of ``ports.Token``, in memory."""

    def __init__(self, origin: str, key: ec.EllipticCurvePrivateKey | None = None) -> None:
        self._key = self._enrolled = key or ec.generate_private_key(ec.SECP256R1())
        self._plugged = True
        self._takes_s = 0.0
        self._guard = Guard(origin, key_id(_point(self._enrolled)))
        self._note: bytes | None = None
        self.signatures = 0

    @property
    def enrolled(self) -> bytes:
        """Uncompressed point of the key that the gate was enrolled with."""
        return _point(self._enrolled)

    def unplug(self) -> None:
        """Pull it out."""
        self._plugged = False

    def plug(self, other: ec.EllipticCurvePrivateKey | None = None) -> None:
        """Put it back, or another one that looks the same."""
        self._plugged, self._key = True, other or self._enrolled

    def slow_down(self, seconds: float) -> None:
        """Take so long for each signature."""
        self._takes_s = seconds

    async def public_key(self) -> bytes:
        """The uncompressed point of the key in the token, which is the enrolled one."""
        if not self._plugged:
            raise DeviceError("token", "'simulated' is not plugged in")
        if self._key is not self._enrolled:
            raise DeviceError("token", "'simulated' holds another key than the one this gate was enrolled with")
        return self.enrolled

    async def sign(self, statement: bytes) -> bytes:
        """Sign the statement of a checkpoint; returns r || s, 64 bytes."""
        await self.public_key()
        try:
            self._guard.admit(statement)
        except LogError as error:
            raise DeviceError("token", f"not signed: {error}") from error
        await asyncio.sleep(self._takes_s)
        await self.public_key()  # it may have been pulled out meanwhile
        r, s = decode_dss_signature(self._key.sign(statement, ec.ECDSA(hashes.SHA256())))
        self._guard.signed(statement)
        self.signatures += 1
        return r.to_bytes(32) + s.to_bytes(32)

    async def remember(self, note: bytes) -> None:
        """Keep these few bytes in the token."""
        await self.public_key()
        self._note = note

    async def recall(self) -> bytes | None:
        """What the token remembers."""
        await self.public_key()
        return self._note


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
