"""``edge credential issue``: what it makes is verified, and its measures are true."""

from __future__ import annotations

import argparse
import json
import os
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import pytest
import zxingcpp
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_public_key

from edge.biometric.values import Picture, Template
from edge.cli import credential
from edge.cli.credential import code_text, open_trust
from edge.credential import verify
from edge.credential.issue import DIALECTS
from edge.devices.provisioning import initialise, provision
from edge.devices.token import TokenPlace, reinitialise, to_pem
from edge.errors import Reason, Refusal
from edge.trust.encryption import ContentKey
from edge.trust.interval import Interval
from edge.trust.keys import jwk, pinned

ROOT = Path(__file__).parents[2]
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
NOW = datetime.now(UTC)


def edge(*arguments: object) -> int:
    top = argparse.ArgumentParser()
    credential.add(top.add_subparsers(required=True))
    chosen = top.parse_args([str(argument) for argument in arguments])
    status: int = chosen.act(chosen)
    return status


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    path = tmp_path / "claims.json"
    content = {
        "iss": "https://id.example",
        "exp": int((NOW + timedelta(days=9)).timestamp()),
        "id": "7",
        "full_name": "Ada",
    }
    path.write_text(json.dumps(content))
    return path


def trusting(tmp_path: Path, public: Any, name: str | None = None, **profile: Any) -> Path:
    path = tmp_path / "trust.json"
    keys = [jwk(pinned(public, name), "key-1")]
    path.write_text(
        json.dumps({"issuers": [{"iss": "https://id.example", "jwks": {"keys": keys}, "profile": profile}]})
    )
    return path


def a_key(tmp_path: Path, private: Any) -> Path:
    path = tmp_path / "issuer.pem"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


Private = Callable[[], Any]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", ["Ed25519", "P-256", "P-384", "RSA"])
def test_what_is_issued_is_verified(
    tmp_path: Path, claims: Path, dialect: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    makers: dict[str, Private] = {
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
        "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "RSA": lambda: rsa.generate_private_key(65537, 2048),
    }
    private = makers[kind]()
    base = tmp_path / "card"
    assert (
        edge("credential", "issue", claims, "--key", a_key(tmp_path, private), "--dialect", dialect, "--out", base) == 0
    )
    report = json.loads(capsys.readouterr().out)
    text = (tmp_path / "card.txt").read_text()
    assert report["characters"] == len(text)
    assert report["modules"] == 17 + 4 * report["qr_version"]
    assert report["smallest_mm"] == pytest.approx((report["modules"] + 8) * 0.33, abs=0.06)
    assert code_text(str(tmp_path / "card.png")) == text
    trust = open_trust(trusting(tmp_path, private.public_key()), [])
    assert verify(text, trust, Interval.exactly(NOW)).identity.full_name == "Ada"


def test_rs256_is_issued_by_name(tmp_path: Path, claims: Path) -> None:
    private = rsa.generate_private_key(65537, 2048)
    base = tmp_path / "card"
    key = a_key(tmp_path, private)
    assert edge("credential", "issue", claims, "--key", key, "--alg", "RS256", "--kid", "key-1", "--out", base) == 0
    trust = open_trust(trusting(tmp_path, private.public_key(), "RS256", allow=["RS256"]), [])
    assert verify((tmp_path / "card.txt").read_text(), trust, Interval.exactly(NOW)).alg == "RS256"


def test_a_card_is_encrypted(tmp_path: Path, claims: Path, capsys: pytest.CaptureFixture[str]) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    secret = secrets.token_bytes(32)
    (tmp_path / "content.key").write_text(secret.hex() + "\n")
    key, content = a_key(tmp_path, private), tmp_path / "content.key"
    assert edge("credential", "issue", claims, "--key", key, "--encrypt", content, "--out", tmp_path / "card") == 0
    text = (tmp_path / "card.txt").read_text()
    trusted = trusting(tmp_path, private.public_key())
    trust = open_trust(trusted, [])
    with pytest.raises(Refusal) as caught:
        verify(text, trust, Interval.exactly(NOW))
    assert caught.value.reason is Reason.CANNOT_DECRYPT
    assert verify(text, trust, Interval.exactly(NOW), content_keys=[ContentKey(secret, 3)]).dialect.startswith(
        "16 around 18"
    )
    capsys.readouterr()
    assert edge("credential", "verify", "--trust", trusted, "--decrypt", content, "--json", text) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "verified"
    assert edge("credential", "explain", "--decrypt", content, text) == 0


@pytest.fixture
def softhsm(tmp_path: Path) -> Iterator[bytes]:
    """A private SoftHSM with a key; its public point."""
    if not MODULE.exists():
        pytest.fail("softhsm2 is not installed; scripts/setup installs it")
    (tmp_path / "tokens").mkdir()
    config = tmp_path / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(config)
    reinitialise(MODULE)
    initialise(MODULE, "issuer", "135791", "246810")
    yield provision(TokenPlace(MODULE, "issuer", "", "0a"), "246810")
    os.environ.pop("SOFTHSM2_CONF")
    if before is not None:
        os.environ["SOFTHSM2_CONF"] = before


def test_a_token_signs_a_card(tmp_path: Path, claims: Path, softhsm: bytes) -> None:
    (tmp_path / "pin").write_text("246810\n")
    at = ("--module", MODULE, "--token", "issuer", "--pin-file", tmp_path / "pin")
    assert edge("credential", "issue", claims, *at, "--key-id", "0a", "--kid", "key-1", "--out", tmp_path / "card") == 0
    trust = open_trust(trusting(tmp_path, load_pem_public_key(to_pem(softhsm))), [])
    assert verify((tmp_path / "card.txt").read_text(), trust, Interval.exactly(NOW)).alg == "ES256"
    assert edge("credential", "issue", claims, *at, "--key-id", "0b", "--out", tmp_path / "other") == 1


@pytest.fixture
def portrait() -> Path:
    path = ROOT / "models" / "portraits" / "obama.jpg"
    if not path.exists() or not list((ROOT / "models").glob("*/*.onnx")):
        pytest.skip("no models or portraits here; scripts/setup fetches them")
    return path


def test_a_face_is_fitted_into_its_budget(
    tmp_path: Path, claims: Path, portrait: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    key, models = a_key(tmp_path, private), ROOT / "models"
    trust = open_trust(trusting(tmp_path, private.public_key()), [])
    common = (claims, "--key", key, "--face", portrait, "--models", models, "--out", tmp_path / "card")
    assert edge("credential", "issue", *common, "--budget", 800) == 0
    face = json.loads(capsys.readouterr().out)["face"]
    assert face["bytes"] <= 800
    assert face["score"] > 0.9
    reference = verify((tmp_path / "card.txt").read_text(), trust, Interval.exactly(NOW)).reference
    assert isinstance(reference, Picture)
    assert len(reference.data) == face["bytes"]
    assert edge("credential", "issue", *common, "--template") == 0
    reference = verify((tmp_path / "card.txt").read_text(), trust, Interval.exactly(NOW)).reference
    assert isinstance(reference, Template)
    assert reference.model == json.loads(capsys.readouterr().out)["face"]["template"]
    assert edge("credential", "issue", *common, "--budget", 60) == 1


def test_a_template_takes_as_many_bytes_as_asked_for_and_stands_beside_a_photo(
    tmp_path: Path, claims: Path, portrait: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not list((ROOT / "models" / "standard").glob("*.onnx")):
        pytest.skip("no standard set here")
    private = ed25519.Ed25519PrivateKey.generate()
    key, models = a_key(tmp_path, private), ROOT / "models"
    trust = open_trust(trusting(tmp_path, private.public_key()), [])
    common = (claims, "--key", key, "--face", portrait, "--models", models, "--set", "standard")
    versions = {}
    for name, chosen in {"32": ("--template", 32), "130": ("--template", 130), "photo": ("--budget", 800)}.items():
        assert edge("credential", "issue", *common, *chosen, "--out", tmp_path / name) == 0
        versions[name] = (json.loads(capsys.readouterr().out)["modules"] - 17) // 4
        reference = verify((tmp_path / f"{name}.txt").read_text(), trust, Interval.exactly(NOW)).reference
        assert reference is not None
        assert isinstance(reference, Picture | Template)
        assert isinstance(reference, Picture) if name == "photo" else len(reference.data) == int(name)
    assert versions["32"] <= versions["photo"] - 6, versions
    assert edge("credential", "issue", *common, "--template", 130, "--budget", 500, "--out", tmp_path / "both") == 0
    both = verify((tmp_path / "both.txt").read_text(), trust, Interval.exactly(NOW)).reference
    assert isinstance(both, Template)
    assert len(both.data) == 130
    assert both.picture is not None
    assert 300 < len(both.picture.data) <= 500


def test_wrong_usage_of_issue(tmp_path: Path, claims: Path) -> None:
    assert edge("credential", "issue", claims, "--out", tmp_path / "card") == 2
    assert edge("credential", "issue", claims, "--key", tmp_path / "absent.pem", "--out", tmp_path / "card") == 2
    key = a_key(tmp_path, ed25519.Ed25519PrivateKey.generate())
    claims.write_text('{"surname": "x"}')
    assert edge("credential", "issue", claims, "--key", key, "--out", tmp_path / "card") == 1
    assert not (tmp_path / "card.txt").exists()


def test_the_svg_has_its_size_in_millimetres(tmp_path: Path, claims: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = a_key(tmp_path, ed25519.Ed25519PrivateKey.generate())
    assert edge("credential", "issue", claims, "--key", key, "--out", tmp_path / "card") == 0
    report = json.loads(capsys.readouterr().out)
    svg = (tmp_path / "card.svg").read_text()
    width = float(svg[svg.index('width="') + 7 : svg.index("mm")])
    assert width == pytest.approx(report["smallest_mm"], abs=0.06)
    image = cv2.imread(str(tmp_path / "card.png"), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    assert image.shape == ((report["modules"] + 8) * 8,) * 2
    assert zxingcpp.read_barcodes(image)[0].ec_level == "L"
