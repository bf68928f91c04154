"""Neighbours cosign what continues, and keep both heads of what does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from edge.audit.checkpoint import Checkpoint, Head, key_id, parse, statement, verify_es256
from edge.audit.entry import LogError
from edge.audit.tree import Frontier, consistency, leaf_hash, verify_consistency
from edge.audit.witness import Fork, Witness, cosign_statement, cosigned, cosigners, witness_ids

ORIGIN = "urn:gate:test:site:north"
GATE, NEIGHBOUR, OTHER, STRANGER = (ec.derive_private_key(number, ec.SECP256R1()) for number in (11, 22, 33, 44))


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def signature(key: ec.EllipticCurvePrivateKey, signed: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


def chain(
    sizes: Sequence[int], word: bytes = b"", after: Sequence[Checkpoint] = (), common: int = 0
) -> list[Checkpoint]:
    """Checkpoints over a log whose entries beyond ``common`` are of this word."""
    nodes: dict[tuple[int, int], bytes] = {}
    frontiers = [Frontier()]
    for index in range(max(sizes)):
        frontier, done = frontiers[-1].append(leaf_hash(b"%d" % index + (word if index >= common else b"")))
        nodes |= {(level, index >> level): node for level, node in enumerate(done)}
        frontiers.append(frontier)
    made = list(after)
    for size in sizes:
        previous = made[-1] if made else None
        older, digest = (previous.head.size, previous.digest) if previous else (0, b"")
        head = Head(ORIGIN, 1, size, frontiers[size].root(), older, digest, at_s=1)
        kid = key_id(point(GATE))
        path = consistency(older, size, lambda level, index: nodes[level, index])
        made.append(Checkpoint(head, kid, path, signature(GATE, statement(head, kid))))
    return made


HONEST = chain((5, 9, 14, 20))


def a_witness() -> Witness:
    return Witness({ORIGIN: point(GATE)})


def cosign(checkpoint: Checkpoint, key: ec.EllipticCurvePrivateKey, at_s: int = 77) -> Checkpoint:
    kid = key_id(point(key))
    return cosigned(checkpoint, kid, at_s, signature(key, cosign_statement(checkpoint, kid, at_s)))


def test_what_continues_is_cosigned() -> None:
    witness = a_witness()
    assert witness.consider(HONEST[:2]) == HONEST[1]
    assert witness.consider(HONEST[1:]) == HONEST[3]
    assert witness.consider(HONEST) is None
    seen = witness.seen(ORIGIN)
    assert seen is not None
    assert seen.size == 20


def test_a_cosigned_checkpoint_is_the_same_checkpoint() -> None:
    checkpoint = cosign(cosign(HONEST[1], NEIGHBOUR), OTHER, 78)
    again = parse(checkpoint.encode())
    assert again.digest == HONEST[1].digest
    again.verify(point(GATE))
    both = witness_ids([point(NEIGHBOUR), point(OTHER)])
    assert cosigners(again, both) == {key_id(point(NEIGHBOUR)): 77, key_id(point(OTHER)): 78}
    assert cosigners(again, witness_ids([point(STRANGER)])) == {}
    HONEST[2].follows(again)


def test_a_forged_cosignature_is_refused() -> None:
    kid = key_id(point(NEIGHBOUR))
    forged = cosigned(HONEST[1], kid, 77, signature(STRANGER, cosign_statement(HONEST[1], kid, 77)))
    with pytest.raises(LogError):
        cosigners(forged, witness_ids([point(NEIGHBOUR)]))
    moved = replace(HONEST[2], extras=cosign(HONEST[1], NEIGHBOUR).extras)
    with pytest.raises(LogError):
        cosigners(moved, witness_ids([point(NEIGHBOUR)]))
    receipt = cosign(HONEST[1], NEIGHBOUR).extras[0][1][0]
    for junk in ([1], [[b"x", {}, b"y"]], "text", [b"\xa0"], [receipt[:-1]], [receipt + b"\0"], [HONEST[1].encode()]):
        with pytest.raises(LogError):
            cosigners(HONEST[1].with_extra(394, junk), witness_ids([point(NEIGHBOUR)]))


def test_a_cosignature_is_a_receipt_of_consistency() -> None:
    """RFC 9942 sections 2 and 5.3: header 394 holds receipts; each proves that this root continues the one before."""
    unprotected = cbor2.loads(cosign(HONEST[1], NEIGHBOUR).encode()).value[1]
    (encoded,) = unprotected[394]
    receipt = cbor2.loads(encoded)
    protected, proofs, payload, signed = receipt.value
    header = cbor2.loads(protected)
    assert (receipt.tag, payload, header[1], header[395]) == (18, None, -7, 1)
    assert header[15][2] == f"{ORIGIN}/epoch/1"
    older, newer, path = cbor2.loads(proofs[396][-2][0])
    verify_consistency(older, newer, HONEST[0].head.root, HONEST[1].head.root, path)
    statement = cbor2.dumps(["Signature1", protected, b"", HONEST[1].head.root], canonical=True)
    verify_es256(point(NEIGHBOUR), statement, signed)
    assert header[-70001] == [newer, HONEST[1].digest]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (chain((5, 9, 14), b"!", (), 3)[2:], "one size"),  # rewritten, signed anew with the real key
        (chain((16,), b"!", HONEST[:2], 9)[2:], "left out"),  # cut off after 9, and grown past 14
        (chain((18,), b"!", chain((14,), b"!", HONEST[:2], 9), 9)[3:], "predecessors"),
    ],
)
def test_a_fork_is_found_and_both_heads_are_kept(told: list[Checkpoint], why: str) -> None:
    witness = a_witness()
    witness.consider(HONEST[:3])
    found = witness.consider(told)
    assert isinstance(found, Fork)
    assert why in found.why
    for head in (found.one, found.other):
        head.verify(point(GATE))
    seen = witness.seen(ORIGIN)
    assert seen is not None
    assert seen.digest == HONEST[2].digest


def test_missing_steps_strangers_and_wrong_signatures_are_refused() -> None:
    witness = a_witness()
    witness.consider(HONEST[:1])
    with pytest.raises(LogError, match="predecessor"):
        witness.consider(HONEST[2:])
    with pytest.raises(LogError, match="no neighbour"):
        Witness({}).consider(HONEST)
    with pytest.raises(LogError):
        witness.consider([replace(HONEST[1], signature=bytes(64))])
    later = a_witness()
    later.resume(HONEST[1])
    assert later.consider(HONEST[2:]) == HONEST[3]
