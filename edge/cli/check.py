"""``edge check``: what works, and what to do about the rest."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add ``check`` to the command line."""
    check = commands.add_parser("check", help="say device by device what works, and the remedy for what does not")
    check.add_argument("--config", type=Path, default=Path("/etc/edge-gate/edge.toml"))
    check.add_argument("--json", action="store_true", help="one JSON object a device")
    check.add_argument("--storage", action="store_true", help="only: measure the disk under the log, for commissioning")
    check.add_argument("--settings", action="store_true", help="only: whether the gate starts with this configuration")
    check.set_defaults(act=_check)


def _check(args: argparse.Namespace) -> int:
    from edge.app.check import check, check_settings, check_storage
    from edge.settings import SettingsError, load

    try:
        settings = load(args.config)
    except SettingsError as error:
        print(f"edge check: {error}", file=sys.stderr)
        return 2
    well = True
    only = check_storage if args.storage else check_settings if args.settings else None
    for finding in check(settings) if only is None else (only(settings),):
        well &= finding.well
        if args.json:
            print(json.dumps(vars(finding)))
            continue
        print(f"{'ok ' if finding.well else 'BAD'}  {finding.device:<10}  {finding.said}")
        if finding.remedy:
            print(f"     {'':<10}  → {finding.remedy}")
    return 0 if well else 1
