"""The other half of ``scripts/vm-test``: makes a small site inside the machine's image, and runs the test in it.

``make`` runs once, in a chroot, when the image is built: a token, a trust list, a card and what the camera will see.
``run`` runs as a service in the booted machine and reports, one line a finding. In a virtual machine the pins are the
kernel's own (gpio-sim), and the kernel's tracing records every movement, so that no pulse is missed. In a container,
which has no kernel of its own, they are the gate's simulated twin.
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
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from edge.audit.entry import Kind
    from edge.demo.cards import Issuers
    from edge.settings import Settings

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
_PATIENCE_S = 1500.0  # an emulated machine takes minutes to start
_LOOK_S, _ASK_S = 0.05, 1.0  # at a pin, and at a unit, which costs a process
T = TypeVar("T")
_DROP_IN = "[Service]\nEnvironment=SOFTHSM2_CONF=/etc/edge-gate/softhsm2.conf\n"
# Without hardware support a machine is thirty times slower than itself; what is tested is the order of things.
_SLOW = "TimeoutStartSec=900s\nTimeoutStopSec=120s\nWatchdogSec=60s\n"
_EYE = "ExecStart=\nExecStart=/opt/edge-gate/.venv/bin/python /opt/edge-gate/scripts/vm_eye.py\n"
_REPORT = {"pins": "file:/dev/ttyS1", "simulated": "file:/var/lib/edge-vm/report.txt"}
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
StandardOutput={report}
StandardError=journal+console
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
"""
_BOARD = """

def get_pi_revision():
    return 0xC03111  # the simulated pins are those of a Raspberry Pi 4, and there is no board to ask
"""


def make(kind: str, speed: str) -> int:
    """A site of one gate: configuration, token, credentials, a card and its holder.

    Args:
        kind: ``pins`` for the kernel's, ``simulated`` for the gate's own twin.
        speed: ``slow`` for an emulated machine.
    """
    from edge.demo import configuration
    from edge.demo.cards import Issuers
    from edge.settings import Models, Mqtt, Paths

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
        gate=dataclasses.replace(settings.gate, kind="gpio" if kind == "pins" else "simulated"),
        token=dataclasses.replace(settings.token, public_key=SITE / "token.pem"),
    )
    (SITE / "edge.toml").write_text(configuration.text(settings), encoding="utf-8")
    _films(issuers, portraits)
    _token(settings)
    for name in PROCESSES:
        folder = Path(f"/etc/systemd/system/edge-{name}.service.d")
        folder.mkdir(parents=True, exist_ok=True)
        stage = f"ReadWritePaths={SCENE}\n" if (name, kind) == ("gate", "simulated") else ""
        slow = _SLOW + (_EYE if name == "vision" else "") if speed == "slow" else ""
        text = _DROP_IN + slow + stage
        (folder / "vm.conf").write_text(text, encoding="utf-8")
    (WORLD / "starts").write_text("5" if speed == "slow" else "20", encoding="ascii")
    units = {"vm-pins": _PINS, "vm-test": _TEST.format(report=_REPORT[kind])}
    for name, text in units.items() if kind == "pins" else [("vm-test", units["vm-test"])]:
        Path(f"/etc/systemd/system/{name}.service").write_text(text, encoding="utf-8")
        _run("systemctl", "enable", f"{name}.service")
    if kind == "pins":
        [packages] = (PROGRAM / ".venv" / "lib").glob("python3*/site-packages")
        with (packages / "gpiozero" / "pins" / "local.py").open("a", encoding="utf-8") as board:
            board.write(_BOARD)
    for path in SITE.glob("*"):
        shutil.chown(path, "root", "edge")
    return 0


def _films(issuers: Issuers, portraits: Path) -> None:
    from edge.demo import footage, prop
    from edge.demo.planned import Card

    lines = (prop.IDENTITY_CARD, "SPECIMEN", "No. 000 000 001", "Valid until 2031")
    text = issuers.text(Card(), datetime.now(UTC))
    (SCENE / "card.txt").write_text(text, encoding="ascii")
    card = prop.card(text, "REPUBLIC OF EXAMPLE", lines, (206, 222, 226))
    footage.write(SCENE / "nobody.npy", footage.face_clip(portraits, (), seed=0))
    hold = footage.Hold(module_px=3.0, turn=(6.0, -5.0, 2.0), at=(430.0, 480.0), glare=0.25)
    stand = footage.Stand("obama", eyes_px=92.0, at=(800.0, 190.0))
    footage.write(SCENE / "visit.npy", footage.both_clip(portraits, card, hold, stand, seed=1))
    _play("nobody")
    for path in (WORLD, SCENE, *SCENE.iterdir()):
        shutil.chown(path, "edge-vision", "edge")
    SCENE.chmod(0o775)  # the simulated gate tells here what it does


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


class Seen(Protocol):
    """The lock and the sensors, from outside."""

    def locked(self) -> bool:
        """Whether the release is off."""
        ...

    def raised(self) -> int:
        """How often the lock was released."""
        ...

    def pull(self, line: int, *, high: bool) -> None:
        """Open a contact, or close it."""
        ...


class Twin:
    """The simulated gate: it tells each release, and ends locked with its process; its person walks by himself."""

    def locked(self) -> bool:
        """Its pins live in the process: released while the last grant has no outcome, and nowhere without it."""
        panel = SCENE / "panel"
        return not _active("gate") or not panel.exists() or panel.read_text(encoding="ascii").strip() != "welcome"

    def raised(self) -> int:
        """Lines that the twin wrote."""
        told = SCENE / "relay"
        return len(told.read_text(encoding="ascii").splitlines()) if told.exists() else 0

    def pull(self, line: int, *, high: bool) -> None:
        """The twin's person does it."""


class Pins:
    """The simulated pins, seen and moved from outside."""

    def __init__(self) -> None:
        [chip] = Path("/sys/devices/platform").glob("gpio-sim.*/gpiochip*/sim_gpio0")
        self._chip = chip.parent
        known = (Path("/sys/kernel/debug/gpio")).read_text(encoding="utf-8")
        self._base = int(known.split("GPIOs ")[1].split("-")[0])
        self.broken: set[int] = set()
        threading.Thread(target=self._keep_closed, daemon=True).start()

    def locked(self) -> bool:
        """The level of the lock's line."""
        return self.value(LOCK) == 0

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
    report = Report()
    gate: Seen = Pins() if Path("/sys/kernel/config/gpio-sim").exists() else Twin()
    phase = next(
        (word.split("=")[1] for word in Path("/proc/cmdline").read_text().split() if word.startswith("edge.vm=")), "all"
    )
    with report.about("start"):
        _started(report)
        report.said(gate.raised() == 0 and gate.locked(), "boot: the lock was never released")
    if phase == "all" or isinstance(gate, Twin):
        for story in (_visit, _checked, _exposed, _killed, _hung, _killed_open, _stopped):
            with report.about(story.__name__.strip("_")):
                story(report, gate)
    elif phase == "hang":
        _watched(report)
    print("DONE" if not report.bad else f"DONE with {report.bad} bad findings", flush=True)
    _run("systemctl", "poweroff", "--no-block")
    return int(bool(report.bad))


def _started(report: Report) -> None:
    for name in PROCESSES:
        _another(name, 0)
    moments = {name: int(_show(name, "ActiveEnterTimestampMonotonic")) for name in PROCESSES}
    began = min(int(_show(name, "InactiveExitTimestampMonotonic")) for name in PROCESSES)
    ready_s = (max(moments.values()) - began) / 1e6
    report.said(True, f"start: all five units ready {ready_s:.1f} s after the first was started")


def _visit(report: Report, gate: Seen) -> None:
    from edge.audit.entry import Kind

    before = gate.raised()
    went = _walk(gate)
    report.said(went is Kind.TAKEN and gate.locked(), f"visit: granted, gone through ({went.name}), locked")
    report.said(gate.raised() == before + 1, "visit: the lock was released exactly once")


def _checked(report: Report, _: Seen) -> None:
    done = subprocess.run(
        [PROGRAM / ".venv/bin/edge", "check"],
        env={**os.environ, "SOFTHSM2_CONF": str(SITE / "softhsm2.conf")},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    told = done.stdout + done.stderr
    report.said(done.returncode == 0, f"edge check: exit {done.returncode}" + (f"\n{told}" if done.returncode else ""))


def _exposed(report: Report, _: Seen) -> None:
    most = {"gate": 0.5, "seal": 0.3, "sync": 1.0, "vision": 1.2, "web": 1.5}
    for name, limit in most.items():
        said = _run("systemd-analyze", "security", "--no-pager", f"edge-{name}.service").splitlines()[-1]
        exposure = float(said.split(":")[1].split()[0])
        report.said(exposure <= limit, f"exposure of edge-{name}: {exposure} (at most {limit})")


def _killed(report: Report, gate: Seen) -> None:
    from edge.audit.entry import Kind

    for name in PROCESSES:
        before, pid = gate.raised(), _pid(name)
        os.kill(pid, signal.SIGKILL)
        _another(name, pid)
        quiet = gate.raised() == before and gate.locked()
        report.said(quiet, f"kill -9 of edge-{name}: back, and the lock was not released")
    went = _walk(gate)
    report.said(went is Kind.TAKEN, "after the kills a visit goes through")


def _hung(report: Report, gate: Seen) -> None:
    before = gate.raised()
    pids = {name: _pid(name) for name in PROCESSES}
    for pid in pids.values():
        os.kill(pid, signal.SIGSTOP)
    for name, pid in pids.items():
        patience = _show(name, "WatchdogUSec")
        _another(name, pid)
        report.said(True, f"hang of edge-{name}: replaced by its watchdog ({patience})")
    report.said(gate.raised() == before and gate.locked(), "hangs: the lock was not released")


def _killed_open(report: Report, gate: Seen) -> None:
    """The gate dies while it is open: what comes after the process locks it."""
    before = gate.raised()
    _open(gate, before)
    os.kill(_pid("gate"), signal.SIGKILL)
    began = time.monotonic()
    _await(lambda: gate.locked(), 60, "the lock to fall")
    took = time.monotonic() - began
    report.said(gate.raised() == before + 1, f"kill -9 while open: locked {took * 1000:.0f} ms later, no second pulse")
    _play("nobody")
    _await(lambda: _active("gate"), _PATIENCE_S, "edge-gate to come back", _ASK_S)
    _open(gate, gate.raised())
    os.kill(_pid("gate"), signal.SIGSTOP)
    began = time.monotonic()
    _await(lambda: gate.locked(), _PATIENCE_S, "the lock to fall")
    report.said(True, f"hang while open: locked {time.monotonic() - began:.1f} s later by watchdog and ExecStopPost")
    _play("nobody")
    _await(lambda: _active("gate"), _PATIENCE_S, "edge-gate to come back", _ASK_S)


def _stopped(report: Report, gate: Seen) -> None:
    _open(gate, gate.raised())
    _run("systemctl", "stop", *(f"edge-{name}" for name in PROCESSES))
    report.said(gate.locked(), "stop while open: locked")
    before = gate.raised()
    starts = int((WORLD / "starts").read_text(encoding="ascii"))
    for _ in range(starts):
        _play("nobody")
        _run("systemctl", "restart", "edge-gate")
    report.said(gate.raised() == before, f"{starts} starts of edge-gate: the lock was not released")


def _watched(report: Report) -> None:
    """The kernel stops: nothing after this line is ours, the hardware watchdog starts the machine again."""
    armed = _run("systemctl", "show", "-p", "RuntimeWatchdogUSec").strip()
    report.said("14s" in armed, f"hardware watchdog: systemd feeds it ({armed})")
    print("HANG", flush=True)
    Path("/proc/sys/kernel/sysrq").write_text("1")
    Path("/proc/sys/kernel/panic").write_text("0")
    time.sleep(0.5)
    Path("/proc/sysrq-trigger").write_text("c")


def _walk(gate: Seen) -> Kind:
    """One visit, the person goes through; the outcome as the log has it."""
    from edge.audit.entry import Kind
    from edge.devices.follower import Follower
    from edge.settings import load

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

    found = _await(outcome, _PATIENCE_S, "the passage in the log")
    log.close()
    time.sleep(1.0)  # until the next person may come
    return found


def _open(gate: Seen, before: int) -> None:
    _play("visit")
    _await(lambda: gate.raised() > before and not gate.locked(), _PATIENCE_S, "the lock to be released")


def _play(clip: str) -> None:
    part = SCENE / "playing.new"
    part.write_text(f"{clip}.npy loop\n", encoding="ascii")
    part.replace(SCENE / "playing")


def _another(name: str, pid: int) -> None:
    """Wait until a process is there and ready that is not this one."""
    _await(lambda: _active(name) and _pid(name) != pid, _PATIENCE_S, f"edge-{name} to be ready", _ASK_S)


def _active(name: str) -> bool:
    return _show(name, "ActiveState") == "active"


def _pid(name: str) -> int:
    return int(_show(name, "MainPID"))


def _show(name: str, field: str) -> str:
    return _run("systemctl", "show", "--value", "-p", field, f"edge-{name}.service").strip()


def _await(ask: Callable[[], T | bool | None], within_s: float, what: str, every_s: float = _LOOK_S) -> T:
    end = time.monotonic() + within_s
    while not (answer := ask()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {within_s:.0f} s for {what}")
        time.sleep(every_s)
    return answer  # type: ignore[return-value] # not False, not None


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:2])}: {done.stderr.strip()[-300:]}")
    return done.stdout


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", kind, speed]:
            sys.exit(make(kind, speed))
        case ["pins"]:
            sys.exit(pins())
        case ["run"]:
            sys.exit(run())
        case _:
            sys.exit(2)
