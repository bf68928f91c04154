"""``edge token init|status|certificate|rotate``: set up the token that seals this gate's log.

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
        ("rotate", _rotate, "go over to a new key in the token; stop the gate's processes before"),
    ):
        action = actions.add_parser(name, help=says)
        action.add_argument("--config", type=Path, default=Path("/etc/edge-gate/edge.toml"))
        action.set_defaults(act=act)
        if name != "status":
            action.add_argument("--pin-file", type=Path, help="file with the user's PIN; asked for otherwise")
        if name == "init":
            action.add_argument("--so-pin-file", type=Path, help="file with the security officer's PIN")
        if name == "rotate":
            action.add_argument("--new-key-id", required=True, metavar="HEX", help="CKA_ID of the new key")
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


def _rotate(args: argparse.Namespace) -> int:
    def act(settings: Settings, place: TokenPlace) -> int:
        import asyncio
        from dataclasses import replace

        from edge.devices.token import enrolled_point, provision, to_pem

        pin = _secret(args.pin_file, "PIN of the token's user: ")
        file = settings.token.public_key
        old, new_place = enrolled_point(file.read_bytes()), replace(place, key_id=args.new_key_id)
        new = provision(new_place, pin)
        asyncio.run(_go_over(settings, ((place, old), (new_place, new)), pin))
        file.rename(file.with_name(f"{file.stem}.{place.key_id}{file.suffix}"))
        file.write_bytes(to_pem(new))
        print(f"the log goes on under the new key; set key_id = {args.new_key_id!r} in [token] of {settings.source}")
        return 0

    return _with_token(args, act)


async def _go_over(settings: Settings, keys: tuple[tuple[TokenPlace, bytes], ...], pin: str) -> None:
    """The old key seals the entry that names the new one; the new one seals the next, and so shows that it is there."""
    from edge.audit.checkpoint import key_id
    from edge.audit.entry import Event, Kind
    from edge.audit.sealing import SealingPolicy
    from edge.devices.checkpoints import SqliteCheckpoints
    from edge.devices.clock import SystemClock
    from edge.devices.journal import Follower, LastHead, SqliteJournal
    from edge.devices.token import Pkcs11Token
    from edge.sealer import Sealer

    origin, new = settings.site.origin, keys[-1][1]
    clock = SystemClock(settings.clock, settings.paths.journal.parent / "clock-floor")
    checkpoints, log = SqliteCheckpoints(settings.paths.checkpoints), Follower(settings.paths.journal)
    last = LastHead.of(checkpoints.last())
    journal = SqliteJournal.open(settings.paths.journal, origin, settings.site.gate, clock, last)
    try:
        for (place, point), word in zip(keys, ("introduced", "in-force"), strict=True):
            await journal.append(Event(Kind.KEY_ROTATION, {"key": word, "kid": key_id(new), "point": new}))
            token = Pkcs11Token(place, pin, point, origin)
            try:
                token.resume(checkpoints.last())
                await Sealer(origin, SealingPolicy(), log, checkpoints, token, clock).seal()
            finally:
                token.close()
    finally:
        log.close()
        journal.close()
        checkpoints.close()


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
