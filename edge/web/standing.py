"""What the log says about the gate, added up entry by entry.

Rules:

1. Pure: an entry comes in, the new standing comes out. The same entries give the same standing after every restart.
2. A page learns the fields named here and no other: a field that somebody adds to an entry tomorrow is not shown by
   accident.
3. What has not been said is unknown, and unknown is never shown as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from edge.audit.entry import Entry, Kind, Quality, Value
from edge.errors import Reason

TEXT_LIMIT = 200
_YEAR_3000_MS = 32_503_680_000_000
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Told:
    """One entry as the pages take it: its place in the log, when it was written, what happened.

    ``at`` is None when the gate did not know the time at all; ``kind`` is a number when this release does not know it;
    ``monotonic_ms`` is the machine's stopwatch, which tells how long ago that was also where nobody knows the time.
    """

    index: int
    at: datetime | None
    kind: Kind | int
    fields: Mapping[str, Value] = field(default_factory=dict, repr=False)
    boot: int = 1
    monotonic_ms: int = 0

    @classmethod
    def of(cls, entry: Entry) -> Told:
        """Take from an entry what the pages may know: neither pseudonym nor issuer nor digests."""
        at = None
        if entry.quality is not Quality.UNKNOWN and entry.wall_ms < _YEAR_3000_MS:
            at = datetime.fromtimestamp(entry.wall_ms / 1000, UTC)
        return cls(entry.index, at, entry.kind, entry.fields, entry.boot, entry.monotonic_ms)

    def text(self, name: str) -> str:
        """The text of a field, cut to a line; empty when absent or something else."""
        value = self.fields.get(name)
        return value[:TEXT_LIMIT] if isinstance(value, str) else ""

    def flag(self, name: str) -> bool | None:
        """The truth of a field; None when absent or something else."""
        value = self.fields.get(name)
        return value if isinstance(value, bool) else None

    def moment(self, name: str) -> datetime | None:
        """The moment of a field, in seconds since 1970; None when absent or something else."""
        value = self.number(name)
        return datetime.fromtimestamp(value, UTC) if value and 0 < value * 1000 < _YEAR_3000_MS else None

    def number(self, name: str) -> int | None:
        """The whole number of a field; None when absent or something else."""
        value = self.fields.get(name)
        return value if type(value) is int else None

    def stages_us(self) -> dict[str, int]:
        """Microseconds per stage of a visit."""
        value = self.fields.get("stages")
        if not isinstance(value, Mapping):
            return {}
        return {str(k)[:32]: v for k, v in list(value.items())[:32] if type(v) is int and v >= 0}


@dataclass(frozen=True)
class Device:
    """How a device was when it was last heard of."""

    ok: bool
    since: datetime | None
    detail: str


@dataclass(frozen=True)
class Times:
    """Durations as a metric wants them: how many, how long together, how many up to each of ``BUCKETS_S``."""

    count: int = 0
    total_us: int = 0
    up_to: tuple[int, ...] = (0,) * len(BUCKETS_S)

    def plus(self, took_us: int) -> Times:
        """With one more."""
        up_to = tuple(n + (took_us <= s * 1_000_000) for n, s in zip(self.up_to, BUCKETS_S, strict=True))
        return Times(self.count + 1, self.total_us + took_us, up_to)


@dataclass(frozen=True)
class Standing:
    """The gate as the log tells it.

    Attributes:
        size: entries read so far; the next index.
        newest_at: when the newest of them was written.
        newest_ms: the same on the machine's stopwatch; None when that was before this start, or nobody knew the time.
        boot: which start of edge-gate this is.
        booted_at: when that was.
        profile: the one named last.
        detects_attacks: whether the last visit or start said that attack detection is active; None when none said so.
        clock: state of the clock as last told.
        trust: detail of the last trust update.
        trust_at: when the trust list in force was issued, or last confirmed; None when nobody said.
        trust_warn_s: age from which the profile calls it old.
        overrule_s: how long after a refusal the profile lets an operator overrule it.
        devices: by name.
        kinds: entries per kind.
        refusals: denials per reason code.
        whole: from readable code to open gate.
        fire: whether the fire alarm is on.
        lane: whether the profile in force asks for no card.
        closed: whether an operator locked the gate down, as far as these entries tell; None when they do not.
        status_at: when the oldest list of withdrawn cards in force was issued; None when there is none.
        stages: microseconds per stage of a visit.
    """

    size: int = 0
    newest_at: datetime | None = None
    newest_ms: int | None = None
    boot: int = 0
    booted_at: datetime | None = None
    profile: str = ""
    detects_attacks: bool | None = None
    clock: str = ""
    trust: str = ""
    trust_at: datetime | None = None
    devices: Mapping[str, Device] = field(default_factory=dict)
    kinds: Mapping[Kind | int, int] = field(default_factory=dict)
    refusals: Mapping[str, int] = field(default_factory=dict)
    whole: Times = field(default_factory=Times)
    stages: Mapping[str, Times] = field(default_factory=dict)
    fire: bool = False
    lane: bool = False
    closed: bool | None = None
    status_at: datetime | None = None
    trust_warn_s: int | None = None
    overrule_s: int | None = None

    def after(self, told: Told) -> Standing:
        """The standing when this entry has been heard too. What was lost before the gate's last start is forgotten."""
        known = self if told.boot == self.boot else self._booted(told)
        return known._with(told)

    def now(self, monotonic_s: float) -> datetime | None:
        """What the gate's clock says now, as far as its entries tell: at least so late. None when they do not tell."""
        if self.newest_at is None or self.newest_ms is None or monotonic_s * 1000 < self.newest_ms:
            return None
        return self.newest_at + timedelta(milliseconds=monotonic_s * 1000 - self.newest_ms)

    def trust_old(self, now: datetime | None) -> bool | None:
        """Whether the trust list is older than the profile likes; None when that cannot be told."""
        if self.trust_at is None or self.trust_warn_s is None or now is None:
            return None
        return (now - self.trust_at).total_seconds() > self.trust_warn_s

    def _booted(self, told: Told) -> Standing:
        booted = replace(self, boot=told.boot, booted_at=told.at, devices={}, detects_attacks=None, fire=False)
        return replace(booted, newest_ms=None)

    def _with(self, told: Told) -> Standing:
        standing = replace(
            self,
            size=told.index + 1,
            newest_at=told.at or self.newest_at,
            newest_ms=self.newest_ms if told.at is None else told.monotonic_ms,
            profile=told.text("profile") or self.profile,
            clock=told.text("clock") or self.clock,
            kinds={**self.kinds, told.kind: self.kinds.get(told.kind, 0) + 1},
        )
        detects = told.flag("attacks_detected")
        if detects is not None:
            standing = replace(standing, detects_attacks=detects)
        match told.kind:
            case Kind.GRANTED | Kind.DENIED:
                return standing._visited(told)
            case Kind.TAKEN | Kind.NOT_TAKEN:
                whole_us = told.number("whole_us")
                return standing if whole_us is None else replace(standing, whole=self.whole.plus(whole_us))
            case Kind.DEVICE_LOST | Kind.DEVICE_BACK:
                device = Device(told.kind is Kind.DEVICE_BACK, told.at, told.text("detail"))
                return replace(standing, devices={**standing.devices, told.text("device") or "unnamed": device})
            case Kind.CONFIGURATION if told.text("lane"):
                lane, warn_s, overrule_s = told.text("lane"), told.number("trust_warn_s"), told.number("overrule_s")
                return replace(standing, lane=lane == "gallery", trust_warn_s=warn_s, overrule_s=overrule_s)
            case Kind.TRUST_UPDATE | Kind.STATUS_UPDATE:
                issued, oldest = told.moment("issued"), told.moment("status_issued")
                return replace(standing, trust=_trusted(told), trust_at=issued, status_at=oldest)
            case Kind.FIRE | Kind.FIRE_OVER:
                return replace(standing, fire=told.kind is Kind.FIRE)
            case Kind.COMMAND if (closed := locks_down(told)) is not None:
                return replace(standing, closed=closed)
            case _:
                return standing

    def _visited(self, told: Told) -> Standing:
        refusals, stages = self.refusals, dict(self.stages)
        if told.kind is Kind.DENIED:
            code = told.text("reason") or "not-told"
            refusals = {**refusals, code: refusals.get(code, 0) + 1}
        for name, took_us in told.stages_us().items():
            stages[name] = stages.get(name, Times()).plus(took_us)
        return replace(self, refusals=refusals, stages=stages)


def locks_down(told: Told) -> bool | None:
    """Whether the gate was closed or opened again here; None when neither."""
    lock_down = told.kind is Kind.COMMAND and told.text("what") == "lock-down" and told.text("outcome") == "obeyed"
    return told.flag("on") is not False if lock_down else None


def reason_of(told: Told) -> Reason | None:
    """The reason of a denial; None when there is none, or one that this version does not know."""
    return _REASONS.get(told.text("reason"))


ALARMS = frozenset(
    {
        Kind.DOOR_FORCED,
        Kind.DOOR_HELD,
        Kind.TAILGATE,
        Kind.DISPENSER_FAULT,
        Kind.PORTION_UNGRANTED,
        Kind.TAMPER,
        Kind.DURESS,
        Kind.NOTICED,
        Kind.FIRE,
        Kind.FORK,
    }
)
"""What somebody must look at now; a page says it until somebody has seen it."""
QUIET = frozenset({Kind.DURESS, Kind.NOTICED})
"""What nobody but an operator may learn: whoever forces a person, or is watched for, may be reading along."""
_REASONS = {reason.code: reason for reason in Reason}
_WORDS: dict[Kind | int, str] = {
    Kind.BOOT: "The gate has started.",
    Kind.SHUTDOWN: "The gate has been stopped.",
    Kind.POWER_LOST: "The power was gone.",
    Kind.POWER_BACK: "The power is back.",
    Kind.GRANTED: "Access granted.",
    Kind.TAKEN: "The person has passed.",
    Kind.NOT_TAKEN: "The person did not pass; the gate is locked again.",
    Kind.DOOR_FORCED: "The door was opened without a grant.",
    Kind.DOOR_HELD: "The door is held open.",
    Kind.TAILGATE: "More than one person passed.",
    Kind.EXIT_REQUEST: "Exit button pressed.",
    Kind.FIRE: "Fire alarm: the way out is free.",
    Kind.FIRE_OVER: "The fire alarm is over.",
    Kind.TAMPER: "The housing was opened.",
    Kind.DURESS: "A card that stands for a threat was shown: somebody needs help, quietly.",
    Kind.NOTICED: "Somebody came whom the site watches for.",
    Kind.DISPENSER_FAULT: "The dispenser reports a fault.",
    Kind.PORTION_UNGRANTED: "A portion came out that nobody was granted.",
    Kind.CYCLE: "A cycle of a benefit was opened.",
    Kind.RESERVATION: "A benefit was reserved.",
    Kind.COMMIT: "A benefit was handed out.",
    Kind.RELEASE: "A benefit was not handed out and is still due.",
    Kind.CLOCK_STEP: "The clock was set.",
    Kind.CONFIGURATION: "The configuration in force was recorded.",
    Kind.TRUST_UPDATE: "The trust list was renewed.",
    Kind.STATUS_UPDATE: "The lists of withdrawn cards were renewed.",
    Kind.TAIL_KEY: "Entries that wait for the token carry tags from here on.",
    Kind.OVERRIDE: "An operator let the person in.",
    Kind.EXPORT: "An operator took the log away.",
    Kind.EPOCH_OPEN: "A new epoch of the log has begun.",
    Kind.KEY_ROTATION: "The log goes over to another key.",
    Kind.FORK: "A log of this site was cut off or rewritten: two signed heads cannot both be true.",
    Kind.PRUNED: "What old entries said was taken away.",
    Kind.BODIES_DELETED: "What was kept about people was deleted.",
}
_OPERATOR = {
    "enrolled": "An operator was enrolled.",
    "dismissed": "An operator was dismissed.",
    "tried-in-vain": "Somebody tried in vain to log in.",
}


def kind_name(kind: Kind | int) -> str:
    """The kind as pages and metrics write it."""
    return kind.name.lower().replace("_", "-") if isinstance(kind, Kind) else f"kind-{kind}"


def sentence(told: Told) -> str:
    """The entry in one sentence for the operator."""
    match told.kind:
        case Kind.DENIED:
            reason = reason_of(told)
            return reason.operator if reason else f"Refused: {told.text('reason') or 'no reason was written down'}."
        case Kind.DEVICE_LOST:
            return f"{told.text('device') or 'A device'} does not answer."
        case Kind.DEVICE_BACK:
            return f"{told.text('device') or 'A device'} answers again."
        case Kind.COMMAND:
            return _commanded(told)
        case Kind.OVERRIDE if told.number("badge") is not None:
            return "The badge of somebody who assists let the person in."
        case Kind.TRUST_UPDATE if told.flag("start"):
            return "The trust list in force was recorded."
        case Kind.OPERATOR:
            return _OPERATOR.get(told.text("what"), "Operators were changed.")
        case _:
            return _WORDS.get(told.kind, f"{kind_name(told.kind).capitalize().replace('-', ' ')}.")


def _trusted(told: Told) -> str:
    return f"version {told.number('version')}, {told.number('issuers')} issuers"


def _configured(told: Told) -> str:
    if told.text("fmr"):
        return f"profile {told.text('profile')}, false match rate {told.text('fmr')}"
    seen = {None: "", True: ", attacks are detected", False: ", attacks are not detected"}
    return f"models {told.text('set')}{seen[told.flag('attacks_detected')]}" if told.text("set") else ""


def _commanded(told: Told) -> str:
    if told.text("outcome") != "obeyed":
        return "A command was refused."
    if told.text("what") == "lock-down":
        lifted = told.flag("on") is False
        return "An operator opened the gate again." if lifted else "An operator locked the gate down."
    return f"A command was obeyed: {told.text('what') or 'unnamed'}."


def detail(told: Told) -> str:
    """What else the operator should know of an entry; empty when nothing."""
    match told.kind:
        case Kind.TRUST_UPDATE:
            return _trusted(told)
        case Kind.CLOCK_STEP:
            return f"by {told.number('seconds')} s"
        case Kind.CONFIGURATION:
            return _configured(told)
        case Kind.EPOCH_OPEN:
            return told.text("why")
        case Kind.OPERATOR:
            return told.text("who")
        case Kind.OVERRIDE | Kind.EXPORT | Kind.COMMAND:
            return " · ".join(filter(None, (told.text("by"), told.text("why"), told.text("detail"))))
        case _:
            return told.text("detail")
