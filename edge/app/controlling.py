"""An existing door controller beside the gate's own relay, where a site has one."""

from __future__ import annotations

import asyncio
from functools import partial

from edge.app.service import secret
from edge.devices.controller import OsdpOutput, OsdpReader, Told, Wiegand, key_of
from edge.devices.gate import GpioGate
from edge.settings import Settings, SettingsError
from edge.watch import Watch

_LOOK_S = 1.0
_BEGIN_S = 10.0


def controller_of(settings: Settings, gate: GpioGate) -> Told | None:
    """The controller that is told of grants; None where there is none.

    Raises:
        SettingsError: its card is none, or there is no key for its line.
        DeviceError: its line cannot be opened.
    """
    chosen = settings.controller
    fitting(settings)
    match chosen.kind:
        case "none":
            return None
        case "osdp-output":
            return OsdpOutput(chosen, key_of(secret(settings.paths, "osdp-key").decode("ascii", "replace")))
        case "osdp-reader":
            return OsdpReader(chosen, key_of(secret(settings.paths, "osdp-key").decode("ascii", "replace")))
        case "wiegand":
            return Wiegand(chosen, partial(gate.wire, inverted=chosen.data_driver == "transistor"))


def fitting(settings: Settings) -> None:
    """What is configured for it can be.

    Raises:
        SettingsError: its card is none, or its wires are not named.
    """
    chosen = settings.controller
    if chosen.kind in ("osdp-reader", "wiegand") and not (chosen.facility < 1 << 8 and chosen.card < 1 << 16):
        raise SettingsError(f"{settings.source}: controller.facility is at most 255, controller.card at most 65535")
    if chosen.kind == "wiegand" and not (chosen.data_0_pin and chosen.data_1_pin):
        raise SettingsError(f"{settings.source}: wiegand needs controller.data_0_pin and data_1_pin")


async def mind(told: Told, watch: Watch) -> None:
    """Say when the controller does not answer, and when it does again."""
    await asyncio.sleep(_BEGIN_S)
    while True:
        if trouble := told.condition():
            watch.lost("controller", trouble)
        else:
            watch.back("controller")
        await asyncio.sleep(_LOOK_S)
