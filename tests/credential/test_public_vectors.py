"""The engine against public test vectors; the count of each suite is printed at the end of the run."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zxingcpp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key

from edge.biometric.values import Picture
from edge.credential import attributes, base45, reading
from edge.credential.inflate import inflate
from edge.credential.trace import Trace
from edge.errors import Refusal
from edge.trust import chain, cose
from edge.trust.algorithms import WeakKey, fitting, valid
from edge.trust.cbor import Tagged, decode, encode
from edge.trust.encryption import ContentKey, decrypt
from edge.trust.interval import Interval
from edge.trust.keys import Key, from_cose_key, from_jwk
from edge.trust.profile import USUAL
from edge.trust.status import inflated, open_status_list

Count = Callable[[str, int], None]


@pytest.fixture
def count(record_property: Any) -> Count:
    return lambda suite, number: record_property("public vectors", f"{suite}: {number}")


def test_the_card_of_a_real_issuer_is_read_from_its_picture(vectors: Path, count: Count) -> None:
    image = cv2.imread(str(vectors / "inji-verify" / "claim.PNG"), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    text = zxingcpp.read_barcodes(image)[0].text
    assert text == (vectors / "inji-verify" / "claim.qr.txt").read_text().strip("\r\n")
    found = reading.read(text, Trace())
    person = attributes.read(attributes.unwrap(found.claims[169])[0], USUAL)
    assert isinstance(person.face, Picture)
    face = cv2.imdecode(np.frombuffer(person.face.data, np.uint8), cv2.IMREAD_COLOR)
    assert face is not None
    assert face.shape == (80, 60, 3)
    assert person.face.data.startswith(b"\xff\xd8\xff")
    count("inji-verify QR picture", 1)


def key_of(members: dict[str, Any]) -> Key | None:
    """A key as the COSE examples write it; None where it is of a kind that is not accepted here."""

    def raw(name: str) -> bytes:
        if f"{name}_hex" in members:
            return bytes.fromhex(members[f"{name}_hex"])
        return base64.urlsafe_b64decode(members[name] + "=" * (-len(members[name]) % 4))

    curves = {"P-256": 1, "P-384": 2, "P-521": 3, "Ed25519": 6}
    match members["kty"]:
        case "EC" | "EC2" if members["crv"] in curves:
            return from_cose_key({1: 2, -1: curves[members["crv"]], -2: raw("x"), -3: raw("y")})
        case "OKP" if members["crv"] in curves:
            return from_cose_key({1: 1, -1: 6, -2: raw("x")})
        case "RSA":
            return from_cose_key({1: 3, -1: raw("n"), -2: raw("e")})
        case _:
            return None


@pytest.mark.parametrize(
    "folder", ["sign1-tests", "eddsa-examples", "ecdsa-examples", "rsa-pss-examples", "CWT", "x509-examples"]
)
def test_cose_examples_of_signed_messages(vectors: Path, count: Count, folder: str) -> None:
    done = 0
    for path in sorted((vectors / "cose-wg-Examples" / folder).glob("*.json")):
        example = json.loads(path.read_text())
        name = path.stem
        entry = example["input"].get("sign0") or example["input"].get("sign")
        if entry is None:
            continue
        data = bytes.fromhex(example["output"]["cbor"])
        keys = [entry["key"]] if "key" in entry else [signer["key"] for signer in entry["signers"]]
        aad = bytes.fromhex(entry.get("external", ""))
        verdict = all_verify(data, keys, aad)
        expected = not example.get("fail", False) and name not in REFUSED
        assert verdict is expected, (name, example["title"])
        done += 1
    count(f"cose-wg {folder}", done)
    assert done


REFUSED = {
    "sign-pass-01": "alg outside the protected header",
    "eddsa-02": "Ed448 is not accepted",
    "eddsa-sig-02": "Ed448 is not accepted",
    "ecdsa-04": "ES512 names P-521 here, the key is P-256",
    "ecdsa-sig-04": "ES512 names P-521 here, the key is P-256",
    "rsa-pss-02": "an RSA key is pinned to PS256 unless the list says otherwise",
    "rsa-pss-03": "an RSA key is pinned to PS256 unless the list says otherwise",
}


def test_an_empty_protected_header_is_signed_as_nothing(vectors: Path) -> None:
    """The example sign-pass-01: sent as h'A0', signed as h''; its alg stands outside, which is refused elsewhere."""
    example = json.loads((vectors / "cose-wg-Examples" / "sign1-tests" / "sign-pass-01.json").read_text())
    body = cose.unwrap(bytes.fromhex(example["output"]["cbor"])).body
    key = key_of(example["input"]["sign0"]["key"])
    assert key is not None
    signed = cose.sig_structure(b"\xa0", body[2])
    assert signed == cose.sig_structure(b"", body[2]) == bytes.fromhex(example["intermediates"]["ToBeSign_hex"])
    assert valid(key.public, key.algorithm, body[3], signed)


def all_verify(data: bytes, keys: list[dict[str, Any]], aad: bytes) -> bool:
    try:
        message = cose.message(cose.unwrap(data))
        found = [key_of(members) for members in keys]
        return len(found) == len(message.signatures) and all(
            key is not None and message.verifies(signature, key, aad=aad)
            for key, signature in zip(found, message.signatures, strict=True)
        )
    except (Refusal, WeakKey):
        return False


def test_cose_examples_of_certificates(vectors: Path, count: Count) -> None:
    folder = vectors / "cose-wg-Examples" / "x509-examples"
    root = x509.load_der_x509_certificate((folder / "ca.der").read_bytes())
    now = Interval.exactly(datetime(2026, 1, 1, tzinfo=UTC))
    done = 0
    for path in sorted(folder.glob("*.json")):
        message = cose.message(cose.unwrap(bytes.fromhex(json.loads(path.read_text())["output"]["cbor"])))
        signature = message.signatures[0]
        sent, x5t = signature.header(cose.X5CHAIN), signature.header(cose.X5T)
        alice = x509.load_der_x509_certificate((folder / "alice.der").read_bytes())
        if x5t is not None:
            assert chain.matches(x5t, alice)
            done += 1
        if sent is not None:
            key = chain.key_of_chain(sent, x5t, [root], (), now, timedelta())
            assert message.verifies(signature, key)
            with pytest.raises(Refusal, match="does not name the issuer"):
                chain.key_of_chain(sent, x5t, [root], ("https://id.example",), now, timedelta())
            done += 1
    count("cose-wg x509 chains and hashes", done)
    assert done >= 2


@pytest.mark.parametrize("folder", ["encrypted-tests", "aes-gcm-examples", "chacha-poly-examples", "CWT"])
def test_cose_examples_of_encrypted_messages(vectors: Path, count: Count, folder: str) -> None:
    numbers = {("A128GCM", 16): 1, ("A192GCM", 24): 2, ("A256GCM", 32): 3, ("ChaCha-Poly1305", 32): 24}
    refused = {"enc-pass-01": "alg outside the protected header"}
    done = 0
    for path in sorted((vectors / "cose-wg-Examples" / folder).glob("*.json")):
        example = json.loads(path.read_text())
        entry = example["input"].get("encrypted")
        if entry is None:
            continue
        secret = bytes.fromhex(example["intermediates"]["CEK_hex"])
        named = str(entry.get("protected", {}).get("alg"))
        number = numbers.get((named, len(secret)), 3 if len(secret) == 32 else 1)
        try:
            envelope = cose.unwrap(bytes.fromhex(example["output"]["cbor"]))
            if envelope.kind != cose.ENCRYPT0:
                continue
            plain = decrypt(envelope, [ContentKey(secret, number)], bytes.fromhex(entry.get("external", "")))
            outcome = plain == example["input"].get("plaintext", "").encode()
        except Refusal:
            outcome = False
        expected = not example.get("fail", False) and not named.startswith("AES-CCM") and path.stem not in refused
        assert outcome is expected, path.stem
        done += 1
    count(f"cose-wg {folder} encrypted", done)
    assert done


SIGNATURES = {
    "ed25519_test.json": (None, False),
    "ecdsa_secp256r1_sha256_p1363_test.json": (None, False),
    "ecdsa_secp384r1_sha384_p1363_test.json": (None, False),
    "ecdsa_secp521r1_sha512_p1363_test.json": (None, False),
    "ecdsa_secp256r1_sha256_test.json": (None, True),
    "rsa_pss_2048_sha256_mgf1_32_test.json": ("PS256", False),
    "rsa_pss_3072_sha256_mgf1_32_test.json": ("PS256", False),
    "rsa_pss_4096_sha256_mgf1_32_test.json": ("PS256", False),
    "rsa_pss_4096_sha384_mgf1_48_test.json": ("PS384", False),
    "rsa_pss_4096_sha512_mgf1_64_test.json": ("PS512", False),
    "rsa_signature_2048_sha256_test.json": ("RS256", False),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_wycheproof_signatures(vectors: Path, count: Count, name: str) -> None:
    algorithm, der = SIGNATURES[name]
    suite = json.loads((vectors / "wycheproof" / "testvectors_v1" / name).read_text())
    done = 0
    for group in suite["testGroups"]:
        der_key = bytes.fromhex(group.get("publicKeyDer") or group.get("publicKeyAsn") or "")
        for test in group["tests"]:
            try:
                public, pinned = fitting(load_der_public_key(der_key), algorithm)
                outcome = valid(public, pinned, bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"]), der)
            except (WeakKey, ValueError):
                outcome = False
            if test["result"] != "acceptable":
                assert outcome is (test["result"] == "valid"), (name, test["tcId"], test["comment"])
            done += 1
    count(f"wycheproof {name}", done)
    assert done == suite["numberOfTests"]


def test_wycheproof_encryption(vectors: Path, count: Count) -> None:
    suite = json.loads((vectors / "wycheproof" / "testvectors_v1" / "aes_gcm_test.json").read_text())
    done = 0
    for group in suite["testGroups"]:
        if group["ivSize"] != 96 or group["tagSize"] != 128 or group["keySize"] not in (128, 192, 256):
            continue
        for test in group["tests"]:
            key = ContentKey(bytes.fromhex(test["key"]), {128: 1, 192: 2, 256: 3}[group["keySize"]])
            ciphertext = bytes.fromhex(test["ct"]) + bytes.fromhex(test["tag"])
            try:
                plain = key.cipher.decrypt(bytes.fromhex(test["iv"]), ciphertext, bytes.fromhex(test["aad"]))
                outcome = plain == bytes.fromhex(test["msg"])
            except Exception:  # noqa: BLE001 -- whatever the library says, it is a no
                outcome = False
            assert outcome is (test["result"] == "valid"), test["tcId"]
            done += 1
    count("wycheproof aes_gcm (96-bit nonce, 128-bit tag)", done)


def jws_verifies(token: str, members: dict[str, Any]) -> bool:
    """A JWS through our keys and algorithms: the algorithm pinned on the key has to be the one in the header."""
    try:
        header, payload, signature = token.split(".")
        pad = [part + "=" * (-len(part) % 4) for part in (header, payload, signature)]
        found = json.loads(base64.b64decode(pad[0], b"-_", validate=True))
        base64.b64decode(pad[1], b"-_", validate=True)
        key = from_jwk(members)
        if found.get("alg") != key.algorithm.jose or "crit" in found:
            return False
        value = base64.b64decode(pad[2], b"-_", validate=True)
        return valid(key.public, key.algorithm, value, f"{header}.{payload}".encode())
    except (ValueError, TypeError, AttributeError):
        return False


def test_wycheproof_json_web_keys(vectors: Path, count: Count) -> None:
    folder = vectors / "wycheproof" / "testvectors_v1"
    done = refused = 0
    for name in ("json_web_key_test.json", "json_web_signature_test.json"):
        for group in json.loads((folder / name).read_text())["testGroups"]:
            members = group.get("public") or group.get("private") or {}
            for one in members.get("keys", [members]):
                if one.get("kty") in ("EC", "OKP", "RSA"):
                    public = {k: v for k, v in one.items() if k not in ("d", "p", "q", "dp", "dq", "qi", "oth")}
                    for test in group["tests"]:
                        token = test["jws"] if isinstance(test.get("jws"), str) else ""
                        outcome = jws_verifies(token, public)
                        if test["result"] == "invalid":
                            assert not outcome, (name, test["tcId"], test["comment"])
                        refused += not outcome
                else:
                    with pytest.raises(WeakKey):
                        from_jwk(one)
            done += len(group["tests"])
    count("wycheproof JWK and JWS", done)
    assert 0 < refused < done


def test_cbor_vectors(vectors: Path, count: Count) -> None:
    """Good ones are read as what they are, or refused for a documented rule; bad ones are refused."""
    folder = vectors / "cbor-test-vectors" / "tests"
    files = sorted(folder.glob("rfc8949*/*.cbor"))
    read = strict = bad = 0
    for path in files:
        suite = loose(path.read_bytes())
        for test in suite["tests"]:
            if "encoded" not in test:
                continue
            raw, fails = test["encoded"], test.get("fail", suite.get("fail", False))
            try:
                value = decode(raw, depth=16, tags=frozenset(range(2**10)) | {2**16}, notes=set())
            except Refusal:
                outcome = False
            else:
                outcome = True
            if fails:
                assert not outcome or raw[0] in (0xC0, 0xC1), (
                    path.stem,
                    test["description"],
                )  # tags are not looked into
                bad += 1
            elif outcome:
                expected = test.get("decoded")
                if not isinstance(expected, Tagged | float) and "decoded" in test and not isinstance(value, Tagged):
                    assert same(value, expected), (path.stem, test["description"])
                read += 1
            else:
                strict += 1
    count("CBOR, read as expected", read)
    count("CBOR, good and refused by our rules (keys, simple values, tags)", strict)
    count("CBOR, bad and refused", bad)
    assert read > 60
    assert strict <= 30
    assert bad == 47


def loose(raw: bytes) -> Any:
    import cbor2

    return cbor2.loads(raw, max_depth=5000)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if left is None:
        return right is None or type(right).__name__ in ("undefined_type", "UndefinedType")
    return bool(left == right)


def test_status_lists(vectors: Path, count: Count) -> None:
    folder = vectors / "ietf-oauth-status-list"
    key = from_jwk(json.loads((folder / "public_jwk.json").read_text()))
    token = bytes.fromhex("".join((folder / "status_list_cwt.md").read_text().split()))
    statuses = open_status_list(token, [key], "https://example.com/statuslists/1")
    assert statuses.bits == 1
    assert statuses.statuses == bytes.fromhex("b9a3")
    assert [statuses.status(index) for index in range(16)] == [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]
    with pytest.raises(Refusal):
        statuses.status(16)
    with pytest.raises(Refusal, match="another address"):
        open_status_list(token, [key], "https://example.com/statuslists/2")
    with pytest.raises(Refusal):
        open_status_list(encode(Tagged(61, decode(token, tags=frozenset({18})))), [key])
    with pytest.raises(Refusal, match="bad-signature"):
        open_status_list(token[:-1] + b"\x00", [key])
    referenced = bytes.fromhex("".join((folder / "referenced_token_cwt.md").read_text().split()))
    message = cose.message(cose.unwrap(referenced))
    assert message.verifies(message.signatures[0], key)
    assert decode(message.payload)[65535] == {"status_list": {"idx": 0, "uri": "https://example.com/statuslists/1"}}
    done = 2
    for path in sorted(folder.glob("status_list_encoding*_cbor.md")):
        text = path.read_text()
        claim = decode(bytes.fromhex("".join(text[text.rfind(":") + 1 :].split())))
        found = inflated(claim["lst"])
        if "byte_array" in text:
            assert found == bytes(int(byte, 16) for byte in text[text.index("[") + 1 : text.index("]")].split(","))
        if "long" in path.name:
            assert len(found) * 8 // claim["bits"] == 1 << 20
        done += 1
    count("IETF status list", done)


def test_what_pixelpass_makes(vectors: Path, count: Count) -> None:
    suite = json.loads((vectors / "inji-pixelpass" / "pixelpass_vectors.json").read_text())
    done = 0
    for entry in suite["claim169_map_cbor_hex"]:
        person = attributes.read(decode(bytes.fromhex(entry["hex"])), USUAL)
        assert person.attributes
        done += 1
    for entry in suite["qr_decode"]:
        if isinstance(entry["expected"], str):
            plain = inflate(base45.decode(entry["qr"]), set())
            assert plain == entry["expected"].encode() or decode(plain) == json.loads(entry["expected"])
        with pytest.raises(Refusal):
            reading.read(entry["qr"], Trace())
        done += 1
    count("PixelPass", done)
