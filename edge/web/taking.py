"""The log as a file to take away, and what a receipt is about. For operators; the gate has written down who asks.

Rules:

1. A file is taken with a link of chance, once, soon, and by the one who ordered it. No part of an address ever names a
   file, and none is made: what is sent is read from the log as it goes.
2. A receipt is looked up by the hash of its entry, or by the 40 bits of it in the receipt's number: an index alone
   finds nothing.
3. However long the log is: a file takes one piece of memory, and is put together beside the loop that serves the pages.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from edge.audit import receipt
from edge.audit.entry import Kind, LogError, decode
from edge.audit.proof import Proof
from edge.audit.tree import leaf_hash
from edge.errors import DeviceError
from edge.orders import Known, Obeyed, What
from edge.ports import Log
from edge.trust.operators import Role
from edge.web import stream
from edge.web.asked import asked
from edge.web.desk import Desk, answered, fits, ticket_of
from edge.web.standing import Told

LINK_S = 120.0
_LINKS = 8
_PIECE = 64 * 1024
_GONE = "this link is not good any more\n"


@dataclass(frozen=True)
class _Link:
    ticket: str
    until_s: float


class Taking:
    """Exports and receipts."""

    def __init__(
        self,
        desk: Desk,
        log: Log,
        sequence: Callable[[], Iterator[bytes]],
        name: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up.

        Args:
            desk: who asks.
            log: to look entries up in.
            sequence: the pieces of an export, in order.
            name: of the gate, for the file's name.
            monotonic: a stopwatch.
        """
        self._desk, self._log, self._sequence, self._monotonic = desk, log, sequence, monotonic
        self._name = re.sub(r"[^a-z0-9-]", "-", name.lower())[:40]
        self._links: dict[str, _Link] = {}

    def routes(self) -> list[Route]:
        """Addresses."""
        return [
            Route("/act/export", self.order, methods=["POST"]),
            Route("/act/receipt", self.receipt, methods=["POST"]),
            Route("/export/{link:str}", self.take),
        ]

    async def order(self, request: Request) -> Response:
        """An admin's fresh code for a link."""
        fields = await asked(request, {"why": str, "codes": list})
        told = await self._desk.ordered(request, What.EXPORT.value, **fields, visit=-1)
        if not isinstance(told, Obeyed):
            return answered(told)
        now_s = self._monotonic()
        self._links = {link: one for link, one in self._links.items() if one.until_s > now_s}
        while len(self._links) >= _LINKS:
            self._links.pop(next(iter(self._links)))
        link = secrets.token_urlsafe(24)
        self._links[link] = _Link(ticket_of(request), now_s + LINK_S)
        return JSONResponse({"entry": told.entry, "link": f"/export/{link}"})

    async def take(self, request: Request) -> Response:
        """Rule 1."""
        link = self._links.get(request.path_params["link"])
        known = await self._desk.reader(request)
        ours = link is not None and link.until_s > self._monotonic() and link.ticket == ticket_of(request)
        if not ours or known is None or not known.role.includes(Role.ADMIN):
            return Response(_GONE, 404, media_type="text/plain")
        if request.method == "HEAD":
            return Response(media_type="application/cbor-seq")
        del self._links[request.path_params["link"]]
        head = {"Content-Disposition": f'attachment; filename="{self._name}.log"'}
        return StreamingResponse(self._pieces(), media_type="application/cbor-seq", headers=head)

    async def _pieces(self) -> AsyncIterator[bytes]:
        """Rule 3; an export that breaks off is noticed by whoever reads it: its end is missing."""
        sequence = self._sequence()
        with contextlib.suppress(DeviceError):
            while piece := await asyncio.to_thread(_piece, sequence):
                yield piece

    async def receipt(self, request: Request) -> Response:
        """What a receipt is about: the entry, when the receipt is one of this log."""
        known = await self._known(request)
        fields = await asked(request, {"text": list})
        if known is None or not known.role.includes(Role.OPERATOR):
            return JSONResponse({"no": "role"}, 403)
        try:
            text = "".join(fields["text"]).strip()
            if text.startswith(receipt.PREFIX):
                return JSONResponse(self._about(receipt.read(text)))
            return JSONResponse(self._under(*receipt.numbered(text)))
        except LogError as error:
            return JSONResponse({"no": "none", "detail": str(error)[:120]}, 422)
        except DeviceError as error:
            return JSONResponse({"no": "failed", "detail": error.message}, 503)

    async def _known(self, request: Request) -> Known | None:
        return await self._desk.reader(request) if fits(request) else None

    def _under(self, epoch: int, index: int, letters: str) -> dict[str, Any]:
        """The entry under a number; one that was written down wrongly is of none."""
        if epoch != self._log.epoch():
            return {"found": "another-epoch", "epoch": epoch, "index": index}
        found = self._log.read(index, 1) if index < self._log.size() else []
        told = Told.of(decode(found[0])) if found and receipt.letters_of(leaf_hash(found[0])) == letters else None
        if told is None or told.index != index or told.kind not in (Kind.GRANTED, Kind.DENIED):
            return {"found": "none", "epoch": epoch, "index": index}
        return {"found": "here", "epoch": epoch, "entry": stream.entry(told)}

    def _about(self, proof: Proof) -> dict[str, Any]:
        """Rule 2."""
        head = proof.checkpoint.head
        if head.epoch != self._log.epoch():
            return {"found": "another-epoch", "epoch": head.epoch, "index": proof.index}
        entries = self._log.entries(proof.index, 1)
        if not entries or entries[0].index != proof.index or entries[0].kind not in (Kind.GRANTED, Kind.DENIED):
            return {"found": "none", "epoch": head.epoch, "index": proof.index}
        path = self._log.inclusion(proof.index, head.size) if head.size <= self._log.size() else ()
        if path != proof.path or self._log.root(head.size) != head.root:
            return {"found": "another", "epoch": head.epoch, "index": proof.index}
        return {"found": "here", "epoch": head.epoch, "entry": stream.entry(Told.of(entries[0]))}


def _piece(sequence: Iterator[bytes]) -> bytes:
    """The next items, a piece full; empty at the end."""
    piece = bytearray()
    for item in sequence:
        piece += item
        if len(piece) >= _PIECE:
            break
    return bytes(piece)
