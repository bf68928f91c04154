"""What the five processes say to each other on this machine: typed, length-limited messages over Unix sockets.

Rules:

1. A message is a four-byte big-endian length and that many bytes of CBOR: ``[name, {field: value}]``.
2. No message is longer than ``LIMIT``; a longer one, an unknown name, an unknown or missing field or a wrong type ends
   the connection.
3. Both ends have deadlines. Silence is an answer too: a device error.

The messages themselves are in ``messages.py``, those of operators in ``orders.py``.
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
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import cbor2

from edge.biometric.values import Enrolled, Picture, Template
from edge.errors import DeviceError
from edge.messages import (
    AskCode,
    AskComparison,
    AskEnrolled,
    AskModels,
    AskProbe,
    AskSearch,
    AskStill,
    Carried,
    Done,
    Failed,
    Forget,
    Health,
    Hinted,
    Message,
    Neighbour,
    Record,
    Recorded,
    Refused,
    Shown,
    Still,
    StillWork,
)

LIMIT = 256 * 1024
STILL_LIMIT = 2 * 1024 * 1024
"""Bytes of the longest message about a picture that was handed over: a registration picture is larger than a card's."""
_LENGTH = struct.Struct(">I")
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
