"""``edge bridge home-assistant``: tell Home Assistant at the same broker which gates there are. Read-only."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    bridge = commands.add_parser("bridge", help="show gates to other systems, read-only")
    kinds = bridge.add_subparsers(dest="kind", required=True, metavar="SYSTEM")
    home = kinds.add_parser("home-assistant", help="Home Assistant, by MQTT discovery", description=__doc__)
    home.add_argument("--host", required=True, help="of the broker")
    home.add_argument("--port", type=int, default=8883)
    for option, what in (("--ca", "authority of the broker"), ("--certificate", "ours"), ("--key", "its key")):
        home.add_argument(option, type=Path, required=True, metavar="PEM", help=what)
    home.add_argument("--name", default="bridge", help="name in that certificate (default: bridge)")
    home.add_argument("--once", type=float, metavar="S", help="end after so many seconds")
    home.add_argument("--forget", action="store_true", help="take back what was announced")
    home.set_defaults(act=act)


def act(args: argparse.Namespace) -> int:
    """Announce gates until interrupted; 1 when the broker does not let us."""
    import signal
    import sys
    import time

    from edge.errors import DeviceError
    from edge.sync.bridges import HomeAssistant
    from edge.sync.connection import Connection, Link

    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.append(1))
    connection = Connection(Link(args.host, args.port, args.ca, args.certificate, args.key), args.name)
    word = "taken back" if args.forget else "announced"
    try:
        connection.open()
        bridge = HomeAssistant(connection, lambda name: print(f"{name}: {word}", flush=True), forget=args.forget)
        bridge.listen()
        deadline = float("inf") if args.once is None else time.monotonic() + args.once
        while not ended and time.monotonic() < deadline:
            bridge.turn(0.2)
    except DeviceError as error:
        print(f"edge bridge: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    return 0
