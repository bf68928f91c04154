"""``edge audit verify|export|show|prove|body|forget|anew``: look at this gate's log, and at what is kept beside it.

``scripts/verify_log.py`` verifies the same files without any code of the gate; that is what an auditor uses.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from edge.audit.checkpoint import Checkpoint
    from edge.devices.checkpoints import CheckpointReader
    from edge.devices.follower import Follower
    from edge.settings import Settings

_BATCH = 4096


def add(commands: Any) -> None:
    """Add ``audit`` to the command line."""
    audit = commands.add_parser("audit", help="verify, export or show the log of this gate")
    actions = audit.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, act, says in (
        ("verify", _verify, "check every entry, the tree and every signature"),
        ("export", _export, "write the log into one file, or into a directory of tiles"),
        ("show", _show, "print the newest entries"),
        ("prove", _prove, "write the proof that one entry is in the sealed log"),
        ("body", _body, "print what is kept about the person of one entry, where the site keeps anything"),
        ("forget", _forget, "delete what is kept about the person of one entry; stop edge-gate before"),
        (
            "anew",
            _anew,
            "begin a new epoch: a log was lost or put back, or the time is wrong; stop edge.target before",
        ),
    ):
        action = actions.add_parser(name, help=says)
        action.add_argument("--config", type=Path, default=Path("/etc/edge-gate/edge.toml"))
        action.set_defaults(act=act)
        if name == "export":
            action.add_argument("out", type=Path, help="file, or directory with --tiles")
            action.add_argument("--tiles", action="store_true", help="C2SP tiles instead of a CBOR sequence")
            action.add_argument("--bodies", action="store_true", help="take along what is kept beside it, encrypted")
            action.add_argument("--note-key", type=Path, help="with --tiles: sign the checkpoint text too (P-256, PEM)")
        if name == "prove":
            action.add_argument("index", type=int, help="of the entry")
            action.add_argument("out", type=Path, help="file to write")
            action.add_argument("--blind", action="store_true", help="tell the entry's hash instead of the entry")
        if name in ("body", "forget"):
            action.add_argument("index", type=int, help="of the entry")
        if name == "forget":
            action.add_argument("--why", required=True, help="goes into the log: nothing about the person")
        if name == "anew":
            action.add_argument("--why", required=True, help="goes into the log, for who reads it in years")
            action.add_argument("--pin-file", type=Path, help="file with the PIN of the token; asked for otherwise")
            action.add_argument("--after", type=int, default=0, metavar="EPOCH", help="newest that a collector knows")
            action.add_argument("--time", type=_moment, help="what time it is, as 2026-11-22T18:00+00:00")
        if name == "show":
            action.add_argument("--last", type=int, default=20, help="how many")


def _verify(args: argparse.Namespace) -> int:
    return _with_log(args, _verified)


def _export(args: argparse.Namespace) -> int:
    if args.tiles:
        return _with_log(args, lambda settings, log, checkpoints: _tiles(args, settings, log, checkpoints))
    return _with_log(args, lambda settings, log, checkpoints: _sequence(args, settings, log, checkpoints))


def _show(args: argparse.Namespace) -> int:
    return _with_log(args, lambda settings, log, checkpoints: _shown(log, args.last))


def _prove(args: argparse.Namespace) -> int:
    def act(settings: Settings, log: Follower, checkpoints: CheckpointReader) -> int:
        from edge.audit.entry import LogError
        from edge.audit.proof import prove

        covering, found = checkpoints.covering(log.epoch(), args.index), log.read(args.index, 1)
        if covering is None or not found:
            raise LogError(f"entry {args.index} is not sealed yet, or was pruned")
        path = log.inclusion(args.index, covering.head.size)
        args.out.write_bytes(prove(args.index, found[0], path, covering, blind=args.blind).encode())
        print(f"proof of entry {args.index} written to {args.out}")
        return 0

    return _with_log(args, act)


def _with_log(args: argparse.Namespace, act: Any) -> int:
    """Do it with the log of the gate that this configuration is of."""
    from edge.audit.entry import LogError
    from edge.devices.checkpoints import CheckpointReader
    from edge.devices.follower import Follower
    from edge.errors import DeviceError
    from edge.settings import SettingsError, load

    try:
        settings = load(args.config)
    except SettingsError as error:
        print(f"edge audit: {error}", file=sys.stderr)
        return 2
    log, checkpoints = Follower(settings.paths.journal), CheckpointReader(settings.paths.checkpoints)
    try:
        if log.epoch() == 0:
            raise DeviceError("journal", f"{settings.paths.journal} is not there yet")
        status: int = act(settings, log, checkpoints)
        return status
    except (DeviceError, LogError, OSError) as error:
        print(f"edge audit: {error}", file=sys.stderr)
        return 1
    finally:
        log.close()
        checkpoints.close()


def _rows(log: Follower) -> Iterator[tuple[bytes | None, bytes]]:
    """All entries that are there now."""
    size = log.size()
    for first in range(0, size, _BATCH):
        yield from log.rows(first, min(_BATCH, size - first))


def _verified(settings: Settings, log: Follower, checkpoints: CheckpointReader) -> int:
    from edge.audit.check import check_chain, check_entries
    from edge.devices.token import enrolled_point

    folder, name = settings.token.public_key.parent, settings.token.public_key.stem
    files = (settings.token.public_key, *folder.glob(f"{name}.*.pem"))  # the present key, and those before it
    points = [enrolled_point(file.read_bytes()) for file in files]
    heads = checkpoints.after(0, 0, 1 << 40)
    oldest = heads[0].head if heads else None
    lost = oldest is not None and oldest.previous_digest != b"" and not oldest.previous_size
    named = _named(settings.paths.journal, log, heads) if lost else set()
    check_chain(heads, points, settings.site.origin, named)
    sealed = [checkpoint for checkpoint in heads if checkpoint.head.epoch == log.epoch()]
    size = check_entries(_rows(log), log.epoch(), sealed)
    waiting = size - (sealed[-1].head.size if sealed else 0)
    print(f"epoch {log.epoch()}: {size} entries, {len(sealed)} checkpoints, {waiting} not sealed yet: good")
    if oldest is not None and lost:
        told = f"the checkpoints before epoch {oldest.epoch} are missing, and its first entry says so"
        print(f"edge audit: {told}; what is here is good", file=sys.stderr)
        return 2
    return 0


def _named(journal: Path, log: Follower, heads: Sequence[Checkpoint]) -> set[bytes]:
    """The head that the oldest sealed epoch goes on from, by its first entry: in the log, or in what is kept of it."""
    from contextlib import closing

    from edge.audit.check import check_entries
    from edge.audit.entry import Kind, LogError
    from edge.devices.follower import Follower
    from edge.errors import DeviceError

    epoch, found = heads[0].head.epoch, set()
    sealed = [checkpoint for checkpoint in heads if checkpoint.head.epoch == epoch]
    kept = [] if log.epoch() == epoch else sorted(journal.parent.glob(f"{journal.stem}.epoch-{epoch}.*.db"))
    for path in kept or [journal]:
        try:
            with closing(Follower(path)) as one:
                if kept:  # the log itself is checked next
                    check_entries(_rows(one), epoch, sealed)
                (first,) = one.entries(0, 1)
        except (DeviceError, LogError, ValueError):  # what is damaged names nothing
            continue
        digest = first.fields.get("digest")
        if first.kind is Kind.EPOCH_OPEN and isinstance(digest, bytes):
            found.add(digest)
    return found


def _sequence(args: argparse.Namespace, settings: Settings, log: Follower, checkpoints: CheckpointReader) -> int:
    from edge.audit.entry import decode
    from edge.audit.export import sequence
    from edge.devices.bodies import bodies_in

    heads = _with_cosignatures(settings, checkpoints.after(0, 0, 1 << 40))
    committed: set[bytes | None] = set()

    def rows() -> Iterator[tuple[bytes | None, bytes]]:
        for entry, leaf in _rows(log):
            if args.bodies and entry is not None:
                committed.add(decode(entry).body)
            yield entry, leaf

    kept = bodies_in(settings.paths.bodies) if args.bodies else []
    bodies = (body for body in kept if body.commitment in committed)  # looked at after the entries were
    with args.out.open("wb") as file:
        for item in sequence(settings.site.origin, log.epoch(), rows(), heads, bodies, _acknowledged(settings)):
            file.write(item)
    print(f"{log.size()} entries and {len(heads)} checkpoints written to {args.out}")
    if args.bodies:
        print(f"and {len({body.commitment for body in kept} & committed)} bodies, encrypted")
    return 0


def _acknowledged(settings: Settings) -> bytes | None:
    """What the collector signed last, where entries go out."""
    return settings.paths.witnessed.read_bytes() if settings.paths.witnessed.exists() else None


def _body(args: argparse.Namespace) -> int:
    def act(settings: Settings, log: Follower, _: CheckpointReader) -> int:
        from edge.app.service import secret
        from edge.devices.bodies import told_by

        commitment = _commitment(log, args.index)
        told = told_by(settings.paths.bodies, settings.site.origin, secret(settings.paths, "site-key"), commitment)
        print("deleted" if told is None else ", ".join(f"{name}={_short(value)}" for name, value in told.items()))
        return 0 if told is not None else 1

    return _with_log(args, act)


def _forget(args: argparse.Namespace) -> int:
    def act(settings: Settings, log: Follower, checkpoints: CheckpointReader) -> int:
        import asyncio

        from edge.app.chosen import bodies_of, collector_of
        from edge.app.gate import alone
        from edge.app.service import secret
        from edge.devices.clock import SystemClock
        from edge.devices.journal import LastHead, SqliteJournal

        commitment, folder = _commitment(log, args.index), settings.paths.journal.parent
        with alone(folder / "lock"):
            clock, origin = SystemClock(settings.clock, folder / "clock-floor"), settings.site.origin
            last = LastHead.of(checkpoints.last())
            place, collector = settings.paths.journal, collector_of(settings)
            journal = SqliteJournal.open(place, origin, settings.site.gate, clock, last, collector=collector)
            bodies = bodies_of(settings, secret(settings.paths, "site-key"), clock)
            try:
                gone = asyncio.run(bodies.forget(commitment, args.why, journal))
            finally:
                bodies.close()
                journal.close()
        print(f"what was kept of entry {args.index} is " + ("deleted, and the log says so" if gone else "gone already"))
        return 0

    return _with_log(args, act)


def _anew(args: argparse.Namespace) -> int:
    import asyncio
    import getpass

    from edge.app.anew import begin
    from edge.devices.token import Pkcs11Token, TokenPlace, enrolled_point
    from edge.errors import DeviceError
    from edge.settings import SettingsError, load

    try:
        settings = load(args.config)
        chosen = settings.token
        place = TokenPlace(chosen.module, chosen.label, chosen.serial, chosen.key_id)
        typed = args.pin_file.read_text(encoding="utf-8") if args.pin_file else getpass.getpass("PIN of the token: ")
        token = Pkcs11Token(place, typed.strip(), enrolled_point(chosen.public_key.read_bytes()), settings.site.origin)
        try:
            epoch = asyncio.run(begin(settings, args.why, token.recall, after=args.after, time=args.time))
        finally:
            token.close()
    except SettingsError as error:
        print(f"edge audit: {error}", file=sys.stderr)
        return 2
    except (DeviceError, OSError) as error:
        print(f"edge audit: {error}", file=sys.stderr)
        return 1
    print(f"epoch {epoch} is begun, and its first entry says why; what was there is kept beside it as evidence")
    return 0


def _moment(text: str) -> datetime:
    """A time that says in which zone it is."""
    from datetime import datetime

    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise argparse.ArgumentTypeError("say the zone too, as in 2026-11-22T18:00+00:00")
    return found


def _commitment(log: Follower, index: int) -> bytes:
    """What the entry says of its body.

    Raises:
        LogError: nothing was kept beside this entry.
    """
    from edge.audit.entry import LogError

    found = log.entries(index, 1)
    if not found or found[0].body is None:
        raise LogError(f"nothing was kept beside entry {index}")
    return found[0].body


def _with_cosignatures(settings: Settings, heads: list[Checkpoint]) -> list[Checkpoint]:
    """The checkpoints with what the neighbours vouched for, where there are neighbours."""
    from edge.sync.witnessed import Witnessed, joined

    if not settings.paths.neighbours.exists():
        return heads
    file = Witnessed(settings.paths.neighbours)
    try:
        return [joined(head, file.cosignatures(head)) for head in heads]
    finally:
        file.close()


def _tiles(args: argparse.Namespace, settings: Settings, log: Follower, checkpoints: CheckpointReader) -> int:
    from edge.audit.export import bundles, signed_note, tiles
    from edge.sync.witnessing import witness_key

    out = args.out
    last = checkpoints.last()
    if last is None or last.head.epoch != log.epoch():
        print("edge audit: nothing is sealed yet; tiles end at a checkpoint", file=sys.stderr)
        return 1
    heads = _with_cosignatures(settings, checkpoints.after(0, 0, 1 << 40))
    heads = [head for head in heads if head.head.epoch == last.head.epoch]
    text = last.text()
    if args.note_key is not None:
        text = signed_note(text, settings.site.origin, witness_key(args.note_key.read_bytes()))
    files = {"checkpoint": text.encode(), "checkpoints.cborseq": _wrapped(head.encode() for head in heads)}
    for name, content in files.items():
        _write(out / name, content)
    for name, content in tiles(last.head.size, log.node):
        _write(out / name, content)
    entries = (entry for entry in log.read(0, last.head.size))
    for name, content in bundles(entries):
        _write(out / name, content)
    print(f"{last.head.size} entries and {len(heads)} checkpoints written to {out}")
    return 0


def _wrapped(items: Iterator[bytes]) -> bytes:
    from edge.audit.entry import deterministic

    return b"".join(deterministic(item) for item in items)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _shown(log: Follower, last: int) -> int:
    from datetime import UTC, datetime

    size = log.size()
    for entry in log.entries(max(0, size - last), last):
        at = datetime.fromtimestamp(entry.wall_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        kind = getattr(entry.kind, "name", str(entry.kind)).lower().replace("_", "-")
        fields = ", ".join(f"{key}={_short(value)}" for key, value in entry.fields.items())
        print(f"{entry.index:7d}  {at} {entry.quality.name.lower():7s}  {kind:15s} {fields}")
    return 0


def _short(value: object) -> str:
    return value.hex()[:16] if isinstance(value, bytes) else str(value)
