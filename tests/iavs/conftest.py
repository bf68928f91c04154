"""The services over a real file, a real log and the real picture side of edge-vision, with painted faces."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import ipaddress
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.requests import Request

from edge.app import iavs
from edge.app.recorder import record
from edge.app.service import place_for, wait_for
from edge.biometric.thresholds import UnsupportedRate
from edge.biometric.values import ReferenceKind
from edge.cli import main
from edge.devices.journal import SqliteJournal
from edge.iavs.bir import Reader
from edge.iavs.catalogue import catalogue
from edge.iavs.desk import Caller, Desk, Options
from edge.iavs.forgetting import AGAIN_S
from edge.iavs.fusion import Calibration
from edge.iavs.gallery import Gallery
from edge.iavs.neighbours import Eye, Pen
from edge.iavs.results import Results
from edge.iavs.services import Services
from edge.iavs.vault import Vault
from edge.settings import Settings, load
from edge.trust.interval import Interval
from edge.vision.simulated import PaintSessions, paint
from edge.vision.stills import Stills

ROOT = Path(__file__).parents[2]
KEY = bytes(range(32))
PAINT = """
[models.paint-1]
role = "embedder"
about = "painted people"
licence = "CC0-1.0"
file = "paint.onnx"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
dimensions = 8
mirror = false
input = { name = "input", width = 8, height = 8, colours = "bgr", mean = [0, 0, 0], scale = 1.0 }
points = [1, 1, 2, 1, 2, 2, 1, 3, 2, 3]
[[models.paint-1.sources]]
kind = "folder"
name = "paint.onnx"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
[[models.paint-1.thresholds]]
kind = "full"
fmr = [0.01, 0.001, 0.00001]
score = [0.3, 0.4, 0.5]
fnmr = [0.001, 0.002, 0.003]
genuine = 1000000
impostor = 1000000000
data = "paint"
"""
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


@pytest.fixture(scope="session", autouse=True)
def patient() -> Iterator[None]:
    """Pictures are looked at and entries written in the time that a busy machine takes."""
    with pytest.MonkeyPatch.context() as patch:
        for neighbour in (Eye, Pen):
            patch.setattr(neighbour.__init__, "__defaults__", (60.0,))
        yield


@asynccontextmanager
async def office(folder: Path, *, encounters: bool = False, **changes: Any) -> AsyncIterator[Office]:
    """Everything at work, until the end of the block."""
    stills, records = folder / "stills.sock", folder / "record.sock"
    journal = SqliteJournal.open(folder / "journal.db", "urn:gate:test:here:one", "one", Clock())
    vision = Stills(changes.pop("sessions", PaintSessions))
    parts = [
        asyncio.create_task(vision.run(stills)),
        asyncio.create_task(record(records, journal)),
    ]
    vault = Vault(KEY)
    disk = changes.pop("disk", shutil.disk_usage)
    again_s = changes.pop("again_s", AGAIN_S)
    gallery = Gallery(folder / "gallery.db", vault, ("staff", "guests"), changes.pop("handing", None), disk, again_s)
    await gallery.open()
    options = Options(encounters, fmr=0.001, fpir=0.01)
    eye, pen = Eye(stills), Pen(records)
    desk = Desk(gallery, vault, eye, pen, Reader(catalogue()), options, threshold, "test")
    results = changes.pop("results", Results())
    worth = changes.pop("calibrations", {"paint-1": Calibration((0.2, 0.5), (0.5, 4.0))})
    desk = replace(desk, **changes)
    services = Services(desk, Open(), calibrations=worth, results=results)
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
            async with asyncio.timeout(120), office(tmp_path, **how) as made:
                return await told(made)

        return asyncio.run(whole())

    return tell


@pytest.fixture
def make_office() -> Callable[..., Any]:
    """Everything at work in a folder, as an asynchronous block."""
    return office


def commanded(*arguments: str) -> str:
    """What a command says."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(list(arguments)) == 0
    return said.getvalue().strip()


@dataclass
class Live:
    """A running gate office."""

    folder: Path
    port: int
    settings: Settings

    def token(self, *arguments: str, certificate: str = "client.pem") -> str:
        """An access token, as the command line makes it."""
        given = [str(self.folder / each) if each.endswith(".key") else each for each in arguments]
        where = ["--config", str(self.folder / "edge.toml"), "--certificate", str(self.folder / certificate)]
        return commanded("iavs", "token", *where, "--client", "desk", *given)

    def ask(
        self, method: str, path: str, body: Any = None, token: str = "", client: str | None = "client"
    ) -> tuple[int, dict[str, Any]]:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if client is not None:
            context.load_cert_chain(self.folder / f"{client}.pem", self.folder / f"{client}.key")
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=60)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            assert answer.headers["Cache-Control"] == "no-store"
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


def certified(folder: Path, name: str, ca: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None) -> Any:
    """A key and a certificate, self-signed without a CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    made = made.issuer_name(subject if ca is None else ca[0].subject).serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    made = made.add_extension(x509.BasicConstraints(ca=ca is None, path_length=None), critical=True)
    signer = key if ca is None else ca[1]
    ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = made.add_extension(ski, critical=False).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    )
    if ca is None:
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        made = made.add_extension(usage, critical=True)
    else:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = made.sign(signer, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, key


def configured(folder: Path) -> Settings:
    """Certificates, keys, models and a configuration."""
    ca = certified(folder, "ca", None)
    for name in ("server", "client", "second"):
        certified(folder, name, ca)
    certified(folder, "issuer", None)
    foreign = certified(folder, "otherca", None)
    certified(folder, "stranger", foreign)
    (folder / "credentials").mkdir()
    for name in ("iavs-key", "gallery-key"):
        (folder / "credentials" / name).write_bytes(os.urandom(32))
    shutil.copy(folder / "server.key", folder / "credentials" / "iavs-tls-key")
    (folder / "models").mkdir()
    text = (ROOT / "models" / "models.toml").read_text(encoding="utf-8")
    (folder / "models" / "models.toml").write_text(text + PAINT, encoding="utf-8")
    toml = (ROOT / "config" / "edge.toml").read_text(encoding="utf-8")
    for line, instead in (
        ("state = ", f'state = "{folder}/state"'),
        ("run = ", f'run = "{folder}"'),
        ("credentials = ", f'credentials = "{folder}/credentials"'),
        ('folder = "/opt', f'folder = "{folder}/models"'),
        ('source = "floor"', 'source = "system"'),
        ("readers = ", 'readers = "anyone"'),
        ("port = 8080", "port = 0"),
    ):
        toml = re.sub(f"^{re.escape(line)}.*$", instead, toml, count=1, flags=re.MULTILINE)
    head, _, tail = toml.partition("[iavs]")
    for line, instead in (
        ("enabled = ", "enabled = true"),
        ("port = ", "port = 0"),
        ("certificate = ", 'certificate = "server.pem"'),
        ("ca = ", 'ca = "ca.pem"'),
        ("issuers = ", 'issuers = "issuers.json"'),
        ("per_minute = ", "per_minute = 100000"),
        ("at_gate = ", 'at_gate = ["staff"]'),
        ("lanes = ", 'lanes = ["staff"]'),
    ):
        tail = re.sub(f"^{re.escape(line)}.*$", instead, tail, count=1, flags=re.MULTILINE)
    (folder / "edge.toml").write_text(f"{head}[iavs]{tail}", encoding="utf-8")
    issuers = commanded("iavs", "token", "--issuers", str(folder / "issuer.key"), "--certificate", "x", "--client", "x")
    (folder / "issuers.json").write_text(issuers, encoding="utf-8")
    settings = load(folder / "edge.toml")
    settings.paths.journal.parent.mkdir(parents=True, exist_ok=True)
    return settings


@contextlib.contextmanager
def at_work(settings: Settings, *, services: bool, sessions: Any = PaintSessions) -> Iterator[int]:
    """edge-vision for pictures and the pen of edge-gate in a thread, with the services or without; their port."""
    started: list[Any] = []
    ready = threading.Event()

    async def serve() -> None:
        journal = SqliteJournal.open(settings.paths.journal, "urn:gate:test:here:one", "one", Clock())
        number: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        parts = [
            asyncio.create_task(Stills(sessions).run(place_for(settings.paths.stills_socket))),
            asyncio.create_task(record(place_for(settings.paths.record_socket), journal)),
        ]
        await wait_for(settings.paths.record_socket)
        if services:
            parts.append(asyncio.create_task(iavs.run(settings, ready=number)))
        else:
            number.set_result(0)
        started.extend([await number, asyncio.get_running_loop(), asyncio.current_task()])
        ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            for part in reversed(parts):
                part.cancel()
                await asyncio.gather(part, return_exceptions=True)
            journal.close()

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(90)
    port, loop, task = started
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(90)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A gate office on a free port, in a thread of its own."""
    folder = tmp_path_factory.mktemp("o")
    settings = configured(folder)
    with at_work(settings, services=True) as port:
        yield Live(folder, port, settings)


AS_IT_IS = "import sys; from edge.app import memory; memory.forgetful = lambda: None; from edge.cli import main; main()"


@pytest.fixture
def a_process(tmp_path: Path) -> Callable[..., contextlib.AbstractContextManager[tuple[Live, int]]]:
    """The real edge-web with the services, and its number."""

    @contextlib.contextmanager
    def run(sessions: Any, *, forgetful: bool = True) -> Iterator[tuple[Live, int]]:
        settings = configured(tmp_path)
        how = ["-m", "edge"] if forgetful else ["-c", AS_IT_IS]
        told = [sys.executable, *how, "run", "web", "--config", "edge.toml"]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        with (
            at_work(settings, services=False, sessions=sessions),
            subprocess.Popen(told, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as process,
        ):
            assert process.stderr is not None
            try:
                said = [""]
                while "identity services on port" not in said[-1]:
                    said.append(process.stderr.readline())
                    assert said[-1], "".join(said)
                yield Live(tmp_path, int(said[-1].rpartition(" ")[2]), settings), process.pid
            finally:
                process.terminate()

    return run


@pytest.fixture(scope="session")
def site() -> Callable[[Path], Settings]:
    """Makes certificates, keys, models and a configuration in a folder."""
    return configured
