"""What the five processes say to each other on this machine: typed, length-limited messages over Unix sockets.

Rules:

1. A message is a four-byte big-endian length and that many bytes of CBOR: ``[name, {field: value}]``.
2. No message is longer than ``LIMIT``; a longer one, an unknown name, an unknown or missing field or a wrong type ends
   the connection.
3. Both ends have deadlines. Silence is an answer too: a device error.

``edge-gate`` asks, ``edge-vision`` answers, one request at a time. The other processes tell ``edge-gate`` how their
device is once a second (``Health``), a datagram each: the present state, not the change, so a lost one costs a second.
``edge-web`` asks ``edge-vision`` about pictures that somebody handed over, on a socket of their own (``AskStill``), and
asks ``edge-gate`` to write down every change of the gallery before it makes it (``Record``), and for what an operator
wants to do (``orders.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import socket
import struct
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import cbor2

from edge import orders
from edge.biometric.values import (
    Comparison,
    Enrolled,
    Hint,
    Identification,
    ModelSet,
    Picture,
    Probe,
    ProbeQuality,
    Reference,
    ReferenceKind,
    Template,
)
from edge.errors import DeviceError
from edge.passage import Indication
from edge.ports import Code

LIMIT = 256 * 1024
STILL_LIMIT = 2 * 1024 * 1024
"""Bytes of the longest message about a picture that was handed over: a registration picture is larger than a card's."""
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True)
class AskCode:
    """Wait up to ``deadline_s`` for the next code."""

    deadline_s: float


@dataclass(frozen=True)
class AskModels:
    """Which models are at work?"""


@dataclass(frozen=True)
class AskProbe:
    """Find one whole face in a frame after ``newer_than``; it will be compared with ``reference``."""

    wanted: ProbeQuality
    newer_than: int
    deadline_s: float
    reference: Reference | None = None


@dataclass(frozen=True)
class Hinted:
    """On the way to a probe, before the answer and any number of times: what would help the person."""

    hint: Hint


@dataclass(frozen=True)
class AskComparison:
    """Compare that probe with this reference."""

    reference: Reference
    probe: int


@dataclass(frozen=True)
class AskEnrolled:
    """Does the gallery have a face of this person that can be compared? ``Done``, or ``Refused``."""

    gallery: str
    claim: str = field(repr=False)


@dataclass(frozen=True)
class AskSearch:
    """Compare that probe with everybody in the gallery."""

    gallery: str
    probe: int


@dataclass(frozen=True)
class Forget:
    """The visit is over: drop its pixels and templates."""


@dataclass(frozen=True)
class Done:
    """Nothing to report: a code did not come before the deadline, or a visit was forgotten."""


@dataclass(frozen=True)
class Refused:
    """The person has to act: the code of a ``Reason``, and a detail for the operator."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Failed:
    """A device failed: its name, and what the technician should know."""

    device: str
    message: str


@dataclass(frozen=True)
class Carried:
    """A command as it came from the network, not judged; ``edge-gate`` alone does that."""

    signed: bytes = field(repr=False)


@dataclass(frozen=True)
class Neighbour:
    """What another gate of this site says, as it came; ``edge-gate`` alone judges it."""

    said: bytes = field(repr=False)


@dataclass(frozen=True)
class Health:
    """How one device is, as its own process sees it; ``detail`` is for the technician, empty when all is well."""

    device: str
    ok: bool
    detail: str = field(default="")


@dataclass(frozen=True)
class Shown:
    """What the panel shows now: told to ``edge-web`` at each change and once a second."""

    indication: Indication


class StillWork(Enum):
    """What to do with a picture that somebody handed over."""

    FACTS = "facts"  # quality, template, attack score
    CROP = "crop"  # the face with its surroundings
    ALIGN = "align"  # the face alone, upright
    CONVERT = "convert"  # the whole picture in another format


@dataclass(frozen=True)
class AskStill:
    """Look at this picture; the answer's picture is in the format ``form`` (jpeg, png, webp, jp2)."""

    data: bytes = field(repr=False)
    work: StillWork = StillWork.FACTS
    form: str = "jpeg"


@dataclass(frozen=True)
class Still:
    """What a picture that was handed over shows.

    Attributes:
        width: pixels.
        height: pixels.
        eyes_px: distance between the eyes, pixels of the picture; 0.0 where no face was looked for.
        sharpness: as in ``Probe``.
        brightness: as in ``Probe``.
        quality: 0 to 100, our own measure.
        turned: whether the face clearly looks elsewhere.
        small: whether thresholds for small references hold.
        bona_fide: as in ``Probe``; None also where the face's surroundings are missing.
        model: name and version of the embedder.
        template: its vector, float32 little-endian.
        picture: what was asked for, else empty.
        took_us: all together, microseconds.
    """

    width: int
    height: int
    eyes_px: float
    sharpness: float
    brightness: float
    quality: int
    turned: bool
    small: bool
    bona_fide: float | None
    model: str
    template: bytes = field(repr=False)
    picture: bytes = field(repr=False)
    took_us: int


@dataclass(frozen=True)
class Record:
    """Write down what is about to be done to the gallery: plain words, and the subject's pseudonym (16 bytes, or none).

    Nothing is done before ``Recorded`` came back.
    """

    fields: dict[str, str]
    subject: bytes = field(repr=False)


@dataclass(frozen=True)
class Recorded:
    """It is on disk, as this entry of the log."""

    index: int


Message = (
    AskCode
    | AskModels
    | AskProbe
    | AskComparison
    | AskEnrolled
    | AskSearch
    | Forget
    | Done
    | Refused
    | Failed
    | Health
    | Carried
    | Neighbour
    | Shown
    | Hinted
    | AskStill
    | Still
    | Record
    | Recorded
    | orders.Asked
    | orders.AskedAtConsole
    | orders.Told
    | Code
    | ModelSet
    | Probe
    | Comparison
    | Identification
)
_NAMED: dict[str, type] = {t.__name__: t for t in typing.get_args(Message)}
_VALUES: dict[str, type] = {t.__name__: t for t in (Picture, Template, Enrolled)}


class WireError(ValueError):
    """Bytes that are not one of our messages."""


def encode(message: Message, limit: int = LIMIT) -> bytes:
    """One message as CBOR, without the length."""
    body = cbor2.dumps([type(message).__name__, _plain(message)])
    if len(body) > limit:
        raise WireError(f"message of {len(body)} bytes")
    return body


def decode(body: bytes) -> Message:
    """The message in these bytes.

    Raises:
        WireError: anything else than exactly one known message with exactly its fields.
    """
    try:
        stream = io.BytesIO(body)
        name, value = cbor2.load(stream, allow_duplicate_keys=False, allow_indefinite=False, max_depth=8)
        if stream.tell() != len(body):
            raise WireError("bytes after the message")
        return typing.cast(Message, _typed(_NAMED[name], value))
    except WireError:
        raise
    except (cbor2.CBORDecodeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise WireError(f"{type(error).__name__} in a message of {len(body)} bytes") from error


async def send(writer: asyncio.StreamWriter, message: Message, limit: int = LIMIT) -> None:
    """Send one message."""
    body = encode(message, limit)
    writer.write(_LENGTH.pack(len(body)) + body)
    await writer.drain()


async def receive(reader: asyncio.StreamReader, limit: int = LIMIT) -> Message:
    """Wait for one message.

    Raises:
        WireError: the other end speaks something else.
        EOFError: the other end is gone.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > limit:
        raise WireError(f"message of {length} bytes")
    return decode(await reader.readexactly(length))


@contextlib.contextmanager
def ear(path: Path) -> Iterator[socket.socket]:
    """A datagram socket that processes of our group may speak to; its name goes when it goes."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.setblocking(False)
        listening.bind(str(path))
        path.chmod(0o660)
        try:
            yield listening
        finally:
            path.unlink(missing_ok=True)


def raised(message: Failed) -> DeviceError:
    """The device error that the other end met."""
    return DeviceError(message.device, message.message)


def _plain(value: Any) -> Any:
    """A value as CBOR knows it: dataclasses as maps, alternatives with their name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return [type(value).__name__, fields] if type(value).__name__ in _VALUES else fields
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


@cache
def _fields(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}


def _typed(hint: Any, value: Any) -> Any:
    """The plain value as the type that the field promises, or WireError."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if value is None and type(None) in args:
            return None
        if any(arg.__name__ in _VALUES for arg in args):
            name, fields = value
            return _typed(_VALUES[name], fields)
        return _typed(next(arg for arg in args if arg is not type(None)), value)
    if origin is dict:
        return {_typed(args[0], key): _typed(args[1], item) for key, item in dict(value).items()}
    if origin is tuple:
        if args[-1] is Ellipsis:
            args = (args[0],) * len(value)
        if len(value) != len(args):
            raise WireError("wrong number of items")
        return tuple(_typed(arg, item) for arg, item in zip(args, value, strict=True))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if dataclasses.is_dataclass(hint):
        fields = _fields(typing.cast(type, hint))
        if set(value) != set(fields):
            raise WireError(f"fields {sorted(set(value) ^ set(fields))} of {getattr(hint, '__name__', hint)}")
        return typing.cast(type, hint)(**{name: _typed(kind, value[name]) for name, kind in fields.items()})
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise WireError(f"{type(value).__name__} where {hint} belongs")
    return value


__all__ = [
    "LIMIT",
    "STILL_LIMIT",
    "AskCode",
    "AskComparison",
    "AskEnrolled",
    "AskModels",
    "AskProbe",
    "AskSearch",
    "AskStill",
    "Carried",
    "Done",
    "Failed",
    "Forget",
    "Health",
    "Hinted",
    "Message",
    "Neighbour",
    "Record",
    "Recorded",
    "ReferenceKind",
    "Refused",
    "Shown",
    "Still",
    "StillWork",
    "WireError",
    "decode",
    "ear",
    "encode",
    "raised",
    "receive",
    "send",
]
