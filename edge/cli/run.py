"""``edge run vision|gate|seal|sync|web`` and ``edge lock``."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

PARTS = ("vision", "gate", "seal", "sync", "web")


def add(commands: Any) -> None:
    """Add ``run`` and ``lock`` to the command line."""
    run = commands.add_parser("run", help="run one of the five processes")
    run.add_argument("part", choices=PARTS)
    run.add_argument("--config", type=Path, default=Path("/etc/edge-gate/edge.toml"))
    run.set_defaults(act=_run)
    lock = commands.add_parser("lock", help="drive the relay off: the last act after any exit of edge-gate")
    lock.add_argument("--config", type=Path, default=Path("/etc/edge-gate/edge.toml"))
    lock.set_defaults(act=_lock)


def _run(args: argparse.Namespace) -> int:
    from edge.app import service
    from edge.settings import SettingsError, load

    try:
        settings = load(args.config)
    except SettingsError as error:
        print(f"edge run {args.part}: {error}", file=sys.stderr)
        return 2
    if args.part == "web" and settings.iavs.enabled:
        from edge.app.memory import forgetful

        forgetful()
    part = importlib.import_module(f"edge.app.{args.part}")
    return service.serve(args.part, lambda: part.run(settings))


def _lock(args: argparse.Namespace) -> int:
    from edge.app.gate import lock
    from edge.errors import DeviceError
    from edge.settings import SettingsError

    try:
        lock(args.config)
    except SettingsError as error:
        print(f"edge lock: {error}", file=sys.stderr)
        return 2
    except DeviceError as error:
        print(f"edge lock: {error}", file=sys.stderr)
        return 1
    return 0
