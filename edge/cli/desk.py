"""What every action on the operator's desk has in common: the folder, the way to tokens, mistakes as one sentence."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.sync.office import Office

Actions = Any


def action(actions: Actions, name: str, act: Callable[[argparse.Namespace], int], told: str) -> argparse.ArgumentParser:
    """Add an action whose first argument is the desk's folder."""
    parser: argparse.ArgumentParser = actions.add_parser(name, help=told, description=told)
    parser.add_argument("office", type=Path, metavar="OFFICE", help="folder with keys, lists and what is published")
    parser.set_defaults(act=said(act))
    return parser


def said(act: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Mistakes as one sentence: 1."""

    def told(args: argparse.Namespace) -> int:
        from edge.devices.tokenkey import Tokens
        from edge.errors import DeviceError
        from edge.sync.book import OfficeError

        try:
            with Tokens(pin_of) as args.tokens:
                return act(args)
        except (OfficeError, DeviceError, ValueError, OSError) as error:
            print(f"edge trust: {error}", file=sys.stderr)
            return 1

    return told


def opened(args: argparse.Namespace) -> Office:
    """The office in that folder."""
    from edge.sync.office import Office

    return Office(args.office, args.tokens)


def pin_of(name: str, label: str) -> str:
    """The PIN for a key in a token: the systemd credential ``<name>-pin``, or typed without echo.

    A key that is to take another one's place has a name of its own, so that no PIN is tried at the wrong token.
    """
    import getpass
    import os

    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if folder and (file := Path(folder) / f"{name}-pin").exists():
        return file.read_text(encoding="utf-8").strip()
    return getpass.getpass(f"PIN of token {label!r} for {name}: ")
