"""What the operator's desk does when a hub says that something changed at an issuer.

Rules:

1. A notice is a reason to look, and no more is believed of it. The live key is the only one at hand, so nothing that is
   done here can make a gate trust anybody new.
2. ``look``: the issuer's status lists are fetched and passed on, by its own signature. New keys are said, and wait for
   a person (``edge trust fetch --take``).
3. ``offer``: certificates that a notice points to are kept in ``offered/`` for a person to look at; none is trusted.
4. ``withdraw``: the card that a notice names is withdrawn, and stands in the book as a hash.
5. Everything is looked at once at the start, and once an hour: what was missed is made up for.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from edge.errors import DeviceError
from edge.sync.book import Entry, OfficeError
from edge.sync.fetching import KEYS_BYTES, Address
from edge.sync.office import Office
from edge.sync.sources import Fetch, look_for_keys, look_for_status, take
from edge.trust.keys import MALFORMED

DOES: Final = ("look", "offer", "withdraw")
_OFFERED: Final = 64
_CHAIN_URL: Final = "certChainDatashareUrl"
_log = logging.getLogger("edge.websub")


@dataclass(frozen=True)
class Topic:
    """What a topic means here.

    Attributes:
        issuer: about whom it speaks.
        does: ``look``, ``offer`` or ``withdraw``.
        member: of the event's data that names the card, with ``withdraw``.
    """

    issuer: str
    does: str
    member: str = "id"


class Notices:
    """The desk, as a hub sees it."""

    def __init__(
        self,
        office: Callable[[], Office],
        topics: Mapping[str, Topic],
        fetch: Fetch,
        out: Callable[[Office, dict[str, bytes]], None],
        offers_from: tuple[str, ...] = (),
    ) -> None:
        """Set up.

        Args:
            office: opens the desk; others may work at it between two notices.
            topics: what they mean.
            fetch: the way out.
            out: puts what is published onto the broker.
            offers_from: hosts that certificates may be fetched from.
        """
        self._open, self._topics, self._fetch, self._out = office, topics, fetch, out
        self._offers_from = offers_from
        self._due: set[str] = {topic.issuer for topic in topics.values()}
        self._stirred = asyncio.Event()
        self._stirred.set()
        self._alone = asyncio.Lock()
        self._told: dict[str, str] = {}

    async def heard(self, topic: str, content: Mapping[str, Any]) -> None:
        """A message of a topic arrived.

        Raises:
            DeviceError: it could not be acted upon; the hub may bring it again.
        """
        meant = self._topics[topic]
        event = content.get("event")
        data = event.get("data") if isinstance(event, dict) else None
        data = data if isinstance(data, dict) else {}
        async with self._alone:
            if meant.does == "withdraw":
                await asyncio.to_thread(self._withdraw, meant, data)
            elif meant.does == "offer":
                await asyncio.to_thread(self._offer, meant, data)
        self._due.add(meant.issuer)
        self._stirred.set()

    async def run(self, gather_s: float = 1.0, again_s: float = 3600.0) -> None:
        """Look whenever something was heard, and now and then, until cancelled.

        Args:
            gather_s: what comes within so many seconds is one look.
            again_s: after so many seconds without a notice everything is looked at.
        """
        while True:
            try:
                async with asyncio.timeout(again_s):
                    await self._stirred.wait()
            except TimeoutError:
                self._due |= {topic.issuer for topic in self._topics.values()}
            await asyncio.sleep(gather_s)
            self._stirred.clear()
            due, self._due = sorted(self._due), set()
            async with self._alone:
                await asyncio.to_thread(self._look, due)

    def _look(self, issuers: list[str]) -> None:
        """Fetch what these issuers publish, pass status lists on, and publish."""
        office = self._open()
        for iss in issuers:
            source: Entry = office.book.sources.get(iss, {"keys": "", "status": []})
            self._try(f"{iss} keys", partial(self._keys, office, iss, source["keys"]))
            for url in source["status"]:
                self._try(url, partial(self._status, office, iss, url))
        office.book.save()
        self._try("publish", lambda: self._out(office, office.publish()))

    def _try(self, what: str, do: Callable[[], str | None]) -> None:
        """Say what went wrong, or is new, once."""
        try:
            told = do() or ""
        except (DeviceError, OfficeError, ValueError, OSError) as error:
            told = str(error)
        if told and self._told.get(what) != told:
            _log.warning("%s: %s", what, told)
        self._told[what] = told

    def _keys(self, office: Office, iss: str, named: str) -> str:
        if not named:
            return ""
        found = look_for_keys(office.book, iss, named, self._fetch)
        new = ", ".join(key for word, key in found.said if word == "new")
        return f"new keys wait for a person (edge trust fetch --take): {new}" if new else ""

    def _status(self, office: Office, iss: str, url: str) -> str:
        found = look_for_status(office.lists, iss, url, self._fetch)
        if take(office.lists, iss, None, [found]):
            return f"passed on: issued {found.issued_at.isoformat()}, {found.withdrawn} of {found.cards} withdrawn"
        return ""

    def _withdraw(self, meant: Topic, data: Mapping[str, Any]) -> None:
        name = data.get(meant.member)
        if not isinstance(name, str) or not 0 < len(name) <= 256:
            _log.warning("%s: a notice to withdraw a card names none", meant.issuer)
            return
        office = self._open()
        office.book.withdraw(meant.issuer, [name])
        office.book.save()

    def _offer(self, meant: Topic, data: Mapping[str, Any]) -> None:
        """Keep certificates that somebody offers."""
        url = data.get(_CHAIN_URL)
        if not isinstance(url, str) or Address.of(url).host not in self._offers_from:
            _log.warning("%s: certificates are offered from a host that is not in offers_from", meant.issuer)
            return
        body = self._fetch(url, KEYS_BYTES, "*/*").body
        try:
            chain = (
                pkcs7.load_pem_pkcs7_certificates(body)
                if b"BEGIN PKCS7" in body
                else x509.load_pem_x509_certificates(body)
            )
        except MALFORMED as error:
            raise DeviceError("issuer", f"{url[:200]} holds no certificates") from error
        folder = self._open().folder / "offered"
        folder.mkdir(exist_ok=True)
        name = f"{hashlib.sha256(body).hexdigest()[:16]}.pem"
        if len(list(folder.iterdir())) >= _OFFERED and not (folder / name).exists():
            raise DeviceError("issuer", f"{folder} is full: look at what is in it, and remove it")
        (folder / name).write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
        _log.warning("%s: certificates are offered, and wait for a person in offered/%s", meant.issuer, name)
