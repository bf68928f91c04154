"""What issuers publish at addresses of their own, held against what the operator's book says.

Rules:

1. Nothing is taken by looking. What would change is a value that can be shown; ``take`` writes it into the book, and a
   gate hears of it only when the office publishes.
2. Fetching never takes a key away and never gives a revoked one back. Cards live for years, and an issuer drops a key
   from its document when it signs nothing new with it: a key that is gone is said, and stays.
3. A name that a key has here never comes to mean another key.
4. A status list counts if the issuer signed it, for the address it was fetched from, and is not older than before.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

from edge.errors import DeviceError
from edge.sync.book import Book, Entry, OfficeError
from edge.sync.fetching import KEYS_BYTES, Address, Document
from edge.sync.lists import Lists
from edge.trust import imports
from edge.trust import status as statuses
from edge.trust.keys import Key
from edge.trust.list import parse

WELL_KNOWN: Final = "well-known"
_LINKS: Final = 8
Fetch = Callable[[str, int, str], Document]
"""The document at an address: at most so many bytes, of this media type."""


@dataclass(frozen=True)
class Keys:
    """The keys at an issuer's address.

    Attributes:
        url: where they were found.
        new: entries that the book does not have.
        said: each key as it is shown, with "new", "same" or "gone".
    """

    url: str
    new: tuple[Entry, ...] = field(repr=False)
    said: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Status:
    """A status list at an issuer's address; ``before`` is when the one in the book was issued."""

    url: str
    token: bytes = field(repr=False)
    issued_at: datetime
    before: datetime | None
    cards: int
    withdrawn: int

    @property
    def new(self) -> bool:
        """Whether it is newer than what is passed on."""
        return self.before is None or self.issued_at > self.before


def addresses(iss: str, named: str = WELL_KNOWN) -> tuple[str, ...]:
    """Where the keys of an issuer may be: a did:web name, an address, or the three places that issuers use."""
    name = iss if named == WELL_KNOWN else named
    if name.startswith("did:web:"):
        host, *path = (unquote(part) for part in name.removeprefix("did:web:").split(":"))
        return (f"https://{host}/{'/'.join(path) if path else '.well-known'}/did.json",)
    if named != WELL_KNOWN:
        return (named,)
    base, root = iss.rstrip("/"), Address.of(iss)
    host = root.host if root.port == 443 else f"{root.host}:{root.port}"
    places = [
        f"{place}/.well-known/{file}" for file in ("jwks.json", "did.json") for place in (base, f"https://{host}")
    ]
    places += [f"{base}/.well-known/openid-credential-issuer", f"{base}/.well-known/controller.json"]
    return tuple(dict.fromkeys(places))


def look_for_keys(book: Book, iss: str, named: str, fetch: Fetch) -> Keys:
    """Fetch an issuer's keys and hold them against the book.

    Raises:
        DeviceError: nothing to be had at any of its addresses.
        OfficeError: what is there cannot be meant.
    """
    failed = ""
    for url in addresses(iss, named):
        try:
            document = fetch(url, KEYS_BYTES, "application/json")
            entry = _entry(document, fetch)
        except (DeviceError, ValueError) as error:
            failed = failed or str(error)
            continue
        return _compared(book, iss, document.url, entry)
    raise DeviceError("issuer", failed)


def _entry(document: Document, fetch: Fetch) -> Entry:
    """The keys in a document, whichever of the known kinds it is."""
    text = document.body.decode("utf-8")
    content: Any = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError(f"{document.url} is not an object")  # noqa: TRY004 -- one kind of error for documents
    if "keys" in content:
        return imports.from_jwks(text)
    if isinstance(content.get("jwks_uri"), str):
        return imports.from_jwks(_same_host(document, content["jwks_uri"], fetch).decode("utf-8"))
    links = imports.linked(text)
    if len(links) > _LINKS:
        raise ValueError(f"{document.url} names more keys elsewhere than are fetched")
    more = {link: _same_host(document, link, fetch).decode("utf-8") for link in links}
    return imports.from_did(text, more)[1]


def _same_host(document: Document, url: str, fetch: Fetch) -> bytes:
    ours, theirs = Address.of(document.url), Address.of(url)
    if (ours.host, ours.port) != (theirs.host, theirs.port):
        raise ValueError(f"{document.url} names a key at {url[:200]}, another host")
    return fetch(url, KEYS_BYTES, "application/json").body


def _compared(book: Book, iss: str, url: str, entry: Entry) -> Keys:
    known = next((one for one in book.issuers if one.get("iss") == iss), {})
    ours = {_key(one).thumbprint: one for one in _entries(known)}
    theirs = {_key(one).thumbprint: one for one in entry["keys"]}
    called = {kid: mark for mark, one in ours.items() for kid in _kids(one)}
    for mark, one in theirs.items():
        for kid in _kids(one):
            if called.get(kid, mark) != mark:
                raise OfficeError(
                    f"{url}: {plain(kid)[:120]} is another key than before; ask {iss} before anything is taken"
                )
    said = [("same" if mark in ours else "new", _shown(one)) for mark, one in theirs.items()]
    said += [("gone", _shown(one)) for mark, one in ours.items() if mark not in theirs]
    return Keys(url, tuple(one for mark, one in theirs.items() if mark not in ours), tuple(said))


def _entries(known: Entry) -> list[Entry]:
    """The keys of an entry, one way or the other."""
    return [*known.get("keys", []), *({"jwk": jwk} for jwk in known.get("jwks", {}).get("keys", []))]


def _key(entry: Entry) -> Key:
    return parse({"issuers": [{"iss": "x", "keys": [entry]}]}, b"").issuers[0].keys[0]


def _kids(entry: Entry) -> set[str]:
    return {*entry.get("kids", []), *([entry["jwk"]["kid"]] if entry.get("jwk", {}).get("kid") else [])}


def plain(text: str) -> str:
    """Text of somebody else for a terminal: nothing that moves the cursor, turns the writing or hides a line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _shown(entry: Entry) -> str:
    key = _key(entry)
    kids = plain(", ".join(sorted(_kids(entry))))
    revoked = ", revoked" if "compromised_since" in entry else ""
    return f"{key.algorithm.jose} {key.thumbprint.hex()[:16]}{f' ({kids[:120]})' if kids else ''}{revoked}"


def look_for_status(lists: Lists, iss: str, url: str, fetch: Fetch) -> Status:
    """Fetch a status list.

    Raises:
        DeviceError: not to be had.
        OfficeError: it is not the issuer's, or not of this address.
    """
    token = fetch(url, statuses.LIMIT, statuses.TYPE).body
    listed = lists.status_of(iss, token, url)
    each, mask = 8 // listed.bits, (1 << listed.bits) - 1
    set_in = [sum(1 for place in range(each) if byte >> place * listed.bits & mask) for byte in range(256)]
    withdrawn = sum(set_in[byte] * times for byte, times in Counter(listed.statuses).items())
    before, cards = lists.passed_on(iss, url), each * len(listed.statuses)
    return Status(url, token, listed.issued_at, before, cards, withdrawn)


def take(lists: Lists, iss: str, keys: Keys | None, found: list[Status]) -> int:
    """Write down what is new; how many things that were."""
    done = 0
    if keys is not None and keys.new:
        lists.book.add_issuer(iss, {"keys": list(keys.new)})
        done += len(keys.new)
    for status in found:
        if status.new:
            lists.list_status(iss, status.token, status.url)
            done += 1
    return done
