"""Certificates that a message brings along (RFC 9360): a way from its key to a root that is pinned for that issuer.

Rules:

1. A chain adds no trust. It counts only when it ends at a root that is pinned for the issuer the message names.
2. At most four certificates, the signer's first. Each is signed by the next with SHA-2 or Ed25519, the last by a root.
3. Authorities are authorities (basic constraints, path length, key usage); the signer is none and may sign.
4. Every certificate on the way is inside its validity, by the interval that now lies in.
5. The signer's certificate names the issuer (a URI or DNS name among its subject alternative names), except where the
   issuer's profile says that its roots sign for it alone.
6. A critical extension that is not understood ends the way.
7. Nothing is fetched: ``x5u`` and addresses in certificates are ignored.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from edge.errors import Reason, Refusal
from edge.trust.algorithms import WeakKey
from edge.trust.interval import Interval, Validity
from edge.trust.keys import MALFORMED, Key, pinned

LENGTH: Final = 4
_CERTIFICATE_BYTES: Final = 4096
_UNDERSTOOD: Final = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName)
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_SHA256: Final = -16
_SHA256_64: Final = -15


def key_of_chain(
    chain: object, x5t: object, roots: Sequence[x509.Certificate], names: Sequence[str], now: Interval, skew: timedelta
) -> Key:
    """The signer's key of a chain that leads to one of the roots.

    Args:
        chain: the ``x5chain`` header: one certificate, DER, or a list of them, the signer's first.
        x5t: the ``x5t`` header, None where there is none.
        roots: pinned for this issuer.
        names: ``iss`` values of this issuer, one of which the certificate must name; empty where the roots are its own.
        now: the interval that now lies in.
        skew: allowance at both edges of a validity.

    Raises:
        Refusal: unknown-key, key-withdrawn outside a validity, unreadable.
    """
    try:
        return _key_of_chain(chain, x5t, roots, names, now, skew)
    except WeakKey as error:
        raise _unknown(f"the certificate's key: {error}") from error
    except MALFORMED as error:
        raise Refusal(Reason.UNREADABLE, "x5chain does not hold certificates") from error


def _key_of_chain(
    chain: object, x5t: object, roots: Sequence[x509.Certificate], names: Sequence[str], now: Interval, skew: timedelta
) -> Key:
    certificates = _certificates(chain)
    if x5t is not None and not matches(x5t, certificates[0]):
        raise _unknown("x5t is not of the chain's first certificate")
    path = _path(certificates, roots)
    for depth, certificate in enumerate(path):
        _usable(certificate, depth)
        _in_time(certificate, now, skew)
    if names and not set(names) & set(_named(path[0])):
        raise _unknown("the certificate does not name the issuer")
    return pinned(path[0].public_key())


def _unknown(detail: str) -> Refusal:
    return Refusal(Reason.UNKNOWN_KEY, detail)


def _certificates(chain: object) -> list[x509.Certificate]:
    entries: list[Any] = chain if isinstance(chain, list) else [chain]
    if not 1 <= len(entries) <= LENGTH:
        raise _unknown("a chain of no or too many certificates")
    if not all(isinstance(entry, bytes) and len(entry) <= _CERTIFICATE_BYTES for entry in entries):
        raise Refusal(Reason.UNREADABLE, "x5chain does not hold certificates")
    return [x509.load_der_x509_certificate(entry) for entry in entries]


def _path(certificates: list[x509.Certificate], roots: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The chain up to and with its root; a root that was sent along is passed over."""
    path = [certificate for certificate in certificates if certificate not in roots]
    if not path:
        raise _unknown("a root is no signer")
    for certificate, issuer in itertools.pairwise(path):
        if not _issued(certificate, issuer):
            raise _unknown("the chain is broken")
    root = next((root for root in roots if _issued(path[-1], root)), None)
    if root is None:
        raise _unknown("the chain does not lead to a pinned root")
    return [*path, root]


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        hashed = certificate.signature_hash_algorithm
        if hashed is not None and not isinstance(hashed, _HASHES):
            return False
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *MALFORMED):
        return False
    return True


def _usable(certificate: x509.Certificate, depth: int) -> None:
    """Depth 0 signs messages, depth 1 signs that, and so on."""
    extensions = certificate.extensions
    if any(one.critical and not isinstance(one.value, _UNDERSTOOD) for one in extensions):
        raise _unknown("a certificate has a critical extension that is not understood")
    basic = next((one.value for one in extensions if isinstance(one.value, x509.BasicConstraints)), None)
    usage = next((one.value for one in extensions if isinstance(one.value, x509.KeyUsage)), None)
    if depth == 0:
        if basic is not None and basic.ca:
            raise _unknown("an authority is no signer")
        if usage is not None and not usage.digital_signature:
            raise _unknown("the certificate is not for signatures")
        return
    if basic is None or not basic.ca or (basic.path_length is not None and basic.path_length < depth - 1):
        raise _unknown("a certificate on the way is no authority, or not for so long a way")
    if usage is not None and not usage.key_cert_sign:
        raise _unknown("an authority's certificate is not for certificates")


def _in_time(certificate: x509.Certificate, now: Interval, skew: timedelta) -> None:
    validity = now.within(certificate.not_valid_before_utc, certificate.not_valid_after_utc, skew)
    if validity in (Validity.EXPIRED, Validity.NOT_YET):
        raise Refusal(Reason.KEY_WITHDRAWN, "a certificate on the way is outside its validity")


def _named(certificate: x509.Certificate) -> list[str]:
    """What the certificate says it signs for: URIs as they are, DNS names as https addresses and as they are."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    hosts = names.get_values_for_type(x509.DNSName)
    return [*names.get_values_for_type(x509.UniformResourceIdentifier), *hosts, *(f"https://{host}" for host in hosts)]


def matches(x5t: object, certificate: x509.Certificate) -> bool:
    """Whether ``x5t`` is a hash of the certificate: the standard pair, or the bare SHA-256 that some issuers write."""
    digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
    match x5t:
        case [int() as number, bytes() as value] if number in (_SHA256, _SHA256_64):
            return value == (digest if number == _SHA256 else digest[:8])
        case bytes():
            return x5t == digest
        case _:
            return False


def digest_in(x5t: object) -> bytes | None:
    """The bytes of an ``x5t`` hash, which may be an alias of a pinned key."""
    match x5t:
        case [int() as number, bytes() as value] if number in (_SHA256, _SHA256_64):
            return value
        case bytes():
            return x5t
        case _:
            return None
