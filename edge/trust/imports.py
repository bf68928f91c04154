"""Keys of issuers as others publish them, turned into entries of our trust list.

JWKS, PEM and DER keys and certificates, did:web documents, the list of the European certificate gateway, and VICAL
(ISO/IEC 18013-5 annex C). What is imported is checked like every other key when the list is written; what is not
understood is an error, because a key that is silently missing is found by a visitor.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from edge.errors import Refusal
from edge.trust import cose
from edge.trust.cbor import Tagged, decode
from edge.trust.keys import MALFORMED, from_jwk, from_material, pinned

Entry = dict[str, Any]
"""Members of an issuer's entry: ``keys``, ``roots``."""

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ED25519: Final = b"\xed\x01"
_P256: Final = b"\x80\x24"


def from_jwks(text: str) -> Entry:
    """A JWKS as MOSIP and others publish it at a well-known address.

    Raises:
        ValueError: not a JWKS, or a key in it proves nothing.
    """
    document = _json(text)
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list) or not members:
        raise ValueError("not a JWKS: no keys")
    keys = [_jwk(member) for member in members if not (isinstance(member, dict) and member.get("use") == "enc")]
    if not keys:
        raise ValueError("the JWKS has no key for signatures")
    return {"keys": keys}


def from_pem(text: str, kids: Sequence[str] = ()) -> Entry:
    """A public key or certificate in PEM.

    Raises:
        ValueError: it is neither.
    """
    from_material(text.strip())
    return {"keys": [{"public": text.strip(), "kids": list(kids)}]}


def from_roots(text: str) -> Entry:
    """Certificates that chains in credentials must lead to.

    Raises:
        ValueError: none, or one that proves nothing.
    """
    try:
        found = x509.load_pem_x509_certificates(text.encode())
        for one in found:
            pinned(one.public_key())
    except MALFORMED as error:
        raise ValueError(f"not root certificates: {error}") from error
    return {"roots": [one.public_bytes(Encoding.PEM).decode() for one in found]}


def from_did(text: str, more: Mapping[str, str] | None = None) -> tuple[str, Entry]:
    """A did:web document, or a controller document: its name, and the keys that it uses for assertions.

    Args:
        text: the document.
        more: documents of keys that it names but does not hold (``linked``), by their address.

    Raises:
        ValueError: not such a document, or no key in it that we know.
    """
    document = _controller(text)
    methods = _methods(document) | {address: _json(one) for address, one in (more or {}).items()}
    asserted = document.get("assertionMethod", list(methods))
    if not isinstance(asserted, list) or not asserted:
        raise ValueError("the document has no key for assertions")
    keys = [_method(methods.get(one) if isinstance(one, str) else one) for one in asserted]
    return document["id"], {"keys": keys}


def linked(text: str) -> list[str]:
    """Addresses of keys for assertions that a document names and does not hold, as MOSIP's controller.json does.

    Raises:
        ValueError: not such a document.
    """
    document = _controller(text)
    named, methods = document.get("assertionMethod", []), _methods(document)
    return [one for one in named if isinstance(one, str) and one not in methods and one.startswith("https://")]


def _controller(text: str) -> Entry:
    document = _json(text)
    if not isinstance(document, dict) or not str(document.get("id", "")).startswith(("did:", "https://")):
        raise ValueError("not a DID document or controller document")
    return document


def _methods(document: Entry) -> Entry:
    methods = document.get("verificationMethod", [])
    if not isinstance(methods, list) or not all(
        isinstance(one, dict) and isinstance(one.get("id"), str) for one in methods
    ):
        raise ValueError("a verification method has no name")
    return {method["id"]: method for method in methods}


def _method(method: Any) -> Entry:
    if not isinstance(method, Mapping) or not isinstance(method.get("id"), str):
        raise ValueError("a verification method is missing")  # noqa: TRY004 -- one kind of error for documents
    kids = [kid for kid in (method["id"], method["id"].partition("#")[2]) if kid]
    if "publicKeyJwk" in method:
        return {**_jwk(method["publicKeyJwk"]), "kids": kids}
    if isinstance(method.get("publicKeyPem"), str):
        return {"public": method["publicKeyPem"].strip(), "kids": kids}
    return {**_jwk(_multikey(str(method.get("publicKeyMultibase", "")), method["id"])), "kids": kids}


def _multikey(text: str, name: str) -> Entry:
    """A key in multibase: Ed25519, or P-256 as a compressed point."""
    raw = _base58(text[1:]) if text.startswith("z") and len(text) < 100 else b""
    if raw[:2] == _ED25519 and len(raw) == 34:
        return {"kty": "OKP", "crv": "Ed25519", "x": _base64url(raw[2:])}
    if raw[:2] == _P256 and len(raw) == 35:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw[2:]).public_numbers()
        x, y = (_base64url(number.to_bytes(32, "big")) for number in (point.x, point.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    raise ValueError(f"the key {name[:200]} is of a kind that is not known")


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_gateway(text: str) -> dict[str, Entry]:
    """The list of the European certificate gateway: an entry for each country.

    Raises:
        ValueError: not such a list.
    """
    document = _json(text)
    items = document.get("certificates", []) if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise ValueError("not a list of certificates")  # noqa: TRY004 -- as above
    found: dict[str, Entry] = {}
    for item in items:
        match item:
            case {"certificateType": str() as kind} if kind != "DSC":
                continue
            case {"rawData": str() as coded, "country": str() as country}:
                raw = base64.b64decode(coded, validate=True)
            case _:
                raise ValueError("a certificate of the list has no rawData or no country")
        if not (country.isascii() and country.isalpha() and len(country) <= 3):
            raise ValueError("a country of the list is none")
        if not isinstance(item.get("kid", ""), str):
            raise ValueError("the name of a key is not text")  # noqa: TRY004 -- as above
        kid = item.get("kid") or base64.b64encode(hashlib.sha256(raw).digest()[:8]).decode()
        public = base64.b64encode(raw).decode()
        from_material(public)
        found.setdefault(country, {"keys": []})["keys"].append({"public": public, "kids": [kid]})
    if not found:
        raise ValueError("no signer certificates in the list")
    return found


def from_vical(data: bytes, provider: x509.Certificate) -> Entry:
    """A VICAL: the roots in it, when the provider signed it.

    Raises:
        ValueError: it is not one, or somebody else signed it.
    """
    try:
        message = cose.message(cose.unwrap(data))
        key = pinned(provider.public_key())
        if not message.verifies(message.signatures[0], key):
            raise ValueError("the VICAL is not signed by this provider")
        document = decode(message.payload, depth=12, items=1 << 16)
    except Refusal as refusal:
        raise ValueError(f"not a VICAL: {refusal.detail}") from refusal
    infos = document.get("certificateInfos") if isinstance(document, dict) else None
    if not isinstance(infos, list) or not infos:
        raise ValueError("the VICAL names no certificates")
    return {"roots": [_root(info) for info in infos]}


def _root(info: Any) -> str:
    raw = info.get("certificate") if isinstance(info, dict) else None
    raw = raw.value if isinstance(raw, Tagged) else raw
    if not isinstance(raw, bytes):
        raise ValueError("a certificate of the VICAL is missing")  # noqa: TRY004 -- as above
    try:
        return x509.load_der_x509_certificate(raw).public_bytes(Encoding.PEM).decode()
    except MALFORMED as error:
        raise ValueError(f"a certificate of the VICAL is none: {error}") from error


def _jwk(member: Any) -> Entry:
    if not isinstance(member, dict):
        raise ValueError("a key is not an object")  # noqa: TRY004 -- as above
    from_jwk(member)
    if not isinstance(member.get("kid", ""), str):
        raise ValueError("the name of a key is not text")  # noqa: TRY004 -- as above
    return {"jwk": member, "kids": [member["kid"]] if member.get("kid") else []}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error


def _base58(text: str) -> bytes:
    number = 0
    for letter in text:
        if letter not in _BASE58:
            raise binascii.Error("not base58")
        number = number * 58 + _BASE58.index(letter)
    return b"\0" * (len(text) - len(text.lstrip("1"))) + number.to_bytes((number.bit_length() + 7) // 8, "big")
