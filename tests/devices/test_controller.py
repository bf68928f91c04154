"""An existing door controller is told of grants: over OSDP to a real peer on the other end, and over two wires."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import osdp
import pytest

from edge.app.controlling import controller_of
from edge.audit.entry import Event, Kind
from edge.devices.controller import Controlled, Line, OsdpOutput, OsdpReader, Wiegand, key_of, wiegand_26
from edge.devices.simulated import SimulatedGate, SimulatedJournal
from edge.errors import DeviceError
from edge.settings import Controller, Gate, load

KEY = bytes(range(16))
EXAMPLE = Path(__file__).parents[2] / "config" / "edge.toml"
CHOSEN = Controller("osdp-output", Path(), 9600, 5, 2, facility=17, card=4242)


def soon(ask: Callable[[], Any], within_s: float = 60.0) -> Any:
    end = time.monotonic() + within_s
    while not (answer := ask()):
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.02)
    return answer


def device_at(path: Path, key: bytes = KEY) -> tuple[Any, Line]:
    """A device with outputs on the secure side, as an installer would have mounted it."""
    line = Line(path, 9600)
    info = osdp.PDInfo(CHOSEN.address, line, scbk=key, flags=[osdp.LibFlag.EnforceSecure])
    able = osdp.PDCapabilities([(osdp.Capability.OutputControl, 1, 4), (osdp.Capability.CommunicationSecurity, 1, 1)])
    device = osdp.PeripheralDevice(info, able, log_level=osdp.LogLevel.Critical)
    device.start()
    return device, line


def heard(device: Any, tell: Callable[[], None], code: int) -> Any:
    """The command of this code. Told again until it comes: a machine that stands still brings the line down."""

    def ask() -> Any:
        tell()
        command = device.get_command(timeout=1)
        return command if command and command["control_code"] == code else None

    return soon(ask)


def test_an_output_on_the_secure_side_follows_the_grant(line: tuple[Path, Path]) -> None:
    ours, theirs = line
    device, far = device_at(theirs)
    panel = OsdpOutput(replace(CHOSEN, device=ours), KEY)
    try:
        on = heard(device, lambda: panel.opened(5.0), 5)
        assert (on["output_no"], on["control_code"], on["timer_count"]) == (2, 5, 50)
        off = heard(device, panel.closed, 1)
        assert (off["output_no"], off["control_code"]) == (2, 1)
    finally:
        panel.close()
        device.teardown()
        far.close()


def test_a_device_with_another_key_is_told_nothing(line: tuple[Path, Path]) -> None:
    ours, theirs = line
    device, far = device_at(theirs, bytes(16))
    panel = OsdpOutput(replace(CHOSEN, device=ours), KEY)
    try:
        time.sleep(2.0)
        assert "no answer" in panel.condition()
        panel.opened(5.0)
        assert device.get_command(timeout=1) is None
    finally:
        panel.close()
        device.teardown()
        far.close()


def test_a_controller_reads_the_gate_s_own_card_and_no_person_s(line: tuple[Path, Path]) -> None:
    ours, theirs = line
    far = Line(theirs, 9600)
    info = osdp.PDInfo(CHOSEN.address, far, scbk=KEY, flags=[osdp.LibFlag.EnforceSecure])
    controller = osdp.ControlPanel([info], log_level=osdp.LogLevel.Critical)
    controller.start()
    reader = OsdpReader(replace(CHOSEN, kind="osdp-reader", device=ours), KEY)
    try:

        def shown() -> Any:
            reader.opened(5.0)  # again where the line was down: a machine that stands still brings it down
            return controller.get_event(CHOSEN.address, timeout=1)

        read = soon(shown)
        assert read["event"] == osdp.Event.CardRead
        assert read["length"] == 26
        bits = "".join(f"{byte:08b}" for byte in read["data"])[:26]
        assert bits == wiegand_26(17, 4242)
    finally:
        reader.close()
        controller.teardown()
        far.close()


def test_a_line_that_is_not_there_is_a_device_error(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="controller"):
        Line(tmp_path / "ttyNONE", 9600)


def test_a_speed_that_is_none_is_a_device_error(line: tuple[Path, Path]) -> None:
    with pytest.raises(DeviceError, match="baud"):
        Line(line[0], 1234)


@pytest.mark.parametrize("text", ["", "00", "zz" * 16, "00" * 17])
def test_a_key_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DeviceError):
        key_of(text)


@pytest.mark.parametrize(("facility", "card"), [(0, 0), (255, 65535), (17, 4242), (1, 1)])
def test_a_card_has_the_parity_that_readers_check(facility: int, card: int) -> None:
    bits = wiegand_26(facility, card)
    assert len(bits) == 26
    assert bits[:13].count("1") % 2 == 0
    assert bits[13:].count("1") % 2 == 1
    assert int(bits[1:9], 2) == facility
    assert int(bits[9:25], 2) == card


class Wire:
    """Two wires, seen from the controller."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self._name, self._seen = name, seen

    def on(self) -> None:
        self._seen.append(self._name)

    def off(self) -> None:
        pass

    def close(self) -> None:
        self._seen.append("closed")


def test_a_card_is_shown_bit_by_bit_on_two_wires() -> None:
    seen: list[str] = []
    wires = iter("01")
    wiegand = Wiegand(replace(CHOSEN, kind="wiegand"), lambda _pin: Wire(next(wires), seen))
    wiegand.opened(5.0)
    soon(lambda: len(seen) == 26)
    wiegand.close()
    assert "".join(seen[:26]) == wiegand_26(17, 4242)


def test_how_long_the_pulses_are_beside_other_work_is_told() -> None:
    """Told, not asked for: how long a machine leaves a thread alone is not ours to say. None may be too short."""
    fell, rose, over = list[float](), list[float](), threading.Event()

    class Timed(Wire):
        def on(self) -> None:
            fell.append(time.perf_counter())

        def off(self) -> None:
            rose.append(time.perf_counter())

    def busy() -> None:
        while not over.is_set():
            sum(range(2_000))

    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)  # as edge-gate does
    beside = threading.Thread(target=busy)
    beside.start()
    wiegand = Wiegand(replace(CHOSEN, kind="wiegand"), lambda _pin: Timed("", []))
    try:
        for _ in range(8):
            wiegand.opened(5.0)
        soon(lambda: len(rose) == 8 * 26)
    finally:
        over.set()
        beside.join()
        wiegand.close()
        sys.setswitchinterval(before)
    wide = sorted((up - down) * 1e6 for down, up in zip(fell, rose, strict=True))
    sys.stdout.write(
        f"\nwiegand: {len(wide)} pulses, median {wide[104]:.0f}, p95 {wide[197]:.0f}, most {wide[-1]:.0f} µs\n"
    )
    assert wide[0] >= 20, "shorter than controllers read"


def test_a_thread_kept_waiting_at_the_pin_makes_no_pulse_shorter() -> None:
    fell, rose = list[float](), list[float]()

    class Slow(Wire):
        def on(self) -> None:
            time.sleep(0.001)  # the interpreter is somebody else's just before the wire falls
            fell.append(time.perf_counter())

        def off(self) -> None:
            rose.append(time.perf_counter())

    wiegand = Wiegand(replace(CHOSEN, kind="wiegand"), lambda _pin: Slow("", []))
    wiegand.opened(5.0)
    soon(lambda: len(rose) == 26)
    wiegand.close()
    assert min(up - down for down, up in zip(fell, rose, strict=True)) >= 50e-6


def test_a_card_that_could_not_be_shown_is_said_and_the_wire_let_go() -> None:
    seen: list[str] = []

    class Broken(Wire):
        def on(self) -> None:
            if not seen:
                raise DeviceError("gate", "GPIO: no answer")

        def off(self) -> None:
            seen.append("off")

    wiegand = Wiegand(replace(CHOSEN, kind="wiegand"), lambda _pin: Broken("", seen))
    assert wiegand.condition() == ""
    wiegand.opened(5.0)
    assert "GPIO: no answer" in soon(wiegand.condition)
    assert seen == ["off"]
    wiegand.opened(5.0)
    soon(lambda: not wiegand.condition())
    wiegand.close()


@pytest.mark.parametrize(("driver", "rest"), [("transistor", False), ("buffer", True)])
def test_at_rest_a_wire_is_let_go_whatever_drives_it(
    pins: Gate, run: Callable[[Any], Any], driver: Any, rest: bool
) -> None:
    async def story() -> None:
        gate = SimulatedGate(pins)
        chosen = replace(CHOSEN, kind="wiegand", data_0_pin=10, data_1_pin=11, data_driver=driver)
        told = controller_of(replace(load(EXAMPLE), controller=chosen), gate)
        assert isinstance(told, Wiegand)
        wire = gate.factory.pin(10)
        assert [bool(gate.factory.pin(pin).state) for pin in (10, 11)] == [rest, rest]
        wire.clear_states()
        told.opened(5.0)
        told.close()
        assert [bool(state.state) for state in wire.states[1:3]] == [not rest, rest]
        gate.close()

    run(story())


class Heard:
    """A controller that says what it was told, or fails at it."""

    def __init__(self, fails: bool = False) -> None:
        self.told: list[str] = []
        self._fails = fails

    def opened(self, seconds: float) -> None:
        self.told.append(f"opened {seconds}")

    def closed(self) -> None:
        self.told.append("closed")
        if self._fails:
            raise OSError(5, "line gone")

    def condition(self) -> str:
        return ""

    def close(self) -> None:
        pass


def test_a_controller_hears_of_grants_and_of_nothing_else(pins: Gate, run: Callable[[Any], Any]) -> None:
    async def story() -> None:
        gate, heard, journal = SimulatedGate(pins), Heard(), SimulatedJournal()
        both = Controlled(gate, heard, 5.0)
        denied = await journal.append(Event(Kind.DENIED))
        with pytest.raises(TypeError):
            both.unlock(denied)
        assert heard.told == []
        both.unlock(await journal.append(Event(Kind.GRANTED)))
        states = [gate.unlocked]
        both.lock()
        states.append(gate.unlocked)
        assert states == [True, False]
        assert heard.told == ["opened 5.0", "closed"]
        gate.close()

    run(story())


def test_our_own_relay_drops_although_the_controller_is_gone(pins: Gate, run: Callable[[Any], Any]) -> None:
    async def story() -> None:
        gate, journal = SimulatedGate(pins), SimulatedJournal()
        both = Controlled(gate, Heard(fails=True), 5.0)
        both.unlock(await journal.append(Event(Kind.GRANTED)))
        with pytest.raises(OSError, match="line gone"):
            both.lock()
        assert not gate.unlocked
        gate.close()

    run(story())
