"""edge check on invented machines: what is bad is said with a remedy, and a good site is well."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import osdp
import pytest

from edge.app.check import check, check_settings, trust_known
from edge.app.checks.credentials import in_memory, names_of, opened, secrets_of
from edge.app.checks.finding import Finding, Machine
from edge.app.checks.machine import memory_of, watchdog_of
from edge.app.checks.pages import pages_of
from edge.app.checks.pins import LOOKS, directives, firmware
from edge.app.checks.told import broker_of, controller_of
from edge.app.wiring import wires
from edge.audit.entry import Event, Kind
from edge.cli import main
from edge.demo import broker as brokers
from edge.demo.broker import Broker
from edge.devices.clock import BUILT_AT
from edge.devices.controller import Line
from edge.devices.journal import SqliteJournal
from edge.devices.simulated import SimulatedClock
from edge.devices.truststore import TrustStore
from edge.errors import DeviceError
from edge.settings import Clock, Controller, Settings, SettingsError, load
from edge.sync.office import Office
from edge.trust.stored import Stored
from edge.trust.whole import CONFIRMATION, write_confirmation

ROOT = Path(__file__).parents[2]
GATE = "example/main-building/north-1"
KEY = bytes(range(16))
GOOD_FIRMWARE = (ROOT / "systemd" / "edge-gate.config.txt").read_text(encoding="utf-8")


class Board:
    """A machine that was invented: files below a folder, and a kernel that knows who has which line."""

    def __init__(self, root: Path) -> None:
        self.root, self.taken = root, dict[int, bytes]()
        self.machine = Machine(root, self.kernel, str)
        self.put("dev/gpiochip0", "")

    def put(self, place: str, text: str) -> Path:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def program(self, name: str, *said: str) -> None:
        """A program that says this, whatever it is asked."""
        self.put(f"usr/bin/{name}", "#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in said)).chmod(0o755)

    def kernel(self, chip: int, request: int, line: bytearray) -> None:
        """``struct gpio_v2_line_info`` as linux/gpio.h writes it down, field by field."""
        layout = struct.Struct("=32s 32s I I Q 160s 16s")
        assert (request, len(line), layout.size) == (3 << 30 | 256 << 16 | 0xB4 << 8 | 5, 256, 256)
        os.fstat(chip)
        name, _, offset, *_ = layout.unpack(line)
        holder = self.taken.get(offset)
        flags = 0b1000 | (holder is not None)
        line[:] = layout.pack(name, holder or b"", offset, 0, flags, b"", b"")


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path / "machine")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = load(ROOT / "config" / "edge.toml")
    paths = replace(found.paths, state=tmp_path / "state", run=tmp_path / "run", credentials=tmp_path / "secrets")
    for place in (paths.journal.parent, paths.operators_socket.parent, paths.credentials):
        place.mkdir(parents=True)
    return replace(found, paths=paths)


def bad(findings: Iterable[Finding]) -> list[Finding]:
    """What is bad; each of it says what to do."""
    found = [finding for finding in findings if not finding.well]
    assert all(finding.remedy for finding in found)
    return found


def gate_at(settings: Settings) -> socket.socket:
    """Something that answers where edge-gate would."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(settings.paths.operators_socket))
    listening.listen()
    return listening


# --- pins


def pins_of(settings: Settings, machine: Machine) -> Iterator[Finding]:
    """All that is said of relay, library, pins and firmware."""
    for name, look in LOOKS:
        for finding in look(settings, machine):
            assert finding.device == name
            yield finding


def test_pins_that_nobody_has_and_a_firmware_that_sets_them_low_are_well(settings: Settings, board: Board) -> None:
    board.put("boot/firmware/config.txt", GOOD_FIRMWARE)
    found = list(pins_of(settings, board.machine))
    assert bad(found) == []
    assert [finding.device for finding in found] == ["gate", "lgpio", "pins", "firmware"]
    assert "BCM 17" in found[0].said


def test_what_was_well_is_said_under_the_name_under_which_it_would_be_bad(settings: Settings, board: Board) -> None:
    """An update goes back for a name that was well before: a new look must not answer for an old one."""
    board.put("boot/firmware/config.txt", "dtparam=strict_gpiod\n")
    board.taken[settings.gate.lock_pin] = b"fan"
    without = replace(board.machine, package=lambda _: None)
    found = list(pins_of(settings, without))
    assert {finding.device for finding in bad(found)} == {"lgpio", "pins", "firmware"}
    assert [finding.well for finding in found if finding.device == "gate"] == [True]


def test_a_bench_on_which_no_relay_moves_is_asked_for_no_pins(settings: Settings, board: Board) -> None:
    board.put("boot/firmware/config.txt", "")
    bench = replace(settings, gate=replace(settings.gate, kind="simulated"))
    assert [(finding.device, finding.well) for finding in pins_of(bench, board.machine)] == [("gate", True)]


def test_a_pin_that_another_program_has_is_bad_while_the_gate_is_away(settings: Settings, board: Board) -> None:
    board.taken[settings.gate.lock_pin] = b"fan"
    [finding] = bad(pins_of(settings, board.machine))
    assert "BCM 17 (lock_pin) belongs to fan" in finding.said
    board.taken = {settings.gate.fire_pin: b""}
    assert "belongs to the kernel" in bad(pins_of(settings, board.machine))[0].said
    board.taken = {2: b"somebody on a pin that we do not want"}
    assert bad(pins_of(settings, board.machine)) == []


def test_the_gate_s_own_pins_are_well_while_it_runs(settings: Settings, board: Board) -> None:
    board.taken = {wire.bcm: b"lg" for wire in wires(settings)}
    with gate_at(settings):
        assert bad(pins_of(settings, board.machine)) == []
    assert len(bad(pins_of(settings, board.machine))) == len(wires(settings))


def test_the_chip_of_a_pi_5_under_an_older_kernel_is_the_fifth(settings: Settings, board: Board) -> None:
    asked: list[str] = []

    def kernel(chip: int, request: int, line: bytearray) -> None:
        asked.append(Path(f"/proc/self/fd/{chip}").readlink().name)
        board.kernel(chip, request, line)

    machine = replace(board.machine, ioctl=kernel)
    for revision, fifth, wanted in (
        (0xC03111, True, "gpiochip0"),
        (0xC04170, False, "gpiochip0"),
        (0xC04170, True, "gpiochip4"),
    ):
        revised = board.root / "proc/device-tree/system/linux,revision"
        revised.parent.mkdir(parents=True, exist_ok=True)
        revised.write_bytes(revision.to_bytes(4))
        board.put("dev/gpiochip4", "") if fifth else (board.root / "dev/gpiochip4").unlink(missing_ok=True)
        asked.clear()
        list(pins_of(settings, machine))
        assert set(asked) == {wanted}


def test_without_a_chip_or_without_lgpio_it_is_bad(settings: Settings, board: Board) -> None:
    [finding] = bad(pins_of(settings, replace(board.machine, package=lambda _: None)))
    assert "lgpio" in finding.said
    (board.root / "dev/gpiochip0").unlink()
    without = replace(board.machine, package=lambda _: None)
    library, chip = bad(finding for finding in check(settings, without) if finding.device in ("lgpio", "pins"))
    assert "lgpio" in library.said
    assert "gpiochip0" in chip.said


def test_a_file_that_is_no_chip_is_bad(settings: Settings, board: Board) -> None:
    real = Machine(board.root, package=str)
    assert any(
        "ioctl" in finding.said for finding in check(settings, real) if finding.device == "pins" and not finding.well
    )


def test_a_kernel_that_keeps_outputs_is_bad(settings: Settings, board: Board) -> None:
    board.put("boot/firmware/config.txt", GOOD_FIRMWARE.replace("dtparam=strict_gpiod", ""))
    board.put("sys/module/pinctrl_rp1/parameters/persist_gpio_outputs", "Y\n")
    [finding] = bad(pins_of(settings, board.machine))
    assert "pinctrl_rp1 keeps outputs" in finding.said
    board.put("sys/module/pinctrl_rp1/parameters/persist_gpio_outputs", "N\n")
    found = list(pins_of(settings, board.machine))
    assert bad(found) == []
    assert any("strict_gpiod" in finding.remedy for finding in found)


@pytest.mark.parametrize(
    "line",
    [
        "dtparam=strict_gpiod",
        "dtparam=strict_gpiod=on",
        "dtparam=audio=on,strict_gpiod",
        " dtparam=strict_gpiod,spi=on ",
    ],
)
def test_strict_gpiod_is_seen_however_it_is_written(settings: Settings, line: str) -> None:
    text = GOOD_FIRMWARE.replace("dtparam=strict_gpiod", line)
    assert list(firmware(text, settings, keeps=False)) == []
    switched_off = GOOD_FIRMWARE.replace("dtparam=strict_gpiod", "#dtparam=strict_gpiod\ndtparam=strict_gpiod=off")
    [finding] = firmware(switched_off, settings, keeps=False)
    assert finding.well


def test_an_output_that_the_firmware_leaves_alone_is_named_with_the_line_to_write(settings: Settings) -> None:
    moved = replace(settings, gate=replace(settings.gate, lock_pin=18, fill_pin=12, heartbeat_pin=4))
    lock, light = firmware(GOOD_FIRMWARE, moved, keeps=False)
    assert "BCM 18 (lock_pin) low" in lock.said and not lock.well
    assert "BCM 12 (fill_pin) low" in light.said and light.well  # opens nothing
    for finding in (lock, light):
        assert "gpio=18,22,23,24,25,12=op,dl" in finding.remedy
        assert "reboot" in finding.remedy
    mended = GOOD_FIRMWARE + "gpio=18,22,23,24,25,12=op,dl\n"
    assert list(firmware(mended, moved, keeps=False)) == []


def test_an_input_that_the_firmware_drives_is_a_short_circuit(settings: Settings) -> None:
    inner = replace(settings, gate=replace(settings.gate, portion_pin=27))
    [finding] = bad(firmware(GOOD_FIRMWARE, inner, keeps=False))
    assert "BCM 27 (portion_pin)" in finding.said
    assert "gpio=27=ip" in finding.remedy
    mended = GOOD_FIRMWARE + "gpio=27=ip\n"
    assert list(firmware(mended, inner, keeps=False)) == []


@pytest.mark.parametrize(("driver", "pulls", "rests"), [("transistor", "dh", "dl"), ("buffer", "dl", "dh")])
def test_a_wire_of_a_card_rests_until_the_gate_starts(settings: Settings, driver: Any, pulls: str, rests: str) -> None:
    told = Controller("wiegand", data_0_pin=10, data_1_pin=13, data_driver=driver)
    spoken = replace(settings, controller=told)
    assert bad(firmware(GOOD_FIRMWARE, spoken, keeps=False)) == []
    [finding] = bad(firmware(f"{GOOD_FIRMWARE}gpio=13=op,{pulls}\n", spoken, keeps=False))
    assert "BCM 13 (data_1_pin)" in finding.said
    assert f"gpio=10,13=op,{rests}" in finding.remedy
    assert bad(firmware(f"{GOOD_FIRMWARE}gpio=10,13=op,{rests}\n", spoken, keeps=False)) == []


def test_of_the_firmware_s_lines_the_later_wins() -> None:
    said = directives(
        "gpio=17,22-23=op,dl\n[pi4]\ngpio=22=dh\ngpio=23=a2\n#gpio=17=ip\ngpio=x=op\ngpio=5=pu\ngpio=-,9-=op\n"
    )
    assert said == {17: {"op", "dl"}, 22: {"op", "dh"}, 23: {"dl", "a2"}, 5: {"pu"}, 9: {"op"}}
    assert directives("gpio=17=op,") == {17: {"op", ""}}
    assert directives("gpio=17=op,dl\ngpio=17=pd") == {17: {"op", "dl", "pd"}}
    assert directives("gpio=0-99999999999=op").keys() == set(range(64))


# --- the machine


def systemd(board: Board, *said: str) -> None:
    (board.root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
    board.program("systemctl", *said)


@pytest.mark.parametrize(
    ("patience", "fed", "device", "well"),
    [
        ("14s", "5012345", True, True),
        ("0", "0", True, False),
        ("", "", True, False),
        ("14s", "0", True, False),
        ("14s", str(2**64 - 1), True, False),
        ("14s", "", True, True),  # a systemd that does not say when
        ("14s", "", False, False),
    ],
)
def test_a_watchdog_that_nobody_feeds_is_bad(
    settings: Settings, board: Board, patience: str, fed: str, device: bool, well: bool
) -> None:
    said = [f"RuntimeWatchdogUSec={patience}", *([f"WatchdogLastPingTimestampMonotonic={fed}"] if fed else [])]
    systemd(board, *said)
    if device:
        board.put("dev/watchdog0", "")
    [finding] = watchdog_of(settings, board.machine)
    assert finding.well is well
    assert bool(finding.remedy) is not well


def test_a_watchdog_is_not_asked_for_on_a_bench(settings: Settings, board: Board) -> None:
    assert list(watchdog_of(settings, board.machine)) == []
    systemd(board, "RuntimeWatchdogUSec=0")
    assert list(watchdog_of(replace(settings, gate=replace(settings.gate, kind="simulated")), board.machine)) == []
    (board.root / "usr/bin/systemctl").unlink()
    with pytest.raises(DeviceError, match="watchdog: systemctl"):
        list(watchdog_of(settings, board.machine))


@pytest.fixture
def installed(board: Board) -> Board:
    """A gate in service on which all is well."""
    board.put("etc/systemd/system/edge-gate.service", "")
    board.put("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")
    board.put("proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 1 0 100\n")
    board.put("sys/block/zram0/backing_dev", "none\n")
    return board


def test_limits_and_swap_are_well_where_nothing_reaches_the_card(settings: Settings, installed: Board) -> None:
    [finding] = memory_of(settings, installed.machine)
    assert finding.well


@pytest.mark.parametrize(
    ("place", "text", "word", "remedy"),
    [
        ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n", "does not count memory", "cgroup_enable=memory"),
        ("proc/swaps", "Filename\n/var/swap file 1 0 -2\n", "/var/swap is swap", "dphys-swapfile"),
        (
            "proc/swaps",
            "Filename\n/dev/zram0 x\n/dev/mmcblk0p3 partition 1 0 -2\n",
            "mmcblk0p3",
            "swapoff /dev/mmcblk0p3",
        ),
        ("sys/block/zram0/backing_dev", "/dev/loop0\n", "zram0 writes back to /dev/loop0", "Mechanism=none"),
    ],
)
def test_what_could_bring_a_template_to_the_card_is_bad(
    settings: Settings, installed: Board, place: str, text: str, word: str, remedy: str
) -> None:
    installed.put(place, text)
    [finding] = bad(memory_of(settings, installed.machine))
    assert word in finding.said
    assert remedy in finding.remedy


def test_memory_is_asked_about_on_an_installed_machine_only(settings: Settings, installed: Board) -> None:
    (installed.root / "sys/fs/cgroup/cgroup.controllers").unlink()
    assert len(bad(memory_of(settings, installed.machine))) == 1
    installed.put("run/systemd/container", "docker")
    assert list(memory_of(settings, installed.machine)) == []
    assert list(memory_of(settings, Board(installed.root / "bench").machine)) == []


# --- secrets


def test_each_secret_that_the_configuration_asks_for_is_looked_for(settings: Settings, board: Board) -> None:
    assert names_of(settings) == ("site-key", "pkcs11-pin")
    whole = replace(
        settings,
        mqtt=replace(settings.mqtt, enabled=True, key="network-key", witnesses=Path("neighbours.toml")),
        web=replace(settings.web, certificate=Path("web.pem")),
        iavs=replace(settings.iavs, enabled=True, at_gate=("staff",)),
        controller=Controller("osdp-output"),
    )
    wanted = {"site-key", "pkcs11-pin", "network-key", "witness-key", "web-tls-key"}
    wanted |= {"iavs-key", "iavs-tls-key", "gallery-key", "osdp-key"}
    assert set(names_of(whole)) == wanted
    assert {
        name for name in wanted for finding in bad(secrets_of(whole, board.machine)) if name in finding.said
    } == wanted
    for number, name in enumerate(sorted(wanted)):
        where = (
            settings.paths.credentials / name
            if number % 2
            else board.put(f"etc/credstore.encrypted/edge-gate.{name}", "")
        )
        where.write_bytes(KEY)
    [finding] = secrets_of(whole, board.machine)
    assert finding.said == "5 are encrypted for their processes alone, 4 credentials can be read"


def test_no_secret_is_asked_for_that_nobody_uses(settings: Settings) -> None:
    off = replace(
        settings,
        mqtt=replace(settings.mqtt, witnesses=Path("neighbours.toml")),
        iavs=replace(settings.iavs, at_gate=("staff",)),
        controller=Controller("wiegand"),
    )
    assert names_of(off) == ("site-key", "pkcs11-pin")


@pytest.fixture
def sealed(board: Board) -> Callable[[str, bytes], None]:
    """Encrypts a secret as edge provision does, under the key that systemd has where there is neither TPM nor host."""
    if (real := shutil.which("systemd-creds")) is None:
        pytest.skip("no systemd-creds here")
    (board.root / "usr/bin").mkdir(parents=True)
    (board.root / "usr/bin/systemd-creds").symlink_to(real)

    def encrypt(name: str, content: bytes) -> None:
        place = board.put(f"etc/credstore.encrypted/edge-gate.{name}", "")
        command = [real, "encrypt", "--with-key=tpm2-absent", f"--name={name}", "-", str(place)]
        subprocess.run(command, input=content, check=True, capture_output=True, timeout=60)

    return encrypt


def test_an_encrypted_secret_is_opened_and_one_of_another_name_is_not(
    settings: Settings, board: Board, sealed: Callable[[str, bytes], None]
) -> None:
    sealed("mqtt-key", b"a key")
    assert opened(settings, "mqtt-key", "broker", board.machine) == b"a key"
    store = board.machine.store
    (store / "edge-gate.osdp-key").write_bytes((store / "edge-gate.mqtt-key").read_bytes())
    with pytest.raises(DeviceError, match="controller: systemd-creds"):
        opened(settings, "osdp-key", "controller", board.machine)
    with pytest.raises(SettingsError, match="witness-key"):
        opened(settings, "witness-key", "broker", board.machine)


def test_a_secret_for_a_library_lies_in_memory_and_is_gone_afterwards() -> None:
    with in_memory(b"secret") as path:
        assert Path(path).read_bytes() == Path(path).read_bytes() == b"secret"
        assert str(Path(path).readlink()).startswith("/memfd:credential")
    with pytest.raises(OSError, match="No such file"):
        Path(path).readlink()


# --- broker


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with brokers.start(tmp_path_factory.mktemp("broker"), (GATE,)) as running:
        yield running


def test_a_configuration_that_the_pages_do_not_start_with_is_bad_before_they_are_started(settings: Settings) -> None:
    strange = replace(settings, web=replace(settings.web, languages=("en", "de")))
    assert not check_settings(strange).well
    assert "no words for 'de'" in check_settings(strange).said
    with pytest.raises(SettingsError, match="no words for 'de'"):
        list(pages_of(strange))
    assert check_settings(settings).well
    assert next(pages_of(settings)).well


def test_the_pages_certificate_goes_with_its_key(settings: Settings, broker: Broker) -> None:
    own, other = broker.identities[GATE], brokers.Authority(settings.paths.credentials / "other").issue(GATE)
    under = replace(settings, web=replace(settings.web, certificate=own.certificate))
    with pytest.raises(SettingsError, match="web-tls-key"):
        list(pages_of(under))
    (settings.paths.credentials / "web-tls-key").write_bytes(other.key.read_bytes())
    with pytest.raises(OSError, match=r"(?i)mismatch"):
        list(pages_of(under))
    (settings.paths.credentials / "web-tls-key").write_bytes(own.key.read_bytes())
    assert "under TLS on 8444" in next(pages_of(under)).said
    with pytest.raises(SettingsError, match="there is no"):
        list(pages_of(replace(settings, web=replace(settings.web, certificate=Path("/no/such.pem")))))


def sending(settings: Settings, broker: Broker) -> Settings:
    own = broker.identities[GATE]
    mqtt = replace(
        settings.mqtt, enabled=True, host=broker.host, port=broker.port, ca=broker.ca, certificate=own.certificate
    )
    return replace(settings, mqtt=mqtt)


def test_the_broker_answers_with_a_key_that_is_only_there_encrypted(
    settings: Settings, board: Board, broker: Broker, sealed: Callable[[str, bytes], None]
) -> None:
    sealed("mqtt-key", broker.identities[GATE].key.read_bytes())
    [finding] = broker_of(sending(settings, broker), board.machine)
    assert finding.well
    assert "TLSv1.3" in finding.said


def test_a_certificate_that_is_not_there_is_named(settings: Settings, board: Board, broker: Broker) -> None:
    made = sending(settings, broker)
    gone = Path("/no/such.pem")
    for name, mqtt in (("ca", replace(made.mqtt, ca=gone)), ("certificate", replace(made.mqtt, certificate=gone))):
        missing = replace(made, mqtt=mqtt)
        with pytest.raises(SettingsError, match=rf"mqtt\.{name}: there is no /no/such\.pem"):
            list(broker_of(missing, board.machine))


def refused(found: Iterator[Finding]) -> bool:
    """Whether the broker is well, and says no to our certificate under a name of its own."""
    answers, refusal = found
    assert (answers.device, answers.well) == ("broker", True)
    assert (refusal.device, refusal.well) == ("broker-certificate", False)
    assert refusal.remedy
    return bool(re.search(r"(?i)alert|hangs up", refusal.said))


def test_a_certificate_that_the_broker_does_not_take_is_bad(settings: Settings, board: Board, broker: Broker) -> None:
    stranger = brokers.Authority(board.root / "other").issue(GATE)
    (settings.paths.credentials / "mqtt-key").write_bytes(stranger.key.read_bytes())
    made = sending(settings, broker)
    made = replace(made, mqtt=replace(made.mqtt, certificate=stranger.certificate))
    assert refused(broker_of(made, board.machine))


def test_a_broker_that_takes_its_time_to_refuse_a_certificate_is_waited_for(
    settings: Settings, board: Board, broker: Broker
) -> None:
    """In TLS 1.3 the handshake is over for us before the broker has looked at our certificate."""
    authority = brokers.Authority(board.root / "other")
    server, own = authority.issue("broker", server=True), broker.identities[GATE]
    (settings.paths.credentials / "mqtt-key").write_bytes(own.key.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED

    def refuses(ear: socket.socket) -> None:
        line, _ = ear.accept()
        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        there = context.wrap_bio(coming, going, server_side=True)
        with line, contextlib.suppress(ConnectionError):
            for pieces in (1, 2):  # the hello; then the certificate, and only with a question to answer is it looked at
                coming.write(b"".join(line.recv(65536) for _ in range(pieces)))
                with contextlib.suppress(ssl.SSLError):
                    there.do_handshake()
                line.sendall(going.read())

    with socket.create_server(("127.0.0.1", 0)) as ear:
        slow = threading.Thread(target=refuses, args=(ear,))
        slow.start()
        made = sending(settings, broker)
        where = {"host": "localhost", "port": ear.getsockname()[1], "ca": authority.certificate}
        made = replace(made, mqtt=replace(made.mqtt, **where))
        assert refused(broker_of(made, board.machine))
        slow.join()


def test_a_broker_that_closes_the_line_on_a_version_it_does_not_know_has_taken_the_certificate(
    settings: Settings, board: Board, broker: Broker
) -> None:
    """MQTT 5 lets it close without an answer; a gate that works is not sent back to the old version for that."""
    authority = brokers.Authority(board.root / "other")
    server = authority.issue("broker", server=True)
    (settings.paths.credentials / "mqtt-key").write_bytes(broker.identities[GATE].key.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    context.load_verify_locations(broker.ca)
    context.verify_mode = ssl.CERT_REQUIRED

    def closes(ear: socket.socket) -> None:
        line, _ = ear.accept()
        with context.wrap_socket(line, server_side=True) as secured:
            secured.recv(64)

    with socket.create_server(("127.0.0.1", 0)) as ear:
        other = threading.Thread(target=closes, args=(ear,))
        other.start()
        made = sending(settings, broker)
        where = {"host": "localhost", "port": ear.getsockname()[1], "ca": authority.certificate}
        [finding] = broker_of(replace(made, mqtt=replace(made.mqtt, **where)), board.machine)
        assert finding.well
        other.join()


def test_a_key_in_a_token_is_left_to_the_process_that_has_the_token(
    settings: Settings, board: Board, broker: Broker
) -> None:
    told = "-----BEGIN PKCS#11 PROVIDER URI-----\nMAAA\n-----END PKCS#11 PROVIDER URI-----\n"
    (settings.paths.credentials / "mqtt-key").write_text(told, encoding="ascii")
    [finding] = broker_of(sending(settings, broker), board.machine)
    assert finding.well
    assert "in its token was not tried" in finding.said


# --- trust


def test_trust_that_came_over_the_network_is_what_counts_where_there_is_an_anchor(
    settings: Settings, tmp_path: Path
) -> None:
    office = Office.begin(tmp_path / "office", "pilot")
    office.book.save()
    office.publish(datetime.now(UTC))
    trust = replace(settings.trust, anchor=tmp_path / "anchor.json", roots=(office.list_key(),))
    anchored = replace(settings, trust=trust, clock=Clock("system", 5.0))
    [finding] = bad(trust_known(anchored))
    assert "no trust list yet" in finding.said
    assert "trust.bundles" in finding.remedy
    files = office.lists.files()
    store = TrustStore(settings.paths.trust)
    store.commit(Stored(1, b"", {}, files, 0))
    store.close()
    [finding] = trust_known(anchored)
    assert finding.well, finding
    assert "version" in finding.said
    assert list(settings.paths.journal.parent.iterdir()) == []  # looked at, nothing kept
    floors = ", ".join(f'"{path}": 99' for path in files)
    (settings.paths.journal.parent / "trust-floors").write_text(f"{{{floors}}}", encoding="utf-8")
    assert bad(trust_known(anchored))  # older than what was in force: the gate would not take it either


def test_a_gate_that_is_far_behind_its_trust_is_not_well(settings: Settings, tmp_path: Path) -> None:
    """Under a name of its own: an update that brings this look is not sent back for what was so before."""
    office = Office.begin(tmp_path / "office", "pilot")
    trust = replace(settings.trust, anchor=tmp_path / "anchor.json", roots=(office.list_key(),))
    delivered = replace(settings, trust=trust, clock=Clock("floor", 5.0))
    store = TrustStore(settings.paths.trust)
    for generation, (days, names) in enumerate(((390, []), (420, ["trust-time"])), start=1):
        office.publish(BUILT_AT + timedelta(days=days))
        store.commit(Stored(generation, b"", {}, office.lists.files(), 0))
        found = bad(trust_known(delivered))
        assert [finding.device for finding in found] == names
        assert all("edge audit anew --time" in finding.said and finding.remedy for finding in found)
    store.close()


def test_a_list_past_its_end_is_bad_under_a_name_of_its_own(settings: Settings, tmp_path: Path) -> None:
    office = Office.begin(tmp_path / "office", "pilot")
    trust = replace(settings.trust, anchor=tmp_path / "anchor.json", roots=(office.list_key(),))
    office.publish(BUILT_AT)
    files = {path: data for path, data in office.lists.files().items() if path != CONFIRMATION}
    later = BUILT_AT + timedelta(days=200)
    files[CONFIRMATION] = write_confirmation(files, (later, later + timedelta(days=21)), office.keys.signer("live"))
    store = TrustStore(settings.paths.trust)
    store.commit(Stored(1, b"", {}, files, 0))
    store.close()
    found = list(trust_known(replace(settings, trust=trust)))
    assert [finding.well for finding in found if finding.device == "trust"] == [True]
    assert {finding.device for finding in bad(found)} == {"trust-end"}


def test_without_an_anchor_the_file_counts(settings: Settings) -> None:
    [finding] = bad(trust_known(settings))
    assert "trust.list" in finding.remedy


# --- controller


def device_at(path: Path, address: int, key: bytes) -> Any:
    line = Line(path, 9600)
    info = osdp.PDInfo(address, line, scbk=key, flags=[osdp.LibFlag.EnforceSecure])
    able = osdp.PDCapabilities([(osdp.Capability.OutputControl, 1, 4), (osdp.Capability.CommunicationSecurity, 1, 1)])
    device = osdp.PeripheralDevice(info, able, log_level=osdp.LogLevel.Critical)
    device.start()
    return device, line


def test_a_controller_that_answers_in_its_secure_channel_is_well(
    settings: Settings, board: Board, line: tuple[Path, Path]
) -> None:
    (settings.paths.credentials / "osdp-key").write_text(KEY.hex(), encoding="ascii")
    told = replace(settings, controller=Controller("osdp-output", line[0], 9600, 5, 2))
    device, far = device_at(line[1], 5, KEY)
    try:
        [finding] = controller_of(told, board.machine, patience_s=60.0)
    finally:
        device.teardown()
        far.close()
    assert finding.well, finding
    assert "secure channel" in finding.said


def test_a_controller_that_does_not_answer_is_bad(settings: Settings, board: Board, line: tuple[Path, Path]) -> None:
    (settings.paths.credentials / "osdp-key").write_text(KEY.hex(), encoding="ascii")
    told = replace(settings, controller=Controller("osdp-output", line[0], 9600, 5, 2))
    [finding] = bad(controller_of(told, board.machine, patience_s=0.3))
    assert "no answer from OSDP address 5" in finding.said
    gone = replace(told, controller=replace(told.controller, device=board.root / "ttyAMA0"))
    [finding] = bad(finding for finding in check(gone, board.machine) if finding.device == "controller")
    assert "ttyAMA0" in finding.said


def test_while_the_gate_has_the_line_its_log_says_how_the_controller_is(
    settings: Settings, board: Board, run: Any
) -> None:
    told = replace(settings, controller=Controller("osdp-output", board.root / "ttyAMA0"))

    async def wrote(*events: Event) -> None:
        journal = SqliteJournal.open(settings.paths.journal, settings.site.origin, "g", SimulatedClock())
        for event in events:
            await journal.append(event)
        journal.close()

    lost = {"device": "controller", "detail": "no answer from OSDP address 1"}
    with gate_at(settings):
        for events, well in (
            ((Event(Kind.BOOT),), True),
            ((Event(Kind.DEVICE_LOST, lost), Event(Kind.DEVICE_BACK, {"device": "camera"})), False),
            ((Event(Kind.DEVICE_BACK, {"device": "controller"}),), True),
            ((Event(Kind.DEVICE_LOST, lost), Event(Kind.BOOT)), True),
        ):
            run(wrote(*events))
            [finding] = controller_of(told, board.machine)
            assert finding.well is well, events


def test_two_wires_answer_nobody_and_a_card_that_is_none_is_bad(settings: Settings, board: Board) -> None:
    two = Controller("wiegand", facility=17, card=4242, data_0_pin=13, data_1_pin=18)
    [finding] = controller_of(replace(settings, controller=two), board.machine)
    assert finding.well
    assert "17:4242 on BCM 13 and 18" in finding.said
    for wrong in (replace(two, facility=256), replace(two, data_1_pin=0)):
        with pytest.raises(SettingsError, match="controller"):
            list(controller_of(replace(settings, controller=wrong), board.machine))
    assert list(controller_of(settings, board.machine)) == []


# --- all of it


def test_every_device_is_looked_at_and_whatever_is_bad_has_a_remedy(settings: Settings, board: Board) -> None:
    made = replace(settings, controller=Controller("osdp-output", board.root / "tty"))
    systemd(board, "RuntimeWatchdogUSec=0")
    board.put("etc/systemd/system/edge-gate.service", "")
    found = list(check(made, board.machine))
    devices = {"profile", "secrets", "trust", "clock", "camera", "models", "gate", "watchdog", "memory", "controller"}
    devices |= {"lgpio", "pins"}
    assert devices | {"journal", "token", "broker"} <= {finding.device for finding in found}
    assert {"secrets", "trust", "watchdog", "memory", "controller", "token"} <= {
        finding.device for finding in bad(found)
    }


def test_the_command_says_it_in_lines_or_in_json(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "config" / "edge.toml").read_text(encoding="utf-8")
    for was, now in (
        ('kind = "gpio"', 'kind = "simulated"'),
        ("/var/lib/edge-gate", "state"),
        ("/run/edge-gate", "run"),
    ):
        text = text.replace(was, now, 1)
    config = tmp_path / "edge.toml"
    config.write_text(text, encoding="utf-8")
    (tmp_path / "profiles").symlink_to(ROOT / "config" / "profiles")
    assert main(["check", "--config", str(config), "--json"]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"device": "gate", "well": True, "said": "simulated: no relay moves", "remedy": ""} in found
    assert main(["check", "--config", str(config)]) == 1
    said = capsys.readouterr().out
    assert "ok   gate        simulated: no relay moves" in said
    assert "→ " in said
    config.write_text(text.replace("lock_pin", "look_pin"), encoding="utf-8")
    assert main(["check", "--config", str(config)]) == 2


def test_whether_the_gate_starts_with_a_configuration_is_said_without_a_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "config" / "edge.toml").read_text(encoding="utf-8")
    config = tmp_path / "edge.toml"
    (tmp_path / "profiles").symlink_to(ROOT / "config" / "profiles")
    wrong = text.replace("lock_pin = 17", "lock_pin = 5")
    assert wrong != text
    for made, status, said in (
        (text, 0, "ok   settings"),
        (wrong, 1, "BAD  settings"),
        (wrong.replace('kind = "gpio"', 'kind = "simulated"', 1), 0, "simulated gate"),
        (text.replace('profile = "', 'profile = "no-'), 1, "no-"),
        (text.replace("lock_pin", "look_pin"), 2, ""),
    ):
        config.write_text(made, encoding="utf-8")
        assert main(["check", "--settings", "--config", str(config)]) == status, said
        assert said in capsys.readouterr().out
