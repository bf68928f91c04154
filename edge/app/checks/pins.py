"""The pins as they are on this machine: what cannot be wired, what a crash leaves on, who has them, the firmware.

Of ``config.txt`` the ``gpio=`` lines are read as the firmware reads them: in their order, the later one wins. Sections
for one board (``[pi4]``) are not told apart from ``[all]``, and ``include`` is not followed.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from typing import Final

from edge.app.checks.finding import HERE, Finding, Machine, answers
from edge.app.wiring import Wire, persisting, wires, wrong
from edge.settings import Settings

CONFIG: Final = "boot/firmware/config.txt"
_LINE_INFO: Final = 0xC100B405  # GPIO_V2_GET_LINEINFO_IOCTL of linux/gpio.h: name, consumer, offset, attributes, flags
_SIZE, _CONSUMER, _OFFSET, _FLAGS, _USED = 256, slice(32, 64), 64, 72, 1
_PI_5: Final = 0x17
_NOT_LOW: Final = frozenset({"data_0_pin", "data_1_pin", "heartbeat_pin"})
_LOCKS: Final = frozenset({"lock_pin", "exit_pin"})
_GPIO = re.compile(r"gpio=([\d,-]+)=([a-z0-9,]+)")
_STRICT = re.compile(r"dtparam=(?:[^#]*,)?strict_gpiod(?:=(?:on|true|yes|1))?(?:,.*)?")


def relay_of(settings: Settings, machine: Machine = HERE) -> Iterator[Finding]:
    """What cannot be wired so, and what a crash would leave on; well only when nothing is bad."""
    faults = wrong(settings)
    for fault in faults:
        yield Finding("gate", False, fault, "edge wiring draws what hangs where; change the key, then the wire")
    if settings.gate.kind == "simulated":
        yield Finding("gate", True, "simulated: no relay moves")
        return
    keeping = persisting(machine.at("sys/module"))
    for driver in keeping:
        remedy = "add dtparam=strict_gpiod to config.txt and reboot"
        yield Finding("gate", False, f"{driver} keeps outputs after a crash: the relay could stay on", remedy)
    if not faults and not keeping:
        yield Finding("gate", True, f"relay on BCM {settings.gate.lock_pin}")


def library_of(settings: Settings, machine: Machine = HERE) -> Iterator[Finding]:
    """What claims the pins."""
    if settings.gate.kind == "simulated":
        return
    if machine.package("lgpio") is None:
        yield Finding("lgpio", False, "lgpio is not installed: no pin can be claimed", "apt install python3-lgpio")
    else:
        yield Finding("lgpio", True, "installed")


def owners_of(settings: Settings, machine: Machine = HERE) -> Iterator[Finding]:
    """Who has the pins that edge-gate wants, asked without claiming any.

    Raises:
        OSError: there is no chip, or it cannot be asked.
    """
    if settings.gate.kind == "simulated":
        return
    chip = os.open(_chip(machine), os.O_RDONLY | os.O_CLOEXEC)
    try:
        taken = [(wire, holder) for wire in wires(settings) if (holder := _holder(machine, chip, wire.bcm)) is not None]
    finally:
        os.close(chip)
    if not taken or answers(settings.paths.operators_socket):
        yield Finding("pins", True, "nobody else has a pin of ours")
        return
    for wire, holder in taken:
        remedy = "end that program, or take what claims the pin (dtoverlay, dtparam) out of config.txt and reboot"
        yield Finding("pins", False, f"BCM {wire.bcm} ({wire.key}) belongs to {holder}; edge-gate is away", remedy)


def firmware_of(settings: Settings, machine: Machine = HERE) -> Iterator[Finding]:
    """What ``config.txt`` says, where there is one; well only when nothing is bad."""
    if settings.gate.kind == "simulated" or not machine.at(CONFIG).exists():
        return
    well = True
    for finding in firmware(machine.read(CONFIG), settings, keeps=bool(persisting(machine.at("sys/module")))):
        well &= finding.well
        yield finding
    if well:
        yield Finding("firmware", True, "no lock opens while the board starts")


LOOKS: Final = (("gate", relay_of), ("lgpio", library_of), ("pins", owners_of), ("firmware", firmware_of))
"""Each under a name of its own, well or not: an update is held to what was well under that name before."""


def _holder(machine: Machine, chip: int, bcm: int) -> str | None:
    """Who has a line; None for nobody."""
    line = bytearray(_SIZE)
    struct.pack_into("=I", line, _OFFSET, bcm)
    machine.ioctl(chip, _LINE_INFO, line)
    (flags,) = struct.unpack_from("=Q", line, _FLAGS)
    if not flags & _USED:
        return None
    return bytes(line[_CONSUMER]).rstrip(b"\0").decode("ascii", "replace") or "the kernel"


def _chip(machine: Machine) -> str:
    """The chip that gpiozero takes: of a Pi 5 under an older kernel the fifth, else the first."""
    revision = machine.at("proc/device-tree/system/linux,revision")
    five = revision.exists() and int.from_bytes(revision.read_bytes()[:4]) >> 4 & 0xFF == _PI_5
    fifth = machine.at("dev/gpiochip4")
    return str(fifth if five and fifth.exists() else machine.at("dev/gpiochip0"))


def firmware(text: str, settings: Settings, *, keeps: bool) -> Iterator[Finding]:
    """What the firmware does to the pins before anything else runs, against what is wired.

    Args:
        text: of ``config.txt``.
        settings: what hangs on the header.
        keeps: whether this kernel keeps outputs after a crash, which is told elsewhere.
    """
    set_to, wired = directives(text), wires(settings)
    low = [wire for wire in wired if wire.direction == "out" and wire.key not in _NOT_LOW]
    missing = [wire for wire in low if not {"op", "dl"} <= set_to.get(wire.bcm, frozenset())]
    locks = [wire for wire in missing if wire.key in _LOCKS]
    for named, well in ((locks, False), ([wire for wire in missing if wire not in locks], True)):
        if named:  # a light that flickers while the board starts opens nothing
            said = f"the firmware does not set {_named(named)} low before the system starts"
            remedy = f"write gpio={_numbers(low)}=op,dl as the last gpio line under [all] of /{CONFIG}, then reboot"
            yield Finding("firmware", well, said, remedy)
    inputs = [wire for wire in wired if wire.direction == "in"]
    if driven := [wire for wire in inputs if "op" in set_to.get(wire.bcm, frozenset())]:
        said = f"the firmware drives {_named(driven)}, which a contact closes to ground: a short circuit"
        remedy = f"take them out of that gpio line of /{CONFIG}, or add gpio={_numbers(driven)}=ip; then reboot"
        yield Finding("firmware", False, said, remedy)
    pulls, rests = ("dh", "dl") if settings.controller.data_driver == "transistor" else ("dl", "dh")
    spoken = [wire for wire in wired if wire.key.startswith("data_")]
    if pulled := [wire for wire in spoken if {"op", pulls} <= set_to.get(wire.bcm, frozenset())]:
        said = f"the firmware has {_named(pulled)} pull its wire low until edge-gate starts"
        remedy = f"write gpio={_numbers(spoken)}=op,{rests} as the last gpio line under [all] of /{CONFIG}, then reboot"
        yield Finding("firmware", False, said, remedy)
    if not keeps and not any(_STRICT.fullmatch(line.strip()) for line in text.splitlines()):
        said = "this kernel lets outputs fall after a crash, and nothing in config.txt asks it to"
        remedy = f"add dtparam=strict_gpiod under [all] of /{CONFIG}: an update of the kernel may change its mind"
        yield Finding("firmware", True, said, remedy)


def directives(text: str) -> dict[int, frozenset[str]]:
    """Function and level that the firmware gives each pin: of either, what was said last."""
    found: dict[int, frozenset[str]] = {}
    for line in text.splitlines():
        if (match := _GPIO.fullmatch(line.strip())) is None:
            continue
        words = frozenset(match[2].split(","))
        for bcm in _pins(match[1]):
            before = found.get(bcm, frozenset())
            if words & {"dh", "dl"}:
                before -= {"dh", "dl"}
            if any(word in ("ip", "op") or word.startswith("a") for word in words):
                before = frozenset(word for word in before if word in ("dh", "dl"))
            found[bcm] = before | words
    return found


def _pins(told: str) -> Iterator[int]:
    """``17,22-25`` as numbers; what is no range is left out, as the firmware does."""
    for part in told.split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            yield from range(int(first), min(int(last or first), 63) + 1)


def _named(wired: list[Wire]) -> str:
    return ", ".join(f"BCM {wire.bcm} ({wire.key})" for wire in wired)


def _numbers(wired: list[Wire]) -> str:
    return ",".join(str(wire.bcm) for wire in wired)
