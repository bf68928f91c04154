"""Some entries of one log on their way out, and what the collector answers.

Rules:

1. A batch is zlib over CBOR ``[origin, epoch, first index, [entries], checkpoint*]``: at most 200 entries and 64 KiB,
   unless one entry alone is longer, and at most 64 checkpoints.
2. Whoever unpacks one reads no more than ``INFLATED`` bytes out of it, and accepts exactly this shape.
3. An acknowledgement is a tagged COSE_Sign1, ES256, by the collector's key. Its payload says for which log and epoch,
   how many entries from index 0 are in the collector's own durable store, and the root of the tree over them; up to
   which size a checkpoint was verified; which message it answers; and when it was signed, which tells the gate what
   time it is at least.
4. The size is inside what is signed, because a Merkle proof or root alone does not bind it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from edge.audit.tree import leaf_hash
from edge.errors import Reason, Refusal
from edge.trust import cbor
from edge.trust.cbor import malformed

ENTRIES = 200
CHECKPOINTS = 64
BYTES = 64 * 1024
INFLATED = 512 * 1024
PACKET = 256 * 1024
_ACK_LIMIT = 2048
_TAGS = frozenset({18})
_PROTECTED = cbor.encode({1: -7, 16: "application/gate-ack+cose"})
_SIZE = 32
_BARE = b"\x81\x58\x20"
_LATEST_S = 1 << 36


@dataclass(frozen=True)
class Batch:
    """Entries ``first`` to ``end`` (exclusive) of a log, and checkpoints in order, over no more than these."""

    origin: str
    epoch: int
    first: int
    entries: tuple[bytes, ...] = field(repr=False)
    checkpoints: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def end(self) -> int:
        """Index after the last entry."""
        return self.first + len(self.entries)


@dataclass(frozen=True)
class Ack:
    """What the collector has in its durable store.

    Attributes:
        origin: name of the log.
        epoch: of the log.
        size: this many entries, from index 0 without a gap.
        root: of the tree over them, 32 bytes.
        sealed: size of the newest checkpoint that was verified; 0 for none.
        answers: correlation of the message that this answers.
        at_s: when it was signed, seconds since 1970; 0 where the collector does not say.
    """

    origin: str
    epoch: int
    size: int
    root: bytes
    sealed: int
    answers: bytes
    at_s: int = 0


def bare(leaf: bytes) -> bytes:
    """What goes in the place of an entry whose contents the gate has pruned: its leaf hash, in an array of one."""
    return _BARE + leaf


def without_contents(item: bytes) -> bool:
    """Whether this is such a hash; an entry is a map and begins with another byte."""
    return item[: len(_BARE)] == _BARE and len(item) == len(_BARE) + _SIZE


def leaf_of(item: bytes) -> bytes:
    """The leaf hash of an entry, or of one that was pruned."""
    return item[len(_BARE) :] if without_contents(item) else leaf_hash(item)


def fitting(entries: Sequence[bytes]) -> int:
    """How many of these entries, from the first, fit into one batch; at least one if there is one."""
    total = 0
    for count, entry in enumerate(entries[:ENTRIES]):
        total += len(entry)
        if total > BYTES and count:
            return count
    return min(len(entries), ENTRIES)


def pack(batch: Batch) -> bytes:
    """The batch as it travels."""
    fields = [batch.origin, batch.epoch, batch.first, list(batch.entries), *batch.checkpoints]
    return zlib.compress(cbor.encode(fields), 6)


def unpack(received: bytes) -> Batch:
    """The batch in these bytes.

    Raises:
        Refusal: unreadable or too-large.
    """
    fields = cbor.decode(_inflate(received), tags=frozenset())
    match fields:
        case [str(origin), int(epoch), int(first), list(entries), *checkpoints]:
            pass
        case _:
            raise malformed("not the fields of a batch")
    if not (_counts(epoch) and _counts(first)):
        raise malformed("a number out of range")
    if len(entries) > ENTRIES or not all(type(entry) is bytes for entry in entries):
        raise malformed("not the entries of a batch")
    if len(checkpoints) > CHECKPOINTS or not all(type(checkpoint) is bytes for checkpoint in checkpoints):
        raise malformed("not the checkpoints of a batch")
    return Batch(origin, epoch, first, tuple(entries), tuple(checkpoints))


def sign(ack: Ack, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The acknowledgement as it travels, signed by the collector."""
    fields: dict[int, str | int | bytes] = {
        1: ack.origin,
        2: ack.epoch,
        3: ack.size,
        4: ack.root,
        5: ack.sealed,
        6: ack.answers,
    }
    fields |= {7: ack.at_s} if ack.at_s else {}
    payload = cbor.encode(fields)
    r, s = decode_dss_signature(key.sign(_to_be_signed(payload), ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(_SIZE, "big") + s.to_bytes(_SIZE, "big")
    return cbor.encode(cbor.Tagged(18, [_PROTECTED, {}, payload, signature]))


def verify(received: bytes, key: ec.EllipticCurvePublicKey) -> Ack:
    """The acknowledgement in these bytes, signed by ``key``.

    Raises:
        Refusal: unreadable when they are no acknowledgement, bad-signature when somebody else signed it.
    """
    if len(received) > _ACK_LIMIT:
        raise Refusal(Reason.TOO_LARGE, "longer than an acknowledgement")
    match cbor.decode(received, tags=_TAGS):
        case cbor.Tagged(tag=18, value=[bytes(protected), dict(unprotected), bytes(payload), bytes(signature)]):
            pass
        case _:
            raise malformed("not a COSE_Sign1")
    if protected != _PROTECTED or len(unprotected) != 0 or len(signature) != 2 * _SIZE:
        raise malformed("not the header of an acknowledgement")
    r, s = int.from_bytes(signature[:_SIZE], "big"), int.from_bytes(signature[_SIZE:], "big")
    try:
        key.verify(encode_dss_signature(r, s), _to_be_signed(payload), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise Refusal(Reason.BAD_SIGNATURE, "acknowledgement not signed by the collector") from error
    match cbor.decode(payload):
        case {1: str(origin), 2: int(epoch), 3: int(size), 4: bytes(root), 5: int(sealed), 6: bytes(answers)} as fields:
            pass
        case _:
            raise malformed("not the fields of an acknowledgement")
    at_s = fields.get(7, 0)
    if len(fields) != 6 + (7 in fields) or len(root) != _SIZE:
        raise malformed("not the fields of an acknowledgement")
    if not (_counts(epoch) and _counts(size) and _counts(sealed) and _counts(at_s) and at_s < _LATEST_S):
        raise malformed("a number out of range")
    return Ack(origin, epoch, size, root, sealed, answers, at_s)


def _to_be_signed(payload: bytes) -> bytes:
    return cbor.encode(["Signature1", _PROTECTED, b"", payload])


def _inflate(received: bytes) -> bytes:
    if len(received) > PACKET:
        raise Refusal(Reason.TOO_LARGE, "longer than a message")
    inflating = zlib.decompressobj()
    try:
        plain = inflating.decompress(received, INFLATED)
    except zlib.error as error:
        raise malformed("not compressed") from error
    if not inflating.eof or inflating.unused_data:
        raise malformed("truncated, too long, or with something behind it")
    return plain


def _counts(number: int) -> bool:
    return type(number) is int and 0 <= number < 1 << 53
