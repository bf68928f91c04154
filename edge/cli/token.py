"""``edge token init|status|certificate``: set up the token that seals this gate's log.

PINs are read from the terminal or from files, never from the command line, where every process could read them.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.devices.token import TokenPlace
    from edge.settings import Settings


def add(commands: Any) -> None:
    """Add ``token`` to the command line."""
    token = commands.add_parser("token", help="set up the token that seals the log")
    actions = token.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, act, says in (
        ("init", _init, "initialise an empty token if need be, make the key in it, write the public key"),
        ("status", _status, "say how the token is, without its PIN"),
        ("certificate", _certificate, "write a certificate of the key, signed by the token"),
    ):
        action = actions.add_parser(name, help=says)
        action.add_argument("--config", type=Path, default=Path("/etc/edge-gate/edge.toml"))
        action.set_defaults(act=act)
        if name != "status":
            action.add_argument("--pin-file", type=Path, help="file with the user's PIN; asked for otherwise")
        if name == "init":
            action.add_argument("--so-pin-file", type=Path, help="file with the security officer's PIN")
        if name == "certificate":
            action.add_argument("out", type=Path, help="PEM file to write")


def _init(args: argparse.Namespace) -> int:
    def act(settings: Settings, place: TokenPlace) -> int:
        from edge.devices.token import initialise, load, provision, to_pem

        pin = _secret(args.pin_file, "PIN of the token's user: ")
        if not list(load(place.module).get_tokens(token_label=place.label)):
            so_pin = _secret(args.so_pin_file, "PIN of the token's security officer: ")
            initialise(place.module, place.label, so_pin, pin)
            print(f"token {place.label!r} initialised")
        point = provision(place, pin)
        settings.token.public_key.parent.mkdir(parents=True, exist_ok=True)
        settings.token.public_key.write_bytes(to_pem(point))
        print(f"key {place.key_id} made; public key written to {settings.token.public_key}")
        return 0

    return _with_token(args, act)


def _status(args: argparse.Namespace) -> int:
    def act(settings: Settings, place: TokenPlace) -> int:
        from edge.devices.enrolment import status
        from edge.devices.token import enrolled_point

        found = status(place)
        print(f"token      {found.label!r}, serial {found.serial}, {found.model}")
        print(f"PIN        {found.pin}")
        print(f"key        {found.kid or f'none with id {place.key_id}'}")
        if not settings.token.public_key.exists():
            print("enrolled   no public key yet; edge token init writes it")
            return 1
        same = found.point == enrolled_point(settings.token.public_key.read_bytes())
        print(f"enrolled   {'this key' if same else 'another key: this token will be refused'}")
        return 0 if same and found.pin != "locked" else 1

    return _with_token(args, act)


def _certificate(args: argparse.Namespace) -> int:
    def act(settings: Settings, place: TokenPlace) -> int:
        from edge.devices.enrolment import certificate

        pin = _secret(args.pin_file, "PIN of the token's user: ")
        args.out.write_bytes(certificate(place, pin, settings.site.origin))
        print(f"certificate written to {args.out}")
        return 0

    return _with_token(args, act)


def _with_token(args: argparse.Namespace, act: Any) -> int:
    """Do it with the token that this configuration names."""
    from edge.devices.token import TokenPlace
    from edge.errors import DeviceError
    from edge.settings import SettingsError, load

    try:
        settings = load(args.config)
        token = settings.token
        status: int = act(settings, TokenPlace(token.module, token.label, token.serial, token.key_id))
        return status
    except SettingsError as error:
        print(f"edge token: {error}", file=sys.stderr)
        return 2
    except (DeviceError, OSError) as error:
        print(f"edge token: {error}", file=sys.stderr)
        return 1


def _secret(file: Path | None, prompt: str) -> str:
    """A PIN, from a file or typed without echo."""
    if file is not None:
        return file.read_text(encoding="utf-8").strip()
    return getpass.getpass(prompt)
