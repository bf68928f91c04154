"""What is trusted, as The Update Framework distributes it: made by the operator, verified on its way into the gate.

The only module that touches python-tuf, because two things are not public there: the moment that expiry is held
against, and the names of all targets. The version is pinned for it.

Rules:

1. Nothing is believed that was not verified in RAM as a whole: root chain, timestamp, snapshot, targets, each delegated
   role, each file by length and hash. Then it is one value, to be committed at once.
2. What was verified last is the floor: versions of metadata never go back, whoever asks and by whatever way it came.
3. Expiry is held against the lower bound of now: a clock that somebody moved ahead expires nothing.
4. Everything has a limit before it is read: bytes of each kind of file, number of roles and files, their sum.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from securesystemslib.signer import CryptoSigner, Key, Signature, Signer, SSlibKey
from tuf.api import exceptions
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from edge.errors import Reason, Refusal

METADATA: Final = "m/"
TARGETS: Final = "t/"
TIMESTAMP: Final = f"{METADATA}timestamp.json"
FILE_BYTES: Final = 4 << 20
WHOLE_BYTES: Final = 32 << 20
FILES: Final = 2000
_LIMITS: Final = UpdaterConfig(
    max_root_rotations=64,
    max_delegations=64,
    root_max_length=64 << 10,
    timestamp_max_length=16 << 10,
    snapshot_max_length=256 << 10,
    targets_max_length=1 << 20,
)
Fetch = Callable[[str, int], bytes | None]
"""The bytes at a path of the repository, at most so many; None when they are not there."""
Signing = Signer
"""Who signs metadata, with a key here or elsewhere."""

logging.getLogger("tuf").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Verified:
    """A complete, verified state of the repository.

    Attributes:
        metadata: newest of each role, as JSON: what the next update begins with.
        files: the targets, by path.
        expires: when the timestamp does.
        versions: of root, timestamp, snapshot and targets.
    """

    metadata: Mapping[str, bytes] = field(repr=False)
    files: Mapping[str, bytes] = field(repr=False)
    expires: datetime
    versions: tuple[int, int, int, int]


def verify(
    fetch: Fetch,
    anchor: bytes,
    kept: Mapping[str, bytes],
    have: Mapping[str, bytes],
    now: datetime,
    scratch: Path | None = None,
) -> Verified:
    """Fetch and verify the newest state.

    Args:
        fetch: brings files; whatever it brings is not believed.
        anchor: the root metadata that was pinned when the gate was set up.
        kept: metadata of the last verified state.
        have: its files; those that are still the same are not fetched again.
        now: the lower bound of now.
        scratch: a directory in RAM.

    Raises:
        Refusal: no-trust: the state is not complete, not newer, or not signed by who may.
    """
    with tempfile.TemporaryDirectory(prefix="edge-trust-", dir=scratch) as name:
        folder = Path(name)
        for role, text in kept.items():
            if role != Root.type:
                (folder / f"{role}.json").write_bytes(text)
        try:
            return _verified(fetch, kept.get(Root.type, anchor), have, now, folder)
        except (exceptions.RepositoryError, exceptions.DownloadError) as error:
            raise Refusal(Reason.NO_TRUST, _told(error)) from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            # Untrusted JSON can fail in any of these ways inside the library.
            raise Refusal(Reason.NO_TRUST, f"malformed: {type(error).__name__}") from error


def _verified(fetch: Fetch, root: bytes, have: Mapping[str, bytes], now: datetime, folder: Path) -> Verified:
    updater = Updater(
        str(folder), METADATA, str(folder), TARGETS, fetcher=_Fetcher(fetch), config=_LIMITS, bootstrap=root
    )
    trusted: Any = updater._trusted_set
    trusted.reference_time = now
    updater.refresh()
    wanted: dict[str, TargetFile] = {}
    for parent in _roles(updater, trusted):
        for path, target in parent.targets.items():
            wanted.setdefault(path, target)
    if len(wanted) > FILES or sum(target.length for target in wanted.values()) > WHOLE_BYTES:
        raise exceptions.RepositoryError("more files, or larger ones, than a gate takes")
    files = {path: _file(updater, target, have.get(path), folder) for path, target in sorted(wanted.items())}
    metadata = {unquote(path.stem): path.read_bytes() for path in folder.glob("*.json") if path.name != "root.json"}
    metadata[Root.type] = (folder / "root.json").read_bytes()
    versions = (trusted.root.version, trusted.timestamp.version, trusted.snapshot.version, trusted.targets.version)
    return Verified(metadata, files, trusted.timestamp.expires, versions)


def _roles(updater: Any, trusted: Any) -> Iterator[Targets]:
    """The targets role, then each role it delegates to, with those of its targets that it may speak for."""
    top: Targets = trusted.targets
    yield top
    if top.delegations is None or top.delegations.roles is None:
        return
    if len(top.delegations.roles) > _LIMITS.max_delegations:
        raise exceptions.RepositoryError("too many delegations")
    for role in top.delegations.roles.values():
        if f"{role.name}.json" not in trusted.snapshot.meta:
            continue  # delegated, but has not published anything yet
        found: Targets = updater._load_targets(role.name, Targets.type)
        own = {path: target for path, target in found.targets.items() if role.is_delegated_path(path)}
        yield Targets(found.version, found.spec_version, found.expires, own)


def _file(updater: Updater, target: TargetFile, here: bytes | None, folder: Path) -> bytes:
    if here is not None:
        try:
            target.verify_length_and_hashes(here)
        except exceptions.LengthOrHashMismatchError:
            pass
        else:
            return here
    if target.length > FILE_BYTES:
        raise exceptions.RepositoryError(f"{target.path} is larger than any list")
    path = folder / "target"
    updater.download_target(target, str(path))
    return path.read_bytes()


class _Fetcher(FetcherInterface):
    """The library's way of asking, on ours: bounded by the caller, in RAM."""

    def __init__(self, fetch: Fetch) -> None:
        self._bring = fetch

    def _fetch(self, url: str) -> Iterator[bytes]:
        raise NotImplementedError

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        found = self._bring(url, max_length)
        if found is None:
            raise exceptions.DownloadHTTPError(f"{url} is not there", 404)
        if len(found) > max_length:
            raise exceptions.DownloadLengthMismatchError(f"{url} has {len(found)} bytes of {max_length} at most")
        yield io.BytesIO(found)


def _told(error: Exception) -> str:
    """One sentence, bounded: it ends up in logs."""
    return f"{type(error).__name__}: {error}"[:200]


# --- the operator's side ---

TOP: Final = ("root", "targets", "snapshot", "timestamp")


@dataclass
class Repository:
    """The operator's copy: metadata of every role and every file, as they are published.

    Attributes:
        roles: newest metadata of each role.
        roots: every root there was, as published.
    """

    roles: dict[str, Metadata[Any]]
    roots: dict[int, bytes]

    @classmethod
    def begin(
        cls, keys: Mapping[str, list[Key]], thresholds: Mapping[str, int], expires: Mapping[str, datetime]
    ) -> Repository:
        """A new repository of these keys for the four top roles; nothing of it is signed yet."""
        root = Root(expires=expires["root"], consistent_snapshot=True)
        for role in TOP:
            for key in keys[role]:
                root.add_key(key, role)
            root.roles[role].threshold = thresholds.get(role, 1)
        made = cls({"root": _unsigned(root)}, {})
        made.roles["targets"] = _unsigned(Targets(expires=expires["targets"]))
        made.roles["snapshot"] = _unsigned(Snapshot(expires=expires["snapshot"]))
        made.roles["timestamp"] = _unsigned(Timestamp(expires=expires["timestamp"]))
        return made

    @classmethod
    def read(cls, files: Mapping[str, bytes]) -> Repository:
        """The repository in these published files."""
        newest: dict[str, tuple[int, bytes]] = {}
        roots: dict[int, bytes] = {}
        for path, text in files.items():
            if not path.startswith(METADATA):
                continue
            number, _, role = path.removeprefix(METADATA).removesuffix(".json").partition(".")
            if not role:
                newest[number] = (0, text)
                continue
            if role == "root":
                roots[int(number)] = text
            newest[role] = max(newest.get(role, (-1, b"")), (int(number), text))
        return cls({unquote(role): Metadata.from_bytes(text) for role, (_, text) in newest.items()}, roots)

    def swap(self, old: Key, new: Key) -> None:
        """Put a new key into the place of an old one; every threshold stays what it was.

        Raises:
            ValueError: the root does not know the old key.
        """
        root: Root = self.roles["root"].signed
        roles = [role for role in TOP if old.keyid in root.roles[role].keyids]
        if not roles:
            raise ValueError("the published root does not know the key that is to be replaced")
        for role in roles:
            root.revoke_key(old.keyid, role)
            root.add_key(new, role)

    def names(self, key: Key) -> bool:
        """Whether the root names this key."""
        return key.keyid in self.roles["root"].signed.keys

    def stands(self, role: str) -> bool:
        """Whether a top role is signed by those who may, as it is now."""
        metadata, root = self.roles[role], self.roles["root"].signed
        try:
            root.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except exceptions.UnsignedMetadataError:
            return False
        return True

    def delegated(self, role: str, key: Key) -> bool:
        """Whether exactly this key signs for a delegated role."""
        delegations = self.roles["targets"].signed.delegations
        known = {} if delegations is None else delegations.roles or {}
        return role in known and known[role].keyids == [key.keyid]

    def delegate(self, role: str, keys: list[Key], paths: list[str], expires: datetime, threshold: int = 1) -> None:
        """Let other keys sign for some paths."""
        targets: Targets = self.roles["targets"].signed
        if targets.delegations is None:
            targets.delegations = Delegations({}, {})
        roles = targets.delegations.roles
        assert roles is not None
        roles[role] = DelegatedRole(role, [key.keyid for key in keys], threshold, True, paths)
        targets.delegations.keys.update({key.keyid: key for key in keys})
        used = {keyid for each in roles.values() for keyid in each.keyids}
        for keyid in set(targets.delegations.keys) - used:
            del targets.delegations.keys[keyid]
        if role not in self.roles:
            self.roles[role] = _unsigned(Targets(expires=expires))

    def withdraw(self, role: str) -> None:
        """Let a delegated role sign for nothing any more."""
        targets: Targets = self.roles["targets"].signed
        if targets.delegations is not None and targets.delegations.roles is not None:
            targets.delegations.roles.pop(role, None)
        self.roles.pop(role, None)

    def put(self, role: str, files: Mapping[str, bytes]) -> bool:
        """Say which files a role signs for; whether that is something new."""
        signed: Targets = self.roles[role].signed
        wanted = {path: TargetFile.from_data(path, data, ["sha256"]) for path, data in files.items()}
        changed = wanted != signed.targets
        signed.targets = wanted
        return changed

    def sign(self, role: str, signers: Sequence[Signing], expires: datetime, more: Sequence[Signing] = ()) -> None:
        """A new version of a role; ``more`` are the keys of the root before, which must sign the new one too."""
        metadata = self.roles[role]
        metadata.signed.version += 1
        metadata.signed.expires = expires
        metadata.signatures.clear()
        for signer in {signer.public_key.keyid: signer for signer in (*signers, *more)}.values():
            metadata.sign(signer, append=True)
        if role == "root":
            self.roots[metadata.signed.version] = metadata.to_bytes()

    def collect(self) -> None:
        """Let the snapshot name the newest version of each role, before it is signed; the timestamp comes after it."""
        snapshot: Snapshot = self.roles["snapshot"].signed
        snapshot.meta = {
            f"{role}.json": MetaFile(metadata.signed.version)
            for role, metadata in self.roles.items()
            if role not in ("root", "snapshot", "timestamp") and metadata.signed.version > 0
        }

    def stamp(self) -> None:
        """Let the timestamp name the newest snapshot."""
        self.roles["timestamp"].signed.snapshot_meta = MetaFile(self.roles["snapshot"].signed.version)

    def root_files(self) -> dict[str, bytes]:
        """Every root there was, by path, oldest first."""
        return {f"{METADATA}{number}.root.json": text for number, text in sorted(self.roots.items())}

    def published(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """Everything that gates fetch, in an order in which each piece may be put out; the timestamp is last."""
        out = self.root_files()
        for role, metadata in self.roles.items():
            targets = getattr(metadata.signed, "targets", None)
            for path in targets or ():
                digest = targets[path].hashes["sha256"] if targets else ""
                folder, slash, name = path.rpartition("/")
                out[f"{TARGETS}{folder}{slash}{digest}.{name}"] = files[path]
            if role not in ("root", "timestamp") and metadata.signed.version > 0:
                out[f"{METADATA}{metadata.signed.version}.{role}.json"] = metadata.to_bytes()
        out[TIMESTAMP] = self.roles["timestamp"].to_bytes()
        return out


def _unsigned(signed: Any) -> Metadata[Any]:
    """Metadata that its first signature makes version 1."""
    signed.version = 0
    return Metadata(signed)


class _Elsewhere(Signing):
    """A P-256 key that is not in this process."""

    def __init__(self, key: Key, sign: Callable[[bytes], bytes]) -> None:
        self._key, self._sign = key, sign

    @property
    def public_key(self) -> Key:
        return self._key

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: Any = None) -> Signing:
        raise NotImplementedError

    def sign(self, payload: bytes) -> Signature:
        raw = self._sign(payload)
        signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        return Signature(self._key.keyid, signature.hex())


def signer_of(private: Any) -> Signing:
    """A signer of a private key of ``cryptography``."""
    return CryptoSigner(private)


def signer_by(public: Any, sign: Callable[[bytes], bytes]) -> Signing:
    """A signer of a P-256 key that is elsewhere; ``sign`` gives r || s over the SHA-256 of what it is given."""
    return _Elsewhere(public_of(public), sign)


def public_of(public: Any) -> Key:
    """A public key as the metadata names it."""
    return SSlibKey.from_crypto(public)
