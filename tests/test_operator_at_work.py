"""The five real processes and an operator: a set-up code from the console, a refusal overridden once."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import httpx

from edge.audit.entry import Kind
from edge.demo import footage, prop
from edge.demo.footage import Hold, Stand
from edge.demo.planned import Card
from edge.demo.stage import Stage, Wanted
from edge.passage import Indication
from edge.trust.operators import code_of, step_of

PASSWORD = "correct horse battery"
HOLD = Hold(module_px=3.0, turn=(6.0, -5.0, 2.0), at=(430.0, 480.0), glare=0.25)


def until(done: Callable[[], bool], what: str, within_s: float = 90.0) -> None:
    end = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.05)


def edge(stage: Stage, *words: str) -> str:
    command = [sys.executable, "-m", "edge", "operator", *words, "--config", str(stage.folder / "edge.toml")]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_a_refused_person_is_let_in_by_an_operator_and_by_nobody_else() -> None:
    with Stage(Wanted()) as stage:
        text = stage.issuers.text(Card(photo=False), datetime.now(UTC))
        paper = prop.card(text, "REPUBLIC OF EXAMPLE", (prop.IDENTITY_CARD,), (220, 225, 230))
        stand = Stand("obama2", eyes_px=92.0, at=(800.0, 190.0))
        portraits = stage.wanted.portraits
        footage.write(stage.scene / "visit.npy", footage.both_clip(portraits, paper, HOLD, stand, seed=1))
        footage.write(stage.scene / "nobody.npy", footage.face_clip(portraits, (), seed=0))
        stage.play("nobody")
        stage.start()
        origin = stage.pages.rstrip("/")
        with httpx.Client(base_url=origin, headers={"Origin": origin}, timeout=60) as page:
            setup = re.findall(r"\b\w{4}-\w{4}-\w{4}\b", edge(stage, "enrol", "anna"))[0]
            told = page.post("/act/enrol", json={"setup": setup, "password": PASSWORD}).json()
            key = parse_qs(urlsplit(told["address"]).query)["secret"][0]
            secret = base64.b32decode(key + "=" * (-len(key) % 8))

            def code(ahead: int) -> str:  # the neighbours of the present half minute are good too
                return code_of(secret, step_of(time.time()) + ahead)

            def confirmed() -> bool:  # again where the half minute ended on the way: the code before is none any more
                return page.post("/act/confirm", json={"setup": setup, "codes": [code(-1)]}).status_code == 200

            assert any(confirmed() for _ in range(2))
            assert "anna" in edge(stage, "list")
            login = {"name": "anna", "password": PASSWORD, "codes": [code(0)]}
            assert page.post("/act/login", json=login).status_code == 200
            page.headers["X-Gate-Page"] = page.get("/me").json()["token"]
            until(lambda: stage.panel() == Indication.READY.value, "ready")
            stage.play("visit")
            until(lambda: bool(refusals(stage)), "a refusal")
            visit = refusals(stage)[-1]
            order = {"what": "override", "why": "identity-checked", "visit": visit}
            assert page.post("/act/order", json={**order, "codes": ["000000"]}).status_code == 403
            assert movements(stage) == []
            answer = page.post("/act/order", json={**order, "codes": [code(1)]})
            assert answer.status_code == 200, answer.text
            entry = answer.json()["entry"]
            until(lambda: movements(stage) == [entry], "the relay")
            written = stage.log.entries(entry, 1)[0]
            assert (written.kind, written.fields["visit"], written.fields["by"]) == (Kind.OVERRIDE, visit, "anna")
            until(lambda: outcome(stage, entry), "the end of the passage")
            assert "anna is no operator any more" in edge(stage, "dismiss", "anna")
            assert page.post("/act/order", json={**order, "codes": [code(2)]}).status_code == 401


def refusals(stage: Stage) -> list[int]:
    return [entry.index for entry in stage.log.entries(0, stage.log.size()) if entry.kind is Kind.DENIED]


def movements(stage: Stage) -> list[int]:
    """Indices of the entries that the relay moved for."""
    relay = stage.scene / "relay"
    return [int(line) for line in relay.read_text().split()] if relay.exists() else []


def outcome(stage: Stage, entry: int) -> bool:
    ends = (Kind.TAKEN, Kind.NOT_TAKEN)
    found = stage.log.entries(entry, stage.log.size() - entry)
    return any(one.kind in ends and one.fields.get("visit") == entry for one in found)
