"""Issuers' keys and status lists over HTTPS, from a real server with a certificate of the test's own authority."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.cli import main
from edge.demo.broker import Authority
from edge.errors import DeviceError
from edge.sync.fetching import Reach, fetch
from edge.sync.office import Office
from edge.trust import cose
from edge.trust.cbor import Tagged, encode
from edge.trust.keys import jwk, pinned
from edge.trust.list import open_list
from edge.trust.status import TYPE
from edge.trust.whole import MAIN

LOOPBACK = (ip_network("127.0.0.0/8"),)
Answer = tuple[int, dict[str, str], bytes] | Callable[[BaseHTTPRequestHandler], None]


class Issuer:
    """A web server of an issuer: what is where, and who asked for what."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "authority")
        self.places: dict[str, Answer] = {}
        self.asked: list[str] = []
        self._server = self._start(self.authority)
        self.port = self._server.server_address[1]
        self.url = f"https://localhost:{self.port}"
        self.reach = Reach(LOOPBACK, self.authority.certificate, 60.0)

    def _start(self, authority: Authority, days: int = 365) -> ThreadingHTTPServer:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                answer = issuer.places.get(self.path, (404, {}, b""))
                if callable(answer):
                    answer(self)
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that hangs up is what the tests are about

        server = Server(("127.0.0.1", 0), Handler)
        identity = authority.issue("issuer", server=True, days=days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def put(self, path: str, content: Any, status: int = 200, **headers: str) -> str:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.places[path] = (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)
        return f"{self.url}{path}"

    def refused(self, path: str, why: str, limit: int = 10_000, reach: Reach | None = None) -> None:
        with pytest.raises(DeviceError, match=why):
            fetch(path if "://" in path else f"{self.url}{path}", limit, reach or self.reach)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    made = Issuer(tmp_path_factory.mktemp("issuer"))
    yield made
    made.close()


@pytest.fixture
def issuer(standing: Issuer) -> Issuer:
    standing.places.clear()
    standing.asked.clear()
    return standing


@pytest.fixture
def office(tmp_path: Path) -> Office:
    made = Office.begin(tmp_path / "office", "demo")
    made.publish()
    return made


def edge(issuer: Issuer, office: Office, *words: str, well: bool = True) -> None:
    """``edge trust fetch`` as the operator types it."""
    reach = ["--issuer-ca", str(issuer.authority.certificate), "--network", "127.0.0.0/8"]
    assert (main(["trust", "fetch", str(office.folder), *words, *reach]) == 0) is well


def a_key(kid: str, private: Any = None) -> dict[str, str]:
    return jwk(pinned((private or ec.generate_private_key(ec.SECP256R1())).public_key()), kid)


def trusted_kids(office: Office, iss: str) -> set[bytes]:
    """What a gate believes after a publication."""
    again = Office(office.folder)
    again.publish()
    found = open_list(again.lists.files()[MAIN], [again.list_key()]).issuer(iss)
    return set() if found is None else {alias for key in found.keys for alias in key.aliases}


def test_keys_are_shown_first_and_taken_when_told(
    issuer: Issuer, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    issuer.put("/.well-known/jwks.json", {"keys": [a_key("k1"), {**a_key("k2"), "use": "enc"}]})
    edge(issuer, office, issuer.url, "--keys", "well-known")
    said = capsys.readouterr().out
    assert "new   ES256" in said
    assert "(k1)" in said
    assert "k2" not in said
    assert "nothing is changed" in said
    assert b"k1" not in trusted_kids(office, issuer.url)
    edge(issuer, office, issuer.url, "--keys", "well-known", "--take")
    assert b"k1" in trusted_kids(office, issuer.url)
    capsys.readouterr()
    edge(issuer, office)  # the address is remembered
    assert "same  ES256" in capsys.readouterr().out


def did(issuer: Issuer, *path: str) -> str:
    return ":".join((f"did:web:localhost%3A{issuer.port}", *path))


def a_did_document(name: str, private: Any = None) -> dict[str, Any]:
    method = {"id": f"{name}#k1", "type": "JsonWebKey2020", "publicKeyJwk": a_key("k1", private)}
    return {"id": name, "verificationMethod": [method], "assertionMethod": [method["id"]]}


def place_jwks_below(issuer: Issuer, iss: str) -> None:
    issuer.put("/certify/.well-known/jwks.json", {"keys": [a_key("k1")]})


def place_jwks_at_the_host(issuer: Issuer, iss: str) -> None:
    issuer.put("/.well-known/jwks.json", {"keys": [a_key("k1")]})


def place_metadata(issuer: Issuer, iss: str) -> None:
    uri = issuer.put("/keys", {"keys": [a_key("k1")]})
    issuer.put("/certify/.well-known/openid-credential-issuer", {"credential_issuer": iss, "jwks_uri": uri})


def place_did_document(issuer: Issuer, iss: str) -> None:
    issuer.put("/certify/.well-known/did.json", a_did_document(did(issuer, "certify")))


def place_controller(issuer: Issuer, iss: str) -> None:
    """MOSIP's ID repository: the key in a document of its own, as PEM."""
    public = rsa.generate_private_key(65537, 2048).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    key = f"{issuer.url}/.well-known/public-key.json#k1"
    issuer.put("/.well-known/public-key.json", {"id": key, "type": "RsaVerificationKey2018", "publicKeyPem": pem})
    link = f"{issuer.url}/.well-known/public-key.json"
    issuer.put("/certify/.well-known/controller.json", {"id": iss, "assertionMethod": [link]})


@pytest.mark.parametrize(
    "place", [place_jwks_below, place_jwks_at_the_host, place_metadata, place_did_document, place_controller]
)
def test_keys_are_found_wherever_issuers_keep_them(
    issuer: Issuer, office: Office, place: Callable[[Issuer, str], None]
) -> None:
    iss = f"{issuer.url}/certify"
    place(issuer, iss)
    edge(issuer, office, iss, "--keys", "well-known", "--take")
    assert b"k1" in trusted_kids(office, iss)


def test_a_did_web_name_leads_to_its_document(issuer: Issuer, office: Office) -> None:
    name = did(issuer, "issuers", "7")
    issuer.put("/issuers/7/did.json", a_did_document(name))
    edge(issuer, office, name, "--keys", "well-known", "--take")
    assert b"k1" in trusted_kids(office, name)
    issuer.put("/.well-known/did.json", a_did_document(did(issuer)))
    edge(issuer, office, "https://id.example", "--keys", did(issuer), "--take")
    assert b"k1" in trusted_kids(office, "https://id.example")


def test_a_key_that_is_gone_stays_and_a_revoked_one_stays_revoked(
    issuer: Issuer, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = a_key("old"), a_key("new")
    issuer.put("/.well-known/jwks.json", {"keys": [old]})
    edge(issuer, office, issuer.url, "--keys", "well-known", "--take")
    again = Office(office.folder)
    again.book.revoke_key(issuer.url, "old", datetime(2026, 1, 1, tzinfo=UTC))
    again.book.save()
    edge(issuer, office, "--take")
    assert "same  ES256" in capsys.readouterr().out
    issuer.put("/.well-known/jwks.json", {"keys": [new]})
    edge(issuer, office, "--take")
    assert "gone  ES256" in capsys.readouterr().out
    assert {b"old", b"new"} <= trusted_kids(office, issuer.url)
    (entry,) = Office(office.folder).book.issuers
    assert "compromised_since" in entry["keys"][0]


def test_a_name_that_comes_to_mean_another_key_is_refused(
    issuer: Issuer, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    issuer.put("/.well-known/jwks.json", {"keys": [a_key("k1")]})
    edge(issuer, office, issuer.url, "--keys", "well-known", "--take")
    before = Office(office.folder).book.issuers
    issuer.put("/.well-known/jwks.json", {"keys": [a_key("k1")]})
    edge(issuer, office, "--take", well=False)
    assert "k1 is another key than before" in capsys.readouterr().err
    assert Office(office.folder).book.issuers == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        {"keys": []},
        {"keys": [{"kty": "oct", "k": "AA"}]},
        {"keys": [{**a_key("k"), "d": base64.urlsafe_b64encode(bytes(32)).decode()}]},
        {"jwks_uri": "https://elsewhere.example/keys"},
        {"id": "https://id.example", "assertionMethod": ["https://elsewhere.example/key"]},
        {"id": "did:web:x", "assertionMethod": [f"https://localhost/{n}" for n in range(20)]},
        {"id": "did:web:x", "verificationMethod": 7, "assertionMethod": ["a"]},
    ],
)
def test_what_is_no_set_of_keys_changes_nothing(
    issuer: Issuer, office: Office, content: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    issuer.put("/keys", content)
    edge(issuer, office, "https://id.example", "--keys", f"{issuer.url}/keys", "--take", well=False)
    assert Office(office.folder).book.issuers == []
    assert "https://id.example" in capsys.readouterr().err


@pytest.mark.parametrize("link", ["jwks_uri", "assertionMethod"])
def test_a_document_leads_to_no_key_on_another_host(issuer: Issuer, office: Office, link: str) -> None:
    elsewhere = f"https://127.0.0.1:{issuer.port}/key"
    issuer.put("/key", {"keys": [a_key("k1")], "id": elsewhere, "publicKeyJwk": a_key("k1")})
    named = elsewhere if link == "jwks_uri" else [elsewhere]
    issuer.put("/keys", {"id": "https://id.example", link: named})
    edge(issuer, office, "https://id.example", "--keys", f"{issuer.url}/keys", "--take", well=False)
    assert issuer.asked == ["/keys"]


class Listed:
    """An issuer with a status list at its own address."""

    def __init__(self, issuer: Issuer, office: Office) -> None:
        self.key = ed25519.Ed25519PrivateKey.generate()
        self.issuer, self.url = issuer, f"{issuer.url}/status/1"
        issuer.put("/.well-known/jwks.json", {"keys": [a_key("k1", self.key)]})
        edge(issuer, office, issuer.url, "--keys", "well-known", "--take")

    def put(self, issued: datetime, statuses: bytes, by: Any = None, uri: str = "") -> None:
        claims = {2: uri or self.url, 6: int(issued.timestamp()), 65533: {"bits": 1, "lst": zlib.compress(statuses)}}
        signer = cose.signer(by or self.key)
        token = encode(Tagged(cose.SIGN1, cose.make_sign1(encode(claims), signer, {cose.TYP: TYPE})))
        self.issuer.put("/status/1", token, Content_Type="application/statuslist+cwt")


@pytest.fixture
def listed(issuer: Issuer, office: Office) -> Listed:
    return Listed(issuer, office)


NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_name_cannot_hide_a_key_on_the_terminal(
    issuer: Issuer, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    issuer.put("/.well-known/jwks.json", {"keys": [a_key("k\x1b[2K\r\u202e1\n  same  k")]})
    edge(issuer, office, issuer.url, "--keys", "well-known", "--take")
    issuer.put("/.well-known/jwks.json", {"keys": [a_key("k\x1b[2K\r\u202e1\n  same  k")]})
    edge(issuer, office, well=False)
    said = capsys.readouterr()
    assert "(k?[2K??1?  same  k)" in said.out
    assert "k?[2K??1?  same  k is another key" in said.err
    assert not any(letter in said.out + said.err for letter in "\x1b\r\u202e")


def test_a_status_list_is_passed_on_and_never_an_older_one(
    listed: Listed, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    listed.put(NOW, b"\x05\0")
    edge(listed.issuer, office, listed.issuer.url, "--status", listed.url, "--take")
    said = capsys.readouterr().out
    assert "new   issued 2026-11-22T12:00:00+00:00, 16 cards, 2 withdrawn" in said
    (path,) = (path for path in office.lists.files() if path.startswith("status/"))
    before = office.lists.files()[path]
    listed.put(NOW - timedelta(days=1), b"\0\0")
    edge(listed.issuer, office, "--take")
    assert "older issued" in capsys.readouterr().out
    assert office.lists.files()[path] == before
    listed.put(NOW + timedelta(days=1), b"\x07\0")
    edge(listed.issuer, office, "--take")
    assert office.lists.files()[path] != before


@pytest.mark.parametrize("wrong", ["forged", "elsewhere", "noise"])
def test_a_status_list_that_is_not_the_issuers_is_refused(
    listed: Listed, office: Office, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    match wrong:
        case "forged":
            listed.put(NOW, b"\0", by=ed25519.Ed25519PrivateKey.generate())
        case "elsewhere":
            listed.put(NOW, b"\0", uri="https://id.example/status/2")
        case _:
            listed.issuer.put("/status/1", b"noise")
    edge(listed.issuer, office, listed.issuer.url, "--status", listed.url, "--take", well=False)
    assert "not a status list of" in capsys.readouterr().err
    assert not any(path.startswith("status/") for path in office.lists.files())


def test_a_key_that_was_stolen_signs_no_status_list(
    listed: Listed, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    again = Office(office.folder)
    again.book.revoke_key(listed.issuer.url, "k1", NOW)
    again.book.save()
    listed.put(NOW - timedelta(days=1), b"\0")
    edge(listed.issuer, office, listed.issuer.url, "--status", listed.url, "--take", well=False)
    assert "not a status list of" in capsys.readouterr().err


# --- the way out ---


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fc00::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ],
)
def test_no_issuer_leads_into_our_own_network(issuer: Issuer, host: str) -> None:
    reach = Reach((), issuer.authority.certificate, 2.0)
    issuer.refused(f"https://{host}:{issuer.port}/", "not a public address|has no address", reach=reach)
    assert issuer.asked == []


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://id.example/keys", "not an HTTPS address"),
        ("file:///etc/passwd", "not an HTTPS address"),
        ("ftp://id.example/", "not an HTTPS address"),
        ("https:///keys", "not an HTTPS address"),
        ("https://name:password@id.example/", "carries a name or a password"),
        ("https://id.example/a b", "not an HTTPS address"),
        ("https://id.example/\r\nX: y", "not an HTTPS address"),
        ("https://id.example:99999/", "is not an address"),
        ("https://idé.example/", "not an HTTPS address"),
    ],
)
def test_only_plain_https_addresses_are_fetched(issuer: Issuer, url: str, why: str) -> None:
    issuer.refused(url, why)


def test_a_redirect_stays_on_its_host_and_ends(issuer: Issuer) -> None:
    issuer.put("/end", b"here")
    issuer.put("/two", b"", 302, Location=f"{issuer.url}/end")
    issuer.put("/one", b"", 301, Location="/two")
    assert fetch(f"{issuer.url}/one", 100, issuer.reach).body == b"here"
    issuer.put("/circle", b"", 308, Location="/circle")
    issuer.refused("/circle", "from one address to the next")
    for place in ("https://elsewhere.example/", f"https://127.0.0.1:{issuer.port}/end", "https://localhost:1/"):
        issuer.put("/away", b"", 307, Location=place)
        issuer.refused("/away", "another host")
    for place in ("http://localhost/", "file:///etc/passwd", "https://a:b@localhost/"):
        issuer.put("/down", b"", 303, Location=place)
        issuer.refused("/down", "not an HTTPS address|carries a name")


def test_a_document_is_bounded_in_bytes(issuer: Issuer) -> None:
    issuer.put("/fits", bytes(1000))
    assert len(fetch(f"{issuer.url}/fits", 1000, issuer.reach).body) == 1000
    issuer.refused("/fits", "larger than 999 bytes", limit=999)

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    issuer.places["/endless"] = endless
    issuer.refused("/endless", "larger than")
    issuer.put("/short", b"cut", Content_Length="1000")
    issuer.refused("/short", "IncompleteRead|SSLEOFError")
    issuer.put("/packed", zlib.compress(bytes(10)), Content_Encoding="gzip")
    issuer.refused("/packed", "compressed")
    issuer.refused("/nothing", "status 404")


@pytest.mark.parametrize("part", ["headers", "body", "silence"])
def test_a_slow_server_is_cut_off(issuer: Issuer, part: str) -> None:
    over = threading.Event()

    def slowly(handler: BaseHTTPRequestHandler) -> None:
        lead = {"headers": b"HTTP/1.1 200 OK\r\nX-A: ", "body": b"HTTP/1.1 200 OK\r\n\r\n", "silence": b""}[part]
        handler.wfile.write(lead)
        while not over.wait(0.05):  # it does not end by itself, so whoever waits has an end of their own
            if part != "silence":
                handler.wfile.write(b"a")

    issuer.places["/slow"] = slowly
    try:
        issuer.refused("/slow", "no answer within 0.5 s", reach=Reach(LOOPBACK, issuer.authority.certificate, 0.5))
    finally:
        over.set()


def test_a_document_that_somebody_cut_short_is_not_believed(issuer: Issuer) -> None:
    """Without a length only the end that TLS announces says that it is whole."""

    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b'HTTP/1.1 200 OK\r\n\r\n{"keys": []}')
        handler.wfile.flush()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(handler.connection, socket.SHUT_RDWR)

    issuer.places["/cut"] = cut
    issuer.refused("/cut", "SSLEOFError")


def test_only_the_right_certificate_counts(issuer: Issuer, tmp_path: Path) -> None:
    issuer.put("/keys", b"{}")
    issuer.refused("/keys", "no valid certificate", reach=Reach(LOOPBACK))
    other = Authority(tmp_path / "other").certificate
    issuer.refused("/keys", "no valid certificate", reach=Reach(LOOPBACK, other))
    issuer.refused(f"https://127.0.0.2:{issuer.port}/keys", "no valid certificate|refused")
    expired = issuer._start(issuer.authority, days=-5)
    try:
        issuer.refused(f"https://localhost:{expired.server_address[1]}/keys", "expired")
    finally:
        expired.shutdown()
        expired.server_close()
    assert issuer.asked == []
