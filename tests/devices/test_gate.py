"""Pins: locked first, locked last, and a wire that is cut says so."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory

from edge.app.gate import lock
from edge.audit.entry import Event, Kind
from edge.devices.gate import LIGHTS, GpioGate, drop_relay
from edge.devices.simulated import SimulatedGate, SimulatedJournal
from edge.errors import DeviceError
from edge.passage import Indication, Sensed
from edge.settings import Gate

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_the_lock_pin_is_low_at_start_and_never_pulses(pins: Gate, run: Run) -> None:
    async def story() -> None:
        gate = SimulatedGate(pins)
        lock = gate.factory.pin(pins.lock_pin)
        assert [bool(state.state) for state in lock.states if state.state] == []
        gate.unlock(SimulatedJournal().written(Event(Kind.GRANTED)))
        levels = [bool(lock.state)]
        gate.close()
        levels.append(bool(lock.state))
        assert levels == [True, False]

    run(story())


def test_a_gate_that_is_not_wired_reports_every_contact(pins: Gate, run: Run) -> None:
    async def story() -> None:
        gate = GpioGate(pins, MockFactory())
        sensed = gate.sensed()
        first = {await anext(sensed) for _ in range(5)}
        assert first == {Sensed.FIRE, Sensed.TAMPER, Sensed.DOOR_OPEN, Sensed.BEAM_1, Sensed.BEAM_2}
        gate.close()

    run(story())


def test_every_indication_differs_by_pattern_and_not_only_by_colour() -> None:
    patterns = {
        what: tuple(sorted(float(lamp) + (lamp is True) for lamp in lamps if lamp)) for what, lamps in LIGHTS.items()
    }
    assert set(LIGHTS) == set(Indication)
    assert len(set(patterns.values())) == len(Indication)


def test_a_pin_that_is_used_twice_is_a_device_error(pins: Gate, run: Run) -> None:
    async def story() -> None:
        factory = MockFactory()
        with pytest.raises(DeviceError, match="gate"):
            GpioGate(replace(pins, red_pin=pins.lock_pin), factory)
        assert not factory.pin(pins.lock_pin).state

    run(story())


def test_the_last_act_drops_the_relay(pins: Gate) -> None:
    factory = MockFactory()
    drop_relay(pins.lock_pin, factory)
    assert not factory.pin(pins.lock_pin).state


def test_the_second_door_is_locked_although_the_first_pin_cannot_be_driven(tmp_path: Path) -> None:
    driven: list[int] = []

    def drop(pin: int) -> None:
        driven.append(pin)
        raise DeviceError("gate", f"GPIO: {pin} is busy")

    (tmp_path / "edge.toml").write_text('[gate]\nkind = "gpio"\nlock_pin = 17\nexit_pin = 27\n', encoding="utf-8")
    with pytest.raises(DeviceError, match="busy"):
        lock(tmp_path / "edge.toml", drop)
    assert driven == [17, 27]


def test_no_gpio_at_all_is_a_device_error_with_a_sentence(pins: Gate, run: Run) -> None:
    class Nothing:
        def __getattr__(self, name: str) -> Any:
            raise OSError("no GPIO chip")

    async def story() -> None:
        with pytest.raises(DeviceError, match="GPIO"):
            GpioGate(pins, Nothing())

    run(story())


@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.TAKEN, Kind.DEVICE_BACK])
def test_the_receipt_of_another_entry_than_a_grant_opens_nothing(pins: Gate, run: Run, kind: Kind) -> None:
    async def story() -> None:
        gate = SimulatedGate(pins)
        with pytest.raises(TypeError):
            gate.unlock(SimulatedJournal().written(Event(kind)))
        assert not gate.unlocked
        gate.close()

    run(story())
