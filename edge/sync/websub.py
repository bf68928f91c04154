"""WebSub (W3C), the subscriber: a hub tells this desk that something changed at an issuer.

Rules:

1. A topic's callback and secret are made of one secret of ours: nobody guesses them, and they are the same after a
   restart. What comes to another path is not there.
2. Only a subscription that we asked for is confirmed, and only for the topic that belongs to the path.
3. A delivery counts with an HMAC under the topic's secret, of SHA-256 or longer. What has none is answered like the
   others, as the standard says, and dropped.
4. A subscription is renewed at half of its lease. A hub that does not answer is asked again, more and more rarely.
5. A body has 256 KiB and ten seconds; the same delivery twice counts once.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from edge.errors import DeviceError

BODY_BYTES: Final = 256 << 10
_BODY_S: Final = 10.0
_REMEMBERED: Final = 1000
_METHODS: Final = ("sha256", "sha384", "sha512")
_log = logging.getLogger("edge.websub")
Post = Callable[[Mapping[str, str]], None]
"""Sends a form to the hub; DeviceError when it is not taken."""
Heard = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""What is done with a message of a topic, before the hub is told that it arrived."""


@dataclass(frozen=True)
class Pace:
    """How soon things are tried, in seconds.

    Attributes:
        lease_s: asked of the hub.
        least_s: between two renewals, whatever the hub says.
        confirm_s: within which the hub must ask back.
        again_s, again_most_s: pause after a failure, doubled from the first to the second.
    """

    lease_s: int = 86_400
    least_s: float = 30.0
    confirm_s: float = 60.0
    again_s: float = 30.0
    again_most_s: float = 3600.0


@dataclass
class _Subscription:
    topic: str
    path: str
    secret: str = field(repr=False)
    asked: bool = False
    lease_s: float = 0.0
    trouble: str = "not asked for yet"
    answered: asyncio.Event = field(default_factory=asyncio.Event)


class Subscriber:
    """An ASGI application, and the subscriptions that it answers for."""

    def __init__(
        self, callback: str, secret: bytes, topics: Sequence[str], post: Post, heard: Heard, pace: Pace | None = None
    ) -> None:
        """Set up.

        Args:
            callback: where the hub finds us: an address that the path of each topic is put behind.
            secret: of this desk, 32 bytes or more.
            topics: wanted.
            post: the way to the hub.
            heard: what is done with a message.
            pace: how soon things are tried.
        """
        self._callback, self._post, self._heard = callback.rstrip("/"), post, heard
        self._pace = pace or Pace()
        made = [
            _Subscription(topic, _mark(secret, "path", topic)[:32], _mark(secret, "key", topic)) for topic in topics
        ]
        self._by_path = {one.path: one for one in made}
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self.taken = 0
        self.dropped = 0

    def condition(self) -> str:
        """What is not as it should be, for the technician; empty when every topic is confirmed."""
        return "; ".join(f"{one.topic}: {one.trouble}" for one in self._by_path.values() if one.trouble)

    async def run(self) -> None:
        """Keep every subscription alive until cancelled."""
        async with asyncio.TaskGroup() as parts:
            for subscription in self._by_path.values():
                parts.create_task(self._keep(subscription))

    async def _keep(self, subscription: _Subscription) -> None:
        failures = 0
        while True:
            if await self._ask(subscription):
                failures = 0
                await asyncio.sleep(max(self._pace.least_s, subscription.lease_s / 2))
            else:
                failures += 1
                pause = min(self._pace.again_most_s, self._pace.again_s * 2 ** min(failures - 1, 20))
                await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 -- spreads load, keeps no secret

    async def _ask(self, subscription: _Subscription) -> bool:
        """Subscribe, and wait until the hub asks back; whether it did."""
        form = {
            "hub.mode": "subscribe",
            "hub.topic": subscription.topic,
            "hub.callback": f"{self._callback}/{subscription.path}",
            "hub.secret": subscription.secret,
            "hub.lease_seconds": str(self._pace.lease_s),
        }
        subscription.answered.clear()
        subscription.asked = True
        before = subscription.trouble
        try:
            await asyncio.to_thread(self._post, form)
            async with asyncio.timeout(self._pace.confirm_s):
                await subscription.answered.wait()
        except DeviceError as error:
            subscription.trouble = error.message
        except TimeoutError:
            subscription.trouble = "the hub does not ask back"
        if subscription.trouble != before:
            _log.warning("%s: %s", subscription.topic, subscription.trouble or "subscribed")
        return subscription.trouble == ""

    # --- what the hub asks and brings ---

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        subscription = self._by_path.get(request.url.path.rpartition("/")[2])
        if subscription is None:
            response: Response = PlainTextResponse("", 404)
        elif request.method == "GET":
            response = self._intent(subscription, request.query_params)
        elif request.method == "POST":
            response = await self._delivery(subscription, request)
        else:
            response = PlainTextResponse("", 405)
        await response(scope, receive, send)

    def _intent(self, subscription: _Subscription, asked: Mapping[str, str]) -> Response:
        """The hub asks whether we meant it, or says that it will not."""
        mode, challenge = asked.get("hub.mode"), asked.get("hub.challenge", "")
        if asked.get("hub.topic") != subscription.topic or not subscription.asked:
            return PlainTextResponse("", 404)
        if mode == "denied":
            subscription.trouble = f"the hub denies it: {asked.get('hub.reason', 'no reason given')[:100]!r}"
            subscription.answered.set()
            return PlainTextResponse("")
        if mode != "subscribe" or not 0 < len(challenge) <= 1024:
            return PlainTextResponse("", 404)
        given = asked.get("hub.lease_seconds", "")
        lease = int(given) if given.isascii() and given.isdigit() and len(given) < 10 else self._pace.lease_s
        subscription.lease_s, subscription.trouble = float(min(lease, self._pace.lease_s)), ""
        subscription.answered.set()
        return PlainTextResponse(challenge)

    async def _delivery(self, subscription: _Subscription, request: Request) -> Response:
        try:
            async with asyncio.timeout(_BODY_S):
                body = await _body(request)
        except (TimeoutError, ClientDisconnect):
            return PlainTextResponse("", 408)
        if body is None:
            return PlainTextResponse("", 413)
        if not _signed(body, request.headers.get("x-hub-signature", ""), subscription.secret):
            return self._drop(subscription, "a delivery without our signature")
        digest = hashlib.sha256(subscription.topic.encode() + b"\0" + body).digest()
        if digest in self._seen:
            return PlainTextResponse("", 202)
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            return self._drop(subscription, "a delivery that is no message")
        try:
            await self._heard(subscription.topic, content)
        except (DeviceError, OSError) as error:
            _log.warning("%s: %s", subscription.topic, error)
            return PlainTextResponse("", 503)  # the hub brings it again
        self._remember(digest)
        return PlainTextResponse("", 202)

    def _remember(self, digest: bytes) -> None:
        self.taken += 1
        self._seen[digest] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def _drop(self, subscription: _Subscription, why: str) -> Response:
        self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:  # the first, second, fourth, ...: a flood writes little
            _log.warning("%s: %s (%d so far)", subscription.topic, why, self.dropped)
        return PlainTextResponse("", 202)


async def _body(request: Request) -> bytes | None:
    """The body, or None when it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            return None
    return bytes(body)


def _signed(body: bytes, header: str, secret: str) -> bool:
    method, _, given = header.partition("=")
    if method.lower() not in _METHODS:
        return False
    expected = hmac.new(secret.encode(), body, method.lower()).hexdigest()
    return hmac.compare_digest(expected.encode(), given.strip().lower().encode("utf-8", "replace"))


def _mark(secret: bytes, purpose: str, topic: str) -> str:
    return hmac.new(secret, f"edge-gate websub {purpose}\0{topic}".encode(), "sha256").hexdigest()
