"""``edge replay EXPORT``: recompute each decision from its entry alone, and say where another one comes out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.audit.entry import Entry
    from edge.decision import Policy

_PROFILES = Path(__file__).resolve().parents[2] / "config" / "profiles"


def add(commands: Any) -> None:
    """Add ``replay`` to the command line."""
    replay = commands.add_parser("replay", help="recompute decisions from an export of the log")
    replay.add_argument("export", type=Path, help="file written by edge audit export")
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="every decision")
    which.add_argument("--index", type=int, help="the decision in this entry")
    replay.add_argument(
        "--policy", type=Path, action="append", default=[], metavar="FILE", help="profile; may be given again"
    )
    replay.add_argument(
        "--calibration", type=Path, action="append", default=[], metavar="FILE", help="of a gate whose camera has one"
    )
    replay.set_defaults(act=_act)


def _act(args: argparse.Namespace) -> int:
    from edge.audit.entry import LogError, decode
    from edge.audit.export import read
    from edge.settings import SettingsError

    try:
        policies = policies_of(args.policy or sorted(_PROFILES.glob("*.toml")), args.calibration)
        entries = [decode(entry) for entry in read(args.export.read_bytes()).entries if entry is not None]
    except (OSError, LogError, SettingsError) as error:
        print(f"edge replay: {error}", file=sys.stderr)
        return 2
    found = [outcome for outcome in replayed(entries, policies) if args.index in (None, outcome.index)]
    for outcome in found:
        if not outcome.same or args.index is not None:
            print(outcome.said)
    same = sum(outcome.same for outcome in found)
    print(f"{len(found)} decisions recomputed, {same} the same bit for bit, {len(found) - same} not")
    return 0 if found and same == len(found) else 1


@dataclass(frozen=True)
class Outcome:
    """What came out for one entry."""

    index: int
    same: bool
    said: str


def policies_of(files: list[Path], calibrations: list[Path] | None = None) -> dict[bytes, Policy]:
    """The policies in these files, as they are and with each calibration's threshold, by digest.

    Raises:
        SettingsError: names the file and the key.
    """
    from edge.biometric.calibration import Calibration
    from edge.decision import Policy
    from edge.settings import read_toml, section

    def of_kind(kind: type, name: str, path: Path) -> Any:
        return section(kind, read_toml(path), name, path.parent, str(path))

    read: list[Policy] = [of_kind(Policy, "policy", file) for file in files]
    made: list[Calibration] = [of_kind(Calibration, "calibration", file) for file in calibrations or []]
    read += [replace(policy, attack_threshold=one.attack_threshold) for policy in read for one in made]
    return {policy.digest: policy for policy in read}


def replayed(entries: list[Entry], policies: dict[bytes, Policy]) -> Iterator[Outcome]:
    """Each decision among the entries, made again."""
    from edge.audit.entry import Kind

    for entry in entries:
        if entry.kind in (Kind.GRANTED, Kind.DENIED):
            yield _again(entry, policies)
        elif entry.kind is Kind.OVERRIDE and "facts" in entry.fields:
            yield _overruled(entry, policies)


def _overruled(entry: Entry, policies: dict[bytes, Policy]) -> Outcome:
    """Whether the policy that refused let an operator overrule it."""
    from edge.decision import overruled

    policy = policies.get(entry.digests[0] if entry.digests else b"")
    age_s = entry.fields.get("age_s")
    if policy is None or not isinstance(age_s, int):
        return Outcome(entry.index, False, f"entry {entry.index}: overruled under a policy that is not here")
    stands = overruled(policy, entry.fields, age_s)
    reason = str(entry.fields.get("reason"))
    said = f"entry {entry.index}: {reason} overruled under {policy.name!r}"
    verdict = "the same" if stands is None else f"now it stands ({stands.code})"
    return Outcome(entry.index, stands is None, f"{said}; {verdict}")


def _again(entry: Entry, policies: dict[bytes, Policy]) -> Outcome:
    """One decision, made again from its facts under the policy that its entry names."""
    from edge.audit.entry import encode

    written = _word(entry)
    policy = policies.get(entry.digests[0] if entry.digests else b"")
    if policy is None:
        others = "; ".join(f"under {other.name!r} {_word(_decided(entry, other))}" for other in policies.values())
        return Outcome(entry.index, False, f"entry {entry.index}: {written} under a policy that is not here; {others}")
    again = _decided(entry, policy)
    same = encode(again) == encode(entry)
    verdict = "the same" if same else f"now {_word(again)}"
    return Outcome(entry.index, same, f"entry {entry.index}: {written} under {policy.name!r}; {verdict}")


def _decided(entry: Entry, policy: Policy) -> Entry:
    """The entry as this policy would have it written."""
    from edge.audit.entry import Kind
    from edge.decision import admit, facts_of

    told = entry.fields.get("facts")
    facts = facts_of(told if isinstance(told, dict) else {})
    reason = admit(policy, facts)
    fields = dict(entry.fields) | {
        "facts": {name: value for name, value in asdict(facts).items() if value is not None},
        "reason": None if reason is None else reason.code,
        "profile": policy.name,
    }
    kind = Kind.GRANTED if reason is None else Kind.DENIED
    return replace(entry, kind=kind, fields=fields, digests=(policy.digest, *entry.digests[1:]))


def _word(entry: Entry) -> str:
    reason = entry.fields.get("reason")
    return f"denied ({reason})" if isinstance(reason, str) else "granted"
