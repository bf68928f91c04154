"""A log on the move: as a CBOR sequence (RFC 8742), and as C2SP tiles.

A sequence is a header, the entries in order (or the hashes of those that were pruned), the checkpoints, bodies where
they were asked for, and an end that counts the items, so that a cut-off file is noticed. Tiles are what other tools of
transparency logs read.
"""

from __future__ import annotations

import base64
import hashlib
import io
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.audit.body import Body
from edge.audit.checkpoint import Checkpoint
from edge.audit.entry import LogError, deterministic
from edge.audit.tree import Nodes

FORMAT = "edge-gate log"
TILE = 256


def sequence(
    origin: str,
    epoch: int,
    entries: Iterable[tuple[bytes | None, bytes]],
    checkpoints: Iterable[Checkpoint],
    bodies: Iterable[Body] = (),
    acknowledged: bytes | None = None,
) -> Iterator[bytes]:
    """The items of an export, each encoded.

    Args:
        origin: name of the log.
        epoch: of the log.
        entries: the entry, None when it is pruned, and its leaf hash; from index 0.
        checkpoints: all that are kept, of earlier epochs too.
        bodies: what is kept beside the entries, only when it was asked for; it stays encrypted.
        acknowledged: the newest statement that the collector signed about this log.
    """
    yield deterministic({"format": FORMAT, "version": 1, "origin": origin, "epoch": epoch})
    items = 1
    for entry, leaf in entries:
        items += 1
        yield deterministic(["leaf", leaf] if entry is None else ["entry", entry])
    for checkpoint in checkpoints:
        items += 1
        yield deterministic(["checkpoint", checkpoint.encode()])
    if acknowledged is not None:
        items += 1
        yield deterministic(["acknowledged", acknowledged])
    for body in bodies:
        items += 1
        yield deterministic(["body", body.period, body.salt, body.encoded])
    yield deterministic(["end", items])


def tiles(size: int, nodes: Nodes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each hash tile of a tree: 256 hashes wide, 8 levels high."""
    for high in range(-(-size.bit_length() // 8)):
        width_of_level = size >> 8 * high
        for number in range(-(-width_of_level // TILE)):
            width = min(TILE, width_of_level - number * TILE)
            hashes = b"".join(nodes(8 * high, number * TILE + i) for i in range(width))
            yield f"tile/{high}/{tile_name(number, width)}", hashes


def signed_note(text: str, name: str, key: ec.EllipticCurvePrivateKey) -> str:
    """A text with a signature line (C2SP signed-note, type 0x02: ECDSA with SHA-256, DER).

    The key is the gate's own for its network, the one it cosigns with: the token signs COSE checkpoints and nothing
    else. So the note tells who published the tree head; what the token said is in the COSE checkpoint beside it.

    Args:
        text: ends with a newline.
        name: of the key, without spaces and plus signs.
        key: P-256.
    """
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signature = key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    line = base64.b64encode(hashlib.sha256(public).digest()[:4] + signature).decode()
    return f"{text}\n\u2014 {name} {line}\n"


def bundles(entries: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Name and content of each bundle of entries: 256 in each, every one after its length."""
    bundle: list[bytes] = []
    number = 0
    for entry in entries:
        bundle.append(struct.pack(">H", len(entry)) + entry)
        if len(bundle) == TILE:
            yield f"tile/entries/{tile_name(number, TILE)}", b"".join(bundle)
            bundle, number = [], number + 1
    if bundle:
        yield f"tile/entries/{tile_name(number, len(bundle))}", b"".join(bundle)


def tile_name(number: int, width: int) -> str:
    """``x001/x234/067`` for tile 1234067, with ``.p/W`` when only W of its 256 places are taken."""
    name, rest = f"{number % 1000:03d}", number // 1000
    while rest:
        name, rest = f"x{rest % 1000:03d}/{name}", rest // 1000
    return name if width == TILE else f"{name}.p/{width}"


@dataclass(frozen=True)
class Export:
    """What an export holds; nothing in it is verified yet.

    Attributes:
        origin: name of the log.
        epoch: of the log.
        entries: in order, None where one was pruned.
        checkpoints: as they are encoded.
        bodies: kept beside the entries, encrypted.
    """

    origin: str
    epoch: int
    entries: tuple[bytes | None, ...]
    checkpoints: tuple[bytes, ...]
    bodies: tuple[Body, ...] = ()


def read(content: bytes) -> Export:
    """Take an export apart.

    Raises:
        LogError: it is not one, or cut off.
    """
    items = list(_items(content))
    if not items or not isinstance(items[0], dict) or items[0].get("format") != FORMAT:
        raise LogError("not an export of a log")
    if items[-1] != ["end", len(items) - 1]:
        raise LogError("the export is cut off")
    entries: list[bytes | None] = []
    checkpoints: list[bytes] = []
    bodies: list[Body] = []
    for item in items[1:-1]:
        match item:
            case ["entry", bytes(entry)]:
                entries.append(entry)
            case ["leaf", bytes()]:
                entries.append(None)
            case ["checkpoint", bytes(cose)]:
                checkpoints.append(cose)
            case ["acknowledged", bytes()]:
                continue
            case ["body", str(period), bytes(salt), bytes(encoded)]:
                bodies.append(Body(period, salt, encoded))
            case _:
                raise LogError("the export holds something else than entries, checkpoints and bodies")
    origin, epoch = str(items[0].get("origin")), int(items[0].get("epoch", 0))
    return Export(origin, epoch, tuple(entries), tuple(checkpoints), tuple(bodies))


def _items(content: bytes) -> Iterator[Any]:
    stream = io.BytesIO(content)
    decoder = cbor2.CBORDecoder(stream, max_depth=8, allow_indefinite=False, allow_duplicate_keys=False)
    while stream.tell() < len(content):
        try:
            yield decoder.decode()
        except cbor2.CBORError as error:
            raise LogError("the export is cut off or damaged") from error
