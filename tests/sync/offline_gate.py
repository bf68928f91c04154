"""A gate without network and battery clock, from one power cut to the next: ``offline_gate.py FOLDER ENTRIES``.

Each boot begins in 1970 on the system clock. Half a day passes by the stopwatch while visitors come; then the power
goes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from edge.audit.entry import Event, Kind
from edge.decision import Facts, Policy, admit
from edge.devices.clock import SystemClock
from edge.devices.journal import SqliteJournal
from edge.devices.trusted import Trusted
from edge.devices.truststore import TrustReader
from edge.settings import Clock, profile

ROOT = Path(__file__).resolve().parents[2]
ORIGIN = "urn:gate:demo:lobby:gate-1"
HALF_A_DAY_S = 12 * 3600
SKEW = timedelta(seconds=60)
VISITORS = 100


async def half_a_day(folder: Path, entries: int) -> None:
    passed = 0.0
    clock = SystemClock(Clock("floor", 5.0), folder / "floor", wall=lambda: passed, stopwatch=lambda: passed)
    journal = SqliteJournal.open(folder / "journal.db", ORIGIN, "demo/lobby/gate-1", clock)
    trusted = Trusted(TrustReader(folder / "trust.db"), [(folder / "roots").read_text()], folder / "floors")
    trusted.reload()
    assert trusted.whole is not None and trusted.current is not None and trusted.current.issued_at is not None
    if trusted.whole.signed_at is not None:
        clock.raise_floor(trusted.whole.signed_at)
    policies = {
        name: profile(name, Policy, ROOT / "config" / "edge.toml") for name in ("turnstile", "benefit", "egate")
    }
    began = clock.now().lower
    decided: dict[str, str] = {}
    for done in range(0, entries, VISITORS):
        passed = HALF_A_DAY_S * (done + VISITORS) / entries
        now = clock.now()
        age = max(0, int((now.lower - trusted.current.issued_at).total_seconds()))
        validity = now.within(None, began + timedelta(days=400), SKEW).value
        facts = Facts(trust_age_s=age, unsealed=0, unsealed_s=0, validity=validity, reference=True)
        facts = replace(facts, bona_fide=9000, score=9500, threshold=9000, cycle=1, benefit="free")
        decided = {name: (admit(policy, facts) or Kind.GRANTED).name for name, policy in policies.items()}
        count = min(VISITORS, entries - done)
        kind = Kind.GRANTED if decided["turnstile"] == "GRANTED" else Kind.DENIED
        await journal.append_all([Event(kind, {"trust_age_s": age, "clock": now.state.value})] * count)
        clock.keep_now_and_then()
    told = {"lower": clock.now().lower.timestamp(), "began": began.timestamp(), "decided": decided}
    sys.stdout.write(json.dumps(told))
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(half_a_day(Path(sys.argv[1]), int(sys.argv[2])))
