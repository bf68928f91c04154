"""What edge-gate makes of configuration, signed lists and its own log before anybody comes."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from edge.app.check import rules_of
from edge.app.chosen import policy_of
from edge.app.site import (
    checked,
    count_left,
    counter_of,
    dispenser_of,
    entries_of,
    first_key,
    lacking_until,
    lists_missing,
    premises_of,
    tend,
    wrong_with,
)
from edge.app.standing import GateStanding
from edge.audit.entry import Event, Kind, Value
from edge.benefit import Due, Entitlements
from edge.credential import verify
from edge.credential.issue import SPEC_EXAMPLE, issue
from edge.decision import Policy
from edge.devices.checkpoints import CheckpointReader
from edge.devices.dispenser import Uncounted
from edge.devices.heard import HeardFile
from edge.devices.journal import Follower, SqliteJournal
from edge.devices.ledgerkey import KeptLedgerKey
from edge.devices.simulated import SimulatedClock, SimulatedJournal
from edge.devices.trusted import Trusted
from edge.devices.truststore import TrustReader, TrustStore
from edge.errors import DeviceError, Reason
from edge.policy.checks import not_denied
from edge.policy.presence import Pass
from edge.policy.rules import Group, Passback, Rules, Second, Zone
from edge.policy.telling import Statement
from edge.ports import Receipt
from edge.premises import Premises
from edge.settings import Settings, SettingsError, load, profile
from edge.sync.office import Office
from edge.trust.cose import signer
from edge.trust.keys import pinned
from edge.trust.list import Issuer, TrustList
from edge.trust.stored import Stored
from edge.trust.whole import open_whole
from edge.watch import Watch

ROOT = Path(__file__).resolve().parents[2]
SITE_KEY = b"site key of thirty-two bytes ...."
BARRED = Group("barred", listed="barred")
DENYING = Rules(groups=(BARRED,), deny=("barred",))
ANNA, BEN = b"a" * 16, b"b" * 16
Run = Callable[[Coroutine[Any, Any, Any]], Any]
POLICY = profile("turnstile", Policy, ROOT / "config" / "edge.toml")


class Way:
    """A dispenser that gives one portion."""

    dispensed = 1
    alarmed = False

    async def let_through(self, receipt: Receipt, *, longer_s: float = 0.0, portions: int = 1) -> Kind:
        return Kind.TAKEN


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = load(ROOT / "config" / "edge.toml")
    paths = dataclasses.replace(found.paths, state=tmp_path, run=tmp_path / "run", credentials=tmp_path / "secrets")
    for place in (paths.journal.parent, paths.run, paths.credentials):
        place.mkdir(parents=True)
    site = dataclasses.replace(found.site, site="hall")
    return dataclasses.replace(found, paths=paths, site=site)


class Here:
    """A log, a clock, and what was signed for this site."""

    def __init__(self, settings: Settings, tmp_path: Path) -> None:
        self.settings, self.clock = settings, SimulatedClock()
        self.journal = SqliteJournal.open(settings.paths.journal, settings.site.origin, "g", self.clock)
        self.log = Follower(settings.paths.journal)
        self.office = Office.begin(tmp_path / "office", "pilot")
        reader = TrustReader(settings.paths.trust)
        trusted = Trusted(reader, [self.office.list_key()], tmp_path / "floors", site="hall")
        self.trusted = trusted
        self.standing = GateStanding(trusted, self.log, CheckpointReader(settings.paths.checkpoints), self.clock)  # type: ignore[arg-type] # a clock that goes when told

    def publish(self) -> None:
        self.office.book.save()
        self.office.publish(self.clock.moment)
        self.trusted.whole = open_whole(self.office.lists.files(), [self.office.list_key()], {}, site="hall")

    def close(self) -> None:
        self.journal.close()
        self.log.close()


@pytest.fixture
def here(settings: Settings, tmp_path: Path) -> Any:
    made = Here(settings, tmp_path)
    yield made
    made.close()


def test_every_profile_that_ships_means_something_at_the_gate_it_is_for(settings: Settings) -> None:
    for path in sorted((ROOT / "config" / "profiles").glob("*.toml")):
        policy = profile(path.stem, Policy, ROOT / "config" / "edge.toml")
        gate = dataclasses.replace(settings.gate, passage="dispenser" if path.stem == "benefit" else "turnstile")
        assert wrong_with(policy.rules) == ()
        assert checked(policy, dataclasses.replace(settings, gate=gate)) is policy


def test_rules_that_mean_nothing_here_end_the_start(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="needs \\[gate\\] passage = 'dispenser'"):
        policy_of(dataclasses.replace(settings, site=dataclasses.replace(settings.site, profile="benefit")))
    for rules, said in (
        (Rules(timezone="Mars/Olympus"), "Mars/Olympus"),
        (Rules(zones=(Zone("lab"),)), "this gate leads into 'inside'"),
        (Rules(groups=(BARRED,), deny=("barred",)), "deny: the site's lists come with \\[trust\\] anchor"),
        (Rules(groups=(BARRED,), second=(Second(("barred",), ("barred",)),)), "second: the site's lists come with"),
        (Rules(holidays=("easter",), passback=Passback("hard", reset_h=0)), "easter.*reset_h"),
    ):
        with pytest.raises(SettingsError, match=said):
            checked(dataclasses.replace(POLICY, rules=rules), settings)
    with pytest.raises(SettingsError, match="trust_refer_h: nobody is left to refer"):
        checked(dataclasses.replace(POLICY, trust_refer_h=POLICY.trust_refuse_h), settings)
    lane = dataclasses.replace(POLICY, lane="gallery", gallery="staff", rules=DENYING)
    with pytest.raises(SettingsError, match="deny: in a lane without cards nobody knows anybody's groups"):
        checked(lane, settings)
    by_claim = Rules(groups=(Group("barred", claim="category", values=("x",)),), deny=("barred",))
    assert checked(dataclasses.replace(POLICY, rules=by_claim), settings).rules is by_claim


def test_while_the_site_s_lists_are_not_there_nobody_is_taken_for_somebody_who_is_on_none(here: Here, run: Run) -> None:
    policy = dataclasses.replace(POLICY, rules=DENYING)
    key = ed25519.Ed25519PrivateKey.generate()
    issuer = TrustList((Issuer(("https://id.example",), (pinned(key.public_key(), None, ["k"]),)),), 1, None, None, b"")
    now = here.clock.now()
    told = {"iss": "https://id.example", "id": "741", "iat": now.lower, "exp": now.lower + timedelta(days=9)}
    card = verify(issue(told, signer(key, "k"), SPEC_EXAMPLE), issuer, now)
    anchored = dataclasses.replace(here.settings.trust, anchor=Path("anchor.json"))
    settings = dataclasses.replace(here.settings, trust=anchored)

    async def decided() -> Reason | None:
        around = (SITE_KEY, here.standing, here.log, here.journal, here.clock, Way(), lambda: None)
        premises = await asyncio.to_thread(premises_of, settings, policy, *around)
        facts = await premises.facts(card, (ANNA,), now)
        assert ("untold" in {name for name, value in vars(facts).items() if value is not None}) == (not facts.groups)
        return not_denied(policy.rules, facts)

    async def story() -> None:
        assert checked(policy, settings) is policy
        assert await decided() is Reason.STATUS_UNKNOWN, "no trust at all"
        here.publish()
        assert await decided() is Reason.STATUS_UNKNOWN, "trust, and no lists in it"
        assert lists_missing(settings, policy.rules) == "no lists of hall came yet, and rules.deny ask for them"
        here.office.book.enlist("hall", SITE_KEY, "barred", "https://id.example", ["741"])
        here.publish()
        assert await decided() is Reason.DENIED_HERE
        store = TrustStore(settings.paths.trust)
        store.commit(Stored(1, files=here.office.lists.files()))
        store.close()
        assert lists_missing(settings, policy.rules) == ""
        assert lists_missing(settings, POLICY.rules) == ""

    run(story())


def test_a_zone_that_no_neighbour_would_read_and_a_log_that_forgets_too_soon_end_the_start(settings: Settings) -> None:
    rules = Rules(passback=Passback("hard", reset_h=48))
    long = dataclasses.replace(settings.gate, into="\u12a0" * 11)
    with pytest.raises(SettingsError, match="bytes long"):
        checked(dataclasses.replace(POLICY, rules=Rules()), dataclasses.replace(settings, gate=long))
    for keep_days, ends in ((1.0, True), (2.0, False), (0.0, False)):
        policy = dataclasses.replace(POLICY, rules=rules)
        here = dataclasses.replace(settings, log=dataclasses.replace(settings.log, keep_days=keep_days))
        if ends:
            with pytest.raises(SettingsError, match="counts for 48 hours"):
                checked(policy, here)
        else:
            assert checked(policy, here) is policy


def test_a_log_that_began_anew_is_said_until_nobody_counts_any_more(settings: Settings, run: Run) -> None:
    clock, rules = SimulatedClock(), POLICY.rules
    opened = SqliteJournal.open(settings.paths.journal, settings.site.origin, "g", clock)
    log = Follower(settings.paths.journal)
    assert lacking_until(log, rules) is None, "the first log of a gate lacks nothing"
    opened.close()
    opened = SqliteJournal.open(settings.paths.journal, settings.site.origin, "g", clock, anew="asked for")
    until = lacking_until(log, rules)
    assert until == clock.moment + timedelta(hours=rules.passback.reset_h)
    assert lacking_until(log, Rules()) is None

    async def story() -> None:
        journal = SimulatedJournal()
        watch = Watch(journal, clock)
        clock.go(11.0)
        tending = asyncio.ensure_future(tend(Premises(rules, clock.monotonic), clock, watch, until, every_s=0.0))
        await asyncio.sleep(0.01)
        assert "who went in before" in watch.conditions()["passback"][1]
        clock.go(rules.passback.reset_h * 3600)
        await asyncio.sleep(0.01)
        assert watch.conditions()["passback"] == (True, "")
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)

    run(story())
    log.close()
    opened.close()


def test_a_dispenser_that_is_mended_serves_again_within_seconds_and_not_after_a_minute(hours: Run) -> None:
    class Mended:
        async def tend(self, now: object, lost: object, back: Callable[[str], None]) -> None:
            back("dispenser")

    async def story() -> None:
        watch = Watch(SimulatedJournal(), SimulatedClock())
        mended: Any = Mended()
        tending = asyncio.ensure_future(tend(mended, SimulatedClock(), watch))
        await asyncio.sleep(25.0)
        watch.lost("dispenser", "a portion is stuck")
        assert watch.out_of_service()
        await asyncio.sleep(11.0)
        assert not watch.out_of_service()
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)

    hours(story())


def test_a_camera_that_is_lost_has_nobody_look_after_the_ledger_sooner(hours: Run) -> None:
    tended = 0

    class Tended:
        async def tend(self, now: object, lost: object, back: object) -> None:
            nonlocal tended
            tended += 1

    async def story() -> None:
        watch = Watch(SimulatedJournal(), SimulatedClock())
        premises: Any = Tended()
        tending = asyncio.ensure_future(tend(premises, SimulatedClock(), watch))
        await asyncio.sleep(1.0)
        for device in ("camera", "journal"):
            watch.lost(device, "gone")
        await asyncio.sleep(50.0)
        assert tended == 1
        watch.lost("ledger", "its key cannot be read")
        await asyncio.sleep(20.0)
        assert tended == 3
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)

    hours(story())


def test_a_dispenser_whose_driver_comes_late_is_back_within_a_minute(settings: Settings, here: Here, run: Run) -> None:
    """Its count is asked anew each time: nothing is handed out before the file is there, and then everything is."""
    count = settings.paths.run / "portions"
    gate = dataclasses.replace(settings.gate, kind="gpio", counter=count)
    counting = dataclasses.replace(settings, gate=gate)
    assert isinstance(
        dispenser_of(dataclasses.replace(settings, gate=dataclasses.replace(gate, counter=Path()))), Uncounted
    )

    async def story() -> None:
        counter = counter_of(counting, Rules(programme="rice"), SITE_KEY, here.standing, here.log, here.journal, Way())
        premises = Premises(Rules(programme="rice"), here.clock.monotonic, counter=counter)
        watch = Watch(SimulatedJournal(), here.clock)
        tending = asyncio.ensure_future(tend(premises, here.clock, watch, every_s=0.0))

        async def stands(condition: tuple[bool, str]) -> None:
            while watch.conditions().get("dispenser") != condition:  # noqa: ASYNC110 -- it is tended again and again
                await asyncio.sleep(0.01)

        await stands((False, f"its driver keeps no count in {count}"))
        count.write_text("1500", encoding="ascii")
        await stands((True, ""))
        assert dispenser_of(counting).counted() == 1500
        count.write_text("many", encoding="ascii")
        while watch.conditions()["dispenser"][0]:  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.01)
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)

    run(story())


def test_after_a_restart_the_log_says_who_is_inside_and_how_long_back_it_is_read(here: Here, run: Run) -> None:
    async def story() -> None:
        for subject in (ANNA, BEN):
            facts = {"facts": {"zone": "inside"}}
            grant = await here.journal.append(Event(Kind.GRANTED, facts, subject=subject))
            await here.journal.append(Event(Kind.TAKEN, {"visit": grant.index}))
            here.clock.go(7 * 3600)
        around = (SITE_KEY, here.standing, here.log, here.journal, here.clock, Way(), lambda: None)
        premises = premises_of(here.settings, POLICY, *around)
        ben, anna = [await premises.facts(None, (who,), here.clock.now()) for who in (BEN, ANNA)]
        assert (ben.passed_s, ben.passed_zone) == (7 * 3600, "inside")
        assert anna.passed_s is None or anna.passed_s >= POLICY.rules.passback.reset_h * 3600

    run(story())


def test_after_a_restart_the_log_says_whom_the_lot_fell_on(here: Here, run: Run) -> None:
    rules = Rules(check_one_in=2, check_again_h=12.0)

    async def lots(*, at_one_in: int = 2) -> list[int | None]:
        around = (SITE_KEY, here.standing, here.log, here.journal, here.clock, Way(), lambda: None)
        policy = dataclasses.replace(POLICY, rules=dataclasses.replace(rules, check_one_in=at_one_in))
        premises = await asyncio.to_thread(premises_of, here.settings, policy, *around)
        premises._draw = lambda: 9_999
        return [(await premises.facts(None, (who,), here.clock.now())).drawn for who in (ANNA, BEN)]

    async def story() -> None:
        for subject in (ANNA, BEN):
            told: dict[str, Value] = {"reason": "secondary-check", "facts": {"drawn": 17}}
            await here.journal.append(Event(Kind.DENIED, told, subject=subject))
        assert await lots() == [17, 17]
        assert await lots(at_one_in=0) == [None, None]
        await here.journal.append(Event(Kind.OVERRIDE, subject=BEN))
        assert await lots() == [17, 9_999], "somebody let the one in"
        here.clock.go(12 * 3600 + 1)
        assert await lots() == [9_999, 9_999]

    run(story())


def test_after_a_restart_what_neighbours_told_is_known_too(here: Here, run: Run) -> None:
    heard = HeardFile(here.settings.paths.journal.parent / "neighbours.db")
    around = (SITE_KEY, here.standing, here.log, here.journal, here.clock, Way(), lambda: None, heard)
    policy = dataclasses.replace(POLICY, rules=dataclasses.replace(POLICY.rules, programme="rice"))

    async def story() -> None:
        here.office.book.open_cycle("hall", "rice", "2026-11", 1, datetime(2027, 1, 1, tzinfo=UTC))
        here.publish()
        grant = await here.journal.append(Event(Kind.GRANTED, {"facts": {"zone": "inside"}}, subject=ANNA))
        await here.journal.append(Event(Kind.TAKEN, {"visit": grant.index}))
        premises = premises_of(here.settings, policy, *around)
        ben = await due(premises)
        here.clock.go(60)
        at_s = int(here.clock.moment.timestamp())
        told = (Pass(ANNA, "outside", at_s, at_s),)
        premises.told(Statement("other", bytes(8), passes=told, cycle=1, marks=(ben.mark,)), here.clock.now())
        await heard.keep(*premises.to_keep(here.clock.now()))
        again = premises_of(here.settings, policy, *around)
        assert (await again.facts(None, (ANNA,), here.clock.now())).passed_zone == "outside"
        assert (await due(again)).benefit == "received"

    async def due(premises: Premises) -> Due:
        counter = premises._counter
        assert isinstance(counter, Entitlements)
        found = await counter.due(b"ben")
        assert found is not None
        return found

    run(story())
    heard.close()


def test_a_benefit_is_due_by_the_signed_cycle_and_survives_restart_and_pruning(here: Here, run: Run) -> None:
    rules = Rules(programme="rice")

    async def story() -> None:
        counter = counter_of(here.settings, rules, SITE_KEY, here.standing, here.log, here.journal, Way())
        assert await counter.due(b"anna") is None, "nobody opened a cycle"
        here.office.book.open_cycle("hall", "rice", "2026-11", 1, datetime(2027, 1, 1, tzinfo=UTC))
        here.publish()
        due = await counter.due(b"anna")
        assert due is not None
        assert due.benefit == "free"
        grant = await here.journal.append(Event(Kind.GRANTED))
        assert await counter.hand_out(grant, due) is Kind.TAKEN
        for _ in range(20):
            await here.journal.append(Event(Kind.DENIED))
        pruned = await here.journal.prune(10_000, 10_000)
        assert pruned is not None
        kinds = [entry.kind for entry in entries_of(here.log, set(Kind) - {Kind.PRUNED})]
        assert kinds == [Kind.CYCLE, Kind.RESERVATION, Kind.COMMIT]
        again = counter_of(here.settings, rules, SITE_KEY, here.standing, here.log, here.journal, Way())
        for person, benefit in ((b"anna", "received"), (b"ben", "free")):
            found = await again.due(person)
            assert found is not None
            assert found.benefit == benefit
        again.elsewhere(1, [again_mark(again, b"ben")])
        found = await again.due(b"ben")
        assert found is not None
        assert found.benefit == "received", "at another point"

    def again_mark(counter: Any, person: bytes) -> bytes:
        whole = here.trusted.whole
        assert whole is not None
        mark: bytes = counter._keyring.key.mark(person, whole.cycles.open["rice"])
        return mark

    run(story())


def test_keys_of_cycles_that_nobody_can_dispute_are_destroyed_at_the_start(here: Here, run: Run) -> None:
    rules = Rules(programme="rice")

    async def story() -> None:
        here.office.book.open_cycle("hall", "rice", "2026-11", 1, here.clock.moment + timedelta(days=30))
        here.publish()

        def started() -> Any:
            return counter_of(here.settings, rules, SITE_KEY, here.standing, here.log, here.journal, Way())

        assert (await started().due(b"anna")).benefit == "free"
        place = here.settings.paths.journal.parent / "ledger-key"
        assert first_key(here.settings, SITE_KEY).hex() in place.read_text()
        here.clock.go(31 * 86_400)
        await started().tend(here.clock.now().lower)
        assert await started().due(b"anna") is None, "its key is gone, and with it whoever stands under it"
        assert first_key(here.settings, SITE_KEY).hex() not in place.read_text()
        assert place.stat().st_mode & 0o077 == 0

    run(story())


def test_a_ledger_key_that_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    for content in ("", "{}", '{"number": 0, "key": "", "opened": 0}', '{"number": 1, "key": "zz", "opened": 0}'):
        (tmp_path / "ledger-key").write_text(content)
        with pytest.raises(DeviceError, match="ledger-key cannot be read"):
            KeptLedgerKey(tmp_path / "ledger-key", bytes(32))


def test_all_points_of_a_site_begin_with_the_same_key_of_their_own(settings: Settings) -> None:
    derived = first_key(settings, SITE_KEY)
    (settings.paths.credentials / "ledger-key").write_bytes(b"a secret of its own for the ledger")
    assert first_key(settings, SITE_KEY) != derived
    assert first_key(settings, b"whatever the site key is") == first_key(settings, SITE_KEY)


def test_a_benefit_that_is_being_handed_out_is_not_taken_for_interrupted(here: Here, run: Run) -> None:
    """An operator lets somebody in while the next person already shows a card."""

    class Slow(Way):
        async def let_through(self, receipt: Receipt, *, longer_s: float = 0.0, portions: int = 1) -> Kind:
            await asyncio.sleep(0.2)
            return Kind.TAKEN

    async def story() -> None:
        here.office.book.open_cycle("hall", "rice", "2026-11", 1, datetime(2027, 1, 1, tzinfo=UTC))
        here.publish()
        rules = Rules(programme="rice")
        counter = counter_of(here.settings, rules, SITE_KEY, here.standing, here.log, here.journal, Slow())
        anna = await counter.due(b"anna")
        assert anna is not None
        grant = await here.journal.append(Event(Kind.OVERRIDE))
        handing = asyncio.ensure_future(counter.hand_out(grant, anna))
        await asyncio.sleep(0.05)
        again, ben = await counter.due(b"anna"), await counter.due(b"ben")
        assert handing.done()
        assert again is not None
        assert ben is not None
        assert (again.benefit, ben.benefit) == ("received", "free")
        ends = list(entries_of(here.log, {Kind.COMMIT, Kind.RELEASE}))
        assert [end.fields["why"] for end in ends] == ["taken"]
        with pytest.raises(DeviceError):
            await counter.hand_out(grant, again)

    run(story())


def test_edge_check_says_what_the_rules_need_and_do_not_find(settings: Settings, tmp_path: Path) -> None:
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    for name in ("turnstile", "benefit"):
        text = (ROOT / "config" / "profiles" / f"{name}.toml").read_text(encoding="utf-8")
        (profiles / f"{name}.toml").write_text(text.replace("silent_s = 0", "silent_s = 60"), encoding="utf-8")

    def found(name: str, **mqtt: bool) -> list[str]:
        gate = dataclasses.replace(settings.gate, passage="dispenser" if name == "benefit" else "turnstile")
        site = dataclasses.replace(settings.site, profile=name)
        told = dataclasses.replace(settings.mqtt, **mqtt)  # type: ignore[arg-type] # truths
        here = dataclasses.replace(settings, gate=gate, site=site, mqtt=told, source=tmp_path / "edge.toml")
        findings = [*rules_of(here)]
        assert [each.well for each in findings if each.device == "rules"] == [told.tell or name == "benefit"], (
            "always said"
        )
        return [finding.said for finding in findings if not finding.well]

    assert found("turnstile") == ["rules.passback.silent_s waits for other gates, and this one hears none"]
    assert found("turnstile", tell=True) == []
    assert len(found("benefit")) == 1, "no key of its own"
    (settings.paths.credentials / "ledger-key").write_bytes(bytes(32))
    assert found("benefit") == []
    (settings.paths.journal.parent / "ledger-key").write_text("kept")
    assert found("benefit") == ["the key of the first cycle is still here as the credential ledger-key"]
    (settings.paths.credentials / "ledger-key").unlink()
    assert found("benefit") == []


def test_a_profile_that_keeps_everybody_out_for_want_of_a_list_is_found_under_a_name_that_was_asked_before(
    settings: Settings, tmp_path: Path
) -> None:
    """What ``updates/good`` compares: a device that the version before asked for, well then and not well now."""
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    text = (ROOT / "config" / "profiles" / "turnstile.toml").read_text(encoding="utf-8")
    text = text.replace("[rules]\n", '[rules]\ndeny = ["barred"]\n', 1)
    listed = '\n[[rules.groups]]\nname = "barred"\nlisted = "barred"\n'
    (profiles / "turnstile.toml").write_text(text + listed, encoding="utf-8")
    trust = dataclasses.replace(settings.trust, anchor=tmp_path / "anchor.json")
    site = dataclasses.replace(settings.site, profile="turnstile")
    here = dataclasses.replace(settings, site=site, trust=trust, source=tmp_path / "edge.toml")
    said = {(each.device, each.well): each.said for each in rules_of(here)}
    assert "no lists of" in said["profile", False]


def test_a_count_that_a_driver_keeps_where_nobody_reads_it_is_said(settings: Settings) -> None:
    gate = dataclasses.replace(settings.gate, kind="gpio", counter=Path())
    here = dataclasses.replace(settings, gate=gate)
    assert count_left(here) == ""
    left = settings.paths.run / "dispenser-count"
    left.write_text("1500", encoding="ascii")
    assert str(left) in count_left(here)
    assert count_left(dataclasses.replace(here, gate=dataclasses.replace(gate, counter=left))) == ""
