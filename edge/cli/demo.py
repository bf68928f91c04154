"""``edge demo``: the main job, shown on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add ``demo`` to the command line."""
    demo = commands.add_parser("demo", help="show the main job: cards and faces come to the gate, and it decides")
    demo.add_argument("--models", choices=("best", "default", "standard"), default="best", help="which model set")
    demo.add_argument("--profile", default="pilot", help="name of the site's profile (default: pilot)")
    demo.add_argument("--light", action="store_true", help="with a fill light that shines a code on the face")
    demo.add_argument("--record", type=Path, metavar="DIR", help="write a contact sheet and run.json into DIR")
    demo.add_argument("--serve", action="store_true", help="keep running, with the pages, until Ctrl-C")
    demo.add_argument("--json", action="store_true", help="print the run as JSON; the rest goes to standard error")
    demo.add_argument("--only", action="append", metavar="VISIT", help="only this visit; may be given several times")
    demo.set_defaults(act=_act)


def _act(args: argparse.Namespace) -> int:
    import sys

    from rich.console import Console

    from edge.demo import show
    from edge.demo.processes import NotReady
    from edge.demo.stage import Wanted
    from edge.demo.visits import VISITS
    from edge.errors import DeviceError
    from edge.settings import SettingsError

    visits = tuple(visit for visit in VISITS if not args.only or visit.name in args.only)
    if not visits:
        print(f"edge demo: no such visit; there are {', '.join(visit.name for visit in VISITS)}", file=sys.stderr)
        return 2
    console = Console(stderr=args.json)
    if not console.is_terminal:
        console.width = 120
    wanted = Wanted(args.models, args.profile, light=args.light)
    try:
        found = show.run(wanted, console, visits=visits, record=args.record, serve=args.serve)
    except (DeviceError, NotReady, FileNotFoundError, SettingsError) as error:
        print(f"edge demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("edge demo: ended early; nothing is left behind", file=sys.stderr)
        return 1
    if args.json:
        print(show.as_json(found))
    return 0 if found.good else 1
