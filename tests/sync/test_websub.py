"""A hub as the W3C describes it, on a port of its own, and the desk that it tells of changes."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from edge.cli import websub as command
from edge.demo.broker import PUBLISHER, Authority
from edge.demo.port import free_port
from edge.errors import DeviceError
from edge.settings import SettingsError
from edge.sync.fetching import Document
from edge.sync.notices import Notices, Topic
from edge.sync.office import Office
from edge.sync.websub import Pace, Subscriber
from edge.trust import cose
from edge.trust.cbor import Tagged, encode
from edge.trust.keys import jwk, pinned
from edge.trust.status import TYPE
from edge.trust.whole import mark
from edge.trust.withdrawn import open_hashes, short

ROOT = Path(__file__).resolve().parents[2]
TOPICS = {
    "CREDENTIAL_STATUS_UPDATE": "look",
    "CA_CERTIFICATE_UPLOADED": "offer",
    "example/withdrawn": "withdraw",
}


def until(true: Callable[[], object], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


class Hub:
    """Hub and issuer on one port: takes subscriptions, asks back, signs what it delivers."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "authority")
        self.subscribed: dict[str, list[dict[str, str]]] = {}
        self.challenged: list[tuple[int, bytes]] = []
        self.files: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        self.deny, self.lease = "", ""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                hub.tokens.add(self.headers["Authorization"])
                hub.subscribed.setdefault(form["hub.topic"], []).append(form)
                self._answer(202, b"")
                threading.Thread(target=hub.ask_back, args=(form,), daemon=True).start()

            def do_GET(self) -> None:
                body = hub.files.get(self.path)
                self._answer(404 if body is None else 200, body or b"")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"https://localhost:{self.port}"
        identity = self.authority.issue("hub", server=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self._outward = ssl.create_default_context(cafile=str(self.authority.certificate))

    def ask_back(self, form: dict[str, str], **instead: str) -> tuple[int, bytes]:
        asked = {"hub.mode": "subscribe", "hub.topic": form["hub.topic"], "hub.challenge": os.urandom(8).hex()}
        asked["hub.lease_seconds"] = self.lease or form["hub.lease_seconds"]
        if self.deny:
            asked = {"hub.mode": "denied", "hub.topic": form["hub.topic"], "hub.reason": self.deny}
        asked |= {f"hub.{name}": value for name, value in instead.items()}
        answer = self.send(f"{form['hub.callback']}?{urlencode(asked)}")
        self.challenged.append(
            (answer[0], answer[1]) if answer[1].decode() != asked.get("hub.challenge") else (200, b"ok")
        )
        return answer

    def send(self, url: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(url, body, named)
        try:
            with urllib.request.urlopen(request, timeout=60, context=self._outward) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def deliver(self, topic: str, content: Any, method: str = "sha256", secret: str = "", where: str = "") -> int:
        form = self.subscribed[topic][-1]
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        signature = hmac.new((secret or form["hub.secret"]).encode(), body, method).hexdigest()
        return self.send(where or form["hub.callback"], body, X_Hub_Signature=f"{method}={signature}")[0]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def notice(**given: Any) -> dict[str, Any]:
    """The envelope of MOSIP's publishers."""
    event = {"id": os.urandom(4).hex(), "transactionId": "t", "timestamp": "2026-11-22T10:00:00Z", "data": given}
    return {"publisher": "p", "topic": "t", "publishedOn": "2026-11-22T10:00:00Z", "event": event}


class Desk:
    """``edge trust websub`` as it runs beside the operator's folder."""

    def __init__(self, folder: Path, hub: Hub, broker: Any, lease_s: int = 600) -> None:
        self.folder, self.hub, self.broker = folder, hub, broker
        self.iss = hub.url
        self.key = ed25519.Ed25519PrivateKey.generate()
        self.status = f"{hub.url}/status/1"
        office = Office.begin(folder / "office", f"r{time.monotonic_ns()}")
        office.book.add_issuer(self.iss, {"keys": [{"jwk": jwk(pinned(self.key.public_key()), "k1"), "kids": ["k1"]}]})
        office.book.sources[self.iss] = {"keys": "well-known", "status": [self.status]}
        office.book.save()
        office.publish()
        self.publish_keys(self.key)
        self.put_status(1, b"\0")
        port = free_port()
        identity = hub.authority.issue("desk", server=True)
        credentials = folder / "credentials"
        credentials.mkdir()
        (credentials / "websub-secret").write_text(os.urandom(32).hex())
        (credentials / "websub-token").write_text("let-me-in")
        (credentials / "websub-tls-key").write_bytes(identity.key.read_bytes())
        topics = "\n".join(f'"{name}" = {{ issuer = "{self.iss}", does = "{does}" }}' for name, does in TOPICS.items())
        self.settings = folder / "websub.toml"
        self.settings.write_text(
            f'hub = "{hub.url}/hub"\ncallback = "https://localhost:{port}/websub"\nport = {port}\nlease_s = {lease_s}\n'
            f'certificate = "{identity.certificate}"\noffers_from = ["localhost"]\n[topics]\n{topics}\n'
        )
        self._out = folder / "said"
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        publisher = self.broker.identities[PUBLISHER]
        words = [
            sys.executable,
            "-m",
            "edge",
            "trust",
            "websub",
            "office",
            "websub.toml",
            "--credentials",
            "credentials",
        ]
        words += ["--issuer-ca", str(self.hub.authority.certificate), "--network", "127.0.0.0/8"]
        words += ["--host", self.broker.host, "--port", str(self.broker.port), "--ca", str(self.broker.ca)]
        words += ["--certificate", str(publisher.certificate), "--client-key", str(publisher.key)]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        with self._out.open("ab") as out:
            self._running = subprocess.Popen(words, cwd=self.folder, env=environment, stdout=out, stderr=out)

    def stop(self) -> int:
        assert self._running is not None
        if self._running.poll() is None:
            self._running.send_signal(signal.SIGTERM)
        return self._running.wait(60)

    def said(self) -> str:
        return self._out.read_text() if self._out.exists() else ""

    def office(self) -> Office:
        return Office(self.folder / "office")

    def publish_keys(self, *keys: Any) -> None:
        members = [jwk(pinned(key.public_key()), f"k{number}") for number, key in enumerate(keys, 1)]
        self.hub.files["/.well-known/jwks.json"] = json.dumps({"keys": members}).encode()

    def put_status(self, day: int, statuses: bytes) -> None:
        issued = int(datetime(2026, 11, day, tzinfo=UTC).timestamp())
        claims = {2: self.status, 6: issued, 65533: {"bits": 1, "lst": zlib.compress(statuses)}}
        made = cose.make_sign1(encode(claims), cose.signer(self.key), {cose.TYP: TYPE})
        self.hub.files["/status/1"] = encode(Tagged(cose.SIGN1, made))

    def passed_on(self) -> datetime | None:
        return self.office().lists.passed_on(self.iss, self.status)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """One that is free to misbehave."""
    made = Hub(tmp_path / "hub")
    yield made
    made.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, shared_broker: Any) -> Iterator[Desk]:
    """One desk and its hub for all tests that do not harm them."""
    folder = tmp_path_factory.mktemp("websub")
    hub = Hub(folder / "hub")
    (folder / "desk").mkdir()
    made = Desk(folder / "desk", hub, shared_broker)
    made.start()
    until(lambda: len([code for code in hub.challenged if code == (200, b"ok")]) == len(TOPICS))
    yield made
    assert made.stop() == 0, made.said()
    hub.close()


@pytest.fixture
def desk(running: Desk) -> Desk:
    return running


def test_a_notice_brings_a_status_list_to_the_gates(desk: Desk, site: Any) -> None:
    hub = desk.hub
    until(lambda: desk.passed_on() == datetime(2026, 11, 1, tzinfo=UTC))  # what was missed is made up for
    desk.put_status(2, b"\x01")
    assert hub.deliver("CREDENTIAL_STATUS_UPDATE", notice(status="STORED", requestId="r")) == 202
    until(lambda: desk.passed_on() == datetime(2026, 11, 2, tzinfo=UTC))
    until(lambda: "1 of 8 withdrawn" in desk.said())
    assert hub.tokens == {"Bearer let-me-in"}
    in_force = on_the_broker(site, desk)
    assert datetime(2026, 11, 2, tzinfo=UTC) == in_force.withdrawn.statuses[(desk.iss, desk.status)].issued_at


def on_the_broker(site: Any, desk: Desk) -> Any:
    """What a gate has in force that takes it over the broker."""
    from edge.devices.trusted import Trusted
    from edge.devices.truststore import TrustReader, TrustStore
    from edge.sync.connection import Connection
    from edge.sync.updates import Haste, Keeper, Updates

    name, office = "demo/lobby/gate-1", desk.office()
    store = desk.folder / "trust.db"
    trusted = Trusted(TrustReader(store), [office.list_key()], desk.folder / "floors", site="lobby")
    found: list[Any] = []

    def taken() -> bool:
        connection = Connection(site.link(name), name)
        connection.open()
        keeper = lambda: Keeper(TrustStore(store), office.anchor(), lambda: datetime.now(UTC))  # noqa: E731
        updates = Updates(office.name, keeper, Haste(spread_s=0, least_s=0, absent_s=0.2))
        updates.hear()
        updates.serve(connection)
        updates.close()
        connection.close()
        trusted.reload()
        found[:] = [trusted.whole] if trusted.whole is not None else []
        return bool(found) and (desk.iss, desk.status) in found[0].withdrawn.statuses

    until(taken)
    return found[0]


def test_new_keys_wait_for_a_person(desk: Desk) -> None:
    hub = desk.hub
    before = desk.office().book.issuers
    desk.publish_keys(desk.key, ec.generate_private_key(ec.SECP256R1()))
    hub.deliver("CREDENTIAL_STATUS_UPDATE", notice())
    until(lambda: "new keys wait for a person" in desk.said())
    assert desk.office().book.issuers == before


def test_a_notice_withdraws_the_card_that_it_names(desk: Desk) -> None:
    hub = desk.hub
    content = notice(id="card-4711")
    assert hub.deliver("example/withdrawn", content) == 202
    assert short(desk.iss, b"card-4711").hex() in desk.office().book.withdrawn[desk.iss]  # before the answer
    path = f"hashes/{mark(desk.iss)}.cose"
    live = pinned(desk.office().keys.public("live"))
    until(lambda: path in desk.office().lists.files())
    until(lambda: short(desk.iss, b"card-4711") in open_hashes(desk.office().lists.files()[path], [live])[1])
    written = [file.read_bytes() for file in desk.folder.rglob("*") if file.is_file()]
    assert not any(b"card-4711" in content for content in written)


def a_chain(authority: Authority, kind: str) -> bytes:
    (certificate,) = x509.load_pem_x509_certificates(authority.certificate.read_bytes())
    if kind == "pem":
        return certificate.public_bytes(Encoding.PEM)
    return pkcs7.serialize_certificates([certificate], Encoding.PEM)


@pytest.mark.parametrize("kind", ["pem", "pkcs7"])
def test_offered_certificates_wait_for_a_person(desk: Desk, kind: str) -> None:
    hub = desk.hub
    hub.files["/share/1"] = a_chain(hub.authority, kind)
    folder = desk.folder / "office" / "offered"
    before = set(folder.iterdir()) if folder.exists() else set()
    data = {"certChainDatashareUrl": f"{hub.url}/share/1", "partnerDomain": "AUTH"}
    assert hub.deliver("CA_CERTIFICATE_UPLOADED", notice(**data)) == 202
    (offered,) = set(folder.iterdir()) - before
    assert len(x509.load_pem_x509_certificates(offered.read_bytes())) == 1
    assert "wait for a person in offered/" in desk.said()
    assert desk.office().book.issuers[0].get("roots") is None
    assert hub.deliver("CA_CERTIFICATE_UPLOADED", notice(certChainDatashareUrl=f"{hub.url}/none")) == 503
    hub.files["/share/2"] = b"noise"
    assert hub.deliver("CA_CERTIFICATE_UPLOADED", notice(certChainDatashareUrl=f"{hub.url}/share/2")) == 503
    assert hub.deliver("CA_CERTIFICATE_UPLOADED", notice(certChainDatashareUrl="https://elsewhere.example/")) == 202
    assert set(folder.iterdir()) == {*before, offered}


def test_what_nobody_signed_does_nothing(desk: Desk) -> None:
    hub = desk.hub
    topic, content, before = "example/withdrawn", notice(id="card-1"), desk.office().book.withdrawn
    form = hub.subscribed[topic][-1]
    other = hub.subscribed["CREDENTIAL_STATUS_UPDATE"][-1]["hub.secret"]
    body = json.dumps(content).encode()
    assert hub.send(form["hub.callback"], body)[0] == 202
    assert hub.deliver(topic, content, secret="guessed") == 202
    assert hub.deliver(topic, content, secret=other) == 202
    assert hub.deliver(topic, content, method="sha1") == 202
    assert hub.send(form["hub.callback"], body, X_Hub_Signature="sha256=")[0] == 202
    assert hub.send(form["hub.callback"], body, X_Hub_Signature="none=00")[0] == 202
    assert hub.deliver(topic, b"[" * 5000) == 202
    assert hub.deliver(topic, b"7") == 202
    assert hub.deliver(topic, {"event": {"data": {"id": 7}}}) == 202
    assert hub.deliver(topic, {"event": []}) == 202
    assert hub.deliver(topic, bytes(300_000)) == 413
    assert desk.office().book.withdrawn == before
    assert "a delivery without our signature" in desk.said()


def test_only_what_was_asked_for_is_confirmed(desk: Desk) -> None:
    hub = desk.hub
    form = hub.subscribed["example/withdrawn"][-1]
    assert hub.ask_back(form, topic="another/topic")[0] == 404
    assert hub.ask_back(form, mode="unsubscribe")[0] == 404
    assert hub.ask_back(form, mode="publish")[0] == 404
    assert hub.ask_back(form, challenge="x" * 2000)[0] == 404
    assert hub.send(form["hub.callback"])[0] == 404
    base, _, path = form["hub.callback"].rpartition("/")
    assert hub.send(f"{base}/{path[:-1]}0" if path[-1] != "0" else f"{base}/{path[:-1]}1")[0] == 404
    assert hub.send(f"{base}/")[0] == 404
    assert hub.deliver("example/withdrawn", notice(id="c"), where=f"{base}/{'0' * 32}") == 404
    assert len({one[-1]["hub.callback"] for one in hub.subscribed.values()}) == len(TOPICS)
    assert len({one[-1]["hub.secret"] for one in hub.subscribed.values()}) == len(TOPICS)


def test_a_restart_finds_the_same_subscriptions(desk: Desk) -> None:
    hub = desk.hub
    before = {topic: (one[-1]["hub.callback"], one[-1]["hub.secret"]) for topic, one in hub.subscribed.items()}
    assert desk.stop() == 0
    hub.subscribed.clear()
    desk.start()
    until(lambda: len(hub.subscribed) == len(TOPICS))
    assert before == {topic: (one[-1]["hub.callback"], one[-1]["hub.secret"]) for topic, one in hub.subscribed.items()}


def test_a_lease_is_renewed_before_it_ends(tmp_path: Path, hub: Hub, shared_broker: Any) -> None:
    (tmp_path / "short").mkdir()
    short_lived = Desk(tmp_path / "short", hub, shared_broker, lease_s=4)
    short_lived.start()
    try:
        until(lambda: all(len(hub.subscribed.get(topic, ())) >= 3 for topic in TOPICS))
    finally:
        assert short_lived.stop() == 0


def test_a_hub_that_denies_is_said(tmp_path: Path, hub: Hub, shared_broker: Any) -> None:
    (tmp_path / "denied").mkdir()
    hub.deny = "not your topic"
    denied = Desk(tmp_path / "denied", hub, shared_broker)
    denied.start()
    try:
        until(lambda: "the hub denies it: 'not your topic'" in denied.said())
    finally:
        assert denied.stop() == 0


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "names none"),
        ('hub = "https://h/"\n[topics]\nt = {issuer = "i", does = "look"}', "missing key websub.callback"),
        ('hub = "http://h/"\ncallback = "https://c/"\n[topics]\nt = {issuer = "i", does = "look"}', "HTTPS"),
        ('hub = "https://h/"\ncallback = "https://c/"\n[topics]\nt = {issuer = "i", does = "trust"}', "one of look"),
        (
            'hub = "https://h/"\ncallback = "https://c/"\nx = 1\n[topics]\nt = {issuer = "i", does = "look"}',
            "unknown key",
        ),
        ('hub = "https://h/"\ncallback = "https://c/"\n[topics]\nt = {issuer = "i"}', "missing key"),
        (
            'hub = "https://h/"\ncallback = "https://c/"\nhost = "::"\n[topics]\nt = {issuer = "i", does = "look"}',
            "without a certificate",
        ),
    ],
)
def test_settings_that_are_wrong_are_named(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "websub.toml").write_text(content)
    with pytest.raises(SettingsError, match=why):
        command.read(tmp_path / "websub.toml")


def test_the_same_delivery_counts_once_and_one_that_could_not_be_kept_comes_again() -> None:
    heard: list[str] = []
    asked: list[dict[str, str]] = []

    async def keep(topic: str, content: Any) -> None:
        if not heard:
            heard.append("failed")
            raise OSError("the disk is full")
        heard.append(topic)

    def post(form: Any) -> None:
        asked.append(dict(form))

    async def story() -> list[int]:
        subscriber = Subscriber("https://desk.example/w", bytes(32), ["t"], post, keep, Pace(confirm_s=0.1))
        running = asyncio.create_task(subscriber.run())
        while not asked:  # noqa: ASYNC110 -- it is asked for in a thread
            await asyncio.sleep(0.01)
        body = json.dumps(notice(id="c")).encode()
        signature = hmac.new(asked[0]["hub.secret"].encode(), body, "sha512").hexdigest()
        path = asked[0]["hub.callback"].removeprefix("https://desk.example")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(subscriber), base_url="https://desk.example") as hub:
            headers = {"X-Hub-Signature": f"SHA512={signature}"}
            answers = [(await hub.post(path, content=body, headers=headers)).status_code for _ in range(3)]
        async with asyncio.timeout(60):
            while subscriber.condition() != "t: the hub does not ask back":  # noqa: ASYNC110 -- it has no event
                await asyncio.sleep(0.01)
        running.cancel()
        return answers

    assert asyncio.run(story()) == [503, 202, 202]
    assert heard == ["failed", "t"]


def test_without_a_hub_everything_is_looked_at_now_and_then(tmp_path: Path) -> None:
    office = Office.begin(tmp_path / "office", "demo")
    office.book.sources["https://id.example"] = {"keys": "https://id.example/keys", "status": []}
    office.book.save()
    fetched: list[str] = []

    def bring(url: str, limit: int, accept: str) -> Document:
        fetched.append(url)
        raise DeviceError("issuer", "away")

    async def story() -> None:
        topics = {"t": Topic("https://id.example", "look")}
        notices = Notices(lambda: Office(tmp_path / "office"), topics, bring, lambda office, files: None)
        looking = asyncio.create_task(notices.run(gather_s=0.01, again_s=0.1))
        async with asyncio.timeout(60):
            while len(fetched) < 3:  # noqa: ASYNC110 -- it happens in a thread
                await asyncio.sleep(0.01)
        looking.cancel()

    asyncio.run(story())
