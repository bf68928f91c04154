"""Root, targets and list keys in tokens: real SoftHSM, each command a process as the operator starts it."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.devices.tokenkey import DeskKey, Tokens, place_of
from edge.devices.trusted import Trusted
from edge.devices.truststore import TrustReader, TrustStore
from edge.errors import DeviceError
from edge.sync import bundle
from edge.sync.office import Office
from edge.sync.updates import Keeper

ROOT = Path(__file__).resolve().parents[2]
MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PINS = {"root-1": "246810", "root-2": "135799", "list": "998877"}
ISS = "https://id.example"


def uri(label: str, key_id: str = "%01") -> str:
    return f"pkcs11:token={label};id={key_id};type=private?module-path={MODULE}"


@dataclass
class Desk:
    """An operator's machine with its SoftHSM tokens."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, well: bool = True) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", "edge", "trust", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # no terminal to ask at
        )
        assert (ran.returncode == 0) is well, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def unplug(self, label: str) -> None:
        """Rename the directory of a token."""
        for path in (self.folder / "tokens").iterdir():
            if label.encode() in (path / "token.object").read_bytes():
                path.rename(self.folder / "drawer")


def a_desk(folder: Path) -> Desk:
    """Whatever the folder holds, as a desk."""
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    environment = {
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
        "SOFTHSM2_CONF": str(config),
        "CREDENTIALS_DIRECTORY": str(folder / "credentials"),
    }
    return Desk(folder, environment)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A desk with three tokens, and an office whose keys are in them; each test has a copy."""
    if not Path(MODULE).exists():
        pytest.fail("softhsm2 is not installed; scripts/setup installs it")
    folder = tmp_path_factory.mktemp("desk")
    (folder / "tokens").mkdir()
    (folder / "credentials").mkdir()
    desk = a_desk(folder)
    for label, pin in PINS.items():
        command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "11112222", "--pin", pin]
        subprocess.run(command, env=desk.environment, check=True, capture_output=True)
        (folder / "credentials" / f"{label}-pin").write_text(pin + "\n")
    keys = ["--root-key", uri("root-1"), "--root-key", uri("root-2"), "--list-key", uri("list")]
    desk.run("init", "office", "--name", "example", *keys)
    return folder


@pytest.fixture
def desk(first: Path, tmp_path: Path) -> Desk:
    shutil.copytree(first, tmp_path / "desk")
    return a_desk(tmp_path / "desk")


@pytest.fixture
def office(desk: Desk) -> Office:
    return Office(desk.folder / "office")


@pytest.fixture
def gate(desk: Desk, office: Office) -> Iterator[Keeper]:
    keeper = Keeper(TrustStore(desk.folder / "trust.db"), office.anchor(), lambda: datetime.now(UTC))
    yield keeper
    keeper.close()


def test_an_office_whose_keys_are_in_tokens_is_believed(desk: Desk, office: Office, gate: Keeper) -> None:
    pem = (office.keys.folder / "targets-1.pub").read_text()
    (desk.folder / "issuer.pem").write_text(pem)
    desk.run("add-issuer", "office", ISS, "--key", "issuer.pem", "--kid", "k")
    desk.run("publish", "office")
    assert gate.take(bundle.fetch_from(office.current()))
    trusted = Trusted(TrustReader(desk.folder / "trust.db"), [office.list_key()], desk.folder / "floors", site="x")
    assert trusted.reload()
    assert trusted.current is not None
    assert trusted.current.issuer(ISS)
    for name in ("root-1", "root-2", "list"):
        assert not (office.keys.folder / f"{name}.pem").exists()
        assert PINS[name] not in "".join(path.read_text() for path in office.keys.folder.iterdir())


def test_a_root_moves_from_files_into_tokens_and_from_one_token_to_another(
    desk: Desk, office: Office, gate: Keeper
) -> None:
    gate.take(bundle.fetch_from(office.current()))
    (desk.folder / "credentials" / "root-3.next-pin").write_text(PINS["root-2"])
    (desk.folder / "credentials" / "root-3-pin").write_text(PINS["root-2"])
    (desk.folder / "credentials" / "root-1.next-pin").write_text(PINS["root-1"])
    desk.run("rotate", "office", "root-3", "--key", uri("root-2", "%03"))  # a second key in the same token
    desk.run("rotate", "office", "root-1", "--key", uri("root-1", "%02"))
    desk.run("publish", "office")
    assert gate.take(bundle.fetch_from(office.current()))
    assert (office.keys.folder / "root-1.uri").read_text().strip() == uri("root-1", "%02")
    assert not list(office.keys.folder.glob("root-*.pem"))


def test_the_desk_says_where_each_key_is(desk: Desk, office: Office) -> None:
    (office.keys.folder / "targets-2.pem").unlink()
    said = desk.run("show", "office")
    assert "key root-1: token token=root-1;id=%01;type=private\n" in said
    assert "key root-3: file\n" in said
    assert "key targets-2: not here\n" in said


class Liar:
    """A token that signs with another key."""

    def ask(self, _: dict[str, str]) -> dict[str, str]:
        r, s = decode_dss_signature(ec.generate_private_key(ec.SECP256R1()).sign(b"message", ec.ECDSA(SHA256())))
        return {"signature": (r.to_bytes(32, "big") + s.to_bytes(32, "big")).hex()}


def test_a_signature_of_another_key_is_not_used() -> None:
    point = (
        ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    )
    liar: Any = Liar()
    with pytest.raises(DeviceError, match="the signature of root-1 is wrong"):
        DeskKey(liar, "root-1", point).sign(b"message")


def test_a_token_in_the_drawer_is_not_needed_while_two_agree(desk: Desk, office: Office) -> None:
    desk.unplug("root-1")
    desk.run("rotate", "office", "root-1")  # root-2 in its token and root-3 in its file; the new one is a file
    assert (office.keys.folder / "root-1.pem").exists()
    assert not (office.keys.folder / "root-1.uri").exists()


def test_without_the_list_token_no_issuer_is_added(desk: Desk, office: Office) -> None:
    desk.unplug("list")
    pem = (office.keys.folder / "targets-1.pub").read_text()
    (desk.folder / "issuer.pem").write_text(pem)
    desk.run("publish", "office")  # what is signed every day does not need it
    desk.run("add-issuer", "office", ISS, "--key", "issuer.pem")
    assert "token of the key list is needed" in desk.run("publish", "office", well=False)


def test_a_wrong_pin_is_tried_once(desk: Desk, office: Office) -> None:
    (desk.folder / "credentials" / "root-1-pin").write_text("000000")
    before = office.published()
    assert "the PIN of 'root-1' is wrong" in desk.run("rotate", "office", "root", well=False)
    assert office.published() == before
    shown = subprocess.run(
        ["softhsm2-util", "--show-slots"], env=desk.environment, check=True, capture_output=True, text=True
    ).stdout
    assert "locked" not in shown.lower()


def test_the_pin_is_asked_for_when_there_is_no_credential(desk: Desk, office: Office) -> None:
    for label in ("root-1", "root-2"):
        (desk.folder / "credentials" / f"{label}-pin").unlink()
    main, side = pty.openpty()
    words = [sys.executable, "-m", "edge", "trust", "rotate", "office", "root-3"]
    with subprocess.Popen(
        ["setsid", "--ctty", *words], cwd=desk.folder, env=desk.environment, stdin=side, stdout=side, stderr=side
    ) as running:
        os.close(side)
        said = b""
        for name in ("root-1", "root-2"):
            deadline = time.monotonic() + 60
            while f"PIN of token '{name}' for {name}".encode() not in said:
                assert time.monotonic() < deadline, said
                said += os.read(main, 4096)
            os.write(main, f"{PINS[name]}\n".encode())
        assert running.wait(60) == 0
    os.close(main)
    assert not any(pin.encode() in said for pin in PINS.values())


def test_another_token_with_the_same_name_is_refused(desk: Desk, office: Office) -> None:
    desk.unplug("root-1")
    command = ["softhsm2-util", "--init-token", "--free", "--label", "root-1", "--so-pin", "11112222"]
    subprocess.run([*command, "--pin", PINS["root-1"]], env=desk.environment, check=True, capture_output=True)
    assert "holds no key pair" in desk.run("rotate", "office", "root", well=False)
    other = desk.run("init", "other", "--root-key", uri("root-1"))
    assert "roots = " in other  # now there is a key, and it is not ours
    assert "holds another key than root-1.pub" in desk.run("rotate", "office", "root", well=False)


def test_the_library_is_never_in_the_process_that_publishes(desk: Desk, office: Office) -> None:
    """python-pkcs11 and OpenSSL's provider in one process break each other."""
    script = (
        "import sys\n"
        "from edge.devices.tokenkey import Tokens\n"
        f"with Tokens(lambda name, label: {PINS['root-1']!r}) as tokens:\n"
        f"    key = tokens('root-1', {uri('root-1')!r}, False)\n"
        "    assert len(key.sign(b'message')) == 64\n"
        "    maps = open('/proc/self/maps').read()\n"
        "print('softhsm' in maps)\n"
    )
    environment = {**desk.environment, "OPENSSL_CONF": "/nowhere"}
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ran.stdout == "False\n"


def test_a_library_that_crashes_ends_its_own_process_only(desk: Desk, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no compiler")
    source = tmp_path / "crash.c"
    source.write_text("#include <stdlib.h>\nunsigned long C_GetFunctionList(void **list) { abort(); }\n")
    module = tmp_path / "crash.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(module), str(source)], check=True)
    with Tokens(lambda *_: "1234") as tokens, pytest.raises(DeviceError, match="process that holds it ended"):
        tokens("root-1", f"pkcs11:token=x;id=%01?module-path={module}", False)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file:root.pem", "is not a PKCS#11 URI"),
        ("pkcs11:", "is not a PKCS#11 URI"),
        ("pkcs11:token=a;id=%01", "has no module-path"),
        ("pkcs11:token=a?module-path=/x", "has no id"),
        ("pkcs11:id=%01?module-path=/x", "has no token"),
        ("pkcs11:token=a;id=%01?module-path=/x&pin-value=1234", "a PIN does not belong"),
        ("pkcs11:token=a;id=%01?module-path=/x&pin-source=file:/pin", "a PIN does not belong"),
        ("pkcs11:token=a;token=b;id=%01?module-path=/x", "there twice"),
        ("pkcs11:token=a;colour=red;id=%01?module-path=/x", "not known"),
    ],
)
def test_a_place_that_is_not_clear_is_refused(text: str, why: str) -> None:
    with pytest.raises(DeviceError, match=why):
        place_of(text)


def test_a_place_is_read_as_it_is_written() -> None:
    place = place_of("pkcs11:token=root%20one;serial=77;id=%00%AB?module-path=/lib/a.so")
    assert (place.label, place.serial, place.key_id, place.module) == ("root one", "77", "00ab", Path("/lib/a.so"))
