"""The trust list: who may issue credentials, with which keys, until when. One frozen value, swapped whole.

Life of a list: somebody signs it with a root key (``write_list``), it reaches the gate by whatever way, ``open_list``
verifies it against the roots pinned in the configuration and the version known so far, the gate swaps the value.

Rules:

1. Content decides, never the channel: a list is believed because a pinned root signed it.
2. A version never goes back. The same version again is the same list, told by its digest.
3. A key belongs to one issuer and signs for no other, whatever it is called.
4. An old list is not an empty one: from its end on it works, flagged; how old it may get the profile decides.
5. The document is the same in JSON (for development) and in the signed CBOR; one parser reads both.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509

from edge.errors import Reason, Refusal
from edge.trust import cose
from edge.trust.algorithms import WeakKey
from edge.trust.cbor import Tagged, decode, encode
from edge.trust.interval import Interval
from edge.trust.keys import MALFORMED, Key, forms, from_cose_key, from_jwk, from_material, pinned, public_from
from edge.trust.profile import USUAL, Profile

CONTENT_TYPE: Final = "application/vnd.edge-gate.trust-list+cbor"
LIST_BYTES: Final = 4 << 20
_AAD: Final = b"edge-gate trust list v1"


@dataclass(frozen=True)
class Issuer:
    """Somebody who issues credentials.

    Attributes:
        names: the ``iss`` values that mean this issuer; the first is the one we say. Empty for one who writes none.
        keys: keys that sign for it.
        roots: certificates that a chain in a credential must lead to.
        profile: how its cards are written.
        until: end of the authority's list that it is on; None on the operator's own.
    """

    names: tuple[str, ...]
    keys: tuple[Key, ...]
    roots: tuple[x509.Certificate, ...] = field(default=(), repr=False)
    profile: Profile = USUAL
    until: datetime | None = None
    _by_alias: Mapping[bytes, tuple[Key, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_alias: dict[bytes, tuple[Key, ...]] = {}
        for key in self.keys:
            for alias in key.aliases:
                by_alias[alias] = (*by_alias.get(alias, ()), key)
        object.__setattr__(self, "_by_alias", by_alias)

    @property
    def name(self) -> str:
        """What we call this issuer."""
        return self.names[0] if self.names else ""

    def candidates(self, kid: bytes | None) -> tuple[Key, ...]:
        """Keys that ``kid`` may mean, the most literal reading first; without one, the only key there is."""
        if kid is None:
            return self.keys if len(self.keys) == 1 else ()
        return self._by_alias.get(kid) or next(
            (self._by_alias[form] for form in forms(kid) if form in self._by_alias), ()
        )

    def pins(self, key: Key) -> tuple[Key, ...]:
        """Every entry of this key: what one of them says is true of it, however a message came to it."""
        return tuple(one for one in self.keys if one.thumbprint == key.thumbprint)

    @property
    def sound(self) -> tuple[Key, ...]:
        """The keys that no entry calls compromised."""
        lost = self.lost
        return tuple(key for key in self.keys if key.thumbprint not in lost)

    @property
    def lost(self) -> frozenset[bytes]:
        """Thumbprints of the keys that an entry calls compromised."""
        return frozenset(key.thumbprint for key in self.keys if key.compromised_since is not None)


@dataclass(frozen=True)
class TrustList:
    """Issuers and their keys, verified as a whole.

    Attributes:
        issuers: everybody who is trusted.
        version: only ever grows.
        issued_at, expires: of the list itself, or when it was last confirmed; None in development lists.
        digest: SHA-256 of the document, for entries.
    """

    issuers: tuple[Issuer, ...]
    version: int = 0
    issued_at: datetime | None = None
    expires: datetime | None = None
    digest: bytes = b""
    _by_name: Mapping[str, Issuer] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name: dict[str, Issuer] = {}
        for issuer in self.issuers:
            for name in issuer.names or ("",):
                if by_name.setdefault(normal(name), issuer) is not issuer:
                    raise ValueError(f"two issuers are called {name!r}")
        object.__setattr__(self, "_by_name", by_name)

    def issuer(self, iss: str | None) -> Issuer | None:
        """Find who ``iss`` is; None stands for a credential that does not say."""
        if iss is None:
            return self._by_name.get("")
        return (self._by_name.get(iss) or self._by_name.get(normal(iss))) if iss.strip("/ ") else None

    def age_s(self, now: Interval, iss: str | None = None) -> int | None:
        """Least seconds since this list was signed or confirmed; None for one without dates.

        For an issuer whose authority's list has ended, at least the seconds since then.
        """
        if self.issued_at is None:
            return None
        until = self._until(iss)
        since = self.issued_at if until is None else min(self.issued_at, until)
        return max(0, int((now.lower - since).total_seconds()))

    def ended(self, now: Interval, iss: str | None = None) -> bool:
        """Whether the list, or that of the authority of this issuer, is past its end for sure."""
        return any(end is not None and end <= now.lower for end in (self.expires, self._until(iss)))

    def _until(self, iss: str | None) -> datetime | None:
        issuer = None if iss is None else self.issuer(iss)
        return None if issuer is None else issuer.until


def normal(iss: str) -> str:
    """One spelling of an issuer: scheme and host in small letters, no slash at the end."""
    iss = iss.strip().rstrip("/")
    scheme, found, rest = iss.partition("://")
    if not found:
        return iss
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}://{host.lower()}{slash}{path}"


def told(trust: TrustList, false_times: Collection[int]) -> TrustList:
    """The list, without when it was signed where a person called that false."""
    false = trust.issued_at is not None and int(trust.issued_at.timestamp()) in false_times
    return replace(trust, issued_at=None) if false else trust


def merged(lists: Iterable[TrustList], faults: list[str]) -> TrustList:
    """One list; an issuer that is in two of them counts as the first one says."""
    main, *others = lists
    taken = {normal(name) for issuer in main.issuers for name in issuer.names}
    issuers = list(main.issuers)
    for other in others:
        for issuer in other.issuers:
            names = {normal(name) for name in issuer.names}
            if names & taken:
                faults.append(f"{issuer.name}: is on two lists; the operator's counts")
                continue
            taken |= names
            issuers.append(issuer)
    digest = main.digest if not others else hashlib.sha256(b"".join(each.digest for each in (main, *others))).digest()
    return replace(main, issuers=tuple(issuers), digest=digest)


def open_list(data: bytes, roots: Sequence[str | bytes], known_version: int = 0) -> TrustList:
    """Verify a signed list.

    Args:
        data: COSE_Sign1, as ``write_list`` made it.
        roots: pinned public keys: SPKI as PEM, DER or base64 of DER.
        known_version: the newest version seen so far.

    Raises:
        Refusal: no-trust, for everything that is wrong with it.
        ValueError: a pinned root is not a usable key (a mistake in the configuration).
    """
    keys = [pinned(public_from(root)) for root in roots]
    try:
        payload = _verified(data, keys)
        document = decode(payload, depth=16, items=1 << 20)
    except Refusal as refusal:
        raise Refusal(Reason.NO_TRUST, f"trust list: {refusal.detail}") from refusal
    try:
        trust = parse(document, hashlib.sha256(payload).digest())
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise Refusal(Reason.NO_TRUST, f"trust list: {error}") from error
    if trust.issued_at is None or trust.expires is None:
        raise Refusal(Reason.NO_TRUST, "trust list: no dates")
    if trust.version < max(known_version, 1):
        raise Refusal(Reason.NO_TRUST, f"trust list: version {trust.version} is older than {known_version}")
    return trust


def _verified(data: bytes, keys: Iterable[Key]) -> bytes:
    if len(data) > LIST_BYTES:
        raise Refusal(Reason.TOO_LARGE, "larger than any list")
    envelope = cose.unwrap(data)
    if envelope.tags != (cose.SIGN1,):
        raise Refusal(Reason.UNREADABLE, "not a signed list")
    message = cose.message(envelope)
    if message.protected.get(cose.CONTENT_TYPE) != CONTENT_TYPE:
        raise Refusal(Reason.UNREADABLE, "signed, but not as a trust list")
    if not any(message.verifies(message.signatures[0], key, aad=_AAD) for key in keys):
        raise Refusal(Reason.BAD_SIGNATURE, "not signed by a pinned root")
    return message.payload


def write_list(document: Mapping[str, Any], by: cose.Signer) -> bytes:
    """Sign a list that has ``version``, ``issued_at``, ``expires`` (seconds since 1970) and ``issuers``.

    Raises:
        ValueError: the list would not be accepted.
    """
    payload = encode(document)
    trust = parse(document, b"")
    if trust.version < 1 or trust.issued_at is None or trust.expires is None:
        raise ValueError("a signed list needs version (1 or more), issued_at and expires")
    return encode(Tagged(cose.SIGN1, cose.make_sign1(payload, by, {cose.CONTENT_TYPE: CONTENT_TYPE}, aad=_AAD)))


def open_plain(text: str) -> TrustList:
    """Read a development list: plain JSON, not signed. Never used by a gate.

    Raises:
        ValueError: not a list.
    """
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("a trust list is a JSON object")  # noqa: TRY004 -- as below
    return parse(document, hashlib.sha256(text.encode()).digest())


_MEMBERS: Final = frozenset({"version", "issued_at", "expires", "issuers", "comment"})
_ISSUER_MEMBERS: Final = frozenset({"iss", "aliases", "jwks", "keys", "roots", "profile", "comment"})
_KEY_MEMBERS: Final = frozenset(
    {"jwk", "cose_key", "public", "alg", "kids", "not_before", "not_after", "compromised_since", "comment"}
)


def parse(document: Mapping[str, Any], digest: bytes) -> TrustList:
    """Read the document of a list, whichever way it came.

    Raises:
        ValueError: a member is unknown, missing or malformed, or a key proves nothing.
    """
    _known(document, _MEMBERS, "list")
    issuers = tuple(_issuer(_mapping(entry, "issuer")) for entry in _sequence(document.get("issuers"), "issuers"))
    version = document.get("version", 0)
    if type(version) is not int or version < 0:
        raise ValueError("version is not a number")
    issued_at, expires = _moment(document.get("issued_at")), _moment(document.get("expires"))
    return TrustList(issuers, version, issued_at, expires, digest)


def _issuer(entry: Mapping[str, Any]) -> Issuer:
    _known(entry, _ISSUER_MEMBERS, "issuer")
    iss = entry.get("iss")
    names = (*(() if iss is None else (iss,)), *_sequence(entry.get("aliases", ()), "aliases"))
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError("iss and aliases are text")
    jwks = _mapping(entry.get("jwks", {}), "jwks")
    members = [_mapping(member, "key") for member in _sequence(jwks.get("keys", ()), "jwks.keys")]
    keys = [from_jwk(member) for member in members if member.get("use") != "enc"]
    keys += [_key(_mapping(member, "key")) for member in _sequence(entry.get("keys", ()), "keys")]
    roots = tuple(_certificate(root) for root in _sequence(entry.get("roots", ()), "roots"))
    return Issuer(names, tuple(keys), roots, Profile.parse(_mapping(entry.get("profile", {}), "profile")))


def _key(entry: Mapping[str, Any]) -> Key:
    _known(entry, _KEY_MEMBERS, "key")
    kids = _sequence(entry.get("kids", ()), "kids")
    if not all(isinstance(kid, str | bytes) for kid in kids):
        raise ValueError("kids are text or bytes")
    match entry:
        case {"jwk": jwk}:
            key = from_jwk(_mapping(jwk, "jwk"))
        case {"cose_key": bytes() | str() as raw}:
            key = from_cose_key(_cose_map(base64.b64decode(raw) if isinstance(raw, str) else raw))
        case {"public": bytes() | str() as material}:
            key = from_material(material, entry.get("alg"))
        case _:
            raise ValueError("a key needs jwk, cose_key or public")
    return replace(
        key,
        aliases=key.aliases | {form for kid in kids for form in forms(kid)},
        not_before=_moment(entry.get("not_before")) or key.not_before,
        not_after=_moment(entry.get("not_after")) or key.not_after,
        compromised_since=_moment(entry.get("compromised_since")),
    )


def _cose_map(raw: bytes) -> Mapping[Any, Any]:
    try:
        return _mapping(decode(raw), "cose_key")
    except Refusal as refusal:
        raise ValueError(f"cose_key: {refusal.detail}") from refusal


def _certificate(material: str | bytes) -> x509.Certificate:
    raw = material.encode() if isinstance(material, str) else material
    try:
        if b"-----BEGIN" in raw:
            return x509.load_pem_x509_certificate(raw)
        return x509.load_der_x509_certificate(base64.b64decode(raw) if isinstance(material, str) else raw)
    except MALFORMED as error:
        raise ValueError(f"a root is no certificate: {error}") from error


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None or not 1970 <= moment.year < 9999:
            raise ValueError("a date without its zone, or out of range")
        return moment.astimezone(UTC)
    if type(value) is not int or not 0 <= value < 1 << 38:
        raise ValueError("a date is neither seconds since 1970 nor ISO 8601 text")
    return datetime.fromtimestamp(value, UTC)


def _known(entry: Mapping[str, Any], members: frozenset[str], where: str) -> None:
    for name in entry:
        if name not in members:
            raise ValueError(f"{where}: {name!r} is not known")


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is not an object")  # noqa: TRY004 -- one kind of error for a malformed document
    return value


def _sequence(value: object, where: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where} is not a list")  # noqa: TRY004 -- as above
    return value


__all__ = ["Issuer", "TrustList", "WeakKey", "normal", "open_list", "open_plain", "parse", "write_list"]
