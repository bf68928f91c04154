"""What a site keeps about people beside the log: encrypted, apart, deletable; nothing unless it is turned on."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edge.app.keeping import keep_bodies
from edge.audit.body import Body
from edge.audit.entry import Entry, Event, Kind, LogError
from edge.audit.export import read, sequence
from edge.audit.sealing import SealingPolicy
from edge.devices import bodies as module
from edge.devices.bodies import SqliteBodies, bodies_in, told_by
from edge.devices.checkpoints import SqliteCheckpoints
from edge.devices.follower import Follower
from edge.devices.journal import SqliteJournal
from edge.devices.simulated import SimulatedClock
from edge.devices.simulated_token import SimulatedToken
from edge.devices.token import to_pem
from edge.errors import DeviceError
from edge.sealer import Sealer
from edge.settings import Log

ROOT = Path(__file__).resolve().parents[2]
ORIGIN = "urn:gate:test:site:gate"
SECRET = b"the secret of a site"
NUMBER = "7412589630"
TOLD = {"issuer": "https://issuer.example", "identifier": NUMBER}


class Site:
    """A gate that keeps identifiers of refused people."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "bodies.db"
        self.clock = SimulatedClock(datetime(2026, 11, 1, 12, tzinfo=UTC))
        self.journal = SqliteJournal.open(folder / "journal.db", ORIGIN, "gate", self.clock)
        self.log = Follower(folder / "journal.db")
        self.checkpoints = SqliteCheckpoints(folder / "checkpoints.db")
        self.token = SimulatedToken(ORIGIN, ec.derive_private_key(12345, ec.SECP256R1()))
        self.bodies = SqliteBodies(self.path, ORIGIN, SECRET, self.clock, ("identifier",))
        (folder / "gate.pem").write_bytes(to_pem(self.token.enrolled))

    async def refuse(self, told: dict[str, str] = TOLD) -> bytes:
        body = await self.bodies.keep(told, granted=False)
        assert body is not None
        await self.journal.append(Event(Kind.DENIED, {"reason": "expired"}, body=body))
        return body

    def told(self, commitment: bytes) -> object:
        return told_by(self.path, ORIGIN, SECRET, commitment)

    def deletions(self) -> list[Entry]:
        return [e for e in self.log.entries(0, self.log.size()) if e.kind is Kind.BODIES_DELETED]

    async def export(self, bodies: list[Body] | None = None) -> Path:
        sealer = Sealer(ORIGIN, SealingPolicy(), self.log, self.checkpoints, self.token, self.clock)
        await sealer.seal()
        out, rows = self.folder / "log.cborseq", self.log.rows(0, self.log.size())
        kept = bodies_in(self.path) if bodies is None else bodies
        out.write_bytes(b"".join(sequence(ORIGIN, 1, rows, self.checkpoints.after(0, 0, 99), kept)))
        return out

    async def verified(self, bodies: list[Body] | None = None) -> tuple[int, str]:
        files = ("--export", await self.export(bodies), "--key", self.folder / "gate.pem")
        script = [sys.executable, "-I", str(ROOT / "scripts" / "verify_log.py"), *map(str, files)]
        said = await asyncio.to_thread(subprocess.run, script, capture_output=True, text=True, check=False)
        return said.returncode, said.stdout + said.stderr

    def close(self) -> None:
        for part in (self.bodies, self.journal, self.log, self.checkpoints):
            part.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with closing(Site(tmp_path)) as made:
        yield made


def everything_on(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_body_is_kept_encrypted_and_its_entry_only_commits_to_it(site: Site) -> None:
    commitment = asyncio.run(site.refuse())
    assert NUMBER.encode() not in everything_on(site.folder)
    assert site.told(commitment) == TOLD
    assert [entry.body for entry in site.log.entries(0, 9)] == [commitment]
    assert stat.S_IMODE(site.path.stat().st_mode) == 0o600
    (kept,) = bodies_in(site.path)
    assert kept.commitment == commitment
    assert NUMBER not in repr(kept)
    with pytest.raises(DeviceError, match="another one"):
        told_by(site.path, ORIGIN, b"the secret of another site", commitment)
    with pytest.raises(DeviceError):
        told_by(site.path, "urn:gate:test:site:other", SECRET, commitment)


def test_two_visits_of_one_person_look_like_two_strangers(site: Site) -> None:
    async def story() -> None:
        assert await site.refuse() != await site.refuse()

    asyncio.run(story())
    one, other = bodies_in(site.path)
    assert one.encoded != other.encoded


def test_nothing_is_kept_of_granted_visits_unless_the_site_says_so(site: Site, tmp_path: Path) -> None:
    assert asyncio.run(site.bodies.keep(TOLD, granted=True)) is None
    assert asyncio.run(site.bodies.keep({}, granted=False)) is None
    assert not site.path.exists()
    of_all = SqliteBodies(tmp_path / "all.db", ORIGIN, SECRET, site.clock, ("identifier",), refused_only=False)
    with closing(of_all):
        assert asyncio.run(of_all.keep(TOLD, granted=True)) is not None


def test_days_go_with_their_key_and_every_proof_stays(site: Site) -> None:
    async def story() -> None:
        old = await site.refuse()
        assert (await site.verified())[0] == 0
        site.clock.go(timedelta(days=20).total_seconds())
        new = await site.refuse()
        assert await site.bodies.expire(30, site.journal) == 0
        wrapped, stolen = keys_of(site.path), bodies_in(site.path)
        site.clock.go(timedelta(days=10).total_seconds())
        assert await site.bodies.expire(30, site.journal) == 1
        assert (site.told(old), site.told(new)) == (None, TOLD)
        (deletion,) = site.deletions()
        assert deletion.fields == {"why": "kept long enough", "count": 1, "periods": ["2026-11-01"], "bodies": []}
        status, said = await site.verified()
        assert (status, "1 bodies are those that were committed to, 1 were deleted" in said) == (0, True)
        assert wrapped["2026-11-01"] not in everything_on(site.folder)
        assert stolen[0].encoded not in everything_on(site.folder)
        status, said = await site.verified(stolen)
        assert (status, "an entry says was deleted" in said) == (1, True)

    asyncio.run(story())


def keys_of(path: Path) -> dict[str, bytes]:
    with closing(sqlite3.connect(path)) as file:
        return {name: bytes(wrapped) for name, wrapped in file.execute("SELECT name, wrapped FROM period")}


def test_one_person_is_forgotten_and_the_log_says_that_and_not_who(site: Site) -> None:
    async def story() -> None:
        one, other = await site.refuse(), await site.refuse({**TOLD, "identifier": "1111111111"})
        assert await site.bodies.forget(one, "asked for", site.journal)
        assert not await site.bodies.forget(one, "asked for", site.journal)
        assert site.told(one) is None
        assert site.told(other) is not None
        (deletion,) = site.deletions()
        assert deletion.fields == {"why": "asked for", "count": 1, "periods": [], "bodies": [one]}
        status, said = await site.verified()
        assert (status, "1 were deleted" in said) == (0, True)

    asyncio.run(story())


def test_a_changed_a_foreign_and_a_missing_body_are_found(site: Site) -> None:
    async def story() -> None:
        await site.refuse()
        await site.refuse()
        one, other = bodies_in(site.path)
        changed = Body(one.period, one.salt, one.encoded[:-1] + bytes([one.encoded[-1] ^ 1]))
        assert (await site.verified([one, other]))[0] == 0
        for wrong in (changed, Body(one.period, bytes(16), one.encoded)):
            status, said = await site.verified([wrong, other])
            assert (status, "no entry committed to it" in said) == (1, True)
        status, said = await site.verified([one])
        assert (status, "1 bodies are missing, and no entry says so" in said) == (2, True)
        assert (await site.verified([]))[0] == 0  # not asked for: the log alone
        with pytest.raises(LogError):
            changed.opened(bytes(32), ORIGIN)

    asyncio.run(story())


@pytest.mark.parametrize("told", [False, True])
def test_a_deletion_that_was_cut_short_is_finished_at_the_next_start(
    site: Site, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """Killed before or after the log was told: never deleted without a word, never told and not done."""

    async def story() -> None:
        commitment = await site.refuse()
        with monkeypatch.context() as patch:

            def killed(*_: object) -> None:
                raise sqlite3.OperationalError("killed")

            patch.setattr(module, "_take" if told else "_count", killed)
            with pytest.raises(DeviceError):
                await site.bodies.forget(commitment, "asked for", site.journal)
        assert len(site.deletions()) == int(told)
        assert bodies_in(site.path) == []  # marked: no export takes it along any more
        again = SqliteBodies(site.path, ORIGIN, SECRET, site.clock)
        with closing(again):
            await again.settle(site.journal)
            await again.settle(site.journal)
        assert site.told(commitment) is None
        assert len(site.deletions()) == int(told) + 1
        assert (await site.verified())[0] == 0

    asyncio.run(story())


def test_bodies_never_outlive_their_entries_and_go_after_the_site_turned_them_off(site: Site) -> None:
    async def story() -> None:
        commitment = await site.refuse()
        site.clock.go(timedelta(days=8).total_seconds())
        off = SqliteBodies(site.path, ORIGIN, SECRET, site.clock)
        with closing(off):
            keeping = asyncio.ensure_future(keep_bodies(Log(keep_days=7, bodies_days=30), off, site.journal))
            while site.told(commitment) is not None:  # noqa: ASYNC110 -- the log is in a file
                await asyncio.sleep(0.01)
            keeping.cancel()
        assert site.told(commitment) is None

    asyncio.run(story())


def test_a_disk_that_cannot_keep_it_is_said(site: Site, tmp_path: Path) -> None:
    absent = SqliteBodies(tmp_path / "absent" / "bodies.db", ORIGIN, SECRET, site.clock, ("identifier",))
    with closing(absent), pytest.raises(DeviceError, match="bodies"):
        asyncio.run(absent.keep(TOLD, granted=False))


def test_an_export_without_bodies_is_the_same_as_ever(site: Site) -> None:
    async def story() -> None:
        await site.refuse()
        out = await site.export([])
        assert read(out.read_bytes()).bodies == ()
        assert b"body" not in out.read_bytes()
        out = await site.export()
        assert read(out.read_bytes()).bodies == tuple(bodies_in(site.path))

    asyncio.run(story())


def test_a_body_that_is_none_is_refused() -> None:
    for encoded in (b"", b"\x01", cbor2.dumps(cbor2.CBORTag(16, [b"", {}, b""])), cbor2.dumps([1, 2, 3])):
        with pytest.raises(LogError):
            Body("2026-11-01", bytes(16), encoded).opened(bytes(32), ORIGIN)


def test_a_file_that_root_s_command_makes_belongs_to_the_gate(tmp_path: Path) -> None:
    """A backup has none in it, and somebody deletes before the gate's first start on the new card."""
    if os.geteuid():
        pytest.skip("owners are given away by root alone")
    os.chown(tmp_path, 65534, 65534)
    with closing(Site(tmp_path)) as site:
        asyncio.run(site.refuse())
        assert site.path.stat().st_uid == 65534
