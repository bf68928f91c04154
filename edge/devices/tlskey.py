"""A TLS client key that stays in a token: the request for its certificate, and the file that OpenSSL takes for the key.

Rules:

1. The key is another one than the log's: whoever holds the network process may use it, and with it nothing but TLS.
2. The token signs the request in a process of its own (``tokenkey.py``); in edge-sync, OpenSSL's PKCS#11 provider is
   the only one that loads the library.
3. The file holds the place of the key and no secret. The PIN comes to the provider as a systemd credential.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from asn1crypto import core, csr, keys
from asn1crypto.x509 import Name
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from edge.devices.tokenkey import DeskKey, place_of

_LABEL: Final = "PKCS#11 PROVIDER URI"


class _ProviderUri(core.Sequence):  # type: ignore[misc]  # the library has no types
    """What the provider's decoder looks for."""

    _fields: Final = [("description", core.VisibleString), ("uri", core.UTF8String)]


def key_file(uri: str) -> bytes:
    """The file that stands for the private key, PEM.

    Raises:
        DeviceError: not a place, or one with a PIN in it.
    """
    place_of(uri)
    bare = uri.partition("?")[0]  # the library is named in OpenSSL's configuration
    der = _ProviderUri({"description": "PKCS#11 Provider URI v1.0", "uri": bare}).dump()
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN {_LABEL}-----\n{lines}\n-----END {_LABEL}-----\n".encode()


def request(key: DeskKey, name: str) -> bytes:
    """A certificate request for this key, PEM, signed by the token.

    The curve is named in it: OpenSSL through the provider writes its parameters out, and then verification fails.

    Raises:
        DeviceError: the token does not sign.
    """
    wanted = csr.CertificationRequestInfo(
        {
            "version": "v1",
            "subject": Name.build({"common_name": name}),
            "subject_pk_info": keys.PublicKeyInfo.load(key.public),
            "attributes": csr.CRIAttributes([]),
        }
    )
    raw = key.sign(wanted.dump())
    signed: Any = csr.CertificationRequest(
        {
            "certification_request_info": wanted,
            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
            "signature": encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")),
        }
    )
    return x509.load_der_x509_csr(signed.dump()).public_bytes(Encoding.PEM)
