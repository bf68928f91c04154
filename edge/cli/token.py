"""``edge token init|status|certificate|rotate``: set up the token that seals this gate's log.

PINs are read from the terminal or from files, never from the command line, where every process could read them.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.audit.checkpoint import Checkpoint
    from edge.devices.checkpoints import SqliteCheckpoints
    from edge.devices.clock import SystemClock
    from edge.devices.follower import Follower
    from edge.devices.journal import SqliteJournal
    from edge.devices.token import Pkcs11Token, TokenPlace
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
            action.add_argument("--lost", action="store_true", help="the old key is gone: begin a new epoch without it")
            action.add_argument("--so-pin-file", type=Path, help="with --lost: of the new token's security officer")
        if name == "certificate":
            action.add_argument("out", type=Path, help="PEM file to write")


def _init(args: argparse.Namespace) -> int:
    def act(settings: Settings, place: TokenPlace) -> int:
        from edge.devices.kept import lasting
        from edge.devices.provisioning import provision
        from edge.devices.token import to_pem
        from edge.errors import DeviceError

        lasting()
        if settings.token.public_key.exists() and _sealed(settings):
            raise DeviceError("token", "this gate has a key that sealed its log; see edge token rotate --help")
        pin = _secret(args.pin_file, "PIN of the token's user: ")
        _initialised(args, place, pin)
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

        from edge.devices.kept import keep, lasting
        from edge.devices.provisioning import provision
        from edge.devices.token import enrolled_point, to_pem
        from edge.errors import DeviceError

        lasting()
        if args.new_key_id == place.key_id and not args.lost:
            raise DeviceError("token", f"{place.key_id} is the key that seals now: the new one needs another id")
        pin = _secret(args.pin_file, "PIN of the token's user: ")
        file = settings.token.public_key
        old, new_place = enrolled_point(file.read_bytes()), replace(place, key_id=args.new_key_id)
        if args.lost:
            _initialised(args, place, pin)
        new = (None if args.lost else _half_way(settings, new_place)) or provision(new_place, pin)
        if args.lost:
            asyncio.run(_begin_anew(settings, new_place, old, new, pin))
        else:
            asyncio.run(_go_over(settings, ((place, old), (new_place, new)), pin))
        keep(file.with_name(f"{file.stem}.{place.key_id}{file.suffix}"), to_pem(old).decode())
        keep(file, to_pem(new).decode())
        print(f"the log goes on under the new key; set key_id = {args.new_key_id!r} in [token] of {settings.source}")
        return 0

    return _with_token(args, act)


def _initialised(args: argparse.Namespace, place: TokenPlace, pin: str) -> None:
    """Initialise the token if it is empty."""
    from edge.devices.provisioning import initialise
    from edge.devices.token import load

    if not list(load(place.module).get_tokens(token_label=place.label)):
        so_pin = _secret(args.so_pin_file, "PIN of the token's security officer: ")
        initialise(place.module, place.label, so_pin, pin)
        print(f"token {place.label!r} initialised")


def _half_way(settings: Settings, place: TokenPlace) -> bytes | None:
    """The key in this place, if it sealed last: then a rotation to it was begun, and not finished."""
    from edge.audit.checkpoint import key_id
    from edge.devices.enrolment import status

    point, last = status(place).point, _last(settings)
    return point if point and last is not None and last.kid == key_id(point) else None


def _sealed(settings: Settings) -> bool:
    """Whether a key has sealed anything here."""
    return _last(settings) is not None


def _last(settings: Settings) -> Checkpoint | None:
    """What was sealed last."""
    from edge.devices.checkpoints import CheckpointReader

    checkpoints = CheckpointReader(settings.paths.checkpoints)
    try:
        return checkpoints.last()
    finally:
        checkpoints.close()


async def _go_over(settings: Settings, keys: tuple[tuple[TokenPlace, bytes], ...], pin: str) -> None:
    """The old key seals the entry that names the new one; the new one seals the next, and the old countersigns that.

    A rotation that a power cut ended after the new key had sealed goes on from there: nothing else can be sealed until
    the old one has countersigned.
    """
    from edge.audit.checkpoint import COUNTERSIGNATURE, key_id
    from edge.audit.entry import Event, Kind, Value
    from edge.audit.succession import succeeded

    (old_place, old), (new_place, new) = keys
    fields: dict[str, Value] = {"kid": key_id(new), "point": new}
    with _log_of(settings) as at_hand:
        first = at_hand.checkpoints.last()
        if first is None or first.kid != key_id(new):
            await at_hand.journal.append(Event(Kind.KEY_ROTATION, {"key": "introduced", **fields}))
            with _token_of(settings, old_place, old, pin) as token:  # one login at a time: the token's, not the key's
                await at_hand.seal(token)
            await at_hand.journal.append(Event(Kind.KEY_ROTATION, {"key": "in-force", **fields}))
            with _token_of(settings, new_place, new, pin) as token:
                first = await at_hand.seal(token, successor=True)
        if COUNTERSIGNATURE not in dict(first.extras):
            with _token_of(settings, old_place, old, pin) as token:
                token.resume(at_hand.before(first))
                signature = await token.countersign(first, new)
            at_hand.checkpoints.add(succeeded(first, key_id(old), signature))


async def _begin_anew(settings: Settings, place: TokenPlace, old: bytes, new: bytes, pin: str) -> None:
    """Nobody can countersign: a new epoch begins, and says why, and where the old one ended."""
    from edge.audit.checkpoint import key_id
    from edge.audit.entry import Event, Kind, Value
    from edge.devices.follower import Follower

    before = Follower(settings.paths.journal)
    size = before.size()
    fields: dict[str, Value] = {"key": "lost", "kid": key_id(new), "point": new, "old": key_id(old)}
    closed: dict[str, Value] = {"closed": before.epoch(), "size": size, "root": before.root(size)}
    before.close()
    with _log_of(settings, anew="the token is lost") as at_hand:
        await at_hand.journal.append(Event(Kind.KEY_ROTATION, fields | closed))
        with _token_of(settings, place, new, pin) as after:
            await at_hand.seal(after)


@dataclass(frozen=True)
class _AtHand:
    """A stopped gate's log, to be written and sealed."""

    settings: Settings
    journal: SqliteJournal
    log: Follower
    checkpoints: SqliteCheckpoints
    clock: SystemClock

    async def seal(self, token: Pkcs11Token, *, successor: bool = False) -> Checkpoint:
        """Have this token seal all that is there."""
        from edge.audit.sealing import SealingPolicy
        from edge.errors import DeviceError
        from edge.sealer import Sealer

        token.resume(self.checkpoints.last())
        origin = self.settings.site.origin
        parts = (self.log, self.checkpoints, token, self.clock)
        sealed = await Sealer(origin, SealingPolicy(), *parts, successor=successor).seal()
        if sealed is None:
            raise DeviceError("journal", "there was nothing to seal")
        return sealed

    def before(self, checkpoint: Checkpoint) -> Checkpoint | None:
        """The one that this one continues in its epoch."""
        head = checkpoint.head
        return next(iter(self.checkpoints.after(head.epoch, head.previous_size - 1, 1)), None)


@contextlib.contextmanager
def _log_of(settings: Settings, anew: str = "") -> Iterator[_AtHand]:
    from edge.app.chosen import collector_of
    from edge.app.gate import alone
    from edge.devices.checkpoints import SqliteCheckpoints
    from edge.devices.clock import SystemClock
    from edge.devices.follower import Follower
    from edge.devices.journal import LastHead, SqliteJournal

    folder, origin = settings.paths.journal.parent, settings.site.origin
    clock = SystemClock(settings.clock, folder / "clock-floor")
    with contextlib.ExitStack() as closing:
        closing.enter_context(alone(folder / "lock"))
        checkpoints = SqliteCheckpoints(settings.paths.checkpoints)
        closing.callback(checkpoints.close)
        last, file, gate = LastHead.of(checkpoints.last()), settings.paths.journal, settings.site.gate
        journal = SqliteJournal.open(file, origin, gate, clock, last, collector=collector_of(settings), anew=anew)
        closing.callback(journal.close)
        log = Follower(file)
        closing.callback(log.close)
        yield _AtHand(settings, journal, log, checkpoints, clock)


@contextlib.contextmanager
def _token_of(settings: Settings, place: TokenPlace, point: bytes, pin: str) -> Iterator[Pkcs11Token]:
    from edge.devices.token import Pkcs11Token

    token = Pkcs11Token(place, pin, point, settings.site.origin)
    try:
        yield token
    finally:
        token.close()


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
