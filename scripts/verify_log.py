#!/usr/bin/env python3
"""Verify the log of a gate, without any code of the gate.

    --journal journal.db --checkpoints checkpoints.db    a gate's own files, live or copied
    --export log.cborseq                                 an export
    --tiles DIRECTORY                                    an export as C2SP tiles
    --proof entry.proof                                  the proof of one entry
    --receipt TEXT                                       what a person took away: a text, or a file with it
    ... --prove INDEX --out entry.proof [--blind]        write such a proof; blind: with the entry's hash only
    ... --held checkpoint.cose                           what somebody else holds of this log: it must be in it
    ... --receipt TEXT                                   what a receipt, or a receipt's number, is about, in this log
    each with --key gate.pem                             the key that the gate was enrolled with

Exit status: 0 verified, 1 tampered, 2 incomplete, 3 signed by an unknown key, 64 wrong usage. A receipt that cannot be
read is wrong usage, and a number that no entry here has is incomplete: both are mistakes of whoever wrote them down.

What is checked, for every epoch that is given:

1. Each entry is deterministic CBOR with the index and epoch of its place (RFC 8949 section 4.2.1).
2. Each checkpoint is a COSE_Sign1 by a key that was given, or that a known key introduced (entry kind 61) (RFC 9052).
   Within an epoch another key follows only when the one before countersigned its first checkpoint (RFC 9338). A new
   epoch may begin with another key that is given, when an entry says that the old one was lost, and where that epoch
   ended.
3. Each checkpoint names the size and digest of the one before and grows; none was taken out, none put in.
4. The tree over the entries has the signed root at each signed size (RFC 9162), and the consistency proofs hold.
5. Tree nodes kept beside the entries are those of the tree; an entry that is gone, its hash left behind, was pruned by
   a later entry (kind 72), and no more are gone in the range of such an entry than it says.
6. Heads that somebody else holds (a witness, the collector, the token) are heads of this log: nothing was cut off and
   signed anew. So is what the collector signed last, in an export, when its public key is given with --key; it is of
   this log, and of an epoch that is here.
7. With the collector's private key: each entry has the tag that only the gate could make when it was written.
8. Receipts in a checkpoint (header 394, RFC 9942) are of that checkpoint. With a witness policy (TOML: quorum = 2,
   keys = ["north.pem", ...]): so many of these witnesses gave one for the newest, and none in their name is false.
9. A new epoch goes on from a head that is among the checkpoints: its first entry (kind 60) names it.
10. Bodies that come with it (encrypted, personal) are those that entries committed to: SHA-256 of salt and body. None
   is there that an entry says was deleted (kind 73), and no more are missing than such entries say.
11. A receipt with a log: the entry with its index has its hash, and the head that it carries is one of this log. What
   it is about is said after everything else was found to be good.

Entries after the last checkpoint are counted, not refused: the token had not sealed them yet. Needs only cbor2 and
cryptography.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import sqlite3
import struct
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

try:
    import cbor2
    from cryptography.exceptions import InvalidSignature, InvalidTag
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    cbor2.loads(b"\x00", max_depth=1, allow_indefinite=False, allow_duplicate_keys=False)
except (ImportError, TypeError) as error:
    print(f"verify_log: {error}: it needs cbor2 (6.1 or newer) and cryptography (46 or newer).", file=sys.stderr)
    print(
        "On a gate: /opt/edge-gate/.venv/bin/python verify_log.py ...; else: pip install cbor2 cryptography",
        file=sys.stderr,
    )
    sys.exit(64)

VERIFIED, TAMPERED, INCOMPLETE, UNKNOWN_KEY, USAGE = 0, 1, 2, 3, 64
HEAD, WITNESSED, PROOFS, RECEIPTS, COUNTERSIGNATURE = -70000, -70001, 396, 394, 11
EPOCH_OPEN, KEY_ROTATION, TAIL_KEY, PRUNED, BODIES_DELETED = 60, 61, 64, 72, 73
GRANTED, DENIED, TAKEN, NOT_TAKEN, OVERRIDE = 10, 11, 12, 13, 14
WORDS = {
    GRANTED: "access granted",
    DENIED: "refused",
    TAKEN: "the person went through",
    NOT_TAKEN: "nobody went through",
    OVERRIDE: "an operator let the person in all the same",
    80: "a benefit was reserved",
    81: "the benefit was handed out",
    82: "the benefit was not handed out and is still due",
}

Row = tuple[bytes | None, bytes | None, bytes | None]


class Finding(Exception):  # noqa: N818 -- what was found, not a failure of this program
    """What is wrong, and the exit status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NoReceipt(Finding):
    """A receipt that cannot be read, or that is of no entry here; nothing is wrong with the log."""


@dataclass
class Checkpoint:
    """A signed tree head, taken apart."""

    origin: str
    epoch: int
    size: int
    root: bytes
    previous_size: int
    previous_digest: bytes
    kid: bytes
    path: list[bytes]
    statement: bytes
    signature: bytes
    unprotected: dict[int, Any]
    sealed: str = ""

    @property
    def digest(self) -> bytes:
        """What the next checkpoint names."""
        return hashlib.sha256(self.statement).digest()


@dataclass
class Epoch:
    """One log: rows of (entry or None when pruned, nodes kept beside it or None, tag or None).

    While it is checked: the end of the tree, and what entries say of keys that were lost.
    """

    number: int | None
    origin: str | None
    rows: Iterator[Row]
    end: tuple[int, bytes] = (0, b"")
    lost: list[dict[str, Any]] = field(default_factory=list)
    sought: Sought | None = None


@dataclass
class Sought:
    """Rule 11: a receipt, or its number, and what the log says of it."""

    number: str
    epoch: int
    index: int
    leaf: bytes | None = None
    head: Checkpoint | None = None
    said: list[str] = field(default_factory=list)
    visits: set[int] = field(default_factory=set)
    sealed: bool = False
    believed: bool = False

    def note(self, index: int, leaf: bytes, fields: dict[int, Any]) -> None:
        """One entry of that epoch, in order; ``fields`` is empty when it was pruned."""
        told = fields.get(9, {})
        if index == self.index:
            if number_of(self.epoch, index, leaf) == self.number and self.leaf in (None, leaf):
                self.visits.add(index)
                self.said.append(outcome(index, fields) if fields else f"entry {index}: what it said was pruned")
            elif self.believed:
                raise Finding(TAMPERED, f"entry {index} is not the one of the receipt")
        elif type(told.get("visit")) is int and told["visit"] in self.visits and fields.get(7) in WORDS:
            self.said.append("then " + outcome(index, fields))
            if fields[7] == OVERRIDE:
                self.visits.add(index)

    def check(self, size: int) -> None:
        """At the end of that epoch: what was signed for is there."""
        if self.leaf is not None and not 0 <= self.index < size:
            raise Finding(TAMPERED, f"entry {self.index} is missing: somebody has a receipt of it")
        if self.leaf is not None and not self.visits:
            raise Finding(TAMPERED, f"entry {self.index} is not the one of the receipt")

    def tell(self) -> None:
        """Say it; to be called when everything was found to be good."""
        if not self.visits:
            raise NoReceipt(INCOMPLETE, f"no entry here has the number {self.number}; was it written down rightly?")
        print(f"receipt {self.number}: " + "; ".join(self.said))
        if not self.sealed:
            print("that entry is not sealed yet: no signature covers it")


def outcome(index: int, fields: dict[int, Any]) -> str:
    """An entry about a visit in words."""
    told = fields[9]
    because = told.get("why") if fields.get(7) == OVERRIDE else told.get("reason")
    words = WORDS.get(fields.get(7, -1), f"kind {fields.get(7)}") + (f", reason {because}" if because else "")
    return f"entry {index}, {moment(fields.get(3), fields.get(4))}: {words}"


def moment(wall_ms: Any, quality: Any) -> str:
    """A time as good as it was known."""
    try:
        said = datetime.fromtimestamp(wall_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (TypeError, ValueError, OverflowError, OSError):
        return "at no time that can be told"
    as_good_as = {
        1: f"not before {said}",
        2: f"{said} (clock kept since it was set)",
        3: f"{said} (clock synchronised)",
    }
    return as_good_as.get(quality, f"time unknown (the gate's clock said {said})")


@dataclass
class Log:
    """All that was given."""

    epochs: list[Epoch] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    bodies: Bodies | None = None
    acknowledged: bytes | None = None


class Bodies:
    """Rule 10: what is kept beside the entries, and what entries say of it."""

    def __init__(self) -> None:
        self.given: dict[bytes, str] = {}
        self.committed: set[bytes] = set()
        self.gone: set[str | bytes] = set()
        self.deleted = 0

    def add(self, period: str, salt: bytes, body: bytes) -> None:
        """One that was given."""
        self.given[hashlib.sha256(salt + body).digest()] = period

    def note(self, fields: dict[int, Any]) -> None:
        """What an entry says."""
        if isinstance(fields.get(14), bytes):
            self.committed.add(fields[14])
        if fields.get(7) == BODIES_DELETED:
            told = fields[9]
            named = [told.get("periods"), told.get("bodies")]
            self.gone |= {one for some in named if isinstance(some, list) for one in some if type(one) in (str, bytes)}
            self.deleted += told["count"] if type(told.get("count")) is int else 0

    def check(self) -> None:
        """After all entries."""
        for commitment, period in self.given.items():
            if commitment not in self.committed:
                raise Finding(TAMPERED, f"a body of {period} was changed: no entry committed to it")
            if commitment in self.gone or period in self.gone:
                raise Finding(TAMPERED, f"a body of {period} is there that an entry says was deleted")
        missing = len(self.committed) - len(self.given)
        if missing > self.deleted:
            raise Finding(INCOMPLETE, f"{missing - self.deleted} bodies are missing, and no entry says so")
        print(f"{len(self.given)} bodies are those that were committed to, {missing} were deleted")


# --- reading -------------------------------------------------------------------------------------------------------


def strict(encoded: bytes, what: str) -> Any:
    """Deterministic CBOR, or a finding."""
    try:
        value = cbor2.loads(encoded, max_depth=16, allow_indefinite=False, allow_duplicate_keys=False)
        same = cbor2.dumps(value, canonical=True) == encoded
    except Exception as error:
        raise Finding(TAMPERED, f"{what} is not CBOR") from error
    if not same:
        raise Finding(TAMPERED, f"{what} is not deterministic CBOR")
    return value


def checkpoint_from(encoded: bytes) -> Checkpoint:
    """Take a checkpoint apart; the signature is checked elsewhere."""
    try:
        tagged = cbor2.loads(encoded, max_depth=16, allow_indefinite=False, allow_duplicate_keys=False)
        protected, unprotected, root, signature = tagged.value
        header = cbor2.loads(protected, max_depth=8, allow_indefinite=False, allow_duplicate_keys=False)
        size, previous_size, previous_digest = header[HEAD][:3]
        epoch = int(header[15][2].removeprefix("epoch/"))
        proofs = unprotected.get(PROOFS)
        path: list[bytes] = []
        if proofs is not None:
            older, newer, found = cbor2.loads(proofs[-2][0])
            if (older, newer) != (previous_size, size):
                raise ValueError("sizes of the proof")
            path = list(found)
        if tagged.tag != 18 or header[1] != -7 or header[395] != 1 or len(signature) != 64 or len(root) != 32:
            raise ValueError("wrong algorithm or lengths")
        if not 0 <= previous_size < size or 2 in header:
            raise ValueError("sizes")
        statement = cbor2.dumps(["Signature1", protected, b"", root], canonical=True)
        origin, kid = header[15][1], header[4]
        at_s, known = header[15].get(6), [*header[HEAD][3:], None, None][1]
        sealed = moment(at_s * 1000 if type(at_s) is int else None, known)
    except Exception as error:
        raise Finding(TAMPERED, f"a checkpoint is malformed: {error}") from error
    return Checkpoint(
        origin,
        epoch,
        size,
        root,
        previous_size,
        previous_digest,
        kid,
        path,
        statement,
        signature,
        dict(unprotected),
        sealed,
    )


def opened(path: Path) -> sqlite3.Connection:
    """A database for reading only."""
    if not path.exists():
        raise Finding(INCOMPLETE, f"{path} is not there")
    kept = "" if path.with_name(path.name + "-wal").exists() else "&immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{kept}", uri=True)


def rows_of(file: sqlite3.Connection) -> Iterator[Row]:
    """Entries with the nodes beside them, in order, without gaps."""
    query = "SELECT ix, CAST(entry AS BLOB), CAST(nodes AS BLOB), CAST(tag AS BLOB) FROM leaf ORDER BY ix"
    for position, (index, entry, nodes, tag) in enumerate(file.execute(query)):
        if index != position:
            raise Finding(TAMPERED, f"entry {position} is missing")
        yield entry, nodes, tag


def from_databases(journals: list[Path], checkpoints: Path) -> Log:
    """The gate's own files."""
    log = Log()
    for path in journals:
        file = opened(path)
        origin, number = file.execute("SELECT origin, epoch FROM log").fetchone() or (None, None)
        log.epochs.append(Epoch(number, origin, rows_of(file)))
    query = "SELECT epoch, size, CAST(root AS BLOB), CAST(cose AS BLOB) FROM checkpoint ORDER BY epoch, size"
    for epoch, size, root, cose in opened(checkpoints).execute(query):
        checkpoint = checkpoint_from(cose)
        if (checkpoint.epoch, checkpoint.size, checkpoint.root) != (epoch, size, root):
            raise Finding(TAMPERED, f"checkpoint {size} is filed under another size, epoch or root")
        log.checkpoints.append(checkpoint)
    return log


def items_of(path: Path) -> Iterator[Any]:
    """The items of a CBOR sequence (RFC 8742)."""
    with path.open("rb") as stream:
        decoder = cbor2.CBORDecoder(stream, max_depth=8, allow_indefinite=False, allow_duplicate_keys=False)
        while stream.peek(1):
            try:
                yield decoder.decode()
            except cbor2.CBORDecodeEOF as error:
                raise Finding(INCOMPLETE, "the export is cut off") from error
            except cbor2.CBORError as error:
                raise Finding(TAMPERED, f"the export is not CBOR: {error}") from error


def from_export(path: Path) -> Log:
    """An export: header, entries, checkpoints, end."""
    if not path.exists():
        raise Finding(INCOMPLETE, f"{path} is not there")
    items = list(items_of(path))
    if not items or not isinstance(items[0], dict) or items[0].get("format") != "edge-gate log":
        raise Finding(TAMPERED, "not an export of a log")
    if not isinstance(items[-1], list | tuple) or list(items[-1]) != ["end", len(items) - 1]:
        raise Finding(INCOMPLETE, "the export has no end")
    rows: list[Row] = []
    log = Log(epochs=[Epoch(items[0].get("epoch"), items[0].get("origin"), iter(rows))])
    for item in items[1:-1]:
        match item:
            case ["entry", bytes(entry)]:
                rows.append((entry, None, None))
            case ["leaf", bytes(leaf)] if len(leaf) == 32:
                rows.append((None, leaf, None))
            case ["checkpoint", bytes(cose)]:
                log.checkpoints.append(checkpoint_from(cose))
            case ["acknowledged", bytes(signed)]:
                log.acknowledged = signed
            case ["body", str(period), bytes(salt), bytes(body)]:
                log.bodies = log.bodies or Bodies()
                log.bodies.add(period, salt, body)
            case _:
                raise Finding(TAMPERED, "the export holds something else than entries, checkpoints and bodies")
    return log


def tile_name(number: int) -> str:
    """C2SP tlog-tiles: 1234067 is x001/x234/067."""
    name, number = f"{number % 1000:03d}", number // 1000
    while number:
        name, number = f"x{number % 1000:03d}/{name}", number // 1000
    return name


def bundles_of(folder: Path, size: int) -> Iterator[bytes]:
    """The entries in ``tile/entries``: two bytes of length and the entry, 256 in a bundle."""
    for number in range((size + 255) // 256):
        width = min(256, size - number * 256)
        name = f"tile/entries/{tile_name(number)}" + (f".p/{width}" if width < 256 else "")
        hashes_name = f"tile/0/{tile_name(number)}" + (f".p/{width}" if width < 256 else "")
        if not (folder / name).exists() or not (folder / hashes_name).exists():
            raise Finding(INCOMPLETE, f"{name} or {hashes_name} is not there")
        bundle, leaves, position = (folder / name).read_bytes(), (folder / hashes_name).read_bytes(), 0
        for within in range(width):
            if len(bundle) < position + 2:
                raise Finding(TAMPERED, f"entry {number * 256 + within} is missing")
            (length,) = struct.unpack_from(">H", bundle, position)
            entry = bundle[position + 2 : position + 2 + length]
            if leaf_hash(entry) != leaves[within * 32 : within * 32 + 32]:
                raise Finding(TAMPERED, f"entry {number * 256 + within} was changed: its tile says otherwise")
            position += 2 + length
            yield entry
        if position != len(bundle) or len(leaves) != width * 32:
            raise Finding(TAMPERED, f"{name} is longer than its width")


def from_tiles(folder: Path) -> Log:
    """An export as C2SP tiles, with our checkpoints beside them."""
    if not (folder / "checkpoint").exists() or not (folder / "checkpoints.cborseq").exists():
        raise Finding(INCOMPLETE, f"{folder} has no checkpoint")
    checkpoints = [checkpoint_from(bytes(item)) for item in items_of(folder / "checkpoints.cborseq")]
    lines = (folder / "checkpoint").read_text(encoding="utf-8").splitlines()
    if len(lines) < 3 or not lines[1].isdigit():
        raise Finding(TAMPERED, "the checkpoint text is malformed")
    origin, _, number = lines[0].rpartition("/epoch/")
    rows = ((entry, None, None) for entry in bundles_of(folder, int(lines[1])))
    return Log([Epoch(int(number) if number.isdigit() else None, origin, rows)], checkpoints)


# --- checking ------------------------------------------------------------------------------------------------------


def leaf_hash(entry: bytes) -> bytes:
    """RFC 9162 section 2.1.1."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 9162 section 2.1.1."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """The complete subtrees of a growing tree, largest first."""

    def __init__(self) -> None:
        self.size = 0
        self.subtrees: list[bytes] = []

    def add(self, leaf: bytes) -> list[bytes]:
        """Append a leaf; returns the nodes it completes."""
        done, rest = [leaf], self.size
        while rest & 1:
            done.append(node_hash(self.subtrees.pop(), done[-1]))
            rest >>= 1
        self.subtrees.append(done[-1])
        self.size += 1
        return done

    def root(self) -> bytes:
        """Root over what was appended."""
        root = self.subtrees[-1] if self.subtrees else hashlib.sha256(b"").digest()
        for left in reversed(self.subtrees[:-1]):
            root = node_hash(left, root)
        return root


def root_of(leaves: list[bytes]) -> bytes:
    """Root by the definition, for proofs."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(root_of(leaves[:split]), root_of(leaves[split:]))


def path_to(index: int, leaves: list[bytes]) -> list[bytes]:
    """Inclusion path by the definition (RFC 9162 section 2.1.3.1)."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*path_to(index, leaves[:split]), root_of(leaves[split:])]
    return [*path_to(index - split, leaves[split:]), root_of(leaves[:split])]


def climb(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes:
    """Root that an inclusion path leads to (RFC 9162 section 2.1.3.2)."""
    position, last, root = index, size - 1, leaf
    if not 0 <= index < size:
        raise Finding(TAMPERED, "the proof is of no entry of this tree")
    for sibling in path:
        if last == 0:
            raise Finding(TAMPERED, "the proof is too long")
        if position & 1 or position == last:
            root = node_hash(sibling, root)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise Finding(TAMPERED, "the proof is too short")
    return root


def consistent(older: int, newer: int, older_root: bytes, newer_root: bytes, path: list[bytes]) -> bool:
    """RFC 9162 section 2.1.4.2, for 0 < older < newer."""
    steps = [older_root, *path] if older & (older - 1) == 0 else list(path)
    if not steps or any(len(step) != 32 for step in steps):
        return False
    position, last = older - 1, newer - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, step)
        position, last = position >> 1, last >> 1
    return last == 0 and old == older_root and new == newer_root


def continues(checkpoint: Checkpoint, previous: Checkpoint) -> bool:
    """Whether the consistency proof in a checkpoint holds."""
    return consistent(previous.size, checkpoint.size, previous.root, checkpoint.root, checkpoint.path)


def key_id(point: bytes) -> bytes:
    """First 8 bytes of the COSE key thumbprint (RFC 9679)."""
    return hashlib.sha256(cbor2.dumps({1: 2, -1: 1, -2: point[1:33], -3: point[33:]}, canonical=True)).digest()[:8]


def signed_by(point: bytes, statement: bytes, signature: bytes) -> bool:
    """Whether this ES256 signature is of this key."""
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        key.verify(encode_dss_signature(r, s), statement, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def check_signature(checkpoint: Checkpoint, keys: dict[bytes, bytes]) -> None:
    """Rule 2."""
    point = keys.get(checkpoint.kid)
    if point is None:
        raise Finding(UNKNOWN_KEY, f"checkpoint {checkpoint.size} is signed by unknown key {checkpoint.kid.hex()}")
    if not signed_by(point, checkpoint.statement, checkpoint.signature):
        raise Finding(TAMPERED, f"checkpoint {checkpoint.size} has a wrong signature")


def check_chain(checkpoints: list[Checkpoint], keys: dict[bytes, bytes]) -> None:
    """Rule 3, the consistency proofs of rule 4, the keys of rule 2, and that receipts are of their checkpoint."""
    previous: Checkpoint | None = None
    for checkpoint in checkpoints:
        name = f"checkpoint {checkpoint.size} of epoch {checkpoint.epoch}"
        same = previous is not None and previous.epoch == checkpoint.epoch
        size = previous.size if previous is not None and same else 0
        digest = previous.digest if previous is not None else b""
        if previous is not None and (checkpoint.epoch, checkpoint.size) <= (previous.epoch, previous.size):
            raise Finding(TAMPERED, f"{name} does not grow")
        if previous is not None and checkpoint.origin != previous.origin:
            raise Finding(TAMPERED, f"{name} is of another log")
        if (checkpoint.previous_size, checkpoint.previous_digest) != (size, digest):
            raise Finding(TAMPERED, f"{name} names another predecessor: one was taken out, put in or signed twice")
        if previous is not None and same and not continues(checkpoint, previous):
            raise Finding(TAMPERED, f"{name} does not continue the tree before it")
        if previous is not None and same and previous.kid != checkpoint.kid:
            check_succession(checkpoint, keys[previous.kid])
        list(receipts_of(checkpoint))
        previous = checkpoint


def check_entry(entry: bytes, index: int, epoch: Epoch) -> dict[int, Any]:
    """Rule 1."""
    fields = strict(entry, f"entry {index}")
    if not isinstance(fields, dict) or fields.get(0) != 1 or not isinstance(fields.get(9), dict):
        raise Finding(TAMPERED, f"entry {index} is malformed")
    if fields.get(1) != index:
        raise Finding(TAMPERED, f"entry {index} says it is number {fields.get(1)}")
    if epoch.number is None:
        epoch.number = fields.get(2)
    if fields.get(2) != epoch.number:
        raise Finding(TAMPERED, f"entry {index} is of epoch {fields.get(2)}, not {epoch.number}")
    return fields


class Tail:
    """Rule 7: the keys of the tags, from the entries that carry them."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self.private = private
        self.key: bytes | None = None

    def check(self, index: int, leaf: bytes, tag: bytes | None, fields: dict[int, Any], origin: str) -> None:
        """Check one entry, and go on to the next key."""
        if fields.get(7) == TAIL_KEY:
            self.key = self.opened(index, fields[9], origin)
            return
        if self.key is None:
            return
        if fields and (tag is None or not hmac.compare_digest(tag, hmac.digest(self.key, leaf, "sha256")[:16])):
            raise Finding(TAMPERED, f"entry {index} has a wrong tag: it was not written when it says")
        self.key = hashlib.sha256(b"evolve" + self.key).digest()

    def opened(self, index: int, told: dict[str, Any], origin: str) -> bytes:
        """The key in an entry."""
        try:
            other = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), told["one_time"])
            own = self.private.public_key().public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
            )
            info = b"edge-gate tail key" + told["one_time"] + own + origin.encode()
            secret = HKDF(hashes.SHA256(), 32, None, info).derive(self.private.exchange(ec.ECDH(), other))
            return AESGCM(secret).decrypt(bytes(12), told["sealed"], None)
        except (InvalidTag, ValueError, KeyError, TypeError) as error:
            raise Finding(TAMPERED, f"entry {index} carries no tail key for this collector") from error


def check_epoch(
    epoch: Epoch,
    checkpoints: list[Checkpoint],
    keys: dict[bytes, bytes],
    held: list[Checkpoint],
    tail: Tail | None,
    older: list[Checkpoint],
    bodies: Bodies | None,
) -> tuple[int, int]:
    """Rules 1, 2, 4, 5, 6, 9 and 10 for one epoch; returns its size and how many entries are sealed."""
    tree, due, last_good = Tree(), list(checkpoints), 0
    gone: list[int] = []
    told: list[tuple[int, int, int]] = []
    introduced: dict[bytes, bytes] = {}
    for entry, kept, tag in epoch.rows:
        index = tree.size
        if entry is None:
            fields = {}
            gone.append(index)
            leaf = (kept or b"")[:32]
        else:
            fields = check_entry(entry, index, epoch)
            leaf = leaf_hash(entry)
            if fields.get(7) == EPOCH_OPEN:
                say_remembered(fields[9], epoch.number)
                check_opening(fields[9], older)
            if fields.get(7) == PRUNED:
                told.append(range_of(index, fields[9]))
            if fields.get(7) == KEY_ROTATION and isinstance(point := fields[9].get("point"), bytes):
                introduced[key_id(point)] = point
            if fields.get(7) == KEY_ROTATION and fields[9].get("key") == "lost":
                epoch.lost.append(fields[9])
        if bodies is not None:
            bodies.note(fields)
        if epoch.sought is not None:
            epoch.sought.note(index, leaf, fields)
        if tail is not None:
            tail.check(index, leaf, tag, fields, epoch.origin or "")
        done = tree.add(leaf)
        if kept is not None and len(kept) > 32 and b"".join(done) != kept:
            raise Finding(TAMPERED, f"entry {index} was changed: the nodes beside it are of another entry")
        if kept is not None and entry is not None and kept[:32] != leaf:
            raise Finding(TAMPERED, f"entry {index} was changed: the hash beside it is of another entry")
        for other in held:
            if (other.epoch, other.size) == (epoch.number, tree.size) and other.root != tree.root():
                raise Finding(TAMPERED, f"an entry up to {tree.size - 1} is not the one whose head somebody else holds")
        if due and due[0].size == tree.size:
            checkpoint = due.pop(0)
            check_signature(checkpoint, keys)
            if checkpoint.root != tree.root():
                raise Finding(TAMPERED, f"an entry from {last_good} to {tree.size - 1} is not the one that was sealed")
            last_good = tree.size
            keys |= introduced  # a key counts once a known key has sealed the entry that introduces it
            introduced = {}
    if epoch.sought is not None:
        check_receipt(epoch.sought, keys)
        epoch.sought.check(tree.size)
        epoch.sought.sealed = epoch.sought.index < last_good
    if due:
        check_signature(due[0], keys)
        raise Finding(TAMPERED, f"entry {tree.size} is missing: {due[-1].size} entries were sealed")
    for other in held:
        if other.epoch == epoch.number and other.size > tree.size:
            raise Finding(TAMPERED, f"entry {tree.size} is missing: somebody else holds a head of {other.size} entries")
    check_pruned(gone, told, tree.size)
    epoch.end = (tree.size, tree.root())
    if gone:
        print(f"epoch {epoch.number}: {len(gone)} entries were pruned; their hashes are in place")
    return tree.size, last_good


def check_opening(told: dict[str, Any], older: list[Checkpoint]) -> None:
    """Rule 9: the head that a new epoch says it goes on from is one that was signed."""
    if "digest" not in told:
        return
    for one in older:
        if (one.epoch, one.size, one.root, one.digest) == tuple(
            told.get(k) for k in ("epoch", "size", "root", "digest")
        ):
            return
    place = f"of {told.get('size')} entries in epoch {told.get('epoch')}"
    if any(one.epoch == told.get("epoch") for one in older):
        raise Finding(TAMPERED, f"a new epoch goes on from a head {place} that is not among the checkpoints")
    raise Finding(INCOMPLETE, f"a new epoch goes on from a head {place}; the checkpoints of that epoch are missing")


def say_remembered(told: dict[str, Any], epoch: int | None) -> None:
    """What a person wrote down when a new epoch began: that the token remembered more than the gate."""
    known = told.get("remembered")
    if isinstance(known, dict):
        head = f"{known.get('size')} entries of epoch {known.get('epoch')}"
        print(f"epoch {epoch} was begun by hand: the token remembered {head}, whose checkpoint was missing")


def check_lost(log: Log) -> None:
    """Rule 2: a new epoch with another key says that the old one was lost, and where the epoch before ended."""
    epochs = {epoch.number: epoch for epoch in log.epochs}
    for previous, first in zip(log.checkpoints, log.checkpoints[1:], strict=False):
        epoch = epochs.get(first.epoch)
        if epoch is None or previous.epoch == first.epoch or previous.kid == first.kid:
            continue
        said = [one for one in epoch.lost if (one.get("old"), one.get("kid")) == (previous.kid, first.kid)]
        if not said:
            raise Finding(TAMPERED, f"epoch {first.epoch} is sealed by another key, and no entry says why")
        before = epochs.get(previous.epoch)
        if before is not None and before.end != (said[0].get("size"), said[0].get("root")):
            raise Finding(TAMPERED, f"epoch {previous.epoch} is not as it was when its key was lost")


def range_of(index: int, told: dict[str, Any]) -> tuple[int, int, int]:
    """First and last index that an entry of pruning tells, and how many of them went."""
    first, last, count = (told.get(name) for name in ("first", "last", "count"))
    if type(first) is not int or type(last) is not int or type(count) is not int:
        raise Finding(TAMPERED, f"entry {index} does not say what was pruned")
    return first, last, count


def check_pruned(gone: list[int], told: list[tuple[int, int, int]], size: int) -> None:
    """Rule 5. Fewer may be gone than were pruned: a collector keeps what it had."""
    ranges: list[tuple[int, int, int]] = []
    for first, last, count in sorted(told):
        if ranges and first <= ranges[-1][1]:
            before = ranges.pop()
            first, last, count = before[0], max(before[1], last), before[2] + count
        ranges.append((first, last, count))
    left = iter(gone)
    index = next(left, None)
    for first, last, count in ranges:
        here = 0
        while index is not None and first <= index <= last:
            here, index = here + 1, next(left, None)
        if here > count:
            raise Finding(TAMPERED, f"{here} entries from {first} to {last} are gone, and {count} were pruned")
    if index is not None:
        raise Finding(TAMPERED, f"entry {index} of {size} was taken away, and no entry says so")


def check_witnesses(policy: Path, checkpoints: list[Checkpoint]) -> str:
    """Rule 8; says how many cosigned."""
    try:
        told = tomllib.loads(policy.read_text(encoding="utf-8"))
        points = [key_from(policy.parent / name) for name in told["keys"]]
        quorum = int(told["quorum"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise Finding(UNKNOWN_KEY, f"{policy} is no witness policy: {error}") from error
    witnesses = {key_id(point): point for point in points}
    newest: set[bytes] = set()
    for checkpoint in checkpoints:
        newest = set()
        for kid, signed, signature in receipts_of(checkpoint):
            if kid in witnesses:
                if not signed_by(witnesses[kid], signed, signature):
                    raise Finding(TAMPERED, f"a receipt of checkpoint {checkpoint.size} is forged")
                newest.add(kid)
    if len(newest) < quorum:
        raise Finding(INCOMPLETE, f"{len(newest)} witnesses cosigned the newest checkpoint, {quorum} are asked for")
    return f"cosigned by {len(newest)} of {len(points)} witnesses"


def receipts_of(checkpoint: Checkpoint) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Key id, signed bytes and signature of each receipt of consistency (RFC 9942 section 5.3)."""
    try:
        for encoded_receipt in checkpoint.unprotected.get(RECEIPTS, ()):
            tagged = strict(encoded_receipt, "a receipt")
            protected, unprotected, payload, signature = tagged.value
            header = strict(protected, "a receipt")
            subject = f"{checkpoint.origin}/epoch/{checkpoint.epoch}"
            place = (header[1], header[395], header[15][2], list(header[WITNESSED]), payload, tagged.tag)
            if place != (-7, 1, subject, [checkpoint.size, checkpoint.digest], None, 18) or 2 in header:
                raise ValueError("it is of another checkpoint")
            for proof in unprotected[PROOFS].get(-2, ()):
                if cbor2.loads(proof) != [checkpoint.previous_size, checkpoint.size, checkpoint.path]:
                    raise ValueError("its path is another one")
            signed = cbor2.dumps(["Signature1", protected, b"", checkpoint.root], canonical=True)
            yield header[4], signed, signature
    except (TypeError, ValueError, KeyError, AttributeError, cbor2.CBORError) as error:
        raise Finding(TAMPERED, f"a receipt of checkpoint {checkpoint.size} is malformed: {error}") from error


def check_succession(checkpoint: Checkpoint, old: bytes) -> None:
    """Rule 2: the key before countersigned the first checkpoint of the next (RFC 9338 section 3.3)."""
    _, body, _, payload = cbor2.loads(checkpoint.statement)
    protected = cbor2.dumps({1: -7, 4: key_id(old)}, canonical=True)
    signed = cbor2.dumps(["CounterSignatureV2", body, protected, b"", payload, [checkpoint.signature]], canonical=True)
    match checkpoint.unprotected.get(COUNTERSIGNATURE):
        case [bytes(found), _, bytes(signature)] if found == protected and signed_by(old, signed, signature):
            return
    raise Finding(TAMPERED, f"checkpoint {checkpoint.size} goes over to another key without the old one")


def acknowledged_head(signed: bytes, keys: dict[bytes, bytes]) -> Checkpoint | None:
    """Rule 6: the head that a collector signed for, if its key was given."""
    try:
        protected, _, payload, signature = cbor2.loads(signed, max_depth=8, allow_indefinite=False).value
        told = strict(payload, "what the collector signed")
        to_be_signed = cbor2.dumps(["Signature1", protected, b"", payload], canonical=True)
        if not any(signed_by(point, to_be_signed, signature) for point in keys.values()):
            print("what the collector signed is there; its key was not given")
            return None
        origin, epoch, size, root = (told[number] for number in (1, 2, 3, 4))
    except (TypeError, ValueError, KeyError, AttributeError, cbor2.CBORError) as error:
        raise Finding(TAMPERED, "what the collector signed is malformed") from error
    print(f"the collector signed for {size} entries of epoch {epoch}")
    return Checkpoint(origin, epoch, size, root, 0, b"", b"", [], b"", b"", {})


def check_held(held: list[Checkpoint], log: Log, newest: int) -> None:
    """Rule 6, where no entries are at hand to compare with; each head was signed by whom it should be."""
    for other in held:
        if other.epoch > newest:
            raise Finding(TAMPERED, f"somebody else holds a head of epoch {other.epoch}, which is not here")
        if any(c.origin != other.origin for c in log.checkpoints):
            raise Finding(TAMPERED, "the held head is of another log")
        for own in log.checkpoints:
            if (own.epoch, own.size) == (other.epoch, other.size) and own.root != other.root:
                raise Finding(TAMPERED, f"the log was forked: two heads of {own.size} entries are signed")


def verify(
    log: Log,
    keys: dict[bytes, bytes],
    origin: str | None,
    held: list[Checkpoint],
    tail: Tail | None,
    sought: Sought | None = None,
) -> None:
    """All rules; prints what was found to be good."""
    log.epochs.sort(key=lambda epoch: epoch.number or 0)
    by_epoch: dict[int, list[Checkpoint]] = {}
    for checkpoint in log.checkpoints:
        by_epoch.setdefault(checkpoint.epoch, []).append(checkpoint)
    if not log.checkpoints:
        raise Finding(INCOMPLETE, "there is no checkpoint: nothing is sealed")
    for checkpoint in log.checkpoints:
        if checkpoint.origin != (origin or log.epochs[0].origin or checkpoint.origin):
            raise Finding(TAMPERED, f"checkpoint {checkpoint.size} is of the log {checkpoint.origin}")
    heads = list(held)
    if log.acknowledged is not None and (head := acknowledged_head(log.acknowledged, keys)) is not None:
        if head.origin != log.checkpoints[0].origin:
            raise Finding(TAMPERED, f"what the collector signed is of another log, {head.origin}")
        heads.append(head)
    seen, entries, sealed = set(), 0, 0
    for epoch in log.epochs:
        of_epoch = by_epoch.get(epoch.number or 0, [])
        size, covered = check_epoch(epoch, of_epoch, keys, heads, tail, log.checkpoints, log.bodies)
        if epoch.number in seen:
            raise Finding(TAMPERED, f"epoch {epoch.number} is given twice")
        seen.add(epoch.number)
        count = len(by_epoch.get(epoch.number or 0, []))
        print(
            f"epoch {epoch.number}: {size} entries, {covered} sealed by {count} checkpoints, {size - covered} not yet"
        )
        entries, sealed = entries + size, sealed + covered
    for other in held:
        check_signature(other, keys)
    check_held(heads, log, max(epoch.number or 0 for epoch in log.epochs))
    for number, checkpoints in by_epoch.items():
        for checkpoint in checkpoints if number not in seen else ():
            check_signature(checkpoint, keys)
    check_chain(log.checkpoints, keys)
    check_lost(log)
    newest = max(epoch.number or 0 for epoch in log.epochs)
    if newest not in by_epoch:
        raise Finding(INCOMPLETE, f"there is no checkpoint of epoch {newest}: nothing in it is sealed")
    if max(by_epoch) > newest:
        raise Finding(TAMPERED, f"epoch {newest} was continued: epoch {max(by_epoch)} is sealed and not here")
    if log.bodies is not None and not set(by_epoch) - seen:
        log.bodies.check()
    if sought is not None and sought.head is not None:
        check_signature(sought.head, keys)
        check_held([sought.head], log, newest)
    if missing := sorted(set(by_epoch) - seen):
        if sought is not None:
            sought.tell()
        raise Finding(INCOMPLETE, f"the entries of epoch {missing[0]} are not given; what is given is good")
    checkpoints_said = f"{sealed} sealed by {len(log.checkpoints)} checkpoints"
    print(f"log verified: {entries} entries, {checkpoints_said}, {entries - sealed} not sealed yet")
    if sought is not None:
        sought.tell()


def prove(log: Log, keys: dict[bytes, bytes], index: int, blind: bool) -> bytes:
    """The proof of one entry of the newest epoch, against the first checkpoint that covers it."""
    epoch = max(log.epochs, key=lambda epoch: epoch.number or 0)
    covering = [c for c in log.checkpoints if c.epoch == epoch.number and c.size > index]
    if not covering:
        raise Finding(INCOMPLETE, f"no checkpoint covers entry {index}")
    checkpoint, leaves, entry = min(covering, key=lambda c: c.size), [], None
    check_signature(checkpoint, keys)
    for position, (found, kept, _) in enumerate(epoch.rows):
        if position == checkpoint.size:
            break
        leaves.append(leaf_hash(found) if found is not None else (kept or b"")[:32])
        entry = found if position == index else entry
    if len(leaves) != checkpoint.size or root_of(leaves) != checkpoint.root:
        raise Finding(TAMPERED, "the log does not have the signed root")
    told: dict[str, Any] = {"leaf": leaves[index]} if blind or entry is None else {"entry": entry}
    cose = [encoded(checkpoint)]
    proof = {"format": "edge-gate proof", "index": index, "path": path_to(index, leaves), "checkpoint": cose[0], **told}
    return cbor2.dumps(proof, canonical=True)


def encoded(checkpoint: Checkpoint) -> bytes:
    """A checkpoint without what is not needed to prove an entry."""
    _, protected, _, root = cbor2.loads(checkpoint.statement)
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {}, root, checkpoint.signature]), canonical=True)


def verify_proof(path: Path, keys: dict[bytes, bytes]) -> None:
    """The proof of one entry, offline; prints what it proves."""
    if not path.exists():
        raise Finding(INCOMPLETE, f"{path} is not there")
    proof = strict(path.read_bytes(), "the proof")
    try:
        checkpoint = checkpoint_from(proof["checkpoint"])
        leaf = proof["leaf"] if "leaf" in proof else leaf_hash(proof["entry"])
        root = climb(proof["index"], checkpoint.size, leaf, list(proof["path"]))
    except (KeyError, TypeError) as error:
        raise Finding(TAMPERED, "the proof is malformed") from error
    check_signature(checkpoint, keys)
    if root != checkpoint.root:
        raise Finding(TAMPERED, f"entry {proof['index']} is not in the sealed log")
    if "entry" in proof:
        fields = check_entry(proof["entry"], proof["index"], Epoch(checkpoint.epoch, None, iter(())))
        print(f"{outcome(proof['index'], fields)}; fields {sorted(fields[9])}")
    place = f"among the {checkpoint.size} entries of {checkpoint.origin}, epoch {checkpoint.epoch}"
    print(f"entry {proof['index']} verified: {place}, sealed {checkpoint.sealed}")


def receipt_from(text: str) -> tuple[int, bytes, Checkpoint]:
    """Index, leaf hash and checkpoint of a receipt; its signature is checked elsewhere."""
    letters = text.removeprefix("GATE1:")
    try:
        packed = base64.b32decode(letters + "=" * (-len(letters) % 8))
        index, leaf, joined, protected, signature = strict(packed, "the receipt")
        path = [joined[place : place + 32] for place in range(0, len(joined), 32)]
        unsigned = cbor2.dumps(cbor2.CBORTag(18, [protected, {}, bytes(32), signature]), canonical=True)
        size = checkpoint_from(unsigned).size
        if type(index) is not int or len(leaf) != 32 or any(len(step) != 32 for step in path):
            raise ValueError("lengths")
        root = climb(index, size, leaf, path)
        whole = cbor2.dumps(cbor2.CBORTag(18, [protected, {}, root, signature]), canonical=True)
    except (ValueError, TypeError, Finding) as error:
        raise NoReceipt(USAGE, f"the text of the receipt cannot be read ({error}); was all of it taken?") from error
    return index, leaf, checkpoint_from(whole)


def told_receipt(given: str) -> str:
    """The text of a receipt, which may be in a file."""
    text = given.strip()
    try:
        if not text.startswith("GATE1:") and Path(text).is_file():
            text = Path(text).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise NoReceipt(USAGE, "that file holds no text of a receipt; a photograph has to be scanned first") from error
    return text


def verify_receipt(sought: Sought) -> None:
    """Rule 11 without the log: it was sealed."""
    if sought.head is None:
        raise Finding(INCOMPLETE, "the number of a receipt proves nothing without the log")
    place = f"among the {sought.head.size} entries of {sought.head.origin}, epoch {sought.epoch}"
    print(f"receipt {sought.number} verified: entry {sought.index} is {place}, sealed {sought.head.sealed}")


def number_of(epoch: int, index: int, leaf: bytes) -> str:
    """A receipt's number."""
    return f"{epoch}-{index}-{base64.b32encode(leaf[:5]).decode()}"


DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"))
"""What word processors and telephones make of the minus sign."""


def sought_by(text: str) -> Sought:
    """A receipt, or the number of one."""
    if text.startswith("GATE1:"):
        index, leaf, head = receipt_from(text)
        return Sought(number_of(head.epoch, index, leaf), head.epoch, index, leaf, head)
    parts = "".join(text.upper().split()).translate(DASHES).split("-")
    whole = len(parts) == 3 and all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts[:2])
    if not whole:
        raise NoReceipt(USAGE, "a receipt begins with GATE1:, and its number is like 1-4711-ABCDEFGH")
    letters = parts[2].translate(str.maketrans("018", "OIB"))  # base32 has no such figures
    return Sought(f"{int(parts[0])}-{int(parts[1])}-{letters}", int(parts[0]), int(parts[1]))


def with_receipt(sought: Sought, log: Log) -> None:
    """Rule 11: look out for the entry while the others are checked."""
    found = [one for one in log.epochs if one.number == sought.epoch]
    if not found:
        raise NoReceipt(INCOMPLETE, f"the receipt is of epoch {sought.epoch}, which is not given")
    found[0].sought = sought


def check_receipt(sought: Sought, keys: dict[bytes, bytes]) -> None:
    """The signature of a receipt, before anything is concluded from it."""
    if sought.head is not None:
        try:
            check_signature(sought.head, keys)
            sought.believed = True
        except Finding as finding:
            raise Finding(finding.status, f"the receipt is not as a gate gave it: {finding}") from finding


# --- command line --------------------------------------------------------------------------------------------------


def key_from(path: Path) -> bytes:
    """The point of a PEM public key or certificate."""
    from cryptography import x509

    try:
        pem = path.read_bytes()
        if b"CERTIFICATE" in pem:
            key: Any = x509.load_pem_x509_certificate(pem).public_key()
        else:
            key = serialization.load_pem_public_key(pem)
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
            raise ValueError("not a P-256 key")
    except (OSError, ValueError) as error:
        raise Finding(UNKNOWN_KEY, f"{path}: {error}") from error
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def private_from(path: Path) -> ec.EllipticCurvePrivateKey:
    """The collector's key, PEM."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise Finding(UNKNOWN_KEY, f"{path}: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise Finding(UNKNOWN_KEY, f"{path}: not a P-256 key")
    return key


class Parser(argparse.ArgumentParser):
    """Wrong usage has a status of its own: 2 means incomplete here."""

    def error(self, message: str) -> NoReturn:
        """Say it and leave."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(arguments: list[str] | None = None) -> int:
    """Verify what is given and return the exit status."""
    parser = Parser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--journal", type=Path, action="append", default=[], help="journal.db; once per epoch")
    parser.add_argument("--checkpoints", type=Path, help="checkpoints.db")
    parser.add_argument("--export", type=Path, help="export as CBOR sequence")
    parser.add_argument("--tiles", type=Path, help="export as C2SP tiles")
    parser.add_argument("--proof", type=Path, help="proof of one entry")
    parser.add_argument("--key", type=Path, action="append", required=True, help="public key, PEM; may be given again")
    parser.add_argument("--origin", help="name that the log must have")
    parser.add_argument("--held", type=Path, action="append", default=[], help="a checkpoint that somebody else holds")
    parser.add_argument("--witnesses", type=Path, metavar="POLICY", help="who has to have cosigned (rule 8)")
    parser.add_argument("--collector", type=Path, help="the collector's private key: checks tags of entries (rule 7)")
    parser.add_argument("--receipt", metavar="TEXT", help="a receipt, alone or with the log (rule 11)")
    parser.add_argument("--prove", type=int, metavar="INDEX", help="write the proof of this entry")
    parser.add_argument("--blind", action="store_true", help="the proof tells the hash of the entry only")
    parser.add_argument("--out", type=Path, help="where the proof goes")
    chosen = parser.parse_args(arguments)
    sources = [bool(chosen.journal and chosen.checkpoints), bool(chosen.export), bool(chosen.tiles), bool(chosen.proof)]
    alone = chosen.receipt is not None and not any(sources)
    if sum(sources) != (0 if alone else 1) or (chosen.prove is not None) != (chosen.out is not None):
        parser.error("give --journal and --checkpoints, --export, --tiles or --proof; --prove goes with --out")
    try:
        keys = {key_id(point): point for point in map(key_from, chosen.key)}
        if chosen.proof:
            verify_proof(chosen.proof, keys)
            return VERIFIED
        sought = sought_by(told_receipt(chosen.receipt)) if chosen.receipt is not None else None
        if sought is not None and sought.head is not None and (alone or sought.head.kid in keys):
            check_receipt(sought, keys)  # one by a key that the log introduces is checked when it has
        if sought is not None and alone:
            verify_receipt(sought)
            return VERIFIED
        if chosen.export:
            log = from_export(chosen.export)
        elif chosen.tiles:
            log = from_tiles(chosen.tiles)
        else:
            log = from_databases(chosen.journal, chosen.checkpoints)
        if chosen.prove is not None:
            chosen.out.write_bytes(prove(log, keys, chosen.prove, chosen.blind))
            print(f"proof of entry {chosen.prove} written to {chosen.out}")
            return VERIFIED
        held = [checkpoint_from(path.read_bytes()) for path in chosen.held]
        if sought is not None:
            with_receipt(sought, log)
            held += [sought.head] if sought.head is not None and sought.head.kid in keys else []
        if chosen.witnesses and log.checkpoints:
            print(check_witnesses(chosen.witnesses, log.checkpoints))
        tail = Tail(private_from(chosen.collector)) if chosen.collector else None
        verify(log, keys, chosen.origin, held, tail, sought)
    except Finding as finding:
        words = {TAMPERED: "TAMPERED", INCOMPLETE: "INCOMPLETE", UNKNOWN_KEY: "UNKNOWN KEY"}
        word = "NO SUCH RECEIPT" if isinstance(finding, NoReceipt) else words[finding.status]
        print(f"{word}: {finding}", file=sys.stderr)
        return finding.status
    except sqlite3.Error as error:
        print(f"TAMPERED: a database is damaged: {error}", file=sys.stderr)
        return TAMPERED
    return VERIFIED


if __name__ == "__main__":
    sys.exit(main())
