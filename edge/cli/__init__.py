"""``edge``: one command a module of this package.

Exit status: 0 good, 1 bad, 2 wrong usage, 130 ended by Ctrl-C. Each module of this package adds its commands to the
parser and imports what they need only when they run, so that ``edge run gate`` loads no camera code.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

_COMMANDS = (
    "demo",
    "run",
    "check",
    "provision",
    "backup",
    "wiring",
    "credential",
    "trust",
    "audit",
    "replay",
    "policy",
    "token",
    "operator",
    "models",
    "face",
    "collect",
    "bridge",
    "tlskey",
    "iavs",
    "bench",
)

_PROCESSES = frozenset({"run", "lock"})
"""What systemd starts: a fault that nobody thought of comes out whole, for the journal."""


def parser(wanted: str = "") -> argparse.ArgumentParser:
    """The command line: all of it, or only the module of the command that is wanted."""
    top = argparse.ArgumentParser(prog="edge", description="Offline identity gate.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    wanted = "run" if wanted == "lock" else wanted  # its module adds both
    for name in (wanted,) if wanted in _COMMANDS else _COMMANDS:
        importlib.import_module(f"edge.cli.{name}").add(commands)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    chosen = parser(arguments[0] if arguments else "").parse_args(arguments)
    if chosen.command in _PROCESSES:
        return int(chosen.act(chosen))
    try:
        status: int = chosen.act(chosen)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except EOFError:
        return _said(chosen.command, "it asks something, and there is nobody to answer", 2)
    except OSError as error:
        return _said(chosen.command, str(error), 1)
    except KeyboardInterrupt:
        return _said(chosen.command, "ended", 130)
    return status


def _said(command: str, why: str, status: int) -> int:
    print(f"edge {command}: {why}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
