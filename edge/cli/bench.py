"""``edge bench``: what the gate costs and how fast it is, on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add ``bench`` to the command line."""
    bench = commands.add_parser("bench", help="measure each stage of a visit, memory, idle load, start")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the figures into FILE")
    bench.add_argument("--only", metavar="NAME", help="only this measurement: a module of edge.bench, such as walk")
    bench.add_argument("--models", choices=("best", "default", "standard"), default="best", help="for walk: which set")
    bench.add_argument(
        "--minutes", type=float, default=1.0, help="for appliance, lanes: how long people come (default: 1)"
    )
    bench.set_defaults(act=_act)


def _act(args: argparse.Namespace) -> int:
    import importlib
    import json
    import pkgutil
    import sys

    from rich.console import Console

    import edge.bench
    from edge.bench import report
    from edge.demo.director import Stuck
    from edge.demo.processes import NotReady
    from edge.errors import DeviceError
    from edge.settings import SettingsError

    known = sorted({module.name for module in pkgutil.iter_modules(edge.bench.__path__)} - {"figures", "report"})
    name = args.only or "walk"
    if name not in known:
        print(f"edge bench: there is no measurement {name!r}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    console = Console()
    try:
        measure = importlib.import_module(f"edge.bench.{name}").measure
        chosen = {"walk": (args.models,), "appliance": (args.minutes,), "lanes": (args.minutes,)}.get(name, ())
        found = measure(console, *chosen)
    except (DeviceError, NotReady, Stuck, FileNotFoundError, SettingsError) as error:
        print(f"edge bench: {error}", file=sys.stderr)
        return 1
    if name == "walk":
        report.walk(found, console)
    else:
        console.print_json(json.dumps(found))
    if args.json is not None:
        args.json.write_text(json.dumps({name: found, "machine": report.machine()}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(target["met"] for target in found.get("targets", ())) else 1
