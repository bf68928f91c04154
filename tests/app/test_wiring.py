"""What hangs on which pin, drawn from the configuration."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.app.checks.finding import Machine
from edge.app.checks.pins import relay_of
from edge.app.chosen import plan_of
from edge.app.ground import Chosen, say_persisting
from edge.app.wiring import HEADER, POWER, ROLES, drawing, persisting, wires, wrong
from edge.cli import main
from edge.devices.simulated import SimulatedClock, SimulatedJournal
from edge.settings import Controller, Gate, Settings, SettingsError, load
from edge.watch import Watch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings() -> Settings:
    return load(ROOT / "config" / "edge.toml")


def test_every_pin_of_the_configuration_has_a_role_and_every_role_a_pin() -> None:
    keys = {field.name for part in (Gate, Controller) for field in dataclasses.fields(part)}
    assert {key for key in keys if key.endswith("_pin")} == set(ROLES)


def test_the_header_is_that_of_the_board() -> None:
    assert len(HEADER) == len(set(HEADER.values())) == 28
    assert not set(HEADER.values()) & set(POWER)
    assert (HEADER[17], HEADER[27], HEADER[21]) == (11, 13, 40)


def test_the_drawing_shows_each_wire_at_its_pin(settings: Settings) -> None:
    picture = ET.fromstring(drawing(settings))
    said = ["".join(text.itertext()) for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    for wire in wires(settings):
        assert any(re.match(rf"BCM {wire.bcm} . {re.escape(wire.what)}", line) for line in said), wire
    assert len(said) >= 80


def test_the_example_can_be_wired(settings: Settings) -> None:
    assert wrong(settings) == ()


@pytest.mark.parametrize(
    ("key", "bcm", "word"),
    [
        ("red_pin", 17, "lock_pin already"),
        ("lock_pin", 5, "pulled up"),
        ("exit_pin", 6, "pulled up"),
        ("fill_pin", 17, "already"),
        ("heartbeat_pin", 26, "already"),
    ],
)
def test_two_owners_of_a_pin_and_a_lock_that_opens_at_the_start_are_named(
    settings: Settings, key: str, bcm: int, word: str, tmp_path: Path
) -> None:
    changed: dict[str, Any] = {key: bcm}
    made = dataclasses.replace(settings, gate=dataclasses.replace(settings.gate, **changed))
    assert any(word in fault for fault in wrong(made))
    twin = dataclasses.replace(made, gate=dataclasses.replace(made.gate, kind="simulated"))
    assert any(word in finding.said for finding in relay_of(twin, Machine(tmp_path)) if not finding.well)


def test_a_lock_that_opens_while_the_board_starts_does_not_start(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "site-key").write_bytes(bytes(range(32)))
    placed = replace(settings, paths=replace(settings.paths, credentials=tmp_path))
    placed = replace(placed, models=replace(settings.models, folder=ROOT / "models"))
    assert Chosen.of(placed).settings is placed
    with pytest.raises(SettingsError, match=r"edge\.toml: lock_pin: BCM 5 is pulled up"):
        Chosen.of(replace(placed, gate=replace(settings.gate, lock_pin=5, door_pin=17)))
    bench = replace(placed, gate=replace(settings.gate, kind="simulated", lock_pin=5, door_pin=17))
    assert Chosen.of(bench).settings is bench  # no relay moves


@pytest.mark.parametrize(
    ("driver", "kept", "found"),
    [
        ("pinctrl_bcm2835", "Y", ("pinctrl_bcm2835",)),
        ("pinctrl_rp1", "1", ("pinctrl_rp1",)),
        ("pinctrl_rp1", "N", ()),
        ("another", "Y", ()),
    ],
)
def test_a_kernel_that_keeps_outputs_is_told_of(tmp_path: Path, driver: str, kept: str, found: tuple[str]) -> None:
    (tmp_path / driver / "parameters").mkdir(parents=True)
    (tmp_path / driver / "parameters" / "persist_gpio_outputs").write_text(f"{kept}\n", encoding="ascii")
    assert persisting(tmp_path) == found


def test_a_kernel_that_does_not_say_whether_it_keeps_outputs_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "pinctrl_rp1" / "parameters" / "persist_gpio_outputs").mkdir(parents=True)
    assert persisting(tmp_path) == ("pinctrl_rp1",)


def test_a_kernel_that_keeps_outputs_is_said_at_the_start_and_ends_no_service() -> None:
    watch = Watch(SimulatedJournal(), SimulatedClock())
    say_persisting(watch, ())
    assert watch.conditions() == {}
    say_persisting(watch, ("pinctrl_rp1",))
    well, said = watch.conditions()["pins"]
    assert not well
    assert "strict_gpiod" in said
    assert watch.out_of_service() == ""


def test_the_command_writes_the_drawing_or_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(ROOT / "config" / "edge.toml")
    assert main(["wiring", "--config", config]) == 0
    assert "BCM 17  pin 11  out  lock of the entry" in capsys.readouterr().out
    assert main(["wiring", "--config", config, "--out", str(tmp_path / "wiring.svg")]) == 0
    assert (tmp_path / "wiring.svg").read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.parametrize(
    ("passage", "pin"),
    [
        ("dispenser", "portion_pin"),
        ("dispenser", "door_pin"),  # somebody who has looked says so by opening and shutting it
        ("interlock", "exit_pin"),
        ("interlock", "exit_door_pin"),
        ("interlock", "door_pin"),
        ("interlock", "beam_1_pin"),  # it counts people: without it two go through as one
        ("interlock", "beam_2_pin"),
    ],
)
def test_a_passage_without_a_pin_that_it_needs_does_not_start(settings: Settings, passage: Any, pin: str) -> None:
    whole = replace(settings.gate, passage=passage, portion_pin=13, exit_pin=27, exit_door_pin=6)
    assert plan_of(replace(settings, gate=whole)).name == passage
    without: dict[str, Any] = {pin: 0}
    with pytest.raises(SettingsError, match=pin):
        plan_of(replace(settings, gate=replace(whole, **without)))


def test_an_input_that_is_supervised_needs_no_pin(settings: Settings) -> None:
    whole = replace(settings.gate, passage="interlock", exit_pin=27, supervised=("door:0", "exit-door:1"))
    assert plan_of(replace(settings, gate=replace(whole, door_pin=0, exit_door_pin=0))).name == "interlock"


def test_relay_of_the_converter_and_of_the_serial_line_are_taken(settings: Settings) -> None:
    spi = replace(settings, gate=replace(settings.gate, supervised=("door:0",), fill_pin=11))
    assert any("fill_pin" in fault and "converter" in fault for fault in wrong(spi))
    line = Controller("osdp-output", Path("/dev/ttyAMA0"))
    assert any("fill_pin" in fault for fault in wrong(_lit(settings, line, 14)))
    assert wrong(_lit(settings, replace(line, device=Path("/dev/ttyUSB0")), 14)) == ()


def _lit(settings: Settings, line: Controller, pin: int) -> Settings:
    return replace(settings, controller=line, gate=replace(settings.gate, fill_pin=pin))
