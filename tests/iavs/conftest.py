"""The services over a real file, a real log and the real picture side of edge-vision, with painted faces."""

from __future__ import annotations

import asyncio
import contextlib
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from starlette.requests import Request

from edge.app.recorder import record
from edge.app.service import wait_for
from edge.biometric.thresholds import UnsupportedRate
from edge.biometric.values import ReferenceKind
from edge.devices.journal import SqliteJournal
from edge.iavs.bir import Reader
from edge.iavs.catalogue import catalogue
from edge.iavs.desk import Caller, Desk, Options
from edge.iavs.fusion import Calibration
from edge.iavs.gallery import Gallery
from edge.iavs.neighbours import Eye, Pen
from edge.iavs.results import Results
from edge.iavs.services import Services
from edge.iavs.vault import Vault
from edge.trust.interval import Interval
from edge.vision.simulated import PaintSessions, paint
from edge.vision.stills import Stills

KEY = bytes(range(32))
ALL = frozenset(catalogue().scopes())


class Clock:
    """The system's."""

    def now(self) -> Interval:
        return Interval.exactly(datetime.now(UTC))

    def raise_floor(self, moment: datetime) -> None:
        pass

    def monotonic(self) -> float:
        return 0.0


class Open:
    """Lets everybody in as the one caller who may do all."""

    caller = Caller("tester", ALL)

    async def admit(self, request: Request, scope: str) -> Caller:
        return replace(self.caller, name=request.headers.get("x-tester", "tester"))


def threshold(model: str, kind: ReferenceKind, fmr: float) -> float:
    """Painted people are alike or not at all."""
    if fmr < 1e-5:
        raise UnsupportedRate("painted people were measured to 1e-5")
    return 0.5


@dataclass
class Office:
    """A client, and what stands behind the services."""

    client: httpx.AsyncClient
    services: Services
    gallery: Gallery
    desk: Desk
    folder: Path

    @staticmethod
    def face(who: int, **how: Any) -> bytes:
        """A picture of a painted person."""
        return face(who, **how)

    @staticmethod
    def bir(picture: bytes, kind: str = "Face", **info: Any) -> dict[str, Any]:
        """A sample as callers send it."""
        return bir(picture, kind, **info)

    async def __call__(self, service: str, **inputs: Any) -> httpx.Response:
        """Ask by the first method that takes a body."""
        method = next((m for m in catalogue().services[service].methods if m in ("POST", "PUT", "PATCH")), None)
        if method is None:
            query = {k: v if isinstance(v, str) else json.dumps(v) for k, v in inputs.items()}
            return await self.client.request(catalogue().services[service].method, f"/{service}", params=query)
        return await self.client.request(method, f"/{service}", json=inputs)

    async def ok(self, service: str, **inputs: Any) -> dict[str, Any]:
        answer = await self(service, **inputs)
        assert answer.status_code == 200, (service, answer.status_code, answer.text)
        said: dict[str, Any] = answer.json()
        return said


def face(who: int, *, side: int = 240, eyes_px: int = 60, light: float = 1.0) -> bytes:
    """A picture of a painted person, PNG."""
    canvas = np.full((side, side, 3), 60, np.uint8)
    paint(canvas, who, (side // 2, side // 2 - 20), eyes_px, light)
    return bytes(cv2.imencode(".png", canvas)[1].tobytes())


def bir(picture: bytes, kind: str = "Face", **info: Any) -> dict[str, Any]:
    """A sample as callers send it."""
    described = {"type": [kind], "format": {"organization": "257", "type": "8" if kind == "Face" else "7"}} | info
    record = {"birInfo": {"integrity": False}, "bdbInfo": described, "bdb": b64encode(picture).decode()}
    return {"formatOwner": 257, "formatType": 11, "bir": {"json": record}}


@asynccontextmanager
async def office(folder: Path, *, encounters: bool = False, **changes: Any) -> AsyncIterator[Office]:
    """Everything at work, until the end of the block."""
    stills, records = folder / "stills.sock", folder / "record.sock"
    journal = SqliteJournal.open(folder / "journal.db", "urn:gate:test:here:one", "one", Clock())
    vision = Stills(PaintSessions)
    parts = [
        asyncio.create_task(vision.run(stills)),
        asyncio.create_task(record(records, journal)),
    ]
    vault = Vault(KEY)
    gallery = Gallery(folder / "gallery.db", vault, ("staff", "guests"), changes.pop("handing", None))
    await gallery.open()
    options = Options(encounters, fmr=0.001, fpir=0.01)
    eye, pen = Eye(stills), Pen(records)
    desk = Desk(gallery, vault, eye, pen, Reader(catalogue()), options, threshold, "test")
    results = changes.pop("results", Results())
    desk = replace(desk, **changes)
    worth = {"paint-1": Calibration((0.2, 0.5), (0.5, 4.0))}
    services = Services(desk, Open(), model="paint-1", calibrations=worth, results=results)
    transport = httpx.ASGITransport(app=services.door, client=("127.0.0.1", 1))
    for socket in (stills, records):
        await wait_for(socket)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
            yield Office(client, services, gallery, desk, folder)
    finally:
        await services.results.close()
        for part in parts:
            part.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*parts, return_exceptions=True)
        eye.close()
        pen.close()
        await asyncio.sleep(0.02)
        await gallery.close()
        journal.close()


@pytest.fixture
def story(tmp_path: Path) -> Callable[[Callable[[Office], Any]], Any]:
    """Tell one story with the services, person-centric unless it says otherwise."""

    def tell(told: Callable[[Office], Any], **how: Any) -> Any:
        async def whole() -> Any:
            async with asyncio.timeout(30), office(tmp_path, **how) as made:
                return await told(made)

        return asyncio.run(whole())

    return tell


@pytest.fixture
def make_office() -> Callable[..., Any]:
    """Everything at work in a folder, as an asynchronous block."""
    return office
