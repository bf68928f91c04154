"""Keys of issuers: loaded once, checked once, with the algorithm pinned.

Rules:

1. A key that proves nothing (small order, short RSA, unknown curve) is an error when loaded, not when used.
2. A key has aliases: the same key is called by text, by its base64url or hexadecimal digits, or by a thumbprint.
   An alias only proposes a key; the signature decides.
3. A private JWK is refused: whoever has one here made a mistake that must be seen.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from edge.trust.algorithms import BY_NUMBER, Algorithm, Check, PublicKey, WeakKey, check, fitting

MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What ``cryptography`` raises for keys and certificates that are none; not all of it is a ``ValueError``."""


@dataclass(frozen=True)
class Key:
    """One public key of an issuer.

    Attributes:
        public: the key.
        algorithm: the only algorithm it signs with.
        aliases: byte strings that a credential may call it by.
        not_before, not_after: the key's own validity; None is open.
        compromised_since: what it signed from then on is not believed, nor anything without a date.
        thumbprint: SHA-256 of the SubjectPublicKeyInfo.
        check: whether a signature over a message is this key's; made ready once.
    """

    public: PublicKey = field(repr=False)
    algorithm: Algorithm
    aliases: frozenset[bytes] = frozenset()
    not_before: datetime | None = None
    not_after: datetime | None = None
    compromised_since: datetime | None = None
    thumbprint: bytes = field(init=False)
    check: Check = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "thumbprint", thumbprint(self.public))
        object.__setattr__(self, "check", check(self.public, self.algorithm))


def spki(public: PublicKey) -> bytes:
    """SubjectPublicKeyInfo, DER."""
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def thumbprint(public: PublicKey) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo."""
    return hashlib.sha256(spki(public)).digest()


def thumbprints(keys: Iterable[Key]) -> bytes:
    """Of all of these, each once and in one order: what tells one set of keys from another."""
    return b"".join(sorted({key.thumbprint for key in keys}))


def pinned(
    public: object,
    name: str | None = None,
    kids: Iterable[str | bytes] = (),
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    compromised_since: datetime | None = None,
) -> Key:
    """Make a key of a public key and the names it goes by.

    Args:
        public: a public key of ``cryptography``.
        name: JOSE name of the algorithm; without one the usual algorithm of that kind of key.
        kids: key identifiers, text or bytes.
        not_before, not_after, compromised_since: see ``Key``.

    Raises:
        WeakKey: the key proves nothing.
    """
    key, algorithm = fitting(public, name)
    aliases = {form for kid in kids for form in forms(kid)}
    aliases |= set(_thumbprint_forms(thumbprint(key))) | set(_thumbprint_forms(jwk_thumbprint(key)))
    return Key(key, algorithm, frozenset(aliases), not_before, not_after, compromised_since)


def forms(kid: str | bytes) -> tuple[bytes, ...]:
    """What a key identifier may mean, most literal first: its bytes, base64url of bytes, hexadecimal of bytes."""
    raw = kid.encode() if isinstance(kid, str) else kid
    found = [raw]
    with contextlib.suppress(binascii.Error):
        found.append(base64.b64decode(raw + b"=" * (-len(raw) % 4), b"-_", validate=True))
    with contextlib.suppress(binascii.Error):
        found.append(binascii.unhexlify(raw))
    return tuple(dict.fromkeys(form for form in found if form))


def _thumbprint_forms(digest: bytes) -> tuple[bytes, bytes]:
    return digest, base64.urlsafe_b64encode(digest).rstrip(b"=")


def jwk_thumbprint(public: PublicKey) -> bytes:
    """RFC 7638 thumbprint, SHA-256."""
    members = _required_members(public)
    return hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest()


def jwk(key: Key, kid: str) -> dict[str, str]:
    """Write a public key as a JWK."""
    return {**_required_members(key.public), "alg": key.algorithm.jose, "kid": kid, "use": "sig"}


def _required_members(public: PublicKey) -> dict[str, str]:
    match public:
        case ed25519.Ed25519PublicKey():
            return {"crv": "Ed25519", "kty": "OKP", "x": _b64(public.public_bytes_raw())}
        case ec.EllipticCurvePublicKey():
            numbers, size = public.public_numbers(), (public.key_size + 7) // 8
            x, y = numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")
            return {"crv": _CURVE_NAMES[public.curve.name], "kty": "EC", "x": _b64(x), "y": _b64(y)}
        case rsa.RSAPublicKey():
            n, e = public.public_numbers().n, public.public_numbers().e
            return {"e": _b64(_minimal(e)), "kty": "RSA", "n": _b64(_minimal(n))}


_CURVES: dict[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}
_CURVE_NAMES = {curve.name: name for name, curve in _CURVES.items()}


def _minimal(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unb64(members: Mapping[str, Any], name: str) -> bytes:
    text = members.get(name)
    if not isinstance(text, str) or "=" in text:
        raise WeakKey(f"JWK member {name} is missing or not base64url")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), "-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise WeakKey(f"JWK member {name} is not base64url") from error


def from_jwk(members: Mapping[str, Any]) -> Key:
    """Load a public JWK (RFC 7517, 7518, 8037).

    Raises:
        WeakKey: not a public signature key, or one that proves nothing.
    """
    if any(name in members for name in ("d", "k", "p", "q")):
        raise WeakKey("JWK holds a private or symmetric key")
    if members.get("use", "sig") != "sig" or "verify" not in members.get("key_ops", ["verify"]):
        raise WeakKey("JWK is not for signatures")
    name, kid = members.get("alg"), members.get("kid")
    if not isinstance(name, str | None) or not isinstance(kid, str | None):
        raise WeakKey("JWK member alg or kid is not text")
    try:
        public = _public_of(members)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise WeakKey(f"JWK does not hold a key: {error}") from error
    return pinned(public, name, () if kid is None else (kid,))


def _public_of(members: Mapping[str, Any]) -> PublicKey:
    kind, curve = members.get("kty"), members.get("crv")
    if kind == "OKP" and curve == "Ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(_unb64(members, "x"))
    if kind == "EC" and curve in _CURVES:
        size = (_CURVES[curve].key_size + 7) // 8
        x, y = _unb64(members, "x"), _unb64(members, "y")
        if len(x) != size or len(y) != size:
            raise WeakKey("JWK coordinates are not of the curve's length")
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[curve], b"\x04" + x + y)
    if kind == "RSA":
        n, e = int.from_bytes(_unb64(members, "n"), "big"), int.from_bytes(_unb64(members, "e"), "big")
        if n.bit_length() not in range(2048, 8193):
            raise WeakKey("RSA key too small or too large")
        return rsa.RSAPublicNumbers(e, n).public_key()
    raise WeakKey(f"JWK kind {kind!r} with curve {curve!r} is not accepted")


def from_cose_key(members: Mapping[Any, Any], kids: Iterable[str | bytes] = ()) -> Key:
    """Load a public COSE_Key (RFC 9053 section 7).

    Raises:
        WeakKey: not a public signature key, or one that proves nothing.
    """
    kind, curve, x, y = members.get(1), members.get(-1), members.get(-2), members.get(-3)
    if -4 in members or kind == 4 or (kind == 3 and -3 in members):
        raise WeakKey("COSE_Key holds a private or symmetric key")
    operations = members.get(4)
    if operations is not None and (not isinstance(operations, list) or _VERIFY not in operations):
        raise WeakKey("COSE_Key is not for signatures")
    try:
        public = _public_of_cose(kind, curve, x, y)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise WeakKey(f"COSE_Key does not hold a key: {error}") from error
    number, kid = members.get(3), members.get(2)
    name = None
    if number is not None:
        if type(number) is not int or number not in BY_NUMBER:
            raise WeakKey("COSE_Key is for an algorithm that is not accepted")
        name = BY_NUMBER[number].jose
    if kid is not None and not isinstance(kid, bytes):
        raise WeakKey("COSE_Key has a kid that is not bytes")
    return pinned(public, name, (*kids, *(() if kid is None else (kid,))))


_VERIFY = 2
_COSE_CURVES = {1: "P-256", 2: "P-384", 3: "P-521", 8: "secp256k1"}


def _public_of_cose(kind: object, curve: object, x: object, y: object) -> PublicKey:
    match kind, curve, x, y:
        case 1, 6, bytes(), _:
            return ed25519.Ed25519PublicKey.from_public_bytes(x)
        case 2, 1 | 2 | 3 | 8, bytes(), bytes() | bool():
            named = _CURVES[_COSE_CURVES[curve]]
            size = (named.key_size + 7) // 8
            if len(x) != size or (isinstance(y, bytes) and len(y) != size):
                raise WeakKey("COSE_Key coordinates are not of the curve's length")
            point = b"\x04" + x + y if isinstance(y, bytes) else (b"\x03" if y else b"\x02") + x
            return ec.EllipticCurvePublicKey.from_encoded_point(named, point)
        case 3, bytes(), bytes(), _:
            return rsa.RSAPublicNumbers(int.from_bytes(x, "big"), int.from_bytes(curve, "big")).public_key()
        case _:
            raise WeakKey("COSE_Key is of a kind or curve that is not accepted")


def public_from(material: str | bytes) -> PublicKey:
    """Load a public key from PEM (SPKI or certificate), DER of either, or base64 of DER.

    Raises:
        WeakKey: nothing usable in it.
    """
    return _material(material)[0]


def from_material(material: str | bytes, name: str | None = None, kids: Iterable[str | bytes] = ()) -> Key:
    """Load a key from the same, with a certificate's validity and hash where it is one.

    Raises:
        WeakKey: nothing usable in it.
    """
    public, certificate = _material(material)
    if certificate is None:
        return pinned(public, name, kids)
    digest = certificate.fingerprint(hashes.SHA256())
    called = (*kids, digest, digest[:8])
    return pinned(public, name, called, certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def _material(material: str | bytes) -> tuple[PublicKey, x509.Certificate | None]:
    raw = material.encode() if isinstance(material, str) else material
    for attempt in (_from_pem, _from_der, _from_base64):
        try:
            found = attempt(raw if attempt is _from_der else raw.strip())
        except MALFORMED:
            continue
        certificate = found if isinstance(found, x509.Certificate) else None
        return fitting(found.public_key() if certificate is not None else found)[0], certificate
    raise WeakKey("neither PEM nor DER nor base64 of a public key or certificate")


def _from_pem(raw: bytes) -> Any:
    if b"-----BEGIN CERTIFICATE-----" in raw:
        return x509.load_pem_x509_certificate(raw)
    return serialization.load_pem_public_key(raw)


def _from_der(raw: bytes) -> Any:
    try:
        return serialization.load_der_public_key(raw)
    except MALFORMED:
        return x509.load_der_x509_certificate(raw)


def _from_base64(raw: bytes) -> Any:
    return _from_der(base64.b64decode(b"".join(raw.split()), validate=True))
