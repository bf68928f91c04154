"""``edge backup take|restore``: a copy of what a gate knows, and back onto another card."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add ``backup`` to the command line."""
    backup = commands.add_parser("backup", help="a copy of what this gate knows, for the day its card dies")
    actions = backup.add_subparsers(dest="action", required=True, metavar="ACTION")
    take = actions.add_parser("take", help="write an encrypted copy, while the gate runs")
    restore = actions.add_parser("restore", help="put a copy back onto a machine without state; gate stopped")
    for action, act in ((take, _take), (restore, _restore)):
        action.add_argument("file", type=Path)
        action.add_argument("--key", type=Path, required=True, metavar="FILE", help="32 bytes; made by the first take")
        action.add_argument("--config", type=Path, default=Path("/etc/edge-gate/edge.toml"))
        action.set_defaults(act=act)


def _take(args: argparse.Namespace) -> int:
    return _said(args, "take")


def _restore(args: argparse.Namespace) -> int:
    return _said(args, "restore")


def _said(args: argparse.Namespace, what: str) -> int:
    from edge.app import backup
    from edge.devices.kept import lasting
    from edge.errors import DeviceError
    from edge.settings import SettingsError, load

    try:
        settings = load(args.config)
        if what == "take":
            count = backup.take(settings, args.file, backup.new_key(args.key))
            print(f"{count} files in {args.file}; keep {args.key} elsewhere, nothing opens it without")
        else:
            lasting()
            count = backup.put_back(settings, args.file, args.key.read_bytes())
            steps = (
                "systemd-tmpfiles --create edge-gate.conf, edge provision, edge audit anew, edge operator, edge check"
            )
            print(f"{count} files put back. next: {steps}")
    except (DeviceError, SettingsError, OSError) as error:
        print(f"edge backup: {error}", file=sys.stderr)
        return 1
    return 0
