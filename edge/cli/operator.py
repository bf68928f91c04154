"""``edge operator enrol|list|dismiss``: who may look after this gate. At its own console, as root, while it runs.

There is no default password: the set-up code that ``enrol`` prints is the only way to the first operator, and to every
other. It is good for one person, once, for a quarter of an hour.
"""

from __future__ import annotations

import argparse
import ipaddress
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.settings import Settings, Web
    from edge.wire import Message

_PATIENCE_S = 10.0


def add(commands: Any) -> None:
    """Add ``operator`` to the command line."""
    operator = commands.add_parser("operator", help="say who may look after this gate")
    actions = operator.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, act, says in (
        ("enrol", _enrol, "print a set-up code for somebody, new or with a new phone or password"),
        ("list", _list, "print name and role of everybody enrolled"),
        ("dismiss", _dismiss, "somebody is no operator any more, at once"),
    ):
        action = actions.add_parser(name, help=says)
        action.add_argument("--config", type=Path, default=Path("/etc/edge-gate/edge.toml"))
        action.set_defaults(act=act)
        if name != "list":
            action.add_argument("name", help="in lower case, as it shall stand in the log")
        if name == "enrol":
            action.add_argument(
                "--role",
                choices=("viewer", "operator", "admin"),
                default="operator",
                help="viewer: reads; operator: lets in and locks down; admin: takes the log away too",
            )


def _enrol(args: argparse.Namespace) -> int:
    from edge import orders
    from edge.trust.operators import Role, UnfitError, named

    def act(settings: Settings) -> int:
        try:
            named(args.name)
        except UnfitError as error:
            print(f"edge operator: {error}", file=sys.stderr)
            return 2
        told = _ask(settings, orders.Invite(args.name, Role(args.role)))
        if not isinstance(told, orders.Invited):
            print("edge operator: there are too many already", file=sys.stderr)
            return 1
        print(f"Set-up code for {args.name} ({args.role}), once, within {told.valid_s / 60:.0f} minutes:\n")
        print(f"    {told.setup}\n")
        print(f"Open {_pages(settings.web)}/enrol, with an authenticator app at hand.")
        return 0

    return _with_gate(args, act)


def _pages(web: Web) -> str:
    """Where passwords are taken: under TLS where others are served so, else on this machine alone."""
    address = ipaddress.ip_address(web.host)
    if web.certificate == Path() or address.is_loopback:
        return f"http://127.0.0.1:{web.port}"
    host = next(iter(web.names), "ADDRESS-OF-THIS-GATE" if address.is_unspecified else web.host)
    return f"https://{f'[{host}]' if ':' in host else host}:{web.tls_port}"


def _list(args: argparse.Namespace) -> int:
    from edge import orders

    def act(settings: Settings) -> int:
        told = _ask(settings, orders.AskOperators())
        for name, role in told.rows if isinstance(told, orders.Operators) else ():
            print(f"{name:32} {role}")
        return 0

    return _with_gate(args, act)


def _dismiss(args: argparse.Namespace) -> int:
    from edge import orders

    def act(settings: Settings) -> int:
        told = _ask(settings, orders.Dismiss(args.name))
        if not isinstance(told, orders.Obeyed):
            print(f"edge operator: nobody is called {args.name!r}", file=sys.stderr)
            return 1
        print(f"{args.name} is no operator any more (entry {told.entry})")
        return 0

    return _with_gate(args, act)


def _with_gate(args: argparse.Namespace, act: Any) -> int:
    from edge.errors import DeviceError
    from edge.settings import SettingsError, load

    try:
        status: int = act(load(args.config))
    except SettingsError as error:
        print(f"edge operator: {error}", file=sys.stderr)
        return 2
    except DeviceError as error:
        print(f"edge operator: {error}", file=sys.stderr)
        return 1
    return status


def _ask(settings: Settings, question: Message) -> Message:
    """Ask edge-gate on the console's socket.

    Raises:
        DeviceError: it does not answer, or this user may not ask.
    """
    from edge import wire
    from edge.errors import DeviceError

    path = settings.paths.console_socket
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(_PATIENCE_S)
            line.connect(str(path))
            body = wire.encode(question)
            line.sendall(len(body).to_bytes(4, "big") + body)
            with line.makefile("rb") as answers:
                length = int.from_bytes(answers.read(4), "big")
                told = wire.decode(answers.read(min(length, wire.LIMIT)))
    except PermissionError as error:
        raise DeviceError("gate", "only root, or edge-gate's own user, may say who is an operator") from error
    except (OSError, wire.WireError) as error:
        raise DeviceError("gate", f"no answer on {path}; is edge-gate running?") from error
    if isinstance(told, wire.Failed):
        raise wire.raised(told)
    return told
