"""The door of the pages, tried by strangers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

import edge.web
from edge.settings import Web
from edge.web.guard import Guard, split

Folder = Any  # of conftest.py
Run = Callable[[Coroutine[Any, Any, Any]], Any]
OURS = "127.0.0.1:8080"
STATIC = Path(edge.web.__file__).parent / "static"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (OURS, 200),
        ("127.0.0.1", 200),
        ("localhost:8080", 200),
        ("LOCALHOST.:8080", 200),
        ("gate.local", 200),
        ("gate.local:8080", 200),
        ("evil.example", 421),
        ("evil.example:8080", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:8080", 421),
        ("127.0.0.1:81", 421),
        ("127.0.0.2:8080", 421),
        ("user@127.0.0.1:8080", 421),
        ("[::1]:8080", 421),
        ("", 421),
        ("127.0.0.1:8080:9", 421),
        ("127.0.0.1:99999999", 421),
    ],
)
def test_a_page_of_another_name_is_not_served(host: str, status: int, folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(Web("127.0.0.1", 0, names=("gate.local",), readers="anyone")) as stand:
            assert (await stand.client.get("/health/none", headers={"Host": host})).status_code in (status, 404)
            assert (await stand.client.get("/", headers={"Host": host})).status_code == status

    run(story())


def test_two_hosts_are_no_host(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            answer = await stand.client.get("/", headers=[("Host", OURS), ("Host", "evil.example")])
            assert answer.status_code == 421

    run(story())


@pytest.mark.parametrize(("kiosk", "status"), [("here", 403), ("network", 200)])
def test_the_kiosk_is_for_the_screen_of_this_machine(kiosk: Any, status: int, folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(Web("192.168.1.9", 8080, kiosk=kiosk)) as stand:
            for host, wanted in (("192.168.1.7", status), ("::ffff:127.0.0.1", 200)):
                near = httpx.ASGITransport(stand.app, client=(host, 40000))
                async with httpx.AsyncClient(transport=near, base_url="http://192.168.1.9:8080") as client:
                    for path in ("/kiosk", "/kiosk/events"):
                        assert (await client.head(path)).status_code == wanted
                    assert (await client.get("/login")).status_code == 200

    run(story())


def test_a_caller_by_ipv4_on_a_port_of_ipv6_is_served(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:

            async def mapped(scope: Scope, receive: Receive, send: Send) -> None:
                await stand.app({**scope, "server": ("::ffff:192.168.1.9", 8080, 0, 0)}, receive, send)

            transport = httpx.ASGITransport(mapped)
            async with httpx.AsyncClient(transport=transport, base_url="http://192.168.1.9:8080") as client:
                assert (await client.get("/login")).status_code == 200
                assert (await client.get("/login", headers={"Host": "192.168.1.8:8080"})).status_code == 421

    run(story())


def test_an_address_has_one_name_however_it_is_written() -> None:
    assert split("[0:0:0:0:0:0:0:1]:80") == split("[::1]:80") == ("::1", 80)
    assert split("Gate.Local.") == ("gate.local", None)
    assert split("a:b") == ("", None)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_nothing_can_be_changed(method: str, folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            for path in ("/", "/kiosk", "/events", "/health", "/metrics", "/nowhere"):
                answer = await stand.client.request(method, path)
                assert answer.status_code == 405
                assert answer.headers["allow"] == "GET, HEAD"

    run(story())


def test_a_body_is_not_taken(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            assert (await stand.client.request("GET", "/", content=b"x" * 100_000)).status_code == 413
            answer = await stand.client.get("/", headers={"Transfer-Encoding": "chunked"})
            assert answer.status_code == 413
            assert (await stand.client.get("/?" + "q" * 3000)).status_code == 414

    run(story())


PATHS = ["/", "/kiosk", "/health", "/metrics", "/static/kiosk.css", "/static/operator.js", "/static/icon.svg", "/none"]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_keeps_strangers_out_and_is_not_kept(path: str, folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            for method in ("GET", "HEAD", "POST"):
                headers = (await stand.client.request(method, path)).headers
                policy = headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert "http" not in policy
                assert headers["cache-control"] == "no-store"
                assert headers["x-content-type-options"] == "nosniff"
                assert headers["x-frame-options"] == "DENY"
                assert headers["referrer-policy"] == "no-referrer"
                assert headers["cross-origin-resource-policy"] == "same-origin"
                assert "set-cookie" not in headers
                assert "access-control-allow-origin" not in headers

    run(story())


@pytest.mark.parametrize("path", ["/static/../pages.py", "/static/%2e%2e/pages.py", "/static/", "/static/x", "/../etc"])
def test_only_our_own_files_are_served(path: str, folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            assert (await stand.client.get(path)).status_code == 404

    run(story())


def test_no_page_loads_or_runs_anything_from_elsewhere() -> None:
    for file in STATIC.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        for forbidden in ("http:", "https:", "//cdn", "@import", "innerHTML", "insertAdjacentHTML", "eval(", " style="):
            assert forbidden not in text, (file.name, forbidden)
        if file.suffix == ".html":
            assert text.count("<script") == text.count("<script src=") >= 1
            assert not any(f" on{event}=" in text for event in ("click", "load", "error"))


def test_a_fault_of_ours_tells_nothing(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("a secret")

    async def story() -> None:
        transport = httpx.ASGITransport(Guard(broken, ()))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{OURS}") as client:
            answer = await client.get("/nobody-should-log-this?or=this")
            assert answer.status_code == 500
            assert answer.text == "internal error\n"
            assert answer.headers["cache-control"] == "no-store"

    run(story())
    assert "nobody-should-log-this" not in caplog.text
