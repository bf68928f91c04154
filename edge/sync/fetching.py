"""What issuers publish, fetched over HTTPS at the operator's desk. No gate ever does this.

Rules:

1. HTTPS only, TLS 1.2 or newer, the certificate verified for the name. No proxy, no cookie, no password in an address.
2. Public addresses only: all that a name has are looked at, and the connection goes to one that was looked at, so that
   no issuer's name leads into the operator's own network. Own networks are named by the operator.
3. At most three redirects, and only to HTTPS on the same host and port. Another host is said, not followed.
4. Bytes are bounded for each document, and seconds for all of it together.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urljoin, urlsplit

from edge.errors import DeviceError

KEYS_BYTES: Final = 1 << 20
_REDIRECTS: Final = 3
_CHUNK: Final = 1 << 16
_ASCII: Final = re.compile(r"[!-~]+")
_EMBEDDED: Final = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))
"""IPv6 networks that lead to an IPv4 address that is not looked at."""


@dataclass(frozen=True)
class Reach:
    """How far this desk may reach.

    Attributes:
        networks: of our own, where issuers may be as well.
        ca: authorities to believe in place of the system's.
        within_s: for one document with its redirects.
    """

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    ca: Path | None = None
    within_s: float = 15.0


@dataclass(frozen=True)
class Address:
    """An HTTPS address, in parts."""

    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> Address:
        """The parts of an address.

        Raises:
            DeviceError: it is not one that is fetched from.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or 443
        except ValueError as error:
            raise DeviceError("issuer", f"{url[:200]!r} is not an address: {error}") from error
        if parts.scheme != "https" or not parts.hostname or not _ASCII.fullmatch(url):
            raise DeviceError("issuer", f"{url[:200]!r} is not an HTTPS address")
        if parts.username is not None or parts.password is not None:
            raise DeviceError("issuer", f"the address of {parts.hostname} carries a name or a password")
        return cls(parts.hostname, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


@dataclass(frozen=True)
class Document:
    """What was there, and where in the end."""

    url: str
    body: bytes = field(repr=False)


def fetch(url: str, limit: int, reach: Reach, accept: str = "application/json") -> Document:
    """Fetch one document.

    Args:
        url: where.
        limit: bytes at most.
        reach: how far this desk may reach.
        accept: media type that is asked for.

    Raises:
        DeviceError: not there, not allowed, too large or too slow.
    """
    deadline = time.monotonic() + reach.within_s
    first = Address.of(url)
    for _ in range(_REDIRECTS + 1):
        address = Address.of(url)
        if (address.host, address.port) != (first.host, first.port):
            raise DeviceError(
                "issuer", f"{first.host} sends to {url[:200]}, another host: give that address if it is meant"
            )
        body, elsewhere = _answered(address, limit, reach, _Asked("GET", None, {"Accept": accept}), deadline)
        if elsewhere is None:
            return Document(url, body)
        url = urljoin(url, elsewhere)
    raise DeviceError("issuer", f"{first.host} sends from one address to the next")


def post(url: str, form: Mapping[str, str], reach: Reach, headers: Mapping[str, str] | None = None) -> None:
    """Send a form, as a hub of WebSub takes it; no redirect is followed.

    Raises:
        DeviceError: not taken.
    """
    given = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    asked = _Asked("POST", urlencode(form).encode(), given)
    _, elsewhere = _answered(Address.of(url), KEYS_BYTES, reach, asked, time.monotonic() + reach.within_s)
    if elsewhere is not None:
        raise DeviceError("issuer", f"{Address.of(url).host} sends elsewhere, which is not followed")


@dataclass(frozen=True)
class _Asked:
    """What is asked of a server."""

    method: str
    body: bytes | None
    headers: Mapping[str, str]


def _answered(address: Address, limit: int, reach: Reach, asked: _Asked, deadline: float) -> tuple[bytes, str | None]:
    """The body, or where else it is."""
    connection = _Looked(address, reach, deadline)
    watch = threading.Timer(max(0.0, deadline - time.monotonic()), connection.cut)
    watch.daemon = True
    watch.start()
    try:
        headers = {"Accept-Encoding": "identity", **asked.headers}
        connection.request(asked.method, address.path, asked.body, headers)
        answer = connection.getresponse()
        if answer.status in (301, 302, 303, 307, 308):
            return b"", answer.getheader("Location") or ""
        if answer.status not in ((200,) if asked.method == "GET" else (200, 202, 204)):
            raise DeviceError("issuer", f"{address.host}{address.path[:200]}: status {answer.status}")
        if answer.getheader("Content-Encoding", "identity") != "identity":
            raise DeviceError("issuer", f"{address.host}{address.path[:200]}: compressed, which was not asked for")
        body = _read(answer, limit, address)
        if connection.late:  # what was cut off would look like the end
            raise TimeoutError
        return body, None
    except ssl.SSLCertVerificationError as error:
        raise DeviceError("issuer", f"{address.host} shows no valid certificate: {error.verify_message}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = f"no answer within {reach.within_s:g} s" if connection.late else f"{type(error).__name__}: {error}"
        raise DeviceError("issuer", f"{address.host}: {why[:200]}") from error
    finally:
        watch.cancel()
        connection.close()


def _read(answer: http.client.HTTPResponse, limit: int, address: Address) -> bytes:
    body = bytearray()
    while chunk := answer.read1(_CHUNK):
        body += chunk
        if len(body) > limit:
            raise DeviceError("issuer", f"{address.host}{address.path[:200]} is larger than {limit} bytes")
    if answer.length:
        raise http.client.IncompleteRead(bytes(body))
    return bytes(body)


class _Looked(http.client.HTTPSConnection):
    """A connection to an address that was looked at."""

    def __init__(self, address: Address, reach: Reach, deadline: float) -> None:
        self._secured = ssl.create_default_context(cafile=None if reach.ca is None else str(reach.ca))
        self._secured.minimum_version = ssl.TLSVersion.TLSv1_2
        super().__init__(address.host, address.port, context=self._secured)
        self._reach, self._deadline = reach, deadline
        self._cable: ssl.SSLSocket | None = None
        self.late = False

    def connect(self) -> None:
        """Connect to the first address that answers, of those that are all allowed."""
        left = max(0.1, self._deadline - time.monotonic())
        failed: OSError = ConnectionError("the name has no address")
        for where in _allowed(self.host, self.port, self._reach):
            try:
                plain = socket.create_connection((where, self.port), timeout=left)
            except OSError as error:
                failed = error
                continue
            # An end that TLS did not announce is an error: somebody may have cut the document short.
            self.sock = self._cable = self._secured.wrap_socket(
                plain, server_hostname=self.host, suppress_ragged_eofs=False, do_handshake_on_connect=False
            )
            self._cable.do_handshake()
            return
        raise failed

    def cut(self) -> None:
        """End it, whatever it is doing: the time is over."""
        self.late = True
        if self._cable is not None:  # the library forgets it as soon as the headers are read
            try:
                socket.socket.shutdown(self._cable, socket.SHUT_RDWR)
            except OSError:
                return  # it is closed already


def _allowed(host: str, port: int, reach: Reach) -> list[str]:
    """The addresses of a name, if every one of them may be reached.

    Raises:
        DeviceError: one of them may not, or there is none.
    """
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise DeviceError("issuer", f"{host} has no address: {error}") from error
    for text in sorted(found):
        if not _public(text, reach):
            raise DeviceError("issuer", f"{host} leads to {text}, which is not a public address; --network allows it")
    return sorted(found, key=lambda text: (":" in text, text))


def _public(text: str, reach: Reach) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if any(address in network for network in reach.networks):
        return True
    embedded = any(address in network for network in _EMBEDDED)
    return address.is_global and not address.is_multicast and not embedded
