"""``edge policy check | diff | simulate | disputes``, and the site's own lists: ``enlist | strike | cycle``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.audit.entry import Entry
    from edge.decision import Policy


def add(commands: Any) -> None:
    """Add ``policy`` to the command line."""
    actions = commands.add_parser("policy", help="the rules of a site: checked, compared, tried out").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    check = _action(actions, "check", _check, "whether a profile means something")
    check.add_argument("profiles", type=Path, nargs="+", metavar="FILE")
    diff = _action(actions, "diff", _diff, "what differs between two profiles, in words")
    diff.add_argument("before", type=Path)
    diff.add_argument("after", type=Path)
    simulate = _action(actions, "simulate", _simulate, "which decisions of a log another profile would change")
    simulate.add_argument("policy", type=Path, metavar="PROFILE")
    simulate.add_argument("export", type=Path, help="file written by edge audit export")
    simulate.add_argument("--into", default="inside", metavar="ZONE", help="where that gate leads (default: inside)")
    disputes = _action(actions, "disputes", _disputes, "benefits that two points reserved: whose stands")
    disputes.add_argument("exports", type=Path, nargs="+", metavar="EXPORT", help="one of each point")
    for name, act, told in (
        ("enlist", _enlist, "put cards onto one of a site's own lists"),
        ("strike", _strike, "take cards off it"),
    ):
        lists = _action(actions, name, act, told)
        for argument in ("office", "site", "list", "iss"):
            lists.add_argument(argument, type=Path if argument == "office" else str, metavar=argument.upper())
        lists.add_argument("names", nargs="+", metavar="ID", help="identifier of the card (cti) or of its holder")
        lists.add_argument("--site-key", type=Path, required=True, metavar="FILE", help="as the site's gates have it")
    cycle = _action(actions, "cycle", _cycle, "open the next cycle of a benefit, or close the open one")
    cycle.add_argument("office", type=Path, metavar="OFFICE")
    cycle.add_argument("site", metavar="SITE")
    cycle.add_argument("programme", metavar="PROGRAMME")
    cycle.add_argument("cycle", nargs="?", help="what people call it: 2026-11")
    cycle.add_argument("--amount", type=int, default=1, help="portions for each person (default: 1)")
    cycle.add_argument("--disputed-until", metavar="DATE", help="until when somebody may ask who received")
    cycle.add_argument("--close", action="store_true")


def _action(actions: Any, name: str, act: Callable[[argparse.Namespace], int], told: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=told, description=told)
    parser.set_defaults(act=_said(act))
    return parser


def _said(act: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Mistakes as one sentence: 2 for a file that cannot be read, 1 for what is wrong in it."""

    def told(args: argparse.Namespace) -> int:
        from edge.audit.entry import LogError
        from edge.settings import SettingsError
        from edge.sync.book import OfficeError

        try:
            return act(args)
        except (OSError, LogError, SettingsError) as error:
            print(f"edge policy: {error}", file=sys.stderr)
            return 2
        except (OfficeError, ValueError) as error:
            print(f"edge policy: {error}", file=sys.stderr)
            return 1

    return told


def policy_in(file: Path) -> Policy:
    """The profile in a file.

    Raises:
        SettingsError: names the file and the key.
    """
    from edge.decision import Policy
    from edge.settings import read_toml, section

    made: Policy = section(Policy, read_toml(file), "policy", file.parent, str(file))
    return made


def entries_in(file: Path) -> tuple[str, list[Entry], list[tuple[int, int]]]:
    """Origin, entries, and size and time of the checkpoints of an export.

    Raises:
        OSError, LogError: it is none.
    """
    from edge.audit.checkpoint import parse
    from edge.audit.entry import decode
    from edge.audit.export import read

    export = read(file.read_bytes())
    heads = [parse(checkpoint).head for checkpoint in export.checkpoints]
    sealed = [(head.size, head.at_s) for head in heads if head.epoch == export.epoch]
    return export.origin, [decode(entry) for entry in export.entries if entry is not None], sealed


def _check(args: argparse.Namespace) -> int:
    from edge.app.site import wrong_with

    wrong = 0
    for file in args.profiles:
        policy = policy_in(file)
        faults = wrong_with(policy.rules)
        wrong += bool(faults)
        print(f"{file}: {policy.name}, version {policy.version}, digest {policy.digest.hex()}")
        for fault in faults:
            print(f"  {fault}")
    return 1 if wrong else 0


def _diff(args: argparse.Namespace) -> int:
    from edge.policy.differences import differences

    before, after = policy_in(args.before), policy_in(args.after)
    told = list(differences(before, after))
    for line in told:
        print(line)
    if told and after.version <= before.version and after.name == before.name:
        print(f"the rules differ and the version does not grow ({before.version} → {after.version})", file=sys.stderr)
        return 1
    return 0


def _simulate(args: argparse.Namespace) -> int:
    from edge.app.site import zone_of
    from edge.cli.trying import tried

    policy, (_, entries, _) = policy_in(args.policy), entries_in(args.export)
    found = list(tried(policy, entries, zone_of(policy.rules), args.into))
    others = [each for each in found if each.before != each.after]
    for each in others:
        print(f"entry {each.index}: {each.before} → {each.after}")
    for (before, after), times in Counter((each.before, each.after) for each in others).most_common():
        print(f"{times:6d}  {before} → {after}")
    print(f"{len(found)} decisions, {len(others)} would be others under {policy.name!r}, version {policy.version}")
    return 0 if found else 1


def _disputes(args: argparse.Namespace) -> int:
    from edge.policy.ledger import claims, disputes

    told = [claim for export in args.exports for claim in claims(*entries_in(export))]
    found = disputes(told)
    for dispute in found:
        stands = dispute.stands
        print(f"{stands.mark.hex()}: entry {stands.index} of {stands.origin} stands")
        for flagged in dispute.flagged:
            print(f"  entry {flagged.index} of {flagged.origin} is flagged")
    print(f"{len(told)} reservations, {len(found)} disputes")
    return 1 if found else 0


def _enlist(args: argparse.Namespace) -> int:
    from edge.sync.book import Book

    book = Book(args.office / "office.json")
    book.enlist(args.site, args.site_key.read_bytes(), args.list, args.iss, args.names)
    book.save()
    return 0


def _strike(args: argparse.Namespace) -> int:
    from edge.sync.book import Book

    book = Book(args.office / "office.json")
    book.strike(args.site, args.site_key.read_bytes(), args.list, args.iss, args.names)
    book.save()
    return 0


def _cycle(args: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from edge.sync.book import Book

    book = Book(args.office / "office.json")
    if args.close:
        book.close_cycle(args.site, args.programme)
        print(f"{args.programme} is closed at {args.site} once this is published")
    else:
        if not args.cycle or not args.disputed_until:
            raise ValueError("a cycle has a name and --disputed-until")
        until = datetime.fromisoformat(args.disputed_until)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        number = book.open_cycle(args.site, args.programme, args.cycle, args.amount, until)
        print(f"cycle {number}: {args.programme} {args.cycle} is open at {args.site} once this is published")
    book.save()
    return 0
