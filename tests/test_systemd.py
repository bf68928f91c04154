"""What each process may do on the machine, and that it comes back: the unit files."""

from __future__ import annotations

import http.server
import itertools
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.settings import Paths

FOLDER = Path(__file__).parents[1] / "systemd"
PROCESSES = ("vision", "gate", "seal", "sync", "web")
EXPOSURE = {"vision": 1.2, "gate": 0.5, "seal": 0.3, "sync": 1.0, "web": 1.5}
WITHOUT_NETWORK = ("vision", "gate", "seal")
WITHOUT_DEVICES = ("seal", "sync", "web")
SECRETS = {
    "gate": ("site-key", "content-keys", "ledger-key", "osdp-key"),
    "seal": ("pkcs11-pin",),
    "sync": ("mqtt-key", "witness-key"),
    "vision": ("gallery-key",),
    "web": ("iavs-key", "iavs-tls-key", "gallery-key", "web-tls-key"),
}

Unit = dict[str, list[str]]

SANDBOX = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateMounts": "yes",
    "PrivateUsers": "yes",
    "PrivateIPC": "yes",
    "ProtectProc": "invisible",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "RemoveIPC": "yes",
    "KeyringMode": "private",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM",
    "NoExecPaths": "/",
    "ExecPaths": "/usr /lib /opt/edge-gate/.venv",
    "LimitCORE": "0",
    "DevicePolicy": "closed",
    "IPAddressDeny": "any",
    "MemorySwapMax": "0",
    "UMask": "0027",
}


def sections(name: str) -> dict[str, Unit]:
    """The sections of a unit file; a key may stand more than once."""
    found: dict[str, Unit] = {}
    unit: Unit = {}
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            unit = found.setdefault(heading[1], {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            unit.setdefault(key, []).append(value)
    return found


def service(process: str) -> Unit:
    """What systemd reads about one of the five processes."""
    return sections(f"edge-{process}.service")["Service"]


def only(unit: Unit, key: str) -> str:
    """The value of a key that stands exactly once."""
    [value] = unit[key]
    return value


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_runs_as_its_own_user_in_the_common_group(process: str) -> None:
    unit = service(process)
    assert (only(unit, "User"), only(unit, "Group")) == (f"edge-{process}", "edge")
    users = (FOLDER / "edge-gate.sysusers").read_text(encoding="utf-8")
    assert re.search(rf"^u\s+edge-{process}\s+-:edge\s", users, re.MULTILINE)


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_is_started_watched_and_started_again_for_ever(process: str) -> None:
    unit = service(process)
    assert only(unit, "Type") == "notify"
    assert only(unit, "ExecStart") == f"/opt/edge-gate/.venv/bin/edge run {process} --config /etc/edge-gate/edge.toml"
    assert only(unit, "Restart") == "always"
    assert 0 < int(only(unit, "WatchdogSec").removesuffix("s")) <= 60
    assert only(sections(f"edge-{process}.service")["Unit"], "StartLimitIntervalSec") == "0"


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_lives_in_the_whole_sandbox(process: str) -> None:
    unit = service(process)
    assert {key: unit.get(key) for key in SANDBOX} == {key: [value] for key, value in SANDBOX.items()}
    assert unit["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    assert {"MemoryMax", "TasksMax"} <= unit.keys()


@pytest.mark.parametrize("process", WITHOUT_NETWORK)
def test_who_sees_decides_or_signs_has_no_network(process: str) -> None:
    unit = service(process)
    assert only(unit, "PrivateNetwork") == "yes"
    assert only(unit, "RestrictAddressFamilies") == "AF_UNIX"
    assert only(unit, "SocketBindDeny") == "any"
    assert "IPAddressAllow" not in unit


@pytest.mark.parametrize("process", ["sync", "web"])
def test_who_talks_reaches_private_networks_only(process: str) -> None:
    allowed = only(service(process), "IPAddressAllow").split()
    assert set(allowed) == {"localhost", "link-local", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"}


@pytest.mark.parametrize("process", WITHOUT_DEVICES)
def test_who_needs_no_device_has_none(process: str) -> None:
    unit = service(process)
    assert only(unit, "PrivateDevices") == "yes"
    assert "DeviceAllow" not in unit
    assert unit.get("SupplementaryGroups", []) == (["edge-stills"] if process == "web" else [])


def test_the_gate_has_the_pins_and_vision_the_camera() -> None:
    assert service("gate")["DeviceAllow"] == ["char-gpiochip rw"]
    assert service("vision")["DeviceAllow"] == ["char-video4linux rw", "char-media rw", "char-dma_heap rw"]


def test_every_exit_of_the_gate_drives_the_relay_off() -> None:
    assert only(service("gate"), "ExecStopPost") == (
        "/opt/edge-gate/.venv/bin/edge lock --config /etc/edge-gate/edge.toml"
    )


def test_the_gpio_library_keeps_its_pipes_in_a_directory_of_its_own() -> None:
    unit = service("gate")
    assert only(unit, "RuntimeDirectory") == "edge-gate-gpio"
    assert only(unit, "Environment") == "LG_WD=/run/edge-gate-gpio"
    assert only(unit, "WorkingDirectory") == "/run/edge-gate-gpio"


def test_each_writing_process_owns_its_directory_and_the_group_reads() -> None:
    owned = {process: service(process).get("StateDirectory") for process in PROCESSES}
    assert owned == {
        "vision": None,
        "gate": ["edge-gate/gate"],
        "seal": ["edge-gate/seal"],
        "sync": ["edge-gate/sync"],
        "web": ["edge-gate/iavs"],
    }
    assert {only(service(process), "StateDirectoryMode") for process in ("gate", "seal", "sync")} == {"0750"}


def test_vision_sees_of_what_others_keep_the_sealed_templates_only() -> None:
    unit = service("vision")
    assert only(unit, "TemporaryFileSystem") == "/var/lib/edge-gate:ro"
    assert only(unit, "BindReadOnlyPaths") == "-/var/lib/edge-gate/faces"


def test_what_galleries_hand_over_is_written_by_web_and_read_by_vision() -> None:
    rows = [line.split() for line in (FOLDER / "edge-gate.tmpfiles").read_text().splitlines() if line.startswith("d ")]
    assert [row[2:5] for row in rows if row[1].endswith("/faces")] == [["2750", "edge-web", "edge-faces"]]
    assert "-/var/lib/edge-gate/faces" in only(service("web"), "ReadWritePaths").split()
    reads = {each: "edge-faces" in str(service(each).get("SupplementaryGroups")) for each in PROCESSES}
    assert reads == {"vision": True, "gate": False, "seal": False, "sync": False, "web": False}


@pytest.mark.parametrize("process", PROCESSES)
def test_a_secret_comes_encrypted_and_to_the_one_that_needs_it(process: str) -> None:
    loaded = service(process).get("LoadCredentialEncrypted", [])
    assert loaded == [f"{secret}:edge-gate.{secret}" for secret in SECRETS.get(process, ())]
    assert "EnvironmentFile" not in service(process)


def test_the_target_wants_all_five() -> None:
    target = sections("edge.target")
    assert only(target["Unit"], "Wants").split() == [f"edge-{process}.service" for process in PROCESSES]
    assert only(target["Install"], "WantedBy") == "multi-user.target"
    for process in PROCESSES:
        unit = sections(f"edge-{process}.service")
        assert only(unit["Install"], "WantedBy") == "edge.target"
        assert only(unit["Unit"], "PartOf") == "edge.target"


def test_no_process_waits_for_another() -> None:
    for process, other in itertools.permutations(PROCESSES, 2):
        about = sections(f"edge-{process}.service")["Unit"]
        assert not any(f"edge-{other}.service" in value for values in about.values() for value in values)


@pytest.mark.parametrize("process", PROCESSES)
def test_the_exposure_stays_below_its_limit(process: str) -> None:
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=100", "--no-pager", f"./edge-{process}.service"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    exposure = re.search(r"exposure level for edge-\w+\.service: ([\d.]+)", told)
    assert exposure and float(exposure[1]) <= EXPOSURE[process]


def test_systemd_finds_nothing_to_say_about_the_units() -> None:
    """Unknown keys, wrong sections and bad values; the program itself is not installed here."""
    units = [f"./edge-{process}.service" for process in (*PROCESSES, "kiosk")]
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units, "./edge.target"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    ).stderr
    assert [line for line in told.splitlines() if "edge" in line and "is not executable" not in line] == []


def test_each_socket_lies_where_only_its_own_process_can_put_one() -> None:
    rows = [line.split() for line in (FOLDER / "edge-gate.tmpfiles").read_text().splitlines() if line.startswith("d ")]
    places = {row[1]: (row[2], row[3], row[4]) for row in rows}
    assert places["/run/edge-gate"] == ("0755", "root", "root")
    owners = {"gate": "edge-gate", "web": "edge-web", "vision": "edge-vision", "stills": "edge-vision"}
    for name, owner in owners.items():
        mode, user, _ = places[f"/run/edge-gate/{name}"]
        assert user == owner
        assert mode[-2:] == "50", "the group may enter, not write"
    assert places["/run/edge-gate/vision"][2] == "edge-eye"
    members = {process: only(service(process), "SupplementaryGroups").split() for process in ("gate", "vision")}
    assert "edge-eye" in members["gate"]
    assert "edge-eye" not in members["vision"]


def test_the_sockets_of_the_settings_lie_in_those_places() -> None:
    paths = Paths(Path("/s"), Path("/run/edge-gate"), Path("/c"))
    sockets = (paths.health_socket, paths.record_socket, paths.vision_socket, paths.stills_socket, paths.panel_socket)
    assert [socket.parent.name for socket in sockets] == ["gate", "gate", "vision", "stills", "web"]
    assert {paths.operators_socket.parent.name, paths.console_socket.parent.name} == {"gate"}


# the screen in front of the gate


def test_the_screen_comes_up_without_a_login() -> None:
    """A login would move the browser out of the unit, and memory and addresses would have no limit any more."""
    unit = service("kiosk")
    assert not {key for key in unit if key.startswith(("PAM", "TTY", "Utmp", "Standard"))}
    assert {"IPAddressDeny": ["any"], "IPAddressAllow": ["localhost"], "MemorySwapMax": ["0"]}.items() <= unit.items()
    told = dict(word.split("=", 1) for word in only(unit, "Environment").split())
    home = f"/run/{only(unit, 'RuntimeDirectory')}"  # /run/user is hidden by ProtectHome
    assert told == {"LIBSEAT_BACKEND": "seatd", "XDG_RUNTIME_DIR": home, "HOME": home}
    assert only(unit, "RuntimeDirectoryMode") == "0700"


def test_the_screen_is_the_kiosk_s_alone_and_nobody_switches_away() -> None:
    about = sections("edge-kiosk.service")["Unit"]
    assert only(about, "Conflicts") == "getty@tty1.service"
    assert {"seatd.service", "getty@tty1.service"} <= set(only(about, "After").split())
    assert (only(about, "Wants"), only(about, "PartOf")) == ("seatd.service", "edge.target")
    assert only(service("kiosk"), "ExecStart").startswith("/usr/bin/cage -- ")
    seat = sections("edge-kiosk.seatd")["Service"]
    assert seat == {"Environment": ["SEATD_VTBOUND=0"], "ExecStart": ["", "seatd -u edge-kiosk -g root"]}


def test_the_kiosk_may_sound_and_speak() -> None:
    words = only(service("kiosk"), "ExecStart").split()
    assert {"--autoplay-policy=no-user-gesture-required", "--enable-speech-dispatcher", "--disable-pinch"} <= {*words}
    rows = [line.split() for line in (FOLDER / "edge-kiosk.sysusers").read_text().splitlines() if line[0] != "#"]
    assert {row[2] for row in rows if row[0] == "m"} == {"render", "audio"}
    install = (FOLDER.parent / "scripts" / "install").read_text(encoding="utf-8")
    for package in ("cage", "seatd", "xwayland", "chromium", "speech-dispatcher-espeak-ng"):
        assert re.search(rf"wanted\+=\([^)]*\b{package}\b", install)


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of nobody's own that nobody can get to: pytest's are below one of whoever runs it alone."""
    with tempfile.TemporaryDirectory(prefix="edge-kiosk-", dir="/tmp") as made:
        os.chown(made, 65534, 65534)
        yield Path(made)


@pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("cage", "chromium", "Xwayland", "setpriv"))),
    reason="cage, chromium and Xwayland are not all here, or nobody may become a plain user",
)
def test_the_page_comes_up_under_cage_as_a_plain_user(tmp_path: Path, home: Path) -> None:
    """The unit's own line and environment on a screen that is not there; the browser asks for the page."""
    asked = threading.Event()

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """A page whose script says that it runs."""
            asked.set() if self.path == "/runs" else None
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<script>fetch('/runs')</script>")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    unit = service("kiosk")
    environment = [word.replace("/run/edge-kiosk", str(home)) for word in only(unit, "Environment").split()]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        line = only(unit, "ExecStart").replace("/run/edge-kiosk", str(home))
        line = line.replace("127.0.0.1:8080", f"127.0.0.1:{server.server_address[1]}")
        who = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--pdeathsig=KILL")
        screen = ("PATH=/usr/bin:/bin", "WLR_BACKENDS=headless", "WLR_RENDERER=pixman")
        with (tmp_path / "said").open("wb") as said:
            kiosk = subprocess.Popen(
                ["unshare", "--pid", "--fork", "--kill-child", *who, "env", "-i", *screen, *environment, *line.split()],
                stdout=said,
                stderr=said,
            )
        try:
            assert asked.wait(120), (tmp_path / "said").read_text(errors="replace")[-2000:]
        finally:
            kiosk.kill()
            kiosk.wait(60)
            server.shutdown()
