"""One record of the log, as deterministic CBOR (RFC 8949 section 4.2.1).

Rules:

1. An entry is a map with small integer keys; its ``fields`` are a map with text keys, so that a log explains itself.
2. Values are integers, text, byte strings, booleans, None, arrays and maps. No floats (a score is an integer 0 to
   10000), no tags; so an integer has at most 64 bits, since longer ones are written with a tag.
3. No image, template, code text or plain identifier, ever. Kinds are added, never renamed or renumbered.
4. One entry has one encoding. Bytes that are not exactly that encoding are not an entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, cast

import cbor2

Value = int | str | bytes | bool | None | list["Value"] | Mapping[str, "Value"]

VERSION = 1
LIMIT = 64 * 1024
"""Bytes of the largest entry; a decision takes about 500."""
COUNT = 1 << 63
"""Indices, epochs, times and the like are below it: databases keep them in eight bytes, with a sign."""
_WHOLE = 1 << 64


class LogError(ValueError):
    """The log, or a piece of it, is not what it should be; the message says what and where."""


class Kind(IntEnum):
    """What happened. The number is on disk for years."""

    BOOT = 1
    SHUTDOWN = 2
    GRANTED = 10
    DENIED = 11
    TAKEN = 12
    NOT_TAKEN = 13
    OVERRIDE = 14  # a supervisor let somebody in
    DOOR_FORCED = 20
    DOOR_HELD = 21
    TAILGATE = 22
    EXIT_REQUEST = 23
    FIRE = 24
    FIRE_OVER = 25
    TAMPER = 26
    DURESS = 27
    DISPENSER_FAULT = 28
    NOTICED = 29  # somebody came whom the site watches for; nobody sees that it was noticed
    DEVICE_LOST = 30
    DEVICE_BACK = 31
    POWER_LOST = 32
    POWER_BACK = 33
    PORTION_UNGRANTED = 34  # fell out of a dispenser although nobody was granted it
    CLOCK_STEP = 40
    CONFIGURATION = 50
    TRUST_UPDATE = 51
    STATUS_UPDATE = 52
    COMMAND = 53  # from an operator, obeyed or refused
    OPERATOR = 54  # enrolled, dismissed, or tried in vain under that name
    EPOCH_OPEN = 60
    KEY_ROTATION = 61
    WITNESSED = 62
    FORK = 63
    TAIL_KEY = 64
    DROPPED = 70  # n entries of a flood were counted instead of written
    EXPORT = 71
    PRUNED = 72
    BODIES_DELETED = 73  # what was kept about people beside the log
    RESERVATION = 80
    COMMIT = 81
    RELEASE = 82
    CYCLE = 83  # of a benefit: open from here on
    GALLERY = 90  # a request to change, or to read in the raw, what the gallery holds about a person


CRITICAL = frozenset(
    {
        Kind.OVERRIDE,
        Kind.DOOR_FORCED,
        Kind.PORTION_UNGRANTED,
        Kind.TAMPER,
        Kind.DURESS,
        Kind.DEVICE_BACK,
        Kind.CONFIGURATION,
        Kind.TRUST_UPDATE,
        Kind.STATUS_UPDATE,
        Kind.COMMAND,
        Kind.OPERATOR,
        Kind.EPOCH_OPEN,
        Kind.KEY_ROTATION,
        Kind.FORK,
        Kind.TAIL_KEY,
        Kind.PRUNED,
        Kind.BODIES_DELETED,
        Kind.SHUTDOWN,
    }
)
"""Kinds that are sealed at once."""


class Quality(IntEnum):
    """How good the time of an entry is. The names are those of ``ClockState``."""

    UNKNOWN = 0
    FLOOR = 1  # it was not earlier
    HELD = 2  # was certain in this boot, kept since
    SYNCED = 3  # authenticated


@dataclass(frozen=True)
class Event:
    """Something to be written down; the journal adds index, epoch, time and boot.

    Attributes:
        kind: what happened.
        fields: in plain words, see rule 2.
        subject: pseudonym of the person, 16 bytes, keyed per period; None where nobody is concerned.
        issuer: key id of the credential's issuer.
        trust: versions of trust and status lists that decided.
        digests: SHA-256 of the policy, then of each model that decided.
        body: SHA-256 commitment to a detached, encrypted body.
    """

    kind: Kind
    fields: Mapping[str, Value] = field(default_factory=dict)
    subject: bytes | None = field(default=None, repr=False)
    issuer: bytes | None = None
    trust: tuple[int, ...] = ()
    digests: tuple[bytes, ...] = ()
    body: bytes | None = None


@dataclass(frozen=True)
class Entry:
    """An event with its place in the log.

    Attributes:
        index: from 0 in this epoch.
        epoch: of the log; a new one follows damage.
        wall_ms: milliseconds since 1970, UTC; as good as ``quality`` says.
        quality: of that time.
        monotonic_ms: milliseconds since the machine started.
        boot: how often the journal was opened before, plus one.
        kind: a ``Kind``, or the bare number of one that this release does not know yet.
        gate: which gate.
        event: what happened.
    """

    index: int
    epoch: int
    wall_ms: int
    quality: Quality
    monotonic_ms: int
    boot: int
    kind: Kind | int
    gate: str
    fields: Mapping[str, Value]
    subject: bytes | None = field(default=None, repr=False)
    issuer: bytes | None = None
    trust: tuple[int, ...] = ()
    digests: tuple[bytes, ...] = ()
    body: bytes | None = None


def encode(entry: Entry) -> bytes:
    """The one encoding of an entry.

    Raises:
        LogError: it holds something that does not belong into a log.
    """
    plain: dict[int, Any] = {
        0: VERSION,
        1: entry.index,
        2: entry.epoch,
        3: entry.wall_ms,
        4: int(entry.quality),
        5: entry.monotonic_ms,
        6: entry.boot,
        7: int(entry.kind),
        8: entry.gate,
        9: _allowed(entry.fields),
    }
    optional = {10: entry.subject, 11: entry.issuer, 12: list(entry.trust), 13: list(entry.digests), 14: entry.body}
    plain |= {key: value for key, value in optional.items() if value not in (None, [])}
    encoded = deterministic(plain)
    if len(encoded) > LIMIT:
        raise LogError(f"entry of {len(encoded)} bytes")
    return encoded


def decode(encoded: bytes) -> Entry:
    """The entry that these bytes are.

    Raises:
        LogError: they are not exactly one entry in its one encoding.
    """
    plain = strict(encoded)
    if not isinstance(plain, dict) or not set(range(10)) <= set(plain) <= set(range(15)):
        raise LogError("not an entry: wrong keys")
    if not all(type(plain[key]) is int and 0 <= plain[key] < COUNT for key in range(8)):
        raise LogError("not an entry: numbers missing")
    if plain[0] != VERSION:
        raise LogError(f"entry of version {plain[0]}")
    if not isinstance(plain[8], str) or not isinstance(plain[9], dict):
        raise LogError("not an entry: gate or fields missing")
    _allowed(plain[9])
    _optional(plain)
    try:
        quality = Quality(plain[4])
    except ValueError as error:
        raise LogError("not an entry: unknown clock quality") from error
    return Entry(
        index=plain[1],
        epoch=plain[2],
        wall_ms=plain[3],
        quality=quality,
        monotonic_ms=plain[5],
        boot=plain[6],
        kind=_kind(plain[7]),
        gate=plain[8],
        fields=plain[9],
        subject=plain.get(10),
        issuer=plain.get(11),
        trust=tuple(plain.get(12, ())),
        digests=tuple(plain.get(13, ())),
        body=plain.get(14),
    )


def kind_in(encoded: bytes) -> int:
    """The number of the kind of an entry, nothing else of it looked at: for whoever seeks a few in a long log.

    Raises:
        LogError: it has none.
    """
    try:
        return int(cbor2.loads(encoded)[7])
    except Exception as error:  # hostile bytes may fail in any way inside the decoder
        raise LogError("not an entry") from error


def deterministic(plain: object) -> bytes:
    """CBOR with shortest numbers, definite lengths and sorted keys.

    Keys of one map are all numbers or all text here; for those, shortest first and bytewise is the same order.
    """
    try:
        return cbor2.dumps(plain, canonical=True)
    except cbor2.CBOREncodeError as error:
        raise LogError(f"cannot be encoded: {error}") from error


def strict(encoded: bytes) -> Any:
    """The value of deterministic CBOR; any other encoding of the same value is refused.

    Raises:
        LogError: not deterministic, not CBOR, or nested too deeply.
    """
    try:
        plain = cbor2.loads(encoded, max_depth=16, allow_indefinite=False, allow_duplicate_keys=False)
        again = cbor2.dumps(plain, canonical=True)
    except Exception as error:  # hostile bytes may fail in any way inside the decoder
        raise LogError("not CBOR") from error
    if again != encoded:
        raise LogError("not deterministic CBOR")
    return plain


def _kind(number: int) -> Kind | int:
    try:
        return Kind(number)
    except ValueError:
        return number


def _optional(plain: dict[int, Any]) -> None:
    """Check the keys that need not be there."""
    for key, length in ((10, 16), (11, None), (14, 32)):
        value = plain.get(key, b"")
        if not isinstance(value, bytes) or (key in plain and length not in (None, len(value))):
            raise LogError(f"not an entry: key {key}")
    for key, kind in ((12, int), (13, bytes)):
        values = plain.get(key, [])
        if not isinstance(values, list) or not all(type(value) is kind for value in values):
            raise LogError(f"not an entry: key {key}")
        _allowed(values)


def _allowed(value: object, depth: int = 0) -> Value:
    """The value, if rule 2 allows it."""
    if depth > 8:
        raise LogError("fields nest too deeply")
    if type(value) is int and not -_WHOLE <= value < _WHOLE:
        raise LogError("an integer of more than 64 bits does not belong into a log")
    if value is None or type(value) in (int, str, bytes, bool):
        return cast(Value, value)
    if isinstance(value, list | tuple):
        return [_allowed(item, depth + 1) for item in value]
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return {str(key): _allowed(item, depth + 1) for key, item in value.items()}
    raise LogError(f"{type(value).__name__} does not belong into a log")
