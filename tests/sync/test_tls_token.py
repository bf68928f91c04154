"""The client key of edge-sync in a token: OpenSSL's PKCS#11 provider, SoftHSM and a real broker."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from edge.devices.tlskey import key_file
from edge.errors import DeviceError

ROOT = Path(__file__).resolve().parents[2]
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
GATE, PIN = "demo/lobby/gate-8", "13579246"
CONNECT = """\
import sys
from pathlib import Path
from edge.sync.connection import Connection, Link, Message
host, port, ca, certificate, key, name = sys.argv[1:]
connection = Connection(Link(host, int(port), Path(ca), Path(certificate), Path(key)), name)
connection.open()
for topic in ("gates/v1/demo/lobby/gate-8/evt", "gates/v1/demo/lobby/gate-1/evt"):
    connection.publish(Message(topic, b"x"))
    while connection.in_flight:
        connection.turn(0.1)
    print(connection.refused or "taken")
connection.close()
"""


def provider() -> Path:
    """Where OpenSSL keeps the provider, or skip."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    told = subprocess.run(["openssl", "version", "-m"], capture_output=True, text=True, check=True).stdout
    found = Path(re.findall(r'"(.*)"', told)[0]) / "pkcs11.so"
    if not found.exists():
        pytest.skip("pkcs11-provider is not installed (Debian 13, or Debian 12 with backports)")
    return found


class Machine:
    """A gate's machine with a token, and OpenSSL set up for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tokens").mkdir()
        softhsm = folder / "softhsm2.conf"
        softhsm.write_text(
            f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        (folder / "tls-pin").write_text(PIN)
        openssl = folder / "openssl.cnf"
        openssl.write_text(
            "openssl_conf = init\n[init]\nproviders = used\n[used]\ndefault = usual\npkcs11 = token\n"
            f"[usual]\nactivate = 1\n[token]\nmodule = {provider()}\npkcs11-module-path = {MODULE}\n"
            f"pkcs11-module-token-pin = file:{folder / 'tls-pin'}\npkcs11-module-quirks = no-deinit\nactivate = 1\n"
        )
        self.environment = {
            "PYTHONPATH": str(ROOT),
            "PATH": "/usr/bin:/bin",
            "SOFTHSM2_CONF": str(softhsm),
            "OPENSSL_CONF": str(openssl),
            "CREDENTIALS_DIRECTORY": str(folder),
        }
        command = ["softhsm2-util", "--init-token", "--free", "--label", "tls", "--so-pin", "11112222", "--pin", PIN]
        plain = {name: value for name, value in self.environment.items() if name != "OPENSSL_CONF"}
        subprocess.run(command, env=plain, check=True, capture_output=True)  # SoftHSM is made of OpenSSL itself

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False
        )

    def ask(self, key_id: str, out: str) -> x509.CertificateSigningRequest:
        """``edge tlskey`` as the technician types it."""
        words = ["-m", "edge", "tlskey", f"pkcs11:token=tls;id={key_id};type=private?module-path={MODULE}"]
        ran = self.run(*words, "--name", GATE, "--request", "client.csr", "--out", out)
        assert ran.returncode == 0, ran.stderr
        return x509.load_pem_x509_csr((self.folder / "client.csr").read_bytes())

    def connect(self, broker: Any, certificate: Path, key: str) -> subprocess.CompletedProcess[str]:
        words = [broker.host, str(broker.port), str(broker.ca), str(certificate), key, GATE]
        return self.run("-c", CONNECT, *words)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    if not MODULE.exists():
        pytest.fail("softhsm2 is not installed; scripts/setup installs it")
    return Machine(tmp_path)


def certified(broker: Any, asked: x509.CertificateSigningRequest, path: Path) -> Path:
    """The site's authority answers a request."""
    now, authority = datetime.now(UTC), broker.authority
    (issuer,) = x509.load_pem_x509_certificates(authority.certificate.read_bytes())
    builder = x509.CertificateBuilder().subject_name(asked.subject).issuer_name(issuer.subject)
    builder = builder.public_key(asked.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))
    path.write_bytes(builder.sign(authority._key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return path


def test_edge_sync_connects_with_a_key_that_never_leaves_the_token(machine: Machine, shared_broker: Any) -> None:
    asked = machine.ask("%21", "client-key.pem")
    assert asked.is_signature_valid
    certificate = certified(shared_broker, asked, machine.folder / "client.pem")
    ran = machine.connect(shared_broker, certificate, "client-key.pem")
    assert ran.returncode == 0, ran.stderr
    own, foreign = ran.stdout.splitlines()
    assert own in ("taken", "No matching subscribers")
    assert "Not authorized" in foreign
    text = (machine.folder / "client-key.pem").read_text()
    assert text.startswith("-----BEGIN PKCS#11 PROVIDER URI-----")
    assert PIN not in text


def test_another_key_of_the_token_does_not_fit_the_certificate(machine: Machine, shared_broker: Any) -> None:
    certificate = certified(shared_broker, machine.ask("%21", "client-key.pem"), machine.folder / "client.pem")
    machine.ask("%22", "other-key.pem")
    ran = machine.connect(shared_broker, certificate, "other-key.pem")
    assert ran.returncode != 0
    assert "certificate or key cannot be used" in ran.stderr


def test_without_the_token_there_is_no_connection_and_it_is_said(machine: Machine, shared_broker: Any) -> None:
    certificate = certified(shared_broker, machine.ask("%21", "client-key.pem"), machine.folder / "client.pem")
    (machine.folder / "tokens").rename(machine.folder / "drawer")
    (machine.folder / "tokens").mkdir()
    ran = machine.connect(shared_broker, certificate, "client-key.pem")
    assert ran.returncode != 0
    assert "certificate or key cannot be used" in ran.stderr


def test_a_pin_never_comes_into_the_file() -> None:
    with pytest.raises(DeviceError, match="a PIN does not belong"):
        key_file("pkcs11:token=tls;id=%21?module-path=/x&pin-value=1234")
