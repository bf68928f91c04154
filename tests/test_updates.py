"""Signed updates with two systems on one card: what is taken, what is refused, and which system starts next."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UPDATES = ROOT / "systemd" / "updates"
AUTOBOOT = "[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n"
needs_rauc = pytest.mark.skipif(not shutil.which("rauc") or not shutil.which("mksquashfs"), reason="rauc is missing")

Said = subprocess.CompletedProcess[str]


def ran(*command: object, env: dict[str, str] | None = None) -> Said:
    """What a program says and how it ends."""
    words = [str(word) for word in command]
    return subprocess.run(
        words, capture_output=True, text=True, timeout=240, check=False, env=os.environ | (env or {}), encoding="utf-8"
    )


# the bundle: who signed it, and whether it is whole


@dataclass(frozen=True)
class Workshop:
    """Keys, and a small system to make bundles of."""

    folder: Path

    def conf(self, keys: str = "keys", **changed: str) -> Path:
        """The gates' own rules with the authority of ``keys``, and no handlers."""
        text = (UPDATES / "system.conf").read_text(encoding="utf-8").partition("[handlers]")[0]
        given = {"bootloader": "noop", "path": str(self.folder / keys / "authority.pem")} | changed
        for key, value in given.items():
            text = re.sub(rf"^{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
        path = self.folder / f"{keys}.conf"
        path.write_text(text, encoding="utf-8")
        return path

    def bundle(self, version: str, signer: str = "signer", *more: str) -> Path:
        """A bundle of the small system."""
        keys, out = self.folder / "keys", self.folder / f"{version}-{signer}.raucb"
        out.unlink(missing_ok=True)
        parts = ("--root", self.folder / "root", "--boot", self.folder / "boot")
        signed = ("--cert", keys / f"{signer}.pem", "--key", keys / f"{signer}.key")
        made = ran(ROOT / "scripts" / "bundle", "--version", version, *parts, *signed, "--out", out, *more)
        assert made.returncode == 0, made.stderr
        return out


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Keys of an authority and of a stranger; files of a system."""
    folder = tmp_path_factory.mktemp("updates")
    for keys in ("keys", "strange"):
        assert ran(ROOT / "scripts" / "bundle", "--new-keys", folder / keys).returncode == 0
    (folder / "root" / "etc").mkdir(parents=True)
    (folder / "root" / "etc" / "fstab").write_text("PARTLABEL=edge-root-a / ext4 noatime 0 1\n")
    (folder / "root" / "program").write_bytes(os.urandom(200_000))
    for name, text in NEW.items():
        (folder / "root" / "etc" / name).write_text(text.replace("edge", "gate"), encoding="ascii")
    (folder / "root" / "etc" / "overlayroot.conf").write_text("")
    (folder / "boot").mkdir()
    (folder / "boot" / "config.txt").write_text(f"{MARK}gpio=17=op,dl\n")
    (folder / "boot" / "cmdline.txt").write_text("root=PARTLABEL=edge-root-a rauc.slot=A panic=10\n")
    return Workshop(folder)


@needs_rauc
def test_a_bundle_of_the_authority_is_taken(workshop: Workshop) -> None:
    told = ran("rauc", "--conf", workshop.conf(), "info", workshop.bundle("2026.11.22"))
    assert told.returncode == 0, told.stderr
    assert "'2026.11.22'" in told.stdout and "'edge-gate-pi'" in told.stdout and "verity" in told.stdout


@needs_rauc
def test_a_bundle_of_somebody_else_is_refused(workshop: Workshop) -> None:
    told = ran("rauc", "--conf", workshop.conf("strange"), "info", workshop.bundle("2026.11.22"))
    assert told.returncode != 0
    assert "signature verification failed" in told.stderr


@needs_rauc
def test_a_certificate_for_something_else_signs_no_update(workshop: Workshop) -> None:
    """The authority's own certificate is not for signing code either."""
    told = ran("rauc", "--conf", workshop.conf(), "info", workshop.bundle("2026.11.22", "authority"))
    assert told.returncode != 0
    assert "unsuitable certificate purpose" in told.stderr


@needs_rauc
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_one_changed_byte_of_the_system_is_found(workshop: Workshop, share: float, tmp_path: Path) -> None:
    bundle = tmp_path / "tampered.raucb"
    text = bytearray(workshop.bundle("2026.11.22").read_bytes())
    text[int(len(text) * share)] ^= 1
    bundle.write_bytes(text)
    told = ran("rauc", "--conf", workshop.conf(), "extract", bundle, tmp_path / "out")
    assert told.returncode != 0
    assert "corrupted" in told.stderr


@needs_rauc
@pytest.mark.parametrize("named", [b"version=2026.11.22", b"edge-gate-pi", b"verity-hash"])
def test_one_changed_byte_of_what_is_signed_is_found(workshop: Workshop, named: bytes, tmp_path: Path) -> None:
    bundle = tmp_path / "tampered.raucb"
    text = bytearray(workshop.bundle("2026.11.22").read_bytes())
    text[text.rindex(named) + len(named) - 1] ^= 1
    bundle.write_bytes(text)
    told = ran("rauc", "--conf", workshop.conf(), "info", bundle)
    assert told.returncode != 0
    assert "signature verification failed" in told.stderr


@needs_rauc
def test_a_bundle_that_is_not_checked_block_by_block_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    told = ran("rauc", "--conf", workshop.conf(), "info", plain(workshop, workshop.bundle("2026.11.22"), tmp_path))
    assert told.returncode != 0
    assert "format" in told.stderr


def plain(workshop: Workshop, bundle: Path, folder: Path) -> Path:
    """The same in the older format, which a kernel without dm-verity can open."""
    content, made = folder / "content", folder / "plain.raucb"
    assert ran("unsquashfs", "-d", content, bundle).returncode == 0
    manifest = (content / "manifest.raucm").read_text(encoding="utf-8").replace("format=verity", "format=plain")
    (content / "manifest.raucm").write_text(manifest, encoding="utf-8")
    keys = workshop.folder / "keys"
    done = ran("rauc", f"--cert={keys / 'signer.pem'}", f"--key={keys / 'signer.key'}", "bundle", content, made)
    assert done.returncode == 0, done.stderr
    return made


@needs_rauc
def test_a_key_in_a_token_signs_a_bundle(workshop: Workshop, tmp_path: Path) -> None:
    module = Path("/usr/lib/softhsm/libsofthsm2.so")
    engines = list(Path("/usr/lib").glob("*/engines-3/pkcs11.so"))
    if not module.exists() or not engines or not shutil.which("pkcs11-tool"):
        pytest.skip("no engine of OpenSSL for tokens")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    env = {
        "SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf"),
        "RAUC_PKCS11_MODULE": str(module),
        "RAUC_PKCS11_PIN": "123456",
    }
    signer = workshop.folder / "keys" / "signer.key"
    made = ran("softhsm2-util", "--init-token", "--free", "--label=updates", "--pin=123456", "--so-pin=1234", env=env)
    assert made.returncode == 0, made.stderr
    key = tmp_path / "signer.p8"
    assert ran("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", signer, "-out", key).returncode == 0
    imported = ran(
        *("softhsm2-util", "--import", key, "--token=updates", "--label=signer", "--id=01", "--pin=123456"), env=env
    )
    assert imported.returncode == 0, imported.stderr
    out = tmp_path / "token.raucb"
    parts = ("--root", workshop.folder / "root", "--boot", workshop.folder / "boot", "--out", out)
    signed = ("--cert", workshop.folder / "keys" / "signer.pem", "--key", "pkcs11:token=updates;object=signer")
    checked = ("--keyring", workshop.folder / "keys" / "authority.pem")
    done = ran(ROOT / "scripts" / "bundle", "--version", "7", *parts, *signed, *checked, env=env)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("version", ["", "1.2.3.4.5", "1.2-rc1", "v3", "1..2", "1.2\n3"])
def test_a_bundle_has_numbers_for_a_version(version: str, tmp_path: Path) -> None:
    parts = ("--root", tmp_path, "--boot", tmp_path, "--cert", "c", "--key", "k", "--out", tmp_path / "o")
    assert ran(ROOT / "scripts" / "bundle", "--version", version, *parts).returncode != 0


def test_a_floor_above_the_version_is_not_signed(tmp_path: Path) -> None:
    parts = ("--root", tmp_path, "--boot", tmp_path, "--cert", "c", "--key", "k", "--out", tmp_path / "o")
    made = ran(ROOT / "scripts" / "bundle", "--version", "1.9", "--floor", "1.10", *parts)
    assert made.returncode == 1
    assert "above" in made.stderr


# the floor: nobody goes back behind a mended fault


def before(folder: Path, told: str, floor: str | None) -> Said:
    """The handler before an installation."""
    (folder / "bundle").mkdir()
    (folder / "bundle" / "edge-update").write_text(told, encoding="utf-8")
    if floor is not None:
        (folder / "floor").write_text(floor, encoding="utf-8")
    env = {"RAUC_BUNDLE_MOUNT_POINT": str(folder / "bundle"), "EDGE_UPDATES": str(folder), "EDGE_PROGRAM": "/nowhere"}
    return ran(UPDATES / "before", env=env)


@pytest.mark.parametrize(
    ("version", "floor", "taken"),
    [
        ("2026.11.22", None, True),
        ("2026.11.22", "2026.11.22", True),
        ("2026.11.23", "2026.11.22", True),
        ("2026.11.21", "2026.11.22", False),
        ("1.10", "1.9", True),
        ("1.9", "1.10", False),
        ("1", "1.0.1", False),
    ],
)
def test_a_version_below_the_floor_is_refused(version: str, floor: str | None, taken: bool, tmp_path: Path) -> None:
    done = before(tmp_path, f"version={version}\nfloor={version}\n", floor and f"floor={floor}\n")
    assert (done.returncode == 0) is taken, done.stderr
    assert taken or "older" in done.stderr


@pytest.mark.parametrize("told", ["", "version=2\n", "floor=2\n", "version=2\nfloor=x\n", "version=2\nfloor=3\n"])
def test_a_bundle_that_does_not_say_its_version_is_refused(told: str, tmp_path: Path) -> None:
    assert before(tmp_path, told, None).returncode == 1


@pytest.mark.parametrize("floor", ["", "floor=\n", "floor=1;x\n"])
def test_a_damaged_floor_refuses_instead_of_letting_everything_in(floor: str, tmp_path: Path) -> None:
    done = before(tmp_path, "version=2\nfloor=2\n", floor)
    assert done.returncode == 1
    assert "damaged" in done.stderr


# the choice: what the firmware starts


@dataclass(frozen=True)
class Card:
    """The small partition from which the firmware reads, and what is running."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """Where the programs find it."""
        names = {"EDGE_CHOICE": "choice", "EDGE_CMDLINE": "cmdline", "EDGE_TRY_FLAG": "flag", "EDGE_UPDATES": "kept"}
        return {name: str(self.folder / place) for name, place in names.items()}

    def start(self, system: str) -> None:
        """As after a restart: the flag in memory is gone."""
        (self.folder / "cmdline").write_text(f"console=tty1 rauc.slot={system} panic=10\n")
        (self.folder / "flag").unlink(missing_ok=True)

    def choice(self, *words: str) -> str:
        """What RAUC would be told."""
        done = ran(UPDATES / "choice", *words, env=self.env)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def firmware(self) -> list[str]:
        """The partitions of [all] and of [tryboot]."""
        return re.findall(r"boot_partition=(\d)", (self.folder / "choice" / "autoboot.txt").read_text())


@pytest.fixture
def card(tmp_path: Path) -> Card:
    """A card on which system A runs."""
    (tmp_path / "choice").mkdir()
    (tmp_path / "kept").mkdir()
    (tmp_path / "choice" / "autoboot.txt").write_text(AUTOBOOT)
    made = Card(tmp_path)
    made.start("A")
    return made


def installed(card: Card) -> None:
    """What RAUC asks for while it installs system B."""
    card.choice("set-state", "B", "bad")
    card.choice("set-primary", "B")


def test_a_new_system_is_tried_once_and_the_old_one_stays_the_one_that_starts(card: Card) -> None:
    installed(card)
    assert card.choice("get-primary") == "B"
    assert card.choice("get-state", "B") == "good"
    assert card.firmware == ["2", "3"]
    assert (card.folder / "flag").exists()


def test_a_system_that_is_marked_good_while_it_runs_takes_over(card: Card) -> None:
    installed(card)
    card.start("B")
    card.choice("set-state", "B", "good")
    assert card.firmware == ["3", "2"]
    assert card.choice("get-primary") == "B"
    assert card.choice("tried") == ""


def test_marking_a_system_good_that_does_not_run_changes_nothing(card: Card) -> None:
    installed(card)
    card.choice("set-state", "B", "good")
    assert card.firmware == ["2", "3"]
    assert card.choice("tried") == "B"


def test_a_system_that_is_bad_is_not_tried_again(card: Card) -> None:
    installed(card)
    card.choice("set-state", "B", "bad")
    assert (card.choice("get-primary"), card.choice("get-state", "B"), card.choice("tried")) == ("A", "bad", "")
    assert not (card.folder / "flag").exists()


def test_both_files_keep_their_length_so_that_each_stays_one_sector(card: Card) -> None:
    sizes = set()
    for words in (("set-primary", "B"), ("set-state", "B", "bad"), ("set-primary", "A"), ("set-state", "A", "good")):
        card.choice(*words)
        sizes.add(tuple((card.folder / "choice" / name).stat().st_size for name in ("autoboot.txt", "state")))
    assert len(sizes) == 1
    assert max(sizes.pop()) <= 512


@pytest.mark.parametrize("words", [("set-primary", "C"), ("get-state", ""), ("set-state", "A", "fine"), ("reboot",)])
def test_a_choice_that_there_is_not_fails(card: Card, words: tuple[str, ...]) -> None:
    assert ran(UPDATES / "choice", *words, env=card.env).returncode == 1


# the trial: self-test, quiet minutes, then good


@pytest.fixture
def trial(card: Card) -> Callable[..., Said]:
    """The trial of a system, with stand-ins for the programs it asks; what it has done is in ``did``."""

    def run(checked: str, models: int = 0, restarts: int = 0) -> Said:
        programs, found = card.folder / "programs", card.folder / "checked"
        programs.mkdir(exist_ok=True)
        texts = {
            "edge": f"[ $1 = models ] && exit {models}\ncat {found}\n! grep -q false {found}",
            "rauc": f'echo rauc "$@" >>{card.folder}/did',
            "systemctl": "case $* in\n*ActiveState*) echo active ;;\n"
            f'*NRestarts*) echo {restarts} ;;\n*) echo "$@" >>{card.folder}/did ;;\nesac',
        }
        for name, text in texts.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        found.write_text(checked)
        (card.folder / "did").touch()
        env = card.env | {"PATH": f"{programs}:{os.environ['PATH']}", "EDGE_PROGRAM": str(programs / "edge")}
        return ran(UPDATES / "good", env=env | {"EDGE_QUIET_S": "1", "EDGE_PAUSE_S": "1"})

    return run


def did(card: Card) -> list[str]:
    """What the trial has ordered."""
    return (card.folder / "did").read_text().splitlines()


WELL = '{"device": "camera", "well": true, "said": ""}\n{"device": "broker", "well": false, "said": ""}\n'
WORSE = WELL.replace("true", "false")


def test_a_system_that_is_well_and_quiet_is_good_and_raises_the_floor(card: Card, trial: Callable[..., Said]) -> None:
    installed(card)
    card.start("B")
    (card.folder / "kept" / "check-before").write_text(WELL)
    (card.folder / "kept" / "floor").write_text("floor=1.9\n")
    (card.folder / "kept" / "B").write_text("version=1.12\nfloor=1.10\n")
    done = trial(WELL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert did(card) == ["rauc status mark-good booted"]
    assert (card.folder / "kept" / "floor").read_text() == "floor=1.10\n"


def test_the_floor_never_shrinks(card: Card, trial: Callable[..., Said]) -> None:
    installed(card)
    card.start("B")
    (card.folder / "kept" / "check-before").write_text(WELL)
    (card.folder / "kept" / "floor").write_text("floor=1.10\n")
    (card.folder / "kept" / "B").write_text("version=1.12\nfloor=1.9\n")
    assert trial(WELL).returncode == 0
    assert (card.folder / "kept" / "floor").read_text() == "floor=1.10\n"


@pytest.mark.parametrize(
    "found", [{"checked": WORSE}, {"checked": ""}, {"checked": WELL, "models": 1}, {"checked": WELL, "restarts": 1}]
)
def test_a_system_that_is_not_well_or_not_quiet_goes_back(
    card: Card, trial: Callable[..., Said], found: dict[str, str | int]
) -> None:
    installed(card)
    card.start("B")
    (card.folder / "kept" / "check-before").write_text(WELL)
    (card.folder / "kept" / "B").write_text("version=1.12\nfloor=1.12\n")
    assert trial(**found).returncode == 1
    assert did(card) == ["rauc status mark-bad booted", "reboot"]
    assert not (card.folder / "kept" / "floor").exists()


LOOKS_FURTHER = WELL + '{"device": "watchdog", "well": false, "said": ""}\n'


@pytest.mark.parametrize(("before", "status"), [(WELL, 0), ("", 1)])
def test_what_the_system_before_never_looked_at_sends_nobody_back(
    card: Card, trial: Callable[..., Said], before: str, status: int
) -> None:
    installed(card)
    card.start("B")
    (card.folder / "kept" / "check-before").write_text(before)
    assert trial(LOOKS_FURTHER).returncode == status


def test_a_system_that_did_not_start_is_marked_bad_by_the_old_one(card: Card, trial: Callable[..., Said]) -> None:
    installed(card)
    card.start("A")
    assert trial(WELL).returncode == 0
    assert did(card) == ["rauc status mark-bad other"]


def test_an_ordinary_start_proves_nothing_again(card: Card, trial: Callable[..., Said]) -> None:
    assert trial(WORSE).returncode == 0
    assert did(card) == []


def test_systemd_finds_nothing_to_say_about_the_units() -> None:
    units = ("./edge-update-good.service", "./edge-update-try.service")
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        cwd=ROOT / "systemd",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    ).stderr
    assert [line for line in told.splitlines() if "edge" in line and "is not executable" not in line] == []


def test_the_trial_waits_for_what_it_reads() -> None:
    unit = (ROOT / "systemd" / "edge-update-good.service").read_text(encoding="utf-8")
    assert "RequiresMountsFor=/boot/choice /var/lib/edge-gate" in unit.splitlines()


def test_only_root_starts_an_update() -> None:
    rules = (UPDATES / "dbus.conf").read_text(encoding="utf-8")
    assert re.search(r'context="default">\s*<deny send_destination="de.pengutronix.rauc"/>', rules)
    assert re.findall(r'<policy user="(\w+)">\s*<allow', rules) == ["root"]


# what belongs to this machine goes with it


RUNNING = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    "edge-gate:x:995:990::/:/usr/sbin/nologin\nanna:x:1000:1000:Anna:/home/anna:/bin/bash\n"
    "ben:x:1001:1001::/home/ben:/bin/bash\n",
    "shadow": "root:$y$site:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\nedge-gate:!*:19000::::::\n"
    "anna:$y$anna:19000:0:99999:7:::\nben:!:19000:0:99999:7:::\n",
    "group": "root:x:0:\nsudo:x:27:anna\nedge:x:990:anna\nvideo:x:44:edge-vision,anna,ben\nanna:x:1000:\n"
    "ben:x:1001:\nold:x:800:anna\n",
    "gshadow": "root:*::\nsudo:*::anna\nedge:!::anna\nvideo:*::edge-vision,anna,ben\nanna:!::\nben:!::\nold:!::anna\n",
}
NEW = {
    "passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    "edge-gate:x:995:990::/:/usr/sbin/nologin\n_new:x:120:120::/:/usr/sbin/nologin\n"
    "builder:x:1000:1000::/home/builder:/bin/bash\n",
    "shadow": "root:$y$image:19500:0:99999:7:::\nnobody:*:19500:0:99999:7:::\nedge-gate:!*:19500::::::\n"
    "_new:!*:19500::::::\nbuilder:$y$known:19500:0:99999:7:::\n",
    "group": "root:x:0:\nsudo:x:27:builder\nedge:x:990:\nvideo:x:44:edge-vision,builder\n_new:x:120:\n"
    "builder:x:1000:\n",
    "gshadow": "root:*::\nsudo:*:builder:builder\nedge:!::\nvideo:*::edge-vision,builder\n_new:!::\nbuilder:!::\n",
}


def system(folder: Path, files: dict[str, str]) -> Path:
    """The accounts of a system."""
    (folder / "etc").mkdir(parents=True)
    for name, text in files.items():
        (folder / "etc" / name).write_text(text, encoding="ascii")
        (folder / "etc" / name).chmod(0o640 if "shadow" in name else 0o644)
    return folder


def rows(folder: Path, name: str) -> dict[str, list[str]]:
    """The lines of an account file by name; no name stands twice."""
    lines = [line.split(":") for line in (folder / "etc" / name).read_text(encoding="ascii").splitlines()]
    assert len({line[0] for line in lines}) == len(lines)
    return {line[0]: line[1:] for line in lines}


@pytest.fixture
def carried(tmp_path: Path) -> Path:
    """A new system after the running one's people have come over."""
    if os.geteuid():
        pytest.skip("owners are given away by root alone")
    running, new = system(tmp_path / "running", RUNNING), system(tmp_path / "new", NEW)
    keys = running / "home" / "anna" / ".ssh"
    keys.mkdir(parents=True, mode=0o700)
    (keys / "authorized_keys").write_text("ssh-ed25519 AAAA anna\n", encoding="ascii")
    for path in (keys.parent, keys, keys / "authorized_keys"):
        os.chown(path, 1000, 1000)
    keys.parent.chmod(0o750)
    done = ran(UPDATES / "accounts", running, new)
    assert done.returncode == 0, done.stderr
    return new


def test_who_may_log_in_here_may_log_in_after_an_update(carried: Path) -> None:
    assert rows(carried, "passwd")["anna"] == ["x", "1000", "1000", "Anna", "/home/anna", "/bin/bash"]
    shadow = rows(carried, "shadow")
    assert (shadow["anna"][0], shadow["ben"][0], shadow["root"][0]) == ("$y$anna", "!", "$y$site")
    keys = carried / "home" / "anna" / ".ssh" / "authorized_keys"
    assert keys.read_text(encoding="ascii") == "ssh-ed25519 AAAA anna\n"
    assert (keys.stat().st_uid, keys.parent.stat().st_mode & 0o777) == (1000, 0o700)
    assert (keys.parent.parent.stat().st_uid, keys.parent.parent.stat().st_mode & 0o777) == (1000, 0o750)
    assert not (carried / "home" / "ben").exists()


def test_who_built_the_image_may_not(carried: Path) -> None:
    for name in ("passwd", "shadow", "group", "gshadow"):
        assert "builder" not in (carried / "etc" / name).read_text(encoding="ascii")


def test_groups_have_the_site_s_people_and_the_new_system_s_own(carried: Path) -> None:
    group, gshadow = rows(carried, "group"), rows(carried, "gshadow")
    members = {"sudo": "anna", "edge": "anna", "video": "edge-vision,anna,ben", "root": "", "anna": "", "_new": ""}
    assert {name: group[name][-1] for name in members} == members
    assert {name: gshadow[name][-1] for name in members} == members
    assert group.keys() == gshadow.keys() == {*members, "ben"}
    assert gshadow["sudo"] == ["*", "", "anna"]


def test_what_is_the_new_system_s_own_stays(carried: Path) -> None:
    assert rows(carried, "passwd").keys() == {"root", "nobody", "edge-gate", "_new", "anna", "ben"}
    assert rows(carried, "shadow").keys() == rows(carried, "passwd").keys()
    assert rows(carried, "shadow")["nobody"][1] == "19500"
    modes = {name: (carried / "etc" / name).stat().st_mode & 0o777 for name in NEW}
    assert modes == {"passwd": 0o644, "shadow": 0o640, "group": 0o644, "gshadow": 0o640}


def after(step: str, *words: object, **env: str) -> Said:
    """One step of the handler after an installation."""
    text = (UPDATES / "after").read_text(encoding="utf-8")
    definitions = text[: text.index("for wanted in")]
    return ran("sh", "-c", f'{definitions}\n{step} "$@"', UPDATES / "after", *words, env=env)


def test_a_technician_in_the_gate_s_group_does_not_stop_updates(tmp_path: Path) -> None:
    running = system(tmp_path / "running", RUNNING)
    assert after("same_owners", system(tmp_path / "same", NEW), EDGE_ROOT=str(running)).returncode == 0
    other = NEW | {"group": NEW["group"].replace("edge:x:990", "edge:x:991")}
    done = after("same_owners", system(tmp_path / "other", other), EDGE_ROOT=str(running))
    assert done.returncode == 1 and "numbers" in done.stderr


MARK = "# Lines of edge-gate; what a site changes below stays changed\n"
FIRMWARE = (ROOT / "systemd" / "edge-gate.config.txt").read_text(encoding="ascii")


def test_the_site_s_firmware_lines_outlive_an_update(tmp_path: Path) -> None:
    """Another lock pin that starts low, a serial line that is used, Bluetooth that is kept, an overlay of its own."""
    site = FIRMWARE.replace("gpio=17,27,22,23,24,25=op,dl", "gpio=13=op,dl").replace("enable_uart=0", "enable_uart=1")
    site = site.replace("dtoverlay=disable-bt", "# dtoverlay=disable-bt") + "dtparam=spi=on\n[pi5]\ndtparam=pciex1\n"
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("camera_auto_detect=1\n[all]\n" + MARK + site, encoding="ascii")
    new.write_text("auto_initramfs=1\n[all]\n" + MARK + FIRMWARE + "dtparam=newly=on\n", encoding="ascii")
    assert after("firmware_lines", old, new).returncode == 0
    assert new.read_text(encoding="ascii") == "auto_initramfs=1\n[all]\n" + MARK + site + "[all]\ndtparam=newly=on\n"


def test_a_firmware_file_without_the_gate_s_lines_is_left_alone(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("dtparam=spi=on\n", encoding="ascii")
    new.write_text("[all]\n" + MARK + FIRMWARE, encoding="ascii")
    assert after("firmware_lines", old, new).returncode == 0
    assert new.read_text(encoding="ascii") == "[all]\n" + MARK + FIRMWARE


def test_what_a_site_decides_goes_with_it(tmp_path: Path) -> None:
    running, new = tmp_path / "running", tmp_path / "new"
    new.mkdir()
    paths = (
        *("etc/chrony/sources.d/site.sources", "etc/netplan/50-site.yaml", "etc/sudoers.d/anna"),
        *("etc/ssh/sshd_config.d/keys-only.conf", "root/.ssh/authorized_keys", "etc/edge-gate/edge.toml"),
    )
    for path in paths:
        (running / path).parent.mkdir(parents=True, exist_ok=True)
        (running / path).write_text("of this site\n", encoding="ascii")
    assert after("carry", new, EDGE_ROOT=str(running)).returncode == 0
    assert [path for path in paths if not (new / path).exists()] == []


def test_whoever_built_the_image_does_not_log_in_as_root_here(tmp_path: Path) -> None:
    new = tmp_path / "new"
    (new / "root" / ".ssh").mkdir(parents=True)
    (new / "root" / ".ssh" / "authorized_keys").write_text("of the builder\n", encoding="ascii")
    (tmp_path / "running").mkdir()
    assert after("carry", new, EDGE_ROOT=str(tmp_path / "running")).returncode == 0
    assert not (new / "root" / ".ssh").exists()


FORGETS = "overlayroot=tmpfs:recurse=0"


@pytest.mark.parametrize(("running", "able"), [(FORGETS, True), (FORGETS, False), ("panic=10", True)])
def test_a_read_only_system_is_followed_by_one_if_the_new_one_can(tmp_path: Path, running: str, able: bool) -> None:
    boot = tmp_path / "running" / "boot" / "firmware"
    boot.mkdir(parents=True)
    (boot / "cmdline.txt").write_text(f"{running} rauc.slot=A\n", encoding="ascii")
    (tmp_path / "new" / "etc").mkdir(parents=True)
    if able:
        (tmp_path / "new" / "etc" / "overlayroot.conf").touch()
    done = after("overlay", tmp_path / "new", EDGE_ROOT=str(tmp_path / "running"))
    assert done.returncode == 0, done.stderr
    assert ("cannot be read-only" in done.stderr) is (running == FORGETS and not able)


USB = ("etc/modprobe.d/edge-usb-network.conf", "etc/udev/rules.d/71-edge-usb-network.rules")


@pytest.mark.parametrize(
    ("said", "here", "built", "then"),
    [
        ("edge-usb-network", False, True, False),
        ("edge-usb-network", True, False, True),
        ("edge-usb-network", True, True, True),
        ("of a version that did not ask", False, True, True),
    ],
)
def test_a_network_card_that_was_asked_for_is_there_after_an_update(
    tmp_path: Path, said: str, here: bool, built: bool, then: bool
) -> None:
    """And one that was not asked for does not come in with an image whose builder has one."""
    for name, there in (("running", here), ("new", built)):
        for path in ("etc/modprobe.d/edge-gate.conf", *USB):
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            if there or path not in USB:
                (tmp_path / name / path).write_text(f"# {said}\n", encoding="ascii")
    assert after("usb_network", tmp_path / "new", EDGE_ROOT=str(tmp_path / "running")).returncode == 0
    assert [(tmp_path / "new" / path).exists() for path in USB] == [then, then]


# the card with room for both


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A running system, and its boot part beside it."""
    tools = ("sfdisk", "losetup", "mkfs.vfat", "mcopy", "mkfs.ext4", "rsync", "debugfs")
    if os.geteuid() or not all(map(shutil.which, tools)):
        pytest.skip(f"a card is made by root with {', '.join(tools)}")
    if ran("losetup", "--find").returncode:
        pytest.skip("no loop devices")
    root, boot = tmp_path / "system", tmp_path / "system-boot"
    (root / "etc").mkdir(parents=True)
    (root / "var" / "lib" / "edge-gate" / "gate").mkdir(parents=True)
    (boot / "overlays").mkdir(parents=True)
    (root / "etc" / "fstab").write_text(
        "proc /proc proc defaults 0 0\nPARTUUID=4d8097e2-01  /boot/firmware  vfat  defaults  0  2\n"
        "PARTUUID=4d8097e2-02  /  ext4  defaults,noatime  0  1\ntmpfs /tmp tmpfs nodev 0 0\n"
    )
    (boot / "cmdline.txt").write_text("root=PARTUUID=4d8097e2-02 console=tty1 panic=3 rootwait\n")
    (boot / "overlays" / "disable-bt.dtbo").write_text("overlay")
    return root


SMALL = ("--yes", "--choice", "4M", "--boot", "8M", "--root", "16M")


def test_a_card_has_six_parts_and_the_system_that_was_there(source: Path, tmp_path: Path) -> None:
    image, boot = source / "var" / "card[1]", source.with_name("system-boot")  # not copied into itself
    made = ran(ROOT / "scripts" / "card", *SMALL, image, source, boot)
    assert made.returncode == 0, made.stderr
    table = re.findall(r'start= *(\d+), size= *(\d+).*name="(\S+)"', ran("sfdisk", "--dump", image).stdout)
    parts = {name: (512 * int(start), 512 * int(size)) for start, size, name in table}
    assert [*parts] == ["edge-choice", "edge-boot-a", "edge-boot-b", "edge-root-a", "edge-root-b", "edge-data"]
    config = (UPDATES / "system.conf").read_text(encoding="utf-8")
    assert set(re.findall(r"by-partlabel/(\S+)", config)) == {*parts} - {"edge-choice", "edge-data"}

    def fat(part: str, name: str) -> str:
        return ran("mtype", "-i", f"{image}@@{parts[part][0]}", f"::{name}").stdout

    assert fat("edge-choice", "autoboot.txt") == AUTOBOOT
    assert fat("edge-choice", "state") == "A=good\nB=bad \ntried= \n"
    assert (
        fat("edge-boot-a", "cmdline.txt") == "console=tty1 rootwait root=PARTLABEL=edge-root-a rauc.slot=A panic=10\n"
    )
    assert fat("edge-boot-a", "overlays/disable-bt.dtbo") == "overlay"
    root = tmp_path / "root-a"
    with image.open("rb") as file, root.open("wb") as out:
        file.seek(parts["edge-root-a"][0])
        out.write(file.read(parts["edge-root-a"][1]))
    assert ran("debugfs", "-R", "ls -p /var", root).stdout.count("/card") == 0
    fstab = ran("debugfs", "-R", "cat /etc/fstab", root).stdout
    assert [line.split()[:2] for line in fstab.splitlines()] == [
        ["proc", "/proc"],
        ["PARTLABEL=edge-boot-a", "/boot/firmware"],
        ["PARTLABEL=edge-root-a", "/"],
        ["tmpfs", "/tmp"],
    ]
    told = ran("blkid", "-p", "-O", parts["edge-data"][0], "-s", "LABEL", "-o", "value", image).stdout
    assert told == "edge-data\n"  # scripts/install --data takes it as it is
    assert str(image) not in ran("losetup", "--list").stdout


def test_a_card_s_files_are_those_that_the_choice_writes_over(source: Path, tmp_path: Path, card: Card) -> None:
    """A file that grows would not stay in its one sector."""
    image = tmp_path / "image"
    assert ran(ROOT / "scripts" / "card", *SMALL, image).returncode == 0
    assert source.exists()
    for name in ("autoboot.txt", "state"):
        told = ran("mtype", "-i", f"{image}@@{1 << 20}", f"::{name}").stdout
        (card.folder / "choice" / name).write_text(told, encoding="ascii")
    sizes = [(card.folder / "choice" / name).stat().st_size for name in ("autoboot.txt", "state")]
    installed(card)
    assert sizes == [(card.folder / "choice" / name).stat().st_size for name in ("autoboot.txt", "state")]


def test_a_log_is_not_written_in_two_places(source: Path, tmp_path: Path) -> None:
    (source / "var" / "lib" / "edge-gate" / "gate" / "journal.db").touch()
    made = ran(ROOT / "scripts" / "card", *SMALL, tmp_path / "image", source, source.with_name("system-boot"))
    assert made.returncode == 1 and "holds a log" in made.stderr
    assert not (tmp_path / "image").exists()


@pytest.mark.parametrize("words", [(), ("a", "b"), ("--root", "6", "a"), ("--quick", "a")])
def test_a_card_is_not_made_of_a_command_that_is_not_understood(words: tuple[str, ...]) -> None:
    assert ran(ROOT / "scripts" / "card", *words).returncode == 2


# the whole: RAUC installs into the other system, on file systems of their own


INSTALL = """
set -eu
at=$1
shift
dbus-daemon --config-file="$at/bus.conf" --fork --print-pid >"$at/bus.pid"
export DBUS_SYSTEM_BUS_ADDRESS="unix:path=$at/bus"
rauc --conf="$at/system.conf" --override-boot-slot=A service >"$at/service.log" 2>&1 &
service=$!
trap 'kill $service $(cat "$at/bus.pid")' EXIT
for _ in $(seq 100); do timeout 20 rauc --conf="$at/system.conf" status >/dev/null 2>&1 && break; sleep 0.2; done
for bundle; do
  timeout 90 rauc --conf="$at/system.conf" install "$bundle" 2>&1 && echo TAKEN || echo REFUSED
done
"""


@dataclass(frozen=True)
class Machine:
    """A card with two systems in files, its RAUC service and its handlers."""

    card: Card

    def install(self, *bundles: Path) -> Said:
        """One after the other; mounts end with it."""
        where = self.card.folder
        return ran("unshare", "--mount", "sh", "-c", INSTALL, "sh", where, *bundles, env=self.card.env | self.env)

    @property
    def env(self) -> dict[str, str]:
        """Where the handlers find the running system."""
        return {"EDGE_ROOT": str(self.card.folder / "running"), "EDGE_PROGRAM": "/nowhere"}


@pytest.fixture
def machine(card: Card, workshop: Workshop) -> Iterator[Machine]:
    """System A runs; the place of B is empty."""
    tools = ("dbus-daemon", "unshare", "mkfs.ext4", "mkfs.vfat", "losetup")
    if os.geteuid() or not all(map(shutil.which, tools)):
        pytest.skip("mounting needs root, dbus-daemon, mkfs.ext4, mkfs.vfat")
    text = (UPDATES / "system.conf").read_text(encoding="utf-8")
    text = text.replace("bundle-formats=verity", "bundle-formats=plain verity").replace("/run/rauc", f"{card.folder}/m")
    text = text.replace("/opt/edge-gate/systemd/updates", str(UPDATES)).replace("/var/lib/edge-gate", str(card.folder))
    text = text.replace("/etc/rauc/keyring.pem", str(workshop.folder / "keys" / "authority.pem"))
    for name in ("root-a", "boot-a", "root-b", "boot-b"):
        (card.folder / name).write_bytes(b"")
        os.truncate(card.folder / name, 8 << 20)
        loop = ran("losetup", "--find", "--show", card.folder / name)
        if loop.returncode:
            pytest.skip(f"no loop devices: {loop.stderr}")
        text = text.replace(f"/dev/disk/by-partlabel/edge-{name}", loop.stdout.strip())
    if "vfat" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        text = text.replace("type=vfat", "type=ext4")
    (card.folder / "system.conf").write_text(text, encoding="utf-8")
    (card.folder / "updates").mkdir()
    (card.folder / "running" / "etc" / "edge-gate").mkdir(parents=True)
    (card.folder / "running" / "etc" / "edge-gate" / "edge.toml").write_text("of this site\n")
    more = card.folder / "running" / "etc" / "systemd" / "system" / "edge-gate.service.d"
    more.mkdir(parents=True)
    (more / "lines.conf").write_text("[Service]\nDeviceAllow=char-ttyAMA rw\n")
    for name, text in RUNNING.items():
        (card.folder / "running" / "etc" / name).write_text(text.replace("edge", "gate"), encoding="ascii")
    (card.folder / "running" / "boot" / "firmware").mkdir(parents=True)
    (card.folder / "running" / "boot" / "firmware" / "config.txt").write_text(f"{MARK}gpio=13=op,dl\n")
    (card.folder / "running" / "boot" / "firmware" / "cmdline.txt").write_text(f"{FORGETS} rauc.slot=A panic=10\n")
    (card.folder / "bus.conf").write_text(
        '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" '
        '"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd"><busconfig><type>system</type>'
        f"<listen>unix:path={card.folder}/bus</listen><policy context='default'><allow user='*'/><allow own='*'/>"
        "<allow send_destination='*'/><allow receive_sender='*'/></policy></busconfig>"
    )
    yield Machine(card)
    for line in ran("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE").stdout.splitlines():
        if str(card.folder) in line:
            ran("losetup", "--detach", line.split()[0])


@needs_rauc
def test_an_update_is_written_beside_the_running_system_and_carries_what_the_site_decided(
    machine: Machine, workshop: Workshop, tmp_path: Path
) -> None:
    folder = machine.card.folder
    done = machine.install(plain(workshop, workshop.bundle("1.10"), tmp_path))
    assert "TAKEN" in done.stdout, done.stdout + (folder / "service.log").read_text()
    assert machine.card.choice("get-primary") == "B"
    assert machine.card.firmware == ["2", "3"]
    assert (folder / "kept" / "B").read_text() == "version=1.10\nfloor=1.10\n"
    read = ran("debugfs", "-R", "cat /etc/edge-gate/edge.toml", folder / "root-b").stdout
    assert read == "of this site\n"
    told = "/etc/systemd/system/edge-gate.service.d/lines.conf"  # a site tells a unit of its lines
    assert "char-ttyAMA" in ran("debugfs", "-R", f"cat {told}", folder / "root-b").stdout
    assert "edge-root-b" in ran("debugfs", "-R", "cat /etc/fstab", folder / "root-b").stdout
    assert "anna:x:1000" in ran("debugfs", "-R", "cat /etc/passwd", folder / "root-b").stdout
    assert b"gpio=13=op,dl" in (folder / "boot-b").read_bytes()
    line = f"{FORGETS} root=PARTLABEL=edge-root-b rauc.slot=B panic=10\n"
    assert line.encode() in (folder / "boot-b").read_bytes(), "read-only as before"
    assert not any((folder / "root-a").read_bytes())


@needs_rauc
def test_an_older_system_is_refused_before_anything_is_written(
    machine: Machine, workshop: Workshop, tmp_path: Path
) -> None:
    folder = machine.card.folder
    (folder / "kept" / "floor").write_text("floor=1.10\n")
    done = machine.install(plain(workshop, workshop.bundle("1.9"), tmp_path))
    assert "REFUSED" in done.stdout
    assert "older than 1.10" in done.stdout + (folder / "service.log").read_text()
    assert not any((folder / "root-b").read_bytes())
    assert machine.card.choice("get-primary") == "A"
