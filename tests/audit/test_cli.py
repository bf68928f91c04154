"""The commands that set up the token, look at the log, and make decisions again."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edge.audit.checkpoint import Checkpoint, key_id, parse, statement
from edge.audit.entry import Event, Kind, decode
from edge.audit.export import read
from edge.audit.sealing import SealingPolicy
from edge.audit.succession import check_succession, succeeded
from edge.cli import main
from edge.decision import AccessDecision, Facts, Policy, admit, entry
from edge.devices.bodies import SqliteBodies
from edge.devices.checkpoints import SqliteCheckpoints
from edge.devices.journal import Follower, SqliteJournal
from edge.devices.provisioning import provision
from edge.devices.simulated_token import SimulatedToken
from edge.devices.storage import Storage
from edge.devices.token import Pkcs11Token, TokenPlace, enrolled_point, reinitialise
from edge.errors import DeviceError
from edge.sealer import Sealer
from edge.settings import Settings, load, profile
from edge.trust.interval import Interval

ROOT = Path(__file__).resolve().parents[2]
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
FACTS = [
    Facts(trust_age_s=60, unsealed=0, unsealed_s=0, validity="valid", reference=True, score=9500, threshold=9300),
    Facts(trust_age_s=60, unsealed=0, unsealed_s=0, validity="valid", reference=True, score=9299, threshold=9300),
    Facts(
        trust_age_s=60,
        unsealed=0,
        unsealed_s=0,
        validity="valid",
        reference=True,
        score=9300,
        threshold=9300,
        bona_fide=5000,
    ),
    Facts(
        trust_age_s=60,
        unsealed=0,
        unsealed_s=0,
        validity="valid",
        reference=True,
        score=9900,
        threshold=9300,
        bona_fide=4000,
    ),
    Facts(trust_age_s=60, unsealed=0, unsealed_s=0, validity="expired", reference=True),
    Facts(trust_age_s=60, unsealed=0, unsealed_s=0, validity="valid", reference=False),
    Facts(refusal="bad-signature"),
    Facts(trust_age_s=10**9, unsealed=0, unsealed_s=0, validity="valid", reference=True),
    Facts(
        trust_age_s=60, unsealed=0, unsealed_s=0, validity="unsure", reference=True, score=9500, threshold=9300, tries=2
    ),
]


class SteadyClock:
    """A second passes with every look."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 5, 4, 12, tzinfo=UTC)

    def now(self) -> Interval:
        self.moment += timedelta(seconds=1)
        return Interval.exactly(self.moment)

    def raise_floor(self, moment: datetime) -> None:
        pass

    def monotonic(self) -> float:
        return self.moment.timestamp() % 10000


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """A gate's configuration, with a SoftHSM of its own."""
    text = (ROOT / "config" / "edge.toml").read_text()
    text = text.replace("/var/lib/edge-gate", str(tmp_path / "state"))
    text = re.sub('^module = ".*"', f'module = "{MODULE}"', text, flags=re.MULTILINE)
    (tmp_path / "edge.toml").write_text(text)
    shutil.copytree(ROOT / "config" / "profiles", tmp_path / "profiles")
    (tmp_path / "pin").write_text("246810\n")
    (tmp_path / "so-pin").write_text("135791\n")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nlog.level = ERROR\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(tmp_path / "softhsm2.conf")
    reinitialise(MODULE)
    yield tmp_path / "edge.toml"
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


def init(config: Path) -> Settings:
    pins = ["--pin-file", str(config.parent / "pin"), "--so-pin-file", str(config.parent / "so-pin")]
    assert main(["token", "init", "--config", str(config), *pins]) == 0
    return load(config)


def test_no_key_is_made_whose_public_half_a_read_only_system_forgets(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "cmdline").write_text("overlayroot=tmpfs:recurse=0 rootwait\n")
    monkeypatch.setenv("EDGE_CMDLINE", str(config.parent / "cmdline"))
    pin = ["--pin-file", str(config.parent / "pin")]
    for words in (["init"], ["rotate", "--new-key-id", "02"]):
        assert main(["token", *words, "--config", str(config), *pin]) == 1
        assert "scripts/install --writable" in capsys.readouterr().err
    assert not (config.parent / "tokens").exists() or not list((config.parent / "tokens").iterdir())


def run_gate(settings: Settings) -> None:
    """Write one entry per decision and seal them with the token."""
    policy = profile("pilot", Policy, settings.source)
    for file in (settings.paths.journal, settings.paths.checkpoints):
        file.parent.mkdir(parents=True, exist_ok=True)
    origin, clock = settings.site.origin, SteadyClock()
    journal = SqliteJournal.open(settings.paths.journal, origin, settings.site.gate, clock)
    log, checkpoints = Follower(settings.paths.journal), SqliteCheckpoints(settings.paths.checkpoints)
    place = TokenPlace(settings.token.module, settings.token.label, "", settings.token.key_id)
    token = Pkcs11Token(place, "246810", enrolled_point(settings.token.public_key.read_bytes()), origin)

    async def story() -> None:
        for facts in FACTS:
            decision = AccessDecision(clock.now(), admit(policy, facts), facts, subject=bytes(16))
            await journal.append(entry(decision, policy))
        assert await Sealer(origin, SealingPolicy(), log, checkpoints, token, clock).seal() is not None

    asyncio.run(story())
    for part in (token, log, journal, checkpoints):
        part.close()


def test_a_token_is_set_up_used_and_certified(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = init(config)
    assert main(["token", "status", "--config", str(config)]) == 0
    assert "this key" in capsys.readouterr().out
    out = config.parent / "gate.pem"
    pin = ["--pin-file", str(config.parent / "pin")]
    assert main(["token", "certificate", str(out), "--config", str(config), *pin]) == 0
    certificate = x509.load_pem_x509_certificate(out.read_bytes())
    certificate.verify_directly_issued_by(certificate)
    point = certificate.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    assert point == enrolled_point(settings.token.public_key.read_bytes())
    capsys.readouterr()
    assert main(["token", "init", "--config", str(config), *pin]) == 1
    assert "already" in capsys.readouterr().err
    settings.token.public_key.unlink()
    assert main(["token", "status", "--config", str(config)]) == 1


def test_a_missing_token_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "status", "--config", str(config)]) == 1
    assert "not plugged in" in capsys.readouterr().err
    assert main(["audit", "verify", "--config", str(config)]) == 1
    assert "not there yet" in capsys.readouterr().err


def test_the_log_is_verified_shown_and_exported(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_gate(init(config))
    assert main(["audit", "verify", "--config", str(config)]) == 0
    assert "9 entries, 1 checkpoints, 0 not sealed yet: good" in capsys.readouterr().out
    assert main(["audit", "show", "--config", str(config), "--last", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    out = config.parent / "log.cborseq"
    assert main(["audit", "export", str(out), "--config", str(config)]) == 0
    export = read(out.read_bytes())
    assert (len(export.entries), len(export.checkpoints)) == (9, 1)
    proof = str(config.parent / "entry.proof")
    for blind in ([], ["--blind"]):
        assert main(["audit", "prove", "3", proof, *blind, "--config", str(config)]) == 0
        command = [sys.executable, "-I", str(ROOT / "scripts" / "verify_log.py"), "--proof", proof]
        command += ["--key", str(config.parent / "token.pem")]
        assert subprocess.run(command, capture_output=True).returncode == 0
    assert main(["audit", "prove", "99", proof, "--config", str(config)]) == 1
    tiles = config.parent / "tiles"
    assert main(["audit", "export", str(tiles), "--tiles", "--config", str(config)]) == 0
    assert (tiles / "tile/entries/000.p/9").exists()


def test_every_decision_is_made_again_bit_for_bit(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_gate(init(config))
    out, policy = config.parent / "log.cborseq", config.parent / "profiles" / "pilot.toml"
    assert main(["audit", "export", str(out), "--config", str(config)]) == 0
    reasons = {decode(found).fields["reason"] for found in read(out.read_bytes()).entries if found}
    assert len(reasons) == 7
    capsys.readouterr()
    assert main(["replay", str(out), "--all"]) == 0
    assert "9 decisions recomputed, 9 the same bit for bit, 0 not" in capsys.readouterr().out
    assert main(["replay", str(out), "--index", "1", "--policy", str(policy)]) == 0
    assert "denied (no-match) under 'pilot'; the same" in capsys.readouterr().out
    changed = policy.read_text().replace("attack_threshold = 0.5", "attack_threshold = 0.6")
    assert changed != policy.read_text()
    policy.write_text(changed)
    assert main(["replay", str(out), "--all", "--policy", str(policy)]) == 1
    said = capsys.readouterr().out
    assert "entry 2: granted under a policy that is not here; under 'pilot' denied (presentation-attack)" in said
    assert "9 decisions recomputed, 0 the same bit for bit, 9 not" in said


def script(settings: Settings, *more: Path | str) -> subprocess.CompletedProcess[str]:
    """What the independent verifier says of the live log."""
    files = ["--journal", settings.paths.journal, "--checkpoints", settings.paths.checkpoints, *more]
    command = [sys.executable, "-I", str(ROOT / "scripts" / "verify_log.py"), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def without_countersignature(settings: Settings) -> None:
    """What somebody has who got the new key alone."""
    with closing(sqlite3.connect(settings.paths.checkpoints)) as file, file:
        for size, cose in file.execute("SELECT size, cose FROM checkpoint").fetchall():
            extras = tuple((label, value) for label, value in parse(cose).extras if label != 11)
            row = (replace(parse(cose), extras=extras).encode(), size)
            file.execute("UPDATE checkpoint SET cose = ? WHERE size = ?", row)


def test_the_key_is_rotated_and_an_auditor_needs_only_the_first(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = init(config)
    run_gate(settings)
    first, pin = settings.token.public_key.read_bytes(), ["--pin-file", str(config.parent / "pin")]
    assert main(["token", "rotate", "--config", str(config), "--new-key-id", "02", *pin]) == 0
    config.write_text(config.read_text().replace('key_id = "01"', 'key_id = "02"'))
    assert main(["token", "status", "--config", str(config)]) == 0
    assert main(["audit", "verify", "--config", str(config)]) == 0
    assert "11 entries, 3 checkpoints, 0 not sealed yet: good" in capsys.readouterr().out
    (config.parent / "first.pem").write_bytes(first)
    for key, status in (("first.pem", 0), ("token.pem", 3)):
        found = script(settings, "--key", config.parent / key)
        assert found.returncode == status, found.stderr
    without_countersignature(settings)
    both = ("--key", config.parent / "first.pem", "--key", config.parent / "token.pem")
    found = script(settings, *both)
    assert (found.returncode, "without the old one" in found.stderr) == (1, True)
    assert main(["audit", "verify", "--config", str(config)]) == 1
    assert "without the old one" in capsys.readouterr().err


@pytest.mark.parametrize("cut", ["before the countersignature", "before the key was enrolled"])
def test_a_rotation_that_a_power_cut_ended_is_finished_by_the_same_command(
    config: Path, cut: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = init(config)
    run_gate(settings)
    old, pin = settings.token.public_key.read_bytes(), ["--pin-file", str(config.parent / "pin")]
    rotate = ["token", "rotate", "--config", str(config), "--new-key-id", "02", *pin]
    assert main(rotate) == 0
    settings.token.public_key.write_bytes(old)
    if cut == "before the countersignature":
        without_countersignature(settings)
        assert script(settings, "--key", settings.token.public_key).returncode == 1
    (config.parent / "first.pem").write_bytes(old)
    capsys.readouterr()
    assert main(rotate) == 0
    config.write_text(config.read_text().replace('key_id = "01"', 'key_id = "02"'))
    assert main(["token", "status", "--config", str(config)]) == 0
    assert main(["audit", "verify", "--config", str(config)]) == 0
    assert "11 entries, 3 checkpoints, 0 not sealed yet: good" in capsys.readouterr().out
    found = script(settings, "--key", config.parent / "first.pem")
    assert found.returncode == 0, found.stderr
    assert settings.token.public_key.with_name("token.01.pem").read_bytes() == old
    assert main(rotate) == 1
    assert "the key that seals now" in capsys.readouterr().err


def test_a_lost_token_ends_its_epoch_and_the_next_one_says_so(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = init(config)
    run_gate(settings)
    (config.parent / "first.pem").write_bytes(settings.token.public_key.read_bytes())
    journal = SqliteJournal.open(settings.paths.journal, settings.site.origin, "gate", SteadyClock())
    asyncio.run(journal.append(Event(Kind.DENIED)))  # not sealed before the token went
    journal.close()
    shutil.rmtree(config.parent / "tokens")
    (config.parent / "tokens").mkdir()
    reinitialise(MODULE)
    pins = ["--pin-file", str(config.parent / "pin"), "--so-pin-file", str(config.parent / "so-pin")]
    assert main(["token", "init", "--config", str(config), *pins]) == 1  # would have put another key under the old log
    assert "rotate" in capsys.readouterr().err
    assert main(["token", "rotate", "--lost", "--config", str(config), "--new-key-id", "02", *pins]) == 0
    kept = settings.paths.journal.with_name("journal.epoch-1.0.db")
    first, new = ("--key", config.parent / "first.pem"), ("--key", config.parent / "token.pem")
    found = script(settings, "--journal", kept, *first, *new)
    assert found.returncode == 0, found.stderr
    assert "log verified: 12 entries, 11 sealed by 2 checkpoints" in found.stdout
    assert script(settings, "--journal", kept, *first).returncode == 3  # nobody vouched for the new key
    config.write_text(config.read_text().replace('key_id = "01"', 'key_id = "02"'))
    assert main(["token", "status", "--config", str(config)]) == 0
    assert main(["audit", "verify", "--config", str(config)]) == 0
    with closing(sqlite3.connect(kept)) as file, file:
        file.execute("DELETE FROM leaf WHERE ix = 9")  # never sealed by the old key, but the new one told of it
    cut = script(settings, "--journal", kept, *first, *new)
    assert (cut.returncode, "not as it was when its key was lost" in cut.stderr) == (1, True)


def test_a_key_that_nobody_went_over_to_seals_nothing(config: Path) -> None:
    settings = init(config)
    run_gate(settings)
    place = TokenPlace(settings.token.module, settings.token.label, "", "02")
    point, origin = provision(place, "246810"), settings.site.origin
    clock = SteadyClock()
    log, checkpoints = Follower(settings.paths.journal), SqliteCheckpoints(settings.paths.checkpoints)
    journal = SqliteJournal.open(settings.paths.journal, origin, "gate", clock)
    asyncio.run(journal.append(Event(Kind.BOOT)))
    token = Pkcs11Token(place, "246810", point, origin)
    with pytest.raises(DeviceError, match="edge token rotate"):
        asyncio.run(Sealer(origin, SealingPolicy(), log, checkpoints, token, clock).seal())
    for part in (token, log, journal, checkpoints):
        part.close()


def test_the_old_key_countersigns_its_successor_once_and_nothing_else(config: Path) -> None:
    """No signing oracle: neither another log's, nor an older one's, nor a checkpoint the new key did not sign."""
    settings = init(config)
    run_gate(settings)
    origin = settings.site.origin
    checkpoints = SqliteCheckpoints(settings.paths.checkpoints)
    last = checkpoints.last()
    checkpoints.close()
    assert last is not None
    key = ec.derive_private_key(77, ec.SECP256R1())
    new = SimulatedToken(origin, key).enrolled

    def first(**changed: object) -> Checkpoint:
        told: dict[str, object] = {"size": 20, "previous_size": 9, "previous_digest": last.digest, **changed}
        head = replace(last.head, **told)  # type: ignore[arg-type] # fields of a head by name
        signature = asyncio.run(SimulatedToken(head.origin, key).sign(statement(head, key_id(new))))
        return Checkpoint(head, key_id(new), None, signature)

    place = TokenPlace(settings.token.module, settings.token.label, "", settings.token.key_id)
    token = Pkcs11Token(place, "246810", enrolled_point(settings.token.public_key.read_bytes()), origin)
    token.resume(last)
    try:
        good = first()
        for wrong in (
            first(origin="urn:gate:another:site:gate"),
            first(previous_digest=bytes(32)),
            first(epoch=2, previous_size=0),
            first(size=9, previous_size=8),
            replace(good, signature=bytes(64)),
            last,
        ):
            with pytest.raises(DeviceError, match="not countersigned"):
                asyncio.run(token.countersign(wrong, new))
        countersigned = succeeded(good, last.kid, asyncio.run(token.countersign(good, new)))
        check_succession(countersigned, token._enrolled)
        for head in (good.head, replace(good.head, size=30)):
            with pytest.raises(DeviceError, match="not signed: this key was succeeded"):
                asyncio.run(token.sign(statement(head, last.kid)))
        with pytest.raises(DeviceError, match="succeeded"):
            asyncio.run(token.countersign(good, new))
    finally:
        token.close()


def test_the_disk_under_the_log_is_measured_before_a_gate_goes_into_service(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commissioning: p50 and p99 of durable commits where the log is going to be; a slow card is refused."""
    status = main(["check", "--storage", "--config", str(config)])  # good or not is this machine's to say
    said = capsys.readouterr().out
    found = re.match(r"(ok|BAD) +storage +([0-9.]+) ms, 99 % within ([0-9.]+) ms, (\d+) entries/s", said)
    assert found is not None, said
    assert (status, found[1]) in ((0, "ok"), (1, "BAD"))
    assert 0 < float(found[2]) <= float(found[3])
    main(["check", "--storage", "--json", "--config", str(config)])
    assert json.loads(capsys.readouterr().out)["device"] == "storage"
    assert not (config.parent / "state").exists()  # nothing of it stays
    monkeypatch.setattr("edge.app.check.selftest", lambda folder: Storage(80, 250, 300, 9))
    assert main(["check", "--storage", "--config", str(config)]) == 0
    assert re.fullmatch(r"ok +storage +80(\.0)? ms, 99 % within 250(\.0)? ms, 9 entries/s\n", capsys.readouterr().out)
    assert (Storage(80, 250.0, 300, 9).good, Storage(80, 250.1, 300, 9).good) == (True, False)
    monkeypatch.setattr("edge.app.check.selftest", lambda folder: Storage(80, 251, 300, 9))
    assert main(["check", "--storage", "--config", str(config)]) == 1
    said = capsys.readouterr().out
    assert said.startswith("BAD  storage")
    assert "industrial card" in said


def test_what_is_kept_about_a_person_is_told_exported_on_request_and_forgotten(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    credentials = config.parent / "credentials"
    credentials.mkdir()
    (credentials / "site-key").write_bytes(bytes(range(32)))
    text = config.read_text().replace("/etc/edge-gate/credentials", str(credentials))
    config.write_text(text.replace("bodies = []", 'bodies = ["identifier"]'))
    settings = init(config)
    assert settings.log.bodies == ("identifier",)
    run_gate(settings)
    clock = SteadyClock()

    async def refused() -> None:
        journal = SqliteJournal.open(settings.paths.journal, settings.site.origin, settings.site.gate, clock)
        bodies = SqliteBodies(settings.paths.bodies, settings.site.origin, bytes(range(32)), clock)
        for number in ("7412589630", "1111111111"):
            body = await bodies.keep({"issuer": "https://issuer.example", "identifier": number}, granted=False)
            await journal.append(Event(Kind.DENIED, {"reason": "no-match"}, body=body))
        bodies.close()
        journal.close()

    asyncio.run(refused())
    capsys.readouterr()
    assert main(["audit", "body", "9", "--config", str(config)]) == 0
    assert capsys.readouterr().out == "issuer=https://issuer.example, identifier=7412589630\n"
    assert main(["audit", "body", "3", "--config", str(config)]) == 1
    assert "nothing was kept" in capsys.readouterr().err
    without, bodies = config.parent / "without.cborseq", config.parent / "with.cborseq"
    assert main(["audit", "export", str(without), "--config", str(config)]) == 0
    assert main(["audit", "export", str(bodies), "--bodies", "--config", str(config)]) == 0
    assert "2 bodies, encrypted" in capsys.readouterr().out
    assert (len(read(without.read_bytes()).bodies), len(read(bodies.read_bytes()).bodies)) == (0, 2)
    assert main(["audit", "forget", "9", "--why", "asked for in writing", "--config", str(config)]) == 0
    assert main(["audit", "body", "9", "--config", str(config)]) == 1
    assert main(["audit", "body", "10", "--config", str(config)]) == 0
    assert main(["audit", "forget", "9", "--why", "twice", "--config", str(config)]) == 0
    assert "gone already" in capsys.readouterr().out
    assert main(["audit", "export", str(bodies), "--bodies", "--config", str(config)]) == 0
    command = [sys.executable, "-I", str(ROOT / "scripts" / "verify_log.py"), "--export", str(bodies)]
    command += ["--key", str(config.parent / "token.pem")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "1 bodies are those that were committed to, 1 were deleted" in found.stdout


def test_what_is_forgotten_is_told_under_a_tag_of_its_own(config: Path) -> None:
    """Else whoever checks the tags takes a deletion by the gate's own command for an entry that was put in."""
    collector = ec.generate_private_key(ec.SECP256R1())
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (config.parent / "mqtt").mkdir()
    public = collector.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (config.parent / "mqtt" / "collector.pem").write_bytes(public)
    key = config.parent / "collector.key"
    key.write_bytes(collector.private_bytes(pem, private, serialization.NoEncryption()))
    credentials = config.parent / "credentials"
    credentials.mkdir()
    (credentials / "site-key").write_bytes(bytes(range(32)))
    text = config.read_text().replace("/etc/edge-gate/credentials", str(credentials))
    text = text.replace("[mqtt]\n", "[mqtt]\n# here\n").replace("bodies = []", 'bodies = ["identifier"]')
    config.write_text(re.sub(r"(# here\n(?:#.*\n)*)enabled = false", r"\1enabled = true", text))
    settings = init(config)
    assert settings.mqtt.enabled
    run_gate(settings)
    clock = SteadyClock()
    point = collector.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )

    async def refused() -> None:
        place, origin = settings.paths.journal, settings.site.origin
        journal = SqliteJournal.open(place, origin, settings.site.gate, clock, collector=point)
        bodies = SqliteBodies(settings.paths.bodies, origin, bytes(range(32)), clock, ("identifier",))
        body = await bodies.keep({"identifier": "7412589630"}, granted=False)
        await journal.append(Event(Kind.DENIED, {"reason": "no-match"}, body=body))
        bodies.close()
        journal.close()

    asyncio.run(refused())
    assert main(["audit", "forget", "10", "--why", "asked for in writing", "--config", str(config)]) == 0
    found = script(settings, "--key", config.parent / "token.pem", "--collector", key)
    assert found.returncode == 0, found.stderr


def sealed_again(settings: Settings) -> Checkpoint | None:
    """What ``edge-seal`` does with this log at its start."""
    log, checkpoints = Follower(settings.paths.journal), SqliteCheckpoints(settings.paths.checkpoints)
    place = TokenPlace(settings.token.module, settings.token.label, "", settings.token.key_id)
    point, origin = enrolled_point(settings.token.public_key.read_bytes()), settings.site.origin
    token = Pkcs11Token(place, "246810", point, origin)
    try:
        token.resume(checkpoints.last())
        return asyncio.run(Sealer(origin, SealingPolicy(), log, checkpoints, token, SteadyClock()).seal())
    finally:
        for part in (token, log, checkpoints):
            part.close()


def test_a_technician_begins_a_new_epoch_where_the_token_remembers_more(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = init(config)
    run_gate(settings)
    settings.paths.checkpoints.unlink()
    with pytest.raises(DeviceError, match="9 entries that the token remembers is not among them"):
        sealed_again(settings)
    words = ["audit", "anew", "--config", str(config), "--pin-file", str(config.parent / "pin")]
    with pytest.raises(SystemExit):
        main([*words, "--why", "no zone", "--time", "2026-11-22T18:00"])
    capsys.readouterr()
    assert main([*words, "--why", "the checkpoints were lost"]) == 0
    assert "epoch 2 is begun" in capsys.readouterr().out
    assert main(["audit", "show", "--config", str(config)]) == 0
    shown = capsys.readouterr().out
    assert "epoch-open" in shown
    assert "why=the checkpoints were lost" in shown
    sealed = sealed_again(settings)
    assert sealed is not None
    assert (sealed.head.epoch, sealed.head.size) == (2, 1)
    verify, lost = (
        ["audit", "verify", "--config", str(config)],
        "before epoch 2 are missing, and its first entry says so",
    )
    assert main(verify) == 2  # as the independent verifier says: nothing was changed, and it is not all here
    assert lost in capsys.readouterr().err
    assert main([*words, "--why", "twice", "--after", "6"]) == 0
    assert "epoch 7 is begun" in capsys.readouterr().out
    assert sealed_again(settings) is not None
    assert main(verify) == 2  # the log that says so is kept beside the new one
    assert lost in capsys.readouterr().err
    evidence = settings.paths.journal.with_name("journal.epoch-2.0.db")
    evidence.rename(evidence.with_name("elsewhere.db"))
    assert main(verify) == 1
    assert "the checkpoints before epoch 2 are missing" in capsys.readouterr().err
    (config.parent / "pin").write_text("000000\n")
    assert main([*words, "--why", "with another PIN"]) == 1
    assert "PIN" in capsys.readouterr().err


def test_a_damaged_export_is_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_gate(init(config))
    out = config.parent / "log.cborseq"
    assert main(["audit", "export", str(out), "--config", str(config)]) == 0
    whole = out.read_bytes()
    for content in (whole[:-1], whole[:100], b"", b"\x01", whole.replace(b"edge-gate log", b"edge-gate lag")):
        out.write_bytes(content)
        assert main(["replay", str(out), "--all"]) == 2
    assert "edge replay" in capsys.readouterr().err
