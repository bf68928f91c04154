"""The services on a real port: TLS, certificates, tokens, limits, and the walk-through of the README."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.util
import json
import os
import re
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from edge.app import iavs
from edge.cli import main
from edge.iavs import asking
from edge.vision.simulated import paint

ROOT = Path(__file__).parents[2]
EDGE = [sys.executable, "-m", "edge", "iavs"]
Live = Any  # of conftest.py


def picture(who: int) -> bytes:
    canvas = np.full((240, 240, 3), 60, np.uint8)
    paint(canvas, who, (120, 100), 60)
    return bytes(cv2.imencode(".png", canvas)[1].tobytes())


def test_the_walk_through_of_the_readme_works(live: Live, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    readme = (ROOT / "edge" / "iavs" / "README.md").read_text(encoding="utf-8")
    script = "\n".join(re.findall(r"```sh\n(.*?)```", readme, re.DOTALL))
    assert script.count("ask ") >= 8
    for name in ("client.pem", "client.key", "ca.pem"):
        shutil.copy(live.folder / name, tmp_path)
    for who, name in enumerate(("anna.png", "anna-today.png", "ben.png")):
        (tmp_path / name).write_bytes(picture(max(1, who)))
    env = os.environ | {
        "GATE": f"https://127.0.0.1:{live.port}",
        "TOKEN": live.token("--key", "issuer.key", "--scope", "all"),
    }
    told = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout + told.stderr
    said = told.stdout
    assert '"match": true' in said
    assert '"match": false' in said
    assert '"rank": 1' in said
    assert said.rstrip().endswith('{"candidateList": {"candidate": []}}')


def test_without_a_certificate_of_the_site_there_is_no_connection(live: Live) -> None:
    for client in (None, "stranger"):
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            live.ask("GET", "/queryCapabilities", client=client)


def test_a_token_is_for_one_certificate_and_its_scopes(live: Live) -> None:
    token = live.token("--key", "issuer.key", "--scope", "iavs.capabilities.read")
    status, said = live.ask("GET", "/queryCapabilities", token=token)
    assert status == 200
    galleries = [each for each in said["capabilityList"]["capability"] if each["capabilityName"] == "Gallery"]
    assert [each["capabilityValue"] for each in galleries] == ["staff"]
    assert live.ask("POST", "/createSubject", {}, token)[0] == 403
    assert live.ask("GET", "/queryCapabilities", token=token, client="second")[0] == 401
    assert live.ask("GET", "/queryCapabilities")[0] == 401
    assert live.ask("GET", "/queryCapabilities", token=token[:-4] + "AAAA")[0] == 401
    self_made = live.token("--key", "otherca.key", "--scope", "all")
    assert live.ask("GET", "/queryCapabilities", token=self_made)[0] == 401
    expired = live.token("--key", "issuer.key", "--scope", "all", "--minutes", "-2")
    assert live.ask("GET", "/queryCapabilities", token=expired)[0] == 401


def test_break_glass_is_of_this_machine_and_is_written_down(live: Live) -> None:
    token = live.token("--break-glass", "--scope", "iavs.subject.write")
    before = len(entries(live))
    assert live.ask("POST", "/createSubject", {}, token)[0] == 200
    assert [each.fields["role"] for each in entries(live)[before:]] == ["break-glass", "break-glass"]
    assert live.ask("POST", "/createSubject", {}, token, client="second")[0] == 401


def entries(live: Live) -> list[Any]:
    from edge.devices.follower import Follower

    log = Follower(live.settings.paths.journal)
    found = [each for each in log.entries(0, 1000) if each.kind == 90]
    log.close()
    return found


def test_a_million_bytes_are_read_and_more_than_the_limit_refused_at_once(live: Live) -> None:
    token = live.token("--key", "issuer.key", "--scope", "all")
    noise = np.random.default_rng(1).integers(80, 140, (640, 640, 3), np.uint8)
    paint(noise, 2, (320, 300), 60)
    large = bytes(cv2.imencode(".png", noise)[1].tobytes())
    client = module()
    assert len(large) > 700_000
    body = {"bir": client.face(large)}
    assert len(json.dumps(body)) > 900_000
    status, said = live.ask("POST", "/checkQuality", body, token)
    assert status == 200, said
    from urllib.parse import quote

    status, said = live.ask("GET", "/checkQuality?bir=" + quote(json.dumps(body["bir"]), safe=""), token=token)
    assert status == 200, said
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "_DRAIN_S", 60.0)
        status, said = live.ask("POST", "/checkQuality", {"bir": "x" * 3_000_000}, token)
        assert (status, said["code"]) == (413, "PAYLOAD_TOO_LARGE")
        patch.setattr(asking, "_DRAIN_S", 0.01)
        context = ssl.create_default_context(cafile=str(live.folder / "ca.pem"))
        context.load_cert_chain(live.folder / "client.pem", live.folder / "client.key")
        connection = http.client.HTTPSConnection("127.0.0.1", live.port, context=context, timeout=60)
        connection.putrequest("POST", "/checkQuality")
        for name, value in {"Authorization": f"Bearer {token}", "Content-Length": "3000000"}.items():
            connection.putheader(name, value)
        connection.endheaders()  # and nothing after it
        assert connection.getresponse().status == 413
        connection.close()


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("iavs_client", ROOT / "scripts" / "iavs_client.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_the_client_of_one_file(live: Live) -> None:
    client = module()
    folder = live.folder
    token = live.token("--key", "issuer.key", "--scope", "all")
    gate = client.Gate(
        f"https://127.0.0.1:{live.port}",
        token,
        certificate=str(folder / "client.pem"),
        key=str(folder / "client.key"),
        ca=str(folder / "ca.pem"),
    )
    options = {"option": [{"key": "async"}]}
    made = gate.ask(
        "enrol", processingOptions=options, inputData={"bir": client.face(picture(5)), "galleryID": "staff"}
    )
    found = gate.ask("identifySubject", galleryID="staff", bir=client.face(picture(5)), maxListSize=1)
    assert found["candidateList"]["candidate"][0]["identity"]["subjectID"] == made["subjectID"]
    gate.ask("deleteSubject", subjectID=made["subjectID"])
    with pytest.raises(client.Refused, match="UNKNOWN_SUBJECT"):
        gate.ask("listBiographicData", subjectID=made["subjectID"])


def test_a_slow_or_endless_head_is_cut_off(live: Live) -> None:
    context = ssl.create_default_context(cafile=str(live.folder / "ca.pem"))
    context.load_cert_chain(live.folder / "client.pem", live.folder / "client.key")
    with (
        socket.create_connection(("127.0.0.1", live.port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        secured.settimeout(60)
        secured.sendall(b"GET /checkQuality?bir=")
        answer = b""
        try:
            for _ in range(48):
                secured.sendall(b"x" * 65536)
            while more := secured.recv(4096):
                answer += more
        except (ConnectionError, ssl.SSLError):
            pass
        assert answer == b"" or answer.startswith(b"HTTP/1.1 413")


def test_the_technician_sees_how_many_there_are(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["iavs", "gallery", "--config", str(live.folder / "edge.toml")]) == 0
    assert "gallery staff:" in capsys.readouterr().out


def test_without_tls_only_this_machine_is_served(live: Live) -> None:
    from edge.errors import DeviceError
    from edge.iavs.server import Port

    with pytest.raises(DeviceError, match="this machine only"):
        Port("0.0.0.0", 0).context()
    assert Port("127.0.0.1", 0).context() is None


def test_development_without_tls_is_an_explicit_flag(tmp_path: Path, site: Any) -> None:
    settings = site(tmp_path)

    async def story() -> bytes:
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        part = asyncio.create_task(iavs.run(settings, insecure_loopback=True, ready=ready))
        reader, writer = await asyncio.open_connection("127.0.0.1", await ready)
        writer.write(b"GET /queryCapabilities HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        part.cancel()
        await asyncio.gather(part, return_exceptions=True)
        return answer

    answer = asyncio.run(story())
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"no-store" in answer


def narrowed(document: dict[str, Any], known: dict[str, list[Any]]) -> dict[str, Any]:
    """The document with fewer values to ask with, so that there is something to find; deletions stay as they were."""

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(each) for each in value]
        if not isinstance(value, dict):
            return value
        if value.get("$ref", "").endswith("/CBEFF_BIR_Type"):
            return {"enum": known["sample"]}
        made = {key: each if key == "responses" else walk(each) for key, each in value.items()}
        if made.get("in") == "query" and made["name"] in known and "schema" in made:
            made["schema"] = {"type": "string", "enum": known[made["name"]]}
        if isinstance(made.get("properties"), dict):
            for name in made["properties"].keys() & known.keys():
                made["properties"][name] = {"type": "string", "enum": known[name]}
        return made

    paths = {path: each if path.startswith("/delete") else walk(each) for path, each in document["paths"].items()}
    return document | {"paths": paths}


def peopled(live: Live, token: str) -> dict[str, list[Any]]:
    """People in the gallery."""
    client, people = module(), [f"p{at}" for at in range(4)]
    samples = [client.face(picture(who)) for who in (1, 2)]
    for at, name in enumerate(people):
        given = {"subjectID": name, "bir": samples[at % 2], "galleryID": "staff", "identityClaim": f"c{at}"}
        given["biographicData"] = {"lastName": "X"}
        option = {"option": [{"key": "duplicates", "value": "allow"}]}
        assert live.ask("POST", "/enrol", {"processingOptions": option, "inputData": given}, token)[0] == 200
    claims = [f"c{at}" for at in range(4)]
    return {"subjectID": [*people, "nobody"], "galleryID": ["staff"], "identityClaim": claims, "sample": samples}


def nobody_is_left(live: Live, token: str) -> None:
    """A campaign asks about nobody whom the one before made."""
    with contextlib.closing(sqlite3.connect(f"file:{live.settings.paths.gallery}?mode=ro", uri=True)) as file:
        left = [row[0] for row in file.execute("SELECT id FROM subjects")]
    for subject in left:
        assert live.ask("DELETE", "/deleteSubject", {"subjectID": subject}, token)[0] == 200


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("people", [False, True], ids=["nobody-enrolled", "people-enrolled"])
def test_a_campaign_of_schemathesis_finds_nothing_unexplained(live: Live, tmp_path: Path, people: bool) -> None:
    """``pytest tests/iavs/test_live.py -m slow``; EXPLAINED says what it may report, and why."""
    tool = Path(sys.executable).with_name("st")
    if not tool.exists():
        pytest.skip("schemathesis is not here")
    document = subprocess.run([*EDGE, "openapi"], cwd=ROOT, capture_output=True, check=True).stdout
    token = live.token("--key", "issuer.key", "--scope", "all")
    nobody_is_left(live, token)
    if people:
        document = json.dumps(narrowed(json.loads(document), peopled(live, token))).encode()
    (tmp_path / "openapi.json").write_bytes(document)
    (tmp_path / "schemathesis.toml").write_text(LISTED, encoding="utf-8")
    pair = tmp_path / "client.pem"
    pair.write_bytes((live.folder / "client.pem").read_bytes() + (live.folder / "client.key").read_bytes())
    told = subprocess.run(
        [
            str(tool),
            "run",
            "openapi.json",
            f"--url=https://127.0.0.1:{live.port}",
            f"--header=Authorization: Bearer {token}",
            f"--request-cert={pair}",
            f"--tls-verify={live.folder / 'ca.pem'}",
            "--max-examples=10",
            "--seed=1",
            "--workers=1",
            "--checks=all",
            f"--exclude-checks={','.join(EXPLAINED | (NARROWED if people else {}))}",
            "--no-color",
            "--report=ndjson",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    (Path(tempfile.gettempdir()) / f"edge-schemathesis-{people}.txt").write_text(
        told.stdout + told.stderr, encoding="utf-8"
    )
    assert told.returncode == 0, told.stdout[-8000:]


EXPLAINED = {
    "positive_data_acceptance": "a sample that fits the schema need not be a face, nor a subject exist",
}
NARROWED = {
    "negative_data_rejection": "an ID that was not offered is an ID all the same; null is taken for what is not given",
}
LISTED = """
[checks.not_a_server_error]
# 501 is UNSUPPORTED_CAPABILITY, which the catalogue lists; 503 asks to come back
expected-statuses = ["2xx", "3xx", "4xx", "501", "503"]
"""
