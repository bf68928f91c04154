"""What a gate is told about cards: who it is, what stands before its codes, the keys of encrypted cards."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge.app.chosen import verifier_of
from edge.credential.issue import issue, signer
from edge.errors import Reason, Refusal
from edge.settings import Cards, Settings, SettingsError, load
from edge.trust.encryption import ContentKey, content_keys
from edge.trust.interval import Interval

CONFIG = Path(__file__).parents[2] / "config" / "edge.toml"
KEY = ContentKey(bytes(range(32)), 3, b"desk-1")
SKEW = timedelta(seconds=120)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    plain = load(CONFIG)
    return replace(plain, paths=replace(plain.paths, credentials=tmp_path))


def reason(settings: Settings, mint: Any, text: str) -> Reason | None:
    try:
        verifier_of(settings)(text, mint.trust, Interval.exactly(mint.now), SKEW)
    except Refusal as refusal:
        return refusal.reason
    return None


def test_an_encrypted_card_opens_where_the_gate_has_its_key(settings: Settings, mint: Any) -> None:
    text = issue(mint.claims, signer(mint.private, "key-1"), content_key=KEY, nonce=bytes(12))
    assert reason(settings, mint, text) is Reason.CANNOT_DECRYPT
    (settings.paths.credentials / "content-keys").write_text(f"# desk\n{KEY.secret.hex()} desk-1\n")
    assert reason(settings, mint, text) is None


def test_a_card_for_somebody_else_is_refused_where_the_gate_has_a_name(settings: Settings, mint: Any) -> None:
    text = mint.card(aud="urn:gate:north")
    assert reason(settings, mint, text) is None
    assert reason(replace(settings, credential=Cards(audience="urn:gate:north")), mint, text) is None
    assert reason(replace(settings, credential=Cards(audience="urn:gate:south")), mint, text) is Reason.WRONG_AUDIENCE


def test_a_known_prefix_is_taken_off(settings: Settings, mint: Any) -> None:
    text = "CARD:" + mint.card()
    assert reason(settings, mint, text) is not None
    assert reason(replace(settings, credential=Cards(prefixes=("CARD:",))), mint, text) is None


@pytest.mark.parametrize("line", ["00", "zz" * 16, KEY.secret.hex()[:-1]])
def test_what_is_no_content_key_stops_the_gate_and_is_not_told(settings: Settings, line: str) -> None:
    (settings.paths.credentials / "content-keys").write_text(f"{KEY.secret.hex()}\n{line}\n")
    with pytest.raises(SettingsError, match="line 2 holds no content key") as caught:
        verifier_of(settings)
    assert line not in str(caught.value)


def test_a_key_of_32_bytes_is_for_both_ciphers_of_that_size() -> None:
    found = content_keys(f"{KEY.secret.hex()}\n\n{'ab' * 16} short # of the pilot")
    assert [(one.number, one.kid) for one in found] == [(3, None), (24, None), (1, b"short")]
    assert isinstance(found[0].cipher, AESGCM)
