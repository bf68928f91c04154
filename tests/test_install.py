"""From a blank machine to a gate, and back: what scripts/install would do, told without doing it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def told(script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """What the script says and how it ends."""
    return subprocess.run(
        [ROOT / "scripts" / script, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | more,
    )


@pytest.fixture(scope="module")
def dry() -> str:
    """A dry run with everything that can be asked for on this machine."""
    release = Path("/etc/os-release")
    if not release.exists() or not re.search("bookworm|trixie", release.read_text(encoding="utf-8")):
        pytest.skip("neither Bookworm nor Trixie")
    done = told("install", "--dry-run", "--kiosk", "--data", "/dev/nowhere", "--updates", "/nowhere.pem", "--start")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_dry_run_prints_every_file_with_its_text(dry: str) -> None:
    for path in (ROOT / "systemd").glob("edge*"):
        if path.suffix == ".txt":
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            assert f"          {line}".rstrip() in {said.rstrip() for said in dry.splitlines()}, (path.name, line)
    assert "write /etc/edge-gate/edge.toml (0640 root:edge)" in dry
    for profile in (ROOT / "config" / "profiles").glob("*.toml"):
        assert f"write /etc/edge-gate/profiles/{profile.name}" in dry


def test_a_dry_run_prints_every_command_and_changes_nothing(dry: str) -> None:
    for said in ("systemd-sysusers", "mkfs.ext4 -q -L edge-data /dev/nowhere", "systemctl start edge.target"):
        assert f"run   {said}" in dry
    assert "dtparam=strict_gpiod" in dry
    assert "run   env TMPDIR=/var/tmp /opt/edge-gate/scripts/setup" in dry
    assert dry.rstrip().endswith("install: nothing was changed")
    assert not Path("/opt/edge-gate").exists() or Path("/etc/systemd/system/edge-gate.service").exists()


def test_every_unit_that_is_installed_is_enabled(dry: str) -> None:
    [enabled] = [line for line in dry.splitlines() if "run   systemctl enable" in line]
    units = set(re.findall(r"write /etc/systemd/system/(edge\S*)", dry))
    assert units == set(enabled.split()[3:])


def test_what_is_installed_is_taken_away_again(dry: str) -> None:
    gone = told("uninstall", "--dry-run", "--with-log", "--with-configuration")
    assert gone.returncode == 0, gone.stderr
    for path in re.findall(r"^    write (\S+)", dry, re.MULTILINE):
        if not path.startswith("/etc/edge-gate/"):
            assert f"rm -rf --one-file-system {path}" in gone.stdout
    assert "rm -rf --one-file-system /etc/edge-gate" in gone.stdout


def test_the_log_and_the_keys_stay_unless_they_are_named() -> None:
    gone = told("uninstall", "--dry-run").stdout
    assert "/var/lib/edge-gate" not in gone
    assert "credstore" not in gone
    assert "userdel" not in gone


@pytest.mark.parametrize("script", ["install", "uninstall"])
def test_an_unknown_option_changes_nothing_and_shows_the_known_ones(script: str) -> None:
    done = told(script, "--dryrun")
    assert done.returncode == 2
    assert "--dry-run" in done.stderr


def test_a_read_only_system_is_not_made_where_it_cannot_be(dry: str) -> None:
    assert dry
    done = told("install", "--dry-run", "--read-only")
    if Path("/proc/device-tree/model").exists():
        pytest.skip("a Raspberry Pi can")
    assert done.returncode == 1
    assert "fstab" in done.stderr


def test_the_data_partition_stays_out_of_the_overlay_of_a_read_only_system() -> None:
    script = (ROOT / "scripts" / "install").read_text(encoding="utf-8")
    [command] = re.findall(r"run sed -i '(s/.*overlayroot.*)' \"\$line\"", script)
    for before in ("overlayroot=tmpfs console=tty1 rootwait", "console=tty1 overlayroot=tmpfs rootwait"):
        done = subprocess.run(["sed", command], input=before, capture_output=True, text=True, check=True)
        assert done.stdout == before.replace("=tmpfs", "=tmpfs:recurse=0")
    assert script.index("enable_overlayfs") < script.index("overlayroot=tmpfs:recurse=0/")


def test_a_lost_data_partition_stops_the_units_and_not_the_machine(dry: str) -> None:
    [line] = [line for line in dry.splitlines() if "LABEL=edge-data" in line]
    assert ",nofail," in line
    after = dry[dry.index("run   mount /var/lib/edge-gate") :]
    assert "systemd-tmpfiles --create edge-gate.conf" in after
    for process in ("gate", "seal", "sync", "web"):  # a directory of its own there: the mount is asked for
        unit = (ROOT / "systemd" / f"edge-{process}.service").read_text(encoding="utf-8")
        assert re.search("^StateDirectory=edge-gate/", unit, re.MULTILINE)


def test_no_line_kills_the_host_that_camera_and_token_hang_on() -> None:
    modules = (ROOT / "systemd" / "edge-gate.modprobe").read_text(encoding="utf-8")
    killed = set(re.findall(r"^install (\S+) /bin/false$", modules, re.MULTILINE))
    assert not killed & {"dwc2", "dwc_otg", "xhci_hcd", "xhci_pci", "usb_storage", "uvcvideo", "i2c_bcm2835"}
    assert {"libcomposite", "usbhid"} <= killed


def test_no_cell_is_charged_unless_a_site_asks_for_it() -> None:
    lines = (ROOT / "systemd" / "edge-gate.config.txt").read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if "rtc_bbat" in line and not line.startswith("#")]


def test_the_pins_that_start_low_are_those_of_the_configuration() -> None:
    lines = (ROOT / "systemd" / "edge-gate.config.txt").read_text(encoding="utf-8")
    [low] = re.findall(r"^gpio=([\d,]+)=op,dl$", lines, re.MULTILINE)
    text = (ROOT / "config" / "edge.toml").read_text(encoding="utf-8")
    outputs = re.findall(r"^(?:lock|red|green|amber|buzzer)_pin = (\d+)", text, re.MULTILINE)
    assert {*outputs} <= {*low.split(",")}


def test_who_shows_the_page_cannot_look_through_the_camera() -> None:
    assert "video" not in (ROOT / "systemd" / "edge-kiosk.sysusers").read_text(encoding="utf-8")
    rules = (ROOT / "systemd" / "edge-gate.udev").read_text(encoding="utf-8")
    [camera] = [line for line in rules.splitlines() if "video4linux" in line]
    assert 'TAG-="uaccess"' in camera
    install = (ROOT / "scripts" / "install").read_text(encoding="utf-8")
    assert "/etc/udev/rules.d/71-edge-gate.rules" in install  # after 70-uaccess.rules, which adds the tag


def test_no_face_stays_when_the_log_is_taken_away() -> None:
    gone = told("uninstall", "--dry-run", "--with-log").stdout
    assert "/var/lib/edge-gate/faces" in gone
    assert "/var/lib/edge-gate/provision" in told("uninstall", "--dry-run", "--with-configuration").stdout


def test_what_a_site_changed_in_the_firmware_s_lines_stays_changed(dry: str, tmp_path: Path) -> None:
    """Another lock pin, a serial line that is used, Bluetooth that is kept: an update must not turn them back."""
    assert "Lines of edge-gate" in dry
    config = tmp_path / "config.txt"

    def added() -> list[str]:
        done = told("install", "--dry-run", EDGE_BOOT=str(tmp_path))
        return re.findall(rf"add   {config}\n +(.*)", done.stdout)

    config.write_text("[cm5]\ndtoverlay=dwc2,dr_mode=host\n", encoding="ascii")
    first = added()
    assert first[0] == "[all]"
    assert "enable_uart=0" in first
    config.write_text(config.read_text(encoding="ascii") + "\n".join(first) + "\n", encoding="ascii")
    assert added() == []
    changed = (
        config.read_text(encoding="ascii").replace("gpio=17,27", "gpio=13").replace("enable_uart=0", "enable_uart=1")
    )
    config.write_text(changed.replace("dtoverlay=disable-bt", "# dtoverlay=disable-bt"), encoding="ascii")
    assert added() == []
