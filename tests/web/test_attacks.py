"""The pages, asked by an enemy on the local network: no way in, nothing moved, nothing told, nobody kept waiting."""

from __future__ import annotations

import ast
import asyncio
import json
import socket
import string
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import orders
from edge.app.counter import attend
from edge.app.service import wait_for
from edge.app.tickets import LONGEST_S
from edge.audit.entry import Kind
from edge.settings import Web
from edge.trust import operators as known
from edge.trust.operators import Role
from edge.web import asked as asked_module
from edge.web import desk as desk_module
from edge.web.asked import LIMIT
from edge.web.counter import Counter

Folder = Any  # of conftest.py
Run = Callable[[Coroutine[Any, Any, Any]], Any]
WEB = Web("127.0.0.1", 0)
PASSWORD = "correct horse battery"
ACTS: dict[str, dict[str, Any]] = {
    "login": {"name": "anna", "password": PASSWORD, "codes": ["000000"]},
    "logout": {},
    "here": {},
    "enrol": {"setup": "AAAA-AAAA-AAAA", "password": PASSWORD},
    "confirm": {"setup": "AAAA-AAAA-AAAA", "codes": ["000000"]},
    "order": {"what": "override", "why": "other", "codes": ["000000"], "visit": 0},
    "export": {"why": "audit", "codes": ["000000"]},
    "receipt": {"text": ["GATE1:AAAA"]},
}
ORDERS = ("order", "export", "receipt", "logout", "here")
SOUND = {200, 400, 401, 403, 408, 409, 413, 422, 429, 503}


def still(stand: Any) -> bool:
    """Whether nothing was moved and nothing was closed."""
    return not stand.way.receipts and not stand.commands.locked_down()


def test_every_address_of_an_operator_is_closed_to_strangers(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            await stand.put(Kind.DENIED, reason="expired")
            assert (await stand.client.get("/")).status_code == 303
            assert (await stand.client.get("/events")).status_code == 401
            assert (await stand.client.get("/me")).status_code == 401
            for name in ORDERS:
                answer = await stand.act(name, token="x" * 64, **ACTS[name])
                assert answer.status_code in (401, 403), (name, answer.text)
            assert still(stand)

    run(story())


@pytest.mark.parametrize("name", ["admin", "root", "pi", "operator", "edge", "user", "nobody", "guest", ""])
def test_there_are_no_default_names_and_passwords(name: str, folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            for password in (name, "", "admin", "password", "raspberry", "0000"):
                answer = await stand.act("login", name=name, password=password, codes=["000000"])
                assert answer.status_code in (401, 429)
                assert "set-cookie" not in answer.headers

    run(story())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:8081"},
        {"Origin": "http://127.0.0.1:8080.evil.example"},
        {"Origin": "http://127.0.0.1:8080@evil.example"},
        {"Origin": "file://"},
        {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "none"},
    ],
    ids=str,
)
def test_a_page_of_another_site_can_send_nothing(headers: dict[str, str], folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            phone = await stand.enrolled()
            token = await stand.logged_in(phone)
            fields = {**ACTS["order"], "what": "lock-down", "codes": [phone.next()]}
            forged = {"X-Gate-Page": token, **headers}
            answer = await stand.client.post("/act/order", json=fields, headers=forged)
            assert answer.status_code == 403
            assert still(stand)

    run(story())


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "json"])
def test_what_a_form_of_another_site_can_send_is_not_taken(kind: str, folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            headers = {"Origin": "http://127.0.0.1:8080", "Content-Type": kind}
            answer = await stand.client.post("/act/login", content=json.dumps(ACTS["login"]), headers=headers)
            assert answer.status_code == 415

    run(story())


def test_a_cookie_alone_changes_nothing(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            phone = await stand.enrolled()
            token = await stand.logged_in(phone)
            for wrong in ("", "0" * 64, token[:-1] + ("0" if token[-1] != "0" else "1"), token.upper(), "é" * 64):
                answer = await stand.client.post(
                    "/act/order",
                    json={**ACTS["order"], "what": "lock-down", "codes": [phone.next()]},
                    headers={b"Origin": b"http://127.0.0.1:8080", b"X-Gate-Page": wrong.encode("latin-1")},
                )
                assert answer.status_code == 401
            assert still(stand)
            answer = await stand.act("order", token, **{**ACTS["order"], "what": "lock-down", "codes": [phone.next()]})
            assert answer.status_code == 200

    run(story())


def test_a_token_of_one_operator_is_none_for_another(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            anna, bo = await stand.enrolled(), await stand.enrolled("bo")
            of_anna = await stand.logged_in(anna)
            stand.client.cookies.clear()
            of_bo = await stand.logged_in(bo, "bo")
            assert of_anna != of_bo
            fields = {**ACTS["order"], "what": "lock-down", "codes": [bo.next()]}
            assert (await stand.act("order", of_anna, **fields)).status_code == 401
            assert still(stand)

    run(story())


def test_the_cookie_is_for_the_browser_alone(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            phone = await stand.enrolled()
            fields = {"name": "anna", "password": PASSWORD, "codes": [phone.next()]}
            cookies = (await stand.act("login", **fields)).headers.get_list("set-cookie")
            assert [cookie.split("=")[0] for cookie in cookies] == ["edge-operator", "edge-browser"]
            for cookie in map(str.lower, cookies):
                assert "httponly" in cookie
                assert "samesite=strict" in cookie
                assert "path=/" in cookie
                assert "domain" not in cookie
                assert int(cookie.split("max-age=")[1].split(";")[0]) >= LONGEST_S  # the gate ends what is idle
            await stand.act("logout", (await stand.client.get("/me")).json()["token"])
            assert (await stand.client.get("/me")).status_code == 401

    run(story())


def test_strangers_who_try_keep_out_nobody_who_was_there_before(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            phone = await stand.enrolled()
            stand.clock.hold()  # who waits for the next try has not waited it out
            await stand.act("login", name="anna", password=PASSWORD, codes=[phone.next()])
            await stand.act("logout", (await stand.client.get("/me")).json()["token"])
            mark = stand.client.cookies["edge-browser"]
            for told in (mark[:-2] + "00", "", "zz" * 48, mark * 2):
                stand.client.cookies.set("edge-browser", told, domain="127.0.0.1")
                for _ in range(6):
                    answer = await stand.act("login", name="anna", password="wrong password", codes=["000000"])
            assert answer.status_code == 429
            stand.client.cookies.clear()
            stand.client.cookies.set("edge-browser", mark, domain="127.0.0.1")
            answer = await stand.act("login", name="anna", password=PASSWORD, codes=[phone.next()])
            assert answer.status_code == 200

    run(story())


def test_under_tls_the_cookie_never_leaves_it(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            phone = await stand.enrolled()
            transport = httpx.ASGITransport(stand.app)
            async with httpx.AsyncClient(transport=transport, base_url="https://127.0.0.1") as client:
                fields = {"name": "anna", "password": PASSWORD, "codes": [phone.next()]}
                answer = await client.post("/act/login", json=fields, headers={"Origin": "https://127.0.0.1"})
                cookies = answer.headers.get_list("set-cookie")
                assert [cookie.split("=")[0] for cookie in cookies] == ["__Host-edge-operator", "__Host-edge-browser"]
                assert all("secure" in cookie.lower() for cookie in cookies)
                assert (await client.get("/me")).json()["name"] == "anna"
                ticket = client.cookies["__Host-edge-operator"]
                client.cookies.clear()
                client.cookies.set("edge-operator", ticket, domain="127.0.0.1")  # as anybody in the clear can set it
                assert (await client.get("/me")).status_code == 401

    run(story())


def test_passwords_are_not_taken_in_the_clear_from_elsewhere(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            transport = httpx.ASGITransport(stand.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://192.168.1.9:8080") as client:
                for name in ("login", "enrol", "confirm", "order", "export"):
                    answer = await client.post(
                        f"/act/{name}", json=ACTS[name], headers={"Origin": "http://192.168.1.9:8080"}
                    )
                    assert answer.status_code == 403
                    assert answer.json()["no"] == "not-here"

    run(story())


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "127.0.0.1:1"])
def test_a_rebound_name_reaches_no_act(host: str, folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            headers = {"Host": host, "Origin": f"http://{host}"}
            for name, fields in ACTS.items():
                answer = await stand.client.post(f"/act/{name}", json=fields, headers=headers)
                assert answer.status_code == 421

    run(story())


def test_a_session_is_not_fixed_from_outside(folder: Folder, run: Run) -> None:
    """A ticket that somebody planted before the log-in is worth nothing after it."""

    async def story() -> None:
        async with folder.stand(WEB) as stand:
            phone = await stand.enrolled()
            planted = "A" * 43
            stand.client.cookies.set("edge-operator", planted, domain="127.0.0.1")
            await stand.logged_in(phone)
            assert (await stand.client.get("/me")).json()["token"] != desk_module.token_for(planted)
            stand.client.cookies.clear()
            stand.client.cookies.set("edge-operator", planted, domain="127.0.0.1")
            assert (await stand.client.get("/me")).status_code == 401

    run(story())


def test_a_viewer_can_only_look(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            phone = await stand.enrolled("vi", Role.VIEWER)
            token = await stand.logged_in(phone, "vi")
            assert (await stand.client.get("/")).status_code == 200
            visit = await stand.put(Kind.DENIED, reason="expired")
            for what in ("override", "lock-down", "lift", "export"):
                fields = {"what": what, "why": "other", "codes": [phone.next()], "visit": visit.index}
                assert (await stand.act("order", token, **fields)).json()["no"] == "role"
            assert (await stand.act("receipt", token, text=["GATE1:AA"])).status_code == 403
            assert still(stand)

    run(story())


def test_long_and_endless_bodies_are_cut_off(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            head = {"Origin": "http://127.0.0.1:8080", "Content-Type": "application/json"}
            for size in (LIMIT + 1, 10**6):
                answer = await stand.client.post("/act/login", content=b" " * size, headers=head)
                assert answer.status_code == 413
            for told in ("99999999999999999999", "-1", "1e3", "٣", ""):
                lying = {**head, "Content-Length": told}
                headers = [(name.encode(), value.encode()) for name, value in lying.items()]
                answer = await stand.client.post("/act/login", content=b"{}", headers=headers)
                assert answer.status_code in (411, 413)

            async def endless() -> Any:
                yield b"{"

            answer = await stand.client.post("/act/login", content=endless(), headers=head)
            assert answer.status_code == 411

    run(story())


def test_slow_bodies_are_cut_off_and_nobody_waits_for_them(
    folder: Folder, run: Run, monkeypatch: pytest.MonkeyPatch, later: Callable[[float], None]
) -> None:
    monkeypatch.setattr(asked_module, "BODY_S", 20.0)  # which nobody waits for: the time is made to pass

    async def story() -> None:
        async with folder.stand(WEB, port=True) as stand:
            host = stand.url.removeprefix("http://")
            port = int(host.rpartition(":")[2])
            head = (
                f"POST /act/login HTTP/1.1\r\nHost: {host}\r\nOrigin: {stand.url}\r\n"
                "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
            ).encode()
            slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
            for _, writer in slow:
                writer.write(head)
            async with httpx.AsyncClient(timeout=30) as client:
                assert (await client.get(stand.url + "/login")).status_code == 200
            later(21.0)
            for reader, writer in slow:
                assert (await reader.read()).split()[1] == b"408"
                writer.close()

    run(story())


def test_pieces_of_two_requests_are_not_mixed_up(folder: Folder, run: Run) -> None:
    """Length and chunks at once, two lengths, a length that lies: none is a way to smuggle a second request in."""

    async def story() -> None:
        async with folder.stand(WEB, port=True) as stand:
            host = stand.url.removeprefix("http://").encode()
            port = int(host.rpartition(b":")[2])
            smuggled = b"GET /metrics HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
            for lengths in (
                b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                b"Content-Length: 2\r\nContent-Length: 60\r\n\r\n{}",
                b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            ):
                head = b"POST /act/login HTTP/1.1\r\nHost: " + host + b"\r\nOrigin: http://" + host
                head += b"\r\nContent-Type: application/json\r\n"
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(head + lengths + smuggled)
                async with asyncio.timeout(30):
                    answer = await reader.read()
                assert b"edge_serving" not in answer
                assert answer.split()[1] in (b"400", b"411", b"413")
                writer.close()

    run(story())


@pytest.mark.parametrize("name", sorted(ACTS))
def test_only_exactly_the_fields_that_are_asked_for(name: str, folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            good = ACTS[name]
            odds: list[Any] = [None, 1.5, {}, [[]], [1], True, 10**30, "x" * 300]
            wrong: list[Any] = [[], None, 1, "x", [good], {**good, "more": 1}, {**good, "__proto__": {}}]
            for field in good:
                without = {key: value for key, value in good.items() if key != field}
                wrong += [without, *({**good, field: odd} for odd in odds)]
            for body in wrong:
                if isinstance(body, dict) and body.get("codes") == []:
                    continue
                answer = await stand.client.post(
                    f"/act/{name}",
                    content=json.dumps(body),
                    headers={"Origin": "http://127.0.0.1:8080", "Content-Type": "application/json"},
                )
                assert answer.status_code == 400, (body, answer.text)
            assert still(stand)

    run(story())


def test_a_field_told_twice_is_refused(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            body = '{"name": "anna", "name": "bo", "password": "x", "codes": []}'
            head = {"Origin": "http://127.0.0.1:8080", "Content-Type": "application/json"}
            assert (await stand.client.post("/act/login", content=body, headers=head)).status_code == 400

    run(story())


def test_odd_json_is_refused(folder: Folder, shared: Path, run: Run) -> None:
    files = sorted((shared / "vectors" / "JSONTestSuite" / "test_parsing").glob("n_*.json"))
    assert len(files) > 150

    async def story() -> None:
        async with folder.stand(WEB) as stand:
            head = {"Origin": "http://127.0.0.1:8080", "Content-Type": "application/json"}
            for file in files:
                raw = file.read_bytes()
                whole = b'{"name": "anna", "password": ' + raw + b', "codes": []}'
                for body in (raw, whole):
                    answer = await stand.client.post("/act/login", content=body, headers=head)
                    assert answer.status_code in (400, 413), (file.name, answer.text)

    run(story())


def naughty(shared: Path) -> list[str]:
    found: list[str] = json.loads((shared / "vectors" / "blns" / "blns.json").read_text(encoding="utf-8"))
    assert len(found) > 400
    return found


def test_naughty_strings_in_every_field(folder: Folder, shared: Path, run: Run) -> None:
    texts = naughty(shared)

    async def story() -> None:
        async with folder.stand(WEB) as stand:
            phone = await stand.enrolled()
            token = await stand.logged_in(phone)
            before = stand.log.size()
            for place, text in enumerate(texts):
                name = list(ACTS)[place % len(ACTS)]
                if name in ("logout", "here"):
                    continue
                for field, good in ACTS[name].items():
                    odd = [text] if isinstance(good, list) else text
                    answer = await stand.act(name, token, **{**ACTS[name], field: odd})
                    assert answer.status_code in SOUND, (name, field, text, answer.text)
                    assert "Traceback" not in answer.text
            assert still(stand)
            for entry in stand.log.entries(before, 1000):
                assert entry.kind is Kind.OPERATOR
                assert set(entry.fields) == {"what", "who", "count"}  # and nothing that was typed

    run(story())


def test_naughty_strings_in_addresses(folder: Folder, shared: Path, run: Run) -> None:
    texts = naughty(shared)

    async def story() -> None:
        async with folder.stand(WEB) as stand:
            for text in texts:
                odd = quote(text.encode("utf-8", "surrogatepass"), safe="/.")[:1500].lstrip("/.")
                for path in (f"/export/{odd}", f"/static/{odd}", f"/{odd}" if odd else "/x", f"/kiosk?lang={odd}&a=b"):
                    answer = await stand.client.get(path)
                    assert answer.status_code in (200, 303, 307, 404), (path, answer.status_code)

    run(story())


@pytest.mark.parametrize(
    "link",
    [
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/journal.db",
        "journal.db",
        "x\x00",
        "/etc/passwd",
        ".",
        "a" * 32,
    ],
    ids=repr,
)
def test_an_export_is_no_way_to_a_file(link: str, folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            phone = await stand.enrolled()
            await stand.logged_in(phone)
            answer = await stand.client.get("/export/" + quote(link, safe="%/."))
            assert answer.status_code in (404, 421, 307)
            assert b"root:" not in answer.content
            assert b"SQLite" not in answer.content

    run(story())


def test_an_export_is_taken_once_soon_and_by_whoever_ordered_it(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            anna, bo = await stand.enrolled(), await stand.enrolled("bo")
            token = await stand.logged_in(anna)
            link = (await stand.act("export", token, why="audit", codes=[anna.next()])).json()["link"]
            ours = dict(stand.client.cookies)
            stand.client.cookies.clear()
            assert (await stand.client.get(link)).status_code == 404
            await stand.logged_in(bo, "bo")
            assert (await stand.client.get(link)).status_code == 404
            stand.client.cookies.clear()
            for name, value in ours.items():
                stand.client.cookies.set(name, value, domain="127.0.0.1")
            assert (await stand.client.head(link)).status_code == 200
            taken = await stand.client.get(link)
            assert taken.headers["content-disposition"] == 'attachment; filename="north.log"'
            assert (await stand.client.get(link)).status_code == 404
            entry = next(entry for entry in stand.log.entries(0, 100) if entry.kind is Kind.EXPORT)
            assert entry.fields["by"] == "anna"

    run(story())


def test_nothing_here_fetches_an_address_or_unpacks_an_archive(folder: Folder) -> None:
    """No forged request from this side, no file that climbs out of its folder: there is nothing that could."""
    forbidden = {
        "urllib.request",
        "http.client",
        "httpx",
        "requests",
        "aiohttp",
        "ftplib",
        "zipfile",
        "tarfile",
        "shutil",
    }
    for file in folder.package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not forbidden & set(names), (file.name, names)
    for field in {name for fields in ACTS.values() for name in fields}:
        assert field not in ("url", "address", "host", "file", "path")


def test_the_time_of_an_answer_does_not_tell_whether_a_name_exists(
    folder: Folder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes the time is the password's hash: a try at a name that nobody has costs the same one."""
    done: list[dict[str, int]] = []

    def counted(salt: bytes, **cost: int) -> Scrypt:
        done.append({"salt": len(salt), **cost})
        return Scrypt(salt, **cost)

    monkeypatch.setattr(known, "Scrypt", counted)
    monkeypatch.setattr(known, "COST", 2**9)

    async def story() -> None:
        async with folder.stand(WEB) as stand:
            await stand.enrolled()
            work: dict[str, list[dict[str, int]]] = {}
            for name in ("anna", "nobody-at-all") * 8:
                stand.clock.go(600)  # no waiting between tries
                done.clear()
                answer = await stand.act("login", name=name, password="wrong password", codes=["000000"])
                assert answer.status_code == 401
                work.setdefault(name, []).append(done[-1])
                assert len(done) == 1
            assert work["anna"] == work["nobody-at-all"]
            assert work["anna"][0]["n"] == 2**9

    run(story())


def test_secrets_are_compared_in_constant_time(folder: Folder) -> None:
    """Tokens, codes and password hashes meet ``compare_digest``, never ``==``."""
    root = folder.package.parent
    for file, secrets in (("web/desk.py", 1), ("trust/operators.py", 3)):
        text = (root / file).read_text(encoding="utf-8")
        assert text.count("hmac.compare_digest(") >= secrets
        for line in text.splitlines():
            assert not ("==" in line and any(word in line for word in ("password", "token", "secret)"))), line


def test_a_flood_of_tries_waits_and_leaves_the_gate_alone(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            stand.clock.hold()  # who waits for the next try has not waited it out
            before = stand.log.size()
            answers = await asyncio.gather(
                *(stand.act("login", name=f"n{n}", password="wrong password", codes=["1"]) for n in range(60)),
                return_exceptions=True,
            )
            statuses = [answer.status_code for answer in answers if isinstance(answer, httpx.Response)]
            assert set(statuses) <= {401, 429, 503}
            assert statuses.count(401) <= 5
            assert stand.log.size() - before <= 1  # one entry, not sixty

    run(story())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(ACTS)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ),
)
def test_whatever_is_sent_the_answer_is_sound(folder: Folder, name: str, body: Any) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            head = {"Origin": "http://127.0.0.1:8080", "Content-Type": "application/json"}
            for sent in (body, {**ACTS[name], **(body if isinstance(body, dict) else {"name": body})}):
                answer = await stand.client.post(f"/act/{name}", content=json.dumps(sent), headers=head)
                assert answer.status_code in SOUND
            assert still(stand)

    asyncio.run(story())


def test_a_gate_that_does_not_answer_is_said_and_reading_goes_on(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            phone = await stand.enrolled()
            token = await stand.logged_in(phone)
            (folder.path / "operators.sock").unlink()
            assert (await stand.client.get("/me")).status_code == 200  # who was known a moment ago may read
            answer = await stand.act("order", token, **ACTS["order"])
            assert answer.status_code == 503
            assert answer.json()["no"] == "failed"
            stand.client.cookies.clear()
            assert (await stand.client.get("/me")).status_code == 401

    run(story())


def test_where_anyone_may_read_they_may_also_while_the_gate_does_not_answer(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            (folder.path / "operators.sock").unlink()
            assert (await stand.client.get("/me")).status_code == 200
            stand.client.cookies.set("edge-operator", "of-last-week", domain="127.0.0.1")
            answer = await stand.client.get("/me")
            assert (answer.status_code, answer.json()["role"]) == (200, "viewer")

    run(story())


def test_a_stranger_in_place_of_the_gate_is_no_gate(folder: Folder, run: Run) -> None:
    """Whoever speaks nonsense on the socket lets nobody in."""

    async def story() -> None:
        async with folder.stand(WEB) as stand:
            (folder.path / "operators.sock").unlink()

            async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(b"\x00\x00\x00\x05hello")
                writer.close()

            server = await asyncio.start_unix_server(nonsense, folder.path / "operators.sock")
            answer = await stand.act("login", **ACTS["login"])
            assert answer.status_code == 503
            server.close()

    run(story())


class Slow:
    """A gate that says who somebody is when it is let."""

    def __init__(self, operators: Any) -> None:
        self.operators = operators
        self.asked, self.let = asyncio.Event(), asyncio.Event()

    async def answer(self, asked: Any) -> Any:
        if isinstance(asked, orders.WhoIs):
            self.asked.set()
            await self.let.wait()
        return await self.operators.answer(asked)


def test_strangers_who_ask_who_they_are_keep_no_order_waiting(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            phone = await stand.enrolled()
            await stand.logged_in(phone)
            ticket = stand.client.cookies["edge-operator"]
            pages, console = folder.path / "slow.sock", folder.path / "slow-console.sock"
            slow = Slow(stand.operators)
            attending = asyncio.create_task(attend(pages, console, slow))  # type: ignore[arg-type]
            await wait_for(console)
            counter = Counter(pages)
            flood = [asyncio.create_task(counter.ask(orders.WhoIs(f"bogus-{n}", False))) for n in range(60)]
            await slow.asked.wait()
            order = orders.Order(ticket, orders.What.LOCK_DOWN, orders.Why.OTHER, (phone.next(),), -1)
            assert isinstance(await counter.ask(order), orders.Obeyed)
            assert not any(one.done() for one in flood), "it did not wait for them"
            slow.let.set()
            assert {type(told) for told in await asyncio.gather(*flood)} == {orders.Declined}
            attending.cancel()
            await asyncio.gather(attending, return_exceptions=True)

    run(story())


def test_connections_beyond_the_limit_do_not_keep_the_gate_from_answering(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB, port=True) as stand:
            host, port = stand.url.removeprefix("http://").split(":")
            held = [socket.create_connection((host, int(port))) for _ in range(100)]
            try:
                await asyncio.sleep(0.1)
                told = await stand.operators.answer(orders.AskOperators())
                assert told.rows == ()
            finally:
                for one in held:
                    one.close()

    run(story())
