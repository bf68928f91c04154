"""A smartcard: OpenSC, pcscd, and a PIV card in software behind pcscd's virtual reader."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.audit.checkpoint import Head, key_id, statement, verify_es256
from edge.audit.tree import EMPTY
from edge.demo.port import free_port
from edge.devices.enrolment import status
from edge.devices.token import Pkcs11Token, TokenPlace, reinitialise
from edge.errors import DeviceError

CARD = Path(__file__).with_name("virtual_piv.py")
ORIGIN = "urn:gate:test:site:gate"
FOUND = list(Path("/usr/lib").glob("*/opensc-pkcs11.so"))
DRIVER = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")

pytestmark = pytest.mark.skipif(
    not FOUND or not DRIVER.exists() or shutil.which("pcscd") is None,
    reason="opensc, pcscd and vsmartcard-vpcd are not installed; scripts/setup dev installs them",
)

STARTED = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execvp("pcscd", ["pcscd", "-f", "-c", sys.argv[2]])
"""


class Reader:
    """A card reader and the card that may be in it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.card: subprocess.Popen[bytes] | None = None

    def new_card(self, name: str) -> bytes:
        """Make a card, not yet in the reader; returns the point of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gate")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(datetime.now(UTC))
            .not_valid_after(datetime.now(UTC) + timedelta(days=9))
            .sign(key, hashes.SHA256())
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.folder / f"{name}.pem").write_bytes(pem)
        (self.folder / f"{name}.der").write_bytes(certificate.public_bytes(serialization.Encoding.DER))
        (self.folder / f"{name}.state").write_text("3 0")
        return key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)

    def insert(self, name: str) -> None:
        files = [str(self.folder / f"{name}.{kind}") for kind in ("pem", "der", "state")]
        self.card = subprocess.Popen([sys.executable, str(CARD), str(self.port), *files])

    def behave(self, name: str, delay_ms: int = 0, word: str = "9000") -> None:
        """How long a signature takes from now on, one that was begun too, and how it ends."""
        state = self.folder / f"{name}.state"
        new = state.with_suffix(".new")
        new.write_text(f"{state.read_text().split()[0]} {delay_ms} {word}")
        new.replace(state)

    def signatures(self, name: str) -> int:
        """How many the card was asked for."""
        asked = self.folder / f"{name}.signs"
        return asked.read_text().count("asked") if asked.exists() else 0

    def pull_out(self) -> None:
        if self.card is not None:
            self.card.kill()
            self.card.wait()
            self.card = None

    def tries_left(self, name: str) -> int:
        return int((self.folder / f"{name}.state").read_text().split()[0])


@pytest.fixture(scope="module")
def address() -> Iterator[Path]:
    """Where pcscd listens: its library asks once per process, and a Unix address has room for 107 bytes."""
    with TemporaryDirectory(prefix="pcsc-") as place:
        yield Path(place) / "comm"


@pytest.fixture
def reader(address: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A pcscd with a virtual reader and a socket of its own, handed over as systemd would."""
    port = free_port()
    (tmp_path / "readers").mkdir()
    (tmp_path / "readers" / "vpcd").write_text(
        f'FRIENDLYNAME "Gate Test"\nDEVICENAME /dev/null:{port:#x}\nLIBPATH {DRIVER}\nCHANNELID {port:#x}\n'
    )
    (tmp_path / "opensc.conf").write_text("app default { card_drivers = PIV-II; reader_driver pcsc { } }\n")
    monkeypatch.setenv("OPENSC_CONF", str(tmp_path / "opensc.conf"))
    with (tmp_path / "pcscd.log").open("wb") as log:
        with socket.socket(socket.AF_UNIX) as ear:
            ear.bind(str(address))
            ear.listen(16)
            service = subprocess.Popen(
                [sys.executable, "-c", STARTED, str(ear.fileno()), str(tmp_path / "readers")],
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(ear.fileno(),),
            )
        monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(address))
        try:
            yield from _with_reader(Reader(tmp_path, port))
        finally:
            service.terminate()
            service.wait(60)
            address.unlink()


def _with_reader(here: Reader) -> Iterator[Reader]:
    """The library is made to look at this reader, and afterwards at none."""
    reinitialise(module())
    yield here
    here.pull_out()
    reinitialise(module())


def module() -> Path:
    return FOUND[0]


class Chain:
    """Statements of checkpoints, each continuing the one before."""

    def __init__(self, point: bytes) -> None:
        self.point, self.size, self.digest = point, 0, b""

    def next(self) -> bytes:
        """One more."""
        head = Head(ORIGIN, 1, self.size + 1, EMPTY, self.size, self.digest, at_s=1)
        signed = statement(head, key_id(self.point))
        self.size, self.digest = self.size + 1, hashlib.sha256(signed).digest()
        return signed


def a_token(point: bytes, folder: Path, pin: str = "123456") -> Pkcs11Token:
    place = TokenPlace(module(), "gate", "", "01")
    return Pkcs11Token(place, pin, point, ORIGIN, folder / "refused", 20.0)


def signs(token: Pkcs11Token, signed: bytes) -> bytes:
    """The signature, as soon as the token is there."""
    end = time.monotonic() + 60
    while True:
        try:
            return asyncio.run(token.sign(signed))
        except DeviceError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def says(token: Pkcs11Token, signed: bytes, words: str) -> None:
    """Nothing is signed, and soon the reason is this; until then the card is on its way into the reader."""
    end = time.monotonic() + 60
    while words not in (said := refused(token, signed)):
        assert time.monotonic() < end, said
        time.sleep(0.2)


async def asked_for(reader: Reader, name: str, signing: asyncio.Future[bytes], before: int) -> None:
    """Wait until the card has begun with this signature."""
    while reader.signatures(name) == before and not signing.done():  # noqa: ASYNC110 -- the card tells in a file
        await asyncio.sleep(0.01)


def refused(token: Pkcs11Token, signed: bytes) -> str:
    with pytest.raises(DeviceError) as caught:
        asyncio.run(token.sign(signed))
    return caught.value.message


def test_a_smartcard_signs_is_pulled_out_and_put_back(reader: Reader) -> None:
    """F01, F02, F03, F04, F06 on a real module with a real daemon behind it."""
    point, other = reader.new_card("ours"), reader.new_card("other")
    token, chain = a_token(point, reader.folder), Chain(point)
    try:
        for _ in range(2):
            signed = chain.next()
            assert refused(token, signed)
            reader.insert("ours")
            verify_es256(point, signed, signs(token, signed))
            assert status(TokenPlace(module(), "gate", "", "01")).point == point
            reader.pull_out()
            time.sleep(1.0)
        reader.insert("other")
        says(token, chain.next(), "another key")
        assert other != point
    finally:
        token.close()


def test_a_smartcard_is_given_a_wrong_pin_once(reader: Reader) -> None:
    point = reader.new_card("ours")
    reader.insert("ours")
    for _ in range(3):
        token = a_token(point, reader.folder, pin="999999")
        for _ in range(2):
            says(token, Chain(point).next(), "wrong")
        token.close()
    assert reader.tries_left("ours") == 2
    right = a_token(point, reader.folder)
    signed = Chain(point).next()
    verify_es256(point, signed, signs(right, signed))
    right.close()
    assert reader.tries_left("ours") == 3


def test_a_smartcard_that_is_pulled_out_during_a_signature_is_said_and_signs_when_it_is_back(reader: Reader) -> None:
    """F01: before, during and right after; F02."""
    point = reader.new_card("ours")
    token, chain = a_token(point, reader.folder), Chain(point)
    try:
        reader.insert("ours")
        signs(token, chain.next())
        reader.behave("ours", delay_ms=60_000)
        signed, before = chain.next(), reader.signatures("ours")

        async def story() -> None:
            signing = asyncio.ensure_future(token.sign(signed))
            await asked_for(reader, "ours", signing, before)
            assert not signing.done()
            reader.pull_out()
            with pytest.raises(DeviceError):
                await signing

        asyncio.run(story())
        reader.behave("ours")
        reader.insert("ours")
        verify_es256(point, signed, signs(token, signed))
        reader.pull_out()  # right after
        assert refused(token, chain.next())
    finally:
        token.close()


def test_the_gate_goes_on_during_a_slow_signature_of_a_smartcard(reader: Reader) -> None:
    """F04: half a second, which the loop counts in turns; the signature ends when the loop says so, and not before."""
    point = reader.new_card("ours")
    reader.insert("ours")
    token, chain = a_token(point, reader.folder), Chain(point)
    try:
        signs(token, chain.next())
        reader.behave("ours", delay_ms=60_000)
        signed, before = chain.next(), reader.signatures("ours")

        async def story() -> None:
            signing = asyncio.ensure_future(token.sign(signed))
            await asked_for(reader, "ours", signing, before)
            for _ in range(50):
                await asyncio.sleep(0.01)
                assert not signing.done()
            reader.behave("ours")
            await signing

        asyncio.run(story())
    finally:
        token.close()


@pytest.mark.slow
def test_a_smartcard_of_ten_seconds_is_waited_for(reader: Reader) -> None:
    """F04."""
    point = reader.new_card("ours")
    reader.insert("ours")
    token, chain = a_token(point, reader.folder), Chain(point)
    try:
        signs(token, chain.next())
        reader.behave("ours", delay_ms=10_000)
        signed = chain.next()
        verify_es256(point, signed, asyncio.run(token.sign(signed)))
    finally:
        token.close()


def test_a_smartcard_that_hangs_is_given_up_and_works_when_it_answers_again(reader: Reader) -> None:
    """F05: the card's side stands still in the middle of a signature."""
    point = reader.new_card("ours")
    reader.insert("ours")
    place = TokenPlace(module(), "gate", "", "01")
    token, chain = Pkcs11Token(place, "123456", point, ORIGIN, None, 2.0), Chain(point)
    try:
        signs(token, chain.next())
        reader.behave("ours", delay_ms=60_000)
        signed, before = chain.next(), reader.signatures("ours")
        assert reader.card is not None

        async def story(card: subprocess.Popen[bytes]) -> None:
            signing = asyncio.ensure_future(token.sign(signed))
            await asked_for(reader, "ours", signing, before)
            card.send_signal(signal.SIGSTOP)
            with pytest.raises(DeviceError, match="no answer"):
                await signing

        asyncio.run(story(reader.card))
        assert token.stuck
        reader.behave("ours")
        reader.card.send_signal(signal.SIGCONT)
        verify_es256(point, signed, signs(token, signed))
        assert not token.stuck
    finally:
        token.close()


def test_whatever_a_smartcard_answers_is_an_error_that_passes(reader: Reader) -> None:
    """F08: status words that no standard foresees for a signature, and some that one does."""
    point = reader.new_card("ours")
    reader.insert("ours")
    token, chain = a_token(point, reader.folder), Chain(point)
    try:
        signs(token, chain.next())
        for word in ("6f00", "6581", "6982"):
            reader.behave("ours", word=word)
            signed = chain.next()
            assert refused(token, signed), word
            reader.behave("ours")
            verify_es256(point, signed, signs(token, signed))
    finally:
        token.close()


def test_a_smartcard_that_keeps_no_notes_is_used_without(reader: Reader) -> None:
    """F07: nothing can be written into it, and it signs all the same."""
    point = reader.new_card("ours")
    reader.insert("ours")
    token, chain = a_token(point, reader.folder), Chain(point)
    try:
        signs(token, chain.next())
        with pytest.raises(DeviceError):
            asyncio.run(token.remember(b"note"))
        signed = chain.next()
        verify_es256(point, signed, signs(token, signed))
        assert asyncio.run(token.recall()) is None
    finally:
        token.close()


def test_nothing_but_a_checkpoint_reaches_a_smartcard(reader: Reader) -> None:
    """F09."""
    point = reader.new_card("ours")
    reader.insert("ours")
    token, chain = a_token(point, reader.folder), Chain(point)
    try:
        signs(token, signed := chain.next())
        asked = reader.signatures("ours")
        for wrong in (b"x", bytes(32), signed, Chain(reader.new_card("other")).next()):
            assert "not signed" in refused(token, wrong)
        assert reader.signatures("ours") == asked >= 1
    finally:
        token.close()
