"""Follows the log and sends it to the collector, until the collector has signed for it.

Rules:

1. One thread owns connection, position and reading. The gate knows nothing of it: no broker, a slow one or a hostile
   one changes nothing at the entrance.
2. The position moves only by a signed acknowledgement that agrees with our own tree (``window``). The broker's PUBACK
   moves nothing: a broker that acknowledges and forgets loses nothing of ours. A log that is not the one that was
   acknowledged, or that cannot be read, is not sent, and that is said; trust, commands and neighbours are served all
   the same.
3. What comes in and is no such acknowledgement is ignored, counted, said once and shown for a minute. Troubles are said
   once when they begin, and once when they are over: when a connection has brought something, or has stood for half a
   minute. So a broker that takes us and drops us again and again fills no log.
4. The first attempt, and each one after a loss, comes within a random part of a pause (``pauses``), so that a thousand
   gates do not come back at once.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from edge.errors import DeviceError, Refusal
from edge.sync.batch import pack, verify
from edge.sync.commands import Desk, Handler
from edge.sync.connection import Connection, Link, Message
from edge.sync.outbox import Outbox, Position
from edge.sync.outgoing import READ, Entries, Sealed, following, strange
from edge.sync.pauses import Pauses
from edge.sync.telling import Company
from edge.sync.topics import Address
from edge.sync.updates import Updates
from edge.sync.window import Window

_log = logging.getLogger("edge.sync")
_TURN_S = 0.1
_SHOWN_S = 60.0
_STOOD_S = 30.0
_EVENTS = "application/vnd.edge-gate.entries+zlib"


@dataclass(frozen=True)
class Pace:
    """How often things are tried, in seconds: doubled from the first to the second of each pair.

    Attributes:
        first_s: within which the first connection comes, and the next one after a connection that stood.
    """

    connect_s: float = 2.0
    connect_most_s: float = 900.0
    retry_s: float = 5.0
    retry_most_s: float = 60.0
    state_s: float = 30.0
    first_s: float = 0.0


class Sender:
    """The way out of one gate's log."""

    def __init__(
        self,
        address: Address,
        link: Link,
        collector: ec.EllipticCurvePublicKey,
        log: Entries,
        checkpoints: Sealed,
        outbox: Path,
        *,
        pace: Pace | None = None,
        facts: Callable[[], Mapping[str, str | int | bool]] = dict,
        commands: Handler | None = None,
        updates: Updates | None = None,
        witness: Callable[[bytes], None] = lambda _signed: None,
        neighbours: Company | None = None,
    ) -> None:
        """Set up; nothing happens before ``start``.

        Args:
            address: of this gate; names its log, topics and client id.
            link: to the broker.
            collector: the pinned key that signs acknowledgements.
            log: what is sent.
            checkpoints: sent along as soon as the entries under them are out.
            outbox: file for the position.
            pace: of attempts.
            facts: called on the sender's thread, for the gate's state message: software, clock, ...; nothing personal.
            commands: told each signed command that comes in (``commands``); without it none is listened to.
            updates: brings trust in over the same connection; without it none is listened to.
            witness: told each good acknowledgement that says when it was signed, on the sender's thread.
            neighbours: what the gates of the site say to each other over the same connection.
        """
        self._address, self._link, self._collector = address, link, collector
        self._entries, self._checkpoints, self._facts = log, checkpoints, facts
        self._desk = Desk(address, commands) if commands is not None else None
        self._updates, self._witness, self._neighbours = updates, witness, neighbours
        self._outbox, self._pace = outbox, pace or Pace()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)
        self._trouble = "not started"
        self._complained = False
        self._before, self._since = Position(), 0.0
        self._fault: Exception | None = None
        self._ignored = ""
        self._ignored_at = 0.0
        self._said: set[str] = set()
        self._position = Position()
        self._stated: tuple[bytes, float] = (b"", 0.0)
        self.ignored = 0

    def start(self) -> None:
        """Begin."""
        self._trouble = "connecting"
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Say goodbye to the broker and end; a thread stuck in the network is left behind."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def condition(self) -> str:
        """What is wrong between us and the collector, for the technician; empty when all is well.

        Raises:
            Exception: what ended the thread, if it was not the network: an error of ours.
        """
        if self._fault is not None:
            raise self._fault
        if self._trouble:
            return self._trouble
        if self._ignored and time.monotonic() - self._ignored_at < _SHOWN_S:
            return f"ignored: {self._ignored}"
        return ""

    @property
    def position(self) -> Position:
        """What the collector has acknowledged, as far as this run knows."""
        return self._position

    def _run(self) -> None:
        pauses = Pauses(self._pace.first_s, self._pace.connect_s, self._pace.connect_most_s)
        try:
            self._stopping.wait(pauses.first())
            while not self._stopping.is_set():
                self._before, self._since = self._position, time.monotonic()
                try:
                    self._connected()
                except DeviceError as error:
                    self._say(error.message if error.device == "broker" else str(error))
                self._stopping.wait(pauses.after(stood=self._stood()))
        except Exception as fault:  # noqa: BLE001 -- ours to mend: raised by condition(), where it ends the process
            self._fault = fault
        finally:
            if self._updates is not None:
                self._updates.close()
            if self._neighbours is not None:
                self._neighbours.close()

    def _connected(self) -> None:
        """One connection, until it breaks or we stop.

        Raises:
            DeviceError: it broke.
        """
        outbox = Outbox(self._outbox)
        connection = Connection(self._link, self._address.name, self._state_message({"online": False}))
        heard = False
        try:
            connection.open()
            connection.subscribe(self._address.topic("ack"), *([self._desk.topic] if self._desk else []))
            if self._updates is not None:
                self._updates.connected()
                connection.subscribe(self._updates.topic)
            if self._neighbours is not None:
                self._neighbours.connected(connection)
            self._stated = (b"", 0.0)
            while not self._stopping.is_set():
                try:
                    self._serve(connection, outbox)
                except DeviceError as error:
                    if error.device not in READ:
                        raise
                    self._without_log(connection, str(error))
            heard = True
            connection.publish(self._state_message({"online": False}))
        finally:
            connection.close(gracefully=heard)
            outbox.close()

    def _serve(self, connection: Connection, outbox: Outbox) -> None:
        """Send one epoch of the log; returns when another one begins, or at the end.

        A log that is not the one that was acknowledged is not sent; everything else goes on.

        Raises:
            DeviceError: the connection broke, or the log cannot be read.
        """
        epoch = self._entries.epoch()
        self._position = outbox.position(self._address.origin, epoch)
        wrong = strange(self._entries, self._position)
        window = Window(
            self._address.origin,
            epoch,
            self._position.acked,
            self._position.sealed,
            retry_s=self._pace.retry_s,
            retry_most_s=self._pace.retry_most_s,
        )
        while not self._stopping.is_set() and self._entries.epoch() == epoch:
            wrong = wrong and strange(self._entries, self._position)
            sent = not wrong and self._send(connection, window, epoch)
            for ack in self._others(connection, 0 if sent else _TURN_S):
                self._acknowledged(ack, window)
            self._keep(outbox, epoch, window)
            if window.overdue(time.monotonic()) and connection.refused:
                raise DeviceError("broker", f"does not take our messages: {connection.refused}")
            self._say(wrong or _waiting(connection, window))
            self._state(connection, epoch)

    def _without_log(self, connection: Connection, why: str) -> None:
        """Serve everything but the log, which cannot be read, until it is time to look again."""
        again = time.monotonic() + self._pace.retry_s
        while not self._stopping.is_set() and time.monotonic() < again:
            self._others(connection, _TURN_S)
            self._say(why)
            self._state(connection)

    def _others(self, connection: Connection, wait_s: float) -> list[Message]:
        """Serve trust, commands and neighbours; the acknowledgements that came meanwhile."""
        connection.turn(wait_s)
        acks = []
        for message in (*connection.take(), *(self._updates.serve(connection) if self._updates else ())):
            if self._neighbours is not None and self._neighbours.hear(connection, message):
                continue
            if message.topic == self._address.topic("ack"):
                acks.append(message)
            else:
                self._hear(message)
        if self._neighbours is not None:
            self._neighbours.serve(connection)
        for answer in self._desk.answers() if self._desk else ():
            connection.publish(answer)
        return acks

    def _send(self, connection: Connection, window: Window, epoch: int) -> bool:
        """Send the next batch if there is one and the window is open."""
        if not window.open(time.monotonic()):
            return False
        batch, sealed = following(self._entries, self._checkpoints, self._address.origin, epoch, window)
        if not batch.entries and not batch.checkpoints:
            return False
        correlation = secrets.token_bytes(8)
        facts = (
            ("specversion", "1.0"),
            ("id", f"{epoch}/{batch.first}-{batch.end}/{sealed}"),
            ("source", batch.origin),
            ("type", "gate.entries"),
            ("time", datetime.now(UTC).isoformat(timespec="milliseconds")),
        )
        topic = self._address.topic("evt")
        connection.publish(Message(topic, pack(batch), kind=_EVENTS, correlation=correlation, facts=facts))
        window.sent(correlation, batch.end, sealed, time.monotonic())
        return True

    def _hear(self, message: Message) -> None:
        """Take in one command or word of new trust, or ignore it and say so."""
        if self._desk is not None and message.topic == self._desk.topic:
            refused = self._desk.hear(message)
            return self._ignore(refused) if refused else None
        if self._updates is not None and message.topic == self._updates.topic:
            return self._updates.hear()
        return self._ignore("a message on a topic that is not ours")

    def _acknowledged(self, message: Message, window: Window) -> None:
        """Take in one acknowledgement, or ignore it and say so."""
        if message.retain:
            return self._ignore("a retained acknowledgement")
        try:
            ack = verify(message.payload, self._collector)
            window.hear(ack, self._entries.size(), self._entries.root, time.monotonic())
            if ack.at_s:
                self._witness(message.payload)
        except Refusal as refusal:
            return self._ignore(str(refusal))
        return None

    def _ignore(self, what: str) -> None:
        self.ignored += 1
        self._ignored, self._ignored_at = what, time.monotonic()
        kind = what.partition(":")[0]
        if kind not in self._said:
            self._said.add(kind)
            _log.warning("ignored: %s", what)

    def _keep(self, outbox: Outbox, epoch: int, window: Window) -> None:
        """Write the position down if it moved."""
        if (window.acked, window.sealed) == (self._position.acked, self._position.sealed):
            return
        moved = Position(window.acked, self._entries.root(window.acked), window.sealed)
        outbox.move(self._address.origin, epoch, moved)
        self._position = moved

    def _stood(self) -> bool:
        """Whether this connection has brought something, or was there for long enough to count as good."""
        return self._position != self._before or time.monotonic() - self._since > _STOOD_S

    def _say(self, trouble: str) -> None:
        """Change the condition; one line when trouble begins and one when it is over."""
        if trouble and not self._complained:
            _log.warning("broker: %s", trouble)
            self._complained = True
        elif not trouble and self._trouble == "connecting":
            _log.info("broker: connected")
        elif not trouble and self._complained and self._stood():
            _log.info("broker: connected")
            self._complained = False
            self._said.clear()
        self._trouble = trouble

    def _state(self, connection: Connection, epoch: int | None = None) -> None:
        """Tell the gate's state, retained, when it changed and not too often; no epoch: the log cannot be read."""
        told, at = self._stated
        now = time.monotonic()
        if told and now - at < self._pace.state_s:
            return
        known, position = self._position, dict[str, int]()
        if epoch is not None:
            size = self._entries.size()
            position = {"epoch": epoch, "size": size, "acknowledged": known.acked, "sealed": known.sealed}
        message = self._state_message({"online": True, **position, **self._facts()})
        if message.payload != told:
            connection.publish(message)
        self._stated = (message.payload, now)

    def _state_message(self, facts: Mapping[str, str | int | bool]) -> Message:
        payload = json.dumps({"origin": self._address.origin, **facts}).encode()
        return Message(self._address.topic("state"), payload, retain=True, kind="application/json")


def pinned(path: Path) -> ec.EllipticCurvePublicKey:
    """The collector's public key in a PEM file.

    Raises:
        DeviceError: there is none, or it is not P-256.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DeviceError("broker", f"the collector's key {path} cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DeviceError("broker", f"the collector's key {path} is not on P-256")
    return key


def _waiting(connection: Connection, window: Window) -> str:
    """What keeps entries from being acknowledged on a connection that stands."""
    if window.lost:
        return f"the collector lost entries: it has {window.next} of {window.acked} that it acknowledged"
    if connection.unheard:
        return "no collector listens"
    if window.failures > 1:
        return f"the collector acknowledges nothing beyond {window.acked} entries"
    return ""
