"""What a person takes away from a visit: a text for a code on the kiosk, about a thousand characters.

Rules:

1. It is a blind proof (``proof.py``): the hash of the entry, the path, and what the token signed. ``verify_log.py
   --receipt`` checks it offline with nothing but the gate's public key.
2. Nothing about the person: no pseudonym, no reason, no outcome. Every decision carries a random salt that stays in the
   log, so that nobody can guess what was decided and compare hashes, and two receipts of one person have nothing in
   common but the gate.
3. Whoever may read the log finds the entry by its index. If it is not there, or another one, the receipt and its
   signature show that the log was changed.
4. The root is left out: the path leads to it, and the signature says whether it is the one.
5. The text is ``GATE1:`` and base32 (RFC 4648) without padding: capital letters and digits, which a QR code packs
   tightest, and which every language decodes.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace

import cbor2

from edge.audit.checkpoint import parse
from edge.audit.entry import LogError, deterministic, strict
from edge.audit.proof import Proof
from edge.audit.tree import HASH, root_from

PREFIX = "GATE1:"
LIMIT = 4296
"""Characters of the largest QR code; a receipt from a log of a million entries takes about 1,400."""
_BASE32 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"))
_LETTERS = str.maketrans("018", "OIB")
"""Base32 has no such figures: who writes them down has read the letter that looks like them."""


def text_of(proof: Proof) -> str:
    """The receipt of an entry, from its proof, blind or not."""
    _, protected, _, _ = cbor2.loads(proof.checkpoint.statement)
    told = [proof.index, proof.leaf, b"".join(proof.path), protected, proof.checkpoint.signature]
    return PREFIX + base64.b32encode(deterministic(told)).decode().rstrip("=")


def read(text: str) -> Proof:
    """The blind proof in a receipt; nothing is verified yet.

    Raises:
        LogError: it is not one.
    """
    if not text.startswith(PREFIX) or len(text) > LIMIT:
        raise LogError("not a receipt")
    letters = text.removeprefix(PREFIX)
    try:
        packed = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError) as error:
        raise LogError("not a receipt: not base32") from error
    if base64.b32encode(packed).decode().rstrip("=") != letters:
        raise LogError("not a receipt: another spelling of the same bytes")
    match strict(packed):
        case [int(index), bytes(leaf), bytes(joined), bytes(protected), bytes(signature)] if len(joined) % HASH == 0:
            path = tuple(joined[place : place + HASH] for place in range(0, len(joined), HASH))
        case _:
            raise LogError("not a receipt: wrong structure")
    signed = cbor2.dumps(cbor2.CBORTag(18, [protected, {}, bytes(HASH), signature]), canonical=True)
    checkpoint = parse(signed)
    root = root_from(index, checkpoint.head.size, leaf, path)
    return Proof(index, leaf, None, path, replace(checkpoint, head=replace(checkpoint.head, root=root), path=None))


def number_of(proof: Proof) -> str:
    """The receipt's number, to be written down or told over the telephone: epoch, index and 40 bits of the hash.

    It proves nothing. It finds the entry (``verify_log.py --receipt``), and whoever was not given it cannot guess it.
    """
    return f"{proof.checkpoint.head.epoch}-{proof.index}-{letters_of(proof.leaf)}"


def letters_of(leaf: bytes) -> str:
    """40 bits of an entry's hash, as they stand in the number."""
    return base64.b32encode(leaf[:5]).decode()


def numbered(text: str) -> tuple[int, int, str]:
    """Epoch, index and the letters of the hash in a receipt's number, as people write it down.

    Raises:
        LogError: it is not one.
    """
    parts = "".join(text.split()).upper().translate(_DASHES).split("-")
    figures = parts[:2]
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in figures):
        raise LogError("not a receipt's number")
    letters = parts[2].translate(_LETTERS)
    if len(letters) != 8 or not set(letters) <= _BASE32:
        raise LogError("not a receipt's number")
    return int(figures[0]), int(figures[1]), letters
