"""A real mosquitto for the demo and the tests, as a site would have: TLS 1.3, client certificates, topics by name.

Rules:

1. Nobody without a certificate of this site's authority gets in; the name in the certificate is user and client id, so
   that no client can take the session of another one.
2. A gate writes below its own name only; its name is ``<tenant>/<site>/<gate>``. It reads below it, and what other
   gates say to cosign each other's checkpoints: hashes and signatures.
3. The broker keeps nothing (no persistence): whatever must not be lost is in the gate's log until it is acknowledged.
4. It listens on the loopback only, on a port that was free, and keeps that port over a restart.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.demo.port import free_port
from edge.errors import DeviceError

HOST = "127.0.0.1"
COLLECTOR = "collector"
OPERATOR = "operator"
PUBLISHER = "publisher"
BRIDGE = "bridge"
HOME = "home-assistant"
_READY_S = 30.0
_TRIES = 5

COLLECTORS = (COLLECTOR, "collector-2")
_COLLECTS = """
user {}
topic read gates/v1/+/+/+/evt
topic read gates/v1/+/+/+/state
topic write gates/v1/+/+/+/ack
"""
_ACCESS = """\
pattern write gates/v1/%u/evt
pattern write gates/v1/%u/state
pattern write gates/v1/%u/cmd/res
pattern write gates/v1/%u/head
pattern write gates/v1/%u/wish
pattern write gates/v1/%u/cosign
pattern write gates/v1/%u/fork
pattern write gates/v1/%u/told
pattern read gates/v1/+/+/+/head
pattern read gates/v1/+/+/+/wish
pattern read gates/v1/+/+/+/cosign
pattern read gates/v1/+/+/+/fork
pattern read gates/v1/+/+/+/told
pattern read gates/v1/%u/ack
pattern read gates/v1/%u/cmd
pattern read trust/v1/#

user publisher
topic write trust/v1/#

user bridge
topic read gates/v1/+/+/+/state
topic write homeassistant/#

user home-assistant
topic read gates/v1/+/+/+/state
topic read homeassistant/#

user operator
topic read gates/v1/+/+/+/state
topic read gates/v1/+/+/+/cmd/res
topic write gates/v1/+/+/+/cmd
"""


_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Identity:
    """Who a client is to the broker."""

    certificate: Path
    key: Path


class Authority:
    """The site's own certificate authority, as PEM files in one folder."""

    def __init__(self, folder: Path, name: str = "edge demo authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self.certificate = folder / "ca.pem"
        authority = x509.BasicConstraints(ca=True, path_length=0)
        made = _unsigned(self._name, self._name, self._key.public_key(), -1, 365)
        made = made.add_extension(authority, critical=True).add_extension(_SIGNS, critical=True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        self.certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def issue(self, name: str, *, server: bool = False, days: int = 365) -> Identity:
        """Make a key and a certificate for ``name``; ``days`` below zero makes one that has expired already."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        from_day = -1 if days > 0 else days - 30
        made = _unsigned(_named(name), self._name, key.public_key(), from_day, days)
        made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = made.add_extension(issuer, critical=False)
        if server:
            hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]
            made = made.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        identity = Identity(self._folder / f"{_file(name)}.pem", self._folder / f"{_file(name)}.key")
        identity.certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        write_key(identity.key, key)
        return identity


class Broker:
    """One mosquitto. ``start`` makes it."""

    def __init__(self, folder: Path, gates: Iterable[str], authority: Authority) -> None:
        self.host = HOST
        self.port = 0
        self.authority = authority
        self.ca = authority.certificate
        names = (*COLLECTORS, OPERATOR, PUBLISHER, BRIDGE, HOME, *gates)
        self.identities = {name: authority.issue(name) for name in names}
        self.signing_key = folder / "collector-signing.key"
        self.collector_key = folder / "collector-signing.pem"
        signing = ec.generate_private_key(ec.SECP256R1())
        write_key(self.signing_key, signing)
        self.collector_key.write_bytes(
            signing.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        )
        self._folder = folder
        self._server = authority.issue("broker", server=True)
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id, for tests that pull it out by the roots."""
        if self._running is None:
            raise DeviceError("broker", "not running")
        return self._running.pid

    def start(self) -> None:
        """Start, on a free port the first time, and return when it answers.

        Raises:
            DeviceError: it does not start.
        """
        for _ in range(_TRIES):
            chosen = self.port or free_port()
            if self._started(chosen):
                self.port = chosen
                return
        raise DeviceError("broker", f"mosquitto does not start; see {self._folder / 'mosquitto.log'}")

    def stop(self) -> None:
        """Stop in an orderly way; harmless when it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Stop at once, as a power cut does."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop, and start on the same port."""
        self.stop()
        self.start()

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _started(self, port: int) -> bool:
        configuration = self._configure(port)
        # The kernel ends the broker when whoever started it is gone, however that happened.
        tied = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        with (self._folder / "mosquitto.out").open("ab") as out:
            self._running = subprocess.Popen(
                [*tied, _program(), "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline and self._running.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
                return self._running.poll() is None
            time.sleep(0.02)
        self.kill()
        return False

    def _configure(self, port: int) -> Path:
        access = self._folder / "mosquitto.acl"
        access.write_text(_ACCESS + "".join(map(_COLLECTS.format, COLLECTORS)), encoding="utf-8")
        access.chmod(0o600)
        lines = [
            "per_listener_settings false",
            "allow_anonymous false",
            "persistence false",
            f"acl_file {access}",
            f"log_dest file {self._folder / 'mosquitto.log'}",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "max_packet_size 262144",
            "max_queued_messages 1000",
            "set_tcp_nodelay true",
            f"listener {port} {HOST}",
            f"cafile {self.ca}",
            f"certfile {self._server.certificate}",
            f"keyfile {self._server.key}",
            "tls_version tlsv1.3",
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
        ]
        if os.geteuid() == 0:
            lines.insert(0, "user root")  # else it changes to a user who may not read this folder
        path = self._folder / "mosquitto.conf"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def _end(self, how: signal.Signals) -> None:
        if self._running is None:
            return
        self._running.send_signal(how)
        try:
            self._running.wait(5)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()
        self._running = None


def start(folder: Path, gates: Iterable[str] = ("demo/lobby/gate-1",)) -> Broker:
    """Set up an authority, certificates and a broker below ``folder``, and start it.

    Args:
        folder: for certificates, keys, configuration and log of the broker.
        gates: names ``<tenant>/<site>/<gate>`` that get a certificate.

    Raises:
        DeviceError: mosquitto is missing or does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    broker = Broker(folder, gates, Authority(folder))
    broker.start()
    return broker


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a private key that only its owner may read."""
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _unsigned(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    from_day: int,
    to_day: int,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=from_day))
        .not_valid_after(now + datetime.timedelta(days=to_day))
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _file(name: str) -> str:
    return name.replace("/", "_")


def _program() -> str:
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise DeviceError("broker", "mosquitto is not installed; scripts/setup installs it")
    return found
