"""One connection to the broker: MQTT 5 over TLS 1.3 with a client certificate, owned by one thread.

Rules:

1. A connection is used once. What was in it when it broke is gone; whoever sends keeps what must arrive.
2. Nothing is stored at the broker for us (session expiry 0), and no queue here grows: at most 16 messages wait to be
   sent, 8 are on their way (more at a collector), and ``INBOX`` received ones wait to be taken. They are acknowledged
   when they are taken, so the broker (Receive Maximum) keeps the others back; from one that sends more all the same
   nothing is read until then.
3. Nothing is bound and nothing listens: the sandbox of this process forbids it, and this side only ever calls.
4. A packet of more than 256 KiB ends the connection before a byte of it is kept.
5. Whatever the library or the network raises leaves as ``DeviceError("broker", ...)`` with a sentence.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.errors import DeviceError
from edge.sync.batch import PACKET

INBOX = 64
_NO_SUBSCRIBER = 0x10
# Retained messages keep their mark also when they are new, so that whoever must not act on them can tell.
_OPTIONS = SubscribeOptions(qos=1, retainAsPublished=True)


@dataclass(frozen=True)
class Link:
    """Where the broker is and who we are to it: PEM files."""

    host: str
    port: int
    ca: Path
    certificate: Path
    key: Path
    keepalive_s: int = 60
    patience_s: float = 10.0


@dataclass(frozen=True)
class Message:
    """Something to publish, or something received."""

    topic: str
    payload: bytes = field(repr=False)
    retain: bool = False
    kind: str = ""
    correlation: bytes = b""
    facts: tuple[tuple[str, str], ...] = ()
    response_topic: str = ""
    expiry_s: int = 0


class Connection:
    """From CONNECT to loss.

    Attributes:
        unheard: nobody subscribes to what was last asked (published with a correlation).
        refused: why the broker did not take the last message; empty when it did.
    """

    def __init__(self, link: Link, name: str, will: Message | None = None, *, queue: int = 16) -> None:
        self._link = link
        self._inbox: deque[tuple[int, int, Message]] = deque(maxlen=4 * INBOX)
        self._answered: ReasonCode | None = None
        self._subscribed: list[ReasonCode] = []
        self._ended = ""
        self._in_flight = 0
        self._asking: set[int] = set()
        self.unheard = False
        self.refused = ""
        self._client = _Unbound(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5, manual_ack=True)
        self._client.max_queued_messages_set(queue)
        self._client.max_inflight_messages_set(queue // 2)
        self._client.connect_timeout = link.patience_s
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        if will is not None:
            self._client.will_set(will.topic, will.payload, qos=1, retain=will.retain, properties=_will(will))

    def open(self) -> None:
        """Connect and wait for the broker's answer.

        Raises:
            DeviceError: not reached, not trusted, or not let in.
        """
        wanted = _empty(PacketTypes.CONNECT)
        wanted.SessionExpiryInterval = 0
        wanted.ReceiveMaximum = INBOX
        wanted.MaximumPacketSize = PACKET
        where = f"{self._link.host}:{self._link.port}"
        try:
            self._client.tls_set_context(_secured(self._link))
            self._client.connect(
                self._link.host,
                self._link.port,
                keepalive=self._link.keepalive_s,
                clean_start=True,
                properties=wanted,
            )
        except ssl.SSLCertVerificationError as error:
            raise DeviceError(
                "broker", f"{where} shows a certificate that is not valid: {error.verify_message}"
            ) from error
        except (OSError, ValueError) as error:
            raise DeviceError("broker", f"{where} cannot be reached: {error}") from error
        deadline = time.monotonic() + self._link.patience_s
        while self._answered is None:
            if time.monotonic() > deadline:
                raise DeviceError("broker", f"{where} does not answer")
            self.turn(0.2)
        if self._answered.is_failure:
            raise DeviceError("broker", f"{where} refuses this gate: {self._answered}")

    def subscribe(self, *topics: str) -> None:
        """Ask for messages and wait until they are promised.

        Raises:
            DeviceError: refused, or no answer.
        """
        self._subscribed = []
        self._client.subscribe([(topic, _OPTIONS) for topic in topics])
        deadline = time.monotonic() + self._link.patience_s
        while not self._subscribed:
            if time.monotonic() > deadline:
                raise DeviceError("broker", "does not answer a subscription")
            self.turn(0.2)
        if any(code.is_failure for code in self._subscribed):
            raise DeviceError("broker", "refuses a subscription; its access rules do not know this name")

    def unsubscribe(self, topic: str) -> None:
        """Ask for no more of it; what is under way may still come."""
        self._client.unsubscribe(topic)

    def publish(self, message: Message) -> None:
        """Hand one message over, QoS 1. That it was handed over says nothing about where it arrives.

        Raises:
            DeviceError: the connection is gone or does not move.
        """
        sent = self._client.publish(
            message.topic,
            message.payload,
            qos=1,
            retain=message.retain,
            properties=_properties(message, PacketTypes.PUBLISH),
        )
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise DeviceError("broker", f"takes no message: {mqtt.error_string(sent.rc)}")
        self._in_flight += 1
        if message.correlation:
            self._asking.add(sent.mid)

    def turn(self, timeout_s: float) -> None:
        """Let the network move for up to ``timeout_s`` seconds, less when something happens.

        Raises:
            DeviceError: the connection is gone.
        """
        try:
            code = self._moved(timeout_s)
        except Exception as error:  # a hostile packet may fail in any way inside the library
            raise DeviceError("broker", f"connection lost: {type(error).__name__}: {error}") from error
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise DeviceError("broker", f"connection lost: {self._ended or mqtt.error_string(code)}")

    @property
    def in_flight(self) -> int:
        """Messages handed over that the broker has not answered."""
        return self._in_flight

    @property
    def socket(self) -> ssl.SSLSocket | None:
        """For whoever waits for many connections at once; None before and after."""
        opened: Any = self._client.socket()
        return opened if isinstance(opened, ssl.SSLSocket) else None

    @property
    def heard_at(self) -> float:
        """When the last bytes came, on the monotonic clock; the beginning of time before any did."""
        connected: Any = self._client.socket()
        return float(getattr(connected, "heard_at", float("-inf")))

    def take(self) -> list[Message]:
        """What was received since the last time, oldest first; the broker may send so many more then."""
        taken = list(self._inbox)
        self._inbox.clear()
        for mid, qos, _ in taken:
            if qos:
                self._client.ack(mid, qos)
        return [message for _, _, message in taken]

    def _moved(self, timeout_s: float) -> MQTTErrorCode:
        """Wait for the network, read, write, and keep alive.

        The library's own loop opens a listening socket to wake itself up, which our sandbox forbids, and waits with
        ``select``, which knows 1024 files. One thread needs neither.
        """
        connected: Any = self._client.socket()
        if connected is None:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        room = len(self._inbox) < INBOX  # the library reads several packets at once: the deque has some more
        waiting = select.poll()
        wanted = (select.POLLIN if room else 0) | (select.POLLOUT if self._client.want_write() else 0)
        waiting.register(connected, wanted)
        events = waiting.poll(0 if room and connected.pending() else 1000 * timeout_s)
        happened = events[0][1] if events else 0
        code = MQTTErrorCode.MQTT_ERR_SUCCESS
        if room and (connected.pending() or happened & ~select.POLLOUT):
            code = self._client.loop_read()
        if code == MQTTErrorCode.MQTT_ERR_SUCCESS and happened & select.POLLOUT:
            code = self._client.loop_write()
        return code or self._client.loop_misc()

    def gather(self, timeout_s: float) -> None:
        """Let the network move until something was received and nothing more waits, or the inbox is full.

        Raises:
            DeviceError: the connection is gone.
        """
        self.turn(timeout_s)
        before = 0
        while before < len(self._inbox) < INBOX:
            before = len(self._inbox)
            self.turn(0)

    def close(self, *, gracefully: bool = True) -> None:
        """End the connection; not gracefully means that the broker speaks our will."""
        if gracefully:
            with contextlib.suppress(DeviceError):  # it may be gone already, which is what was wanted
                self._client.disconnect()
                self.turn(0.1)
        self._client.on_disconnect = None
        opened: Any = self._client.socket()
        if opened is not None:
            opened.close()

    def _on_connect(self, _client: object, _user: object, _flags: object, code: ReasonCode, _with: object) -> None:
        self._answered = code

    def _on_subscribe(self, _client: object, _user: object, _mid: int, codes: list[ReasonCode], _with: object) -> None:
        self._subscribed = codes

    def _on_disconnect(self, _client: object, _user: object, _flags: object, code: ReasonCode, _with: object) -> None:
        self._ended = str(code)

    def _on_publish(self, _client: object, _user: object, mid: int, code: ReasonCode, _with: object) -> None:
        self._in_flight -= 1
        if mid in self._asking:  # whether anybody reads the gate's state is nobody's trouble
            self._asking.discard(mid)
            self.unheard = code.value == _NO_SUBSCRIBER
        self.refused = str(code) if code.is_failure else ""

    def _on_message(self, _client: object, _user: object, received: mqtt.MQTTMessage) -> None:
        with_it = received.properties
        message = Message(
            topic=received.topic,
            payload=bytes(received.payload),
            retain=received.retain,
            correlation=bytes(getattr(with_it, "CorrelationData", b"")),
            response_topic=str(getattr(with_it, "ResponseTopic", "")),
        )
        self._inbox.append((received.mid, received.qos, message))


class _Unbound(mqtt.Client):
    """The library binds its socket to any address before it connects; our sandbox forbids every bind."""

    def _create_socket_connection(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=self.connect_timeout)


class _Bounded(ssl.SSLSocket):
    """The library asks for as many bytes as the packet says it has: a packet beyond the limit is not read at all.

    It also leaves a socket open whose handshake failed; this one does not.

    Attributes:
        heard_at: when bytes last came, so that a slow message is told from a missing one.
    """

    heard_at = float("-inf")

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands, or close. Small packets do not wait for company: that costs 40 ms for each answer."""
        try:
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            super().do_handshake(block)
        except OSError:
            self.close()
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive, unless somebody means to fill our memory."""
        if buflen > PACKET:
            raise ConnectionAbortedError(f"packet of {buflen} bytes")
        came = super().recv(buflen, flags)
        if came:
            self.heard_at = time.monotonic()
        return came


def _secured(link: Link) -> ssl.SSLContext:
    """TLS 1.3 only, this authority only, with our certificate.

    Raises:
        DeviceError: a file is missing or is no such thing.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.sslsocket_class = _Bounded
    for what, path in (("authority", link.ca), ("certificate", link.certificate), ("key", link.key)):
        if not path.is_file():
            raise DeviceError("broker", f"the {what} {path} is missing")
    try:
        context.load_verify_locations(link.ca)
        context.load_cert_chain(link.certificate, link.key)
    except (ssl.SSLError, OSError) as error:
        raise DeviceError("broker", f"certificate or key cannot be used: {error}") from error
    return context


def _properties(message: Message, kind: int) -> Properties:
    properties = _empty(kind)
    if message.kind:
        properties.ContentType = message.kind
    if message.correlation:
        properties.CorrelationData = message.correlation
    if message.response_topic:
        properties.ResponseTopic = message.response_topic
    if message.expiry_s:
        properties.MessageExpiryInterval = message.expiry_s
    if message.facts:
        properties.UserProperty = list(message.facts)
    return properties


def _empty(kind: int) -> Properties:
    return Properties(kind)  # type: ignore[no-untyped-call]


def _will(will: Message) -> Properties:
    return _properties(will, PacketTypes.WILLMESSAGE)
