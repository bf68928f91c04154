"""Writes ``tests/vectors/credential/corpus.json``: signed cards with what a verifier should say of each.

    python tests/credential/make_corpus.py

Keys, times and nonces are fixed; only RSA-PSS signatures differ from run to run. Expectations are written here by hand,
from the specifications and the dialects seen in the field, not taken from what our verifier says.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import sys
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from edge.credential import base45
from edge.credential.inflate import compress_brotli
from edge.credential.issue import (
    HEX_TEXT,
    SPEC_EXAMPLE,
    SPEC_TABLE,
    Dialect,
    issue,
    message,
    pack,
    payload,
    signer,
    tagged,
)
from edge.credential.picture import unwrap
from edge.trust.cbor import Tagged, decode, encode, head
from edge.trust.cose import Signer, make_sign, make_sign1, sig_structure
from edge.trust.encryption import ContentKey, encrypt
from edge.trust.keys import jwk, jwk_thumbprint, pinned

FOLDER = Path(__file__).parents[1] / "vectors" / "credential"
AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ISS = "https://id.example"
NONCE = bytes(range(12))


def jpeg() -> bytes:
    """The smallest picture there is: its beginning is what counts here."""
    return bytes.fromhex("ffd8ffe000104a46494600010100000100010000") + bytes(20) + b"\xff\xd9"


WEBP = b"RIFF\x2a\x00\x00\x00WEBPVP8 " + bytes(range(30))
PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)
JP2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(12)
AVIF = b"\x00\x00\x00\x1cftypavif" + bytes(16)
TIFF = b"II*\x00" + bytes(12)
JPEG = jpeg()


def _ed(seed: int) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"corpus %d" % seed).digest())


def _ec(curve: ec.EllipticCurve, seed: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(b"corpus %d" % seed).digest(), "big") >> 8, curve)


def _keys() -> dict[str, Any]:
    """Private keys by name; RSA keys cannot be derived and are kept from run to run."""
    known: dict[str, str] = {}
    if (FOLDER / "corpus.json").exists():
        known = json.loads((FOLDER / "corpus.json").read_text())["private_keys"]
    keys: dict[str, Any] = {
        "ed": _ed(1),
        "p256": _ec(ec.SECP256R1(), 2),
        "p384": _ec(ec.SECP384R1(), 3),
        "p521": _ec(ec.SECP521R1(), 4),
        "k256": _ec(ec.SECP256K1(), 5),
        "other": _ed(6),
        "b": _ed(7),
        "withdrawn": _ed(8),
        "root": _ed(9),
        "sub": _ed(10),
        "leaf": _ec(ec.SECP256R1(), 11),
        "second": _ed(12),
        "stranger": _ed(13),
    }
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    for name in ("rsa",):
        keys[name] = (
            load_pem_private_key(known[name].encode(), None) if name in known else rsa.generate_private_key(65537, 2048)
        )
    return keys


KEYS = _keys()


def by(name: str, kid: str | bytes | None = "", algorithm: str | None = None, number: int | None = None) -> Signer:
    """Sign with a key of the corpus, by default under its own name; ECDSA without chance."""
    private = KEYS[name]
    made = signer(private, name if kid == "" else kid, algorithm)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        made = dataclasses.replace(made, sign=lambda content: _fixed(private, content))
    return made if number is None else dataclasses.replace(made, number=number)


def _fixed(private: ec.EllipticCurvePrivateKey, content: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    hashed = {"secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}.get(private.curve.name, hashes.SHA256())
    r, s = decode_dss_signature(private.sign(content, ec.ECDSA(hashed, deterministic_signing=True)))
    size = (private.curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def certificate(
    subject: str,
    key: str,
    issuer: str,
    issuer_key: str,
    *,
    ca: bool = False,
    uri: str | None = None,
    signs: bool = True,
    path: int | None = None,
    valid: tuple[int, int] = (-100, 1000),
    endless: bool = False,
    critical: bool = False,
) -> x509.Certificate:
    """A certificate of the corpus."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(KEYS[key].public_key())
        .serial_number(int.from_bytes(hashlib.sha256(f"{subject}{issuer}{valid}".encode()).digest()[:8], "big") >> 1)
        .not_valid_before(AT + valid[0] * DAY)
        .not_valid_after(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) if endless else AT + valid[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path), critical=True)
        .add_extension(x509.KeyUsage(signs and not ca, False, False, False, False, ca, ca, False, False), critical=True)
    )
    if uri:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False
        )
    if critical:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
        builder = builder.add_extension(unknown, critical=True)
    private = KEYS[issuer_key]
    return builder.sign(private, None if isinstance(private, ed25519.Ed25519PrivateKey) else hashes.SHA256())


CHAIN_ISS = "https://chain.example"
ROOT = certificate("Root", "root", "Root", "root", ca=True)


def _der(one: x509.Certificate) -> bytes:
    return one.public_bytes(Encoding.DER)


def trust() -> dict[str, Any]:
    """The trust list that every vector is held against."""

    def jwks(*names: str, **called: str) -> dict[str, Any]:
        named = [(name, name) for name in names] + [(key, kid) for kid, key in called.items()]
        return {"keys": [jwk(pinned(KEYS[key].public_key()), kid) for key, kid in named]}

    raw_kid = base64.urlsafe_b64encode(bytes(range(200, 232))).rstrip(b"=").decode()
    root = ROOT.public_bytes(Encoding.PEM).decode()
    rs256 = {**jwk(pinned(KEYS["rsa"].public_key(), "RS256"), "rs"), "alg": "RS256"}
    return {
        "version": 1,
        "issuers": [
            {
                "iss": ISS,
                "aliases": ["www.id.example"],
                "jwks": {"keys": [*jwks("ed", "p256", "p384", "p521", "rsa")["keys"]]},
                "keys": [{"jwk": jwk(pinned(KEYS["second"].public_key()), "second"), "kids": [raw_kid]}],
            },
            {"iss": "https://b.example", "jwks": jwks("b", ed="b")},
            {"iss": "https://single.example", "jwks": jwks("ed")},
            {
                "iss": "https://lenient.example",
                "jwks": jwks("ed", "p256"),
                "profile": {
                    "trailing": True,
                    "indefinite": True,
                    "der_signatures": True,
                    "no_expiry": True,
                    "max_age_days": 365,
                    "day_first": True,
                },
            },
            {
                "iss": "https://legacy.example",
                "jwks": {"keys": [rs256, *jwks("k256")["keys"]]},
                "profile": {"allow": ["RS256", "ES256K"]},
            },
            {"iss": "https://modern.example", "jwks": {"keys": [rs256, *jwks("k256")["keys"]]}},
            {"iss": "https://encrypted.example", "jwks": jwks("ed"), "profile": {"encrypted": True}},
            {"iss": CHAIN_ISS, "roots": [root]},
            {"iss": "https://own-roots.example", "roots": [root], "profile": {"own_roots": True}},
            {
                "iss": "https://withdrawn.example",
                "keys": [
                    {
                        "jwk": jwk(pinned(KEYS["withdrawn"].public_key()), "compromised"),
                        "compromised_since": (AT - 10 * DAY).isoformat(),
                    },
                    {"jwk": jwk(pinned(KEYS["ed"].public_key()), "ended"), "not_after": (AT - DAY).isoformat()},
                    {"jwk": jwk(pinned(KEYS["second"].public_key()), "began"), "not_before": (AT - DAY).isoformat()},
                    {"jwk": jwk(pinned(KEYS["leaf"].public_key()), "leaf")},
                    {
                        "jwk": jwk(pinned(KEYS["leaf"].public_key()), "lost"),
                        "compromised_since": (AT - 10 * DAY).isoformat(),
                    },
                ],
                "roots": [root],
            },
            {"iss": "https://two.example", "jwks": jwks("ed", "second"), "profile": {"signers": 2}},
            {"iss": "https://vendor.example", "jwks": jwks("ed"), "profile": {"numbering": "vendor"}},
            {"iss": "https://month-first.example", "jwks": jwks("ed"), "profile": {"day_first": False}},
            {"keys": [{"jwk": jwk(pinned(KEYS["other"].public_key()), "other")}]},
        ],
    }


CONTENT = {
    "aes128": ContentKey(bytes(range(16)), 1, b"aes128"),
    "aes192": ContentKey(bytes(range(24)), 2, b"aes192"),
    "aes256": ContentKey(bytes(range(32)), 3, b"aes256"),
    "chacha": ContentKey(bytes(range(1, 33)), 24, b"chacha"),
}

CLAIMS: dict[str, Any] = {
    "iss": ISS,
    "iat": AT - DAY,
    "nbf": AT - DAY,
    "exp": AT + 365 * DAY,
    "id": "3918592438",
    "full_name": "Ada Example",
}
Vector = dict[str, Any]


def verified(name: str, tests: str, text: str, **expected: Any) -> Vector:
    """A card that is good; ``expected`` says what has to come out of it."""
    return {"name": name, "tests": tests, "text": text, "outcome": "verified", "reason": None, "expected": expected}


def refused(name: str, tests: str, text: str, *reasons: str, at: datetime = AT) -> Vector:
    """A card that is bad; the first reason is ours, the others are as good."""
    vector: Vector = {"name": name, "tests": tests, "text": text, "outcome": "refused", "reason": reasons[0]}
    vector["also"] = list(reasons[1:])
    if at != AT:
        vector["at"] = at.isoformat()
    return vector


def card(dialect: Dialect = SPEC_TABLE, key: str = "ed", **changed: Any) -> str:
    return issue({**CLAIMS, **changed}, by(key), dialect)


def raw(claims: dict[Any, Any], person: Any, key: str = "ed", **headers: Any) -> str:
    """A card whose maps are given as they stand."""
    token = {1: ISS, 4: int((AT + 365 * DAY).timestamp()), 6: int((AT - DAY).timestamp()), 169: person, **claims}
    return signed(encode({label: value for label, value in token.items() if value is not _ABSENT}), key, **headers)


_ABSENT = object()


def signed(content: bytes, key: str = "ed", **headers: Any) -> str:
    protected = headers.get("protected", {4: key.encode()})
    return pack(tagged(make_sign1(content, by(key), protected, headers.get("unprotected")), (18,)))


def person(**attributes: Any) -> dict[int | str, Any]:
    return {1: "3918592438", 4: "Ada Example", **{int(name[1:]): value for name, value in attributes.items()}}


def dialects() -> Iterator[Vector]:
    tags: tuple[int, ...]
    name = "Ada Example"
    for dialect in (SPEC_TABLE, SPEC_EXAMPLE, HEX_TEXT):
        for key in ("ed", "p256"):
            yield verified(
                f"dialect {dialect.name} {key}",
                f"T1 C1 C2 C3: a card in the dialect {dialect.name}",
                card(dialect, key),
                full_name=name,
                dialect={"spec-table": "18, map-169", "spec-example": "61/18, bstr-169"}.get(
                    dialect.name, "61/18, hex text, bstr-169"
                ),
            )
    content = message(payload(CLAIMS), by("ed"), SPEC_TABLE)
    yield verified(
        "hex capitals",
        "T1: hexadecimal digits in capitals",
        base45.encode(zlib.compress(content.hex().upper().encode())),
        full_name=name,
    )
    twice = content.hex().encode().hex().encode()
    yield refused(
        "hex twice",
        "T1: hexadecimal text is undone once",
        base45.encode(zlib.compress(twice)),
        "not-a-credential",
        "unreadable",
    )
    for level, header in ((0, "7801"), (3, "785e"), (6, "789c"), (9, "78da")):
        yield verified(
            f"zlib {header}", f"T2: zlib header {header}", base45.encode(zlib.compress(content, level)), full_name=name
        )
    for window in (9, 12, 14):
        stream = zlib.compressobj(9, zlib.DEFLATED, window)
        data = stream.compress(content) + stream.flush()
        yield verified(
            f"zlib window {window}", f"T2: any zlib header: {data[:2].hex()}", base45.encode(data), full_name=name
        )
    for window, what in ((-15, "raw deflate"), (31, "gzip")):
        stream = zlib.compressobj(9, zlib.DEFLATED, window)
        data = stream.compress(content) + stream.flush()
        yield refused(
            what, f"T3: {what} is no dialect of this family", base45.encode(data), "not-a-credential", "unreadable"
        )
    yield verified(
        "not compressed",
        "T3: the message itself",
        card(dataclasses.replace(SPEC_TABLE, compression="none")),
        full_name=name,
        dialect="18, not compressed, map-169",
    )
    yield verified("not compressed, untagged", "T3 C1", card(Dialect("bare", (), compression="none")), full_name=name)
    yield verified("not compressed, 61", "T3 C1", card(Dialect("bare", (61, 18), compression="none")), full_name=name)
    yield verified(
        "Brotli",
        "T3: Brotli, as version 1.2.1 allows",
        card(dataclasses.replace(SPEC_TABLE, compression="brotli")),
        full_name=name,
        dialect="18, Brotli, map-169",
    )
    quick = import_module("brotli").compress(
        base45.decode(card(dataclasses.replace(SPEC_TABLE, compression="none"))), quality=1, lgwin=18
    )
    yield verified(
        "Brotli, quick",
        "T3: begins with 0x83, like an array of three",
        base45.encode(quick),
        full_name=name,
        dialect="18, Brotli, map-169",
    )
    good = zlib.compress(content, 9)
    yield refused("trailing after zlib", "T4: bytes after the stream", base45.encode(good + b"\x00\x00"), "unreadable")
    yield refused(
        "zlib checksum", "T2: a wrong checksum", base45.encode(good[:-1] + bytes((good[-1] ^ 1,))), "unreadable"
    )
    yield refused("zlib cut off", "T2: a stream that ends too early", base45.encode(good[:-6]), "unreadable")
    yield refused("prefix", "T5: a prefix that is not configured", "XY1:" + card(), "not-a-credential", "unreadable")
    yield verified("line end", "T6: carriage return and line feed of a scanner", card() + "\r\n", full_name=name)
    yield verified("tab", "T6: a tab before the code", "\t" + card(), full_name=name)
    yield refused("space", "T6: a space is a digit, not white space", " " + card(), "not-a-credential", "unreadable")
    yield refused("small letters", "T6: Base45 has capitals only", card().lower(), "not-a-credential")
    for tags in ((), (18,), (61, 18), (61,)):
        yield verified(
            f"tags {'/'.join(map(str, tags)) or 'none'}",
            "C1: optional 61, optional 18",
            card(Dialect("tags", tags)),
            full_name=name,
        )
    for tags in ((18, 61), (61, 61, 18), (18, 18), (61, 18, 18), (55799, 61, 18), (98,), (61, 98)):
        yield refused(
            f"tags {'/'.join(map(str, tags))}",
            "C1: no other tag, no other order",
            card(Dialect("tags", tags)),
            "unreadable",
            "unsupported",
            "not-a-credential",
        )
    for tags in ((17,), (97,), (96,), (61, 17)):
        yield refused(
            f"tags {'/'.join(map(str, tags))}",
            "10: neither authentication codes nor other recipients",
            card(Dialect("tags", tags)),
            "unsupported",
            "unreadable",
        )
    long_tags = b"\xd9\x00\x3d\xd9\x00\x12" + encode(make_sign1(payload(CLAIMS), by("ed"), {4: b"ed"}))
    yield verified("long tag heads", "M17: heads longer than necessary", pack(long_tags), full_name=name)
    yield refused(
        "bstr twice", "C2: unwrapped exactly one level", raw({}, encode(encode(person()))), "unreadable", "bad-claim"
    )
    yield refused(
        "claim 169 text",
        "C2: neither map nor byte string",
        raw({}, "Ada"),
        "unreadable",
        "bad-claim",
        "not-a-credential",
    )
    yield refused("claim 169 null", "C2", raw({}, None), "unreadable", "bad-claim", "not-a-credential")
    yield refused(
        "no claim 169", "C17: a token without claim 169", raw({169: _ABSENT}, None), "not-a-credential", "bad-claim"
    )
    yield refused(
        "named claims",
        "C17: claims called by name and no claim 169",
        raw({169: _ABSENT, "Full Name": "Ada"}, None),
        "not-a-credential",
        "bad-claim",
    )
    yield verified(
        "extra claims",
        "C17: unknown claims beside claim 169",
        raw({"note": "x", 1000: [1], -5: b"x"}, person()),
        full_name=name,
    )


def headers() -> Iterator[Vector]:
    content = payload(CLAIMS)
    name = "Ada Example"
    yield verified("kid protected", "C3", signed(content), full_name=name)
    yield verified(
        "kid unprotected",
        "C3",
        signed(content, protected={}, unprotected={4: b"ed"}),
        full_name=name,
        flags=["kid-unprotected"],
    )
    yield verified(
        "kid in both",
        "C3: protected wins",
        signed(content, protected={4: b"ed"}, unprotected={4: b"p256"}),
        full_name=name,
        flags=["kid-differs"],
    )
    yield refused(
        "kid in both, the other way",
        "C3: protected wins",
        signed(content, protected={4: b"none-such"}, unprotected={4: b"ed"}),
        "unknown-key",
        "bad-signature",
    )
    yield verified("kid text", "C4: kid as text", signed(content, protected={4: "ed"}), full_name=name)
    raw_kid = bytes(range(200, 232))
    for form, kid in (
        ("bytes", raw_kid),
        ("base64url", base64.urlsafe_b64encode(raw_kid).rstrip(b"=")),
        ("hex", raw_kid.hex().encode()),
        ("thumbprint", jwk_thumbprint(KEYS["second"].public_key())),
        ("thumbprint text", base64.urlsafe_b64encode(jwk_thumbprint(KEYS["second"].public_key())).rstrip(b"=")),
    ):
        yield verified(
            f"kid {form}",
            f"C4: a key called by its {form}",
            signed(content, "second", protected={4: kid}),
            full_name=name,
        )
    yield refused("kid number", "C4: kid is neither bytes nor text", signed(content, protected={4: 5}), "unreadable")
    yield refused(
        "kid unknown",
        "7: the issuer is known, the key is not",
        signed(content, protected={4: b"none-such"}),
        "unknown-key",
    )
    yield refused(
        "kid unknown and expired",
        "7: an old card of a key that left the list",
        signed(payload({**CLAIMS, "exp": AT - DAY}), protected={4: b"none-such"}),
        "expired",
        "unknown-key",
    )
    yield refused(
        "kid missing, several keys", "7: no kid and more than one key", signed(content, protected={}), "unknown-key"
    )
    single = {**CLAIMS, "iss": "https://single.example"}
    yield verified(
        "kid missing, one key", "7: no kid and one pinned key", signed(payload(single), protected={}), full_name=name
    )
    yield refused(
        "kid of another issuer", "7 8: B's key for A", issue(CLAIMS, by("b", "b")), "unknown-key", "bad-signature"
    )
    yield refused(
        "kid shared with another issuer",
        "7 8: B's key under a kid that both use",
        issue(CLAIMS, by("b", "ed")),
        "bad-signature",
        "unknown-key",
    )
    yield refused(
        "issuer swapped",
        "8: A's key says it is B",
        issue({**CLAIMS, "iss": "https://b.example"}, by("ed", "ed")),
        "bad-signature",
        "unknown-key",
    )
    yield verified(
        "issuer B",
        "8: B's key for B, under the shared kid",
        issue({**CLAIMS, "iss": "https://b.example"}, by("b", "ed")),
        full_name=name,
    )
    yield refused("stranger", "7: another key under a known kid", issue(CLAIMS, by("stranger", "ed")), "bad-signature")
    yield refused(
        "alg unprotected",
        "C6 3: alg outside the protected header",
        _alg_outside(content, b""),
        "unreadable",
        "unsupported",
        "bad-signature",
    )
    yield refused(
        "alg unprotected, empty map",
        "C6 3 C8",
        _alg_outside(content, b"\xa0"),
        "unreadable",
        "unsupported",
        "bad-signature",
    )
    yield refused(
        "alg missing",
        "C6",
        pack(
            tagged(
                [encode({4: b"ed"}), {}, content, KEYS["ed"].sign(sig_structure(encode({4: b"ed"}), content))], (18,)
            )
        ),
        "unreadable",
        "unsupported",
        "bad-signature",
    )
    yield verified(
        "alg in both",
        "C6: the protected one counts",
        signed(content, unprotected={1: -7}),
        full_name=name,
        flags=["alg-repeated"],
    )
    for number, why in ((-7, "ES256"), (-35, "ES384"), (-37, "PS256")):
        lying = by("ed", number=number)
        yield refused(
            f"alg {why} on an Ed25519 key",
            "3: the algorithm is pinned on the key",
            issue(CLAIMS, lying),
            "bad-signature",
            "unsupported",
        )
    for number in (-259, 5, 1, -65535, 0):
        yield refused(
            f"alg {number}",
            "3: an algorithm that is not on the list",
            issue(CLAIMS, by("ed", number=number)),
            "unsupported",
            "bad-signature",
        )
    yield refused(
        "alg text", "3: alg as a name", signed(content, protected={1: "EdDSA", 4: b"ed"}), "unsupported", "unreadable"
    )
    for label, crit, reason, why in (
        ("unknown", {2: [99], 99: 1}, "unsupported", "not understood"),
        ("unknown text", {2: ["x"], "x": 1}, "unsupported", "not understood"),
        ("absent", {2: [3]}, "unreadable", "not present"),
        ("empty", {2: []}, "unreadable", "empty"),
        ("twice", {2: [1, 1]}, "unreadable", "a label twice"),
        ("no list", {2: 1}, "unreadable", "not a list"),
        ("x5u", {2: [35], 35: "https://evil.example"}, "unsupported", "an address to fetch from"),
    ):
        yield refused(
            f"crit {label}",
            f"4: {why}",
            signed(content, protected={4: b"ed", **crit}),
            reason,
            "unreadable",
            "unsupported",
        )
    yield refused(
        "crit unprotected",
        "4: outside the protected header",
        signed(content, unprotected={2: [1]}),
        "unreadable",
        "unsupported",
    )
    yield verified(
        "crit understood", "4: understood and present", signed(content, protected={2: [1, 4], 4: b"ed"}), full_name=name
    )
    yield verified(
        "x5u ignored",
        "9: an address is not fetched and does no harm",
        signed(content, protected={4: b"ed", 35: "https://evil.example"}),
        full_name=name,
    )
    yield verified("empty protected of a signer", "C8 5: h'A0' counts as h''", _empty_body(b"\xa0"), full_name=name)
    yield verified("no protected of the body", "C8 5", _empty_body(b""), full_name=name)


def _alg_outside(content: bytes, protected: bytes) -> str:
    signature = KEYS["ed"].sign(sig_structure(b"", content))
    return pack(tagged([protected, {1: -8, 4: b"ed"}, content, signature], (18,)))


def _empty_body(body: bytes) -> str:
    content = payload({**CLAIMS, "iss": "https://single.example"})
    made = make_sign(content, [by("ed")])
    return pack(tagged([body, *made[1:]], (98,)))


def algorithms() -> Iterator[Vector]:
    name = "Ada Example"
    for key, number, jose in (
        ("ed", -8, "EdDSA"),
        ("ed", -19, "EdDSA"),
        ("p256", -7, "ES256"),
        ("p256", -9, "ES256"),
        ("p384", -35, "ES384"),
        ("p384", -51, "ES384"),
        ("p521", -36, "ES512"),
        ("p521", -52, "ES512"),
        ("rsa", -37, "PS256"),
    ):
        yield verified(
            f"algorithm {number}",
            f"C5: {jose} as {number}",
            issue(CLAIMS, by(key, number=number)),
            full_name=name,
            alg=jose,
        )
    legacy, modern = {**CLAIMS, "iss": "https://legacy.example"}, {**CLAIMS, "iss": "https://modern.example"}
    for algorithm, signer_of in (("RS256", by("rsa", "rs", "RS256")), ("ES256K", by("k256"))):
        yield verified(
            f"{algorithm} allowed",
            "C5: allowed for this issuer by name",
            issue(legacy, signer_of),
            full_name=name,
            alg=algorithm,
        )
        yield refused(
            f"{algorithm} not allowed",
            "C5: not allowed for this issuer",
            issue(modern, signer_of),
            "unsupported",
            "unknown-key",
        )
    yield refused(
        "PS256 by an RS256 key",
        "3: a key has one algorithm",
        issue(legacy, by("rsa", "rs", "PS256")),
        "bad-signature",
        "unsupported",
    )
    good = message(payload(CLAIMS), by("p256"), SPEC_TABLE)
    for label, signature in (
        ("zero", bytes(64)),
        ("zero r", bytes(32) + b"\x01" * 32),
        ("zero s", b"\x01" * 32 + bytes(32)),
        ("order", b"\xff" * 64),
        ("short", good[-64:-1]),
        ("long", good[-64:] + b"\x00"),
        ("empty", b""),
        ("96 bytes", b"\x01" * 96),
    ):
        yield refused(
            f"ES256 signature {label}",
            "6 C7: exact length, r and s in range",
            _with_signature("p256", signature),
            "bad-signature",
            "unreadable",
        )
    r, s = int.from_bytes(good[-64:-32], "big"), int.from_bytes(good[-32:], "big")
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    yield refused(
        "ES256 signature DER",
        "C7: DER only where the profile says so",
        _with_signature("p256", encode_dss_signature(r, s)),
        "bad-signature",
        "unreadable",
    )
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    high = good[-64:-32] + (order - s).to_bytes(32, "big")
    yield verified(
        "ES256 the other s", "6: both s of a signature verify", _with_signature("p256", high), full_name=name
    )
    lenient = payload({**CLAIMS, "iss": "https://lenient.example"})
    der = dataclasses.replace(
        by("p256"),
        sign=lambda content: KEYS["p256"].sign(content, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)),
    )
    yield verified("ES256 signature DER, excused", "C7", pack(message(lenient, der, SPEC_TABLE)), full_name=name)
    good = message(payload(CLAIMS), by("ed"), SPEC_TABLE)
    s = int.from_bytes(good[-32:], "little") + 2**252 + 27742317777372353535851937790883648493
    for label, signature in (
        ("zero", bytes(64)),
        ("s beyond the order", good[-64:-32] + s.to_bytes(32, "little")),
        ("short", good[-64:-1]),
        ("long", good[-64:] + b"\x00"),
        ("flipped", good[-64:-1] + bytes((good[-1] ^ 1,))),
    ):
        yield refused(f"EdDSA signature {label}", "6", _with_signature("ed", signature), "bad-signature", "unreadable")
    for where, part, reason in (
        ("protected", b"ed", "unknown-key"),
        ("payload", b"Ada", "bad-signature"),
        ("end", b"Example", "bad-signature"),
    ):
        changed = bytearray(good)
        changed[good.index(part)] ^= 0x01
        yield refused(f"changed {where}", "5: every signed byte counts", pack(bytes(changed)), reason, "bad-signature")


def _with_signature(key: str, signature: bytes) -> str:
    body = make_sign1(payload(CLAIMS), by(key), {4: key.encode()})
    return pack(tagged([*body[:3], signature], (18,)))


def several() -> Iterator[Vector]:
    name = "Ada Example"
    two = payload({**CLAIMS, "iss": "https://two.example"})
    one = payload(CLAIMS)
    yield verified(
        "COSE_Sign one signer",
        "several signers: one is enough by default",
        pack(tagged(make_sign(one, [by("ed")]), (98,))),
        full_name=name,
        dialect="98, map-169",
    )
    yield verified(
        "COSE_Sign 61", "several signers", pack(tagged(make_sign(one, [by("ed")]), (61, 98))), full_name=name
    )
    yield verified(
        "COSE_Sign two signers",
        "several signers: both known",
        pack(tagged(make_sign(two, [by("ed"), by("second")]), (98,))),
        full_name=name,
    )
    yield refused(
        "COSE_Sign one of two",
        "several signers: the profile asks for two",
        pack(tagged(make_sign(two, [by("ed")]), (98,))),
        "bad-signature",
        "unknown-key",
    )
    yield refused(
        "COSE_Sign the same twice",
        "several signers: twice the same is one",
        pack(tagged(make_sign(two, [by("ed"), by("ed")]), (98,))),
        "bad-signature",
        "unknown-key",
    )
    yield refused(
        "Sign1 where two are asked for",
        "several signers: one signature is one",
        issue({**CLAIMS, "iss": "https://two.example"}, by("ed")),
        "bad-signature",
        "unknown-key",
    )
    yield verified(
        "COSE_Sign with a stranger",
        "several signers: one unknown beside a known",
        pack(tagged(make_sign(one, [by("stranger"), by("ed")]), (98,))),
        full_name=name,
    )
    yield refused(
        "COSE_Sign with a forger",
        "several signers: a known name, a bad signature",
        pack(tagged(make_sign(one, [by("ed"), by("stranger", "p256")]), (98,))),
        "bad-signature",
    )
    yield refused("COSE_Sign no signer", "several signers: none", pack(tagged(make_sign(one, []), (98,))), "unreadable")
    yield refused(
        "COSE_Sign five signers",
        "several signers: at most four",
        pack(tagged(make_sign(one, [by("ed")] * 5), (98,))),
        "unreadable",
        "too-large",
    )


def chains() -> Iterator[Vector]:
    name = "Ada Example"
    claims = {**CLAIMS, "iss": CHAIN_ISS}
    leaf = certificate("Leaf", "leaf", "Root", "root", uri=CHAIN_ISS)
    sub = certificate("Sub", "sub", "Root", "root", ca=True)
    under = certificate("Leaf", "leaf", "Sub", "sub", uri=CHAIN_ISS)

    def sent(*chain: x509.Certificate, claims: dict[str, Any] = claims, where: str = "protected", **more: Any) -> str:
        header: dict[int, Any] = {
            33: _der(chain[0]) if len(chain) == 1 else [_der(one) for one in chain],
            **more.get("extra", {}),
        }
        return signed(
            payload(claims),
            "leaf",
            **({"protected": header} if where == "protected" else {"protected": {}, "unprotected": header}),
        )

    yield verified("chain of one", "C10 9: a certificate of the pinned root", sent(leaf), full_name=name, alg="ES256")
    yield verified(
        "chain unprotected", "C10 9: the header proves itself", sent(leaf, where="unprotected"), full_name=name
    )
    yield verified("chain of two", "C10 9", sent(under, sub), full_name=name)
    yield verified("chain with its root", "C10 9: a root that was sent along", sent(under, sub, ROOT), full_name=name)
    digest = hashlib.sha256(_der(leaf)).digest()
    for label, x5t in (("pair", [-16, digest]), ("short pair", [-15, digest[:8]]), ("bare", digest)):
        yield verified(
            f"x5t {label}", "C9: x5t of the chain's first certificate", sent(leaf, extra={34: x5t}), full_name=name
        )
    yield refused("x5t of another", "C9", sent(leaf, extra={34: [-16, bytes(32)]}), "unknown-key", "bad-signature")
    own = {**CLAIMS, "iss": "https://own-roots.example"}
    yield verified(
        "roots of its own",
        "9: roots that sign for this issuer only",
        sent(certificate("Leaf", "leaf", "Root", "root"), claims=own),
        full_name=name,
    )
    bad = {
        "names nobody": (certificate("Leaf", "leaf", "Root", "root"),),
        "names another issuer": (certificate("Leaf", "leaf", "Root", "root", uri="https://b.example"),),
        "signed by itself": (certificate("Leaf", "leaf", "Leaf", "leaf", uri=CHAIN_ISS),),
        "another root": (certificate("Leaf", "leaf", "Root", "stranger", uri=CHAIN_ISS),),
        "no way between": (leaf, certificate("Sub", "sub", "Sub", "sub", ca=True)),
        "authority that is none": (under, certificate("Sub", "sub", "Root", "root")),
        "authority as signer": (certificate("Leaf", "leaf", "Root", "root", ca=True, uri=CHAIN_ISS),),
        "not for signatures": (certificate("Leaf", "leaf", "Root", "root", uri=CHAIN_ISS, signs=False),),
        "unknown critical extension": (certificate("Leaf", "leaf", "Root", "root", uri=CHAIN_ISS, critical=True),),
        "only the middle": (under,),
        "five": (under, sub, sub, sub, sub),
    }
    for label, chain in bad.items():
        yield refused(f"chain {label}", "9: no way to a pinned root", sent(*chain), "unknown-key")
    expired = certificate("Leaf", "leaf", "Root", "root", uri=CHAIN_ISS, valid=(-100, -1))
    future = certificate("Leaf", "leaf", "Root", "root", uri=CHAIN_ISS, valid=(1, 100))
    yield refused(
        "chain expired", "9: a certificate has its own validity", sent(expired), "key-withdrawn", "unknown-key"
    )
    yield refused("chain not yet valid", "9", sent(future), "key-withdrawn", "unknown-key")
    yield refused(
        "chain for an issuer without roots", "9: a chain adds no trust", sent(leaf, claims=CLAIMS), "unknown-key"
    )
    yield refused(
        "chain of garbage",
        "9",
        signed(payload(claims), "leaf", protected={33: b"\x30\x00"}),
        "unreadable",
        "unknown-key",
    )
    yield refused(
        "chain of another key",
        "9: the certificate's key did not sign",
        signed(payload(claims), "ed", protected={33: _der(leaf)}),
        "bad-signature",
    )
    version = _der(leaf).replace(bytes.fromhex("a003020102"), bytes.fromhex("a00302010b"), 1)
    yield refused(
        "chain of version 12",
        "9: a certificate of a version that does not exist",
        signed(payload(claims), "leaf", protected={33: version}),
        "unreadable",
        "unknown-key",
    )
    short = certificate("Sub", "sub", "Root", "root", ca=True, path=0)
    middle = certificate("Middle", "second", "Sub", "sub", ca=True)
    last = certificate("Leaf", "leaf", "Middle", "second", uri=CHAIN_ISS)
    endless = certificate("Leaf", "leaf", "Root", "root", uri=CHAIN_ISS, endless=True)
    yield verified("chain without an end", "9: 9999-12-31, which means none", sent(endless), full_name=name)
    forged = encode(Tagged(18, [encode({1: -7, 33: _der(endless)}), {}, encode({1: CHAIN_ISS, 169: {}}), bytes(64)]))
    yield refused("chain without an end, forged", "9: dates come before the signature", pack(forged), "bad-signature")
    gone = {**CLAIMS, "iss": "https://withdrawn.example"}
    lost = certificate("Leaf", "leaf", "Root", "root", uri="https://withdrawn.example")
    for label, extra in (("", {}), (", called otherwise", {4: b"nobody"})):
        yield refused(
            f"chain to a compromised key{label}",
            "16: whichever way leads to it",
            sent(lost, claims=gone, extra=extra),
            "key-withdrawn",
            "unknown-key",
        )
    yield refused("chain too long for its authority", "9: path length", sent(last, middle, short), "unknown-key")
    yield verified("chain of three", "9", sent(last, middle, sub), full_name=name)


def encrypted() -> Iterator[Vector]:
    name = "Ada Example"
    inner = message(payload(CLAIMS), by("ed"), SPEC_TABLE)

    def wrapped(plaintext: bytes, key: ContentKey = CONTENT["aes256"], tags: tuple[int, ...] = (16,)) -> str:
        return pack(tagged(encrypt(plaintext, key, NONCE), tags))

    for label, key in CONTENT.items():
        yield verified(f"encrypted {label}", "C18: encrypted around signed", wrapped(inner, key), full_name=name)
    yield verified(
        "encrypted 61/16", "C18 C1", wrapped(inner, tags=(61, 16)), full_name=name, dialect="61/16 around 18, map-169"
    )
    yield verified(
        "encrypted, inner untagged",
        "C18 C1",
        wrapped(encode(make_sign1(payload(CLAIMS), by("ed"), {4: b"ed"}))),
        full_name=name,
    )
    yield verified(
        "encrypted, no kid",
        "C18: every key of that algorithm is tried",
        wrapped(inner, dataclasses.replace(CONTENT["aes256"], kid=None)),
        full_name=name,
    )
    yield verified(
        "encrypted, inner several signers",
        "C18",
        wrapped(tagged(make_sign(payload(CLAIMS), [by("ed")]), (98,))),
        full_name=name,
    )
    yield refused(
        "encrypted, nothing signed",
        "10: Encrypt0 alone",
        wrapped(payload(CLAIMS)),
        "not-a-credential",
        "unreadable",
        "unsupported",
    )
    yield refused(
        "encrypted twice",
        "10: one level",
        wrapped(tagged(encrypt(inner, CONTENT["aes256"], NONCE), (16,))),
        "unreadable",
        "unsupported",
    )
    yield refused(
        "encrypted around 61",
        "10: 61 is outermost only",
        wrapped(message(payload(CLAIMS), by("ed"), SPEC_EXAMPLE)),
        "unreadable",
        "unsupported",
    )
    yield refused(
        "encrypted, unknown key", "C18", wrapped(inner, ContentKey(bytes(32), 3, b"none-such")), "cannot-decrypt"
    )
    yield refused("encrypted, wrong key", "C18", wrapped(inner, ContentKey(bytes(32), 3, b"aes256")), "cannot-decrypt")
    body = encrypt(inner, CONTENT["aes256"], NONCE)
    changed = body[2][:-1] + bytes((body[2][-1] ^ 1,))
    yield refused(
        "encrypted, changed", "C18", pack(tagged([*body[:2], changed], (16,))), "cannot-decrypt", "unreadable"
    )
    yield refused(
        "encrypted, alg unprotected",
        "3",
        pack(tagged([b"", {**body[1], 1: 3}, body[2]], (16,))),
        "unreadable",
        "cannot-decrypt",
    )
    yield refused("encrypted, unknown alg", "3", pack(tagged([encode({1: 10}), *body[1:]], (16,))), "unsupported")
    yield refused("encrypted, no nonce", "C18", pack(tagged([body[0], {4: b"aes256"}, body[2]], (16,))), "unreadable")
    yield refused(
        "encrypted, critical header",
        "4",
        pack(tagged([encode({1: 3, 2: [99], 99: 1}), *body[1:]], (16,))),
        "unsupported",
    )
    strict = {**CLAIMS, "iss": "https://encrypted.example"}
    signed_only = message(payload(strict), by("ed"), SPEC_TABLE)
    yield verified("encrypted as its issuer does", "10", wrapped(signed_only), full_name=name)
    yield refused(
        "stripped of its encryption",
        "10: the issuer encrypts, this card is not",
        pack(signed_only),
        "unsupported",
        "bad-signature",
    )


def times() -> Iterator[Vector]:
    value: Any
    name = "Ada Example"
    end = int((AT + 365 * DAY).timestamp())
    last = datetime.fromtimestamp(end, UTC)
    yield refused("expired", "C15: the end has passed", card(exp=AT - DAY), "expired")
    yield refused(
        "expires now", "C15: now is the end and the allowance", card(), "expired", at=last + timedelta(seconds=120)
    )
    yield refused("not yet valid", "C14 C15", card(nbf=AT + DAY), "not-yet-valid")
    yield refused("issued in the future", "C15 11", card(nbf=None, iat=AT + DAY), "not-yet-valid", "bad-claim")
    yield verified("nbf absent", "C15", card(nbf=None), full_name=name)
    yield refused("exp absent", "C15: no end, no profile that allows it", card(exp=None), "bad-claim")
    for label, value in (
        ("fraction", end + 0.75),
        ("single precision", float(end - end % 256)),
        ("tag 1", Tagged(1, end)),
    ):
        yield verified(f"exp {label}", "C13", raw({4: value}, person()), full_name=name)
    for label, value in (
        ("text", str(end)),
        ("bytes", b"\x01"),
        ("null", None),
        ("true", True),
        ("NaN", float("nan")),
        ("infinite", float("inf")),
        ("negative", -1),
        ("milliseconds", end * 1000),
        ("2^63-1", 2**63 - 1),
        ("2^64-1", 2**64 - 1),
        ("list", [end]),
        ("tag 0", Tagged(0, "2027-01-01T00:00:00Z")),
        ("tag 1 of null", Tagged(1, None)),
    ):
        yield refused(
            f"exp {label}", "C13 11 12: a time that is none", raw({4: value}, person()), "bad-claim", "unreadable"
        )
    for label, number in (("nbf", 5), ("iat", 6)):
        yield refused(f"{label} text", "C13", raw({number: "1"}, person()), "bad-claim")
    old = {**CLAIMS, "iss": "https://lenient.example", "exp": None}
    yield verified("no end, allowed", "C15: within the age of the profile", issue(old, by("ed")), full_name=name)
    yield refused(
        "no end, too old",
        "C15: beyond the age of the profile",
        issue({**old, "iat": AT - 366 * DAY}, by("ed")),
        "expired",
    )
    yield refused("no end, no beginning", "C15", issue({**old, "iat": None}, by("ed")), "bad-claim")
    gone = {**CLAIMS, "iss": "https://withdrawn.example"}
    yield refused(
        "key compromised",
        "16: signed after the key was compromised",
        issue(gone, by("withdrawn", "compromised")),
        "key-withdrawn",
    )
    yield refused(
        "key compromised, no date", "16", issue({**gone, "iat": None}, by("withdrawn", "compromised")), "key-withdrawn"
    )
    yield verified(
        "key compromised later",
        "16: signed before",
        issue({**gone, "iat": AT - 20 * DAY, "nbf": None}, by("withdrawn", "compromised")),
        full_name=name,
    )
    yield refused(
        "key compromised in another entry",
        "16: what one entry says is true of the key",
        issue(gone, by("leaf")),
        "key-withdrawn",
    )
    yield refused("key ended", "16: the key's own validity", issue(gone, by("ed", "ended")), "key-withdrawn")
    yield refused(
        "key not begun", "16", issue({**gone, "iat": AT - 5 * DAY, "nbf": None}, by("second", "began")), "key-withdrawn"
    )


def issuers() -> Iterator[Vector]:
    value: Any
    name = "Ada Example"
    yield refused("issuer unknown", "8", card(iss="https://elsewhere.example"), "unknown-issuer")
    yield refused(
        "issuer absent",
        "C11: no iss, and the key is pinned to one",
        card(iss=None),
        "unknown-key",
        "unknown-issuer",
        "bad-claim",
    )
    yield verified("issuer absent, key pinned so", "C11", issue({**CLAIMS, "iss": None}, by("other")), full_name=name)
    yield refused("issuer empty", "C11", issue({**CLAIMS, "iss": ""}, by("other")), "unknown-issuer", "bad-claim")
    for label, iss in (
        ("capitals", "HTTPS://ID.Example"),
        ("slash", "https://id.example/"),
        ("alias", "www.id.example"),
    ):
        yield verified(f"issuer {label}", "C11: one spelling", card(iss=iss), full_name=name)
    for label, wrong in (
        ("path", "https://id.example/x"),
        ("http", "http://id.example"),
        ("port", "https://id.example:8443"),
        ("user", "https://id.example@evil.example"),
        ("suffix", "https://id.example.evil.example"),
    ):
        yield refused(f"issuer other {label}", "C11 8: another issuer", card(iss=wrong), "unknown-issuer")
    for label, value in (("number", 5), ("bytes", b"https://id.example"), ("null", None), ("list", [ISS])):
        yield refused(f"issuer {label}", "C11 12", raw({1: value}, person()), "bad-claim", "unknown-issuer")
    for label, value in (("text", "x"), ("bytes", b"x")):
        yield verified(f"cti {label}", "C16", raw({7: value}, person()), full_name=name)
    yield refused("cti number", "C16 12", raw({7: 5}, person()), "bad-claim")
    yield verified("aud", "C16: not asked for here", raw({3: "urn:gate"}, person()), full_name=name)
    yield verified(
        "cnf and status",
        "C16",
        raw({8: {3: b"k"}, 65535: {"status_list": {"idx": 1, "uri": "https://s.example"}}}, person()),
        full_name=name,
    )


def attributes() -> Iterator[Vector]:
    value: Any
    expected: Any
    name = "Ada Example"
    everything = {
        1: "3918592438",
        2: "1.0",
        3: "eng",
        4: name,
        5: "Ada",
        6: "B",
        7: "Example",
        8: "19840418",
        9: 2,
        10: "1 Road\nTown",
        11: "a@example.com",
        12: "+919876543210",
        13: "IN",
        14: 2,
        15: "Mother",
        18: [1, 2],
        19: "अदा",
        20: "hin",
        21: "849VCWC8+R9",
        22: "Refugee",
        23: "IN",
    }
    yield verified(
        "every attribute",
        "attributes 1 to 23",
        raw({}, everything),
        id="3918592438",
        version="1.0",
        language="eng",
        full_name=name,
        first_name="Ada",
        middle_name="B",
        last_name="Example",
        date_of_birth="1984-04-18",
        gender=2,
        address="1 Road\nTown",
        email="a@example.com",
        phone="+919876543210",
        nationality="IN",
        marital_status=2,
        guardian="Mother",
        best_quality_fingers=[1, 2],
        full_name_secondary="अदा",
        secondary_language="hin",
        location_code="849VCWC8+R9",
        legal_status="Refugee",
        country_of_issuance="IN",
    )
    yield verified(
        "every biometric",
        "attributes 50 to 65",
        raw({}, {**person(), **{number: [{0: b"x", 1: 1, 2: 1, 3: "V"}] for number in range(50, 66)}}),
        full_name=name,
        biometrics=16,
    )
    yield verified(
        "keys as digits",
        "M1",
        raw({}, {"1": "3918592438", "4": name, "9": "2"}),
        full_name=name,
        gender=2,
        id="3918592438",
    )
    yield refused("keys as digits and numbers", "M1 M16: the same twice", raw({}, {4: "Eve", "4": name}), "unreadable")
    yield verified(
        "keys as names",
        "M1: known names as a fallback",
        raw({}, {"id": "1", "fullName": name, "Date of Birth": "19840418"}),
        full_name=name,
        date_of_birth="1984-04-18",
    )
    yield verified(
        "unknown keys",
        "M1: kept, and the card is read",
        raw({}, {**person(), "hello": "x", 77: "y", 1000: [1]}),
        full_name=name,
        others=["hello", "77", "1000"],
    )
    for label, value, expected in (("number", 3918592438, "3918592438"), ("double", 3918592438.0, "3918592438")):
        yield verified(f"id {label}", "M2", raw({}, person(a1=value)), id=expected)
    for label, value in (
        ("map", {}),
        ("list", ["1"]),
        ("bytes", b"1"),
        ("true", True),
        ("null", None),
        ("fraction", 1.5),
    ):
        yield refused(f"id {label}", "M2 12", raw({}, person(a1=value)), "bad-claim", "unreadable")
    yield verified("version number", "M3", raw({}, person(a2=10)), version="10")
    for label, value, expected in (
        ("basic", "19840418", "1984-04-18"),
        ("dashes", "1984-04-18", "1984-04-18"),
        ("slashes", "1984/04/18", "1984-04-18"),
        ("with time", "1984-04-18T00:00:00Z", "1984-04-18"),
        ("number", 19840418, "1984-04-18"),
        ("tag 1004", Tagged(1004, "1984-04-18"), "1984-04-18"),
        ("tag 100", Tagged(100, 5221), "1984-04-18"),
        ("day first", "25-05-1990", "1990-05-25"),
        ("month first", "04-18-1984", "1984-04-18"),
        ("same both ways", "05/05/1990", "1990-05-05"),
    ):
        yield verified(f"birth {label}", "M4", raw({}, person(a8=value)), date_of_birth=expected)
    for label, value in (
        ("ambiguous", "03-04-1990"),
        ("year", "1990"),
        ("no date", "19841318"),
        ("text", "unknown"),
        ("list", [1984]),
        ("bytes", b"1984"),
    ):
        yield verified(
            f"birth {label}",
            "M4: kept as it came, the card is read",
            raw({}, person(a8=value)),
            full_name=name,
            raw=["date_of_birth"],
        )
    for iss, expected in (("https://lenient.example", "1990-04-03"), ("https://month-first.example", "1990-03-04")):
        yield verified(
            f"birth by profile {expected}",
            "M4: the profile decides",
            raw({1: iss}, person(a8="03-04-1990")),
            date_of_birth=expected,
        )
    for value, number in (("1", 1), ("Male", 1), ("female", 2), ("F", 2), ("Others", 3), (3, 3)):
        yield verified(f"gender {value}", "M5", raw({}, person(a9=value)), gender=number)
    for value in (7, "x", b"1", None):
        yield verified(
            f"gender {value!r}", "M5: kept as it came", raw({}, person(a9=value)), full_name=name, raw=["gender"]
        )
    for value, number in ((1, 1), ("2", 2), ("Divorced", 3)):
        yield verified(f"marital status {value}", "M6", raw({}, person(a14=value)), marital_status=number)
    yield verified(
        "fingers out of range",
        "attribute 18: 0 to 10",
        raw({}, person(a18=[1, 11])),
        full_name=name,
        raw=["best_quality_fingers"],
    )
    yield verified("phone as seen", "M13", raw({}, person(a12="+++++7924654206")), phone="+++++7924654206")
    yield verified("language as seen", "M14", raw({}, person(a20="AR")), secondary_language="AR")
    yield verified(
        "name in bytes",
        "12: what people read never fails a card",
        raw({}, person(a4=b"Ada")),
        id="3918592438",
        raw=["full_name"],
    )
    yield verified(
        "vendor numbering",
        "M15: claims 14 to 21 have no meaning",
        raw({1: "https://vendor.example"}, person(a14="IN", a18="Mother")),
        full_name=name,
        others=["14", "18"],
    )


def pictures() -> Iterator[Vector]:
    b64, url = base64.b64encode(JPEG).decode(), base64.urlsafe_b64encode(JPEG).rstrip(b"=").decode()
    uri = f"data:image/jpeg;base64,{b64}"
    forms: dict[str, Any] = {
        "bytes": JPEG,
        "hex": JPEG.hex(),
        "HEX": JPEG.hex().upper(),
        "base64": b64,
        "base64url": url,
        "data URI": uri,
        "data URI in bytes": uri.encode(),
        "base64 in bytes": b64.encode(),
        "base64 with line ends": b64[:40] + "\r\n" + b64[40:],
    }
    for label, value in forms.items():
        yield verified(
            f"face {label}",
            "M10: the form of a picture",
            raw({}, person(a62=[{0: value, 1: 0, 2: 1}])),
            face=JPEG.hex(),
        )
        yield verified(f"photo {label}", "M7: claim 16", raw({}, person(a16=value, a17=1)), face=JPEG.hex())
    yield verified("face alone", "M9: a single map", raw({}, person(a62={0: WEBP, 1: 0, 2: 4})), face=WEBP.hex())
    yield verified("face bare", "M9: only bytes", raw({}, person(a62=WEBP)), face=WEBP.hex())
    yield verified("face bare text", "M9", raw({}, person(a62=uri)), face=JPEG.hex())
    for label, data in (("PNG", PNG), ("JPEG 2000", JP2), ("AVIF", AVIF), ("TIFF", TIFF), ("WebP", WEBP)):
        yield verified(
            f"face {label}", "M8 M11: by its beginning", raw({}, person(a62=[{0: data, 1: 0}])), face=data.hex()
        )
    yield verified(
        "face mislabelled",
        "M11: content counts, not the label",
        raw({}, person(a62=[{0: WEBP, 1: 0, 2: 0}])),
        face=WEBP.hex(),
    )
    for label, called in (("template", {1: 1, 2: 1}), ("sound", {1: 2}), ("hash", {1: "BioHash"})):
        yield verified(f"face called a {label}", "M11", raw({}, person(a62=[{0: JPEG, **called}])), face=JPEG.hex())
    for label, text in (("", "data:" + "a" * 20_000), (", in parts", "data:" + ";a" * 10_000)):
        yield verified(
            f"face as an endless data URI{label}", "1: no text is slow", raw({}, person(a62=text)), face=None
        )
    yield verified(
        "face labelled in words", "M11", raw({}, person(a62=[{0: JPEG, 1: "Image", 2: "JEPG"}])), face=JPEG.hex()
    )
    yield verified("face keys as digits", "M12", raw({}, person(a62=[{"0": JPEG, "1": 0, "2": 1}])), face=JPEG.hex())
    yield verified(
        "face keys as names", "M12", raw({}, person(a62=[{"Data": JPEG, "Data format": "Image"}])), face=JPEG.hex()
    )
    yield refused(
        "face keys twice", "M16: inside a biometric as well", raw({}, person(a62=[{0: JPEG, "0": WEBP}])), "unreadable"
    )
    yield verified(
        "face after another",
        "M9: the first picture of a known kind",
        raw({}, person(a62=[{0: b"?", 1: 0}, {0: JPEG, 1: 0}])),
        face=JPEG.hex(),
    )
    yield verified("face before photo", "M9", raw({}, person(a62=[{0: JPEG, 1: 0}], a16=WEBP)), face=JPEG.hex())
    template = {0: b"\x01\x02\x03", 1: 1, 2: 100, 3: "arcface 1.0"}
    yield verified(
        "template", "a template with its model", raw({}, person(a62=[template])), template="010203", model="arcface 1.0"
    )
    yield verified(
        "template and picture",
        "the template is compared, the picture stays beside it",
        raw({}, person(a62=[template, {0: JPEG, 1: 0}])),
        template="010203",
        model="arcface 1.0",
    )
    yield verified(
        "template without its model",
        "nothing to compare with",
        raw({}, person(a62=[{0: b"x", 1: 1, 2: 100}])),
        face=None,
    )
    yield verified("no face", "M9", raw({}, person()), face=None)
    record = _record_2005(JPEG)
    assert unwrap(record) == (JPEG, "bytes, ISO 19794-5")
    yield verified("face record 2005", "ISO/IEC 19794-5", raw({}, person(a62=[{0: record, 1: 0}])), face=JPEG.hex())
    yield verified(
        "face record 2011",
        "ISO/IEC 19794-5:2011",
        raw({}, person(a62=[{0: _record_2011(JPEG), 1: 0}])),
        face=JPEG.hex(),
    )
    nested = _tlv(0x65, _tlv(0xA0, _tlv(0x80, b"\x03")) + _tlv(0xA1, _tlv(0x30, _tlv(0xA1, _tlv(0x80, JPEG)))))
    yield verified("face record 39794-5", "ISO/IEC 39794-5", raw({}, person(a62=[{0: nested, 1: 0}])), face=JPEG.hex())
    template_around = _tlv(
        0x7F61, _tlv(0x02, b"\x01") + _tlv(0x7F60, _tlv(0xA1, _tlv(0x81, b"\x02")) + _tlv(0x5F2E, record))
    )
    yield verified(
        "biometric information template",
        "ISO/IEC 7816-11 around a face record",
        raw({}, person(a62=[{0: template_around, 1: 0}])),
        face=JPEG.hex(),
    )


def _record_2005(picture: bytes) -> bytes:
    image = (20).to_bytes(1, "big") + bytes(11)
    block = 20 + 8 + 12 + len(picture)
    facial = block.to_bytes(4, "big") + (1).to_bytes(2, "big") + bytes(14)
    header = b"FAC\x00010\x00" + (14 + block).to_bytes(4, "big") + (1).to_bytes(2, "big")
    return header + facial + bytes(8) + image + picture


def _record_2011(picture: bytes) -> bytes:
    body = bytes(9) + bytes(5) + b"\x01" + bytes(5) + (1).to_bytes(2, "big") + bytes(15) + bytes(8) + bytes(11)
    body += len(picture).to_bytes(4, "big") + picture
    block = (len(body) + 4).to_bytes(4, "big") + body
    return b"FAC\x00030\x00" + (17 + len(block)).to_bytes(4, "big") + (1).to_bytes(2, "big") + bytes(3) + block


def _tlv(tag: int, value: bytes) -> bytes:
    length = bytes((len(value),)) if len(value) < 128 else b"\x82" + len(value).to_bytes(2, "big")
    return tag.to_bytes(2 if tag > 0xFF else 1, "big") + length + value


def encodings() -> Iterator[Vector]:
    name = "Ada Example"
    content = payload(CLAIMS, SPEC_EXAMPLE)
    good = tagged(make_sign1(content, by("ed"), {4: b"ed"}), (18,))
    yield refused("trailing after the message", "2: one item", pack(good + b"\x00"), "unreadable")
    protected = encode({1: -8, 4: b"ed"}) + b"\x00"
    yield refused(
        "trailing in the protected header",
        "2",
        pack(tagged([protected, {}, content, KEYS["ed"].sign(sig_structure(protected, content))], (18,))),
        "unreadable",
    )
    yield refused("trailing in the payload", "2", signed(content + b"\x00"), "unreadable")
    claims = decode(content)
    yield refused("trailing in claim 169", "2", signed(encode({**claims, 169: claims[169] + b"\x00"})), "unreadable")
    lenient = payload({**CLAIMS, "iss": "https://lenient.example"}, SPEC_EXAMPLE)
    yield verified(
        "trailing, excused",
        "T4: the profile excuses it",
        base45.encode(zlib.compress(message(lenient, by("ed"))) + b"\x00"),
        full_name=name,
        flags=["trailing"],
    )
    token = {1: ISS, 4: int((AT + DAY).timestamp()), 169: person()}
    indefinite = b"\xbf" + encode(token)[1:] + b"\xff"
    yield refused("indefinite map", "M17", signed(indefinite), "unreadable")
    other = b"\xbf" + encode({**token, 1: "https://lenient.example", 6: int(AT.timestamp())})[1:] + b"\xff"
    yield verified("indefinite map, excused", "M17", signed(other), full_name=name, flags=["indefinite"])
    long_key = (
        b"\xa3"
        + b"\x18\x01"
        + encode(ISS)
        + b"\x19\x00\x04"
        + encode(token[4])
        + b"\x1a\x00\x00\x00\xa9"
        + encode(person())
    )
    yield verified("long integers", "M17: legal", signed(long_key), full_name=name)
    twice = b"\xa4" + encode(token)[1:] + b"\x01" + encode("https://b.example")
    yield refused("claim twice", "M16 2", signed(twice), "unreadable")
    hidden = b"\xa4" + encode(token)[1:] + b"\x18\x01" + encode("https://b.example")
    yield refused("claim twice, one in a long form", "M16 M17 2", signed(hidden), "unreadable")
    inner = b"\xa3" + encode(person())[1:] + b"\x04" + encode("Eve")
    yield refused("attribute twice", "M16 2", signed(encode({**token, 169: 0})[:-1] + inner), "unreadable")
    yield refused(
        "member of a biometric twice",
        "M16 2",
        signed(encode({**token, 169: 0})[:-1] + b"\xa1\x18\x3e\xa2\x00" + encode(JPEG) + b"\x00" + encode(WEBP)),
        "unreadable",
    )
    header = b"\xa3\x01\x27\x04" + encode(b"ed") + b"\x01\x26"
    yield refused(
        "header twice",
        "M16 2",
        pack(tagged([header, {}, content, KEYS["ed"].sign(sig_structure(header, content))], (18,))),
        "unreadable",
    )
    around = (
        b"\xd2\x84"
        + encode(encode({1: -8}))
        + b"\xa2\x04"
        + encode(b"ed")
        + b"\x04"
        + encode(b"p256")
        + encode(content)
        + encode(bytes(64))
    )
    yield refused("unprotected header twice", "M16 2", pack(around), "unreadable")
    for label, key in (
        ("float", b"\xf9\x3c\x00"),
        ("NaN", b"\xf9\x7e\x00"),
        ("true", b"\xf5"),
        ("bytes", b"\x41\x01"),
        ("null", b"\xf6"),
        ("list", b"\x80"),
    ):
        yield refused(
            f"key {label}",
            "2: keys are integers or text",
            signed(b"\xa4" + encode(token)[1:] + key + b"\x00"),
            "unreadable",
        )
    yield refused(
        "text not UTF-8", "2", signed(b"\xa4" + encode(token)[1:] + b"\x19\x03\xe8\x62\xff\xfe"), "unreadable"
    )
    yield refused(
        "text with a surrogate",
        "2",
        signed(b"\xa4" + encode(token)[1:] + b"\x19\x03\xe8\x63\xed\xa0\x80"),
        "unreadable",
    )
    for tag in (2, 4, 24, 28, 29, 35, 61, 258):
        yield refused(
            f"tag {tag} in a claim", "2: no surprise tags", raw({1000: Tagged(tag, 1)}, person()), "unreadable"
        )
    nested: Any = 1
    for _ in range(12):
        nested = [nested]
    yield refused("nested too deep", "2: depth", raw({1000: nested}, person()), "too-large", "unreadable")
    yield refused(
        "array longer than the card",
        "2: lengths",
        signed(b"\xa4" + encode(token)[1:] + b"\x19\x03\xe8\x9b" + b"\xff" * 8),
        "unreadable",
        "too-large",
    )
    yield refused(
        "string longer than the card",
        "2: lengths",
        signed(b"\xa4" + encode(token)[1:] + b"\x19\x03\xe8\x5b\x7f" + b"\xff" * 7),
        "unreadable",
        "too-large",
    )
    yield refused("too many items", "2: items", raw({1000: [0] * 4000}, person()), "too-large", "unreadable")
    yield refused("bomb", "1: 1 MB in little", base45.encode(zlib.compress(bytes(1 << 20), 9)), "too-large")
    yield refused("bomb behind a card", "1", base45.encode(zlib.compress(good + bytes(1 << 20), 9)), "too-large")
    yield refused(
        "Brotli bomb", "1: 16 MB in very little", base45.encode(compress_brotli(bytes(16 << 20))), "too-large"
    )
    yield refused("too long a text", "1", "0" * 4297, "too-large")
    yield refused(
        "payload missing",
        "detached payload",
        pack(tagged([encode({1: -8}), {4: b"ed"}, None, bytes(64)], (18,))),
        "unreadable",
    )
    yield refused(
        "three members", "COSE_Sign1 has four", pack(tagged([encode({1: -8}), {}, content], (18,))), "unreadable"
    )
    yield refused("payload no map", "a token is a map", signed(encode([1])), "unreadable", "not-a-credential")
    yield refused("payload empty", "a token is a map", signed(b""), "unreadable", "not-a-credential")
    yield refused(
        "simple values", "2: unassigned", signed(b"\xa4" + encode(token)[1:] + b"\x19\x03\xe8\xf8\xff"), "unreadable"
    )
    yield verified("big integers", "M17", raw({1000: 2**64 - 1, 1001: -(2**64)}, person()), full_name=name)
    assert head(0, 1000) == b"\x19\x03\xe8"


def others() -> Iterator[Vector]:
    texts = {
        "web address": "https://example.org/card/1",
        "web address in capitals": "HTTPS://EXAMPLE.ORG/CARD/1",
        "EU digital COVID certificate": "HC1:6BFOXN*TS0BI$ZD4N9:9S6RCVN5+O30K3",
        "New Zealand COVID pass": "NZCP:/1/2KCEVIQEIVVWK6JNGEASNICZAEP2KALYDZSGSZB2O5SWEOTOPJRXALTDN53GSZBR",
        "SD-JWT": "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln~WyJzIiwibiIsIngiXQ~",
        "JWT": "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln",
        "mobile driving licence": "mdoc:owBjMS4wAYIB2BhYS6QBAiABIVgg",
        "wallet request": "openid4vp://?client_id=x",
        "contact": "BEGIN:VCARD\nFN:Ada\nEND:VCARD",
        "JSON": '{"name": "Ada"}',
        "words": "HELLO WORLD 1",
        "empty": "",
        "PixelPass JSON": base45.encode(zlib.compress(b'{"@context": ["https://www.w3.org/2018/credentials/v1"]}')),
        "PixelPass record": base45.encode(zlib.compress(encode({"id": "1", "name": "Ada"}))),
        "PixelPass SD-JWT": base45.encode(zlib.compress(encode("eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln~WyJz~"))),
        "claims unsigned": pack(payload(CLAIMS)),
        "digital COVID certificate without prefix": raw({169: _ABSENT, -260: {1: {}}}, None),
    }
    for label, text in texts.items():
        yield refused(f"other: {label}", "T7: something else, named for what it is", text, "not-a-credential")


GROUPS = (
    dialects,
    headers,
    algorithms,
    several,
    chains,
    encrypted,
    times,
    issuers,
    attributes,
    pictures,
    encodings,
    others,
)


def corpus() -> dict[str, Any]:
    """Everything that goes into the file."""
    vectors = [{"group": group.__name__, **vector} for group in GROUPS for vector in group()]
    pem = {
        name: private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        for name, private in KEYS.items()
    }
    content_keys = [
        {"kid": key.kid.decode() if key.kid else "", "alg": key.number, "k": key.secret.hex()}
        for key in CONTENT.values()
    ]
    return {
        "about": "Claim 169 conformance corpus; see README.md beside this file",
        "at": AT.isoformat(),
        "skew_s": 120,
        "trust": trust(),
        "content_keys": content_keys,
        "private_keys": pem,
        "vectors": vectors,
    }


def main() -> int:
    made = corpus()
    names = [vector["name"] for vector in made["vectors"]]
    if len(names) != len(set(names)):
        sys.stderr.write(f"a name twice: {sorted({name for name in names if names.count(name) > 1})}\n")
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "corpus.json").write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    sys.stdout.write(f"{len(names)} vectors\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
