"""From a blank card to the first visit, as the README has it: each command as it is written there."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.cli import parser

ROOT = Path(__file__).parents[1]
SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
PORTRAITS = sorted((ROOT / "models" / "portraits").glob("*.jpg"))


def block(path: str, after: str) -> list[str]:
    """The commands of the first code block after these words; continued lines joined."""
    text = (ROOT / path).read_text(encoding="utf-8")
    found = re.search(r"\n```\n(.*?)```", text[text.index(after) :], re.DOTALL)
    assert found
    return found[1].replace("\\\n", " ").splitlines()


WALK = block("README.md", "## From a blank SD card")
DESK = [block("systemd/README.md", f"<!-- walk: {name} -->") for name in ("keys", "gate", "card")]


def edges(lines: list[str]) -> list[list[str]]:
    """The words after each ``edge`` in these lines."""
    parts = [part for line in lines for part in re.split(r"&&", line.split(" #")[0]) if "edge " in part]
    words = [[word for word in shlex.split(part) if word != "sudo"] for part in parts]
    return [line[1:] for line in words if line and line[0] == "edge"]


@pytest.mark.parametrize(
    "words", [*edges(WALK), *edges([*DESK[0], *DESK[1], *DESK[2]])], ids=lambda words: " ".join(words[:2])
)
def test_every_command_of_the_walk_is_understood(words: list[str]) -> None:
    assert parser().parse_args(words).act


# What this machine cannot do is left out; all else runs as it is written
ELSEWHERE = ("sudo apt ", "sudo scripts/install", "sudo systemctl reboot", "sudo edge check", "sudo edge operator")
ALLOWED = {"edge", "openssl", "cp", "echo", "cd", "mount", "umount", "sudoedit"}
STANDS_IN = {
    "sudo": 'exec "$@"',
    # with what somebody types when asked for a PIN
    "edge": f"""typed=$(dirname "$0")/typed-$1-$2
if [ -e "$typed" ]; then exec <"$typed"; fi
exec {sys.executable} -m edge "$@" """,
    "mount": "mkdir -p /media/stick",
    "umount": ":",
    # what a site writes: the library of this machine's token
    "sudoedit": f"""[ -e "$1" ] || exit 0; sed -i 's#^module = .*#module = "{SOFTHSM}"#' "$1" """,
}


def refused(line: str) -> list[str]:
    """The programs of a line, and what hides one, that no test does as root."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    found, first = [], True
    for word in words:
        if (first and word != "sudo" and word not in ALLOWED) or set("$`") & set(word):
            found.append(word)
        first = word in ("&&", "|", ";", "&", "||") or (first and word == "sudo")
        if set(word) <= set("&|;()<>") and word not in ("&&", "|", ">"):
            found.append(word)
    return found


def test_only_what_is_known_is_done_as_root() -> None:
    for line in (
        "sudo reboot",
        "edge check && sudo rm x",
        "echo x | tee y",
        "sudo -u x sh",
        "cd x; reboot",
        "(reboot)",
    ):
        assert refused(line), line
    for line in ('echo "$(reboot)"', "cp `reboot` x", "edge check &reboot", "echo x >$HOME", "cat <x", "X=1 reboot"):
        assert refused(line), line
    assert refused("sudo cp a b && sudo edge check | edge x >y  # then reboot") == []


# Places of its own, over those of this machine, for this shell alone
PLACES = """. {root}/tests/apart
mkdir desk
mkdir -p /etc/edge-gate /etc/credstore.encrypted
ln -s {root} edge-gate
cp -r {root}/config/edge.toml {root}/config/profiles /etc/edge-gate
"""


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A folder with stand-ins for what changes the machine itself."""
    if os.geteuid() or not all(map(shutil.which, ("unshare", "openssl", "systemd-creds"))) or not SOFTHSM.exists():
        pytest.skip("needs root, SoftHSM and systemd-creds")
    if subprocess.run(["unshare", "--mount", "mount", "--make-rprivate", "/"], check=False).returncode:
        pytest.skip("no mounts of its own here")
    (tmp_path / "programs").mkdir()
    for name, text in STANDS_IN.items():
        (tmp_path / "programs" / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (tmp_path / "programs" / name).chmod(0o755)
    (tmp_path / "programs" / "typed-token-init").write_text("246810\n135791\n", encoding="ascii")
    (tmp_path / "programs" / "typed-provision-secret").write_text("246810\n", encoding="ascii")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\n", encoding="ascii")
    return tmp_path


def script() -> str:
    """The walk in the order in which somebody goes it: gate, desk, gate."""
    here = [line for line in WALK if not line.startswith(ELSEWHERE)]
    assert [word for line in [*here, *itertools.chain(*DESK)] for word in refused(line)] == []
    [answer] = [line for line in here if line.startswith("edge provision answer")]
    [apply] = [line for line in here if line.startswith("sudo edge provision apply")]
    before, behind = here[: here.index(answer)], here[here.index(answer) + 1 :]
    told = apply.replace('"8004 4f79 …"', '"$(sed -n "s/fingerprint of the authority //p" ../said)"')
    root = 'sed -i "s#^roots = .*#$(sed -n /^roots/p office.said)#" /media/stick/gate/edge.toml'
    keys, gate, card = DESK
    keys = [line + " | tee office.said" if line == "edge trust init office" else line for line in keys]
    desk = [*keys, *gate, root, answer.replace(" && ", " | tee ../said && "), *card]
    gate_again = [told if line == apply else line for line in behind]
    lines = [*before, "cd desk", f"cp {PORTRAITS[0]} me.jpg", *desk, *gate_again]
    return "\n".join(f"{{ {line}\n}} || exit 1" for line in lines if not line.startswith("#"))


@pytest.mark.skipif(not PORTRAITS, reason="no portraits: edge models pull")
def test_the_walk_makes_a_gate_that_trusts_its_first_card(scratch: Path) -> None:
    (scratch / "go").write_text(PLACES.format(root=ROOT) + script(), encoding="utf-8")
    done = subprocess.run(
        ["setsid", "--wait", "unshare", "--mount", "bash", "-o", "pipefail", "go"],
        cwd=scratch,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env=os.environ
        | {
            "PATH": f"{scratch}/programs:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "SOFTHSM2_CONF": f"{scratch}/softhsm2.conf",
            "PYTHONUNBUFFERED": "1",
        },
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "pkcs11-pin is kept" in said
    assert re.search(r"version \d+ in place: 9 files, 2 secrets", said)
    assert "verified" in said
    made = scratch / "etc" / "edge-gate"
    for name in ("edge.toml", "token.pem", "trust.cbor", "mqtt/gate.pem", "profiles/pilot.toml"):
        assert (made / name).exists(), name
    kept = {path.name for path in (scratch / "etc" / "credstore.encrypted").iterdir()}
    assert kept == {f"edge-gate.{name}" for name in ("pkcs11-pin", "mqtt-key", "site-key")}
    assert (scratch / "desk" / "gate.backup").stat().st_size > 1000
