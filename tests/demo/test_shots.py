"""Whoever records a run gets pictures of the pages."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from PIL import Image

from edge.audit.entry import Event, Kind
from edge.demo import shots
from edge.demo.configuration import settings as demo_settings
from edge.devices.journal import SqliteJournal
from edge.devices.simulated import SimulatedClock
from edge.settings import Models, Mqtt
from edge.web.kiosk import Screen


@pytest.mark.skipif(not shots.possible(), reason="chromium and its driver come with scripts/setup dev")
def test_the_screens_and_the_operator_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shots, "POSES", {name: shots.POSES[name] for name in ("idle", "refused")})
    monkeypatch.setattr(shots, "known", lambda: ("ar",))
    told = demo_settings(
        tmp_path,
        profile="pilot",
        models=Models("best", tmp_path, 1),
        root="",
        module=Path("none.so"),
        mqtt=Mqtt(False, "", 0, Path(), Path(), "", Path()),
        port=0,
    )
    told.paths.journal.parent.mkdir(parents=True)
    journal = SqliteJournal.open(told.paths.journal, told.site.origin, "gate-1", SimulatedClock(), None)
    asyncio.run(journal.append(Event(Kind.DENIED, {"reason": "expired"})))
    written = shots.write(tmp_path / "pages", told)
    journal.close()
    names = {"kiosk-idle-ar.png", "kiosk-refused-ar.png"}
    assert {file.name for file in written} == names | {"operator.png", "operator-phone.png"}
    for file in written:
        with Image.open(file) as picture:
            assert len(set(picture.convert("RGB").resize((64, 64)).tobytes())) > 8, file  # not an empty page


def test_every_screen_has_a_pose() -> None:
    assert {pose.screen for pose in shots.POSES.values()} == set(Screen)
