"""The files behind the port: its certificate and key, who signs those of callers, and which of those are withdrawn.

Rules:

1. A list of withdrawn certificates must be of the site's CA and of today: nobody is answered on one that has ended.
2. Files that are replaced are taken at once: the port begins anew, with all connections and sessions under the old ones
   ended, so that a withdrawn certificate is worth nothing from then on. What counts is which files there were before
   they were read: one that is replaced while it is read is noticed like any other.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from edge.errors import DeviceError

CHECK_S = 5.0
Files = tuple[tuple[int, int, int], ...]
"""Number, size and time of each."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Certificates:
    """PEM files; without ``crl`` nothing is withdrawn. ``now``: what the system's clock says."""

    certificate: Path
    key: Path | None
    ca: Path
    crl: Path | None = None
    now: Callable[[], datetime] = _now

    def context(self) -> ssl.SSLContext:
        """TLS for callers with a certificate of the CA that is not withdrawn.

        Raises:
            DeviceError: a file is missing or is not what it should be, or rule 1.
        """
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
            if self.crl is not None:
                self.current()
                context.load_verify_locations(self.crl)
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        except (OSError, ssl.SSLError) as error:
            raise DeviceError("iavs", f"certificate or key: {error.strerror or type(error).__name__}") from error
        return context

    def current(self) -> None:
        """Rule 1.

        Raises:
            DeviceError: it is not.
        """
        if self.crl is None:
            return
        try:
            withdrawn = x509.load_pem_x509_crl(self.crl.read_bytes())
            signers = x509.load_pem_x509_certificates(self.ca.read_bytes())
        except (OSError, ValueError) as error:
            raise DeviceError("iavs", f"{self.crl}: no list of withdrawn certificates") from error
        if not any(_signed_by(withdrawn, signer) for signer in signers):
            raise DeviceError("iavs", f"{self.crl}: a list of withdrawn certificates by somebody else")
        ends = withdrawn.next_update_utc
        if ends is not None and ends <= self.now():
            said = f"the list of withdrawn certificates ended at {ends:%Y-%m-%d %H:%M} UTC"
            raise DeviceError("iavs", f"{said}: nobody is answered until {self.crl} is a newer one")

    async def replaced(self, before: Files, check_s: float = CHECK_S) -> None:
        """Return when there are other ``files`` than before.

        Raises:
            DeviceError: rule 1 does not hold any more.
        """
        while self.files() == before:
            self.current()
            await asyncio.sleep(check_s)

    def files(self) -> Files:
        """Which files there are now: asked before they are read (rule 2)."""
        found = []
        for path in (self.certificate, self.key, self.ca, self.crl):
            try:
                stat = path.stat() if path is not None else None
            except OSError:
                stat = None
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns) if stat is not None else (0, 0, 0))
        return tuple(found)


def _signed_by(withdrawn: x509.CertificateRevocationList, signer: x509.Certificate) -> bool:
    try:
        return withdrawn.issuer == signer.subject and withdrawn.is_signature_valid(signer.public_key())  # type: ignore[arg-type]  # other keys: TypeError
    except (TypeError, ValueError, InvalidSignature):
        return False
