"""Makes this machine a gate of a site: keys of its own, a request, and the site's signed answer put in its place.

Rules:

1. Private keys are made here and stay here. What the site sends in secret is encrypted to this machine.
2. An answer is verified whole, and the configuration in it is read as the processes will read it, before the first file
   is replaced. What was there before is kept beside it, for one step back.
3. Secrets go where the units look for them: encrypted for this machine by systemd where there is one, else into the
   credentials directory, readable by root alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.app.chosen import plan_of, policy_of
from edge.app.wiring import wired
from edge.devices import kept
from edge.errors import Reason, Refusal
from edge.settings import SettingsError, load
from edge.trust.keys import Key, pinned, public_from
from edge.trust.site import FILES, Answer, Request, fingerprint, opened, request_of
from edge.web import fitting as pages

STORE = Path("/etc/credstore.encrypted")
_LONGEST = 64


@dataclass(frozen=True)
class Places:
    """Where things go.

    Attributes:
        configuration: directory of ``edge.toml``.
        kept: what this machine keeps of its own provisioning; for root alone.
        store: where systemd finds encrypted credentials; None where there is no systemd.
        credentials: where secrets go without it.
    """

    configuration: Path
    kept: Path
    store: Path | None
    credentials: Path


def request(places: Places, origin: str, log_key: bytes) -> Request:
    """Make the keys of this machine, if it has none, and its request.

    Args:
        places: where things go.
        origin: ``urn:gate:TENANT:SITE:GATE``.
        log_key: public key of the token, PEM.

    Raises:
        Refusal: the origin is none.
    """
    places.kept.mkdir(parents=True, exist_ok=True, mode=0o700)
    network, box = places.kept / "network.key", places.kept / "box.key"
    if not network.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        kept.keep(network, _pem(made).decode(), private=True)
    if not box.exists():
        kept.keep(box, X25519PrivateKey.generate().private_bytes_raw().hex(), private=True)
    key = serialization.load_pem_private_key(network.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Refusal(Reason.BAD_CLAIM, f"{network.name} is no P-256 key")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name(origin))])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    asked = Request(
        origin, csr.public_bytes(serialization.Encoding.DER), log_key, _box(places).public_key().public_bytes_raw()
    )
    checked = request_of(asked.encoded)
    kept.keep(places.kept / "request", asked.encoded.hex(), private=True)
    return checked


def common_name(origin: str) -> str:
    """What the broker calls a gate: the topic that it may write to.

    Raises:
        Refusal: a certificate has no room for it; cut short it could be another gate's.
    """
    name = "/".join(origin.split(":")[2:])
    if len(name) > _LONGEST:
        raise Refusal(Reason.BAD_CLAIM, f"{name} is longer than the {_LONGEST} characters of a certificate's name")
    return name


def certificate(asked: Request, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, days: int) -> bytes:
    """A certificate for the network key of a request, PEM; made by the site's own authority.

    Raises:
        Refusal: the request is not signed by the key in it, or names another gate.
    """
    try:
        csr = x509.load_der_x509_csr(asked.csr)
        good = csr.is_signature_valid
    except (ValueError, InvalidSignature) as error:
        raise Refusal(Reason.UNREADABLE, "the certificate request cannot be read") from error
    names = [name.value for name in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if not good or names != [common_name(asked.origin)]:
        raise Refusal(Reason.BAD_SIGNATURE, "the certificate request is not that of this gate")
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(ca.subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(asked.origin)]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a gate's configuration below a folder, by their name in it; others are left alone."""
    found = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if FILES.fullmatch(name)}


def authority_of(places: Places, given: bytes | None, confirmed: str) -> Key:
    """The site's key: the one that was taken before, or the given one if somebody confirms its fingerprint.

    Args:
        places: where things go.
        given: public key, PEM; None when one was taken before.
        confirmed: the fingerprint as somebody read it from the site's own paper or screen.

    Raises:
        Refusal: none, another one than before, or another fingerprint.
    """
    known = places.kept / "authority.pem"
    if known.exists():
        key = pinned(public_from(known.read_text(encoding="ascii")))
        if given is not None and pinned(public_from(given.decode("ascii", "replace"))).thumbprint != key.thumbprint:
            raise Refusal(Reason.UNKNOWN_KEY, "this machine belongs to another authority")
        return key
    if given is None:
        raise Refusal(Reason.UNKNOWN_KEY, "whose answers are to be believed: --authority")
    try:
        key = pinned(public_from(given.decode("ascii", "replace")))
    except ValueError as error:
        raise Refusal(Reason.UNKNOWN_KEY, f"the authority's key: {error}") from error
    if _digits(confirmed) != _digits(fingerprint(key.thumbprint)):
        raise Refusal(Reason.UNKNOWN_KEY, "the fingerprint is not that of the authority's key")
    kept.keep(known, given.decode("ascii"), private=True)
    return key


def verified(places: Places, data: bytes, authority: Key) -> Answer:
    """An answer that is for this machine and newer than the one in force.

    Raises:
        Refusal: it is not; or this machine never asked.
    """
    try:
        asked = request_of(bytes.fromhex((places.kept / "request").read_text(encoding="ascii")))
        own = _box(places)
    except OSError as error:
        raise Refusal(Reason.BAD_CLAIM, "this machine made no request yet: edge provision request") from error
    return opened(data, authority, asked, own, version(places))


def version(places: Places) -> int:
    """Of the answer in force; 0 for none."""
    try:
        return int((places.kept / "version").read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0


def put(places: Places, answer: Answer) -> None:
    """Put a verified answer in its place.

    Raises:
        SettingsError: the configuration in it is not one; nothing was changed.
        OSError: it cannot be written; run it again.
    """
    before = places.kept / "before"
    with tempfile.TemporaryDirectory(dir=places.kept) as name:
        tried = Path(name)
        if places.configuration.is_dir():
            shutil.copytree(places.configuration, tried, dirs_exist_ok=True)
        _write(tried, answer.files)
        settings = load(tried / "edge.toml")
        if settings.site.origin != answer.origin:
            raise SettingsError(f"edge.toml is that of {settings.site.origin}, the answer for {answer.origin}")
        policy_of(settings)
        plan_of(settings)
        wired(settings)
        pages.fitting(settings.web)
    shutil.rmtree(before, ignore_errors=True)
    if places.configuration.is_dir():
        shutil.copytree(places.configuration, before)
    for secret, content in {**answer.secrets, "mqtt-key": (places.kept / "network.key").read_bytes()}.items():
        keep_secret(places, secret, content)
    _write(places.configuration, answer.files)
    kept.keep(places.kept / "version", str(answer.version), private=True)


def keep_secret(places: Places, name: str, content: bytes) -> None:
    """One secret, where its process finds it.

    Raises:
        OSError: it cannot be kept.
    """
    if places.store is None:
        places.credentials.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = places.credentials / f"{name}.new"
        new.unlink(missing_ok=True)
        with open(new, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(places.credentials / name)
        return
    places.store.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = ["systemd-creds", "encrypt", f"--name={name}", "-", str(places.store / f"edge-gate.{name}")]
    done = subprocess.run(command, input=content, capture_output=True, check=False, timeout=60)
    if done.returncode:
        raise OSError(done.returncode, f"systemd-creds: {done.stderr.decode(errors='replace').strip()[-200:]}")


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Each file whole, with the group of the folder, so that the processes can read it."""
    folder.mkdir(parents=True, exist_ok=True)
    group = folder.stat().st_gid
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # before the version that says it is there
        new.chmod(0o640)
        for each in (new, path.parent):
            os.chown(each, -1, group)
        new.replace(path)


def _box(places: Places) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(bytes.fromhex((places.kept / "box.key").read_text(encoding="ascii")))


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _digits(text: str) -> str:
    return "".join(text.split()).lower()
