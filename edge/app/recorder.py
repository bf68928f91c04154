"""edge-gate writes down what edge-web is about to do to the gallery: only one process writes the log.

Rules:

1. An entry holds only ``WORDS``, each short and of plain characters, and the subject's pseudonym. There is no place
   for a name, a picture or a template, whatever edge-web sends.
2. The answer comes when the entry is on disk. Without an answer edge-web does nothing.
3. A few clients, one request at a time each; whoever speaks something else is sent away.
"""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

from edge import wire
from edge.audit.entry import Event, Kind, Value
from edge.errors import DeviceError
from edge.ports import Journal

WORDS = frozenset({"service", "outcome", "caller", "role", "gallery", "kind"})
_PLAIN = re.compile(r"[A-Za-z0-9 ._:/+-]{0,64}")
_CLIENTS = 4
_log = logging.getLogger("edge.gate")


async def record(path: Path, journal: Journal) -> None:
    """Answer until cancelled."""
    await asyncio.to_thread(path.unlink, missing_ok=True)
    talks: set[asyncio.Task[None]] = set()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(talks) >= _CLIENTS:
            writer.close()
            return
        talks.add(task)
        try:
            while True:
                await wire.send(writer, await _kept(await wire.receive(reader), journal))
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass
        except wire.WireError as error:
            _log.warning("record: %s", error)
        finally:
            talks.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(meet, path, limit=wire.LIMIT)
    try:
        await asyncio.to_thread(path.chmod, 0o660)
        await asyncio.Event().wait()
    finally:
        server.close()
        for talk in talks:
            talk.cancel()


async def _kept(message: wire.Message, journal: Journal) -> wire.Message:
    """Rule 1 and 2."""
    if not isinstance(message, wire.Record):
        raise wire.WireError(f"{type(message).__name__} is not a record")
    if not set(message.fields) <= WORDS or len(message.subject) not in (0, 16):
        raise wire.WireError("a record with more than belongs into the log")
    if not all(_PLAIN.fullmatch(text) for text in message.fields.values()):
        raise wire.WireError("a record with text that does not belong into the log")
    fields: dict[str, Value] = dict(message.fields)
    try:
        receipt = await journal.append(Event(Kind.GALLERY, fields, subject=message.subject or None))
    except DeviceError as error:
        return wire.Failed(error.device, error.message)
    return wire.Recorded(receipt.index)
