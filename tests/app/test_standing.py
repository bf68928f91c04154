"""What the gate knows before anybody comes: a count that fails is no count, and one gate per log."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from edge.app.chosen import policy_of
from edge.app.gate import alone
from edge.app.standing import GateStanding, logged_trust, trust_changed, trust_of
from edge.audit.entry import Event, Kind
from edge.devices.checkpoints import CheckpointReader
from edge.devices.clock import SystemClock
from edge.devices.follower import Follower
from edge.devices.journal import SqliteJournal
from edge.devices.simulated import SimulatedClock
from edge.devices.trusted import Trusted
from edge.devices.trustfile import TrustFile
from edge.devices.truststore import TrustReader
from edge.errors import DeviceError
from edge.settings import SettingsError, load
from edge.trust.list import TrustList
from edge.trust.whole import Whole
from edge.trust.withdrawn import Hashes, Withdrawn

ROOT = Path(__file__).parents[2]


def standing(folder: Path, clock: SimulatedClock) -> GateStanding:
    trust = TrustFile(folder / "trust.cbor", [], folder / "version")
    reader = CheckpointReader(folder / "checkpoints.db")
    return GateStanding(trust, Follower(folder / "journal.db"), reader, cast(SystemClock, clock))


def written(folder: Path, clock: SimulatedClock, *events: Event) -> None:
    journal = SqliteJournal.open(folder / "journal.db", "urn:gate:a:b:c", "c", clock)
    for event in events:
        asyncio.run(journal.append(event))
    journal.close()


def test_nothing_is_known_before_the_first_look(tmp_path: Path) -> None:
    assert standing(tmp_path, SimulatedClock()).unsealed() is None


def test_what_waits_is_counted_and_its_age_goes_by_the_gate_s_own_time(tmp_path: Path) -> None:
    clock = SimulatedClock()
    written(tmp_path, clock, Event(Kind.TAMPER), Event(Kind.TAMPER))
    clock.moment += timedelta(hours=30)
    here = standing(tmp_path, clock)
    here.look()
    waiting = here.unsealed()
    assert waiting is not None
    assert waiting[0] >= 2
    assert waiting[1] == pytest.approx(30 * 3600, abs=2)


def test_checkpoints_that_cannot_be_read_are_no_count(tmp_path: Path) -> None:
    clock = SimulatedClock()
    written(tmp_path, clock, Event(Kind.TAMPER))
    (tmp_path / "checkpoints.db").write_bytes(b"garbage" * 1000)
    here = standing(tmp_path, clock)
    here.look()
    assert here.unsealed() is None


def test_the_log_remembers_the_newest_trust_list(tmp_path: Path) -> None:
    updates = [Event(Kind.TRUST_UPDATE, {"version": version}) for version in (3, 9, 4)]
    written(tmp_path, SimulatedClock(), *updates)
    assert logged_trust(Follower(tmp_path / "journal.db")) == 9


def believed(folder: Path, issued_at: datetime, withdrawn: Withdrawn) -> Trusted:
    """What was delivered and verified before."""
    trusted = Trusted(TrustReader(folder / "trust.db"), [], folder / "floors")
    trusted.whole = Whole(TrustList((), 3, issued_at, None, b"d" * 32), withdrawn=withdrawn, signed_at=issued_at)
    return trusted


def test_a_start_writes_down_when_what_it_believes_was_signed(tmp_path: Path) -> None:
    clock = SimulatedClock()
    old, older = clock.moment - timedelta(days=20), clock.moment - timedelta(days=29)
    lists = {name: Hashes(b"", 8, 1, at, clock.moment) for name, at in (("a", old), ("b", older))}
    here = standing(tmp_path, clock)
    here.trustfile = believed(tmp_path, old, Withdrawn(hashes=lists))
    journal = SqliteJournal.open(tmp_path / "journal.db", "urn:gate:a:b:c", "c", clock)
    for before in (None, here.trust()):
        asyncio.run(trust_changed(here, cast(SystemClock, clock), journal, before))
    journal.close()
    start, later = Follower(tmp_path / "journal.db").entries(0, 9)[-2:]
    assert (start.kind, start.fields["start"]) == (Kind.TRUST_UPDATE, True)
    assert (later.kind, later.fields.get("start")) == (Kind.STATUS_UPDATE, None)
    for entry in (start, later):
        assert entry.fields["issued"] == int(old.timestamp())
        assert entry.fields["status_issued"] == int(older.timestamp())


def test_a_second_gate_on_one_log_does_not_start(tmp_path: Path) -> None:
    with alone(tmp_path / "lock"), pytest.raises(DeviceError, match="another"), alone(tmp_path / "lock"):
        pass
    with alone(tmp_path / "lock"):
        pass


def test_only_the_pilot_may_do_without_attack_detection(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text((ROOT / "config" / "edge.toml").read_text().replace('profile = "pilot"', 'profile = "turnstile"'))
    (tmp_path / "profiles").mkdir()
    rules = (ROOT / "config" / "profiles" / "turnstile.toml").read_text()
    (tmp_path / "profiles" / "turnstile.toml").write_text(
        rules.replace('attack_detection = "required"', 'attack_detection = "optional"')
    )
    with pytest.raises(SettingsError, match="only pilot"):
        policy_of(load(config))


def test_a_root_that_is_no_key_is_named(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text((ROOT / "config" / "edge.toml").read_text().replace("roots = []", 'roots = ["bm90IGEga2V5"]'))
    with pytest.raises(SettingsError, match=r"trust\.roots\[0\]"):
        trust_of(load(config), tmp_path)
