"""``edge trust init | rotate | publish | websub | export``: the operator's keys, and what goes out to the gates."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli import websub as websub_cli
from edge.cli.desk import Actions, action, opened, said

if TYPE_CHECKING:
    from edge.sync.office import Office


def add(actions: Actions) -> None:
    """Add these to ``trust``."""
    init = action(actions, "init", _init, "begin: keys, an empty list, a first publication")
    init.add_argument("--name", default="main", help="of the repository, as it stands in topics (default: main)")
    for option, what in (("root", "up to three times"), ("targets", "up to three times"), ("list", "once")):
        init.add_argument(
            f"--{option}-key", action="append", default=[], metavar="URI", help=f"in a token, pkcs11:..., {what}"
        )

    rotate = action(actions, "rotate", _rotate, "new keys for a role, or one of its keys; publish says it to the gates")
    rotate.add_argument("what", help="root, targets, live, list, or one key: root-2")
    rotate.add_argument("--key", action="append", default=[], metavar="URI", help="in a token: pkcs11:...; repeatable")

    publish = action(actions, "publish", _publish, "sign what changed; with --host put it onto the broker")
    websub = action(actions, "websub", _websub, "be told by a hub when an issuer changes something, and publish")
    websub_cli.describe(websub)
    for parser in (publish, websub):
        parser.add_argument("--host", help="of the broker")
        parser.add_argument("--port", type=int, default=8883)
        for option, of in (("--ca", "authority of the broker"), ("--certificate", "ours"), ("--client-key", "its key")):
            parser.add_argument(option, type=Path, metavar="PEM", help=of)
        parser.add_argument("--client", default="publisher", help="name in that certificate (default: publisher)")

    export = action(actions, "export", _export, "write what is published as one bundle, for a stick or an upload")
    export.add_argument("--out", type=Path, required=True, metavar="FILE.trustbundle")
    export.add_argument("--anchor", type=Path, metavar="FILE", help="also write what a new gate is set up with")


def show_or(show_list: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """``edge trust show``: a folder is an office, anything else a list."""

    def act(args: argparse.Namespace) -> int:
        if not args.file.is_dir():
            return show_list(args)
        args.office = args.file
        return said(_show)(args)

    return act


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


def _rotate(args: argparse.Namespace) -> int:
    office = opened(args)
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


def _publish(args: argparse.Namespace) -> int:
    office = opened(args)
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
        from edge.sync.retained import Retained
        from edge.sync.updates import offer

        if not args.host:
            return
        retained = Retained(office.folder / "retained.json", f"{args.host}:{args.port}")
        connection = Connection(Link(args.host, args.port, args.ca, args.certificate, args.client_key), args.client)
        try:
            connection.open()
            offer(connection, office.name, files, retained=retained)
        finally:
            connection.close()

    return out


def _websub(args: argparse.Namespace) -> int:
    return websub_cli.act(args, lambda: opened(args), _out(args))


def _export(args: argparse.Namespace) -> int:
    from edge.sync import bundle

    office = opened(args)
    data = bundle.pack(office.current())
    args.out.write_bytes(data)
    if args.anchor:
        args.anchor.write_bytes(office.anchor())
    print(f"{args.out}: {len(data)} bytes")
    return 0


def _show(args: argparse.Namespace) -> int:
    from edge.sync.office import KEYS

    office = opened(args)
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
