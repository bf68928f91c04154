"""``edge trust init | rotate | add-issuer | fetch | remove-issuer | revoke-key | list-status | withdraw | deny |
operator | command | publish | websub | export``: the operator's side. With it a pilot needs no other tool;
``edge/sync/README.md`` walks through it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli import fetching
from edge.cli import websub as websub_cli

if TYPE_CHECKING:
    from edge.sync.office import Office

Actions = Any


def add(actions: Actions) -> None:
    """Add the operator's actions to ``trust``."""
    init = _action(actions, "init", _init, "begin: keys, an empty list, a first publication")
    init.add_argument("--name", default="main", help="of the repository, as it stands in topics (default: main)")
    for option, what in (("root", "up to three times"), ("targets", "up to three times"), ("list", "once")):
        init.add_argument(
            f"--{option}-key", action="append", default=[], metavar="URI", help=f"in a token, pkcs11:..., {what}"
        )

    issuer = _action(actions, "add-issuer", _add_issuer, "trust an issuer, or more keys of one")
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

    fetching.describe(_action(actions, "fetch", _fetch, "look at what issuers publish, and take it when told to"))

    _action(actions, "remove-issuer", _remove_issuer, "trust an issuer no more").add_argument("iss")
    revoke = _action(actions, "revoke-key", _revoke_key, "believe nothing that a key signed since a moment")
    revoke.add_argument("iss")
    revoke.add_argument("kid")
    revoke.add_argument("--since", required=True, metavar="DATE", help="2026-11-22 or 2026-11-22T10:00:00+00:00")

    rotate = _action(
        actions, "rotate", _rotate, "new keys for a role, or one of its keys; publish says it to the gates"
    )
    rotate.add_argument("what", help="root, targets, live, list, or one key: root-2")
    rotate.add_argument("--key", action="append", default=[], metavar="URI", help="in a token: pkcs11:...; repeatable")

    status = _action(actions, "list-status", _list_status, "pass an issuer's token status list (CWT) on to the gates")
    status.add_argument("iss")
    status.add_argument("file", type=Path)

    withdraw = _action(actions, "withdraw", _withdraw, "withdraw cards that have no index in a status list")
    withdraw.add_argument("iss")
    withdraw.add_argument("names", nargs="+", metavar="ID", help="identifier of the card (cti) or of its holder")

    deny = _action(actions, "deny", _deny, "deny cards at one site, by hashes under the site's own key")
    deny.add_argument("site")
    deny.add_argument("iss")
    deny.add_argument("names", nargs="+", metavar="ID")
    deny.add_argument(
        "--site-key", type=Path, required=True, metavar="FILE", help="the site's secret, as its gates have it"
    )

    operator = _action(actions, "operator", _operator, "let somebody command gates")
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
    command.set_defaults(act=_said(_command))

    publish = _action(actions, "publish", _publish, "sign what changed; with --host put it onto the broker")
    websub = _action(actions, "websub", _websub, "be told by a hub when an issuer changes something, and publish")
    websub_cli.describe(websub)
    for parser in (publish, websub):
        parser.add_argument("--host", help="of the broker")
        parser.add_argument("--port", type=int, default=8883)
        for option, of in (("--ca", "authority of the broker"), ("--certificate", "ours"), ("--client-key", "its key")):
            parser.add_argument(option, type=Path, metavar="PEM", help=of)
        parser.add_argument("--client", default="publisher", help="name in that certificate (default: publisher)")

    export = _action(actions, "export", _export, "write what is published as one bundle, for a stick or an upload")
    export.add_argument("--out", type=Path, required=True, metavar="FILE.trustbundle")
    export.add_argument("--anchor", type=Path, metavar="FILE", help="also write what a new gate is set up with")


def show_or(show_list: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """``edge trust show``: a folder is an office, anything else a list."""

    def act(args: argparse.Namespace) -> int:
        if not args.file.is_dir():
            return show_list(args)
        args.office = args.file
        return _said(_show)(args)

    return act


def _action(
    actions: Actions, name: str, act: Callable[[argparse.Namespace], int], told: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=told, description=told)
    parser.add_argument("office", type=Path, metavar="OFFICE", help="folder with keys, lists and what is published")
    parser.set_defaults(act=_said(act))
    return parser


def _said(act: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Mistakes as one sentence: 1."""

    def told(args: argparse.Namespace) -> int:
        from edge.devices.tokenkey import Tokens
        from edge.errors import DeviceError
        from edge.sync.book import OfficeError

        try:
            with Tokens(pin_of) as args.tokens:
                return act(args)
        except (OfficeError, DeviceError, ValueError, OSError) as error:
            print(f"edge trust: {error}", file=sys.stderr)
            return 1

    return told


def _office(args: argparse.Namespace) -> Office:
    from edge.sync.office import Office

    return Office(args.office, args.tokens)


def pin_of(name: str, label: str) -> str:
    """The PIN for a key in a token: the systemd credential ``<name>-pin``, or typed without echo.

    A key that is to take another one's place has a name of its own, so that no PIN is tried at the wrong token.
    """
    import getpass
    import os

    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if folder and (file := Path(folder) / f"{name}-pin").exists():
        return file.read_text(encoding="utf-8").strip()
    return getpass.getpass(f"PIN of token {label!r} for {name}: ")


def _init(args: argparse.Namespace) -> int:
    from edge.sync.office import Office

    places: dict[str, str] = {}
    for role, given in (("root", args.root_key), ("targets", args.targets_key)):
        if len(given) > 3:
            raise ValueError(f"there are three {role} keys")
        places |= {f"{role}-{number}": uri for number, uri in enumerate(given, 1)}
    if len(args.list_key) > 1:
        raise ValueError("there is one list key")
    places |= dict.fromkeys(["list"][: len(args.list_key)], "".join(args.list_key))
    office = Office.begin(args.office, args.name, places, args.tokens)
    office.publish()
    print(f"The keys are in {office.keys.folder}. Keep root-*, targets-* and list.pem offline, with different people.")
    print("For [trust] in a gate's edge.toml:")
    print(f'roots = ["{office.list_key()}"]')
    print(f'repository = "{args.name}"')
    return 0


def _add_issuer(args: argparse.Namespace) -> int:
    import json

    office = _office(args)
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
    return fetching.act(args, _office(args))


def _remove_issuer(args: argparse.Namespace) -> int:
    office = _office(args)
    office.book.remove_issuer(args.iss)
    office.book.save()
    return 0


def _revoke_key(args: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    since = datetime.fromisoformat(args.since)
    office = _office(args)
    office.book.revoke_key(args.iss, args.kid, since if since.tzinfo else since.replace(tzinfo=UTC))
    office.book.save()
    return 0


def _rotate(args: argparse.Namespace) -> int:
    office = _office(args)
    if args.what == "list":
        if coming := office.rotate_list("".join(args.key[:1])):
            print(f'Put both into [trust] of every gate: roots = ["{office.list_key()}", "{coming}"]')
            print("When every gate has them, say the same again; then publish, and take the old one out.")
        else:
            print("The new list key signs from now on; publish, so that the gates follow.")
        return 0
    names = office.rotate(args.what, args.key)
    print(f"new: {', '.join(names)}. Destroy what is left of the old keys; publish, so that the gates follow.")
    return 0


def _list_status(args: argparse.Namespace) -> int:
    office = _office(args)
    uri = office.lists.list_status(args.iss, args.file.read_bytes()).uri
    office.book.save()
    print(f"{args.iss}: {uri}")
    return 0


def _withdraw(args: argparse.Namespace) -> int:
    office = _office(args)
    office.book.withdraw(args.iss, args.names)
    office.book.save()
    return 0


def _deny(args: argparse.Namespace) -> int:
    office = _office(args)
    office.book.deny(args.site, args.site_key.read_bytes(), args.iss, args.names)
    office.book.save()
    return 0


def _operator(args: argparse.Namespace) -> int:
    office = _office(args)
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


def _publish(args: argparse.Namespace) -> int:
    office = _office(args)
    files = office.publish()
    count = len(files)
    _out(args)(office, files)
    print(f"{count} files published{' on ' + args.host if args.host else ''}")
    return 0


def _out(args: argparse.Namespace) -> Callable[[Office, dict[str, bytes]], None]:
    """Puts what is published onto the broker that the command line names, if it names one."""
    if args.host and not (args.ca and args.certificate and args.client_key):
        raise ValueError("--host needs --ca, --certificate and --client-key")

    def out(office: Office, files: dict[str, bytes]) -> None:
        from edge.sync.connection import Connection, Link
        from edge.sync.updates import offer

        if not args.host:
            return
        connection = Connection(Link(args.host, args.port, args.ca, args.certificate, args.client_key), args.client)
        try:
            connection.open()
            offer(connection, office.name, files)
        finally:
            connection.close()

    return out


def _websub(args: argparse.Namespace) -> int:
    return websub_cli.act(args, lambda: _office(args), _out(args))


def _export(args: argparse.Namespace) -> int:
    from edge.sync import bundle

    office = _office(args)
    data = bundle.pack(office.current())
    args.out.write_bytes(data)
    if args.anchor:
        args.anchor.write_bytes(office.anchor())
    print(f"{args.out}: {len(data)} bytes")
    return 0


def _show(args: argparse.Namespace) -> int:
    from edge.sync.office import KEYS

    office = _office(args)
    for entry in office.book.issuers:
        keys = entry.get("keys", [])
        lost = sum(1 for key in keys if "compromised_since" in key)
        revoked = f", {lost} revoked" if lost else ""
        print(f"{entry['iss']}: {len(keys)} keys{revoked}, {len(entry.get('roots', []))} roots")
    for name in KEYS:
        print(f"key {name}: {office.keys.where(name)}")
    for path, (version, ends) in sorted(office.standing().items()):
        print(f"{path}: version {version}, until {ends}")
    return 0
