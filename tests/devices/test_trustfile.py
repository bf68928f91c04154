"""The trust list as a file: taken when it is better, otherwise said and left alone."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.devices.trustfile import TrustFile
from edge.trust.cose import signer
from edge.trust.list import write_list

ROOT, ROGUE = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
ISSUER_KEY = ed25519.Ed25519PrivateKey.generate()


def spki(key: Any) -> bytes:
    made: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return made


PIN = base64.b64encode(spki(ROOT)).decode()


def written(version: int, by: Any = ROOT, issued: datetime = datetime(2026, 11, 22, tzinfo=UTC)) -> bytes:
    now = issued
    return write_list(
        {
            "version": version,
            "issued_at": int(now.timestamp()),
            "expires": int((now + timedelta(days=30)).timestamp()),
            "issuers": [{"iss": "https://issuer.example", "keys": [{"public": spki(ISSUER_KEY), "kids": ["k"]}]}],
        },
        signer(by),
    )


def test_a_signed_list_comes_into_force_and_a_newer_one_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "trust.cbor"
    trust = TrustFile(path, [PIN], tmp_path / "version")
    assert not trust.reload()
    for version in (1, 2):
        path.write_bytes(written(version))
        assert trust.reload()
        assert getattr(trust.current, "version", 0) == version
        assert not trust.reload()


def test_an_older_a_foreign_or_a_broken_list_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "trust.cbor"
    path.write_bytes(written(5))
    trust = TrustFile(path, [PIN], tmp_path / "version")
    assert trust.reload()
    for worse in (written(4), written(9, ROGUE), b"", b"nonsense", written(6)[:-1], bytes(2 << 20)):
        path.write_bytes(worse)
        assert not trust.reload()
        assert trust.current is not None
        assert trust.current.version == 5
        assert trust.detail


def test_an_older_list_is_not_taken_after_a_restart_either(tmp_path: Path) -> None:
    path = tmp_path / "trust.cbor"
    path.write_bytes(written(5))
    assert TrustFile(path, [PIN], tmp_path / "version").reload()
    path.write_bytes(written(4))
    again = TrustFile(path, [PIN], tmp_path / "version")
    assert not again.reload()
    assert again.current is None
    assert "refused" in again.detail


def test_another_list_under_the_same_version_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "trust.cbor"
    path.write_bytes(written(5))
    assert TrustFile(path, [PIN], tmp_path / "version").reload()
    other = datetime(2026, 11, 21, tzinfo=UTC)
    path.write_bytes(written(5, issued=other))
    again = TrustFile(path, [PIN], tmp_path / "version")
    assert not again.reload()
    assert "another list" in again.detail


def test_what_the_log_remembers_counts_when_the_file_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "trust.cbor"
    path.write_bytes(written(4))
    trust = TrustFile(path, [PIN], tmp_path / "version")
    trust.know(5)
    assert not trust.reload()


def test_a_version_that_cannot_be_read_is_no_version_at_all(tmp_path: Path) -> None:
    path = tmp_path / "trust.cbor"
    path.write_bytes(written(4))
    (tmp_path / "version").write_text("")
    trust = TrustFile(path, [PIN], tmp_path / "version")
    assert not trust.reload()
    assert "unreadable" in trust.detail
