"""What a person does with the token once: look at it, and take a certificate of its key to the registry.

The certificate is signed by the token itself, over a structure built here, on request of somebody who knows the PIN.
The service never does this; it signs checkpoints only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pkcs11
from asn1crypto.algos import SignedDigestAlgorithm
from asn1crypto.x509 import Certificate, TbsCertificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import NameOID
from pkcs11.exceptions import PKCS11Error

from edge.audit.checkpoint import key_id
from edge.devices.token import TokenPlace, find, load, point_of, reinitialise, said
from edge.errors import DeviceError

_YEARS = 20


@dataclass(frozen=True)
class TokenStatus:
    """What a token says of itself.

    Attributes:
        label: of the token.
        serial: of the token.
        model: of the token.
        pin: ``good``, or how near to locked.
        kid: id of the key in checkpoints, empty when there is no key.
        point: its public key.
    """

    label: str
    serial: str
    model: str
    pin: str
    kid: str
    point: bytes


def status(place: TokenPlace) -> TokenStatus:
    """Look at the token without its PIN.

    Raises:
        DeviceError: it is not there.
    """
    try:
        token = find(load(place.module), place)
        flags = pkcs11.TokenFlag
        pin = "good"
        for flag, word in (
            (flags.USER_PIN_COUNT_LOW, "a wrong PIN was given"),
            (flags.USER_PIN_FINAL_TRY, "one try left"),
            (flags.USER_PIN_LOCKED, "locked"),
        ):
            pin = word if token.flags & flag else pin
        with token.open() as session:
            wanted = {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY,
                pkcs11.Attribute.ID: bytes.fromhex(place.key_id),
            }
            keys = list(session.get_objects(wanted))
            point = point_of(bytes(keys[0][pkcs11.Attribute.EC_POINT])) if keys else b""
        kid = key_id(point).hex() if point else ""
        return TokenStatus(str(token.label), _text(token.serial), str(token.model).strip(), pin, kid, point)
    except PKCS11Error as error:
        raise DeviceError("token", said(error, place.label)) from error
    finally:
        reinitialise(place.module)


def certificate(place: TokenPlace, pin: str, origin: str, at: datetime | None = None) -> bytes:
    """A self-signed certificate of the gate's key, PEM: shows that whoever enrolls it holds the token.

    Raises:
        DeviceError: no such token or key, or a wrong PIN.
    """
    try:
        with find(load(place.module), place).open(user_pin=pin) as session:
            key_id_bytes = bytes.fromhex(place.key_id)
            by_class = {}
            for kind in (pkcs11.ObjectClass.PUBLIC_KEY, pkcs11.ObjectClass.PRIVATE_KEY):
                found = list(session.get_objects({pkcs11.Attribute.CLASS: kind, pkcs11.Attribute.ID: key_id_bytes}))
                if len(found) != 1:
                    raise DeviceError("token", f"{place.label!r} does not hold the key")
                by_class[kind] = found[0]
            point = point_of(bytes(by_class[pkcs11.ObjectClass.PUBLIC_KEY][pkcs11.Attribute.EC_POINT]))
            signed = _to_be_signed(point, origin, at or datetime.now(UTC))
            digest = hashlib.sha256(signed).digest()
            private = by_class[pkcs11.ObjectClass.PRIVATE_KEY]
            raw = bytes(private.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
    except PKCS11Error as error:
        raise DeviceError("token", said(error, place.label)) from error
    finally:
        reinitialise(place.module)
    return _assembled(signed, raw)


def _to_be_signed(point: bytes, origin: str, at: datetime) -> bytes:
    """The part of a certificate that is signed; the builder wants a key of its own, whose signature is thrown away."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, origin[:64])])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))
        .serial_number(int.from_bytes(hashlib.sha256(point).digest()[:16]))
        .not_valid_before(at)
        .not_valid_after(at + timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(origin)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    return built.tbs_certificate_bytes


def _assembled(signed: bytes, raw: bytes) -> bytes:
    """The certificate around the token's signature, as PEM."""
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    whole = Certificate(
        {
            "tbs_certificate": TbsCertificate.load(signed),
            "signature_algorithm": SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}),
            "signature_value": der,
        }
    )
    return x509.load_der_x509_certificate(whole.dump()).public_bytes(serialization.Encoding.PEM)


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace").strip() if isinstance(value, bytes) else value.strip()
