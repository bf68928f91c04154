"""The tree against a naive definition, and against the vectors of others."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.audit.entry import LogError
from edge.audit.export import bundles, tile_name, tiles
from edge.audit.tree import (
    EMPTY,
    Frontier,
    completed,
    consistency,
    frontier_of,
    inclusion,
    leaf_hash,
    node_hash,
    root_of,
    root_of_entries,
    verify_consistency,
    verify_inclusion,
)

LARGEST = 300


def definition(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162 section 2.1.1, word by word, over leaf hashes."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + definition(leaves[:k]) + definition(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 9162 section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*path(m, leaves[:k]), definition(leaves[k:])]
    return [*path(m - k, leaves[k:]), definition(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 9162 section 2.1.4.1."""
    if m == len(leaves):
        return [] if whole else [definition(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*subproof(m, leaves[:k], whole), definition(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), definition(leaves[:k])]


class Grown:
    """A tree that grew leaf by leaf, with all its nodes and the frontier of each size."""

    def __init__(self, count: int) -> None:
        self.leaves = [leaf_hash(b"entry %d" % number) for number in range(count)]
        self.kept: dict[tuple[int, int], bytes] = {}
        self.frontiers = [Frontier()]
        for index, leaf in enumerate(self.leaves):
            frontier, done = self.frontiers[-1].append(leaf)
            assert len(done) == completed(index)
            self.kept |= {(level, index >> level): node for level, node in enumerate(done)}
            self.frontiers.append(frontier)

    def node(self, level: int, index: int) -> bytes:
        return self.kept[level, index]


GROWN = Grown(LARGEST)


def test_the_root_is_the_defined_one_at_every_size() -> None:
    for size in range(LARGEST + 1):
        root = definition(GROWN.leaves[:size])
        assert GROWN.frontiers[size].root() == root
        assert root_of(size, GROWN.node) == root
        assert frontier_of(size, GROWN.node) == GROWN.frontiers[size]
    assert root_of_entries(b"entry %d" % number for number in range(5)) == definition(GROWN.leaves[:5])


def test_inclusion_proofs_are_the_defined_ones() -> None:
    for size in [*range(1, 80), 127, 128, 129, 255, 256, 257, LARGEST]:
        root = GROWN.frontiers[size].root()
        for index in range(0, size, 1 if size < 80 else 17):
            found = inclusion(index, size, GROWN.node)
            assert list(found) == path(index, GROWN.leaves[:size])
            verify_inclusion(index, size, GROWN.leaves[index], found, root)


def test_consistency_proofs_are_the_defined_ones() -> None:
    for newer in [*range(1, 65), 127, 128, 129, 255, 256, 257, LARGEST]:
        root = GROWN.frontiers[newer].root()
        for older in range(0, newer + 1, 1 if newer < 65 else 13):
            found = consistency(older, newer, GROWN.node)
            if older > 0:
                assert list(found) == subproof(older, GROWN.leaves[:newer])
            verify_consistency(older, newer, GROWN.frontiers[older].root(), root, found)


def test_every_pair_of_sizes_is_consistent() -> None:
    for newer in range(LARGEST + 1):
        for older in range(0, newer + 1, 7):
            found = consistency(older, newer, GROWN.node)
            verify_consistency(older, newer, GROWN.frontiers[older].root(), GROWN.frontiers[newer].root(), found)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_proof_with_one_thing_changed_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, LARGEST))
    index = data.draw(st.integers(0, size - 1))
    root, found = GROWN.frontiers[size].root(), list(inclusion(index, size, GROWN.node))
    place = data.draw(st.integers(0, len(found) - 1))
    wrong = data.draw(st.sampled_from(["flip", "drop", "add", "short", "leaf", "root"]))
    leaf = GROWN.leaves[index]
    if wrong == "flip":
        found[place] = bytes([found[place][0] ^ 1, *found[place][1:]])
    elif wrong == "drop":
        del found[place]
    elif wrong == "add":
        found.insert(place, bytes(32))
    elif wrong == "short":
        found[place] = found[place][:31]
    elif wrong == "leaf":
        leaf = bytes(32)
    else:
        root = bytes(32)
    with pytest.raises(LogError):
        verify_inclusion(index, size, leaf, found, root)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5000), st.integers(0, 4999), st.integers(0, 5000))
def test_larger_trees_agree_too(size: int, index: int, older: int) -> None:
    index, older = index % size, older % (size + 1)
    leaves = [hashlib.sha256(b"%d" % number).digest() for number in range(size)]
    levels = [leaves]
    while len(levels[-1]) > 1:
        pairs = zip(levels[-1][::2], levels[-1][1::2], strict=False)
        levels.append([node_hash(left, right) for left, right in pairs])

    def node(level: int, number: int) -> bytes:
        return levels[level][number]

    root = root_of(size, node)
    assert root == definition(leaves)
    verify_inclusion(index, size, leaves[index], inclusion(index, size, node), root)
    verify_consistency(older, size, root_of(older, node), root, consistency(older, size, node))


# --- vectors of others


def test_the_vectors_of_transparency_dev(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts: Counter[str] = Counter()
    different = []
    for kind in ("inclusion", "consistency"):
        for file in sorted((shared / "vectors/merkle/testdata" / kind).rglob("*.json")):
            vector = json.loads(file.read_text())
            try:
                verified = verified_as(kind, vector)
            except LogError:
                verified = False
            counts[kind] += 1
            if verified is vector["wantErr"]:
                different.append(f"{kind}/{file.parent.name}/{file.name}: {vector['desc']}")
    with capsys.disabled():
        sys.stdout.write(f"\ntransparency-dev/merkle: {dict(counts)}, different: {different}\n")
    assert counts.total() == 196
    # The one difference: roots that are not 32 bytes long are accepted there when both are the same; we refuse them.
    assert [line.split(":")[0] for line in different] == [
        "consistency/additional/sizes-are-equal-one-and-proof-is-empty.json"
    ]


def verified_as(kind: str, vector: dict[str, object]) -> bool:
    def decoded(name: str) -> bytes:
        return base64.b64decode(str(vector[name] or ""))

    proof = [base64.b64decode(item) for item in vector["proof"] or ()]  # type: ignore[attr-defined]
    if kind == "inclusion":
        index, size = int(str(vector["leafIdx"])), int(str(vector["treeSize"]))
        verify_inclusion(index, size, decoded("leafHash"), proof, decoded("root"))
    else:
        older, newer = int(str(vector["size1"])), int(str(vector["size2"]))
        verify_consistency(older, newer, decoded("root1"), decoded("root2"), proof)
    return True


def test_the_log_of_tessera(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared / "vectors/tessera/testdata/log"
    entries = unbundled((folder / "tile/entries/000.p/15").read_bytes())
    # C2SP vkey: name, hash, base64 of an algorithm byte and the Ed25519 key
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode("AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx")[1:])
    agreed = 0
    for file in sorted(folder.glob("checkpoint*")):
        body, _, signatures = file.read_text().partition("\n\n")
        origin, size, root = body.splitlines()[:3]
        assert base64.b64decode(root) == root_of_entries(entries[: int(size)]), file
        note = base64.b64decode(signatures.split(f"— {origin} ")[1])
        key.verify(note[4:], f"{body}\n".encode())
        agreed += 1
    frontier = Frontier()
    kept: dict[tuple[int, int], bytes] = {}
    for index, entry in enumerate(entries):
        frontier, done = frontier.append(leaf_hash(entry))
        kept |= {(level, index >> level): node for level, node in enumerate(done)}
    for name, content in tiles(15, lambda level, index: kept[level, index]):
        assert (folder / name).read_bytes() == content
    for name, content in bundles(entries):
        assert (folder / name).read_bytes() == content
    with capsys.disabled():
        sys.stdout.write(f"\ntessera: {agreed} of 17 signed checkpoints, entry bundle and hash tile agree\n")
    assert agreed == 17  # sizes 0 to 15, and the newest once more


def unbundled(bundle: bytes) -> list[bytes]:
    entries = []
    while bundle:
        length = int.from_bytes(bundle[:2])
        entries.append(bundle[2 : 2 + length])
        bundle = bundle[2 + length :]
    return entries


def test_the_receipts_of_the_rfc_9942_draft(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared / "vectors/draft-ietf-cose-merkle-tree-proofs/examples"
    inclusion_receipt = cbor2.loads((folder / "inclusion-receipt.cbor").read_bytes())
    consistency_receipt = cbor2.loads((folder / "consistency-receipt.cbor").read_bytes())
    assert cbor2.loads(inclusion_receipt.value[0])[395] == 1
    size, index, leaf_path = cbor2.loads(inclusion_receipt.value[1][396][-1][0])
    older, newer, tree_path = cbor2.loads(consistency_receipt.value[1][396][-2][0])
    assert (size, index, older, newer) == (5, 3, 3, 5)
    # [leaf 2, leaves 0-1, leaf 4] and [leaf 2, leaf 3, leaves 0-1, leaf 4]: the two receipts share three nodes.
    assert [tree_path[0], tree_path[2], tree_path[3]] == list(leaf_path)
    root = node_hash(node_hash(leaf_path[1], node_hash(leaf_path[0], tree_path[1])), leaf_path[2])
    verify_inclusion(index, size, tree_path[1], leaf_path, root)
    verify_consistency(older, newer, node_hash(leaf_path[1], leaf_path[0]), root, tree_path)
    with capsys.disabled():
        sys.stdout.write("\nRFC 9942 draft: 2 of 2 receipts, proofs verify and agree on the root (key not published)\n")


def test_tiles_of_every_size_hold_the_whole_tree() -> None:
    for size in (1, 2, 255, 256, 257, LARGEST):
        found = dict(tiles(size, GROWN.node))
        assert found[f"tile/0/{tile_name(0, min(size, 256))}"] == b"".join(GROWN.leaves[: min(size, 256)])
        assert ("tile/1/000.p/1" in found) is (size >= 256)
        assert len(found) == -(-size // 256) + (size >= 256)
    assert tile_name(1234067, 256) == "x001/x234/067"
    assert tile_name(5, 7) == "005.p/7"


def test_the_tree_of_nothing() -> None:
    assert Frontier().root() == EMPTY == hashlib.sha256().digest()
    with pytest.raises(LogError):
        inclusion(0, 0, GROWN.node)
    with pytest.raises(LogError):
        consistency(3, 2, GROWN.node)
