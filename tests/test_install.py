"""From a blank machine to a gate, and back: what scripts/install would do, told without doing it."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def told(script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """What the script says and how it ends."""
    return subprocess.run(
        [ROOT / "scripts" / script, *arguments],
        capture_output=True,
        text=True,
        timeout=240,
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
    [command] = re.findall(r"run sed -i '(s/.*overlayroot=tmpfs.*)' \"\$line\"", script)
    for before in ("overlayroot=tmpfs console=tty1 rootwait", "console=tty1 overlayroot=tmpfs rootwait"):
        done = subprocess.run(["sed", command], input=before, capture_output=True, text=True, check=True)
        assert done.stdout == before.replace("=tmpfs", "=tmpfs:recurse=0")
    assert script.index("enable_overlayfs") < script.index("overlayroot=tmpfs:recurse=0/")


@pytest.mark.parametrize(
    "line",
    [
        "overlayroot=tmpfs:recurse=0 console=tty1 rootwait",
        "console=tty1 overlayroot=tmpfs:recurse=0 rootwait",
        "console=tty1 rootwait overlayroot=tmpfs",
        "console=tty1 rootwait",
    ],
)
def test_a_read_only_system_becomes_writable_again(line: str, tmp_path: Path) -> None:
    """What raspi-config looks for, ``overlayroot=tmpfs`` and a space, does not stand there."""
    if os.geteuid():
        pytest.skip("only root does this")
    (tmp_path / "cmdline.txt").write_text(f"{line}\n", encoding="ascii")
    done = told("install", "--writable", EDGE_FIRMWARE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cmdline.txt").read_text(encoding="ascii") == "console=tty1 rootwait\n"
    assert "    wrote" not in done.stdout


def test_a_lost_data_partition_stops_the_units_and_not_the_machine(dry: str) -> None:
    [line] = [line for line in dry.splitlines() if "LABEL=edge-data" in line]
    assert ",nofail," in line
    after = dry[dry.index("run   mount /var/lib/edge-gate") :]
    assert "systemd-tmpfiles --create edge-gate.conf" in after
    for process in ("gate", "seal", "sync", "web"):  # a directory of its own there: the mount is asked for
        unit = (ROOT / "systemd" / f"edge-{process}.service").read_text(encoding="utf-8")
        assert re.search("^StateDirectory=edge-gate/", unit, re.MULTILINE)


@dataclass(frozen=True)
class Machine:
    """The script's own steps, done for real in a folder, with stand-ins for what only a machine has."""

    folder: Path

    def does(self, *steps: str, before: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """Run these steps of scripts/install, after its definitions and ``before``."""
        scripts = self.folder / "scripts"
        if not scripts.exists():
            scripts.mkdir()
            (self.folder / "systemd").symlink_to(ROOT / "systemd")
            (self.folder / "programs").mkdir(exist_ok=True)
        text = (ROOT / "scripts" / "install").read_text(encoding="utf-8")
        definitions = text[: text.index("\nas_before\n")]
        places = f"state={self.folder}/state units={self.folder}/units"
        (scripts / "install").write_text("\n".join((definitions, places, before, *steps, "")), encoding="utf-8")
        path = f"{self.folder}/programs:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", scripts / "install", *more.pop("words", "").split()],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env=os.environ | {"PATH": path} | more,
        )

    def stands_in(self, program: str, text: str) -> None:
        """A program that does what ``text`` says."""
        (self.folder / "programs").mkdir(exist_ok=True)
        (self.folder / "programs" / program).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (self.folder / "programs" / program).chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A folder in place of a machine."""
    return Machine(tmp_path)


DATA = 'run() { echo "ran $*"; }\nadd_line() { :; }\nmountpoint() { false; }\ndry=no'


def holds(machine: Machine, **found: str) -> None:
    """A blkid that has found this on a partition; of one with nothing on it, it still says its number in the table."""
    lines = "".join(f'{key}) echo "{value}" ;;\n' for key, value in found.items())
    machine.stands_in(
        "blkid",
        "all=yes\nfor word; do\ncase $word in -s) all=no ;; esac\ncase $word in\n"
        f"{lines}*) ;;\nesac\ndone\n"
        f"[ $all = no ] || echo '/dev/nowhere: {found or ''} PARTUUID=\"4d8097e2-02\"'",
    )


def test_an_empty_partition_becomes_the_gate_s(machine: Machine) -> None:
    """blkid always has something to say of a partition: its own number in the table."""
    holds(machine)
    done = machine.does("install_data", before=DATA, words="--data /dev/nowhere")
    assert "ran mkfs.ext4 -q -L edge-data /dev/nowhere" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"TYPE": "ext4"}, "not the gate's"),
        ({"PTTYPE": "gpt"}, "not the gate's"),
        ({"TYPE": "ext4", "LABEL": "photos"}, "is labelled photos"),
    ],
)
def test_somebody_else_s_partition_is_not_taken(machine: Machine, found: dict[str, str], said: str) -> None:
    holds(machine, **found)
    done = machine.does("install_data", before=DATA, words="--data /dev/nowhere")
    assert done.returncode == 1 and said in done.stderr, done.stdout
    assert "mkfs" not in done.stdout


@pytest.mark.parametrize("status", [1, 4, 8, 127])
def test_a_partition_of_which_nobody_knows_what_it_holds_is_not_taken(machine: Machine, status: int) -> None:
    machine.stands_in("blkid", f"exit {status}")
    done = machine.does("install_data", before=DATA, words="--data /dev/nowhere")
    assert done.returncode == 1 and "not the gate's" in done.stderr


def test_the_gate_s_own_partition_is_taken_as_it_is(machine: Machine) -> None:
    holds(machine, TYPE="ext4", LABEL="edge-data")
    done = machine.does("install_data", before=DATA, words="--data /dev/nowhere")
    assert "ran mount" in done.stdout and "mkfs" not in done.stdout, done.stderr


def test_a_log_is_not_hidden_by_a_partition_that_is_mounted_over_it(machine: Machine) -> None:
    (machine.folder / "state" / "gate").mkdir(parents=True)
    machine.stands_in("blkid", "exit 2")
    assert machine.does("install_data", before=DATA, words="--data /dev/nowhere").returncode == 0
    (machine.folder / "state" / "gate" / "journal.db").touch()
    done = machine.does("install_data", before=DATA, words="--data /dev/nowhere")
    assert done.returncode == 1 and "holds a log" in done.stderr
    assert "mkfs" not in done.stdout


def test_the_limits_on_memory_are_switched_on_once(machine: Machine) -> None:
    line = machine.folder / "cmdline.txt"
    (machine.folder / "config.txt").touch()
    line.write_text("console=serial0,115200 console=tty1 root=PARTUUID=4d8097e2-02 rootwait\n", encoding="ascii")
    for _ in range(2):
        done = machine.does("install_boot", before="on_a_pi() { true; }", EDGE_BOOT=str(machine.folder))
        assert done.returncode == 0, done.stderr
    found = line.read_text(encoding="ascii")
    assert found == "console=tty1 root=PARTUUID=4d8097e2-02 rootwait cgroup_enable=memory cgroup_memory=1\n"
    gone = told("uninstall", "--dry-run", EDGE_BOOT=str(machine.folder)).stdout
    [command] = re.findall(r"run   sed -i (.*) \S+cmdline.txt", gone)
    back = subprocess.run(["sed", command], input=found, capture_output=True, text=True, check=True, timeout=60)
    assert back.stdout == "console=tty1 root=PARTUUID=4d8097e2-02 rootwait\n"


def test_a_site_s_own_kernel_line_is_left_alone(machine: Machine) -> None:
    (machine.folder / "config.txt").touch()
    line = machine.folder / "cmdline.txt"
    line.write_text("console=tty1 cgroup_enable=cpuset,memory rootwait\n", encoding="ascii")
    machine.does("install_boot", before="on_a_pi() { true; }", EDGE_BOOT=str(machine.folder))
    assert line.read_text(encoding="ascii") == "console=tty1 cgroup_enable=cpuset,memory rootwait\n"


def test_nothing_is_swapped_to_the_card_of_a_pi(dry: str) -> None:
    assert "write /etc/rpi/swap.conf.d/edge-gate.conf" in dry
    assert (ROOT / "systemd" / "edge-gate.swap").read_text(encoding="ascii").endswith("[Main]\nMechanism=none\n")
    assert dry.index("mask --now dphys-swapfile.service") < dry.index("run   dphys-swapfile uninstall")
    assert "unmask dphys-swapfile.service" in told("uninstall", "--dry-run").stdout


def test_a_file_whose_rights_were_changed_gets_them_back(machine: Machine) -> None:
    """The same text with other rights is not the same file."""
    if os.geteuid():
        pytest.skip("needs root")
    wanted, there = machine.folder / "wanted", machine.folder / "there"
    wanted.write_text("rules\n", encoding="ascii")
    there.write_text("rules\n", encoding="ascii")
    there.chmod(0o666)
    step = f"put {wanted} {there} 0644"
    assert "wrote" in machine.does(step).stdout
    assert there.stat().st_mode & 0o777 == 0o644
    assert machine.does(step).stdout == ""


@pytest.mark.parametrize(
    ("unit", "then"),
    [("edge-kiosk.service", "yes -"), ("edge-update-good.service", "no /etc/rauc/keyring.pem"), ("other", "no -")],
)
def test_what_a_machine_has_is_brought_up_to_date_named_again_or_not(machine: Machine, unit: str, then: str) -> None:
    (machine.folder / "units").mkdir()
    (machine.folder / "units" / unit).touch()
    assert machine.does("as_before", 'echo "$kiosk ${updates:--}"').stdout.strip() == then


@pytest.mark.parametrize("runs", [True, False])
def test_a_running_gate_is_said_to_run_the_old_program(machine: Machine, runs: bool) -> None:
    machine.stands_in("systemctl", f'[ "$2" != is-active ] || exit {0 if runs else 3}')
    done = machine.does("apply", before="booted() { true; }\nsysctl() { :; }\nudevadm() { :; }")
    assert done.returncode == 0, done.stderr
    assert ("systemctl restart edge.target" in done.stdout) is runs


def test_what_counts_from_the_next_restart_on_is_said(dry: str) -> None:
    assert "run   systemctl daemon-reexec" in dry  # the hardware watchdog
    script = (ROOT / "scripts" / "install").read_text(encoding="utf-8")
    assert "systemctl reboot" in script[script.rindex('say "done') :]


def test_servers_that_a_site_named_in_our_file_move_to_its_own(machine: Machine) -> None:
    """What an update overwrites is no place for what a site decides."""
    ours = (ROOT / "systemd" / "edge-gate.chrony").read_text(encoding="ascii")
    assert "/etc/chrony/sources.d/site.sources" in ours
    assert not re.findall("^(?:server|pool|peer) ", ours, re.MULTILINE)
    assert "\nnocerttimecheck 1\n" in ours
    was, site = machine.folder / "was", machine.folder / "site.sources"
    was.write_text(ours + "server ntp.site.example iburst nts\n", encoding="ascii")
    text = (ROOT / "scripts" / "install").read_text(encoding="utf-8")
    [step] = re.findall(r"  grep -E '\^\(server.*?\n  done \|\| true\n", text, re.DOTALL)
    step = step.replace("/etc/chrony/conf.d/edge-gate.conf", str(was)).replace(
        "/etc/chrony/sources.d", str(machine.folder)
    )
    for _ in range(2):
        assert machine.does(step).returncode == 0
    assert site.read_text(encoding="ascii") == "server ntp.site.example iburst nts\n"


def test_the_switch_of_two_systems_is_not_deleted_with_the_gate() -> None:
    """Without autoboot.txt on its partition the machine would not start any more."""
    gone = told("uninstall", "--dry-run", "--with-log", "--with-configuration").stdout
    assert "rmdir /boot/choice" in gone
    assert not re.search(r"rm .*/boot/choice", gone)


def test_nothing_of_the_gate_stays_when_all_of_it_is_named() -> None:
    gone = told("uninstall", "--dry-run", "--with-log", "--with-configuration").stdout
    for path in ("/etc/rauc/keyring.pem", "/var/lib/edge-gate/updates", "/etc/systemd/system/edge-*.service.d"):
        assert f"rm -rf --one-file-system {path}" in gone
    users = (ROOT / "systemd" / "edge-gate.sysusers").read_text(encoding="utf-8")
    for group in re.findall(r"^g\s+(edge\S*)", users, re.MULTILINE):
        assert f"run   groupdel {group}\n" in gone
    assert gone.rindex("userdel") < gone.index("groupdel")
    assert "systemctl restart systemd-journald" in gone
    assert "restart to be rid of the rest" in gone


@pytest.mark.parametrize("script", ["install", "uninstall"])
def test_nothing_is_done_that_a_read_only_system_forgets(script: str, dry: str, tmp_path: Path) -> None:
    assert dry
    line = tmp_path / "cmdline"
    line.write_text("console=tty1 overlayroot=tmpfs:recurse=0 rootwait\n", encoding="ascii")
    done = told(script, "--dry-run", EDGE_CMDLINE=str(line))
    assert done.returncode == 1
    assert "scripts/install --writable" in done.stderr and "    run" not in done.stdout


APART = (ROOT / "tests" / "apart").read_text(encoding="utf-8")


def mounts_of_its_own() -> None:
    """Skip where there are none."""
    if os.geteuid() or subprocess.run(["unshare", "--mount", "mount", "--make-rprivate", "/"], check=False).returncode:
        pytest.skip("needs root and mounts of its own")


def done_apart(folder: Path, text: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run this in a bash with mounts of its own."""
    (folder / "round").write_text(text, encoding="utf-8")
    return subprocess.run(
        ["unshare", "--mount", "bash", "round", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=os.environ | more,
    )


@pytest.mark.parametrize(
    "line",
    [
        "$mount --bind etc /etc",
        "$mount --rbind lib /var/lib",
        'for place in /run /boot /media; do $mount -t tmpfs none "$place"; done',
        '  if mountpoint -q "$place"; then $mount -o remount,bind,ro "$place"; fi',
        "$mount -o remount,bind,ro lib/dpkg",
    ],
)
def test_nothing_is_written_for_a_test_whose_place_apart_is_not_whole(tmp_path: Path, line: str) -> None:
    """What these tests do as root would reach the machine that they run on."""
    mounts_of_its_own()
    assert APART.count(f"{line}\n") == 1
    done = done_apart(tmp_path, APART.replace(f"{line}\n", "  true\n") + "touch reached")
    assert done.returncode == 1, done.stderr
    assert not (tmp_path / "reached").exists()


def test_in_a_place_apart_nothing_of_the_machine_is_seen_or_written(tmp_path: Path) -> None:
    mounts_of_its_own()
    (tmp_path / "boot").mkdir()
    text = "touch /etc/here /var/lib/here boot/here && ! touch /usr/here && ! touch /boot-here && ls -A /boot /media"
    done = done_apart(tmp_path, APART + text)
    assert (done.returncode, done.stdout) == (0, "/boot:\n\n/media:\n"), done.stderr
    assert (tmp_path / "etc" / "here").exists() and not Path("/etc/here").exists()


ROUND = """. $1/tests/apart
for place in /opt /usr/local/bin; do $mount -t tmpfs none $place; done
mkdir -p /etc/systemd/system/edge-gate.service.d /etc/chrony/conf.d /etc/chrony/sources.d /etc/rpi/swap.conf.d /run/lock
touch /etc/systemd/system/edge-gate.service.d/lines.conf /etc/ssl/authority.pem
listed() {
  find /etc -type f -o -type l | grep -v 'passwd-\\|shadow-\\|group-' | LC_ALL=C sort
  cat /etc/group /etc/passwd
}
listed >before
bash scripts/install --kiosk --updates /etc/ssl/authority.pem
listed >between
bash $1/scripts/uninstall --with-log --with-configuration
listed >after
"""


def test_what_is_installed_is_really_taken_away_again(machine: Machine) -> None:
    """Files, users, groups and enabled units, made and removed in a copy of /etc that nobody else sees."""
    mounts_of_its_own()
    if Path("/etc/systemd/system/edge-gate.service").exists():
        pytest.skip("this machine is a gate: what it has already would be taken for what is left over")
    steps = ("users", "configuration", "limits", "boot", "swap", "updates", "units")
    before = "on_a_pi() { true; }\nthere() { false; }\nstate=/var/lib/edge-gate\nunits=/etc/systemd/system"
    machine.does(before="exit 0")  # only lays the folder out
    text = (ROOT / "scripts" / "install").read_text(encoding="utf-8")
    script = [text[: text.index("\nas_before\n")], before, *(f"install_{step}" for step in steps)]
    (machine.folder / "scripts" / "install").write_text("\n".join([*script, ""]), encoding="utf-8")
    (machine.folder / "config").symlink_to(ROOT / "config")
    (machine.folder / "boot").mkdir()
    for name in ("config.txt", "cmdline.txt"):
        (machine.folder / "boot" / name).write_text("console=tty1\n", encoding="ascii")
    done = done_apart(
        machine.folder, ROUND, str(ROOT), EDGE_BOOT=str(machine.folder / "boot"), EDGE_CMDLINE="/dev/null"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lists = [
        (machine.folder / name).read_text(encoding="utf-8").splitlines() for name in ("before", "between", "after")
    ]
    gone = {line for line in lists[1] if line not in lists[0]}
    assert any(line.startswith("edge-seal:") for line in gone)
    assert {"/etc/systemd/system/multi-user.target.wants/edge.target", "/etc/rauc/keyring.pem"} <= gone
    left = {line for line in lists[2] if line not in lists[0]}
    assert {line for line in left if "edge" in line or line.startswith("/")} == set()
    assert (machine.folder / "boot" / "cmdline.txt").read_text(encoding="ascii") == "console=tty1\n"


def test_what_cannot_be_taken_away_keeps_nothing_else_back(tmp_path: Path) -> None:
    mounts_of_its_own()
    places = "for place in /opt /usr/local/bin; do $mount -t tmpfs none $place; done\n"
    text = "mkdir -p /boot/choice /opt/edge-gate && touch /boot/choice/kept\nbash $1/scripts/uninstall\nls -d /opt/*"
    done = done_apart(tmp_path, APART + places + text, str(ROOT), EDGE_BOOT=str(tmp_path), EDGE_CMDLINE="/dev/null")
    assert "/boot/choice is not empty and stays" in done.stderr
    assert "restart to be rid of the rest" in done.stdout
    assert "cannot access '/opt/*'" in done.stderr, done.stdout


def test_a_screen_in_use_is_not_taken_away_for_nothing(machine: Machine) -> None:
    """A seatd that starts again ends the browser."""
    machine.stands_in("systemctl", 'echo "systemctl $*"')
    before = "booted() { true; }\nsysctl() { :; }\nudevadm() { :; }\nput() { cp $1 $2; }"
    (machine.folder / "units" / "seatd.service.d").mkdir(parents=True)
    for times in (1, 0):
        done = machine.does("install_units", "apply", before=before, words="--kiosk")
        assert done.stdout.count("systemctl restart seatd.service") == times, done.stderr


def test_no_network_card_comes_in_over_usb() -> None:
    modules = (ROOT / "systemd" / "edge-usb-network.modprobe").read_text(encoding="utf-8")
    killed = set(re.findall(r"^install (\S+) /bin/false$", modules, re.MULTILINE))
    assert {"cdc_ether", "cdc_ncm", "cdc_mbim", "rndis_host", "r8152", "asix", "ax88179_178a", "qmi_wwan"} <= killed
    assert not killed & {"lan78xx", "smsc95xx"}, "the socket on the board of a Pi 3"
    rules = (ROOT / "systemd" / "edge-usb-network.udev").read_text(encoding="utf-8")
    for kind in ('DRIVER=="r8152|asix|', 'ATTR{bInterfaceSubClass}=="06|0c|0d|0e"', 'ATTR{bInterfaceClass}=="e0"'):
        [rule] = [line for line in rules.splitlines() if kind in line]
        assert rule.endswith('ATTR{authorized}="0"')


@pytest.mark.parametrize(
    ("cards", "words", "status"),
    [
        ({"usb0": "r8152"}, "", 1),
        ({"usb0": "r8152"}, "--usb-network", 0),
        ({"usb0": "r8152"}, "--dry-run", 0),
        ({"usb0": "r8152", "eth0": "macb"}, "", 0),
        ({"usb0": "r8152", "wwan0": "qmi_wwan"}, "", 1),
        ({"eth0": "lan78xx"}, "", 0),
        ({}, "", 0),
    ],
)
def test_a_gate_that_is_reached_over_usb_alone_is_not_cut_off_unasked(
    machine: Machine, cards: dict[str, str], words: str, status: int
) -> None:
    routes = "".join(f"echo 'default via 192.0.2.1 dev {card} proto dhcp metric 100'\n" for card in cards)
    machine.stands_in("ip", f'[ "$1" = -6 ] || {{ :\n{routes}}}')
    for card, driver in cards.items():
        (machine.folder / "drivers" / driver).mkdir(parents=True)
        (machine.folder / "net" / card / "device").mkdir(parents=True)
        (machine.folder / "net" / card / "device" / "driver").symlink_to(machine.folder / "drivers" / driver)
    before = "booted() { true; }\nid() { echo 0; }"
    more = {"EDGE_NETWORK": str(machine.folder / "net"), "EDGE_CMDLINE": "/dev/null"}
    done = machine.does("check_machine", before=before, words=words, **more)
    if "neither" in done.stderr or "is needed" in done.stderr:
        pytest.skip("neither Bookworm nor Trixie")
    assert done.returncode == status, done.stdout + done.stderr
    assert ("usb0 (r8152)" in done.stdout or "wwan0 (qmi_wwan)" in done.stdout) is (status == 1 or "dry" in words)
    assert ("--usb-network" in done.stderr) is (status == 1)


def test_a_network_over_usb_that_was_asked_for_stays_asked_for(machine: Machine) -> None:
    modules = machine.folder / "modules"
    modules.mkdir()
    before = f'modules={modules}\nput() {{ echo "put $2"; }}\nrun() {{ echo "run $*"; }}'

    def again(words: str = "") -> str:
        done = machine.does("as_before", "install_usb_network", before=before, words=words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "put" in again() and again("--usb-network") == ""
    (modules / "edge-gate.conf").write_text("# of a version that turned none away by itself\n", encoding="ascii")
    assert f"put {modules}/edge-usb-network.conf" in again()
    (modules / "edge-gate.conf").write_text(
        (ROOT / "systemd" / "edge-gate.modprobe").read_text(encoding="utf-8"), encoding="utf-8"
    )
    assert again() == ""
    (modules / "edge-usb-network.conf").touch()
    assert "put" in again() and "run rm -f" in again("--usb-network")


@pytest.mark.parametrize("status", [0, 1])
def test_settings_that_the_new_program_does_not_take_are_said_before_a_restart(machine: Machine, status: int) -> None:
    """The one that runs still serves; a restart would end that."""
    machine.stands_in("systemctl", "echo systemctl $*")
    edge = machine.folder / "program" / ".venv" / "bin" / "edge"
    edge.parent.mkdir(parents=True)
    edge.write_text(f"#!/bin/sh\necho told $*\nexit {status}\n", encoding="utf-8")
    edge.chmod(0o755)
    before = f"program={machine.folder}/program\nbooted() {{ true; }}\nsysctl() {{ :; }}\nudevadm() {{ :; }}"
    done = machine.does("read_settings", "apply", before=before, words="--start")
    assert done.returncode == 0, done.stderr
    assert ("    told check --settings --config /etc/edge-gate/edge.toml" in done.stdout) is (status == 1)
    assert ("systemctl restart edge.target" in done.stdout) is (status == 0)
    assert ("systemctl start edge.target" in done.stdout) is (status == 0)


def test_a_pi_without_its_boot_partition_is_installed_all_the_same(machine: Machine) -> None:
    before = "on_a_pi() { true; }"
    done = machine.does("install_boot", "echo on", before=before, EDGE_BOOT=str(machine.folder / "nowhere"))
    assert done.stdout.endswith("on\n") and "not held low" in done.stdout, done.stderr
    (machine.folder / "config.txt").touch()
    done = machine.does("install_boot", "echo on", before=before, EDGE_BOOT=str(machine.folder))
    assert done.stdout.endswith("on\n"), done.stderr
    assert (machine.folder / "config.txt").read_text(encoding="ascii") == ""


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
