"""The Merkle tree over the entries: RFC 9162 section 2.1, with SHA-256.

Rules:

1. A leaf is SHA-256(0x00 || entry), a node SHA-256(0x01 || left || right); the tree of nothing is SHA-256 of nothing.
2. The frontier, the roots of the complete subtrees from left to right, is all that appending needs: one hash per set
   bit of the size.
3. ``Nodes`` gives the hash of a complete subtree: level 0 is a leaf, node ``i`` of level ``l`` covers the leaves
   ``i * 2**l`` up to ``(i + 1) * 2**l``. Complete subtrees never change, so they are written once.
4. A proof does not bind the size of the tree (the same path may verify under another size). Sizes must come from
   a signed place: the protected header of a checkpoint.
5. What does not verify is raised, never returned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edge.audit.entry import LogError

Nodes = Callable[[int, int], bytes]
HASH = 32
EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry as a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of the node above two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True)
class Frontier:
    """All that appending needs: how many leaves, and the complete subtrees from the largest to the smallest."""

    size: int = 0
    subtrees: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> tuple[Frontier, tuple[bytes, ...]]:
        """Add a leaf hash; returns the new frontier and the nodes this completes, level 0 first."""
        done, rest, size = [leaf], list(self.subtrees), self.size
        while size & 1:
            done.append(node_hash(rest.pop(), done[-1]))
            size >>= 1
        return Frontier(self.size + 1, (*rest, done[-1])), tuple(done)

    def root(self) -> bytes:
        """Root of the tree."""
        if not self.subtrees:
            return EMPTY
        root = self.subtrees[-1]
        for left in reversed(self.subtrees[:-1]):
            root = node_hash(left, root)
        return root


def completed(index: int) -> int:
    """How many nodes leaf ``index`` completes, itself included: one, and one more per trailing set bit."""
    return (~index & (index + 1)).bit_length()


def frontier_of(size: int, nodes: Nodes) -> Frontier:
    """The frontier of the first ``size`` leaves."""
    subtrees, first = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            subtrees.append(nodes(level, first >> level))
            first += 1 << level
    return Frontier(size, tuple(subtrees))


def root_of(size: int, nodes: Nodes) -> bytes:
    """Root of the first ``size`` leaves."""
    return frontier_of(size, nodes).root()


def root_of_entries(entries: Iterable[bytes]) -> bytes:
    """Root over whole entries, where no nodes are kept."""
    frontier = Frontier()
    for entry in entries:
        frontier, _ = frontier.append(leaf_hash(entry))
    return frontier.root()


def inclusion(index: int, size: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Path from leaf ``index`` to the root of the first ``size`` leaves (RFC 9162 section 2.1.3.1).

    Raises:
        LogError: there is no such leaf in that tree.
    """
    if not 0 <= index < size:
        raise LogError(f"no leaf {index} in a tree of {size}")
    path, first, last = [], 0, size
    while last - first > 1:
        middle = first + _split(last - first)
        if index < middle:
            path.append(_subtree(middle, last, nodes))
            last = middle
        else:
            path.append(_subtree(first, middle, nodes))
            first = middle
    return tuple(reversed(path))


def consistency(older: int, newer: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Path that shows the tree of ``older`` leaves inside that of ``newer`` (RFC 9162 section 2.1.4.1).

    Raises:
        LogError: the sizes do not follow each other.
    """
    if not 0 <= older <= newer:
        raise LogError(f"a tree of {newer} does not follow one of {older}")
    if older in (0, newer):
        return ()
    path, first, last, whole = [], 0, newer, True
    while older != last:
        middle = first + _split(last - first)
        if older <= middle:
            path.append(_subtree(middle, last, nodes))
            last = middle
        else:
            path.append(_subtree(first, middle, nodes))
            first, whole = middle, False
    if not whole:
        path.append(_subtree(first, last, nodes))
    return tuple(reversed(path))


def verify_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> None:
    """Check that ``leaf`` is number ``index`` of the tree (RFC 9162 section 2.1.3.2).

    Raises:
        LogError: it is not, or the proof is malformed.
    """
    _hashes(root)
    if root_from(index, size, leaf, path) != root:
        raise LogError(f"entry {index} is not in this tree")


def root_from(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """The root that an inclusion path leads to; whether it is the right one, somebody has to have signed.

    Raises:
        LogError: there is no such leaf in a tree of that size, or the path is malformed.
    """
    if not 0 <= index < size:
        raise LogError(f"no leaf {index} in a tree of {size}")
    _hashes(leaf, *path)
    position, last, running = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise LogError("proof is too long")
        if position & 1 or position == last:
            running = node_hash(sibling, running)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            running = node_hash(running, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise LogError("proof is too short")
    return running


def verify_consistency(older: int, newer: int, older_root: bytes, newer_root: bytes, path: Sequence[bytes]) -> None:
    """Check that the newer tree continues the older one (RFC 9162 section 2.1.4.2).

    Raises:
        LogError: it does not, or the proof is malformed.
    """
    _hashes(older_root, newer_root, *path)
    if not 0 <= older <= newer:
        raise LogError(f"a tree of {newer} does not follow one of {older}")
    if older in (0, newer):
        if path:
            raise LogError("proof is too long")
        if older_root != (newer_root if older else EMPTY):
            raise LogError("the trees differ")
        return
    hashes = list(path)
    if older & (older - 1) == 0:
        hashes.insert(0, older_root)
    if not hashes:
        raise LogError("proof is too short")
    position, last = older - 1, newer - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise LogError("proof is too long")
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise LogError("proof is too short")
    if old != older_root or new != newer_root:
        raise LogError(f"the tree of {newer} does not continue the tree of {older}")


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1


def _subtree(first: int, last: int, nodes: Nodes) -> bytes:
    """Hash over the leaves ``first`` up to ``last``; ``first`` is a multiple of the power of two above the count."""
    count = last - first
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return nodes(level, first >> level)
    middle = first + _split(count)
    return node_hash(_subtree(first, middle, nodes), _subtree(middle, last, nodes))


def _hashes(*values: bytes) -> None:
    if any(len(value) != HASH for value in values):
        raise LogError(f"a hash is not {HASH} bytes")
