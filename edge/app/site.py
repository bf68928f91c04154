"""The site around the gate, put together: its rules checked, its passes and its ledger made of the log.

Rules:

1. A rule that cannot mean anything ends the start, with every fault named.
2. Passes and lots are read back as far as the rules ask, and no further than ``_LOOKED_BACK`` entries; the ledger is
   the whole log, because a cycle lasts as long as it lasts.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Iterable, Iterator, Set
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge.app.service import credential_path, secret
from edge.app.standing import GateStanding
from edge.audit.entry import Entry, Kind, LogError, decode, kind_in
from edge.benefit import COUNTED, Benefit, Entitlements, Way
from edge.credential import Credential
from edge.decision import Policy, card_of
from edge.devices.dispenser import CountInFile, Uncounted
from edge.devices.heard import HeardFile
from edge.devices.ledgerkey import KeptLedgerKey
from edge.devices.trusted import Trusted
from edge.devices.truststore import TrustReader
from edge.errors import DeviceError
from edge.policy.faults import faults
from edge.policy.ledger import Ledger
from edge.policy.lots import Lots
from edge.policy.presence import Presence, passes
from edge.policy.rules import LONGEST, Rules, named_groups
from edge.ports import Clock, Dispenser, Journal, Log
from edge.premises import Place, Premises
from edge.settings import Settings, SettingsError
from edge.trust.cycles import Cycle
from edge.watch import Watch

_TEND_S = 60.0
_AGAIN_S = 10.0
_AT_ONCE = 2_000
_LOOKED_BACK = 200_000
_LEDGER = frozenset({Kind.CYCLE, Kind.RESERVATION, Kind.COMMIT, Kind.RELEASE})
_PASSES = frozenset({Kind.GRANTED, Kind.OVERRIDE, Kind.TAKEN, Kind.NOT_TAKEN})
_LOTS = frozenset({Kind.GRANTED, Kind.OVERRIDE, Kind.DENIED})


def zone_of(rules: Rules) -> ZoneInfo:
    """The wall clock of the site.

    Raises:
        ValueError: nobody knows that time zone here.
    """
    try:
        return ZoneInfo(rules.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"timezone: {rules.timezone!r} is not in this machine's time zones") from error


def wrong_with(rules: Rules) -> tuple[str, ...]:
    """Every fault of the rules."""
    try:
        zone_of(rules)
    except ValueError as error:
        return (str(error), *faults(rules))
    return faults(rules)


def checked(policy: Policy, settings: Settings) -> Policy:
    """The policy, if its rules mean something at this gate.

    Raises:
        SettingsError: names every fault.
    """
    found = [*wrong_with(policy.rules)]
    if policy.trust_refer_h and policy.trust_refer_h >= policy.trust_refuse_h:
        found.append("trust_refer_h: nobody is left to refer, because of trust_refuse_h")
    if policy.rules.programme and settings.gate.passage != "dispenser":
        found.append("programme: a benefit needs [gate] passage = 'dispenser'")
    if policy.rules.zones and policy.rules.zone(settings.gate.into) is None:
        found.append(f"zones: this gate leads into {settings.gate.into!r}, which is none of them")
    if not 0 < len(settings.gate.into.encode()) <= LONGEST:
        found.append(f"[gate] into = {settings.gate.into!r} should be 1 to {LONGEST} bytes long; gates tell each other")
    counts_h = policy.rules.passback.counts_s / 3600 if policy.rules.passback.kind != "off" else 0.0
    if 0 < settings.log.keep_days * 24 < counts_h:
        found.append(f"passback: who passed counts for {counts_h:g} hours; [log] keep_days forgets it sooner")
    if policy.lane == "gallery":
        said = "in a lane without cards nobody knows anybody's groups"
        found += dict.fromkeys(f"{where}: {said}" for where, _ in named_groups(policy.rules))
    elif settings.trust.anchor == Path():
        said = "the site's lists come with [trust] anchor, and there is none"
        found += dict.fromkeys(f"{where}: {said}" for where in waiting_for_lists(policy.rules))
    if found:
        raise SettingsError(f"profile {policy.name}: " + "; ".join(found))
    return policy


def waiting_for_lists(rules: Rules) -> list[str]:
    """The rules that keep people out, or call for help, by a list of the site: without one they would be silent."""
    listed = {group.name for group in rules.groups if group.listed}
    tables = {"deny": rules.deny, "watch": rules.watch, "duress": rules.duress}
    tables |= {"second": tuple(name for each in rules.second for name in each.groups)}
    return [where for where, names in tables.items() if not listed.isdisjoint(names)]


def lists_missing(settings: Settings, rules: Rules) -> str:
    """What the rules look up in the site's lists while there are none; empty when they are there or not asked for.

    Raises:
        DeviceError: what came by way of edge-sync cannot be read.
    """
    waiting, site = waiting_for_lists(rules), settings.site.site
    stored = TrustReader(settings.paths.trust).newer_than(0) if waiting else None
    if not waiting or (stored is not None and f"members/{site}.cose" in stored.files):
        return ""
    return f"no lists of {site} came yet, and rules.{', rules.'.join(waiting)} ask for them"


def premises_of(
    settings: Settings,
    policy: Policy,
    site_key: bytes,
    standing: GateStanding,
    log: Log,
    journal: Journal,
    clock: Clock,
    way: Way,
    silent_s: Callable[[], float | None],
    heard: HeardFile | None = None,
) -> Premises:
    """What this gate knows of its site. Reads the log, and what neighbours told before the restart: in a thread.

    Raises:
        DeviceError: the log, what was told or the ledger's key cannot be read.
    """
    rules = policy.rules

    def listed(credential: Credential) -> Set[str] | None:
        whole = standing.trustfile.whole if isinstance(standing.trustfile, Trusted) else None
        if whole is None or not whole.members.version:
            return None
        return whole.members.of(card_of(credential), site_key)

    now, passback = clock.now().lower, rules.passback
    counts = passback.kind != "off" or passback.again_s or rules.zones
    counted = now - timedelta(seconds=passback.counts_s)
    told, marks = heard.read() if heard is not None else ((), ())
    presence = Presence(passes(since(log, _PASSES, counted)), told) if counts else Presence()
    lots = Lots(since(log, _LOTS, now - timedelta(hours=rules.check_again_h)) if rules.check_one_in else ())
    place = Place(settings.gate.into, zone_of(rules))
    around = (settings, rules, site_key, standing, log, journal, way)
    keep = heard.note_marks if heard is not None else lambda _number, _marks: None
    counter = counter_of(*around, marks, keep) if rules.programme else None
    premises = Premises(
        rules,
        clock.monotonic,
        place,
        presence=presence,
        lots=lots,
        listed=listed,
        counter=counter,
        silent_s=silent_s,
        keep=heard.note_passes if heard is not None else lambda _: None,
    )
    premises.steady(clock.now())
    return premises


def counter_of(
    settings: Settings,
    rules: Rules,
    site_key: bytes,
    standing: GateStanding,
    log: Log,
    journal: Journal,
    way: Way,
    told: Iterable[tuple[int, bytes]] = (),
    keep: Callable[[int, Iterable[bytes]], None] = lambda _number, _marks: None,
) -> Entitlements:
    """Where the benefit is handed out.

    Raises:
        DeviceError: the ledger's key cannot be read.
    """

    def cycle() -> Cycle | None:
        whole = standing.trustfile.whole if isinstance(standing.trustfile, Trusted) else None
        return None if whole is None else whole.cycles.open.get(rules.programme)

    keyring = KeptLedgerKey(settings.paths.journal.parent / "ledger-key", first_key(settings, site_key))
    benefit = Benefit(
        journal,
        dispenser_of(settings),
        way,
        lambda: Ledger(entries_of(log, _LEDGER)),
        settle_s=settings.gate.held_s,
    )
    return Entitlements(benefit, keyring, cycle, told, keep)


def first_key(settings: Settings, site_key: bytes) -> bytes:
    """The key of the first cycle, one for all points of a site: credential ``ledger-key``, else of the site key."""
    if credential_path(settings.paths, "ledger-key").exists():
        return hmac.digest(secret(settings.paths, "ledger-key", least=16), b"ledger", "sha256")
    return hmac.digest(site_key, b"ledger", "sha256")


def dispenser_of(settings: Settings) -> Dispenser:
    """The dispenser's own count: of the simulated one, of a driver that keeps one in a file, or none."""
    if settings.gate.kind == "simulated" and settings.camera.kind == "footage":
        return CountInFile(Path(settings.camera.source) / "portions", begins=True)
    return Uncounted() if settings.gate.counter == Path() else CountInFile(settings.gate.counter)


def count_left(settings: Settings) -> str:
    """A count that a driver keeps where nobody reads it any more; empty for none."""
    left = settings.paths.run / "dispenser-count"
    if settings.gate.counter != Path() or settings.gate.kind == "simulated" or not left.exists():
        return ""
    return f"a count of portions lies in {left} and gate.counter names none: what a power cut leaves open stays unsure"


def entries_of(log: Log, kinds: Set[Kind], first: int = 0) -> Iterator[Entry]:
    """The entries of some kinds, in order.

    Raises:
        DeviceError: the log cannot be read.
    """
    for start in range(first, log.size(), _AT_ONCE):
        for encoded in log.read(start, _AT_ONCE):
            try:
                if kind_in(encoded) in kinds:
                    yield decode(encoded)
            except LogError as error:
                raise DeviceError("journal", f"an entry after {start} is damaged: {error}") from error


def since(log: Log, kinds: Set[Kind], moment: datetime) -> Iterator[Entry]:
    """The entries of some kinds since then, and a few before: rule 2."""
    last, least = log.size(), max(0, log.size() - _LOOKED_BACK)
    while last > least:
        last = max(least, last - _AT_ONCE)
        found = log.entries(last, 1)
        if found and found[0].wall_ms < moment.timestamp() * 1000:
            break
    return entries_of(log, kinds, last)


async def tend(
    premises: Premises, clock: Clock, watch: Watch, lacking: datetime | None = None, every_s: float = _TEND_S
) -> None:
    """Look after the ledger and the dispenser at the start and every minute, until cancelled.

    Sooner while one of the two is lost: people are sent away for as long as nobody has seen that it is well again.

    Args:
        premises: whose they are.
        clock: of the gate.
        watch: hears what is lost, and what is back.
        lacking: until when passes are missing that a lost log told of; None where none are.
        every_s: a minute.
    """
    if lacking is not None:
        watch.lost("passback", f"the log began anew: who went in before may pass again until {lacking:%H:%M} UTC")
    while True:
        await premises.tend(clock.now(), watch.lost, watch.back)
        if lacking is not None and clock.now().lower >= lacking:
            watch.back("passback")
            lacking = None
        for _ in range(max(1, round(every_s / _AGAIN_S))):
            await asyncio.sleep(min(every_s, _AGAIN_S))
            conditions = watch.conditions()
            if any(device in conditions and not conditions[device][0] for device in COUNTED):
                break


def lacking_until(log: Log, rules: Rules) -> datetime | None:
    """Until when passes are missing because an older log was lost; None where there is no older one, or none counts.

    Raises:
        DeviceError: the log cannot be read.
    """
    first = log.entries(0, 1)
    if rules.passback.kind == "off" or not first or first[0].kind is not Kind.EPOCH_OPEN:
        return None
    return datetime.fromtimestamp(first[0].wall_ms / 1000, UTC) + timedelta(hours=rules.passback.reset_h)
