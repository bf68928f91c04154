"""``edge credential`` and ``edge trust`` as somebody at a desk uses them."""

from __future__ import annotations

import argparse
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import segno
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from edge.cli import credential, trust
from edge.trust.keys import jwk

Mint = Any


def edge(*arguments: object) -> int:
    top = argparse.ArgumentParser()
    commands = top.add_subparsers(required=True)
    credential.add(commands)
    trust.add(commands)
    chosen = top.parse_args([str(argument) for argument in arguments])
    status: int = chosen.act(chosen)
    return status


@pytest.fixture
def listed(mint: Mint, tmp_path: Path) -> Path:
    keys = [jwk(key, "key-1") for key in mint.trust.issuers[0].keys]
    path = tmp_path / "trust.json"
    path.write_text(json.dumps({"issuers": [{"iss": "https://id.example", "jwks": {"keys": keys}}]}))
    return path


def test_a_card_is_verified_as_text_file_and_picture(
    mint: Mint, listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = mint.card()
    (tmp_path / "card.txt").write_text(text + "\n")
    segno.make_qr(text, error="l").save(str(tmp_path / "card.png"), scale=4)
    for code in (text, tmp_path / "card.txt", tmp_path / "card.png"):
        status = edge("credential", "verify", "--trust", listed, "--at", mint.now.isoformat(), "--json", code)
        shown = json.loads(capsys.readouterr().out)
        assert status == 0
        assert shown["outcome"] == "verified"
        assert shown["issuer"] == "https://id.example"
        assert shown["alg"] == "EdDSA"
        assert shown["dialect"] == "18, map-169, bytes face"
        assert shown["trace"][0]["stage"] == "base45"
        assert "claims" not in shown
        assert "Ada" not in json.dumps(shown)


def test_a_photo_of_a_card_is_read(
    mint: Mint, listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segno.make_qr(mint.card(), error="l").save(str(tmp_path / "card.png"), scale=6)
    code = cv2.imread(str(tmp_path / "card.png"))
    assert code is not None
    height, width = code.shape[:2]
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    seen = np.array([(90, 60), (width + 20, 100), (width - 30, height + 40), (60, height + 90)], np.float32)
    turned = cv2.getPerspectiveTransform(corners, seen)
    photo = cv2.warpPerspective(code, turned, (width + 120, height + 160), borderValue=(90, 110, 120))
    cv2.imwrite(str(tmp_path / "photo.jpg"), cv2.GaussianBlur(photo, (5, 5), 1.2))
    at = mint.now.isoformat()
    assert edge("credential", "verify", "--trust", listed, "--at", at, "--json", tmp_path / "photo.jpg") == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "verified"


def test_claims_are_shown_when_asked(mint: Mint, listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edge("credential", "verify", "--trust", listed, "--at", mint.now.isoformat(), "--json", "--claims", mint.card())
    shown = json.loads(capsys.readouterr().out)
    assert shown["claims"]["identity"]["attributes"]["full_name"] == "Ada Example"


def test_a_refused_card_says_why(mint: Mint, listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = (mint.now + timedelta(days=999)).isoformat()
    assert edge("credential", "verify", "--trust", listed, "--at", late, "--json", mint.card()) == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["outcome"], shown["reason"], shown["kid"]) == ("refused", "expired", b"key-1".hex())
    assert edge("credential", "verify", "--trust", listed, "https://example.org") == 1
    assert "not-a-credential" in capsys.readouterr().out


def test_wrong_usage(mint: Mint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edge("credential", "verify", "--trust", tmp_path / "absent.json", mint.card()) == 2
    (tmp_path / "bad.json").write_text("{}")
    assert edge("credential", "verify", "--trust", tmp_path / "bad.json", mint.card()) == 2
    segno.make_qr("x").save(str(tmp_path / "empty.png"), scale=1, border=0, dark="white")
    assert edge("credential", "explain", tmp_path / "empty.png") == 2
    assert "issuers" in capsys.readouterr().err
    assert edge("credential", "explain", tmp_path / "cardd.png") == 2
    assert "cardd.png" in capsys.readouterr().err, "mistyped: no file, and no code either"


def test_explain_needs_no_trust(mint: Mint, capsys: pytest.CaptureFixture[str]) -> None:
    assert edge("credential", "explain", "--json", mint.card()) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["attributes"] == ["date_of_birth", "full_name", "id"]
    assert shown["biometrics"]["face"] == [{"form": "bytes", "kind": "webp", "bytes": 46}]
    assert edge("credential", "explain", "HC1:ABC") == 1
    assert "COVID" in capsys.readouterr().out


def test_a_list_is_signed_shown_and_believed(
    mint: Mint, listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "root.pem").write_bytes(root.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = tmp_path / "root.pub"
    public.write_bytes(root.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    signed = tmp_path / "list.cose"
    assert edge("trust", "sign", listed, "--key", tmp_path / "root.pem", "--version", 7, "--out", signed) == 0
    assert edge("trust", "show", signed, "--root", public) == 0
    assert "version 7" in capsys.readouterr().out
    assert edge("trust", "show", signed) == 1
    at = mint.now.isoformat()
    assert edge("credential", "verify", "--trust", signed, "--root", public, "--at", at, mint.card()) == 0
    assert edge("trust", "sign", listed, "--key", tmp_path / "root.pem", "--out", signed) == 1
    assert edge("trust", "show", listed, "--json") == 0
