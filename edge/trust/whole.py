"""Everything that was signed for this gate, opened together and swapped whole.

The files come from whoever brought them. That they belong together was checked on the way (TUF); here each is verified
once more by what it carries itself, against the roots pinned in the configuration, so that neither a network process
that was broken into nor a stolen delivery key can make the gate believe anything.

Rules:

1. ``issuers/main.cose`` is the trust list, signed by a root; without it there is nothing. ``charter.cose`` likewise
   says who else may sign: authorities for issuers of their own, live keys for what is withdrawn.
2. What is wrong with the trust list or the charter refuses the whole. What is wrong with any other file keeps the one
   before in force, and is said.
3. Nothing goes back: for each file the version, or time of issue, that was last in force is its floor. It goes by what
   is signed (issuer and address of a status list, issuer of a hash list, site), whatever the file is called.
4. The list is as fresh as the newest confirmation that names exactly the files that are here. Only such a confirmation
   takes a file away: without it, one that is missing keeps the one before in force, and when that is not known any
   more, because the gate was started since, the cards that it speaks about are unknown. So they are when other
   keys may sign now, and what is here is by none of these.
5. Nothing is fresher than its end: after the end of the trust list or of the charter no confirmation counts, and an
   issuer on an authority's list ages from the end of that list, or of the charter. What an age means the profile says.
6. Times that a root or a live key signed can raise the gate's clock, each capped by the end of its own document. Those
   of issuers and authorities cannot: a server of somebody else that is set wrongly would end every card.
7. A time that a person called false tells neither what time it is nor how old the trust list is, and it is no floor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, TypeVar

from edge.errors import Reason, Refusal
from edge.trust.charter import Charter, open_charter
from edge.trust.cose import Signer
from edge.trust.cycles import Cycles, open_cycles
from edge.trust.keys import Key, pinned, public_from, spki, thumbprints
from edge.trust.list import Issuer, TrustList, merged, normal, open_list, told
from edge.trust.members import Members, open_members
from edge.trust.signed import Document, Purpose, Times, seal, unseal
from edge.trust.status import StatusList, open_list_of
from edge.trust.withdrawn import Hashes, Withdrawn, open_denied, open_hashes

T = TypeVar("T", Members, Cycles)
MAIN: Final = "issuers/main.cose"
CHARTER: Final = "charter.cose"
CONFIRMATION: Final = "live/confirmation.cose"
ENDED: Final = ": ended "


@dataclass(frozen=True)
class Whole:
    """What the gate believes.

    Attributes:
        trust: issuers and their keys; issued when it was last confirmed.
        charter: who else may sign.
        withdrawn: which cards are not good any more.
        signed_at: the latest time that a root or a live key signed anything here at.
        floors: version, or seconds of issue, of each file in force.
        faults: what was wrong with files that are not in force.
        opened: each verified file, by path: its digest and what it was, so that it is not verified again.
        members: the site's own lists of people.
        cycles: which benefits are open at the site.
        times: all that a root or a live key signed anything here at.
    """

    trust: TrustList
    charter: Charter = field(default_factory=Charter)
    withdrawn: Withdrawn = field(default_factory=Withdrawn)
    signed_at: datetime | None = None
    floors: Mapping[str, int] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    opened: Mapping[str, tuple[bytes, Any]] = field(default_factory=dict, repr=False)
    members: Members = field(default_factory=lambda: Members(""))
    cycles: Cycles = field(default_factory=Cycles)
    times: tuple[datetime, ...] = ()


def mark(issuer: str) -> str:
    """How an issuer is called in the names of files."""
    return hashlib.sha256(normal(issuer).encode()).hexdigest()[:16]


def hashes_path(issuer: str) -> str:
    """Where an issuer's hash list lies."""
    return f"hashes/{mark(issuer)}.cose"


def status_path(issuer: str, uri: str) -> str:
    """Where an issuer's status list for this address lies; its floor has this name wherever it lies."""
    return f"status/{mark(issuer)}/{hashlib.sha256(uri.encode()).hexdigest()[:16]}.cwt"


def open_whole(
    files: Mapping[str, bytes],
    roots: Sequence[str | bytes],
    floors: Mapping[str, int],
    *,
    site: str = "",
    before: Whole | None = None,
    false_times: Collection[int] = (),
) -> Whole:
    """Verify everything.

    Args:
        files: by path.
        roots: pinned public keys.
        floors: of each file, what was in force last.
        site: whose own list of denied cards is ours.
        before: what is in force now.
        false_times: seconds of issue that a person called false.

    Raises:
        Refusal: no-trust: there is no good trust list or charter.
    """
    keys = [pinned(public_from(root)) for root in roots]
    return _Opening(files, keys, floors, site, before, false_times).whole(roots)


class _Opening:
    """One pass over the files."""

    def __init__(
        self,
        files: Mapping[str, bytes],
        roots: Sequence[Key],
        floors: Mapping[str, int],
        site: str,
        before: Whole | None,
        false_times: Collection[int],
    ) -> None:
        self._files, self._roots, self._site = files, roots, site
        self._floors = dict(floors)
        self._false = false_times
        self._before: Mapping[str, tuple[bytes, Any]] = {} if before is None else before.opened
        self._opened: dict[str, tuple[bytes, Any]] = {}
        self._live = b""
        self._exact = False
        self._noted: set[str] = set()
        self._lost: set[str] = set()
        self._faults: list[str] = []
        self._times: list[datetime] = []

    def whole(self, roots: Sequence[str | bytes]) -> Whole:
        if MAIN not in self._files:
            raise Refusal(Reason.NO_TRUST, "no trust list among the files")
        main = self._same(MAIN) or open_list(self._files[MAIN], roots, self._floors.get(MAIN, 0))
        self._opened[MAIN] = (hashlib.sha256(self._files[MAIN]).digest(), main)
        self._signed(MAIN, main.version, main.issued_at, main.expires)
        charter = Charter()
        if CHARTER in self._files:
            charter = self._same(CHARTER) or open_charter(
                self._files[CHARTER], self._roots, self._floors.get(CHARTER, 0)
            )
            self._opened[CHARTER] = (hashlib.sha256(self._files[CHARTER]).digest(), charter)
            self._signed(CHARTER, charter.version, charter.issued_at, charter.expires)
        elif CHARTER in self._floors:
            raise Refusal(Reason.NO_TRUST, "the charter is missing")
        self._live = thumbprints(charter.live)
        confirmation = self._confirmation(charter)
        self._exact = confirmation is not None
        trust = self._issuers(main, charter)
        withdrawn = self._withdrawn(trust, charter)
        members, cycles = self._members(charter), self._cycles(charter)
        times = max(self._times, default=None)
        trust = self._fresh(trust, charter, confirmation, times)
        faults = tuple(self._faults)
        parts = trust, charter, withdrawn, times, self._floors, faults, self._opened, members, cycles
        return Whole(*parts, tuple(self._times))

    def _same(self, path: str) -> Any:
        """What was opened before of exactly these bytes, or None."""
        digest, value = self._before.get(path, (b"", None))
        return value if digest == hashlib.sha256(self._files[path]).digest() else None

    def _fresh(
        self, trust: TrustList, charter: Charter, confirmation: Document | None, now: datetime | None
    ) -> TrustList:
        """The list, issued when it was last said to be the one in force; what has ended for sure is said."""
        ends = {path: one.expires for path, one in ((MAIN, trust), (CHARTER, charter)) if one.expires is not None}
        authorities = {f"issuers/{name}.cose" for name in charter.authorities}
        ends |= {path: one.expires for path, (_, one) in self._opened.items() if path in authorities}
        over = {path: end for path, end in ends.items() if now is not None and end <= now}
        self._faults += [f"{path}{ENDED}{end:%Y-%m-%d}" for path, end in sorted(over.items())]
        trust = told(trust, self._false)
        if confirmation is None:
            return trust
        known = min(confirmation.issued_at, ends.get(MAIN, confirmation.issued_at), ends[CHARTER])
        return replace(trust, issued_at=known if trust.issued_at is None else max(trust.issued_at, known))

    def _signed(self, path: str, version: int, issued_at: datetime | None, expires: datetime | None) -> None:
        self._floors[path] = max(version, self._floors.get(path, 0))
        if issued_at is not None:
            at = issued_at if expires is None else min(issued_at, expires)
            self._times += [at] if int(at.timestamp()) not in self._false else []

    def _issuers(self, main: TrustList, charter: Charter) -> TrustList:
        """The operator's list with those of the authorities."""
        lists = [main]
        for name, authority in sorted(charter.authorities.items()):
            public = authority.key

            def read(data: bytes, floor: int, public: Key = public) -> TrustList:
                return open_list(data, [spki(public.public)], floor)

            found = self._file(f"issuers/{name}.cose", read, lambda each: each.version, by=thumbprints([public]))
            if found is None:
                continue
            own = tuple(one for one in found.issuers if _within(one, authority.issuers))
            if len(own) != len(found.issuers):
                self._faults.append(f"issuers/{name}.cose: speaks for issuers of others; these were left out")
            until = min(end for end in (found.expires, charter.expires) if end is not None)
            lists.append(replace(found, issuers=tuple(replace(one, until=until) for one in own)))
        return merged(lists, self._faults)

    def _withdrawn(self, trust: TrustList, charter: Charter) -> Withdrawn:
        """All lists in force, and those that should be and are not."""
        statuses, hashes = self._statuses(trust), self._hashes(charter)
        own = self._denied(charter)
        names = {normal(name) for issuer in trust.issuers for name in issuer.names}
        lost = frozenset(name for name in names if hashes_path(name) in self._lost)
        return Withdrawn(statuses, hashes, own, lost, f"denied/{self._site}.cose" in self._lost)

    def _statuses(self, trust: TrustList) -> dict[tuple[str, str], StatusList]:
        found: dict[tuple[str, str], StatusList] = {}
        marked = {mark(name): issuer for issuer in trust.issuers for name in issuer.names}
        for path in self._below("status/"):
            issuer = marked.get(path.removeprefix("status/").partition("/")[0])
            if issuer is None:
                if path in self._files:
                    self._faults.append(f"{path}: of an issuer that is not trusted")
                continue
            listed = self._status(path, issuer)
            if listed is None:
                continue
            for name in issuer.names:
                other = found.get((normal(name), listed.uri))
                if other is None or other.issued_at < listed.issued_at:
                    found[normal(name), listed.uri] = listed
        return found

    def _status(self, path: str, issuer: Issuer) -> StatusList | None:
        def floor_of(listed: StatusList) -> str:
            return status_path(issuer.name, listed.uri)

        def read(data: bytes, floor: int) -> StatusList:
            listed = open_list_of(issuer, data)
            if listed.issued_at.timestamp() < max(floor, self._floors.get(floor_of(listed), 0)):
                raise Refusal(Reason.NO_TRUST, "older than the one in force")
            return listed

        def version_of(listed: StatusList) -> int:
            issued = int(listed.issued_at.timestamp())
            return 0 if issued in self._false else issued

        by = thumbprints(issuer.keys) + b"".join(root.tbs_certificate_bytes for root in issuer.roots)
        found: StatusList | None = self._file(path, read, version_of, floor_of, by)
        if found is not None and found.by in issuer.lost:
            self._faults.append(f"{path}: signed by a key that is compromised")
            return None
        return found

    def _hashes(self, charter: Charter) -> dict[str, Hashes]:
        found = {}
        for path in self._below("hashes/"):

            def read(data: bytes, floor: int, path: str = path) -> tuple[str, Hashes]:
                issuer, hashes = open_hashes(data, charter.live, floor)
                if path != hashes_path(issuer):
                    raise Refusal(Reason.NO_TRUST, "under the name of another issuer")
                return issuer, hashes

            one = self._file(path, read, lambda o: o[1].version)
            if one is not None:
                found[one[0]] = one[1]
        return found

    def _denied(self, charter: Charter) -> Hashes | None:
        def read(data: bytes, floor: int) -> Hashes:
            site, hashes = open_denied(data, charter.live, floor)
            if site != self._site:
                raise Refusal(Reason.WRONG_AUDIENCE, "for another site")
            return hashes

        found: Hashes | None = self._file(f"denied/{self._site}.cose", read, lambda one: one.version)
        return found

    def _members(self, charter: Charter) -> Members:
        """The site's lists of people; none without a good file."""

        def read(data: bytes, floor: int) -> Members:
            return self._ours(open_members(data, charter.live, floor))

        found: Members | None = self._file(f"members/{self._site}.cose", read, lambda one: one.version)
        return found or Members(self._site)

    def _cycles(self, charter: Charter) -> Cycles:
        """Which benefits are open at the site; none without a good file."""

        def read(data: bytes, floor: int) -> Cycles:
            return self._ours(open_cycles(data, charter.live, floor))

        found: Cycles | None = self._file(f"cycles/{self._site}.cose", read, lambda one: one.version)
        return found or Cycles(self._site)

    def _ours(self, found: T) -> T:
        """What is signed for this site.

        Raises:
            Refusal: wrong-audience.
        """
        if found.site != self._site:
            raise Refusal(Reason.WRONG_AUDIENCE, "for another site")
        return found

    def _confirmation(self, charter: Charter) -> Document | None:
        """What says that exactly these files are the ones in force; None without it."""
        data = self._files.get(CONFIRMATION)
        if data is None:
            return None
        try:
            document = unseal(Purpose.CONFIRMATION, data, charter.live, ("lists",))
        except Refusal as refusal:
            self._faults.append(f"{CONFIRMATION}: {refusal}")
            return None
        issued = int(document.issued_at.timestamp())
        if document.members["lists"] != confirmed_lists(self._files) or issued < self._floors.get(CONFIRMATION, 0):
            self._faults.append(f"{CONFIRMATION}: not about these lists, or an older one")
            return None
        if issued in self._false:
            self._faults.append(f"{CONFIRMATION}: signed with a false time")
            return None
        self._signed(CONFIRMATION, issued, document.issued_at, document.expires)
        return document

    def _below(self, prefix: str) -> list[str]:
        """The files there, those that were in force, and at last those that once were."""
        known = {path for path in (*self._files, *self._before, *self._floors) if path.startswith(prefix)}
        return sorted(known, key=lambda path: (path not in self._files and path not in self._before, path))

    def _file(self, path: str, read: Any, version_of: Any, floor_of: Any = None, by: bytes | None = None) -> Any:
        """One file, verified; the one before where this one is missing, worse or older; None without either.

        Args:
            path: of the file.
            read: what it is, from its bytes and the floor of its path.
            version_of: of what it is.
            floor_of: the name of its floor, from what it is; its path where that says all.
            by: who may sign it, the live keys for None; it is verified again when these are others.
        """
        data, before = self._files.get(path), self._before.get(path)
        if data is None and before is None and (path not in self._floors or path in self._noted):
            return None
        if data is None and self._exact:
            return None
        found = before if data is None else self._read(path, data, read, self._live if by is None else by)
        if data is None:
            self._faults.append(f"{path}: is missing{'' if found is None else ', the one before stays in force'}")
        if found is None:
            self._lost |= {path} & set(self._floors)
            return None
        self._opened[path], value = found, found[1]
        self._note(path if floor_of is None else floor_of(value), value, version_of(value))
        return value

    def _read(self, path: str, data: bytes, read: Any, by: bytes) -> tuple[bytes, Any] | None:
        """Digest and value of a file that is here, or of the one before where this one is another and not good."""
        same, before = hashlib.sha256(data).digest(), self._before.get(path)
        digest = same + hashlib.sha256(by).digest()
        if before is not None and before[0] == digest:
            return before
        try:
            return digest, read(data, self._floors.get(path, 0))
        except Refusal as refusal:
            self._faults.append(f"{path}: {refusal}")
            return None if before is not None and before[0].startswith(same) else before

    def _note(self, name: str, value: Any, version: int) -> None:
        self._noted.add(name)
        dated = value[1] if isinstance(value, tuple) else value
        issued_at = None if isinstance(value, StatusList | TrustList) else dated.issued_at
        self._signed(name, version, issued_at, dated.expires)


def confirmed_lists(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """What a confirmation says: the digest of every other file, so that none can be kept back unnoticed for long."""
    return {path: hashlib.sha256(files[path]).digest() for path in sorted(files) if path != CONFIRMATION}


def write_confirmation(files: Mapping[str, bytes], times: Times, by: Signer) -> bytes:
    """Sign that these lists are the ones in force."""
    return seal(Purpose.CONFIRMATION, {"lists": confirmed_lists(files)}, times, by)


def _within(issuer: Issuer, allowed: frozenset[str]) -> bool:
    return bool(issuer.names) and all(normal(name) in allowed for name in issuer.names)
