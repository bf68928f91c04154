"""A machine becomes a gate: its request, the site's answer, over a file and over codes; and who cannot answer."""

from __future__ import annotations

import dataclasses
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.app import provision
from edge.app.provision import Places
from edge.cli import main
from edge.credential.parts import Collected, parts
from edge.errors import Refusal
from edge.trust import cose, site
from edge.trust.keys import pinned

ROOT = Path(__file__).parents[2]
ORIGIN = "urn:gate:example:harbour:north-1"
SITE_KEY = b"0123456789abcdef0123456789abcdef"
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The site's desk: authority, broker's authority, configuration of the gate, a secret that its gates share."""
    desk = tmp_path / "desk"
    (desk / "files" / "profiles").mkdir(parents=True)
    text = (ROOT / "config" / "edge.toml").read_text(encoding="utf-8")
    for key, value in (("tenant", "example"), ("site", "harbour"), ("gate", "north-1")):
        was = next(line for line in text.splitlines() if line.startswith(f"{key} = "))
        text = text.replace(was, f'{key} = "{value}"', 1)
    (desk / "files" / "edge.toml").write_text(text, encoding="utf-8")
    for profile in (ROOT / "config" / "profiles").glob("*.toml"):
        (desk / "files" / "profiles" / profile.name).write_bytes(profile.read_bytes())
    (desk / "files" / "notes.txt").write_text("not for the gate", encoding="utf-8")
    authority, ca = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    (desk / "authority.key").write_bytes(pem(authority))
    (desk / "authority.pem").write_bytes(public(authority))
    (desk / "ca.key").write_bytes(pem(ca))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "harbour")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(ca.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=3650))
        .sign(ca, hashes.SHA256())
    )
    (desk / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (desk / "site-key").write_bytes(SITE_KEY)
    return desk


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A machine with a token and nothing else."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "token.pem").write_bytes(public(ec.generate_private_key(ec.SECP256R1())))
    return tmp_path / "etc"


def on_the_gate(gate: Path, *arguments: str) -> int:
    common = ["--config", str(gate / "edge.toml"), "--kept", str(gate.parent / "kept"), "--plain-secrets"]
    return main(["provision", *arguments, *common])


def at_the_desk(desk: Path, request: Path, *more: str) -> int:
    files = ["--files", str(desk / "files"), "--secret", f"site-key={desk / 'site-key'}"]
    keys = ["--authority", str(desk / "authority.key"), "--ca", str(desk / "ca.pem"), "--ca-key", str(desk / "ca.key")]
    return main(["provision", "answer", str(request), *keys, *files, "--out", str(desk / "answer"), *more])


def told(desk: Path) -> list[str]:
    """The authority as the technician is given it."""
    key = pinned(serialization.load_pem_public_key((desk / "authority.pem").read_bytes()))
    return ["--authority", str(desk / "authority.pem"), "--fingerprint", site.fingerprint(key.thumbprint)]


def test_a_machine_becomes_a_gate_of_its_site(gate: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = desk / "request"
    assert on_the_gate(gate, "request", "--origin", ORIGIN, "--out", str(request)) == 0
    shown = capsys.readouterr().out.split("fingerprint ")[1].split(":")[0]
    assert at_the_desk(desk, request) == 0
    assert f"fingerprint {shown}" in capsys.readouterr().out
    assert on_the_gate(gate, "apply", str(desk / "answer"), *told(desk)) == 0
    assert (gate / "credentials" / "site-key").read_bytes() == SITE_KEY
    assert not (gate / "notes.txt").exists()
    certificate = x509.load_pem_x509_certificate((gate / "mqtt" / "gate.pem").read_bytes())
    key = serialization.load_pem_private_key((gate / "credentials" / "mqtt-key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert certificate.public_key() == key.public_key()
    names = [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    assert names == ["example/harbour/north-1"]
    for path in (gate / "credentials").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_put_where_a_read_only_system_forgets_it(
    gate: Path, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The state partition would remember the answer's version, and the same answer would be refused after a restart."""
    on_the_gate(gate, "request", "--origin", ORIGIN, "--out", str(desk / "request"))
    at_the_desk(desk, desk / "request")
    (gate / "cmdline").write_text("console=tty1 overlayroot=tmpfs:recurse=0 rootwait\n")
    monkeypatch.setenv("EDGE_CMDLINE", str(gate / "cmdline"))
    for words in (("apply", str(desk / "answer"), *told(desk)), ("secret", "pkcs11-pin", "--make")):
        assert on_the_gate(gate, *words) == 1
        assert "scripts/install --writable" in capsys.readouterr().err
    assert not (gate / "credentials").exists() and not (gate.parent / "kept" / "version").exists()
    monkeypatch.delenv("EDGE_CMDLINE")
    assert on_the_gate(gate, "apply", str(desk / "answer"), *told(desk)) == 0


def test_nothing_secret_is_in_what_travels(gate: Path, desk: Path) -> None:
    on_the_gate(gate, "request", "--origin", ORIGIN, "--out", str(desk / "request"))
    at_the_desk(desk, desk / "request")
    kept = gate.parent / "kept"
    for travelling in ("request", "answer"):
        content = (desk / travelling).read_bytes()
        assert SITE_KEY not in content
        assert bytes.fromhex((kept / "box.key").read_text()) not in content
        assert b"PRIVATE" not in content


def test_an_answer_comes_in_codes_where_there_is_no_socket_for_a_stick(gate: Path, desk: Path) -> None:
    on_the_gate(gate, "request", "--origin", ORIGIN, "--out", str(desk / "request"))
    at_the_desk(desk, desk / "request")
    assert main(["provision", "codes", str(desk / "answer"), "--out", str(desk / "codes")]) == 0
    pictures = sorted(map(str, (desk / "codes").iterdir()), reverse=True)
    assert on_the_gate(gate, "apply", "--pictures", *pictures, *told(desk)) == 0
    assert (gate / "edge.toml").exists()


def test_an_older_answer_is_not_taken_again(gate: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on_the_gate(gate, "request", "--origin", ORIGIN, "--out", str(desk / "request"))
    at_the_desk(desk, desk / "request", "--version", "2")
    assert on_the_gate(gate, "apply", str(desk / "answer"), *told(desk)) == 0
    for version in ("2", "1"):
        at_the_desk(desk, desk / "request", "--version", version)
        capsys.readouterr()
        assert on_the_gate(gate, "apply", str(desk / "answer")) == 1
        assert "is in force" in capsys.readouterr().err
    at_the_desk(desk, desk / "request", "--version", "3")
    assert on_the_gate(gate, "apply", str(desk / "answer")) == 0


def test_an_answer_of_somebody_else_is_not_taken(gate: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on_the_gate(gate, "request", "--origin", ORIGIN, "--out", str(desk / "request"))
    authority = told(desk)
    stranger = ec.generate_private_key(ec.SECP256R1())
    (desk / "authority.key").write_bytes(pem(stranger))
    at_the_desk(desk, desk / "request")
    capsys.readouterr()
    assert on_the_gate(gate, "apply", str(desk / "answer"), *authority) == 1
    assert "not signed by who may" in capsys.readouterr().err
    (desk / "authority.pem").write_bytes(public(stranger))
    assert on_the_gate(gate, "apply", str(desk / "answer"), *told(desk)) == 1
    assert "another authority" in capsys.readouterr().err
    assert not (gate / "edge.toml").exists()


def test_an_authority_counts_only_when_somebody_confirms_its_fingerprint(gate: Path, desk: Path) -> None:
    on_the_gate(gate, "request", "--origin", ORIGIN, "--out", str(desk / "request"))
    at_the_desk(desk, desk / "request")
    authority = ["--authority", str(desk / "authority.pem")]
    assert on_the_gate(gate, "apply", str(desk / "answer")) == 1
    assert on_the_gate(gate, "apply", str(desk / "answer"), *authority) == 1
    assert on_the_gate(gate, "apply", str(desk / "answer"), *authority, "--fingerprint", "0000 0000") == 1
    assert not (gate / "edge.toml").exists()


def test_a_configuration_that_is_none_changes_nothing(gate: Path, desk: Path) -> None:
    on_the_gate(gate, "request", "--origin", ORIGIN, "--out", str(desk / "request"))
    at_the_desk(desk, desk / "request", "--version", "1")
    assert on_the_gate(gate, "apply", str(desk / "answer"), *told(desk)) == 0
    before = {path: path.read_bytes() for path in gate.rglob("*") if path.is_file()}
    text = (desk / "files" / "edge.toml").read_text(encoding="utf-8")
    profile, pins = text.replace('profile = "', 'profile = "no-'), text.replace("lock_pin = 17", "lock_pin = 5")
    for wrong in (profile, pins, text.replace("north-1", "north-2"), "[site"):
        (desk / "files" / "edge.toml").write_text(wrong, encoding="utf-8")
        assert at_the_desk(desk, desk / "request", "--version", "2") == 0
        assert on_the_gate(gate, "apply", str(desk / "answer")) == 1
        assert {path: path.read_bytes() for path in gate.rglob("*") if path.is_file()} == before


def test_a_secret_is_for_one_machine(gate: Path, desk: Path, tmp_path: Path) -> None:
    on_the_gate(gate, "request", "--origin", ORIGIN, "--out", str(desk / "request"))
    at_the_desk(desk, desk / "request")
    other = Places(tmp_path / "other", tmp_path / "kept-2", None, tmp_path / "credentials-2")
    asked = provision.request(other, ORIGIN, (gate / "token.pem").read_bytes())
    key = pinned(serialization.load_pem_public_key((desk / "authority.pem").read_bytes()))
    with pytest.raises(Refusal):
        provision.verified(other, (desk / "answer").read_bytes(), key)
    mine = provision.request(Places(gate, tmp_path / "kept", None, gate), ORIGIN, (gate / "token.pem").read_bytes())
    stolen = dataclasses.replace(mine, box=asked.box)
    assert stolen.digest != mine.digest


def test_a_secret_of_the_gate_s_own_is_kept_for_its_process(gate: Path, tmp_path: Path) -> None:
    (tmp_path / "pin").write_text("2468", encoding="ascii")
    assert on_the_gate(gate, "secret", "pkcs11-pin", "--file", str(tmp_path / "pin")) == 0
    assert (gate / "credentials" / "pkcs11-pin").read_text(encoding="ascii") == "2468"
    assert on_the_gate(gate, "secret", "site-key", "--make") == 0
    assert len((gate / "credentials" / "site-key").read_bytes()) == 32
    (tmp_path / "pin").write_text("\n", encoding="ascii")
    assert on_the_gate(gate, "secret", "pkcs11-pin", "--file", str(tmp_path / "pin")) == 1


@pytest.mark.parametrize("name", ["../etc/passwd", "profiles/../../x.toml", "/etc/shadow", "edge.toml/x", "run.sh"])
def test_only_files_of_a_configuration_are_in_an_answer(gate: Path, tmp_path: Path, name: str) -> None:
    places = Places(gate, tmp_path / "kept", None, gate / "credentials")
    asked = provision.request(places, ORIGIN, (gate / "token.pem").read_bytes())
    by = cose.signer(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(ValueError, match="no file"):
        site.answer(asked, 1, {name: b""}, {}, (NOW, NOW + timedelta(days=1)), by)


def test_a_request_that_was_changed_is_noticed_at_the_desk(gate: Path, desk: Path) -> None:
    on_the_gate(gate, "request", "--origin", ORIGIN, "--out", str(desk / "request"))
    asked = site.request_of((desk / "request").read_bytes())
    renamed = dataclasses.replace(asked, origin="urn:gate:example:harbour:north-2")
    (desk / "request").write_bytes(renamed.encoded)
    assert at_the_desk(desk, desk / "request") == 1
    assert renamed.fingerprint != asked.fingerprint


def test_parts_of_two_files_are_never_put_together_and_a_stray_one_costs_nothing() -> None:
    import random

    first, second = random.Random(1).randbytes(5_000), random.Random(2).randbytes(5_000)
    stray, wanted = parts(first), parts(second)
    assert len(stray) == len(wanted) > 3
    collected = Collected(1 << 20)
    for text in (stray[0], *wanted[:2], stray[1], *wanted[2:-1]):
        assert collected.add(text) is None
    assert collected.missing == (len(wanted),)
    assert collected.add(wanted[-1]) == second


def test_stray_codes_push_no_file_away_that_is_nearly_complete() -> None:
    import random

    content = random.Random(4).randbytes(9_000)
    texts = parts(content)
    collected = Collected(1 << 20)
    for text in texts[:-1]:
        collected.add(text)
    for number in range(9):
        collected.add(parts(random.Random(number).randbytes(3_000))[0])
    assert collected.add(texts[-1]) == content


def test_a_forged_part_is_forgotten_with_its_file() -> None:
    import random

    content = random.Random(3).randbytes(5_000)
    texts = parts(content)
    forged = ":".join((*texts[0].split(":", 3)[:3], texts[1].split(":", 3)[3]))
    collected = Collected(1 << 20)
    collected.add(forged)
    for text in texts[1:-1]:
        collected.add(text)
    with pytest.raises(Refusal):
        collected.add(texts[-1])
    assert [collected.add(text) for text in texts][-1] == content


def test_parts_come_in_any_order_and_more_than_once() -> None:
    import random

    content = random.Random(1).randbytes(9_000)
    texts = list(parts(content))
    assert len(texts) > 5
    random.Random(2).shuffle(texts)
    collected = Collected(1 << 20)
    for text in texts[:-1] * 2:
        assert collected.add(text) is None
    assert collected.add(texts[-1]) == content


@pytest.mark.parametrize("text", ["", "EDGESITE1:", "EDGESITE1:0000000000000000:2/1:AB", "EDGESITE1:00:1/1:BB8"])
def test_a_code_that_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(Refusal):
        Collected(1000).add(text)


def test_a_bomb_in_parts_is_refused() -> None:
    [text] = parts(bytes(1 << 20))
    with pytest.raises(Refusal):
        Collected(1 << 16).add(text)


def test_two_gates_never_share_a_name_at_the_broker(gate: Path, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A certificate's name has 64 characters at most; cut short it would be that of a neighbour too."""
    long = f"urn:gate:{'t' * 30}:{'s' * 30}:north-1"
    assert on_the_gate(gate, "request", "--origin", long, "--out", str(desk / "request")) == 1
    assert "64" in capsys.readouterr().err
    assert not (desk / "request").exists()
    assert (
        on_the_gate(gate, "request", "--origin", long.replace("t" * 30, "t" * 25), "--out", str(desk / "request")) == 0
    )
