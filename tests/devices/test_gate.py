"""Pins: locked first, locked last, and a wire that is cut says so."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory

from edge.app.gate import lock
from edge.app.service import beat
from edge.audit.entry import Event, Kind
from edge.devices.gate import LIGHTS, GpioGate, drop_relay
from edge.devices.simulated import ContactPin, SimulatedGate, SimulatedJournal
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


@pytest.mark.parametrize(("closed_s", "open_s", "portions"), [(0.03, 0.03, 2), (0.005, 0.03, 0), (0.03, 0.005, 1)])
def test_a_portion_is_a_pulse_that_lasts_and_the_next_one_comes_after_a_pause(
    closed_s: float, open_s: float, portions: int, pins: Gate, hours: Run
) -> None:
    """As the kernel hears it: what it does not hear would be given twice, and the twin is no kinder."""

    async def story() -> None:
        wired = replace(pins, passage="dispenser", portion_pin=12)
        gate = SimulatedGate(wired)
        assert [gate.factory.pin(pin).bounce for pin in (12, pins.door_pin)] == [0.01, 0.02]
        heard = Counter[Sensed]()

        async def hear() -> None:
            async for sensed in gate.sensed():
                heard[sensed] += 1

        hearing = asyncio.ensure_future(hear())
        for _ in range(2):
            gate.sense(12, broken=False)
            await asyncio.sleep(closed_s)
            gate.sense(12, broken=True)
            await asyncio.sleep(open_s)
        await asyncio.sleep(0.1)
        hearing.cancel()
        assert heard[Sensed.PORTION] == portions
        gate.close()

    hours(story())


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


@pytest.mark.parametrize("module", ["lgpio", "gpiozero.elsewhere"])
def test_a_pin_that_somebody_else_has_is_a_sentence_and_what_is_unknown_a_traceback(
    pins: Gate, run: Run, module: str
) -> None:
    error: type[Exception] = type("error", (Exception,), {"__module__": module})  # lgpio's is neither kind

    class Taken(MockFactory):  # type: ignore[misc] # gpiozero ships no types
        def pin(self, name: Any) -> Any:
            if name == pins.green_pin:
                raise error("GPIO busy")
            return super().pin(name)

    async def story() -> None:
        with pytest.raises(DeviceError if module == "lgpio" else error, match="GPIO busy"):
            GpioGate(pins, Taken())

    run(story())


def test_a_heartbeat_stops_with_the_loop_and_when_the_gate_is_not_well(pins: Gate, run: Run) -> None:
    async def story() -> None:
        gate = SimulatedGate(replace(pins, heartbeat_pin=4))
        wire = gate.factory.pin(4)
        well = iter([True, True, False, True])
        stopped = asyncio.Event()

        def still() -> bool:
            try:
                return next(well)
            except StopIteration:
                stopped.set()
                return False

        wire.clear_states()
        beating = asyncio.create_task(beat(still, gate.beat, every_s=0.01))
        await stopped.wait()
        beating.cancel()
        assert [bool(state.state) for state in wire.states] == [False, True, False, True]
        gate.close()

    run(story())


def test_without_a_wire_for_it_there_is_no_heartbeat(pins: Gate, run: Run) -> None:
    async def story() -> None:
        gate = SimulatedGate(pins)
        gate.beat()
        assert 4 not in gate.factory.pins
        gate.close()

    run(story())


class Recorded(ContactPin):
    """A pin that keeps every level it was driven to, whoever drove it, in the order in which it came."""

    def __init__(self, *given: Any, **more: Any) -> None:
        self.driven: list[tuple[str, bool]] = []
        super().__init__(*given, **more)

    def _set_function(self, value: str) -> None:
        super()._set_function(value)
        self.driven.append((value, bool(self._state)))

    def _change_state(self, value: bool) -> bool:
        changed = super()._change_state(value)
        self.driven.append((self._function, bool(self._state)))
        return bool(changed)


def starts(pins: Gate, times: int) -> None:
    """Start so many times: every tenth start ends in the middle, because somebody has one of the pins."""
    both = replace(pins, exit_pin=27, exit_door_pin=6, heartbeat_pin=4)
    names = [name for name in vars(both) if name.endswith("_pin") and getattr(both, name)]
    locks: list[Any] = []
    with ThreadPoolExecutor(30) as ending:  # gpiozero waits for its threads, one by one
        for number in range(times):
            factory = MockFactory(pin_class=Recorded)
            locks += [factory.pin(both.lock_pin), factory.pin(both.exit_pin)]
            if number % 10 == 9:
                factory.reserve_pins(factory, getattr(both, names[number // 10 % len(names)]))
                with pytest.raises(DeviceError, match="already in use"):
                    GpioGate(both, factory)
            else:
                ending.submit(GpioGate(both, factory).close)
    assert len(locks) == 2 * times
    for pin in locks:
        assert not pin.state
        assert not any(level for function, level in pin.driven if function == "output")


def test_no_start_gives_a_pulse(pins: Gate, run: Run) -> None:
    async def story() -> None:
        starts(pins, 60)

    run(story())


@pytest.mark.slow
def test_no_pulse_in_a_thousand_starts(pins: Gate) -> None:
    async def story() -> None:
        starts(pins, 1000)

    asyncio.run(story())


@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.TAKEN, Kind.DEVICE_BACK])
def test_the_receipt_of_another_entry_than_a_grant_opens_nothing(pins: Gate, run: Run, kind: Kind) -> None:
    async def story() -> None:
        gate = SimulatedGate(pins)
        with pytest.raises(TypeError):
            gate.unlock(SimulatedJournal().written(Event(kind)))
        assert not gate.unlocked
        gate.close()

    run(story())
