"""What makes a machine a gate of a site: a request that the machine makes, and the signed answer of the site.

Rules:

1. A request carries no secret: the name the gate shall have, its certificate request, its log's public key and the key
   that secrets for it are encrypted to. Both sides see the same short fingerprint and compare it by eye.
2. An answer is signed by the site's authority, for exactly this name and this request. Its version never goes back.
3. Only files that belong to a gate's configuration are in it, by name; secrets are encrypted to this one machine.
4. Nothing of an answer is used before all of it is verified.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from edge.errors import Reason, Refusal
from edge.trust.cbor import decode, encode
from edge.trust.cose import Signer
from edge.trust.keys import Key
from edge.trust.signed import Purpose, Times, counting, seal, unseal

LIMIT: Final = 512 * 1024
_REQUEST_LIMIT: Final = 16 * 1024
_ORIGIN: Final = re.compile(r"urn:gate:[a-z0-9-]{1,40}:[a-z0-9-]{1,40}:[a-z0-9-]{1,40}")
FILES: Final = re.compile(
    r"edge\.toml|trust\.cbor|profiles/[a-z0-9-]+\.toml|(?:trust|mqtt|iavs)/[a-z0-9-]+\.(?:pem|json|cbor|toml)"
)
SECRETS: Final = frozenset(
    {"site-key", "ledger-key", "content-keys", "witness-key", "iavs-key", "iavs-tls-key", "gallery-key", "web-tls-key"}
)
_MEMBERS: Final = ("origin", "version", "request", "files", "secrets")
_SUITE: Final = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)


@dataclass(frozen=True)
class Request:
    """A machine that wants to be a gate.

    Attributes:
        origin: the name of its log.
        csr: certificate request of its network key, DER.
        log_key: public key of the token that seals its log, PEM.
        box: X25519 public key that secrets are encrypted to, 32 bytes.
    """

    origin: str
    csr: bytes
    log_key: bytes
    box: bytes

    @property
    def encoded(self) -> bytes:
        """As it travels."""
        return encode({"origin": self.origin, "csr": self.csr, "log_key": self.log_key, "box": self.box})

    @property
    def digest(self) -> bytes:
        """SHA-256 of the request."""
        return hashlib.sha256(self.encoded).digest()

    @property
    def fingerprint(self) -> str:
        """What people compare, over everything in the request."""
        return fingerprint(self.digest)


def fingerprint(digest: bytes) -> str:
    """The first 80 bits of a digest, in groups of four hexadecimal digits that people read to each other."""
    digits = digest[:10].hex()
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def request_of(data: bytes) -> Request:
    """Read a request.

    Raises:
        Refusal: too-large, unreadable, bad-claim.
    """
    if len(data) > _REQUEST_LIMIT:
        raise Refusal(Reason.TOO_LARGE, "larger than any request")
    members = decode(data, depth=2, items=64)
    if not isinstance(members, dict) or set(members) != {"origin", "csr", "log_key", "box"}:
        raise Refusal(Reason.BAD_CLAIM, "not the members of a request")
    origin, rest = members["origin"], [members[name] for name in ("csr", "log_key", "box")]
    if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
        raise Refusal(Reason.BAD_CLAIM, "the origin is none: urn:gate:TENANT:SITE:GATE, in lower case")
    if not all(type(each) is bytes for each in rest):
        raise Refusal(Reason.BAD_CLAIM, "a member of the request is not what it should be")
    if len(members["box"]) != 32:
        raise Refusal(Reason.BAD_CLAIM, "the key for secrets is not one")
    return Request(origin, *rest)


@dataclass(frozen=True)
class Answer:
    """What the site gives a gate.

    Attributes:
        origin: of the gate.
        version: higher than that of every answer before.
        files: below ``/etc/edge-gate``.
        secrets: by the name of the credential.
        digest: SHA-256 of what was signed.
    """

    origin: str
    version: int
    files: Mapping[str, bytes]
    secrets: Mapping[str, bytes] = field(repr=False)
    digest: bytes = b""


def answer(
    asked: Request, version: int, files: Mapping[str, bytes], secrets: Mapping[str, bytes], times: Times, by: Signer
) -> bytes:
    """Answer a request.

    Raises:
        ValueError: a file or a secret that does not belong into an answer.
    """
    for name in files:
        if not FILES.fullmatch(name):
            raise ValueError(f"{name} is no file of a gate's configuration")
    for name in secrets:
        if name not in SECRETS:
            raise ValueError(f"{name} is no secret that a site gives to a gate")
    box = X25519PublicKey.from_public_bytes(asked.box)
    sealed = {name: _SUITE.encrypt(secret, box, _info(asked, name)) for name, secret in secrets.items()}
    members = {
        "origin": asked.origin,
        "version": version,
        "request": asked.digest,
        "files": dict(files),
        "secrets": sealed,
    }
    return seal(Purpose.SITE, members, times, by)


def opened(data: bytes, authority: Key, asked: Request, own: X25519PrivateKey, known: int) -> Answer:
    """Verify an answer to our own request.

    Args:
        data: as it came.
        authority: the site's key.
        asked: our request.
        own: the key that its secrets are encrypted to.
        known: version of the answer in force; 0 for none.

    Raises:
        Refusal: too-large, unreadable, bad-signature, bad-claim.
    """
    document = unseal(Purpose.SITE, data, (authority,), _MEMBERS, LIMIT)
    members = document.members
    if members["origin"] != asked.origin or members["request"] != asked.digest:
        raise Refusal(Reason.BAD_CLAIM, "an answer to somebody else's request")
    version = counting(members["version"])
    if version <= known:
        raise Refusal(Reason.BAD_CLAIM, f"version {version}, and {known} is in force")
    files = _bytes(members["files"])
    if not all(FILES.fullmatch(name) for name in files):
        raise Refusal(Reason.BAD_CLAIM, "a file that is none of a gate's configuration")
    secrets = {name: _unboxed(asked, name, sealed, own) for name, sealed in _bytes(members["secrets"]).items()}
    return Answer(asked.origin, version, files, secrets, document.digest)


def _unboxed(asked: Request, name: str, sealed: bytes, own: X25519PrivateKey) -> bytes:
    if name not in SECRETS:
        raise Refusal(Reason.BAD_CLAIM, "a secret that is none of a gate's")
    try:
        return _SUITE.decrypt(sealed, own, _info(asked, name))
    except (InvalidTag, ValueError) as error:
        raise Refusal(Reason.BAD_CLAIM, f"{name} is not encrypted for this machine") from error


def _info(asked: Request, name: str) -> bytes:
    """What a secret is bound to: this gate, this request, this name."""
    return b"edge-gate site secret\0" + name.encode() + b"\0" + asked.digest


def _bytes(value: Any) -> dict[str, bytes]:
    if not isinstance(value, dict) or not all(type(k) is str and type(v) is bytes for k, v in value.items()):
        raise Refusal(Reason.BAD_CLAIM, "names and contents are not what they should be")
    return value
