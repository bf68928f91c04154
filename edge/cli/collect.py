"""``edge collect``: receive the entries of the gates, check them, keep them and sign for them."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("collect", help="receive entries at the other side", description=__doc__)
    command.add_argument("--host", required=True, help="of the broker")
    command.add_argument("--port", type=int, default=8883, help="of the broker (default: 8883)")
    command.add_argument(
        "--ca", type=Path, required=True, help="PEM: the authority that the broker's certificate is from"
    )
    command.add_argument("--certificate", type=Path, required=True, help="PEM: ours; its name is our client id")
    command.add_argument("--key", type=Path, required=True, help="PEM: the key of that certificate")
    command.add_argument("--name", default="collector", help="name in that certificate (default: collector)")
    command.add_argument("--signing-key", type=Path, required=True, help="PEM: P-256, signs the acknowledgements")
    command.add_argument("--gates", type=Path, required=True, help="folder: <tenant>/<site>/<gate>.pem, enrolled keys")
    command.add_argument(
        "--store", required=True, help="SQLite file for what is received, or postgresql://... for many"
    )
    command.add_argument(
        "--silent", type=float, default=3600.0, metavar="S", help="a gate away for so long is an alarm"
    )
    command.set_defaults(act=act)


def act(args: argparse.Namespace) -> int:
    """Collect until interrupted."""
    import logging
    import signal
    import sys
    import threading

    from edge.errors import DeviceError
    from edge.sync.collector import Collector, enrolled, signing_key
    from edge.sync.connection import Link

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    link = Link(args.host, args.port, args.ca, args.certificate, args.key)
    try:
        from edge.sync.received import store_of

        store, key = store_of(args.store), signing_key(args.signing_key)
        collector = Collector(link, key, enrolled(args.gates), store, name=args.name, silent_s=args.silent)
    except DeviceError as error:
        print(error, file=sys.stderr)
        return 1
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    collector.start()
    while not ended.wait(1.0):
        collector.condition()
    collector.stop()
    done = collector.figures
    print(f"{done.entries} entries new, {done.again} again, {done.refused} messages refused")
    return 0
