"""A token that misbehaves: a shim between the gate and SoftHSM, built here, that delays, fails, lies and hangs."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pkcs11
import pytest

from edge.audit.checkpoint import Checkpoint, Head, key_id, statement, verify_es256
from edge.audit.entry import Event, Kind
from edge.audit.sealing import SealingPolicy
from edge.audit.tree import EMPTY
from edge.devices.checkpoints import SqliteCheckpoints
from edge.devices.journal import Follower, SqliteJournal
from edge.devices.provisioning import initialise, provision
from edge.devices.token import Pkcs11Token, TokenPlace, reinitialise
from edge.errors import DeviceError
from edge.sealer import Sealer
from edge.trust.interval import Interval

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
SOURCE = Path(__file__).with_name("token_shim.c")
ORIGIN = "urn:gate:test:site:gate"
PIN = "246810"
CODES = {
    0x32: "device removed",
    0x30: "device error",
    0x05: "general error",
    0x31: "device memory",
    0xE0: "token not present",
    0xB3: "session handle invalid",
    0x82: "object handle invalid",
    0x101: "user not logged in",
    0x54: "function not supported",
    0x80000123: "a vendor's own",
}


@dataclass
class Shim:
    """The shim, what it is told to do, and what it saw."""

    module: Path
    control: Path
    point: bytes
    refused: Path

    def do(self, **orders: int) -> None:
        """From now on do this, and only this."""
        new = self.control.with_suffix(".new")
        new.write_text("".join(f"{name} {value:#x}\n" for name, value in orders.items()))
        new.replace(self.control)

    def calls(self, name: str) -> int:
        noted = self.control.with_name(self.control.name + ".calls")
        return noted.read_text().split().count(name) if noted.exists() else 0

    def token(self, deadline_s: float = 60.0, pin: str = PIN) -> Pkcs11Token:
        place = TokenPlace(self.module, "gate", "", "01")
        return Pkcs11Token(place, pin, self.point, ORIGIN, self.refused, deadline_s)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim, compiled once."""
    module = tmp_path_factory.mktemp("shim") / "token_shim.so"
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.fail("a C compiler is needed to build the token shim; scripts/setup installs gcc")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", module, SOURCE, "-ldl"], check=True)
    return module


@pytest.fixture
def shim(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shim]:
    """A shim over a SoftHSM of its own, with the gate's key in it."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    # Two copies of one library, so that each has a state of its own.
    plain, copy, module = tmp_path / "plain.so", tmp_path / "copy.so", tmp_path / "shim.so"
    for place in (plain, copy):
        shutil.copy(MODULE, place)
    shutil.copy(built, module)
    control = tmp_path / "control"
    monkeypatch.setenv("TOKEN_SHIM_MODULE", str(copy))
    monkeypatch.setenv("TOKEN_SHIM_CONTROL", str(control))
    initialise(plain, "gate", "135791", PIN)
    point = provision(TokenPlace(plain, "gate", "", "01"), PIN)
    yield Shim(module, control, point, tmp_path / "refused")
    control.unlink(missing_ok=True)
    for used in (plain, module):
        pkcs11.lib(str(used)).finalize()


def a_statement(point: bytes, size: int = 5) -> bytes:
    return statement(Head(ORIGIN, 1, size, EMPTY, 0, b"", at_s=1), key_id(point))


def come_back(token: Pkcs11Token) -> None:
    """Wait until the call that hung has ended."""
    end = time.monotonic() + 60
    while token.stuck:
        assert time.monotonic() < end, "still stuck"
        time.sleep(0.05)


def works_again(token: Pkcs11Token, shim: Shim) -> None:
    """Wait until it signs: its deadline is short here, and a busy machine may miss it."""
    end = time.monotonic() + 60
    while True:
        come_back(token)
        try:
            works(token, shim)
        except DeviceError:
            assert time.monotonic() < end, "it does not sign"
        else:
            return


def works(token: Pkcs11Token, shim: Shim, size: int = 5) -> None:
    signed = a_statement(shim.point, size)
    verify_es256(shim.point, signed, asyncio.run(token.sign(signed)))


@pytest.mark.parametrize("when", ["code", "sign_code", "sign_code_after"])
def test_any_error_before_in_or_after_a_signature_is_said_and_passes(shim: Shim, when: str) -> None:
    """F01, F02, F08."""
    token = shim.token()
    try:
        for size, code in enumerate(CODES, 1):
            shim.do()
            asyncio.run(token.public_key())
            shim.do(**{when: code})
            for _ in range(2):
                with pytest.raises(DeviceError) as caught:
                    asyncio.run(token.sign(a_statement(shim.point, size)))
                assert caught.value.device == "token"
        shim.do()
        works(token, shim)
    finally:
        token.close()


def test_the_gate_goes_on_during_a_slow_signature(shim: Shim) -> None:
    """F04: half a second, which the loop counts in turns; the signature ends when the loop says so, and not before."""
    token = shim.token()

    async def story() -> None:
        await token.public_key()
        shim.do(hang=1)
        signing = asyncio.create_task(token.sign(a_statement(shim.point)))
        while not shim.calls("sign") and not signing.done():  # noqa: ASYNC110 -- the shim tells in a file
            await asyncio.sleep(0.01)
        for _ in range(50):
            await asyncio.sleep(0.01)
            assert not signing.done()
        shim.do()
        await signing

    try:
        asyncio.run(story())
    finally:
        token.close()


def test_a_signature_of_ten_seconds_is_waited_for(shim: Shim) -> None:
    """F04: as long as the deadline allows, which by default is longer."""
    assert inspect.signature(Pkcs11Token).parameters["deadline_s"].default > 12
    token = shim.token()
    try:
        asyncio.run(token.public_key())
        shim.do(sign_ms=10_000)
        works(token, shim)
    finally:
        token.close()


def test_a_signature_past_its_deadline_is_given_up_and_the_next_works(shim: Shim) -> None:
    """F04: slower than allowed; it does not end before it was given up."""
    token = shim.token(deadline_s=1.5)
    try:
        shim.do(hang=1)
        with pytest.raises(DeviceError, match="no answer"):
            asyncio.run(token.sign(a_statement(shim.point)))
        with pytest.raises(DeviceError, match="still does not answer"):
            asyncio.run(token.public_key())
        assert token.stuck
        shim.do()
        works_again(token, shim)
    finally:
        token.close()


def test_a_token_that_hangs_does_not_keep_the_process_from_ending(shim: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    """F05: the signer says that it is stuck, so that its watchdog ends it; nothing else waits for it."""
    token, waited = shim.token(deadline_s=1.5), list[float | None]()
    shim.do(hang=1)
    with pytest.raises(DeviceError):
        asyncio.run(token.sign(a_statement(shim.point)))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", lambda _thread, timeout=None: waited.append(timeout))
        token.close()
    assert waited == [0.0]
    assert token.stuck
    shim.do()
    come_back(token)


def test_a_wrong_pin_reaches_the_token_once(shim: Shim) -> None:
    """F06: however often it is asked, and however often the process starts."""
    for _ in range(5):
        token = shim.token(pin="999999")
        for _ in range(3):
            with pytest.raises(DeviceError, match="wrong"):
                asyncio.run(token.public_key())
        token.close()
    assert shim.calls("login") == 1


def test_nothing_but_a_checkpoint_reaches_the_token(shim: Shim) -> None:
    """F09: a statement is parsed before the token is touched."""
    token = shim.token()
    try:
        works(token, shim)
        for asked in (b"x", bytes(32), a_statement(shim.point), a_statement(shim.point, 4)):
            with pytest.raises(DeviceError, match="not signed"):
                asyncio.run(token.sign(asked))
        assert shim.calls("sign") == 1
    finally:
        token.close()


def test_another_token_behind_the_shim_is_refused(shim: Shim, tmp_path: Path) -> None:
    """F03: the same label, the same key id, another key."""
    token, plain = shim.token(), tmp_path / "plain.so"
    try:
        works(token, shim)
        shutil.rmtree(tmp_path / "tokens")
        (tmp_path / "tokens").mkdir()
        reinitialise(plain)
        initialise(plain, "gate", "135791", PIN)
        provision(TokenPlace(plain, "gate", "", "01"), PIN)
        said = []
        for _ in range(3):
            with pytest.raises(DeviceError) as caught:
                asyncio.run(token.public_key())
            said.append(caught.value.message)
        assert any("another key" in one for one in said)
    finally:
        token.close()


class SimpleClock:
    """The system's."""

    def now(self) -> Interval:
        return Interval.exactly(datetime.now(UTC))

    def raise_floor(self, moment: datetime) -> None:
        pass

    def monotonic(self) -> float:
        return time.monotonic()


def test_a_token_that_signs_wrongly_seals_nothing(shim: Shim, tmp_path: Path) -> None:
    token, clock = shim.token(), SimpleClock()
    journal = SqliteJournal.open(tmp_path / "journal.db", ORIGIN, "gate", clock)
    log, checkpoints = Follower(tmp_path / "journal.db"), SqliteCheckpoints(tmp_path / "checkpoints.db")
    sealer = Sealer(ORIGIN, SealingPolicy(), log, checkpoints, token, clock)

    async def story() -> Checkpoint | None:
        await journal.append(Event(Kind.BOOT))
        shim.do(garble=1)
        with pytest.raises(DeviceError, match="signature is wrong"):
            await sealer.seal()
        assert checkpoints.last() is None
        shim.do()
        return await sealer.seal()

    try:
        sealed = asyncio.run(story())
        assert sealed is not None
        sealed.verify(shim.point)
    finally:
        for part in (token, log, journal, checkpoints):
            part.close()


def test_a_full_token_still_seals(shim: Shim, tmp_path: Path) -> None:
    """F07: the note of the last head cannot be written; the checkpoint is."""
    token, clock = shim.token(), SimpleClock()
    journal = SqliteJournal.open(tmp_path / "journal.db", ORIGIN, "gate", clock)
    log, checkpoints = Follower(tmp_path / "journal.db"), SqliteCheckpoints(tmp_path / "checkpoints.db")
    sealer = Sealer(ORIGIN, SealingPolicy(), log, checkpoints, token, clock)

    async def story() -> None:
        for size in (1, 2):
            await journal.append(Event(Kind.BOOT))
            shim.do(create_code=0x31)
            with pytest.raises(DeviceError):
                await token.remember(b"note")
            await sealer.finish()
            last = checkpoints.last()
            assert last is not None
            assert last.head.size == size
        shim.do()
        assert await token.recall() is None
        await sealer.finish()
        assert await token.recall() is not None

    try:
        asyncio.run(story())
    finally:
        for part in (token, log, journal, checkpoints):
            part.close()


def test_the_shim_is_between_us_and_the_token(shim: Shim) -> None:
    assert os.environ["TOKEN_SHIM_MODULE"].endswith("copy.so")
    token = shim.token()
    works(token, shim)
    token.close()
    assert (shim.calls("login"), shim.calls("sign")) == (1, 1)
