"""Compact JSON web signatures, checked against keys that lie here; nothing is fetched.

Rules:

1. The key says which algorithm it is for; the header's word is believed only when it is the same. ``none`` and shared
   secrets are not among them.
2. A key is found by its ``kid``; without one, the set must hold a single key.
3. ``crit`` is refused: we know no extensions.
4. A set may say beside a key whose it is (``iss``): then it signs in that name only.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_LIMIT = 16 * 1024


class Invalid(ValueError):  # noqa: N818 -- says what the signature is
    """Not a signature of one of the keys; the message says why."""


class Keys:
    """Public keys by their ``kid``."""

    def __init__(self, keys: dict[str, PublicKey], issuers: dict[str, str] | None = None) -> None:
        self._keys = keys
        self._issuers = issuers or {}

    @classmethod
    def of(cls, jwks: bytes) -> Keys:
        """The keys of a JWK set; kinds that are not read here are passed over.

        Raises:
            Invalid: it is no JWK set.
        """
        try:
            entries = json.loads(jwks)["keys"]
            found = {str(entry.get("kid", at)): _key(entry) for at, entry in enumerate(entries)}
            issuers = {
                str(entry.get("kid", at)): str(entry["iss"]) for at, entry in enumerate(entries) if "iss" in entry
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Invalid("not a JWK set") from error
        return cls({kid: key for kid, key in found.items() if key is not None}, issuers)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def anybody(self) -> int:
        """How many keys may sign in any name."""
        return len(self._keys.keys() - self._issuers.keys())

    def issuer(self, header: dict[str, Any]) -> str | None:
        """In whose name the key of a verified signature signs; None for a key that may sign in any."""
        kid = header.get("kid")
        return self._issuers.get(next(iter(self._keys)) if kid is None else kid)

    def verify(self, token: str, detached: bytes | None = None) -> tuple[dict[str, Any], bytes]:
        """Header and payload of a signature that holds.

        Raises:
            Invalid: it does not.
        """
        if len(token) > _LIMIT * (1 if detached is None else 64) or token.count(".") != 2:
            raise Invalid("not a compact signature")
        first, middle, last = token.split(".")
        header = _object(unfold(first))
        if "crit" in header:
            raise Invalid("an extension that is not known here")
        key = self._found(header.get("kid"))
        if header.get("alg") not in _algorithms(key):
            raise Invalid("an algorithm that the key is not for")
        payload = detached if detached is not None and not middle else unfold(middle)
        signed = first.encode() + b"." + (fold(payload).encode() if not middle else middle.encode())
        try:
            _check(key, str(header["alg"]), unfold(last), signed)
        except InvalidSignature as error:
            raise Invalid("the signature does not hold") from error
        return header, payload

    def _found(self, kid: Any) -> PublicKey:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        key = self._keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise Invalid("no such key")
        return key


def sign(key: PrivateKey, header: dict[str, Any], payload: bytes) -> str:
    """A compact signature with ES256 or EdDSA."""
    alg = "EdDSA" if isinstance(key, ed25519.Ed25519PrivateKey) else "ES256"
    signed = f"{fold(_json({'alg': alg} | header))}.{fold(payload)}"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return f"{signed}.{fold(key.sign(signed.encode()))}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{fold(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def jwk(key: PublicKey, kid: str) -> dict[str, str]:
    """A P-256 or Ed25519 key as JWK.

    Raises:
        ValueError: another kind.
    """
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": fold(key.public_bytes_raw()), "kid": kid}
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        numbers = key.public_numbers()
        x, y = (fold(part.to_bytes(32, "big")) for part in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid}
    raise ValueError("only P-256 and Ed25519 keys are written here")


def fold(raw: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def unfold(text: str) -> bytes:
    """The bytes of base64url without padding.

    Raises:
        Invalid: it is none.
    """
    if not text.isascii() or not text.replace("-", "").replace("_", "").isalnum():
        raise Invalid("not base64url")
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise Invalid("not base64url") from error


def _key(entry: dict[str, Any]) -> PublicKey | None:
    match entry.get("kty"), entry.get("crv"):
        case "EC", "P-256":
            x, y = (int.from_bytes(unfold(entry[part]), "big") for part in ("x", "y"))
            return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        case "OKP", "Ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(unfold(entry["x"]))
        case "RSA", _:
            n, e = (int.from_bytes(unfold(entry[part]), "big") for part in ("n", "e"))
            return rsa.RSAPublicNumbers(e, n).public_key() if n.bit_length() >= 2048 else None
    return None


def _algorithms(key: PublicKey) -> tuple[str, ...]:
    match key:
        case ec.EllipticCurvePublicKey():
            return ("ES256",)
        case ed25519.Ed25519PublicKey():
            return ("EdDSA",)
        case _:
            return ("PS256", "RS256")


def _check(key: PublicKey, alg: str, signature: bytes, signed: bytes) -> None:
    match key:
        case ec.EllipticCurvePublicKey():
            if len(signature) != 64:
                raise InvalidSignature
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
        case ed25519.Ed25519PublicKey():
            key.verify(signature, signed)
        case rsa.RSAPublicKey():
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
            key.verify(signature, signed, pss if alg == "PS256" else padding.PKCS1v15(), hashes.SHA256())


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Invalid("not JSON") from error
    if not isinstance(found, dict):
        raise Invalid("not a JSON object")
    return found


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
