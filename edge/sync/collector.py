"""The other side: receives the entries of any number of gates, checks them, keeps them, and signs for them.

Rules:

1. Messages are taken as they come, up to ``INBOX`` of them; then one commit; then one acknowledgement per log. What is
   not committed is not acknowledged, so a collector may be killed at any moment.
2. The gate in the topic, in the batch and of the key are one and the same, or the message is refused.
3. What is refused raises an alarm in the store and changes nothing else; the gate gets the acknowledgement of what we
   have, and sees that we stand still.
4. Retained messages are not events: they are passed over.
5. Several collectors may share the subscription and the store. The broker deals the messages out, so the one before may
   be with another collector: what comes before its time is kept for a moment before it is called a gap.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from edge.errors import DeviceError, Refusal
from edge.sync.batch import Ack, Batch, sign, unpack
from edge.sync.checked import Tampered
from edge.sync.connection import INBOX, Connection, Link, Message
from edge.sync.epochs import broken
from edge.sync.pauses import Pauses
from edge.sync.received import Received, Taken
from edge.sync.sender import Pace, pinned
from edge.sync.silence import Silence
from edge.sync.topics import SHARED, STATES, Address, addressed

_log = logging.getLogger("edge.sync")
_TURN_S = 0.2
_ACKNOWLEDGEMENT = "application/gate-ack+cose"
_QUEUE = 2 * INBOX
_EARLY_S = 0.5
_SOON_S = 0.01


@dataclass(frozen=True)
class Figures:
    """What this run has done so far.

    Attributes:
        entries: new ones, on disk.
        again: entries that came another time.
        batches: messages that were taken.
        gaps: messages that came before their time.
        refused: messages that were not what they should be.
        sizes: entries now here of each log heard in this run, by origin and epoch.
    """

    entries: int = 0
    again: int = 0
    batches: int = 0
    gaps: int = 0
    refused: int = 0
    sizes: Mapping[tuple[str, int], int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Asked:
    """A batch that wants an answer, and until when it may wait for the one before it."""

    batch: Batch
    address: Address
    correlation: bytes
    until: float


class Collector:
    """One collector; others may be at work beside it, under names of their own."""

    def __init__(
        self,
        link: Link,
        signing: ec.EllipticCurvePrivateKey,
        gates: Mapping[str, bytes],
        store: Path | str,
        *,
        name: str = "collector",
        pace: Pace | None = None,
        silent_s: float = 3600.0,
    ) -> None:
        """Set up; nothing happens before ``start``.

        Args:
            link: to the broker.
            signing: signs acknowledgements; the gates have its public half.
            gates: enrolled key of each gate, an uncompressed P-256 point, by ``<tenant>/<site>/<gate>``.
            store: file for what is received, or the address of a PostgreSQL database.
            name: client id, which is the name in the certificate.
            pace: of attempts to connect.
            silent_s: how long an enrolled gate may be away before that is an alarm.
        """
        self._link, self._signing, self._gates = link, signing, dict(gates)
        self._store, self._name, self._pace = store, name, pace or Pace(connect_most_s=30)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)
        self._trouble = "not started"
        self._fault: Exception | None = None
        self._early: list[_Asked] = []
        self._later: list[Message] = []
        self._silence = Silence(self._gates, silent_s)
        self.figures = Figures()

    def start(self) -> None:
        """Begin."""
        self._trouble = "connecting"
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End after the present commit."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def condition(self) -> str:
        """What is wrong, for the technician; empty when connected.

        Raises:
            Exception: what ended the thread, if it was an error of ours.
        """
        if self._fault is not None:
            raise self._fault
        return self._trouble

    def _run(self) -> None:
        pauses = Pauses(self._pace.first_s, self._pace.connect_s, self._pace.connect_most_s)
        try:
            while not self._stopping.is_set():
                since = time.monotonic()
                try:
                    self._connected()
                except DeviceError as error:
                    self._say(str(error))
                stood = time.monotonic() - since > self._pace.connect_most_s
                self._stopping.wait(pauses.after(stood=stood))
        except Exception as fault:  # noqa: BLE001 -- ours to mend: raised by condition(), where it ends the process
            self._fault = fault

    def _connected(self) -> None:
        """One connection, until it breaks or we stop.

        Raises:
            DeviceError: it broke, or the store did.
        """
        received = Received(self._store)
        connection = Connection(self._link, self._name, queue=_QUEUE)
        well = False
        try:
            connection.open()
            connection.subscribe(SHARED, STATES)
            self._say("")
            self._silence.begin(time.monotonic())
            while not self._stopping.is_set():
                connection.gather(_SOON_S if self._early else _TURN_S)
                self._handle(connection, received)
                self._notice_silence(received)
            well = True
        finally:
            self._early.clear()
            self._later.clear()
            connection.close(gracefully=well)
            received.close()

    def _notice_silence(self, received: Received) -> None:
        """Raise an alarm for each gate that has been away for too long, once."""
        away = self._silence.away(time.monotonic())
        if not away:
            return
        with received.committed():
            for name in away:
                self._alarm(received, Address(*name.split("/")).origin, "silent: the gate is not connected")

    def _handle(self, connection: Connection, received: Received) -> None:
        """Take what came, commit it, and sign for it."""
        taken, self._later = self._later + connection.take(), []
        messages = [message for message in taken if not self._silence.hear(message, time.monotonic())]
        if not messages and not self._early:
            return
        answers: dict[Address, Message] = {}
        before = self.figures
        try:
            with received.committed():
                every = sorted(self._asked(messages, received), key=_order)
                received.expect((asked.batch.origin, asked.batch.epoch) for asked in every)
                for asked in every:
                    if ack := self._take(asked, received):
                        signed = sign(ack, self._signing)
                        answers[asked.address] = Message(asked.address.topic("ack"), signed, kind=_ACKNOWLEDGEMENT)
        except BaseException:
            self.figures = before
            raise
        for answer in answers.values():
            while connection.in_flight >= _QUEUE:
                connection.turn(_TURN_S)  # a slow broker is waited for, not left
                self._later += connection.take()
            connection.publish(answer)

    def _asked(self, messages: Iterable[Message], received: Received) -> list[_Asked]:
        """What is to be answered: batches that came now, and those that came too early before."""
        asked, self._early = self._early, []
        until = time.monotonic() + _EARLY_S
        for message in messages:
            address = addressed(message.topic, "evt")
            if address is None or message.retain:
                self.figures = replace(self.figures, refused=self.figures.refused + 1)
            elif batch := self._read(message, address, received):
                asked.append(_Asked(batch, address, message.correlation, until))
        return asked

    def _read(self, message: Message, address: Address, received: Received) -> Batch | None:
        """The batch in a message, or None after an alarm."""
        origin, wrong = address.origin, ""
        try:
            batch = unpack(message.payload)
        except Refusal as refusal:
            self._refuse(received, origin, f"a message that is no batch: {refusal}")
            return None
        if batch.origin != origin:
            wrong = "a message in the name of another gate"
        elif address.name not in self._gates:
            origin, wrong = "", "a message of a gate that is not enrolled"
        if wrong:
            self._refuse(received, origin, wrong)
            return None
        return batch

    def _take(self, asked: _Asked, received: Received) -> Ack | None:
        """Keep what is new, and say what we have; None while the batch before it may be on its way to another one."""
        batch = asked.batch
        try:
            taken = received.take(batch, self._gates[asked.address.name])
        except Tampered as tampered:
            self._refuse(received, batch.origin, str(tampered))
            taken = Taken(received.known(batch.origin, batch.epoch), 0, 0)
        else:
            if taken.gap and time.monotonic() < asked.until and len(self._early) < INBOX:
                self._early.append(asked)
                return None
            self._count(batch, taken)
            self._linked(received, batch, taken)
            if taken.bare:
                self._alarm(
                    received, batch.origin, f"epoch {batch.epoch}: the gate had pruned what it sent: hashes came"
                )
        tree = taken.known.tree
        sealed, at_s = taken.known.sealed.size, int(time.time())
        return Ack(batch.origin, batch.epoch, tree.size, tree.root(), sealed, asked.correlation, at_s)

    def _linked(self, received: Received, batch: Batch, taken: Taken) -> None:
        """Look at the first entry of a new epoch; entries are kept whatever it says."""
        if batch.first or not taken.new or taken.again:
            return
        wrong = broken(batch.entries[0], batch.origin, batch.epoch, received)
        if wrong:
            self._alarm(received, batch.origin, wrong)

    def _count(self, batch: Batch, taken: Taken) -> None:
        was = self.figures
        self.figures = Figures(
            entries=was.entries + taken.new,
            again=was.again + taken.again,
            batches=was.batches + (not taken.gap),
            gaps=was.gaps + taken.gap,
            refused=was.refused,
            sizes={**was.sizes, (batch.origin, batch.epoch): taken.known.tree.size},
        )

    def _refuse(self, received: Received, origin: str, what: str) -> None:
        self.figures = replace(self.figures, refused=self.figures.refused + 1)
        self._alarm(received, origin, what)

    def _alarm(self, received: Received, origin: str, what: str) -> None:
        if received.alarm(origin, what, datetime.now(UTC).isoformat(timespec="seconds")):
            _log.error("alarm: %s: %s", origin or "somebody", what)

    def _say(self, trouble: str) -> None:
        if bool(trouble) != bool(self._trouble) or self._trouble == "connecting":
            _log.warning("%s", trouble) if trouble else _log.info("broker: connected")
        self._trouble = trouble


def _order(asked: _Asked) -> tuple[str, int, int]:
    """Logs in the same order everywhere, so that collectors never wait for each other in a circle."""
    return asked.batch.origin, asked.batch.epoch, asked.batch.first


def signing_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The collector's private key in a PEM file.

    Raises:
        DeviceError: there is none, or it is not P-256.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise DeviceError("collector", f"the signing key {path} cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DeviceError("collector", f"the signing key {path} is not on P-256")
    return key


def enrolled(folder: Path) -> dict[str, bytes]:
    """The gates' public keys: ``<folder>/<tenant>/<site>/<gate>.pem``.

    Raises:
        DeviceError: one of them cannot be read.
    """
    found = {}
    for path in sorted(folder.glob("*/*/*.pem")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        found[name] = pinned(path).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return found
