"""A new key for a log: the old one signs for it.

Rules:

1. The old key seals the entry that names the new key (kind ``KEY_ROTATION``, ``introduced``). The new key seals the
   next one (``in-force``), and names that checkpoint as its predecessor.
2. The first checkpoint of the new key carries a countersignature by the old key (RFC 9338, label 11 of the unprotected
   header). So nobody who only gets hold of the new key can have made the change up.
3. A key changes in the middle of an epoch only like that. When the old key is lost, nobody can countersign: then a new
   epoch begins, an entry says so (``lost``), and whoever verifies has to be given the new key by somebody he trusts.
"""

from __future__ import annotations

import cbor2

from edge.audit.checkpoint import COUNTERSIGNATURE, ES256, Checkpoint, Head, key_id, parse_statement, verify_es256
from edge.audit.entry import LogError, deterministic, strict

_CONTEXT = "CounterSignatureV2"


def succession_statement(checkpoint: Checkpoint, kid: bytes) -> bytes:
    """What the old key signs: the Countersign_structure of RFC 9338 section 3.3.

    Args:
        checkpoint: the first of the new key.
        kid: of the old key.
    """
    _, body, _, payload = cbor2.loads(checkpoint.statement)
    return deterministic([_CONTEXT, body, _protected(kid), b"", payload, [checkpoint.signature]])


def parse_succession(signed: bytes) -> tuple[Head, bytes, bytes]:
    """Head and key id of the checkpoint, and key id of who countersigns; the door of whoever signs.

    Raises:
        LogError: these bytes are not that.
    """
    parts = strict(signed)
    if not isinstance(parts, list) or len(parts) != 6 or parts[0] != _CONTEXT or parts[3] != b"":
        raise LogError("not a countersignature: wrong structure")
    head, successor = parse_statement(deterministic(["Signature1", parts[1], b"", parts[4]]))
    header = strict(parts[2]) if isinstance(parts[2], bytes) else None
    if not isinstance(header, dict) or not isinstance(header.get(4), bytes) or parts[2] != _protected(header[4]):
        raise LogError("not a countersignature: protected header")
    others = parts[5]
    if not isinstance(others, list) or len(others) != 1 or not isinstance(others[0], bytes) or len(others[0]) != 64:
        raise LogError("not a countersignature: no signature of the new key")
    return head, successor, header[4]


def succeeded(checkpoint: Checkpoint, kid: bytes, signature: bytes) -> Checkpoint:
    """The checkpoint with the old key's countersignature."""
    return checkpoint.with_extra(COUNTERSIGNATURE, [_protected(kid), {}, signature])


def check_succession(checkpoint: Checkpoint, old: bytes) -> None:
    """Check that the old key countersigned.

    Args:
        checkpoint: the first of a new key.
        old: uncompressed point of the key before.

    Raises:
        LogError: it did not.
    """
    kid, found = key_id(old), dict(checkpoint.extras).get(COUNTERSIGNATURE)
    match found:
        case [bytes(protected), _, bytes(signature)] if protected == _protected(kid):
            verify_es256(old, succession_statement(checkpoint, kid), signature)
        case _:
            raise LogError(f"checkpoint {checkpoint.head.size} goes over to another key without the old one")


def _protected(kid: bytes) -> bytes:
    return deterministic({1: ES256, 4: kid})
