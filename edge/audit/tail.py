"""Tags for the entries that no checkpoint covers yet: whoever takes the gate cannot rewrite what happened before.

Rules:

1. A tail begins with an entry (``TAIL_KEY``) that carries a fresh key, encrypted to the collector; the gate keeps the
   key in memory only.
2. Each entry after it gets the tag ``HMAC-SHA256(key, leaf hash)``, 16 bytes, and the key becomes
   ``SHA-256("evolve" || key)``. The old key is gone: what was written cannot be tagged again.
3. The entry that begins a tail is sealed at once while the token is there; from then on the tail is worth something. A
   gate that was started without its token can only offer tags that somebody with its disk could have begun himself.
4. Tags are kept beside the entries, outside the tree. They matter while the token is away, and prove nothing after a
   checkpoint does. They do not show that the end was cut off; a head held elsewhere does.
5. The key is encrypted with ECDH on P-256, HKDF-SHA-256 over both public keys and the name of the log, and AES-256-GCM.
   Each encryption has a key of its own, so the nonce is zero.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from edge.audit.entry import Event, Kind, LogError, Value

TAG = 16
_NONCE = bytes(12)


def tag(key: bytes, leaf: bytes) -> bytes:
    """The tag of one entry."""
    return hmac.digest(key, leaf, "sha256")[:TAG]


def evolved(key: bytes) -> bytes:
    """The key after this one; there is no way back."""
    return hashlib.sha256(b"evolve" + key).digest()


def begin(key: bytes, one_time: ec.EllipticCurvePrivateKey, collector: bytes, origin: str) -> Event:
    """The entry that begins a tail: the key, for the collector's eyes only.

    Args:
        key: 32 fresh random bytes.
        one_time: a fresh key, used for nothing else.
        collector: uncompressed point of the collector's public key.
        origin: name of the log.
    """
    other = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), collector)
    point = _point(one_time.public_key())
    sealed = AESGCM(_between(one_time, other, point, collector, origin)).encrypt(_NONCE, key, None)
    fields: dict[str, Value] = {"for": hashlib.sha256(collector).digest()[:8], "one_time": point, "sealed": sealed}
    return Event(Kind.TAIL_KEY, fields)


def recipient(pem: bytes) -> bytes:
    """The uncompressed point of who may check the tags, from a PEM public key.

    Raises:
        LogError: it is not a P-256 public key.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError as error:
        raise LogError("the key for the tags cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise LogError("the key for the tags is not a P-256 key")
    return _point(key)


def opened(fields: dict[str, Value], collector: ec.EllipticCurvePrivateKey, origin: str) -> bytes:
    """The key of a tail, as the collector gets it from the entry.

    Raises:
        LogError: the entry is not for this collector, or was changed.
    """
    point, sealed = fields.get("one_time"), fields.get("sealed")
    if not isinstance(point, bytes) or not isinstance(sealed, bytes):
        raise LogError("the entry carries no tail key")
    try:
        other = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        secret = _between(collector, other, point, _point(collector.public_key()), origin)
        return AESGCM(secret).decrypt(_NONCE, sealed, None)
    except (InvalidTag, ValueError) as error:
        raise LogError("the tail key is not for this collector") from error


def _between(
    own: ec.EllipticCurvePrivateKey, other: ec.EllipticCurvePublicKey, one_time: bytes, collector: bytes, origin: str
) -> bytes:
    """The key that only these two can make, for this log."""
    info = b"edge-gate tail key" + one_time + collector + origin.encode()
    return HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(own.exchange(ec.ECDH(), other))


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
