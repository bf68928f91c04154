"""The fill light shines a code while a face is looked for, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.biometric.values import LightCode
from edge.devices.simulated import SimulatedClock, SimulatedGate
from edge.errors import DeviceError
from edge.fill import Fill
from edge.settings import Gate

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Lamp:
    """Notes when it was switched; ``fault`` stands in the way once."""

    def __init__(self) -> None:
        self.switched: list[tuple[float, bool]] = []
        self.fault: DeviceError | None = None

    def fill(self, *, lit: bool) -> None:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        self.switched.append((asyncio.get_running_loop().time(), lit))


class Stopwatch(SimulatedClock):
    """The running loop's, by which the light is switched."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@pytest.fixture
def clock() -> SimulatedClock:
    return Stopwatch()


@pytest.fixture
def run(hours: Run) -> Run:
    """A slot of a code is a tenth of a second, which a busy machine does not keep."""
    return hours


def test_it_shines_the_code_that_it_tells_and_goes_out(clock: SimulatedClock, run: Run) -> None:
    lamp = Lamp()

    async def look() -> LightCode:
        async with Fill(lamp, clock).shining() as code:
            assert code is not None
            await asyncio.sleep(1.05 * code.period_s)
        await asyncio.sleep(0.3)
        return code

    code = run(look())
    *shone, last = lamp.switched
    assert not last[1]
    assert [lit for _, lit in shone[: len(code.lit)]] == list(code.lit)
    assert all(code.lit_at(at + 0.01) is lit for at, lit in shone)


def test_each_look_has_a_code_of_its_own(clock: SimulatedClock, run: Run) -> None:
    async def look() -> set[tuple[bool, ...]]:
        fill, codes = Fill(Lamp(), clock), set()
        for _ in range(40):
            async with fill.shining() as code:
                assert code is not None
                codes.add(code.lit)
        return codes

    assert len(run(look())) > 5


def test_where_no_light_is_fitted_nothing_shines(clock: SimulatedClock, run: Run) -> None:
    async def look() -> None:
        async with Fill(None, clock).shining() as code:
            assert code is None

    run(look())


def test_a_light_that_cannot_be_switched_is_a_device_error_and_no_picture(clock: SimulatedClock, run: Run) -> None:
    lamp = Lamp()
    lamp.fault = DeviceError("gate", "GPIO: gone")

    async def look() -> None:
        async with Fill(lamp, clock).shining():
            await asyncio.sleep(0.05)

    with pytest.raises(DeviceError, match="GPIO: gone") as caught:
        run(look())
    assert caught.value.device == "light"


def test_the_light_goes_out_when_the_look_fails(clock: SimulatedClock, run: Run) -> None:
    lamp = Lamp()

    async def look() -> None:
        async with Fill(lamp, clock).shining():
            await asyncio.sleep(0.25)
            raise DeviceError("camera", "gone")

    with pytest.raises(DeviceError, match="camera: gone"):
        run(look())
    assert not lamp.switched[-1][1]


def test_its_pin_is_off_at_the_start_and_follows(pins: Gate, tmp_path: Path, run: Run) -> None:
    async def switched() -> None:
        gate = SimulatedGate(replace(pins, fill_pin=12), tmp_path)
        pin = gate.factory.pin(12)
        assert not pin.state
        for lit in (True, False):
            gate.fill(lit=lit)
            assert bool(pin.state) is lit
            assert (tmp_path / "light").read_text() == f"{int(lit)}\n"
        gate.close()

    run(switched())


def test_a_gate_without_the_pin_claims_none(pins: Gate, tmp_path: Path, run: Run) -> None:
    async def switched() -> None:
        gate = SimulatedGate(pins, tmp_path)
        gate.fill(lit=True)
        assert not (tmp_path / "light").exists()
        gate.close()

    run(switched())
