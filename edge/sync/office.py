"""The operator's office: keys, the list of issuers, and everything that is published for the gates.

Rules:

1. Root and targets keys sign rarely and belong offline, each with another person; two of three must agree. The list key
   signs the trust list itself, which gates verify once more. The live key works every day and can add nobody.
2. ``publish`` signs anew only what changed, with the keys that are there; a key that is needed and missing is named.
3. Versions only grow, and published roots stay for ever: a gate that slept for two years follows them one by one.
4. Everything is a plain file in one folder, so that it can be reviewed, kept in version control, and carried.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from edge.errors import Refusal
from edge.sync.metadata import METADATA, Repository, public_of, signer_of
from edge.trust import charter as charters
from edge.trust.cose import signer
from edge.trust.list import parse, write_list
from edge.trust.status import open_status_list
from edge.trust.whole import CHARTER, CONFIRMATION, MAIN, mark, write_confirmation
from edge.trust.withdrawn import keyed, short, write_denied, write_hashes

DAYS: Final = {"root": 730, "targets": 180, "live": 21, "snapshot": 21, "timestamp": 21}
_ROLES: Final = {"root": 3, "targets": 3}
_AGREE: Final = 2
_LIVE_PATHS: Final = ["live/*", "status/*/*", "hashes/*", "denied/*"]


class OfficeError(Exception):
    """Something is missing or wrong on the operator's desk; the message says what to do."""


class Office:
    """One folder: ``office.json``, ``keys/``, ``lists/``, ``published/``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.book: dict[str, Any] = json.loads((folder / "office.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OfficeError(f"{folder} is no office; edge trust init {folder} begins one") from error

    @classmethod
    def begin(cls, folder: Path, name: str) -> Office:
        """Make keys and an empty list.

        Raises:
            OfficeError: there is one already.
        """
        if (folder / "office.json").exists():
            raise OfficeError(f"{folder} is an office already")
        keys = folder / "keys"
        keys.mkdir(parents=True, exist_ok=True)
        keys.chmod(0o700)
        names = [f"{role}-{number}" for role, count in _ROLES.items() for number in range(1, count + 1)]
        for key in (*names, "list", "live"):
            _make_key(keys / f"{key}.pem")
        book = {"name": name, "versions": {}, "signed": {}, "issuers": [], "authorities": [], "operators": []}
        (folder / "office.json").write_text(json.dumps({**book, "withdrawn": {}, "denied": {}}, indent=1) + "\n")
        (folder / "lists").mkdir(exist_ok=True)
        return cls(folder)

    def save(self) -> None:
        """Write the book down."""
        new = self.folder / "office.json.new"
        new.write_text(json.dumps(self.book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        new.replace(self.folder / "office.json")

    @property
    def name(self) -> str:
        """Of the repository, as it stands in topics."""
        return str(self.book["name"])

    # --- the book ---

    def issuer(self, iss: str) -> dict[str, Any]:
        """The entry of an issuer.

        Raises:
            OfficeError: there is none.
        """
        for entry in self.book["issuers"]:
            if entry.get("iss") == iss:
                found: dict[str, Any] = entry
                return found
        raise OfficeError(f"{iss} is not on the list")

    def add_issuer(self, iss: str, found: Mapping[str, Any]) -> None:
        """Put an issuer on the list, or more keys to one that is there."""
        entry = next((entry for entry in self.book["issuers"] if entry.get("iss") == iss), None)
        if entry is None:
            entry = {"iss": iss}
            self.book["issuers"].append(entry)
        for member, value in found.items():
            if member in ("keys", "roots"):
                entry[member] = [*entry.get(member, []), *(one for one in value if one not in entry.get(member, []))]
            else:
                entry[member] = value

    def remove_issuer(self, iss: str) -> None:
        """Take an issuer off the list."""
        self.book["issuers"].remove(self.issuer(iss))

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

    def list_status(self, iss: str, token: bytes) -> str:
        """Pass an issuer's token status list on; its address.

        Raises:
            OfficeError: it is not the issuer's, or is older than the one that is passed on already.
        """
        keys = parse({"issuers": [self.issuer(iss)]}, b"").issuers[0].keys
        try:
            listed = open_status_list(token, keys)
        except Refusal as refusal:
            raise OfficeError(f"not a status list of {iss}: {refusal}") from refusal
        path = f"status/{mark(iss)}/{hashlib.sha256(listed.uri.encode()).hexdigest()[:16]}.cwt"
        issued = int(listed.issued_at.timestamp())
        if issued < self.book["versions"].get(path, 0):
            raise OfficeError(f"an older list of {listed.uri} than the one that is passed on")
        self.book["versions"][path] = issued
        self._write(path, token)
        return listed.uri

    def withdraw(self, iss: str, names: Iterable[str]) -> None:
        """Withdraw cards that have no index in a status list."""
        self._listed("withdrawn", iss, (short(iss, name.encode()) for name in names))

    def deny(self, site: str, site_key: bytes, iss: str, names: Iterable[str]) -> None:
        """Deny cards at one site."""
        self._listed("denied", site, (keyed(site_key, iss, name.encode()) for name in names))

    def _listed(self, book: str, name: str, hashes: Iterable[bytes]) -> None:
        known = self.book[book].get(name, [])
        self.book[book][name] = sorted({*known, *(one.hex() for one in hashes)})

    def let_command(self, name: str, public: str, may: list[str]) -> None:
        """Let somebody command gates."""
        others = [one for one in self.book["operators"] if one["name"] != name]
        self.book["operators"] = [*others, {"name": name, "public": public.strip(), "may": may}]

    def standing(self) -> dict[str, tuple[int, str]]:
        """Version and end of each role that is published."""
        return {
            role: (metadata.signed.version, f"{metadata.signed.expires:%Y-%m-%d}")
            for role, metadata in self._repository().roles.items()
        }

    # --- keys ---

    def _private(self, name: str) -> Any:
        path = self.folder / "keys" / f"{name}.pem"
        try:
            return load_pem_private_key(path.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise OfficeError(f"the key {path} is needed: bring it from where it is kept") from error

    def _present(self, role: str) -> list[Any]:
        """The private keys of a role that are here, of those that count."""
        names = [f"{role}-{number}" for number in range(1, _ROLES[role] + 1)]
        here = [name for name in names if (self.folder / "keys" / f"{name}.pem").exists()]
        if len(here) < _AGREE:
            raise OfficeError(f"{_AGREE} of the keys {', '.join(names)} are needed in {self.folder / 'keys'}")
        return [signer_of(self._private(name)) for name in here]

    def list_key(self) -> str:
        """What goes into the gate's ``[trust] roots``: base64 of the list key's SubjectPublicKeyInfo."""
        pem = (self.folder / "keys" / "list.pub").read_text(encoding="ascii")
        return "".join(line for line in pem.splitlines() if not line.startswith("-"))

    def anchor(self) -> bytes:
        """What goes into the gate as ``[trust] anchor``: the newest root metadata."""
        roots = self._repository().roots
        return roots[max(roots)]

    # --- publishing ---

    def published(self) -> dict[str, bytes]:
        """Everything that gates may fetch."""
        base = self.folder / "published"
        paths = sorted(path for path in base.rglob("*") if path.is_file())
        return {path.relative_to(base).as_posix(): path.read_bytes() for path in paths}

    def files(self) -> dict[str, bytes]:
        """The signed lists."""
        base = self.folder / "lists"
        paths = sorted(path for path in base.rglob("*") if path.is_file())
        return {path.relative_to(base).as_posix(): path.read_bytes() for path in paths}

    def current(self) -> dict[str, bytes]:
        """What a gate needs of what is published: all roots, and the newest of everything else."""
        return self._repository().published(self.files())

    def publish(self, now: datetime | None = None) -> dict[str, bytes]:
        """Sign what changed and write down everything that gates may fetch, in the order to put it out.

        Raises:
            OfficeError: a key that is needed is not here.
            ValueError: the list would not be accepted by a gate.
        """
        now = (now or datetime.now(UTC)).replace(microsecond=0)
        repository = self._repository_or_new(now)
        self._write_main(now)
        self._write_charter(now)
        self._write_withdrawn(now)
        files = {path: data for path, data in self.files().items() if path != CONFIRMATION}
        ends = now + timedelta(days=DAYS["live"])
        self._write(CONFIRMATION, write_confirmation(files, (now, ends), signer(self._private("live"))))
        top = {path: data for path, data in files.items() if path in (MAIN, CHARTER)}
        if repository.put("targets", top) or self._due(repository, "targets", now):
            repository.sign("targets", self._present("targets"), now + timedelta(days=DAYS["targets"]))
        self._publish_authorities(repository, files, now)
        self._publish_live(repository, now)
        out = repository.published(self.files())
        self._put_out(out)
        self.save()
        return out

    def _publish_authorities(self, repository: Repository, files: Mapping[str, bytes], now: datetime) -> None:
        for authority in self.book["authorities"]:
            path, role = f"issuers/{authority['name']}.cose", f"issuers-{authority['name']}"
            if path not in files:
                continue
            key = self.folder / "keys" / f"{role}.pem"
            if repository.put(role, {path: files[path]}) and not key.exists():
                raise OfficeError(f"{path} changed: {authority['name']} must sign it with {key.name}")
            if key.exists():
                repository.sign(role, [signer_of(self._private(role))], now + timedelta(days=DAYS["targets"]))

    def _publish_live(self, repository: Repository, now: datetime) -> None:
        live = [signer_of(self._private("live"))]
        mine = {
            path: data for path, data in self.files().items() if not path.startswith("issuers/") and path != CHARTER
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

    def _repository(self) -> Repository:
        published = self.published()
        if not any(path.startswith(METADATA) for path in published):
            raise OfficeError("nothing is published yet; edge trust publish begins")
        return Repository.read(published)

    def _repository_or_new(self, now: datetime) -> Repository:
        try:
            repository = self._repository()
        except OfficeError:
            repository = self._new(now)
        if self._due(repository, "root", now):
            repository.sign("root", self._present("root"), now + timedelta(days=DAYS["root"]))
        return repository

    def _new(self, now: datetime) -> Repository:
        ends = {role: now + timedelta(days=days) for role, days in DAYS.items()}
        live = signer_of(self._private("live"))
        signers = {role: self._present(role) for role in _ROLES} | {"snapshot": [live], "timestamp": [live]}
        repository = Repository.begin(signers, dict.fromkeys(_ROLES, _AGREE), ends)
        repository.delegate("live", [live.public_key], _LIVE_PATHS, ends["live"])
        return repository

    def rotate(self, role: str, now: datetime | None = None) -> None:
        """New keys for a role; the next root says it to the gates, signed by the old keys and the new ones.

        Raises:
            OfficeError: keys that are needed are not here.
        """
        now = now or datetime.now(UTC)
        repository = self._repository()
        before = self._present("root")
        for number in range(1, _ROLES[role] + 1):
            _make_key(self.folder / "keys" / f"{role}-{number}.pem", again=True)
        live = [signer_of(self._private("live"))]
        signers = {each: self._present(each) for each in _ROLES} | {"snapshot": live, "timestamp": live}
        repository.keys(signers, dict.fromkeys(_ROLES, _AGREE))
        repository.sign("root", self._present("root"), now + timedelta(days=DAYS["root"]), before)
        if role == "targets":
            repository.sign("targets", self._present("targets"), now + timedelta(days=DAYS["targets"]))
            repository.collect()
        self._put_out(repository.published(self.files()))

    # --- lists ---

    def _write_main(self, now: datetime) -> None:
        content = {"issuers": self.book["issuers"]}
        version = self._changed(MAIN, content, now)
        if version:
            ends = now + timedelta(days=DAYS["targets"])
            times = {"issued_at": int(now.timestamp()), "expires": int(ends.timestamp())}
            self._write(MAIN, write_list({**content, "version": version, **times}, signer(self._private("list"))))

    def _write_charter(self, now: datetime) -> None:
        live = self._public("live")
        content = {"live": live.hex(), **{name: self.book[name] for name in ("authorities", "operators")}}
        version = self._changed(CHARTER, content, now)
        if version:
            times = (now, now + timedelta(days=DAYS["targets"]))
            key = signer(self._private("list"))
            parts = self.book["authorities"], self.book["operators"]
            self._write(CHARTER, charters.write_charter(version, [live], *parts, times, key))

    def _write_withdrawn(self, now: datetime) -> None:
        ends = now + timedelta(days=DAYS["live"])
        for iss, hashes in self.book["withdrawn"].items():
            path = f"hashes/{mark(iss)}.cose"
            version = self._next(path)
            key = signer(self._private("live"))
            self._write(path, write_hashes(version, iss, _bytes(hashes), (now, ends), key))
        for site, hashes in self.book["denied"].items():
            path = f"denied/{site}.cose"
            key = signer(self._private("live"))
            self._write(path, write_denied(self._next(path), site, _bytes(hashes), (now, ends), key))

    def _changed(self, path: str, content: Any, now: datetime) -> int:
        """The next version of a list if it must be signed again, else 0."""
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        signed = self.book["signed"].get(path)
        again = int((now - timedelta(days=DAYS["targets"] * 2 / 3)).timestamp())
        if signed is not None and signed[0] == digest and signed[1] > again:
            return 0
        self.book["signed"][path] = [digest, int(now.timestamp())]
        return self._next(path)

    def _next(self, path: str) -> int:
        version: int = self.book["versions"].get(path, 0) + 1
        self.book["versions"][path] = version
        return version

    def _public(self, name: str) -> bytes:
        key = load_pem_public_key((self.folder / "keys" / f"{name}.pub").read_bytes())
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def delegate(self, name: str, public: Any, issuers: Iterable[str]) -> None:
        """Let an authority sign the keys of its own issuers; it signs files with the same key."""
        repository = self._repository()
        ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=DAYS["targets"])
        repository.delegate(f"issuers-{name}", [public_of(public)], [f"issuers/{name}.cose"], ends)
        repository.sign("targets", self._present("targets"), ends)
        self._put_out(repository.published(self.files()))
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.book["authorities"].append({"name": name, "public": pem, "issuers": list(issuers)})

    def _write(self, path: str, data: bytes) -> None:
        place = self.folder / "lists" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def _put_out(self, out: Mapping[str, bytes]) -> None:
        base = self.folder / "published"
        for path, data in out.items():
            place = base / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)


def _bytes(hashes: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(one) for one in hashes]


def _make_key(path: Path, *, again: bool = False) -> None:
    if path.exists() and not again:
        raise OfficeError(f"{path} is there already")
    key = ec.generate_private_key(ec.SECP256R1())
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)
