"""Certificates that are withdrawn, and lists of them that have ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from starlette.responses import Response

from edge.app import iavs
from edge.errors import DeviceError
from edge.iavs.certificates import Certificates
from edge.iavs.server import Port, serve
from edge.settings import load

MINUTE = timedelta(minutes=1)
Site = Any  # of conftest.py


def withdraw(
    folder: Path, *names: str, ends: timedelta = 60 * MINUTE, by: str = "ca", made: timedelta = -MINUTE
) -> None:
    """A list of these clients' certificates, put in place at once."""
    key: Any = serialization.load_pem_private_key((folder / f"{by}.key").read_bytes(), None)
    now = datetime.now(UTC)
    issuer = x509.load_pem_x509_certificate((folder / f"{by}.pem").read_bytes())
    listed = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).last_update(now - 60 * MINUTE)
    listed = listed.next_update(now + ends)
    for name in names:
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
        one = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
        listed = listed.add_revoked_certificate(one.revocation_date(now).build())
    part = folder / "crl.part"
    part.write_bytes(listed.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    part.replace(folder / "crl.pem")


@dataclass
class Door:
    """The port alone, with an answer behind it that says whose certificate came."""

    folder: Path
    port: int
    failed: list[BaseException]

    def context(self, client: str) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        made.load_cert_chain(self.folder / f"{client}.pem", self.folder / f"{client}.key")
        return made

    def answers(self, client: str) -> bool:
        with contextlib.suppress(OSError), connection(self, self.context(client)) as secured:
            return asked(secured)
        return False


@contextlib.contextmanager
def connection(door: Door, context: ssl.SSLContext, session: Any = None) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", door.port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secured,
    ):
        yield secured


def asked(secured: ssl.SSLSocket) -> bool:
    secured.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b"\r\n\r\nx"):
        more = secured.recv(4096)
        if not more:
            return False
        answer += more
    return answer.startswith(b"HTTP/1.1 200")


class Ahead:
    """The system's clock, and how far it is ahead."""

    by = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.by


def papers_of(folder: Path, made: type[Certificates] = Certificates, **more: Any) -> Certificates:
    return made(folder / "server.pem", folder / "server.key", folder / "ca.pem", folder / "crl.pem", **more)


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await Response("x" if "x5t#S256" in scope["state"] else "", 200)(scope, receive, send)


@contextlib.contextmanager
def opened(folder: Path, certificates: Certificates | None = None) -> Iterator[Door]:
    ready = threading.Event()
    failed: list[BaseException] = []
    started: list[Any] = []

    async def story() -> None:
        papers = certificates or papers_of(folder)
        number: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        part = asyncio.create_task(serve(hello, Port("127.0.0.1", 0, papers, check_s=0.05), number))
        started.extend([await number, asyncio.get_running_loop(), part])
        ready.set()
        try:
            await part
        except DeviceError as error:
            failed.append(error)

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(story())

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(60)
    try:
        yield Door(folder, started[0], failed)
    finally:
        with contextlib.suppress(RuntimeError):
            started[1].call_soon_threadsafe(started[2].cancel)
        thread.join(60)
        assert not thread.is_alive()


def until(done: Any) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path: Path, site: Site) -> Path:
    site(tmp_path)
    return tmp_path


def test_a_withdrawn_certificate_is_turned_away_and_the_others_are_not(folder: Path) -> None:
    withdraw(folder, "second")
    with opened(folder) as door:
        assert door.answers("client")
        assert not door.answers("second")
        assert not door.answers("stranger")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_new_list_ends_connections_and_sessions_under_the_old_one(folder: Path, version: ssl.TLSVersion) -> None:
    withdraw(folder)
    with opened(folder) as door:
        context = door.context("second")
        context.maximum_version = version
        with connection(door, context) as open_before:
            assert asked(open_before)
            session = open_before.session
            withdraw(folder, "second")
            with contextlib.suppress(OSError):
                until(lambda: not asked(open_before))
        until(lambda: door.answers("client"))
        assert not door.answers("second")
        with contextlib.suppress(OSError), connection(door, context, session) as resumed:
            assert not asked(resumed)


def test_a_list_that_is_replaced_while_it_is_read_is_noticed(folder: Path) -> None:
    class Slow(Certificates):
        """Read by a machine that has other things to do, while the technician brings a newer list."""

        def context(self) -> ssl.SSLContext:
            made = super().context()
            if not read:
                withdraw(folder, "second")
            read.append(made)
            return made

    read: list[ssl.SSLContext] = []
    withdraw(folder)
    with opened(folder, papers_of(folder, Slow)) as door:
        until(lambda: len(read) > 1)
        until(lambda: door.answers("client"))
        assert not door.answers("second")


def test_a_list_that_has_ended_closes_the_port_and_says_why(folder: Path) -> None:
    withdraw(folder, ends=30 * MINUTE)
    clock = Ahead()
    with opened(folder, papers_of(folder, now=clock)) as door:
        assert door.answers("client")
        clock.by = 31 * MINUTE
        until(lambda: door.failed)
        assert "list of withdrawn certificates ended at" in str(door.failed[0])
        assert not door.answers("client")
    papers = papers_of(folder, now=clock)
    with pytest.raises(DeviceError, match=r"nobody is answered until .*crl.pem is a newer one"):
        papers.context()
    withdraw(folder)
    assert papers.context().verify_flags & ssl.VERIFY_CRL_CHECK_LEAF


def test_a_list_by_somebody_else_or_none_is_said(folder: Path) -> None:
    papers = papers_of(folder)
    with pytest.raises(DeviceError, match="no list of withdrawn certificates"):
        papers.context()
    withdraw(folder, by="otherca")
    with pytest.raises(DeviceError, match="by somebody else"):
        papers.context()
    (folder / "crl.pem").write_bytes(b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    with pytest.raises(DeviceError, match="no list of withdrawn certificates"):
        papers.context()


def test_the_technician_is_told_and_a_newer_list_mends_it(folder: Path, site: Site) -> None:
    withdraw(folder, ends=-MINUTE)
    toml = (folder / "edge.toml").read_text(encoding="utf-8").replace('crl = ""', 'crl = "crl.pem"')
    (folder / "edge.toml").write_text(toml, encoding="utf-8")
    part = iavs.Part(load(folder / "edge.toml"))

    async def story() -> None:
        running = asyncio.create_task(part.run())
        async with asyncio.timeout(120):
            await asyncio.to_thread(until, lambda: "ended at" in part.trouble)
            withdraw(folder)
            await asyncio.to_thread(until, lambda: not part.trouble)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(story())


def test_certificates_are_never_taken_on_trust(folder: Path) -> None:
    for far in ("0.0.0.0", "192.168.1.1", "::"):
        with pytest.raises(DeviceError, match="this machine only"):
            Port(far, 0).context()
    papers = replace(papers_of(folder), crl=None)
    context = papers.context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    with pytest.raises(DeviceError):
        replace(papers, ca=folder / "absent.pem").context()
