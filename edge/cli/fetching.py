"""``edge trust fetch``: look at what issuers publish, show what would change, and take it when told to."""

from __future__ import annotations

import argparse
import ipaddress
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.sync.fetching import Document
    from edge.sync.office import Office
    from edge.sync.sources import Fetch


def describe(fetch: argparse.ArgumentParser) -> None:
    """Add the arguments of ``fetch``."""
    fetch.add_argument("iss", nargs="?", help="one issuer (default: all whose addresses are written down)")
    fetch.add_argument("--keys", metavar="URL", help="where its keys are: an address, did:web:..., or well-known")
    fetch.add_argument("--status", action="append", default=[], metavar="URL", help="of a status list; repeatable")
    fetch.add_argument("--take", action="store_true", help="write it into the book, and remember the addresses")
    reaching(fetch)


def reaching(parser: argparse.ArgumentParser) -> None:
    """Add how far the desk may reach."""
    parser.add_argument("--issuer-ca", type=Path, metavar="PEM", help="authorities to believe in place of the system's")
    parser.add_argument(
        "--network", action="append", default=[], metavar="CIDR", help="network of our own where issuers may be"
    )


def act(args: argparse.Namespace, office: Office) -> int:
    """Look, show, and take if told to; 1 when something could not be had."""
    wanted = _wanted(args, office)
    if not wanted:
        print(
            "no addresses are written down; edge trust fetch OFFICE ISSUER --keys ... --take writes one",
            file=sys.stderr,
        )
        return 1
    well = [_one(office, iss, source, fetcher(args), take=args.take) for iss, source in wanted.items()]
    if args.take:
        for iss, source in wanted.items():
            office.book.sources[iss] = source
        office.book.save()
        print("taken; publish signs it")
    else:
        print("nothing is changed; --take takes it over")
    return 0 if all(well) else 1


def fetcher(args: argparse.Namespace) -> Fetch:
    """The way out, as the command line bounds it."""
    from edge.sync.fetching import Reach, fetch

    reach = Reach(tuple(map(ipaddress.ip_network, args.network)), args.issuer_ca)

    def bring(url: str, limit: int, accept: str) -> Document:
        return fetch(url, limit, reach, accept)

    return bring


def _wanted(args: argparse.Namespace, office: Office) -> dict[str, dict[str, Any]]:
    if args.iss is None:
        if args.keys or args.status:
            raise ValueError("--keys and --status belong to one issuer")
        return dict(office.book.sources)
    source = dict(office.book.sources.get(args.iss, {"keys": "", "status": []}))
    if args.keys:
        source["keys"] = args.keys
    source["status"] = list(dict.fromkeys([*source["status"], *args.status]))
    return {args.iss: source} if source["keys"] or source["status"] else {}


def _one(office: Office, iss: str, source: dict[str, Any], fetch: Fetch, *, take: bool) -> bool:
    """One issuer; whether everything was to be had."""
    from edge.errors import DeviceError
    from edge.sync.book import OfficeError
    from edge.sync.sources import look_for_keys, look_for_status
    from edge.sync.sources import take as take_over

    well, keys, found = True, None, []
    try:
        if source["keys"]:
            keys = look_for_keys(office.book, iss, source["keys"], fetch)
            print(f"{iss}: keys at {keys.url}")
            for word, key in keys.said:
                print(f"  {word:5} {key}")
            if take:
                take_over(office.lists, iss, keys, [])
    except (DeviceError, OfficeError, ValueError) as error:
        print(f"edge trust: {iss}: {error}", file=sys.stderr)
        well = False
    for url in source["status"]:
        try:
            status = look_for_status(office.lists, iss, url, fetch)
        except (DeviceError, OfficeError, ValueError) as error:
            print(f"edge trust: {iss}: {error}", file=sys.stderr)
            well = False
            continue
        found.append(status)
        word = "new" if status.new else "same" if status.issued_at == status.before else "older"
        counted = f"{status.cards} cards, {status.withdrawn} withdrawn or suspended"
        print(f"{iss}: status list {url}\n  {word:5} issued {status.issued_at.isoformat()}, {counted}")
    if take:
        take_over(office.lists, iss, None, found)
    return well
