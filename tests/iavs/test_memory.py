"""What is deleted is gone from the memory of the running process too, not only from its files."""

from __future__ import annotations

import json
import secrets
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from socket import create_connection
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np

from edge.app.memory import WANTED
from edge.vision.simulated import PaintSessions, paint
from edge.vision.stills import look
from edge.wire import AskStill, StillWork

ROOT = Path(__file__).parents[2]
LONGEST_S = 120.0
Live = Any  # of conftest.py
Run = Callable[..., AbstractContextManager[tuple[Live, int]]]


class Numbers:
    """An embedder whose templates are like nothing else, and so short that numpy would keep them."""

    name = "paint-1"
    drawn = np.random.default_rng(secrets.randbits(64)).normal(size=(8, 128)).astype(np.float32)

    def embed(self, image: Any, landmarks: Any) -> Any:
        vector = self.drawn[int(PaintSessions().embedder.embed(image, landmarks).argmax())]
        return vector / np.linalg.norm(vector)


def sessions() -> Any:
    return replace(PaintSessions(), embedder=Numbers())  # type: ignore[arg-type]  # stands where PaintEmbedder stands


class Planted:
    """A person made of things that are nowhere else, and how to find them."""

    def __init__(self) -> None:
        self.subject, self.claim, self.name, self.comment = (secrets.token_hex(20) for _ in range(4))
        picture = self._picture()
        template = look(AskStill(picture, StillWork.FACTS, "jpeg"), sessions()).template
        record = {"birInfo": {"integrity": False}, "bdbInfo": {"type": ["Face"]}, "bdb": b64encode(picture).decode()}
        self.bir = {"formatOwner": 257, "formatType": 11, "bir": {"json": record}}
        self.needles = {
            "subject": _forms(self.subject),
            "claim": _forms(self.claim),
            "name": _forms(self.name),
            "picture": _forms(self.comment),
            "template": [template[at : at + 16] for at in range(0, len(template), 128)],
        }

    def _picture(self) -> bytes:
        """A JPEG with a comment that says who it is, over and over."""
        canvas = np.full((240, 240, 3), 60, np.uint8)
        paint(canvas, secrets.randbelow(8), (120, 100), 60)
        jpeg = cv2.imencode(".jpg", canvas)[1].tobytes()
        said = self.comment.encode() * 8
        return jpeg[:2] + b"\xff\xfe" + (len(said) + 2).to_bytes(2, "big") + said + jpeg[2:]

    def within(self, memory: bytes) -> dict[str, int]:
        """How often each kind is there."""
        return {kind: sum(memory.count(each) for each in needles) for kind, needles in self.needles.items()}


def _forms(mark: str) -> list[bytes]:
    """A mark as bytes, as wide text, and in base64 wherever it begins."""
    coded = [b64encode(bytes(at) + mark.encode())[4:28] for at in range(3)]
    return [mark.encode()[:24], mark.encode("utf-16-le")[:48], *coded]


def memory_of(pid: int) -> bytes:
    """All that a process could write into, without pages that say nothing."""
    return b"\0".join(_pieces(pid))


def _pieces(pid: int) -> Iterator[bytes]:
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            place, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            first, last = (int(each, 16) for each in place.split("-"))
            memory.seek(first)
            while first < last:
                try:
                    piece = memory.read(last - first)
                except OSError:
                    break
                if not piece:
                    break
                first += len(piece)
                yield piece.strip(b"\0")


def enrolled(live: Live, who: Planted) -> Callable[..., Any]:
    """The person in every service, by every way in; how to ask further."""
    token = live.token("--key", "issuer.key", "--scope", "all")

    def ask(method: str, service: str, wanted: int = 200, **inputs: Any) -> Any:
        status, said = live.ask(method, f"/{service}", inputs, token)
        assert status == wanted, (service, status, said)
        return said

    here: dict[str, Any] = {"galleryID": "staff", "identityClaim": who.claim}
    ask("POST", "createSubject", subjectID=who.subject)
    ask("PUT", "setBiometricData", subjectID=who.subject, bir=who.bir)
    ask("PUT", "setBiographicData", subjectID=who.subject, biographicData={"lastName": who.name})
    ask("POST", "addSubjectToGallery", subjectID=who.subject, **here)
    ask("POST", "verifySubject", inputBIR=who.bir, **here)
    ask("POST", "identifySubject", galleryID="staff", bir=who.bir, maxListSize=3)
    later = {"option": [{"key": "async"}]}
    ask("POST", "identify", processingOptions=later, inputData={"bir": who.bir}, galleryID="staff", maxListSize=3)
    ask("POST", "createSubject", 400, subjectID=who.subject)
    ask("POST", "verifySubject", 404, inputBIR=who.bir, galleryID="nowhere", identityClaim=who.claim)
    ask("PUT", "setBiometricData", 400, subjectID=who.subject, bir=who.bir | {"formatOwner": who.name})
    query = f"subjectID={who.subject}"
    for path in (
        f"retrieveBiometricData?{query}",
        f"retrieveBiographicData?{query}",
        f"verifySubject?identityClaim={who.claim}&galleryID=staff&inputBIR={quote(json.dumps(who.bir))}",
    ):
        status, said = live.ask("GET", f"/{path}", None, token)
        assert status == 200, (path, said)
    return ask


@contextmanager
def half_sent(live: Live, who: Planted) -> Iterator[None]:
    """A request whose end does not come."""
    token = live.token("--key", "issuer.key", "--scope", "all")
    raw = json.dumps({"subjectID": who.subject, "biographicData": {"lastName": who.name}, "bir": who.bir}).encode()
    head = f"POST /createSubject HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {len(raw) + 9}"
    context = ssl.create_default_context(cafile=str(live.folder / "ca.pem"))
    context.load_cert_chain(live.folder / "client.pem", live.folder / "client.key")
    with (
        create_connection(("127.0.0.1", live.port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        secured.sendall(head.encode() + b"\r\n\r\n" + raw)
        yield


def handed(live: Live) -> list[Path]:
    """Records that the gate may read."""
    return [each for each in live.settings.paths.faces.rglob("*") if each.is_file()]


def test_what_is_deleted_is_gone_from_the_memory_of_the_process(a_process: Run) -> None:
    who = Planted()
    with a_process(sessions) as (live, pid):
        assert not any(who.within(memory_of(pid)).values())
        with half_sent(live, who):
            until = time.monotonic() + LONGEST_S
            while not all((pending := who.within(memory_of(pid)))[kind] for kind in ("subject", "name", "picture")):
                assert time.monotonic() < until, pending
                time.sleep(0.1)
        ask = enrolled(live, who)
        kept = who.within(memory_of(pid))
        assert all(kept[kind] for kind in ("subject", "claim", "template")), kept
        assert len(handed(live)) == 1
        ask("DELETE", "deleteSubject", subjectID=who.subject)
        assert handed(live) == []
        until = time.monotonic() + LONGEST_S
        while any((left := who.within(memory_of(pid))).values()) and time.monotonic() < until:
            time.sleep(0.5)
        assert not any(left.values()), left
        ask("GET", "listBiographicData", 404, subjectID=who.subject)
        files = [each for each in live.folder.rglob("*") if each.is_file()]
        assert any(each.name == "journal.db" for each in files)
        assert [each for each in files if any(who.within(each.read_bytes()).values())] == []


def test_the_same_look_finds_the_person_where_memory_is_not_overwritten(a_process: Run) -> None:
    who = Planted()
    with a_process(sessions, forgetful=False) as (live, pid):
        enrolled(live, who)("DELETE", "deleteSubject", subjectID=who.subject)
        time.sleep(1.0)
        left = who.within(memory_of(pid))
    assert left["picture"], left


def test_the_unit_begins_the_process_that_way() -> None:
    unit = (ROOT / "systemd" / "edge-web.service").read_text(encoding="utf-8")
    assert "Environment=" + " ".join(f"{name}={value}" for name, value in WANTED.items()) in unit.splitlines()
