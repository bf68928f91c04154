"""The pages on a real port: events, their resumption, and connections that dawdle."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from edge import listening, wire
from edge.app.service import wait_for
from edge.audit.entry import Kind
from edge.biometric.values import Hint
from edge.cli import operator
from edge.errors import DeviceError, Reason
from edge.listening import Places
from edge.passage import Indication
from edge.settings import Web
from edge.web import board as board_module
from edge.web import pages as pages_module
from edge.web import server as server_module
from edge.web import stream as stream_module
from edge.web.kiosk import Face, Screen
from edge.web.languages import load
from edge.web.panel import listen, understood
from edge.web.server import ports_of, serve

Folder = Any  # of conftest.py
Run = Callable[[Coroutine[Any, Any, Any]], Any]
Event = tuple[str, str, dict[str, Any]]


class Events:
    """A page that keeps itself up to date, read naively."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self.lines = lines

    async def next(self, *names: str) -> Event:
        """The next event of these names: id, name, what it tells."""
        event: dict[str, str] = {}
        async for line in self.lines:
            if not line and event.get("event") in names:
                return event.get("id", ""), event["event"], json.loads(event["data"])
            if not line:
                event = {}
            else:
                field, _, value = line.partition(":")
                event[field] = value.strip()
        raise EOFError


@asynccontextmanager
async def following(url: str, **headers: str) -> AsyncIterator[Events]:
    async with httpx.AsyncClient(timeout=45) as client, client.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield Events(answer.aiter_lines())


def test_a_visit_is_told_as_it_happens(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(port=True) as stand, following(stand.url + "/events") as events:
            visit = await stand.put(Kind.DENIED, reason="no-match", stages={"read": 1500, "verify": 500})
            number, _, told = await events.next("entry")
            assert number == f"{stand.board.epoch}-{visit.index}"
            assert told["sentence"].startswith("The face does not match")
            assert told["took_ms"] == 2
            fields = {"index", "at", "age_s", "kind", "alarm", "sentence", "visit", "reason", "detail", "took_ms"}
            assert set(told) == fields
            _, _, standing = await events.next("standing")
            assert standing["refusals"] == {"no-match": 1}

    run(story())


def test_a_page_of_an_operator_who_left_begins_anew_where_anyone_may_read(
    folder: Folder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_module, "AGAIN_S", 0.0)

    async def story() -> None:
        async with folder.stand(port=True) as stand:
            phone = await stand.enrolled()
            token = await stand.logged_in(phone)
            cookie = {"Cookie": f"edge-operator={stand.client.cookies['edge-operator']}"}
            async with following(stand.url + "/events", **cookie) as events:
                await stand.put(Kind.DURESS)
                while (await events.next("entry"))[2]["kind"] != "duress":
                    pass
                await stand.act("logout", token)
                await stand.put(Kind.DURESS)
                assert (await events.next("entry", "over"))[1] == "over"
            async with following(stand.url + "/events") as events:
                await stand.put(Kind.EXIT_REQUEST)
                while (told := (await events.next("entry"))[2])["kind"] != "exit-request":
                    assert told["kind"] != "duress"

    run(story())


def test_a_page_that_comes_back_gets_what_it_missed_and_nothing_twice(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(port=True) as stand:
            for _ in range(4):
                await stand.put(Kind.EXIT_REQUEST)
            async with following(stand.url + "/events") as events:
                seen = [await events.next("entry") for _ in range(2)]
            await stand.put(Kind.GRANTED)
            for again in ({"Last-Event-ID": seen[-1][0]}, {}):
                query = "" if again else f"?after={seen[-1][0]}"
                async with following(f"{stand.url}/events{query}", **again) as events:
                    missed = [(await events.next("entry"))[2]["index"] for _ in range(3)]
                assert missed == [2, 3, 4]

    run(story())


def test_a_page_that_was_away_too_long_is_told_so(folder: Folder, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "RECENT", 10)

    async def story() -> None:
        async with folder.stand(port=True) as stand:
            for _ in range(30):
                await stand.put(Kind.EXIT_REQUEST)
            await stand.until(lambda: stand.board.standing.size == 30)
            async with following(stand.url + "/events", **{"Last-Event-ID": f"{stand.board.epoch}-4"}) as events:
                assert (await events.next("gap", "entry"))[2] == {"from": 5, "count": 15}
                assert (await events.next("entry"))[2]["index"] == 20

    run(story())


@pytest.mark.parametrize("named", ["0-99999", "77-3", "x", "1-", "-1", "1-1-1", "٣-٤", "9" * 400, "1-" + "9" * 18])
def test_a_page_that_names_nonsense_gets_the_newest(named: str, folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(port=True) as stand:
            await stand.put(Kind.EXIT_REQUEST)
            await stand.until(lambda: stand.board.standing.size == 1)
            async with following(stand.url + "/events?after=" + named) as events:
                await events.next("standing")
                await stand.put(Kind.GRANTED)
                assert (await events.next("entry"))[2]["kind"] in ("granted", "exit-request")

    run(story())


def test_the_kiosk_changes_at_once_and_not_when_somebody_looks_again(
    folder: Folder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How soon that is on a machine, ``scripts/bench`` tells."""

    async def story() -> None:
        async with folder.stand(port=True) as stand:
            stand.show(Indication.READY)
            await stand.read()
            expired = load(("fr",))[0].of(Face(Screen.REFUSED, Reason.EXPIRED)).say
            async with following(stand.url + "/kiosk/events?lang=fr,ar") as events:
                _, _, idle = await events.next("kiosk")
                assert idle["screen"] == "idle"
                assert [(words["lang"], words["dir"]) for words in idle["words"]] == [("fr", "ltr"), ("ar", "rtl")]
                monkeypatch.setattr(board_module, "LOOK_S", 1000.0)
                monkeypatch.setattr(stream_module, "KIOSK_S", 1000.0)
                for indication in (Indication.READING, Indication.LOOK, Indication.WELCOME):
                    stand.show(indication)
                    while (told := (await events.next("kiosk"))[2])["screen"] != indication.value:
                        pass
                await stand.put(Kind.DENIED, reason="expired")
                stand.show(Indication.REFUSED)
                while told["words"][0]["say"] != expired:
                    _, _, told = await events.next("kiosk")

    run(story())


def test_the_kiosk_says_why(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(port=True) as stand:
            await stand.put(Kind.BOOT, attacks_detected=False)
            stand.show(Indication.READING)
            await stand.read()
            async with following(stand.url + "/kiosk/events") as events:
                await events.next("kiosk")
                await stand.put(Kind.DENIED, reason="expired")
                stand.show(Indication.REFUSED)
                told: dict[str, Any] = {}
                while told.get("words", [{}])[0].get("say") != "This card has expired.":
                    _, _, told = await events.next("kiosk")
                assert told["screen"] == "refused"
                assert told["words"][0]["step"] == "Please ask your issuer for a new one."
                assert told["notice"] == "Pilot: attacks by photo or screen are not detected."

    run(story())


def test_only_so_many_pages_are_kept_up_to_date(folder: Folder, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_module, "STREAMS", 1)

    async def story() -> None:
        async with (
            folder.stand(port=True) as stand,
            following(stand.url + "/events") as first,
            httpx.AsyncClient(timeout=30) as client,
        ):
            async with following(stand.url + "/kiosk/events") as second:
                await first.next("standing")
                await second.next("kiosk")
                assert (await client.get(stand.url + "/events")).status_code == 503
                assert "edge_web_streams 2" in (await client.get(stand.url + "/metrics")).text
            while "edge_web_streams 1" not in (await client.get(stand.url + "/metrics")).text:  # noqa: ASYNC110 -- it tells by numbers
                await asyncio.sleep(0.02)  # a page that went away gives its place back

    run(story())


async def answer_to(url: str, asked: bytes, *, wait_s: float = 30.0) -> bytes:
    """What a raw connection gets until it is closed, or for ``wait_s``."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = b""
    try:
        writer.write(asked)
        async with asyncio.timeout(wait_s):
            while more := await reader.read(4096):
                answer += more
    except TimeoutError:
        answer += b"(still open)"
    except ConnectionError:  # closed before all of it was read
        pass
    finally:
        writer.close()
    return answer


def test_names_of_strangers_are_refused_on_the_wire(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(port=True) as stand:
            for head in (b"Host: evil.example\r\n", b"Host: localhost\r\nHost: localhost\r\n", b""):
                answer = await answer_to(stand.url, b"GET / HTTP/1.1\r\n" + head + b"\r\n")
                assert answer.split()[1] in (b"421", b"400")
                assert b"Harbour" not in answer
            assert (await answer_to(stand.url, b"GET / HTTP/1.0\r\n\r\n")).split()[1] == b"421"

    run(story())


@pytest.mark.parametrize(
    "asked",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX: "],
    ids=["silent", "half a line", "half a head"],
)
def test_who_dawdles_loses_the_connection(
    asked: bytes, folder: Folder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HEAD_S", 0.3)

    async def story() -> None:
        async with folder.stand(port=True) as stand:
            assert b"(still open)" not in await answer_to(stand.url, asked)
            monkeypatch.setattr(listening, "HEAD_S", 30.0)
            async with httpx.AsyncClient(timeout=30) as client:
                assert (await client.get(stand.url + "/static/icon.svg")).status_code == 200

    run(story())


def test_a_head_without_end_is_cut_off(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(port=True) as stand:
            answer = await answer_to(stand.url, b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
            assert b"(still open)" not in answer

    run(story())


def test_a_slow_body_does_not_wait(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(port=True) as stand:
            host = stand.url.removeprefix("http://").encode()
            asked = b"GET / HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 1000000\r\n\r\nx"
            answer = await answer_to(stand.url, asked)
            assert answer.split()[1] == b"413"
            assert b"(still open)" not in answer

    run(story())


def test_a_stop_does_not_wait_for_open_pages(folder: Folder, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "GOODBYE_S", 1000)  # whoever waited for them would do so for as long

    async def story() -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            async with folder.stand(port=True) as stand:
                url = stand.url
                stream = client.stream("GET", url + "/events")
                answer = await stream.__aenter__()
            await answer.aclose()
            with pytest.raises(httpx.ConnectError):
                await client.get(url + "/health")

    run(story())


def certified(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gate")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(private, hashes.SHA256())
    )
    certificate, key = folder / "pages.pem", folder / "web-tls-key"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, key


def test_the_pages_speak_tls_where_they_have_a_certificate(folder: Folder, run: Run, tmp_path: Path) -> None:
    async def story() -> None:
        certificate, key = certified(tmp_path)
        web = Web("127.0.0.1", 0, certificate=certificate)
        async with folder.stand(web, port=True, key=key) as stand:
            trusting = ssl.create_default_context(cafile=str(certificate))
            async with httpx.AsyncClient(verify=trusting) as client:
                assert (await client.get(stand.url + "/login")).status_code == 200
            with pytest.raises(httpx.TransportError):
                async with httpx.AsyncClient() as client:
                    await client.get(stand.url.replace("https", "http") + "/login")
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
            with pytest.warns(DeprecationWarning):
                old.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises(httpx.ConnectError):
                async with httpx.AsyncClient(verify=old) as client:
                    await client.get(stand.url + "/login")

    run(story())


@pytest.mark.parametrize(
    ("web", "address"),
    [
        (Web("127.0.0.1", 8080), "http://127.0.0.1:8080"),
        (Web("192.168.1.9", 8080), "http://127.0.0.1:8080"),  # in the clear passwords are taken here only
        (Web("127.0.0.1", 8080, certificate=Path("web.pem")), "http://127.0.0.1:8080"),  # no browser has to trust it
        (Web("192.168.1.9", 8080, certificate=Path("web.pem")), "https://192.168.1.9:8444"),
        (Web("fd00::9", 8080, certificate=Path("web.pem")), "https://[fd00::9]:8444"),
        (Web("0.0.0.0", 8080, ("gate.local",), certificate=Path("web.pem")), "https://gate.local:8444"),
        (Web("0.0.0.0", 8080, certificate=Path("web.pem")), "https://ADDRESS-OF-THIS-GATE:8444"),
    ],
)
def test_who_is_enrolled_is_told_an_address_that_takes_passwords(web: Web, address: str) -> None:
    assert operator._pages(web) == address


def test_a_certificate_that_cannot_be_used_keeps_nobody_from_the_screen_and_is_tried_again(
    folder: Folder, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "AGAIN_S", 0.1)
    tries, secured = [0], server_module._secured

    def counted(*told: Any) -> listening.Listening:
        tries[0] += 1
        return secured(*told)

    monkeypatch.setattr(server_module, "_secured", counted)

    async def story() -> None:
        certificate, key = certified(tmp_path)
        whole = key.read_bytes()
        key.write_bytes(whole[:40])
        web = Web("127.0.0.1", 0, certificate=certificate)
        async with folder.stand(web, port=True, key=key) as stand, httpx.AsyncClient() as screen:
            assert (await screen.get(stand.here + "/kiosk")).status_code == 200
            while tries[0] < 4:  # noqa: ASYNC110 -- a file has no event
                await asyncio.sleep(0.02)
            assert caplog.text.count("web-tls-key") == 1, "said once"
            with pytest.raises(httpx.ConnectError):
                await screen.get(stand.url.replace("https", "http") + "/login")  # never in the clear instead
            key.write_bytes(whole)
            trusting = ssl.create_default_context(cafile=str(certificate))
            async with asyncio.timeout(40), httpx.AsyncClient(verify=trusting, timeout=30) as phone:
                while True:
                    with contextlib.suppress(httpx.ConnectError):
                        assert (await phone.get(stand.url + "/login")).status_code == 200
                        break
                    await asyncio.sleep(0.05)

    run(story())


@pytest.mark.parametrize("without", ["certificate", "key"])
def test_a_certificate_that_is_not_there_is_a_sentence_for_the_technician(
    without: str, folder: Folder, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        certificate, key = certified(tmp_path)
        (certificate if without == "certificate" else key).unlink()
        web = Web("127.0.0.1", 0, certificate=certificate)
        async with folder.stand(web, port=True, key=key) as stand, httpx.AsyncClient() as screen:
            assert (await screen.get(stand.here + "/kiosk")).status_code == 200

    run(story())
    assert "with the credential web-tls-key: [Errno 2]" in caplog.text


def test_everywhere_without_ipv6_is_still_this_machine(
    folder: Folder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = socket.socket.__init__

    def of_old(self: socket.socket, family: int = -1, *more: Any, **named: Any) -> None:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        made(self, family, *more, **named)

    monkeypatch.setattr(socket.socket, "__init__", of_old)

    async def story() -> None:
        async with folder.stand(Web("::", 0), port=True) as stand, httpx.AsyncClient() as screen:
            assert (await screen.get(stand.here + "/kiosk")).status_code == 200

    run(story())


@pytest.mark.parametrize("host", ["::0", "0::", "0:0:0:0:0:0:0:0"])
def test_everywhere_is_everywhere_however_it_is_written(host: str) -> None:
    assert len(ports_of(Web(host, 8080))) == 1
    assert operator._pages(Web(host, 8080, certificate=Path("web.pem"))) == "https://ADDRESS-OF-THIS-GATE:8444"


def stranger(number: int, **more: Any) -> httpx.AsyncClient:
    """A browser on another machine: one that does not call from this machine's own address."""
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(local_address=f"127.0.0.{number}", **more), timeout=30)


async def held(url: str, count: int, asked: bytes = b"", *, by: int = 2) -> list[socket.socket]:
    """Connections that somebody on another machine opens and does not let go of."""
    host, _, port = url.partition("://")[2].partition(":")
    lines = []
    for _ in range(count):
        line = socket.create_connection((host, int(port)), timeout=30, source_address=(f"127.0.0.{by}", 0))
        with contextlib.suppress(OSError):  # it may have been hung up on already
            line.send(asked)
        lines.append(line)
        HELD.append(line)
        await asyncio.sleep(0)
    await queued(host, int(port))
    return lines


async def queued(host: str, port: int) -> None:
    """Whoever came before has been let in or hung up on: somebody of this machine came after them, and is through."""
    reader, writer = await asyncio.open_connection(host, port)
    with contextlib.suppress(ConnectionError):
        writer.write(b"nonsense\r\n\r\n")
        await reader.read()
    writer.close()


async def first_of(line: socket.socket, length: int) -> bytes:
    """What comes on a connection, or nothing where it is hung up on."""
    try:
        return await asyncio.to_thread(line.recv, length)
    except ConnectionResetError:
        return b""


def let_go(lines: list[socket.socket]) -> None:
    for line in lines:
        line.close()


HELD: list[socket.socket] = []


@pytest.fixture(autouse=True)
def nobody_left() -> Iterator[None]:
    """What a test that failed has opened is closed with it: the next one is not told of it."""
    yield
    let_go(HELD)
    HELD.clear()


def test_the_screen_finds_its_page_in_the_clear_beside_a_port_under_tls(
    folder: Folder, run: Run, tmp_path: Path
) -> None:
    async def story() -> None:
        certificate, key = certified(tmp_path)
        for host in ("0.0.0.0", "127.0.0.1", "::"):
            web = Web(host, 0, certificate=certificate, kiosk="here")
            async with folder.stand(web, port=True, key=key) as stand, httpx.AsyncClient() as screen:
                assert (await screen.get(stand.here + "/kiosk")).status_code == 200
                trusting = ssl.create_default_context(cafile=str(certificate))
                async with stranger(2, verify=trusting) as phone:
                    assert (await phone.get(stand.url + "/login")).status_code == 200
                    assert (await phone.get(stand.url + "/kiosk")).status_code == 403

    run(story())


@pytest.mark.parametrize("host", ["127.0.0.3", "0.0.0.0", "::", "127.0.0.1"])
def test_the_screen_finds_its_page_wherever_others_do(host: str, folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(Web(host, 0), port=True) as stand, httpx.AsyncClient() as client:
            assert (await client.get(stand.here + "/kiosk")).status_code == 200
            if host == "127.0.0.3":
                other = stand.here.replace("127.0.0.1", host)
                assert (await client.get(other + "/login")).status_code == 200

    run(story())


def test_a_network_that_is_not_there_keeps_nobody_from_the_screen(
    folder: Folder, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with folder.stand(Web("203.0.113.77", 0), port=True) as stand, httpx.AsyncClient() as client:
            assert (await client.get(stand.here + "/kiosk")).status_code == 200

    run(story())
    assert "cannot listen on 203.0.113.77" in caplog.text


@pytest.mark.parametrize("kiosk", ["here", "network"])
def test_the_operator_page_leads_to_the_kiosk_page_whoever_is_shown_that(kiosk: Any, folder: Folder, run: Run) -> None:
    async def story() -> None:
        web = Web("127.0.0.1", 0, readers="anyone", kiosk=kiosk)
        async with folder.stand(web, port=True) as stand, stranger(2) as other, httpx.AsyncClient() as screen:
            for browser in (other, screen):
                shown = (await browser.get(stand.here + "/kiosk")).status_code == 200
                page = (await browser.get(stand.here + "/")).text
                assert ('href="/kiosk"' in page, "{" in page) == (shown, False)
            assert (await screen.get(stand.here + "/kiosk")).status_code == 200

    run(story())


def test_a_proxy_of_this_machine_at_another_address_of_it_is_a_stranger(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(port=True) as stand, stranger(2) as behind:
            assert (await behind.get(stand.here + "/login")).status_code == 200
            assert (await behind.get(stand.here + "/kiosk")).status_code == 403
            lines = await held(stand.here, 16, by=2)
            with pytest.raises(httpx.TransportError):
                async with stranger(2) as another:
                    await another.get(stand.here + "/login")
            let_go(lines)

    run(story())


async def served(stand: Any, phone: httpx.AsyncClient, url: str = "") -> bool:
    """Whether the screen of this machine and an operator on another one get what they want."""
    async with following(stand.here + "/kiosk/events") as screen, httpx.AsyncClient(timeout=30) as client:
        await screen.next("kiosk")
        assert (await client.get(stand.here + "/health")).status_code in (200, 503)
        async with phone.stream("GET", (url or stand.here) + "/events") as answer:
            assert answer.status_code == 200
            await Events(answer.aiter_lines()).next("standing")
        return (await phone.get((url or stand.here) + "/me")).status_code == 200


async def carried(stand: Any, phone: httpx.AsyncClient, *, under: str = "") -> None:
    """Log an operator in, and have his browser keep what it was given; ``under``: what TLS has before the names."""
    await stand.logged_in(await stand.enrolled())
    phone.cookies.update({under + name: kept for name, kept in stand.client.cookies.items()})


def test_screens_that_a_stranger_keeps_open_take_nobodys_place(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(Web("127.0.0.1", 0, kiosk="network"), port=True) as stand, stranger(3) as phone:
            await carried(stand, phone)
            asked = f"GET /kiosk/events HTTP/1.1\r\nHost: {stand.here[7:]}\r\n\r\n".encode()
            lines = [line for by in (2, 4) for line in await held(stand.here, 16, asked, by=by)]
            try:
                answers = [await first_of(line, 30) for line in lines]
                assert [answer.split()[1] for answer in answers].count(b"200") == 4, "two for each"
                async with stranger(5) as screen, screen.stream("GET", stand.here + "/kiosk/events") as answer:
                    assert answer.status_code == 200, "a screen of the site elsewhere has its place"
                assert await served(stand, phone)
            finally:
                let_go(lines)

    run(story())


def test_connections_that_a_stranger_holds_take_nobodys_place(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(Web("127.0.0.1", 0), port=True) as stand, stranger(3) as phone:
            await carried(stand, phone)
            lines = await held(stand.here, 64)
            assert await served(stand, phone)
            lines += [line for by in range(4, 10) for line in await held(stand.here, 16, by=by)]
            async with httpx.AsyncClient(timeout=30) as client:  # all that strangers have is taken, not what is kept
                assert (await client.get(stand.here + "/kiosk")).status_code == 200
            let_go(lines)

    run(story())


def test_half_a_handshake_takes_nobodys_place_and_ends(
    folder: Folder, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: Callable[[float], None]
) -> None:
    monkeypatch.setattr(listening, "HANDSHAKE_S", 20.0)

    async def story() -> None:
        certificate, key = certified(tmp_path)
        trusting = ssl.create_default_context(cafile=str(certificate))
        web = Web("127.0.0.1", 0, certificate=certificate)
        async with folder.stand(web, port=True, key=key) as stand, stranger(3, verify=trusting) as phone:
            await carried(stand, phone, under="__Host-")
            lines = await held(stand.url, 200)
            assert await served(stand, phone, stand.url)
            later(21.0)
            for line in lines:
                assert await first_of(line, 1) == b""  # hung up on, at once or when its time was over
            async with stranger(2, verify=trusting) as again:
                assert (await again.get(stand.url + "/login")).status_code == 200, "their places are free again"
            let_go(lines)

    run(story())


def test_a_place_is_given_back_however_a_connection_ends() -> None:
    places = Places(4, 1, 2)
    assert [places.take(who) for who in ("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1")] == [True, True, False]
    assert places.take("fd00::1")
    assert not places.take("10.0.0.2")  # the last one is kept
    assert places.take("127.0.0.1")
    assert not places.take("127.0.0.1")
    places.leave("10.0.0.1")
    assert places.take("fd00::2")
    places.leave("127.0.0.1")
    assert not places.take("fd00::3"), "a machine has a whole network of IPv6 addresses"
    assert len(places) == 3


def test_who_holds_most_gives_the_newest_up_to_who_has_less() -> None:
    places, ended = listening.Places(14, 2, 6), list[str]()

    def taken(address: str, name: str) -> bool:
        def end() -> None:
            ended.append(name)
            places.leave(address, end)

        return places.take(address, end)

    for line in range(6):
        assert taken("10.0.0.1", f"a{line}") and taken("10.0.0.2", f"b{line}")
    assert not taken("10.0.0.1", "a6"), "no more than a share"
    assert taken("10.0.0.9", "operator")
    assert ended in (["a5"], ["b5"])
    assert taken("10.0.0.9", "operator's second")
    assert sorted(ended) == ["a5", "b5"]
    assert [taken("10.0.0.9", "more") for _ in range(3)] == [True, True, False], "nobody holds two more than that"
    assert taken("127.0.0.1", "screen"), "this machine's places are its own"
    assert len(ended) == 4
    assert len(places) == 13
    assert not places.take("10.0.0.8"), "what cannot be ended takes nobody's place"


def test_a_few_lines_that_somebody_opened_first_stay_whoever_comes() -> None:
    places, ended = listening.Places(12, 4, 6), list[str]()

    def taken(address: str) -> bool:
        def end() -> None:
            ended.append(address)
            places.leave(address, end)

        return places.take(address, end)

    assert all(taken("10.0.0.1") for _ in range(2))
    assert all(taken(f"10.0.1.{number}") for number in range(6))
    assert not any(taken(f"10.0.2.{number}") for number in range(9))
    assert ended == []


def test_however_many_addresses_hold_what_they_can_another_one_is_answered(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(port=True) as stand:
            foes = [await held(stand.url, 20, by=number) for number in range(10, 18)]
            for attempt in range(10):
                async with stranger(200 + attempt) as operator:
                    assert (await operator.get(stand.url + "/login")).status_code == 200
            for lines in foes:
                let_go(lines)

    run(story())


def test_what_drips_in_after_the_answer_holds_no_place(
    folder: Folder, run: Run, later: Callable[[float], None]
) -> None:
    """An address that there is not is answered before the body is read."""

    async def story() -> None:
        async with folder.stand(port=True) as stand:
            host, port = stand.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"POST /nothing HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 900\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            later(listening.HEAD_S + 1)
            with contextlib.suppress(ConnectionError):  # hung up on while something was on its way
                while await reader.read(1000):
                    pass
            writer.close()

    run(story())


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_who_is_gone_without_a_word_holds_no_place_for_long(host: str) -> None:
    port = listening.Listening("web", host, 0, 1024, 1)
    with port._ear() as ear, socket.create_connection(("127.0.0.1", ear.getsockname()[1]), timeout=30):
        line, _ = ear.accept()
        with line:
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


def test_a_taken_port_is_a_sentence_for_the_technician(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(port=True) as stand:
            port = int(stand.url.rpartition(":")[2])
            with pytest.raises(DeviceError, match=f"cannot listen on 127.0.0.1 port {port}"):
                await serve(stand.app, stand.board, Web("127.0.0.1", port))

    run(story())


def test_what_was_asked_is_not_logged(folder: Folder, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)

    async def story() -> None:
        async with folder.stand(port=True) as stand:
            host = stand.url.removeprefix("http://").encode()
            asked = b"GET /health?name=somebody HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
            assert b"serving" in await answer_to(stand.url, asked)
            await answer_to(stand.url, b"nonsense somebody\r\n\r\n")

    run(story())
    assert "somebody" not in caplog.text


def test_the_panel_is_heard_and_nonsense_is_not(tmp_path: Path, run: Run) -> None:
    async def story() -> None:
        heard: asyncio.Queue[Indication | Hint] = asyncio.Queue()
        path = tmp_path / "panel.sock"
        listening = asyncio.create_task(listen(path, heard.put_nowait, heard.put_nowait))
        await wait_for(path)
        bodies = (b"", b"nonsense", b"\xff" * 900, wire.encode(wire.Done()), wire.encode(wire.Health("x", True)))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gate:
            told = (wire.encode(wire.Shown(Indication.LOOK)), wire.encode(wire.Hinted(Hint.CLOSER)))
            for body in (*bodies, *told):
                gate.sendto(body, str(path))
            async with asyncio.timeout(30):
                assert await heard.get() is Indication.LOOK
                assert await heard.get() is Hint.CLOSER
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        assert not path.exists()

    run(story())


def test_an_unknown_indication_is_silence() -> None:
    body = wire.encode(wire.Shown(Indication.READY))
    assert understood(body) == wire.Shown(Indication.READY)
    assert understood(body.replace(b"ready", b"steady")) is None
