"""``edge wiring``: what hangs on which pin, drawn from the configuration."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add ``wiring`` to the command line."""
    wiring = commands.add_parser("wiring", help="draw what hangs on which pin of the header")
    wiring.add_argument("--config", type=Path, default=Path("/etc/edge-gate/edge.toml"))
    wiring.add_argument("--out", type=Path, metavar="FILE.svg", help="write the drawing (default: a table)")
    wiring.set_defaults(act=_act)


def _act(args: argparse.Namespace) -> int:
    from edge.app import wiring
    from edge.settings import SettingsError, load

    try:
        settings = load(args.config)
    except SettingsError as error:
        print(f"edge wiring: {error}", file=sys.stderr)
        return 2
    if args.out is not None:
        args.out.write_text(wiring.drawing(settings), encoding="utf-8")
        print(f"drawn into {args.out}")
    else:
        for wire in wiring.wires(settings):
            pin = wiring.HEADER.get(wire.bcm, 0)
            print(
                f"BCM {wire.bcm:2}  pin {pin:2}  {wire.direction:3}  {wire.what}{': ' + wire.how if wire.how else ''}"
            )
    for fault in wiring.wrong(settings):
        print(f"edge wiring: {fault}", file=sys.stderr)
    return 1 if wiring.wrong(settings) else 0
