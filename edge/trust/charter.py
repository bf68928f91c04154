"""The charter: who, beside the roots, may sign what. Signed by a root, like the trust list itself.

Rules:

1. ``live`` keys are at work every day, on a machine with a network: they confirm that the lists are the newest ones,
   and sign what is withdrawn. They can never add an issuer.
2. An authority signs the trust list of its own issuers, named here one by one; it speaks for nobody else.
3. Who may command gates is written here with what they may command.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from edge.errors import Reason, Refusal
from edge.trust.cose import Signer
from edge.trust.keys import Key, from_material
from edge.trust.list import normal
from edge.trust.signed import Document, Purpose, Times, counting, seal, unseal

MAY: Final = ("unlock", "lock-down", "fetch-log", "reload")
_MEMBERS: Final = ("version", "live", "authorities", "operators")


@dataclass(frozen=True)
class Authority:
    """Somebody who answers for issuers of their own."""

    name: str
    key: Key
    issuers: frozenset[str]


@dataclass(frozen=True)
class Operator:
    """Somebody who may command gates."""

    name: str
    key: Key
    may: frozenset[str]


@dataclass(frozen=True)
class Charter:
    """Who may sign what.

    Attributes:
        version: only ever grows.
        live: keys for confirmations and for what is withdrawn.
        authorities: by name.
        operators: who may command.
        issued_at, expires: of the charter.
    """

    version: int = 0
    live: tuple[Key, ...] = ()
    authorities: Mapping[str, Authority] = field(default_factory=dict)
    operators: tuple[Operator, ...] = ()
    issued_at: datetime | None = None
    expires: datetime | None = None


def write_charter(
    version: int,
    live: Sequence[bytes],
    authorities: Sequence[Mapping[str, Any]],
    operators: Sequence[Mapping[str, Any]],
    times: Times,
    by: Signer,
) -> bytes:
    """Sign a charter.

    Args:
        version: only ever grows.
        live: public keys, DER.
        authorities: ``{"name", "public", "issuers"}``.
        operators: ``{"name", "public", "may"}``.
        times: issued, expires.
        by: a root.
    """
    members = {"version": version, "live": list(live), "authorities": list(authorities), "operators": list(operators)}
    return seal(Purpose.CHARTER, members, times, by)


def open_charter(data: bytes, roots: Iterable[Key], known_version: int = 0) -> Charter:
    """Verify a charter.

    Raises:
        Refusal: no-trust, for everything that is wrong with it.
    """
    try:
        document = unseal(Purpose.CHARTER, data, roots, _MEMBERS)
        charter = _charter(document)
    except (Refusal, ValueError, TypeError, KeyError) as error:
        raise Refusal(Reason.NO_TRUST, f"charter: {error}") from error
    if charter.version < known_version:
        raise Refusal(Reason.NO_TRUST, f"charter: version {charter.version} is older than {known_version}")
    return charter


def _charter(document: Document) -> Charter:
    members = document.members
    authorities = [_authority(entry) for entry in members["authorities"]]
    return Charter(
        counting(members["version"]),
        tuple(from_material(public) for public in members["live"]),
        {one.name: one for one in authorities},
        tuple(_operator(entry) for entry in members["operators"]),
        document.issued_at,
        document.expires,
    )


def _authority(entry: Mapping[str, Any]) -> Authority:
    name, issuers = entry["name"], entry["issuers"]
    if not isinstance(name, str) or not name or not all(isinstance(iss, str) and iss for iss in issuers):
        raise ValueError("an authority has a name and issuers")
    return Authority(name, from_material(entry["public"]), frozenset(normal(iss) for iss in issuers))


def _operator(entry: Mapping[str, Any]) -> Operator:
    name, may = entry["name"], entry["may"]
    if not isinstance(name, str) or not set(may) <= set(MAY):
        raise ValueError("an operator has a name and known commands")
    return Operator(name, from_material(entry["public"]), frozenset(may))
