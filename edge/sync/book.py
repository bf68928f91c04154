"""What the operator has written down: whom to trust, what is withdrawn, who may order. One JSON file, no keys.

Rules:

1. Nothing here is believed by a gate: it becomes signed lists when the office publishes.
2. A card that is withdrawn or denied stands here as a hash, never as its number.
3. The file is replaced whole, so that an interruption leaves the one before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from edge.trust.list import parse
from edge.trust.members import membership
from edge.trust.withdrawn import keyed, short

Entry = dict[str, Any]


class OfficeError(Exception):
    """Something is missing or wrong on the operator's desk; the message says what to do."""


class Book:
    """``office.json``.

    Attributes:
        name: of the repository, as it stands in topics.
        issuers: entries of the trust list.
        authorities: who else signs lists, each for issuers of its own.
        operators: who may command gates.
        withdrawn, denied: hashes in hexadecimal, by issuer and by site.
        members: hashes in hexadecimal, by site and list.
        cycles: open ones, by site and programme.
        sources: where an issuer's keys and status lists are fetched from.
        versions: of each signed list.
        signed: digest and moment of what was signed last.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            written: Entry = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OfficeError(f"{file.parent} is no office; edge trust init {file.parent} begins one") from error
        self.name = str(written["name"])
        self.issuers: list[Entry] = written["issuers"]
        self.authorities: list[Entry] = written["authorities"]
        self.operators: list[Entry] = written["operators"]
        self.withdrawn: dict[str, list[str]] = written["withdrawn"]
        self.denied: dict[str, list[str]] = written["denied"]
        self.members: dict[str, dict[str, list[str]]] = written.get("members", {})
        self.cycles: dict[str, dict[str, Entry]] = written.get("cycles", {})
        self.sources: dict[str, Entry] = written.get("sources", {})
        self.versions: dict[str, int] = written["versions"]
        self.signed: dict[str, list[Any]] = written["signed"]

    @classmethod
    def begin(cls, file: Path, name: str) -> Book:
        """An empty one.

        Raises:
            OfficeError: there is one already.
        """
        if file.exists():
            raise OfficeError(f"{file.parent} is an office already")
        empty: Entry = {"name": name, "versions": {}, "signed": {}, "issuers": [], "authorities": [], "operators": []}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**empty, "withdrawn": {}, "denied": {}, "sources": {}}, indent=1) + "\n")
        return cls(file)

    def save(self) -> None:
        """Write it down."""
        content = {name: value for name, value in vars(self).items() if name != "_file"}
        new = self._file.with_name(f"{self._file.name}.new")
        new.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        new.replace(self._file)

    def issuer(self, iss: str) -> Entry:
        """The entry of an issuer.

        Raises:
            OfficeError: there is none.
        """
        for entry in self.issuers:
            if entry.get("iss") == iss:
                return entry
        raise OfficeError(f"{iss} is not on the list")

    def add_issuer(self, iss: str, found: Mapping[str, Any]) -> None:
        """Put an issuer on the list, or more keys to one that is there.

        Raises:
            ValueError: a gate would not take it; nothing has changed.
        """
        known = next((entry for entry in self.issuers if entry.get("iss") == iss), None)
        entry = dict(known or {"iss": iss})
        for member, value in found.items():
            if member in ("keys", "roots"):
                entry[member] = [*entry.get(member, []), *(one for one in value if one not in entry.get(member, []))]
            else:
                entry[member] = value
        others = [one for one in self.issuers if one is not known]
        parse({"issuers": [*others, entry]}, b"")
        self.issuers = [entry if one is known else one for one in self.issuers] if known else [*others, entry]

    def remove_issuer(self, iss: str) -> None:
        """Take an issuer off the list; its keys are not fetched any more either."""
        self.issuers.remove(self.issuer(iss))
        self.sources.pop(iss, None)

    def revoke_key(self, iss: str, kid: str, since: datetime) -> None:
        """Believe nothing that this key signed from then on.

        Raises:
            OfficeError: the issuer has no such key.
        """
        found = False
        for key in self.issuer(iss).get("keys", []):
            if kid in key.get("kids", []) or key.get("jwk", {}).get("kid") == kid:
                key["compromised_since"] = int(since.timestamp())
                found = True
        if not found:
            raise OfficeError(f"{iss} has no key that is called {kid}")

    def withdraw(self, iss: str, names: Iterable[str]) -> None:
        """Withdraw cards that have no index in a status list."""
        _listed(self.withdrawn, iss, (short(iss, name.encode()) for name in names))

    def deny(self, site: str, site_key: bytes, iss: str, names: Iterable[str]) -> None:
        """Deny cards at one site."""
        _listed(self.denied, site, (keyed(site_key, iss, name.encode()) for name in names))

    def enlist(self, site: str, site_key: bytes, listed: str, iss: str, names: Iterable[str]) -> None:
        """Put cards or their holders onto one of a site's own lists."""
        lists = self.members.setdefault(site, {})
        _listed(lists, listed, (membership(site_key, listed, iss, name.encode()) for name in names))

    def strike(self, site: str, site_key: bytes, listed: str, iss: str, names: Iterable[str]) -> None:
        """Take them off again."""
        gone = {membership(site_key, listed, iss, name.encode()).hex() for name in names}
        lists = self.members.setdefault(site, {})
        lists[listed] = [one for one in lists.get(listed, []) if one not in gone]

    def open_cycle(self, site: str, programme: str, cycle: str, amount: int, disputed_until: datetime) -> int:
        """Open a programme's next cycle, which closes the one before; its number."""
        numbers = [each["number"] for open_ in self.cycles.values() for each in open_.values()]
        number: int = max([*numbers, self.versions.get("cycle", 0)]) + 1
        self.versions["cycle"] = number
        told = {"cycle": cycle, "number": number, "amount": amount, "disputed_until": int(disputed_until.timestamp())}
        self.cycles.setdefault(site, {})[programme] = told
        return number

    def close_cycle(self, site: str, programme: str) -> None:
        """Close a programme's cycle.

        Raises:
            OfficeError: none is open.
        """
        if self.cycles.get(site, {}).pop(programme, None) is None:
            raise OfficeError(f"no cycle of {programme} is open at {site}")

    def let_command(self, name: str, public: str, may: list[str]) -> None:
        """Let somebody command gates."""
        others = [one for one in self.operators if one["name"] != name]
        self.operators = [*others, {"name": name, "public": public.strip(), "may": may}]


def _listed(book: dict[str, list[str]], name: str, hashes: Iterable[bytes]) -> None:
    book[name] = sorted({*book.get(name, []), *(one.hex() for one in hashes)})
