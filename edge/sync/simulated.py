"""A log in memory, with checkpoints, for tests and measurements of the way out: the same entries for the same origin.

It is built again identically after a restart, as the log on disk is.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.audit.checkpoint import Checkpoint, Head, key_id, statement
from edge.audit.entry import Entry, Kind, Quality, encode
from edge.audit.tree import Frontier, consistency, leaf_hash, root_of

_START_MS = 1_800_000_000_000


class SimulatedLog:
    """Entries, tree and checkpoints of one gate; serves as log and as checkpoints."""

    def __init__(self, origin: str, key: ec.EllipticCurvePrivateKey | None = None, *, epoch: int = 1) -> None:
        self.origin = origin
        self.key = key or _key_of(origin)
        self.point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.checkpoints: list[Checkpoint] = []
        self.pruned: set[int] = set()
        self._epoch = epoch
        self._entries: list[bytes] = []
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._tree = Frontier()

    def grow(self, count: int, sealed_every: int = 0) -> None:
        """Write ``count`` more entries, with a checkpoint after every ``sealed_every`` of them."""
        for _ in range(count):
            index = self._tree.size
            entry = encode(
                Entry(
                    index=index,
                    epoch=self._epoch,
                    wall_ms=_START_MS + 1000 * index,
                    quality=Quality.SYNCED,
                    monotonic_ms=1000 * index,
                    boot=1,
                    kind=Kind.GRANTED,
                    gate=self.origin.rpartition(":")[2],
                    fields={"score": 9400 + index % 600, "took_us": 80_000},
                    subject=hashlib.sha256(f"{self.origin}{index}".encode()).digest()[:16],
                ),
            )
            self._entries.append(entry)
            self._tree, made = self._tree.append(leaf_hash(entry))
            for level, node in enumerate(made):
                self._nodes[level, index >> level] = node
            if sealed_every and self._tree.size % sealed_every == 0:
                self.seal()

    def seal(self) -> Checkpoint:
        """Sign a checkpoint over all entries."""
        last = self.checkpoints[-1] if self.checkpoints else None
        older, size = (last.head.size if last else 0), self._tree.size
        head = Head(
            origin=self.origin,
            epoch=self._epoch,
            size=size,
            root=self._tree.root(),
            previous_size=older,
            previous_digest=last.digest if last else b"",
            at_s=(_START_MS // 1000) + size,
        )
        kid = key_id(self.point)
        r, s = decode_dss_signature(self.key.sign(statement(head, kid), ec.ECDSA(hashes.SHA256())))
        path = consistency(older, size, self._node)
        made = Checkpoint(head, kid, path, r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        self.checkpoints.append(made)
        return made

    def epoch(self) -> int:
        """Number of the present log."""
        return self._epoch

    def size(self) -> int:
        """How many entries it has."""
        return self._tree.size

    def read(self, first: int, count: int) -> list[bytes]:
        """Up to ``count`` entries from index ``first``."""
        return self._entries[first : first + count]

    def rows(self, first: int, count: int) -> list[tuple[bytes | None, bytes]]:
        """The same with their leaf hashes, None for those that were pruned."""
        rows = [(entry, leaf_hash(entry)) for entry in self.read(first, count)]
        return [(None if first + at in self.pruned else entry, leaf) for at, (entry, leaf) in enumerate(rows)]

    def root(self, size: int) -> bytes:
        """Root of the tree over the first ``size`` entries."""
        return root_of(size, self._node)

    def after(self, epoch: int, size: int, count: int) -> list[Checkpoint]:
        """Up to ``count`` checkpoints after that of ``size`` entries."""
        at = bisect_right(self.checkpoints, size, key=lambda checkpoint: checkpoint.head.size)
        return self.checkpoints[at : at + count] if epoch == self._epoch else []

    def _node(self, level: int, number: int) -> bytes:
        return self._nodes[level, number]


def _key_of(origin: str) -> ec.EllipticCurvePrivateKey:
    """The same key for the same origin: a simulation keeps no secret."""
    number = int.from_bytes(hashlib.sha256(origin.encode()).digest(), "big")
    return ec.derive_private_key(number >> 1 | 1, ec.SECP256R1())
