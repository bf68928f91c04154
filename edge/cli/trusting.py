"""``edge trust add-issuer | fetch | remove-issuer | revoke-key | list-status | withdraw | deny | operator | command``:
what the operator writes into the book, and orders to gates. ``edge/sync/README.md`` walks through it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edge.cli import fetching
from edge.cli.desk import Actions, action, opened, said


def add(actions: Actions) -> None:
    """Add the operator's actions to ``trust``."""
    issuer = action(actions, "add-issuer", _add_issuer, "trust an issuer, or more keys of one")
    issuer.add_argument("iss", help="as it stands in credentials; for --gateway a prefix before the country")
    kind = issuer.add_mutually_exclusive_group(required=True)
    for option, what in (
        ("--jwks", "JWKS"),
        ("--key", "public key or certificate, PEM"),
        ("--roots", "root certificates, PEM"),
        ("--did", "did:web document"),
        ("--gateway", "list of the European certificate gateway, JSON"),
        ("--vical", "VICAL; needs --provider"),
    ):
        kind.add_argument(option, type=Path, metavar="FILE", help=what)
    issuer.add_argument("--kid", action="append", default=[], help="with --key: what credentials call it")
    issuer.add_argument("--provider", type=Path, metavar="PEM", help="with --vical: who must have signed it")
    issuer.add_argument("--profile", metavar="JSON", help='how its cards are written: {"no_expiry": true, ...}')

    fetching.describe(action(actions, "fetch", _fetch, "look at what issuers publish, and take it when told to"))

    action(actions, "remove-issuer", _remove_issuer, "trust an issuer no more").add_argument("iss")
    revoke = action(actions, "revoke-key", _revoke_key, "believe nothing that a key signed since a moment")
    revoke.add_argument("iss")
    revoke.add_argument("kid")
    revoke.add_argument("--since", required=True, metavar="DATE", help="2026-11-22 or 2026-11-22T10:00:00+00:00")

    status = action(actions, "list-status", _list_status, "pass an issuer's token status list (CWT) on to the gates")
    status.add_argument("iss")
    status.add_argument("file", type=Path)

    withdraw = action(actions, "withdraw", _withdraw, "withdraw cards that have no index in a status list")
    withdraw.add_argument("iss")
    withdraw.add_argument("names", nargs="+", metavar="ID", help="identifier of the card (cti) or of its holder")

    deny = action(actions, "deny", _deny, "deny cards at one site, by hashes under the site's own key")
    deny.add_argument("site")
    deny.add_argument("iss")
    deny.add_argument("names", nargs="+", metavar="ID")
    deny.add_argument(
        "--site-key", type=Path, required=True, metavar="FILE", help="the site's secret, as its gates have it"
    )

    operator = action(actions, "operator", _operator, "let somebody command gates")
    operator.add_argument("name")
    operator.add_argument("--key", type=Path, required=True, metavar="PEM", help="their public key")
    operator.add_argument("--may", nargs="*", default=["lock-down", "fetch-log", "reload"], help="commands")

    command = actions.add_parser("command", help="order one gate something, and wait for its answer")
    command.add_argument("what", help="unlock, lock-down, fetch-log, reload")
    command.add_argument("gate", help="<tenant>/<site>/<gate>")
    command.add_argument("--key", type=Path, required=True, metavar="PEM", help="private key of an operator")
    command.add_argument("--off", action="store_true", help="with lock-down: open to visitors again")
    command.add_argument("--first", type=int, help="with fetch-log: index of the first entry")
    command.add_argument("--entries", type=int, help="with fetch-log: how many")
    command.add_argument("--host", required=True, help="of the broker")
    command.add_argument("--port", type=int, default=8883)
    for option in ("--ca", "--certificate", "--client-key"):
        command.add_argument(option, type=Path, metavar="PEM", required=True)
    command.add_argument("--client", default="operator", help="name in that certificate (default: operator)")
    command.set_defaults(act=said(_command))


def _add_issuer(args: argparse.Namespace) -> int:
    import json

    office = opened(args)
    for iss, entry in _imported(args).items():
        if args.profile:
            entry["profile"] = json.loads(args.profile)
        office.book.add_issuer(iss, entry)
        print(f"{iss}: {len(entry.get('keys', ()))} keys, {len(entry.get('roots', ()))} roots")
    office.book.save()
    return 0


def _imported(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    from cryptography import x509

    from edge.trust import imports

    if args.jwks:
        return {args.iss: imports.from_jwks(args.jwks.read_text(encoding="utf-8"))}
    if args.key:
        return {args.iss: imports.from_pem(args.key.read_text(encoding="utf-8"), args.kid)}
    if args.roots:
        return {args.iss: imports.from_roots(args.roots.read_text(encoding="utf-8"))}
    if args.did:
        name, entry = imports.from_did(args.did.read_text(encoding="utf-8"))
        return {args.iss: {**entry, **({"aliases": [name]} if name != args.iss else {})}}
    if args.gateway:
        found = imports.from_gateway(args.gateway.read_text(encoding="utf-8"))
        return {f"{args.iss}{country}": entry for country, entry in found.items()}
    if args.provider is None:
        raise ValueError("--vical needs --provider")
    provider = x509.load_pem_x509_certificate(args.provider.read_bytes())
    return {args.iss: imports.from_vical(args.vical.read_bytes(), provider)}


def _fetch(args: argparse.Namespace) -> int:
    return fetching.act(args, opened(args))


def _remove_issuer(args: argparse.Namespace) -> int:
    office = opened(args)
    office.book.remove_issuer(args.iss)
    office.book.save()
    return 0


def _revoke_key(args: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    since = datetime.fromisoformat(args.since)
    office = opened(args)
    office.book.revoke_key(args.iss, args.kid, since if since.tzinfo else since.replace(tzinfo=UTC))
    office.book.save()
    return 0


def _list_status(args: argparse.Namespace) -> int:
    office = opened(args)
    uri = office.lists.list_status(args.iss, args.file.read_bytes()).uri
    office.book.save()
    print(f"{args.iss}: {uri}")
    return 0


def _withdraw(args: argparse.Namespace) -> int:
    office = opened(args)
    office.book.withdraw(args.iss, args.names)
    office.book.save()
    return 0


def _deny(args: argparse.Namespace) -> int:
    office = opened(args)
    office.book.deny(args.site, args.site_key.read_bytes(), args.iss, args.names)
    office.book.save()
    return 0


def _operator(args: argparse.Namespace) -> int:
    office = opened(args)
    office.book.let_command(args.name, args.key.read_text(encoding="ascii"), args.may)
    office.book.save()
    return 0


def _command(args: argparse.Namespace) -> int:
    import time
    from datetime import UTC, datetime, timedelta

    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from edge.sync.commands import ask
    from edge.sync.connection import Link
    from edge.sync.topics import Address
    from edge.trust.cbor import decode
    from edge.trust.commands import order
    from edge.trust.cose import signer

    address = Address(*(args.gate.split("/") if args.gate.count("/") == 2 else ("", "", "")))
    private: Any = load_pem_private_key(args.key.read_bytes(), None)
    given = {"first": args.first, "entries": args.entries, "on": not args.off if args.what == "lock-down" else None}
    now = datetime.now(UTC)
    times = (now - timedelta(seconds=5), now + timedelta(minutes=5))
    arguments = {name: value for name, value in given.items() if value is not None}
    signed = order(args.what, address.origin, time.time_ns() // 1_000_000, times, signer(private), arguments)
    link = Link(args.host, args.port, args.ca, args.certificate, args.client_key)
    answer = decode(ask(link, args.client, address, signed), items=1 << 12)
    print(f"{answer['outcome']}: entry {answer['entry']} of epoch {answer['epoch']} {answer['detail']}".rstrip())
    if answer["log"]:
        from edge.audit.entry import decode as entry_of
        from edge.sync.batch import unpack

        for item in unpack(answer["log"]).entries:
            found = entry_of(item)
            print(found.index, getattr(found.kind, "name", found.kind), dict(found.fields))
    return 0 if answer["outcome"] == "obeyed" else 1
