"""The other half of ``scripts/vm-test``: makes a small site inside the machine's image, and runs the test in it.

``make`` runs once, in a chroot, when the image is built: a token, a trust list, a card and what the camera will see.
``run`` runs as a service in the booted machine and reports on its second serial port, one line a finding. The pins are
the kernel's own GPIO (gpio-sim), their every movement is recorded by the kernel's tracing, so that no pulse is missed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from edge.audit.entry import Kind
from edge.demo import configuration, footage, prop
from edge.demo.cards import Issuers
from edge.demo.visits import Card
from edge.devices.follower import Follower
from edge.settings import Models, Mqtt, Paths, Settings, load

SITE = Path("/etc/edge-gate")
WORLD = Path("/var/lib/edge-vm")
SCENE = WORLD / "scene"
PROGRAM = Path("/opt/edge-gate")
TRACING = Path("/sys/kernel/tracing")
PROCESSES = ("vision", "gate", "seal", "sync", "web")
CLOSED = (5, 16, 20, 26, 19)  # contacts that are closed in the normal state
LOCK = 17
BEAM_1, BEAM_2 = 16, 20
PIN = "2468"
T = TypeVar("T")
_DROP_IN = "[Service]\nEnvironment=SOFTHSM2_CONF=/etc/edge-gate/softhsm2.conf\n"
_PINS = """[Unit]
Description=simulated pins and a record of every movement
DefaultDependencies=no
After=sysinit.target
Before=edge-gate.service edge.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/opt/edge-gate/.venv/bin/python /opt/edge-gate/scripts/vm_guest.py pins

[Install]
WantedBy=multi-user.target
"""
_TEST = """[Unit]
Description=the test of this machine
After=multi-user.target edge.target

[Service]
Type=oneshot
ExecStart=/opt/edge-gate/.venv/bin/python /opt/edge-gate/scripts/vm_guest.py run
StandardOutput=file:/dev/ttyS1
StandardError=journal+console

[Install]
WantedBy=multi-user.target
"""
_BOARD = """import gpiozero.pins.local

# The simulated pins are those of a Raspberry Pi 4; gpiozero asks a real one for its revision.
gpiozero.pins.local.get_pi_revision = lambda: 0xC03111
"""


def make() -> int:
    """A site of one gate: configuration, token, credentials, a card and its holder."""
    SCENE.mkdir(parents=True, exist_ok=True)
    portraits = PROGRAM / "models" / "portraits"
    issuers = Issuers(portraits)
    (SITE / "trust.cbor").write_bytes(issuers.trust_list(datetime.now(UTC)))
    settings = configuration.settings(
        WORLD,
        profile="pilot",
        models=Models("default", PROGRAM / "models", threads=1),
        root=issuers.root,
        module=Path("/usr/lib/softhsm/libsofthsm2.so"),
        mqtt=Mqtt(False, "127.0.0.1", 8883, SITE / "ca.pem", SITE / "gate.pem", "mqtt-key", SITE / "collector.pem"),
        port=8080,
    )
    settings = dataclasses.replace(
        settings,
        paths=Paths(Path("/var/lib/edge-gate"), Path("/run/edge-gate"), SITE / "credentials"),
        trust=dataclasses.replace(settings.trust, list=SITE / "trust.cbor"),
        gate=dataclasses.replace(settings.gate, kind="gpio"),
        token=dataclasses.replace(settings.token, public_key=SITE / "token.pem"),
    )
    (SITE / "edge.toml").write_text(configuration.text(settings), encoding="utf-8")
    _films(issuers, portraits)
    _token(settings)
    for name in ("seal", "gate"):
        folder = Path(f"/etc/systemd/system/edge-{name}.service.d")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vm.conf").write_text(_DROP_IN, encoding="utf-8")
    for name, text in (("vm-pins", _PINS), ("vm-test", _TEST)):
        Path(f"/etc/systemd/system/{name}.service").write_text(text, encoding="utf-8")
        _run("systemctl", "enable", f"{name}.service")
    [packages] = (PROGRAM / ".venv" / "lib").glob("python3*/site-packages")
    (packages / "sitecustomize.py").write_text(_BOARD, encoding="utf-8")
    for path in SITE.glob("*"):
        shutil.chown(path, "root", "edge")
    return 0


def _films(issuers: Issuers, portraits: Path) -> None:
    lines = (prop.IDENTITY_CARD, "SPECIMEN", "No. 000 000 001", "Valid until 2031")
    card = prop.card(issuers.text(Card(), datetime.now(UTC)), "REPUBLIC OF EXAMPLE", lines, (206, 222, 226))
    footage.write(SCENE / "nobody.npy", footage.face_clip(portraits, (), seed=0))
    hold = footage.Hold(module_px=3.0, turn=(6.0, -5.0, 2.0), at=(430.0, 480.0), glare=0.25)
    stand = footage.Stand("obama2", eyes_px=92.0, at=(800.0, 190.0))
    footage.write(SCENE / "visit.npy", footage.both_clip(portraits, card, hold, stand, seed=1))
    _play("nobody")
    for path in (WORLD, SCENE, *SCENE.iterdir()):
        shutil.chown(path, "edge-vision", "edge")


def _token(settings: Settings) -> None:
    """A token that edge-seal alone can read, and the secrets, encrypted for this machine."""
    tokens = Path("/var/lib/edge-gate/seal/tokens")
    tokens.mkdir(parents=True, exist_ok=True)
    (SITE / "softhsm2.conf").write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n", encoding="utf-8"
    )
    (SITE / "softhsm2.conf").chmod(0o644)
    os.environ["SOFTHSM2_CONF"] = str(SITE / "softhsm2.conf")
    _run("softhsm2-util", "--init-token", "--free", "--label", settings.token.label, "--pin", PIN, "--so-pin", PIN)
    from edge.devices.provisioning import provision
    from edge.devices.token import TokenPlace, to_pem

    place = TokenPlace(settings.token.module, settings.token.label, "", settings.token.key_id)
    settings.token.public_key.write_bytes(to_pem(provision(place, PIN)))
    for folder in (tokens.parent, tokens, *tokens.rglob("*")):
        shutil.chown(folder, "edge-seal", "edge")
    _run("systemd-machine-id-setup")  # secrets are encrypted for one machine
    for name, content in (("site-key", os.urandom(32)), ("pkcs11-pin", PIN.encode())):
        sealed = f"/etc/credstore.encrypted/edge-gate.{name}"
        subprocess.run(
            ["systemd-creds", "encrypt", "--with-key=host", f"--name={name}", "-", sealed], input=content, check=True
        )


def pins() -> int:
    """A chip of 54 lines, as on a Raspberry Pi, and a record of what is written to any of them."""
    _run("modprobe", "gpio-sim")
    chip = Path("/sys/kernel/config/gpio-sim/pi")
    (chip / "bank0").mkdir(parents=True)
    (chip / "bank0" / "num_lines").write_text("54")
    (chip / "live").write_text("1")
    time.sleep(0.2)
    shutil.chown("/dev/gpiochip0", "root", "gpio")
    Path("/dev/gpiochip0").chmod(0o660)
    (TRACING / "events" / "gpio" / "gpio_value" / "enable").write_text("1")
    (TRACING / "tracing_on").write_text("1")
    return 0


class Pins:
    """The simulated pins, seen and moved from outside."""

    def __init__(self) -> None:
        [chip] = Path("/sys/devices/platform").glob("gpio-sim.*/gpiochip*/sim_gpio0")
        self._chip = chip.parent
        known = (Path("/sys/kernel/debug/gpio")).read_text(encoding="utf-8")
        self._base = int(known.split("GPIOs ")[1].split("-")[0])
        self.broken: set[int] = set()
        threading.Thread(target=self._keep_closed, daemon=True).start()

    def value(self, line: int) -> int:
        """The level of a line."""
        return int((self._chip / f"sim_gpio{line}" / "value").read_text())

    def pull(self, line: int, *, high: bool) -> None:
        """Open a contact, or close it to ground."""
        (self.broken.add if high else self.broken.discard)(line)
        (self._chip / f"sim_gpio{line}" / "pull").write_text("pull-up" if high else "pull-down")

    def _keep_closed(self) -> None:
        """A pull-up does not lift a contact that is closed; the simulation lets it, whenever a line is claimed."""
        while True:
            for line in CLOSED:
                with contextlib.suppress(OSError):
                    if line not in self.broken and self.value(line):
                        self.pull(line, high=False)
            time.sleep(0.05)

    def raised(self) -> int:
        """How often the lock was released since the machine started, as the kernel recorded it."""
        lines = (TRACING / "trace").read_text(encoding="utf-8").splitlines()
        return sum(f"gpio_value: {self._base + LOCK} set 1" in line for line in lines)


class Report:
    """What was found, one line each."""

    def __init__(self) -> None:
        self.bad = 0

    def said(self, good: bool, what: str) -> None:
        """Note one finding."""
        self.bad += not good
        print(f"{'PASS' if good else 'FAIL'} {what}", flush=True)

    @contextlib.contextmanager
    def about(self, what: str) -> Iterator[None]:
        """A finding that fails when its story does."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 -- the report goes on with the next finding
            self.said(False, f"{what}: {type(error).__name__}: {error}")


def run() -> int:
    """All findings, then the machine is switched off."""
    report, gate = Report(), Pins()
    phase = next(
        (word.split("=")[1] for word in Path("/proc/cmdline").read_text().split() if word.startswith("edge.vm=")), "all"
    )
    with report.about("start"):
        _started(report)
        report.said(gate.raised() == 0 and gate.value(LOCK) == 0, "boot: the lock was never released")
    if phase == "all":
        for story in (_visit, _checked, _exposed, _killed, _hung, _killed_open, _stopped):
            with report.about(story.__name__.strip("_")):
                story(report, gate)
    if phase == "hang":
        _watched(report)
    print("DONE" if not report.bad else f"DONE with {report.bad} bad findings", flush=True)
    _run("systemctl", "poweroff", "--no-block")
    return 0


def _started(report: Report) -> None:
    for name in PROCESSES:
        _await(lambda name=name: _active(name), 60, f"edge-{name} to be ready")  # type: ignore[misc] # bound at once
    moments = {name: int(_show(name, "ActiveEnterTimestampMonotonic")) for name in PROCESSES}
    began = min(int(_show(name, "InactiveExitTimestampMonotonic")) for name in PROCESSES)
    ready_s = (max(moments.values()) - began) / 1e6
    report.said(True, f"start: all five units ready {ready_s:.1f} s after the first was started")


def _visit(report: Report, gate: Pins) -> None:
    before = gate.raised()
    went = _walk(gate, stop=False)
    report.said(went is Kind.TAKEN and gate.value(LOCK) == 0, f"visit: granted, gone through ({went.name}), locked")
    report.said(gate.raised() == before + 1, "visit: the lock was released exactly once")


def _checked(report: Report, _: Pins) -> None:
    done = subprocess.run(
        [PROGRAM / ".venv/bin/edge", "check"],
        env={**os.environ, "SOFTHSM2_CONF": str(SITE / "softhsm2.conf")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = done.stdout + done.stderr
    report.said(done.returncode == 0, f"edge check: exit {done.returncode}" + (f"\n{told}" if done.returncode else ""))


def _exposed(report: Report, _: Pins) -> None:
    most = {"gate": 0.5, "seal": 0.3, "sync": 1.0, "vision": 1.2, "web": 1.5}
    for name, limit in most.items():
        said = _run("systemd-analyze", "security", "--no-pager", f"edge-{name}.service").splitlines()[-1]
        exposure = float(said.split(":")[1].split()[0])
        report.said(exposure <= limit, f"exposure of edge-{name}: {exposure} (at most {limit})")


def _killed(report: Report, gate: Pins) -> None:
    for name in PROCESSES:
        before, pid = gate.raised(), _pid(name)
        os.kill(pid, signal.SIGKILL)
        _await(lambda name=name, pid=pid: _active(name) and _pid(name) != pid, 40, f"edge-{name} to come back")  # type: ignore[misc] # bound at once
        quiet = gate.raised() == before and gate.value(LOCK) == 0
        report.said(quiet, f"kill -9 of edge-{name}: back, and the lock was not released")
    went = _walk(gate, stop=False)
    report.said(went is Kind.TAKEN, "after the kills a visit goes through")


def _hung(report: Report, gate: Pins) -> None:
    before = gate.raised()
    pids = {name: _pid(name) for name in PROCESSES}
    for pid in pids.values():
        os.kill(pid, signal.SIGSTOP)
    for name, pid in pids.items():
        patience = int(_show(name, "WatchdogUSec").removesuffix("min").removesuffix("s") or 0)
        _await(lambda name=name, pid=pid: _active(name) and _pid(name) != pid, 120, f"edge-{name} to be replaced")  # type: ignore[misc] # bound at once
        report.said(True, f"hang of edge-{name}: replaced by its watchdog ({patience} s or min)")
    report.said(gate.raised() == before and gate.value(LOCK) == 0, "hangs: the lock was not released")


def _killed_open(report: Report, gate: Pins) -> None:
    """The gate dies while it is open: what comes after the process locks it."""
    before = gate.raised()
    _open(gate, before)
    os.kill(_pid("gate"), signal.SIGKILL)
    began = time.monotonic()
    _await(lambda: gate.value(LOCK) == 0, 10, "the lock to fall")
    took = time.monotonic() - began
    report.said(gate.raised() == before + 1, f"kill -9 while open: locked {took * 1000:.0f} ms later, no second pulse")
    _play("nobody")
    _await(lambda: _active("gate"), 40, "edge-gate to come back")
    _open(gate, gate.raised())
    os.kill(_pid("gate"), signal.SIGSTOP)
    began = time.monotonic()
    _await(lambda: gate.value(LOCK) == 0, 30, "the lock to fall")
    report.said(True, f"hang while open: locked {time.monotonic() - began:.1f} s later by watchdog and ExecStopPost")
    _play("nobody")
    _await(lambda: _active("gate"), 40, "edge-gate to come back")


def _stopped(report: Report, gate: Pins) -> None:
    _open(gate, gate.raised())
    _run("systemctl", "stop", *(f"edge-{name}" for name in PROCESSES))
    report.said(gate.value(LOCK) == 0, "stop while open: locked")
    before = gate.raised()
    for _ in range(20):
        _play("nobody")
        _run("systemctl", "restart", "edge-gate")
    report.said(gate.raised() == before, "20 starts of edge-gate: the lock was not released")


def _watched(report: Report) -> None:
    """The kernel stops: nothing after this line is ours, the hardware watchdog starts the machine again."""
    armed = _run("systemctl", "show", "-p", "RuntimeWatchdogUSec").strip()
    report.said("14s" in armed, f"hardware watchdog: systemd feeds it ({armed})")
    print("HANG", flush=True)
    Path("/proc/sys/kernel/sysrq").write_text("1")
    Path("/proc/sys/kernel/panic").write_text("0")
    time.sleep(0.5)
    Path("/proc/sysrq-trigger").write_text("c")


def _walk(gate: Pins, *, stop: bool) -> Kind:
    """One visit, the person goes through; the outcome as the log has it."""
    log = Follower(load(SITE / "edge.toml").paths.journal)
    first = log.size()
    before = gate.raised()
    _open(gate, before)
    for line, high in ((BEAM_1, True), (BEAM_2, True), (BEAM_1, False), (BEAM_2, False)):
        time.sleep(0.2)
        gate.pull(line, high=high)
    _play("nobody")

    def outcome() -> Kind | None:
        kinds = [entry.kind for entry in log.entries(first, log.size() - first)]
        return next((kind for kind in (Kind.TAKEN, Kind.NOT_TAKEN) if kind in kinds), None)

    found = _await(outcome, 20, "the passage in the log")
    log.close()
    time.sleep(1.0 if not stop else 0.0)
    return found


def _open(gate: Pins, before: int) -> None:
    _play("visit")
    _await(lambda: gate.raised() > before and gate.value(LOCK) == 1, 40, "the lock to be released")


def _play(clip: str) -> None:
    part = SCENE / "playing.new"
    part.write_text(f"{clip}.npy loop\n", encoding="ascii")
    part.replace(SCENE / "playing")


def _active(name: str) -> bool:
    return _show(name, "ActiveState") == "active"


def _pid(name: str) -> int:
    return int(_show(name, "MainPID"))


def _show(name: str, field: str) -> str:
    return _run("systemctl", "show", "--value", "-p", field, f"edge-{name}.service").strip()


def _await(ask: Callable[[], T | bool | None], within_s: float, what: str) -> T:
    end = time.monotonic() + within_s
    while not (answer := ask()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {within_s:.0f} s for {what}")
        time.sleep(0.05)
    return answer  # type: ignore[return-value] # not False, not None


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:2])}: {done.stderr.strip()[-300:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit({"make": make, "pins": pins, "run": run}[sys.argv[1]]())
