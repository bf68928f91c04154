"""Gates of a site cosign each other's checkpoints over the site's broker: what is deleted here is missed there.

Rules:

1. Each gate publishes its newest checkpoints on ``head`` (retained). A neighbour that misses steps in between says so
   on ``wish`` and gets them on ``head`` too. Cosignatures come on ``cosign``, evidence on ``fork`` (retained).
2. Everything is verified by whoever receives it, under the keys of the policy file. A broker that changes or forges
   messages reaches nothing; one that keeps them back is noticed when cosignatures stay away. Retained wishes and
   cosignatures are passed over: nobody sends them so, and they would come again with each connection.
3. What was seen is on disk before it is cosigned.
4. A fork is evidence for ever: it is kept, told to everybody, and shown to the technicians of all gates of the site.
5. No more than one message of each kind in ``_PAUSE_S`` to each neighbour, whatever comes in.
"""

from __future__ import annotations

import logging
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from edge.audit.checkpoint import Checkpoint, key_id, parse
from edge.audit.entry import COUNT, LogError, deterministic, strict
from edge.audit.witness import Fork, Witness, cosign_statement, cosigned, cosigners, fork_of
from edge.errors import DeviceError
from edge.sync.connection import Connection, Message
from edge.sync.topics import PREFIX, Address, addressed
from edge.sync.witnessed import Witnessed

KINDS = ("head", "wish", "cosign", "fork")
_PASSING = ("wish", "cosign")
_STEPS = 32
_LIMIT = 128 * 1024
_PAUSE_S = 1.0
_PATIENCE_S = 300.0
_log = logging.getLogger("edge.sync")


class Sealed(Protocol):
    """What is needed of ``ports.Checkpoints``."""

    def last(self) -> Checkpoint | None:
        """The newest."""
        ...

    def after(self, epoch: int, size: int, count: int) -> list[Checkpoint]:
        """Up to ``count`` after that of ``size`` entries in ``epoch``."""
        ...


@dataclass(frozen=True)
class Neighbourhood:
    """The policy file: who cosigns, how many have to, and whose logs we watch.

    Attributes:
        quorum: so many cosignatures make a checkpoint witnessed.
        witnesses: uncompressed points of the witnesses' keys, by key id; our own counts for others only.
        logs: uncompressed points of the tokens' keys, by the origin of the log they sign.
    """

    quorum: int
    witnesses: Mapping[bytes, bytes]
    logs: Mapping[str, bytes]


def neighbourhood(path: Path) -> Neighbourhood:
    """Read a policy file; ``verify_log.py --witnesses`` reads the same.

    Raises:
        DeviceError: it cannot be read.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        points = [_point(path.parent / name) for name in told["keys"]]
        logs = {str(origin): _point(path.parent / name) for origin, name in told.get("logs", {}).items()}
        return Neighbourhood(int(told["quorum"]), {key_id(point): point for point in points}, logs)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DeviceError("witness", f"{path} is no policy for witnesses: {error}") from error


def witness_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """The key this gate cosigns with.

    Raises:
        DeviceError: it is not a P-256 private key.
    """
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise DeviceError("witness", "the key for cosigning cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DeviceError("witness", "the key for cosigning is not a P-256 key")
    return key


class Neighbours:
    """One gate's part in it, on the connection and the thread of the sender.

    Args:
        address: of this gate.
        policy: who cosigns whom.
        key: to cosign with.
        checkpoints: our own.
        store: file for what was seen.
        now_s: seconds since 1970, for the time in a cosignature.
    """

    def __init__(
        self,
        address: Address,
        policy: Neighbourhood,
        key: ec.EllipticCurvePrivateKey,
        checkpoints: Sealed,
        store: Path,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._address, self._policy, self._key = address, policy, key
        self._checkpoints, self._store, self._now_s = checkpoints, store, now_s
        self._kid = key_id(_encoded(key.public_key()))
        self._logs = {origin: point for origin, point in policy.logs.items() if origin != address.origin}
        self._file: Witnessed | None = None
        self._witness = Witness(self._logs)
        self._told: bytes = b""
        self._looked_s = 0.0
        self._paused: dict[tuple[str, str], tuple[float, str]] = {}
        self._witnessed_s = time.monotonic()
        self.forks: tuple[str, ...] = ()
        self.trouble = ""

    def connected(self, connection: Connection) -> None:
        """Listen to the gates of this site.

        Raises:
            DeviceError: the connection broke, or the file cannot be used.
        """
        self.close()  # what was not written down was not seen
        self._witness = Witness(self._logs)
        self._opened()
        site = f"{PREFIX}/{self._address.tenant}/{self._address.site}/+"
        connection.subscribe(*(f"{site}/{kind}" for kind in KINDS))
        self._told = b""

    def serve(self, connection: Connection) -> None:
        """Tell our newest checkpoint once it is there.

        Raises:
            DeviceError: the connection broke, or our file cannot be used.
        """
        if time.monotonic() - self._looked_s < _PAUSE_S:
            return
        self._looked_s = time.monotonic()
        try:
            last = self._checkpoints.last()
        except DeviceError as error:  # those of the others are watched all the same
            self.trouble = str(error)
            return
        if last is None:
            self.trouble = ""
            return
        if last.digest != self._told:
            self._told = last.digest
            self._publish(connection, "head", [_plain(last)], retain=True)
        cosigned_by = {kid for kid, _, _ in self._opened().cosignatures(last)} & set(self._policy.witnesses)
        if len(cosigned_by) >= self._policy.quorum:
            self._witnessed_s = time.monotonic()
        late = time.monotonic() - self._witnessed_s > _PATIENCE_S
        self.trouble = f"{len(cosigned_by)} of {self._policy.quorum} neighbours cosign" if late else ""

    def condition(self) -> str:
        """What the technician should know; empty when all is well."""
        return f"forked: {', '.join(self.forks)}" if self.forks else self.trouble

    def hear(self, connection: Connection, message: Message) -> bool:
        """Take in one message if it is for witnesses; whether it was.

        Raises:
            DeviceError: the connection broke, or the file cannot be used.
        """
        kind = message.topic.rpartition("/")[2]
        sender = addressed(message.topic, kind) if kind in KINDS else None
        if sender is None:
            return False
        if sender == self._address:
            return True
        try:
            if len(message.payload) > _LIMIT:
                raise LogError("too long")
            if message.retain and kind in _PASSING:
                raise LogError("retained, and only for now")
            told = strict(message.payload)
            match kind:
                case "head":
                    self._head(connection, sender, told)
                case "wish":
                    self._wish(connection, sender, told)
                case "cosign":
                    self._cosigned(told)
                case "fork":
                    self._accused(told)
        except (LogError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            _log.info("from %s on %s: %s", sender.gate, kind, error)
        return True

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> Witnessed:
        """The file, on the thread that uses it; what it holds is remembered."""
        if self._file is None:
            self._file = Witnessed(self._store)
            for origin in self._logs:
                if (newest := self._file.newest(origin)) is not None:
                    self._witness.resume(newest)
            self._note_forks()
        return self._file

    def _head(self, connection: Connection, sender: Address, told: Any) -> None:
        """A neighbour's checkpoints, in order: keep and cosign, ask for what lies between, or keep a fork."""
        steps = [parse(bytes(one)) for one in told[:_STEPS]]
        point = self._logs.get(sender.origin)
        if not steps or point is None or any(step.head.origin != sender.origin for step in steps):
            raise LogError("not the head of a neighbour's log")
        file = self._opened()
        for step in steps:
            step.verify(point)
            known = file.over(step)
            found = fork_of(step, known) if known is not None else self._next(connection, sender, step)
            if isinstance(found, Fork):
                self._found(connection, found)
                return
            if found is not None:
                file.keep(found)
        if file.newest(sender.origin) == steps[-1]:
            self._cosign(connection, steps[-1])
        if len(steps) == _STEPS:
            self._ask(connection, sender)

    def _next(self, connection: Connection, sender: Address, step: Checkpoint) -> Checkpoint | Fork | None:
        """A checkpoint beyond what was seen; None when steps before it are missing."""
        try:
            return self._witness.consider((step,))
        except LogError as error:
            _log.info("from %s: %s", sender.gate, error)
            self._ask(connection, sender)
            return None

    def _ask(self, connection: Connection, sender: Address) -> None:
        seen = self._witness.seen(sender.origin)
        if seen is not None and self._may("wish", sender.origin, f"{seen.epoch}/{seen.size}"):
            self._publish(connection, "wish", {"origin": sender.origin, "epoch": seen.epoch, "size": seen.size})

    def _wish(self, connection: Connection, sender: Address, told: Any) -> None:
        """A neighbour misses steps of ours."""
        if told["origin"] != self._address.origin or sender.origin not in self._logs:
            return
        if self._may("head", sender.origin, f"{told['epoch']}/{told['size']}"):
            steps = self._ours(_count(told["epoch"]), _count(told["size"]), _STEPS)
            self._publish(connection, "head", [_plain(step) for step in steps])

    def _cosign(self, connection: Connection, checkpoint: Checkpoint) -> None:
        """Vouch for it; it is on disk."""
        if not self._may("cosign", checkpoint.head.origin, checkpoint.digest.hex()):
            return
        at_s = int(self._now_s())
        r, s = decode_dss_signature(
            self._key.sign(cosign_statement(checkpoint, self._kid, at_s), ec.ECDSA(hashes.SHA256()))
        )
        head = checkpoint.head
        place = {"origin": head.origin, "epoch": head.epoch, "size": head.size}
        said = {"kid": self._kid, "at": at_s, "signature": r.to_bytes(32) + s.to_bytes(32)}
        self._publish(connection, "cosign", place | said)

    def _cosigned(self, told: Any) -> None:
        """A neighbour vouches for a checkpoint of ours, if the policy knows it and its signature is right."""
        if told["origin"] != self._address.origin or told["kid"] == self._kid:
            return
        if told["kid"] not in self._policy.witnesses:
            raise LogError("the policy does not know this witness")
        own = self._ours(_count(told["epoch"]), _count(told["size"]) - 1, 1)
        if not own or (own[0].head.epoch, own[0].head.size) != (told["epoch"], told["size"]):
            raise LogError("we have no such checkpoint")
        at_s = _count(told["at"])
        cosigners(cosigned(own[0].bare(), told["kid"], at_s, told["signature"]), self._policy.witnesses)
        self._opened().cosigned(own[0], told["kid"], at_s, told["signature"])

    def _ours(self, epoch: int, size: int, count: int) -> list[Checkpoint]:
        """Our own; that they cannot be read breaks no connection."""
        try:
            return self._checkpoints.after(epoch, size, count)
        except DeviceError as error:
            raise LogError(str(error)) from error

    def _accused(self, told: Any) -> None:
        """Somebody shows two heads of one log, perhaps ours; the signatures decide."""
        one, other = (parse(bytes(part)) for part in told)
        point = self._policy.logs.get(one.head.origin)
        if point is None or other.head.origin != one.head.origin:
            raise LogError("evidence about an unknown log")
        one.verify(point)
        other.verify(point)
        fork = fork_of(one, other) or fork_of(other, one)
        if fork is None:
            raise LogError("no contradiction")
        self._opened().keep_fork(fork)
        self._note_forks()

    def _found(self, connection: Connection, fork: Fork) -> None:
        """Rule 4."""
        self._opened().keep_fork(fork)
        self._note_forks()
        self._publish(connection, "fork", [_plain(fork.one), _plain(fork.other)], retain=True)

    def _note_forks(self) -> None:
        told = tuple(sorted({f"{fork.one.head.origin} ({fork.why})" for fork in self._opened().forks()}))
        for fork in set(told) - set(self.forks):
            _log.error("forked log: %s", fork)
        self.forks = told

    def _may(self, kind: str, whom: str, about: str) -> bool:
        """Rule 5; something else may be said at once."""
        now_s = time.monotonic()
        before = self._paused.get((kind, whom))
        if before is not None and before[1] == about and now_s - before[0] < _PAUSE_S:
            return False
        self._paused[kind, whom] = (now_s, about)
        return True

    def _publish(self, connection: Connection, kind: str, told: object, *, retain: bool = False) -> None:
        connection.publish(Message(self._address.topic(kind), deterministic(told), retain=retain))


def _count(number: Any) -> int:
    """A number that a neighbour says, as databases keep it."""
    if type(number) is not int or not 0 <= number < COUNT:
        raise LogError("a number out of range")
    return number


def _plain(checkpoint: Checkpoint) -> bytes:
    """As the gate made it, without what others added."""
    return replace(checkpoint, extras=()).encode()


def _encoded(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _point(pem: Path) -> bytes:
    key = load_pem_public_key(pem.read_bytes())
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TypeError(f"{pem.name} is not a P-256 public key")
    return _encoded(key)
