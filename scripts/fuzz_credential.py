"""Fuzzes the credential engine: any bytes give a Credential or a Refusal, soon, and nothing else.

    scripts/fuzz_credential -runs=1000000

The first byte of an input says where the rest enters: as the text of a code, under Base45, under zlib, as a payload
that is signed with a key on the trust list, as such a claim 169, as such a protected header, as the plaintext of an
encrypted message, as a certificate chain, or as a trust list. Inputs start from the conformance corpus. Arguments are
those of libFuzzer.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import zlib
from datetime import datetime
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP))

import atheris  # type: ignore[import-untyped]  # noqa: E402 -- the path comes first

with atheris.instrument_imports(include=["edge"]):
    from edge.credential import Credential, base45, verify
    from edge.credential.inflate import inflate
    from edge.credential.issue import pack, tagged
    from edge.errors import Refusal
    from edge.trust import cose
    from edge.trust.cbor import decode, encode
    from edge.trust.encryption import ContentKey, encrypt
    from edge.trust.interval import Interval
    from edge.trust.keys import spki
    from edge.trust.list import open_list, open_plain

from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: E402 -- as above

CORPUS = json.loads((TOP / "tests" / "vectors" / "credential" / "corpus.json").read_text())
TRUST = open_plain(json.dumps(CORPUS["trust"]))
NOW = Interval.exactly(datetime.fromisoformat(CORPUS["at"]))
KEYS = [ContentKey(bytes.fromhex(one["k"]), one["alg"], one["kid"].encode()) for one in CORPUS["content_keys"]]
PRIVATE: Any = load_pem_private_key(CORPUS["private_keys"]["ed"].encode(), None)
SIGNER = cose.signer(PRIVATE, "ed")
ROOT = spki(PRIVATE.public_key())
BUDGET_S = 0.05
TOKEN = {1: "https://lenient.example", 4: 1811800000, 6: 1780000000}


def text_of(entry: int, rest: bytes) -> str:
    """The code that an input stands for."""
    match entry:
        case 0:
            return rest.decode("utf-8", "replace")
        case 1:
            return base45.encode(rest)
        case 2:
            return base45.encode(zlib.compress(rest, 1))
        case 3:
            return signed(rest)
        case 4:
            return signed(encode(TOKEN | {169: rest}))
        case 5:
            payload = encode(TOKEN | {169: {1: "1"}})
            signature = PRIVATE.sign(cose.sig_structure(rest, payload))
            return pack(tagged([rest, {4: b"ed"}, payload, signature], (18,)))
        case 6:
            return pack(tagged(encrypt(rest, KEYS[0], bytes(12)), (16,)))
        case _:
            body = cose.make_sign1(encode({1: "https://chain.example", 4: 1811800000, 169: {}}), SIGNER, {33: rest})
            return pack(tagged(body, (18,)))


def signed(payload: bytes) -> str:
    """A code with this payload, signed with a key on the trust list."""
    return pack(tagged(cose.make_sign1(payload, SIGNER, {4: b"ed"}), (18,)))


def one_input(data: bytes) -> None:
    """One execution; anything but a credential or a refusal within the budget is a finding."""
    if data and took_s(data) > BUDGET_S and min(took_s(data) for _ in range(3)) > BUDGET_S:
        raise AssertionError("took more than 50 ms, again and again")


def took_s(data: bytes) -> float:
    """Let the engine judge an input; processor seconds of the judgement alone."""
    entry, rest = data[0] % 9, data[1:]
    text = "" if entry == 8 else text_of(entry, rest)
    began = time.thread_time()
    try:
        if entry == 8:
            open_list(rest, [ROOT])
        elif type(verify(text, TRUST, NOW, content_keys=KEYS)) is not Credential:
            raise AssertionError("neither a credential nor a refusal")
    except Refusal:
        pass
    return time.thread_time() - began


def seeds(folder: Path) -> None:
    """The corpus, entering at every level."""
    for number, vector in enumerate(CORPUS["vectors"]):
        text = vector["text"]
        found = [bytes((0,)) + text.encode()]
        try:
            packed = base45.decode(text.strip("\r\n\t"))
            found.append(bytes((1,)) + packed)
            message = inflate(packed, set())
            found.append(bytes((2,)) + message)
            body = cose.unwrap(message).body
            found += [bytes((3,)) + body[2], bytes((5,)) + body[0], bytes((6,)) + message]
            inner = decode(body[2])[169]
            found.append(bytes((4,)) + (inner if isinstance(inner, bytes) else encode(inner)))
            chain = decode(body[0])[33]
            found.append(bytes((7,)) + (chain if isinstance(chain, bytes) else chain[0]))
        except (Refusal, KeyError, TypeError, IndexError, ValueError):
            pass
        for level, seed in enumerate(found):
            (folder / f"{number}-{level}").write_bytes(seed)


def main() -> None:
    """Start from the corpus and go on as libFuzzer's arguments say."""
    with tempfile.TemporaryDirectory(prefix="edge-fuzz-") as name:
        seeds(Path(name))
        atheris.Setup([*sys.argv, name, "-max_len=4300", "-timeout=20"], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
