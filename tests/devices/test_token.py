"""The token: SoftHSM, unplugged by renaming its directory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pkcs11
import pytest

from edge.audit.checkpoint import Head, key_id, statement, verify_es256
from edge.audit.entry import LogError
from edge.audit.tree import EMPTY
from edge.devices.provisioning import initialise, provision
from edge.devices.simulated_token import SimulatedToken
from edge.devices.token import (
    PinRefused,
    Pkcs11Token,
    TokenPlace,
    enrolled_point,
    find,
    load,
    reinitialise,
    to_pem,
)
from edge.errors import DeviceError

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
ORIGIN = "urn:gate:test:site:gate"
PIN = "246810"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A private SoftHSM."""
    if not MODULE.exists():
        pytest.fail("softhsm2 is not installed; scripts/setup installs it")
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    config = tmp_path / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(config)
    reinitialise(MODULE)
    yield tokens
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.fixture
def point(folder: Path) -> bytes:
    return a_new_token("01")


def a_new_token(key_id: str) -> bytes:
    initialise(MODULE, "gate", "135791", PIN)
    return provision(TokenPlace(MODULE, "gate", "", key_id), PIN)


def a_token(point: bytes, pin: str = PIN, label: str = "gate", refused: Path | None = None) -> Pkcs11Token:
    return Pkcs11Token(TokenPlace(MODULE, label, "", "01"), pin, point, ORIGIN, refused)


def a_statement(point: bytes, size: int, origin: str = ORIGIN, previous: int = 0, digest: bytes = b"") -> bytes:
    return statement(Head(origin, 1, size, EMPTY, previous, digest, at_s=1), key_id(point))


def complaint(token: Pkcs11Token, signed: bytes) -> str:
    with pytest.raises(DeviceError) as caught:
        asyncio.run(token.sign(signed))
    assert caught.value.device == "token"
    return caught.value.message


def test_the_token_signs_a_checkpoint(point: bytes) -> None:
    token = a_token(point)
    try:
        signed = a_statement(point, 5)
        verify_es256(point, signed, asyncio.run(token.sign(signed)))
        assert asyncio.run(token.public_key()) == point == enrolled_point(to_pem(point))
    finally:
        token.close()


def test_the_token_signs_nothing_but_checkpoints_that_grow(point: bytes) -> None:
    token = a_token(point)
    try:
        asyncio.run(token.sign(a_statement(point, 5)))
        assert "not signed" in complaint(token, b"anything")
        assert "another log" in complaint(token, a_statement(point, 9, origin="urn:gate:other"))
        assert "signed already" in complaint(token, a_statement(point, 5))
        assert "signed already" in complaint(token, a_statement(point, 4))
        assert "another predecessor" in complaint(token, a_statement(point, 9))
    finally:
        token.close()


def test_an_unplugged_token_is_said_and_works_again_when_it_is_back(point: bytes, folder: Path) -> None:
    token = a_token(point)
    try:
        asyncio.run(token.public_key())
        away = folder.rename(folder.with_name("away"))
        folder.mkdir()
        for _ in range(3):
            assert "gate" in complaint(token, a_statement(point, 5))
        folder.rmdir()
        away.rename(folder)
        signed = a_statement(point, 5)
        verify_es256(point, signed, asyncio.run(token.sign(signed)))
    finally:
        token.close()


def test_another_token_with_the_same_label_is_refused(point: bytes, folder: Path) -> None:
    token = a_token(point)
    try:
        asyncio.run(token.public_key())
        shutil.rmtree(folder)
        folder.mkdir()
        reinitialise(MODULE)
        a_new_token("01")
        assert any("another key" in complaint(token, a_statement(point, 5)) for _ in range(2))
    finally:
        token.close()


def test_two_tokens_of_one_name_need_a_serial_number(point: bytes, folder: Path) -> None:
    make = ["softhsm2-util", "--init-token", "--free", "--label", "gate", "--so-pin", "135791", "--pin", PIN]
    subprocess.run(make, check=True, capture_output=True)
    reinitialise(MODULE)
    token = a_token(point)
    try:
        assert "serial" in complaint(token, a_statement(point, 5))
    finally:
        token.close()


def test_a_wrong_pin_is_tried_once_and_never_again_not_even_after_a_restart(point: bytes, tmp_path: Path) -> None:
    refused = tmp_path / "refused"
    for start in range(4):
        token = a_token(point, pin="000000", refused=refused)
        try:
            for _ in range(3):
                assert "wrong" in complaint(token, a_statement(point, 5)), start
        finally:
            token.close()
    right = a_token(point, refused=refused)
    try:
        asyncio.run(right.sign(a_statement(point, 5)))
    finally:
        right.close()


def tries_failed() -> bool:
    """Whether the token knows of a PIN that was wrong since the last login."""
    token = find(load(MODULE), TokenPlace(MODULE, "gate", "", "01"))
    return bool(token.flags & pkcs11.TokenFlag.USER_PIN_COUNT_LOW)


def test_a_pin_is_not_tried_while_it_cannot_be_written_down_that_it_is(point: bytes, tmp_path: Path) -> None:
    """On a full disk every restart would try the wrong one again, until the token locks."""
    refused = tmp_path / "gone" / "refused"
    for _ in range(4):
        token = a_token(point, pin="000000", refused=refused)
        assert "is not tried" in complaint(token, a_statement(point, 5))
        token.close()
    assert not tries_failed()
    refused.parent.mkdir()
    token = a_token(point, pin="000000", refused=refused)
    assert "wrong" in complaint(token, a_statement(point, 5))
    token.close()
    assert tries_failed()


def test_a_power_cut_while_the_right_pin_is_tried_is_not_held_against_it(point: bytes, tmp_path: Path) -> None:
    refused = tmp_path / "refused"
    for pin in ("000000", PIN):  # the mark as it is on disk while this PIN is tried
        PinRefused(refused).about_to_try(find(load(MODULE), TokenPlace(MODULE, "gate", "", "01")), pin)
        token = a_token(point, refused=refused)
        asyncio.run(token.sign(a_statement(point, 5)))
        token.close()
        assert not refused.exists()


def test_a_wrong_pin_is_not_tried_again_when_its_refusal_could_not_be_written(point: bytes, tmp_path: Path) -> None:
    refused = tmp_path / "refused"
    token = a_token(point, pin="000000", refused=refused)
    assert "wrong" in complaint(token, a_statement(point, 5))
    token.close()
    refused.write_text("?" + refused.read_text()[1:])  # the power went before it was
    token = a_token(point, pin="000000", refused=refused)
    assert "not tried again; after setting" in complaint(token, a_statement(point, 5))
    token.close()


def test_a_refusal_that_an_earlier_version_wrote_down_counts(point: bytes, tmp_path: Path) -> None:
    refused = tmp_path / "refused"
    token = a_token(point, pin="000000", refused=refused)
    assert "wrong" in complaint(token, a_statement(point, 5))
    token.close()
    refused.write_text(refused.read_text()[1:])
    token = a_token(point, pin="000000", refused=refused)
    assert "not tried again; after setting" in complaint(token, a_statement(point, 5))
    token.close()


def test_an_empty_token_gets_no_key_by_itself(folder: Path) -> None:
    other = a_new_token("02")
    token = a_token(other)
    try:
        for _ in range(2):
            assert "does not hold the key" in complaint(token, a_statement(other, 5))
    finally:
        token.close()
    with pytest.raises(DeviceError, match="already"):
        provision(TokenPlace(MODULE, "gate", "", "02"), PIN)


def test_the_token_remembers_a_note_and_only_the_newest(point: bytes) -> None:
    token = a_token(point)
    try:
        assert asyncio.run(token.recall()) is None
        for note in (b"first", b"second"):
            asyncio.run(token.remember(note))
            assert asyncio.run(token.recall()) == note
        asyncio.run(token.sign(a_statement(point, 5)))
    finally:
        token.close()
    again = a_token(point)
    try:
        assert asyncio.run(again.recall()) == b"second"
    finally:
        again.close()


def test_a_token_whose_disk_is_full_still_signs(point: bytes) -> None:
    """F07: its objects are files of the host."""
    token = a_token(point)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        asyncio.run(token.sign(a_statement(point, 5)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            with pytest.raises(DeviceError):
                asyncio.run(token.remember(b"note"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signed = a_statement(point, 9, previous=5, digest=hashlib.sha256(a_statement(point, 5)).digest())
        verify_es256(point, signed, asyncio.run(token.sign(signed)))
    finally:
        signal.signal(signal.SIGXFSZ, ignored)
        token.close()


def test_a_token_with_damaged_objects_is_said_and_works_when_they_are_mended(point: bytes, folder: Path) -> None:
    """F08: whatever code the module has for that."""
    token = a_token(point)
    try:
        asyncio.run(token.public_key())
        objects = {path: path.read_bytes() for path in folder.rglob("*.object")}
        for path, content in objects.items():
            path.write_bytes(content[: len(content) // 2])
        reinitialise(MODULE)
        for _ in range(2):
            assert complaint(token, a_statement(point, 5))
        for path, content in objects.items():
            path.write_bytes(content)
        signed = a_statement(point, 5)
        verify_es256(point, signed, asyncio.run(token.sign(signed)))
    finally:
        token.close()


def test_a_missing_module_is_a_device_error(point: bytes, tmp_path: Path) -> None:
    token = Pkcs11Token(TokenPlace(tmp_path / "none.so", "gate", "", "01"), PIN, point, ORIGIN)
    try:
        assert "does not load" in complaint(token, a_statement(point, 5))
    finally:
        token.close()


def test_the_simulated_token_refuses_what_the_real_one_refuses() -> None:
    token, other = SimulatedToken(ORIGIN), SimulatedToken(ORIGIN)
    signed = a_statement(token.enrolled, 5)
    verify_es256(token.enrolled, signed, asyncio.run(token.sign(signed)))
    with pytest.raises(DeviceError, match="signed already"):
        asyncio.run(token.sign(signed))
    token.unplug()
    with pytest.raises(DeviceError, match="not plugged in"):
        asyncio.run(token.public_key())
    token.plug(other._key)
    with pytest.raises(DeviceError, match="another key"):
        asyncio.run(token.public_key())
    with pytest.raises(LogError):
        verify_es256(other.enrolled, signed, bytes(64))
