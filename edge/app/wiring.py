"""The wiring of a gate, drawn from its configuration: the header of a Raspberry Pi with what hangs on each pin."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

from edge.settings import Settings, SettingsError

HEADER: Final = {
    2: 3, 3: 5, 4: 7, 14: 8, 15: 10, 17: 11, 18: 12, 27: 13, 22: 15, 23: 16, 24: 18, 10: 19, 9: 21, 25: 22, 11: 23,
    8: 24, 7: 26, 0: 27, 1: 28, 5: 29, 6: 31, 12: 32, 13: 33, 19: 35, 16: 36, 26: 37, 20: 38, 21: 40,
}  # fmt: skip
"""BCM number to pin of the header, the same on every board with 40 pins."""
POWER: Final = {1: "3.3 V", 17: "3.3 V", 2: "5 V", 4: "5 V"}
GROUND: Final = frozenset({6, 9, 14, 20, 25, 30, 34, 39})
ROLES: Final = {
    "lock_pin": ("out", "lock of the entry", "relay, active-high, 10 kΩ to ground, one-shot timer behind it"),
    "exit_pin": ("out", "lock of the exit", "relay, active-high, 10 kΩ to ground, fire contact in its supply"),
    "red_pin": ("out", "red light", ""),
    "green_pin": ("out", "green light", ""),
    "amber_pin": ("out", "amber light", ""),
    "buzzer_pin": ("out", "buzzer", ""),
    "fill_pin": ("out", "light on the face", "to the light's driver"),
    "heartbeat_pin": ("out", "heartbeat", "to a watchdog relay that drops when the level stops changing"),
    "door_pin": ("in", "door contact", "to ground, closed while the door is"),
    "exit_door_pin": ("in", "contact of the exit door", "to ground, closed while the door is"),
    "beam_1_pin": ("in", "beam on the entry side", "to ground, closed while clear"),
    "beam_2_pin": ("in", "beam behind the barrier", "to ground, closed while clear"),
    "exit_request_pin": ("in", "exit button", "to ground, open while not pressed"),
    "fire_pin": ("in", "fire alarm", "to ground, closed while there is none; also in the lock's supply"),
    "tamper_pin": ("in", "housing", "to ground, closed while shut"),
    "portion_pin": ("in", "dispenser, one pulse a portion", "to ground, closed for at least 30 ms"),
    "fault_pin": ("in", "dispenser, fault", "to ground, closed while well"),
    "data_0_pin": ("out", "Wiegand D0", "by transistor or open-drain buffer, never straight"),
    "data_1_pin": ("out", "Wiegand D1", "by transistor or open-drain buffer, never straight"),
}
"""Key of the configuration: direction, what it is, how it is wired."""
_DRIVERS: Final = ("pinctrl_bcm2835", "pinctrl_rp1")
_SPI, _SERIAL = range(8, 12), ("ttyAMA0", "ttyS0", "serial0")
_ROW, _TOP, _WIDTH, _MIDDLE = 26, 96, 1180, 590


@dataclass(frozen=True)
class Wire:
    """One wire: the key, its BCM number, and what ``ROLES`` says."""

    key: str
    bcm: int
    direction: str
    what: str
    how: str


def wires(settings: Settings) -> tuple[Wire, ...]:
    """What hangs on the header, in the order of the configuration; pins that are 0 are not used."""
    parts = {**vars(settings.gate), **vars(settings.controller)}
    return tuple(Wire(key, parts[key], *ROLES[key]) for key in ROLES if parts.get(key))


def wrong(settings: Settings) -> tuple[str, ...]:
    """What cannot be wired so; empty when it can."""
    found, taken = [], dict[int, str]()
    if settings.gate.supervised:
        taken |= dict.fromkeys(_SPI, "the analogue converter's")
    if settings.controller.kind.startswith("osdp") and settings.controller.device.name in _SERIAL:
        taken |= dict.fromkeys((14, 15), "the serial line's")
    for wire in wires(settings):
        if wire.bcm not in HEADER:
            found.append(f"{wire.key}: BCM {wire.bcm} is not on the header")
        if (other := taken.setdefault(wire.bcm, wire.key)) != wire.key:
            found.append(f"{wire.key}: BCM {wire.bcm} is {other} already")
        if wire.key in ("lock_pin", "exit_pin") and not 9 <= wire.bcm <= 27:
            found.append(f"{wire.key}: BCM {wire.bcm} is pulled up while the board starts; take one of 9 to 27")
    return tuple(found)


def wired(settings: Settings) -> None:
    """Nothing is claimed that cannot be wired so.

    Raises:
        SettingsError: a lock that opens while the board starts, or two on one pin.
    """
    if faults := wrong(settings):
        raise SettingsError(f"{settings.source}: {faults[0]}")


def persisting(modules: Path = Path("/sys/module")) -> tuple[str, ...]:
    """Drivers of the pins that keep a level when the process that set it is gone: a crash would not drop the relay."""
    return tuple(name for name in _DRIVERS if _keeps(modules / name / "parameters" / "persist_gpio_outputs"))


def _keeps(told: Path) -> bool:
    try:
        return told.read_text(encoding="ascii").strip() in ("Y", "1")
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):  # it is there and does not say: no reason to start less, but one to look
        return True


def drawing(settings: Settings) -> str:
    """The header as an SVG picture, a page in itself: print it and take it along."""
    on = {HEADER[wire.bcm]: wire for wire in wires(settings) if wire.bcm in HEADER}
    rows = "".join(_row(number, on) for number in range(1, 41))
    height = _TOP + 20 * _ROW + 60
    title = escape(f"{settings.site.origin}: wiring, {settings.gate.passage}")
    foot = "Inputs are contacts to ground; the board's pull-ups make a cut wire report what the contact is there for."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="14" role="img" aria-label="{title}">'
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
        f'<text x="{_MIDDLE}" y="40" text-anchor="middle" font-size="20" font-weight="bold">{title}</text>'
        f'<text x="{_MIDDLE}" y="66" text-anchor="middle" fill="#555">'
        f"Header with 40 pins, seen from above, pin 1 at the corner of the board</text>"
        f"{rows}"
        f'<text x="{_MIDDLE}" y="{height - 22}" text-anchor="middle" fill="#555">{escape(foot)}</text></svg>'
    )


def _row(number: int, on: dict[int, Wire]) -> str:
    """One pin with its number, and its wire to the side."""
    left = number % 2 == 1
    y = _TOP + (number - 1) // 2 * _ROW + 13
    x = _MIDDLE - 16 if left else _MIDDLE + 16
    wire = on.get(number)
    fill = "#111" if number in GROUND else "#c33" if number in POWER else "#e8e8e8"
    ink = "#fff" if number in GROUND or number in POWER else "#333"
    if wire is not None:
        fill, ink = ("#1a5fb4", "#fff") if wire.direction == "out" else ("#26735b", "#fff")
    said = f'<circle cx="{x}" cy="{y}" r="11" fill="{fill}"/>'
    said += f'<text x="{x}" y="{y + 4}" text-anchor="middle" font-size="11" fill="{ink}">{number}</text>'
    anchor, at = ("end", x - 22) if left else ("start", x + 22)
    if wire is None:
        name = "ground" if number in GROUND else POWER.get(number, "")
        return said + f'<text x="{at}" y="{y + 5}" text-anchor="{anchor}" fill="#888">{name}</text>'
    arrow = "→" if (wire.direction == "out") != left else "←"
    text = escape(f"BCM {wire.bcm} {arrow} {wire.what}")
    how = f'<tspan fill="#555" font-size="12"> {escape(wire.how)}</tspan>' if wire.how else ""
    return said + f'<text x="{at}" y="{y + 5}" text-anchor="{anchor}">{text}{how}</text>'
