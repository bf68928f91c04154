"""The operator's office: the book, the keys, and everything that is published for the gates.

Rules:

1. Root and targets keys sign rarely and belong offline, each with another person; two of three must agree. The list key
   signs the trust list itself, which gates verify once more. The live key works every day and can add nobody.
2. ``publish`` signs anew only what changed, with the keys that are there; a key that is needed and missing is named.
3. Versions only grow, and published roots stay for ever: a gate that slept for two years follows them one by one.
4. A new key takes an old one's place in the next root, which two of the old root keys sign and two of the new. Nothing
   else of the root changes with it, and no threshold ever does.
5. Everything is a plain file in one folder, so that it can be reviewed, kept in version control, and carried.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.sync.book import Book, OfficeError
from edge.sync.keyring import Keyring, Tokens, no_tokens
from edge.sync.lists import Lists
from edge.sync.metadata import METADATA, Repository, Signing, public_of
from edge.trust.whole import CHARTER, MAIN

DAYS: Final = {"root": 730, "targets": 180, "live": 21, "snapshot": 21, "timestamp": 21}
_ROLES: Final = {"root": 3, "targets": 3}
_AGREE: Final = 2
_COMING: Final = "list.coming"
_LIVE_PATHS: Final = ["live/*", "status/*/*", "hashes/*", "denied/*", "members/*", "cycles/*"]
KEYS: Final = ("root-1", "root-2", "root-3", "targets-1", "targets-2", "targets-3", "list", "live")


class Office:
    """One folder: ``office.json``, ``keys/``, ``lists/``, ``published/``."""

    def __init__(self, folder: Path, tokens: Tokens = no_tokens) -> None:
        self.folder = folder
        self.book = Book(folder / "office.json")
        self.keys = Keyring(folder / "keys", tokens)
        self.lists = Lists(folder / "lists", self.book, self.keys)

    @classmethod
    def begin(
        cls, folder: Path, name: str, places: Mapping[str, str] | None = None, tokens: Tokens = no_tokens
    ) -> Office:
        """Make keys and an empty list.

        Args:
            folder: where.
            name: of the repository.
            places: of keys that are to be in tokens: URI by name, of ``KEYS``.
            tokens: the way to them.

        Raises:
            OfficeError: there is one already.
        """
        if (folder / "office.json").exists():
            raise OfficeError(f"{folder} is an office already")
        keys = Keyring(folder / "keys", tokens)
        keys.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for key in KEYS:
            if not keys.here(key):  # a token failed half-way the last time
                keys.make(key, (places or {}).get(key, ""))
        (folder / "lists").mkdir(exist_ok=True)
        Book.begin(folder / "office.json", name)
        return cls(folder, tokens)

    @property
    def name(self) -> str:
        """Of the repository, as it stands in topics."""
        return self.book.name

    def standing(self) -> dict[str, tuple[int, str]]:
        """Version and end of each role that is published."""
        return {
            role: (metadata.signed.version, f"{metadata.signed.expires:%Y-%m-%d}")
            for role, metadata in self._repository().roles.items()
        }

    # --- keys ---

    def _agreeing(self, role: str) -> list[Signing]:
        """Who signs for a role, of those whose keys are here."""
        names = _numbered(role)
        found = [signing for name in names if (signing := self.keys.signing(name)) is not None]
        if len(found) < _AGREE:
            raise OfficeError(f"{_AGREE} of the keys {', '.join(names)} are needed in {self.keys.folder}")
        return found

    def _live(self) -> list[Signing]:
        found = self.keys.signing("live")
        if found is None:
            raise OfficeError(f"the key {self.keys.folder / 'live.pem'} is needed: bring it from where it is kept")
        return [found]

    def list_key(self, name: str = "list") -> str:
        """What goes into the gate's ``[trust] roots``: base64 of the list key's SubjectPublicKeyInfo."""
        der = self.keys.public(name).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode()

    def anchor(self) -> bytes:
        """What goes into the gate as ``[trust] anchor``: the newest root metadata."""
        roots = self._repository().roots
        return roots[max(roots)]

    def rotate(self, what: str, places: Sequence[str] = (), now: datetime | None = None) -> tuple[str, ...]:
        """New keys; the next root says it to the gates, signed by the old root keys and the new ones.

        Args:
            what: a role, ``root``, ``targets`` or ``live``, or one of its keys, such as ``root-2``.
            places: URIs of those new keys that are to be in tokens.
            now: the present.

        Returns:
            The names of the keys that are new.

        Raises:
            OfficeError: no such key, or keys that are needed are not here. Then nothing has changed.
        """
        names = _numbered(what) if what in _ROLES else (what,)
        if not set(names) <= {*_numbered("root"), *_numbered("targets"), "live"}:
            raise OfficeError(f"{what} is not root, targets, live, list or one of their keys")
        now = (now or datetime.now(UTC)).replace(microsecond=0)
        self._settle()
        repository, before = self._repository(), self._agreeing("root")
        again = not what.startswith("root")
        if again:
            self._able(names)
        try:
            signers = [*before, *self._swapped(repository, names, places)]
            repository.sign("root", signers, now + timedelta(days=DAYS["root"]))
            if not repository.stands("root"):
                raise OfficeError(f"{_AGREE} of the root keys that stay or are new must sign")
            self._put_out(repository.root_files())
        finally:
            self._settle()
        if again:
            self.publish(now)
        return names

    def rotate_list(self, uri: str = "", now: datetime | None = None) -> str:
        """A new list key, in two steps, because gates have it pinned in their configuration and not by the root.

        The first call makes it; every gate's ``roots`` must name it then, beside the old one. The second puts it in the
        old one's place, and everything that the old one signed is signed anew.

        Returns:
            The new key as ``roots`` names it after the first call, nothing after the second.

        Raises:
            OfficeError: keys that are needed are not here.
        """
        if not self.keys.here(_COMING):
            self.keys.make(_COMING, uri)
            return self.list_key(_COMING)
        self._agreeing("targets")
        self._live()
        self.keys.replace(_COMING, "list")
        self.book.signed.clear()
        self.publish(now)
        return ""

    def _able(self, names: Sequence[str]) -> None:
        """Whether what has to be published after a rotation can be signed here; said before anything changes."""
        targets = _numbered("targets")
        if sum(name in names or self.keys.here(name) for name in targets) < _AGREE:
            raise OfficeError(f"{_AGREE} of the keys {', '.join(targets)} are needed in {self.keys.folder}")
        if "live" in names:
            self.keys.signer("list")
        else:
            self._live()

    def _swapped(self, repository: Repository, names: Sequence[str], places: Sequence[str]) -> list[Signing]:
        """Put new keys in the place of these; who signs with those of the root."""
        found: list[Signing] = []
        for name, uri in zip_longest(names, places[: len(names)], fillvalue=""):
            waiting = f"{name}.next"
            self.keys.make(waiting, uri)
            try:
                repository.swap(public_of(self.keys.public(name)), public_of(self.keys.public(waiting)))
            except ValueError as error:
                raise OfficeError(f"{name}: {error}") from error
            signing = self.keys.signing(waiting) if name in _numbered("root") else None
            found += [] if signing is None else [signing]
        return found

    def _settle(self) -> None:
        """New keys whose root is published take their place; others that wait are dropped."""
        if self._begun():
            self.keys.take_over(lambda key: self._repository().names(public_of(key)))

    # --- publishing ---

    def published(self) -> dict[str, bytes]:
        """Everything that gates may fetch."""
        base = self.folder / "published"
        paths = sorted(path for path in base.rglob("*") if path.is_file())
        return {path.relative_to(base).as_posix(): path.read_bytes() for path in paths}

    def current(self) -> dict[str, bytes]:
        """What a gate needs of what is published: all roots, and the newest of everything else."""
        return self._repository().published(self.lists.files())

    def publish(self, now: datetime | None = None) -> dict[str, bytes]:
        """Sign what changed and write down everything that gates may fetch, in the order to put it out.

        Raises:
            OfficeError: a key that is needed is not here.
            ValueError: the list would not be accepted by a gate.
        """
        now = (now or datetime.now(UTC)).replace(microsecond=0)
        self._settle()
        repository = self._repository_or_new(now)
        self.lists.write(now)
        files = self.lists.files()
        top = {path: data for path, data in files.items() if path in (MAIN, CHARTER)}
        live = public_of(self.keys.public("live"))
        if not repository.delegated("live", live):
            repository.delegate("live", [live], _LIVE_PATHS, now + timedelta(days=DAYS["live"]))
        changed = repository.put("targets", top) or not repository.stands("targets")
        if changed or self._due(repository, "targets", now):
            repository.sign("targets", self._agreeing("targets"), now + timedelta(days=DAYS["targets"]))
        self._publish_authorities(repository, files, now)
        self._publish_live(repository, now)
        out = repository.published(self.lists.files())
        self._put_out(out)
        self.book.save()
        return out

    def _publish_authorities(self, repository: Repository, files: Mapping[str, bytes], now: datetime) -> None:
        for authority in self.book.authorities:
            path, role = f"issuers/{authority['name']}.cose", f"issuers-{authority['name']}"
            if path not in files:
                continue
            signing = self.keys.signing(role)
            if repository.put(role, {path: files[path]}) and signing is None:
                raise OfficeError(f"{path} changed: {authority['name']} must sign it with {role}.pem")
            if signing is not None:
                repository.sign(role, [signing], now + timedelta(days=DAYS["targets"]))

    def _publish_live(self, repository: Repository, now: datetime) -> None:
        live = self._live()
        mine = {
            path: data
            for path, data in self.lists.files().items()
            if not path.startswith("issuers/") and path != CHARTER
        }
        repository.put("live", mine)
        repository.sign("live", live, now + timedelta(days=DAYS["live"]))
        repository.collect()
        repository.sign("snapshot", live, now + timedelta(days=DAYS["snapshot"]))
        repository.stamp()
        repository.sign("timestamp", live, now + timedelta(days=DAYS["timestamp"]))

    def _due(self, repository: Repository, role: str, now: datetime) -> bool:
        """Whether a role ends so soon that it should be signed again."""
        signed = repository.roles[role].signed
        return bool(signed.version == 0 or signed.expires < now + timedelta(days=DAYS[role] / 3))

    def _begun(self) -> bool:
        return (self.folder / "published" / METADATA).is_dir()

    def _repository(self) -> Repository:
        if not self._begun():
            raise OfficeError("nothing is published yet; edge trust publish begins")
        return Repository.read(self.published())

    def _repository_or_new(self, now: datetime) -> Repository:
        repository = self._repository() if self._begun() else self._new(now)
        if self._due(repository, "root", now):
            repository.sign("root", self._agreeing("root"), now + timedelta(days=DAYS["root"]))
        return repository

    def _new(self, now: datetime) -> Repository:
        ends = {role: now + timedelta(days=days) for role, days in DAYS.items()}
        live = [public_of(self.keys.public("live"))]
        keys = {role: [public_of(self.keys.public(name)) for name in _numbered(role)] for role in _ROLES}
        return Repository.begin({**keys, "snapshot": live, "timestamp": live}, dict.fromkeys(_ROLES, _AGREE), ends)

    def delegate(self, name: str, public: Any, issuers: Iterable[str]) -> None:
        """Let an authority sign the keys of its own issuers; it signs files with the same key."""
        repository = self._repository()
        ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=DAYS["targets"])
        repository.delegate(f"issuers-{name}", [public_of(public)], [f"issuers/{name}.cose"], ends)
        repository.sign("targets", self._agreeing("targets"), ends)
        self._put_out(repository.published(self.lists.files()))
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.book.authorities.append({"name": name, "public": pem, "issuers": list(issuers)})

    def _put_out(self, out: Mapping[str, bytes]) -> None:
        """Each file whole or not at all, in this order: what names others comes after them."""
        base = self.folder / "published"
        for path, data in out.items():
            place = base / path
            place.parent.mkdir(parents=True, exist_ok=True)
            new = self.folder / "published.new"
            new.write_bytes(data)
            new.replace(place)


def _numbered(role: str) -> tuple[str, ...]:
    return tuple(f"{role}-{number}" for number in range(1, _ROLES[role] + 1))
