"""The machine under the gate: a watchdog that ends a hang of the kernel, limits on memory, nothing swapped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edge.app.checks.finding import HERE, Finding, Machine
from edge.settings import Settings

_CONTROLLERS: Final = "sys/fs/cgroup/cgroup.controllers"
_PATIENCE, _FED = "RuntimeWatchdogUSec", "WatchdogLastPingTimestampMonotonic"
_NEVER: Final = ("0", str(2**64 - 1), "[not set]")


def watchdog_of(settings: Settings, machine: Machine = HERE) -> Iterator[Finding]:
    """Whether systemd feeds the hardware watchdog; not asked where no relay moves, or no systemd runs.

    Raises:
        DeviceError: systemd does not answer.
    """
    if settings.gate.kind != "gpio" or not machine.at("run/systemd/system").exists():
        return
    lines = machine.ask("watchdog", "systemctl", "show", "-p", _PATIENCE, "-p", _FED).decode(errors="replace")
    told = {name: value for name, _, value in (line.partition("=") for line in lines.splitlines())}
    patience, fed = told.get(_PATIENCE, ""), told.get(_FED, "")
    if patience in ("", "0"):
        remedy = f"{_PATIENCE.removesuffix('USec')}Sec=14s in /etc/systemd/system.conf.d (scripts/install), then reboot"
        yield Finding("watchdog", False, "nobody feeds the hardware watchdog: a kernel that hangs stays so", remedy)
    elif fed in _NEVER or (not fed and not machine.at("dev/watchdog0").exists()):
        remedy = "add dtparam=watchdog=on to config.txt and reboot"
        yield Finding("watchdog", False, "there is no hardware watchdog: a kernel that hangs stays so", remedy)
    else:
        yield Finding("watchdog", True, f"a kernel that hangs is started again after {patience}")


def memory_of(_: Settings, machine: Machine = HERE) -> Iterator[Finding]:
    """Whether the units' limits hold, and pictures, templates and keys stay off the card; of an installed gate."""
    if not machine.installed:
        return
    found = list(_leaks(machine))
    if "memory" not in machine.read(_CONTROLLERS).split():
        remedy = "append cgroup_enable=memory cgroup_memory=1 to the line of /boot/firmware/cmdline.txt, then reboot"
        told = "the kernel does not count memory: no limit holds, and what must not be swapped may be"
        found.append(Finding("memory", False, told, remedy))
    yield from found or [Finding("memory", True, "limits hold, and nothing is swapped to a disk")]


def _leaks(machine: Machine) -> Iterator[Finding]:
    for line in machine.read("proc/swaps").splitlines()[1:]:
        name = line.split()[0] if line.split() else ""
        if name and not name.startswith("/dev/zram"):
            remedy = f"swapoff {name}, and take it out of /etc/fstab or out of what makes it (dphys-swapfile, rpi-swap)"
            yield Finding("memory", False, f"{name} is swap: templates and secrets could reach the card", remedy)
    for backing in sorted(machine.at("sys/block").glob("zram*/backing_dev")):
        disk = backing.read_text(encoding="utf-8", errors="replace").strip()
        if disk not in ("", "none"):
            told = f"{backing.parent.name} writes back to {disk}: templates and secrets could reach the card"
            yield Finding(
                "memory",
                False,
                told,
                "Mechanism=none in /etc/rpi/swap.conf.d/edge-gate.conf (scripts/install), then reboot",
            )
