"""The enrolment office of the demo: it asks the gate's identity services over its real port, as a site's would.

Mutual TLS with a certificate of the site's authority, and an access token of the site's issuer that is bound to it.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
import uuid
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from edge.demo.broker import Authority
from edge.errors import DeviceError
from edge.iavs import jose
from edge.iavs.catalogue import catalogue
from edge.settings import Iavs

GALLERY = "staff"
_AUDIENCE, _KID = "demo-gate", "office-1"
_HOST = "127.0.0.1"
_READY_S = 60.0
_TOKEN_S = 3600


class Office:
    """Enrols people and deletes them."""

    def __init__(self, folder: Path, authority: Authority, credentials: Path, port: int) -> None:
        folder.mkdir(mode=0o700)
        self._port = port
        self._authority = authority
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._client = authority.issue("office")
        server = authority.issue("gate-services", server=True)
        (credentials / "iavs-tls-key").write_bytes(server.key.read_bytes())
        issuers = folder / "issuers.json"
        issuers.write_text(json.dumps({"keys": [jose.jwk(self._key.public_key(), _KID)]}), encoding="utf-8")
        self.settings = Iavs(
            enabled=True,
            host=_HOST,
            port=port,
            certificate=server.certificate,
            ca=authority.certificate,
            issuers=issuers,
            audience=_AUDIENCE,
            galleries=(GALLERY,),
            keep_pictures=False,
            at_gate=(GALLERY,),
            lanes=(GALLERY,),
        )

    def enrol(self, subject: str, picture: bytes, claim: str) -> None:
        """Make a subject with this face, known in the gallery by this claim.

        Raises:
            DeviceError: the services do not.
        """
        record = {"bdbInfo": {"type": ["Face"]}, "birInfo": {"integrity": False}, "bdb": _base64(picture)}
        bir = {"formatOwner": 257, "formatType": 11, "bir": {"json": record}}
        self._ask("POST", "createSubject", subjectID=subject)
        self._ask("PUT", "setBiometricData", subjectID=subject, bir=bir)
        self._ask("POST", "addSubjectToGallery", subjectID=subject, galleryID=GALLERY, identityClaim=claim)

    def delete(self, subject: str) -> None:
        """Erase a subject.

        Raises:
            DeviceError: the services do not.
        """
        self._ask("DELETE", "deleteSubject", subjectID=subject)

    def await_ready(self) -> None:
        """Wait until the services answer.

        Raises:
            DeviceError: they do not, in time.
        """
        end = time.monotonic() + _READY_S
        while True:
            try:
                return self._ask("GET", "queryCapabilities")
            except DeviceError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def _ask(self, method: str, service: str, **inputs: Any) -> None:
        context = ssl.create_default_context(cafile=str(self._authority.certificate))
        context.load_cert_chain(self._client.certificate, self._client.key)
        connection = http.client.HTTPSConnection(_HOST, self._port, context=context, timeout=10)
        headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
        try:
            connection.request(method, f"/{service}", json.dumps(inputs) if inputs else None, headers)
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise DeviceError("iavs", f"{service}: {type(error).__name__}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise DeviceError("iavs", f"{service}: {answer.status} {json.loads(said).get('code')}")

    def _token(self) -> str:
        certificate = x509.load_pem_x509_certificate(self._client.certificate.read_bytes())
        now = int(time.time())
        claims = {
            "iss": "demo-office",
            "aud": _AUDIENCE,
            "sub": "office",
            "client_id": "office",
            "iat": now,
            "exp": now + _TOKEN_S,
            "jti": str(uuid.uuid4()),
            "scope": " ".join(catalogue().scopes()),
            "cnf": {"x5t#S256": jose.fold(certificate.fingerprint(hashes.SHA256()))},
        }
        return jose.sign(self._key, {"typ": "at+jwt", "kid": _KID}, json.dumps(claims).encode())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
