"""A signed tree head: the only thing the token signs.

Rules:

1. A checkpoint is a tagged COSE_Sign1 with ES256 (RFC 9052). It is at once an RFC 9942 consistency receipt, an RFC 9943
   signed statement and our tree head.
2. Everything that must not be changed is in the protected header: origin and epoch (CWT claims), time, size, the size
   and the digest of the predecessor. A proof does not bind the size, so the size has to be signed.
3. The digest of a checkpoint is SHA-256 of its Sig_structure, which is what the token signed. Receipts added to the
   unprotected header later and the malleability of ECDSA (``s`` becomes ``n - s``) leave it alone.
4. The payload is the root. The path from the predecessor is in the unprotected header; it proves itself.
5. A key id is the first 8 bytes of the key's thumbprint (RFC 9679).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from edge.audit.entry import COUNT, LogError, Quality, Value, deterministic, strict
from edge.audit.tree import HASH, verify_consistency

CONTENT_TYPE = "application/gate-checkpoint+cose"
ES256 = -7
HEAD = -70000
"""Private header label: [size, previous size, previous digest, 0, clock quality, boot, longest tail]."""
COUNTERSIGNATURE = 11
RECEIPTS, TREE_KIND, PROOFS = 394, 395, 396
RFC9162_SHA256 = 1
CONSISTENCY = -2
_TAG = 18


@dataclass(frozen=True)
class Head:
    """What a checkpoint says.

    Attributes:
        origin: name of the log.
        epoch: of the log.
        size: number of entries under the root.
        root: of the tree, 32 bytes.
        previous_size: entries under the previous checkpoint of this epoch, 0 for the first.
        previous_digest: digest of the previous checkpoint, of whichever epoch; empty for the very first.
        at_s: seconds since 1970, UTC; as good as ``quality`` says.
        quality: of that time.
        boot: boot counter of the last entry.
        longest_tail: most entries that this sealer ever found waiting at once.
        oldest_body: 0. Which detached bodies are kept is told by entries: those that commit to one, and those of kind
            ``BODIES_DELETED``.
    """

    origin: str
    epoch: int
    size: int
    root: bytes
    previous_size: int
    previous_digest: bytes
    at_s: int
    quality: Quality = Quality.UNKNOWN
    boot: int = 0
    longest_tail: int = 0
    oldest_body: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """A head with its signature, which nobody has checked yet.

    Attributes:
        head: what it says.
        kid: id of the key that is said to have signed.
        path: consistency path from the predecessor; None where it was left out, as in the proof of one entry.
        signature: r || s, 64 bytes.
        extras: the rest of the unprotected header: receipts, countersignatures.
    """

    head: Head
    kid: bytes
    path: tuple[bytes, ...] | None
    signature: bytes
    extras: tuple[tuple[int, Any], ...] = ()

    @property
    def statement(self) -> bytes:
        """The Sig_structure: what the token signs."""
        return statement(self.head, self.kid)

    @property
    def digest(self) -> bytes:
        """What the next checkpoint names as its predecessor."""
        return hashlib.sha256(self.statement).digest()

    def encode(self) -> bytes:
        """The tagged COSE_Sign1."""
        unprotected: dict[int, Any] = dict(self.extras)
        if self.head.previous_size and self.path is not None:
            proof = deterministic([self.head.previous_size, self.head.size, list(self.path)])
            unprotected[PROOFS] = {CONSISTENCY: [proof]}
        parts = [_protected(self.head, self.kid), unprotected, self.head.root, self.signature]
        return cbor2.dumps(cbor2.CBORTag(_TAG, parts), canonical=True)

    def bare(self) -> Checkpoint:
        """The same checkpoint with what was signed and nothing else."""
        return replace(self, path=None, extras=())

    def with_extra(self, label: int, value: object) -> Checkpoint:
        """The same checkpoint with one more item in its unprotected header."""
        return replace(self, extras=(*((k, v) for k, v in self.extras if k != label), (label, value)))

    def verify(self, point: bytes) -> None:
        """Check the signature under the key with this uncompressed point.

        Raises:
            LogError: it is not this key's signature.
        """
        if self.kid != key_id(point):
            raise LogError(f"checkpoint {self.head.size} is signed by another key")
        verify_es256(point, self.statement, self.signature)

    def follows(self, previous: Checkpoint | None) -> None:
        """Check that this checkpoint continues the previous one.

        Raises:
            LogError: it names another predecessor, goes back, or the tree was rewritten.
        """
        if previous is None or previous.head.epoch != self.head.epoch:
            named, size = (previous.digest if previous else b""), 0
        else:
            named, size = previous.digest, previous.head.size
        if self.head.previous_digest != named or self.head.previous_size != size:
            raise LogError(f"checkpoint {self.head.size} names another predecessor")
        if self.head.size <= size:
            raise LogError(f"checkpoint {self.head.size} does not grow")
        if previous is not None and size:
            if self.path is None:
                raise LogError(f"checkpoint {self.head.size} carries no consistency proof")
            verify_consistency(size, self.head.size, previous.head.root, self.head.root, self.path)

    def text(self) -> str:
        """The body of a C2SP tlog-checkpoint: origin, size, root."""
        head = self.head
        return f"{head.origin}/epoch/{head.epoch}\n{head.size}\n{base64.b64encode(head.root).decode()}\n"


@dataclass(frozen=True)
class KnownHead:
    """A head of this log that somebody remembers: the token, a witness, the collector.

    As bytes it is an array that grows bytewise with epoch and size, so the greatest of several is the newest.
    """

    epoch: int
    size: int
    root: bytes
    digest: bytes

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> KnownHead:
        """The head of this checkpoint."""
        return cls(checkpoint.head.epoch, checkpoint.head.size, checkpoint.head.root, checkpoint.digest)

    def encode(self) -> bytes:
        """Eight bytes of epoch, eight of size, root and digest."""
        return self.epoch.to_bytes(8) + self.size.to_bytes(8) + self.root + self.digest

    def plain(self) -> dict[str, Value]:
        """As an entry tells it."""
        return {"epoch": self.epoch, "size": self.size, "root": self.root, "digest": self.digest}

    @classmethod
    def decode(cls, note: bytes) -> KnownHead:
        """The head that these bytes are.

        Raises:
            LogError: they are something else.
        """
        if len(note) != 16 + 2 * HASH:
            raise LogError("not a remembered head")
        root = note[16 : 16 + HASH]
        return cls(int.from_bytes(note[:8]), int.from_bytes(note[8:16]), root, note[16 + HASH :])


def statement(head: Head, kid: bytes) -> bytes:
    """The Sig_structure over a head (RFC 9052 section 4.4): the bytes whose SHA-256 the token signs."""
    return deterministic(["Signature1", _protected(head, kid), b"", head.root])


def parse_statement(signed: bytes) -> tuple[Head, bytes]:
    """The head and key id in a Sig_structure; the door of whoever signs.

    Raises:
        LogError: these bytes are not the statement of a checkpoint.
    """
    parts = strict(signed)
    if not isinstance(parts, list) or len(parts) != 4 or parts[0] != "Signature1" or parts[2] != b"":
        raise LogError("not a checkpoint: wrong structure")
    return _head(parts[1], parts[3])


def parse(encoded: bytes) -> Checkpoint:
    """The checkpoint that these bytes are; its signature is not checked here.

    Raises:
        LogError: they are not exactly one checkpoint.
    """
    try:
        tagged = cbor2.loads(encoded, max_depth=16, allow_indefinite=False, allow_duplicate_keys=False)
    except Exception as error:  # hostile bytes may fail in any way inside the decoder
        raise LogError("not a checkpoint: not CBOR") from error
    if not isinstance(tagged, cbor2.CBORTag) or tagged.tag != _TAG:
        raise LogError("not a checkpoint: no COSE_Sign1 tag")
    parts = tagged.value
    if not isinstance(parts, list | tuple) or len(parts) != 4 or not isinstance(parts[1], Mapping):
        raise LogError("not a checkpoint: wrong structure")
    head, kid = _head(parts[0], parts[2])
    signature, unprotected = parts[3], dict(parts[1])
    if not isinstance(signature, bytes) or len(signature) != 64:
        raise LogError("not a checkpoint: signature is not 64 bytes")
    path = _path(unprotected.pop(PROOFS, None), head)
    if not all(type(label) is int for label in unprotected):
        raise LogError("not a checkpoint: unprotected header")
    return Checkpoint(head, kid, path, signature, tuple(unprotected.items()))


def key_id(point: bytes) -> bytes:
    """First 8 bytes of the thumbprint of a P-256 key, given its uncompressed point."""
    if len(point) != 65 or point[0] != 4:
        raise LogError("not an uncompressed P-256 point")
    key = {1: 2, -1: 1, -2: point[1:33], -3: point[33:]}
    return hashlib.sha256(deterministic(key)).digest()[:8]


def verify_es256(point: bytes, signed: bytes, signature: bytes) -> None:
    """Check one ES256 signature, r || s.

    Raises:
        LogError: it does not verify, or there is no such key.
    """
    if len(signature) != 64:
        raise LogError("signature is not 64 bytes")
    der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        key.verify(der, signed, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError) as error:
        raise LogError("signature does not verify") from error


def _protected(head: Head, kid: bytes) -> bytes:
    return deterministic(
        {
            1: ES256,
            4: kid,
            15: {1: head.origin, 2: f"epoch/{head.epoch}", 6: head.at_s},
            16: CONTENT_TYPE,
            TREE_KIND: RFC9162_SHA256,
            HEAD: [
                head.size,
                head.previous_size,
                head.previous_digest,
                head.oldest_body,
                int(head.quality),
                head.boot,
                head.longest_tail,
            ],
        }
    )


def _head(protected: object, root: object) -> tuple[Head, bytes]:
    """The head in a protected header; the encoding must be the one we would have written."""
    if not isinstance(protected, bytes) or not isinstance(root, bytes) or len(root) != HASH:
        raise LogError("not a checkpoint: wrong structure")
    header = strict(protected)
    claims: Any
    kid: Any
    previous_digest: Any
    try:
        claims, numbers, kid = header[15], header[HEAD], header[4]
        size, previous_size, previous_digest, oldest_body, quality, boot, longest_tail = numbers
        epoch = int(claims[2].removeprefix("epoch/"))
        head = Head(
            origin=claims[1],
            epoch=epoch,
            size=size,
            root=root,
            previous_size=previous_size,
            previous_digest=previous_digest,
            at_s=claims[6],
            quality=Quality(quality),
            boot=boot,
            longest_tail=longest_tail,
            oldest_body=oldest_body,
        )
        same = _protected(head, kid) == protected
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise LogError("not a checkpoint: protected header") from error
    counts = (epoch, size, previous_size, oldest_body, boot, longest_tail, head.at_s)
    whole = all(type(number) is int and 0 <= number < COUNT for number in counts)
    if not same or not whole or not isinstance(claims[1], str) or not isinstance(kid, bytes) or len(kid) != 8:
        raise LogError("not a checkpoint: protected header")
    if not isinstance(previous_digest, bytes) or len(previous_digest) not in (0, HASH):
        raise LogError("not a checkpoint: previous digest")
    if size <= previous_size:
        raise LogError("not a checkpoint: it does not grow")
    return head, kid


def _path(proofs: Any, head: Head) -> tuple[bytes, ...] | None:
    """The consistency path in an unprotected header."""
    if proofs is None:
        return None if head.previous_size else ()
    try:
        (encoded,) = proofs[CONSISTENCY]
        older, newer, path = strict(encoded)
    except (KeyError, TypeError, ValueError) as error:
        raise LogError("not a checkpoint: consistency proof") from error
    if (older, newer) != (head.previous_size, head.size):
        raise LogError("not a checkpoint: sizes of the proof")
    if not isinstance(path, list) or not all(isinstance(item, bytes) and len(item) == HASH for item in path):
        raise LogError("not a checkpoint: consistency path")
    return tuple(path)
