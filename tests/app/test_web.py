"""edge-web as a process is put together: what it refuses to begin with."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from edge.app.web import run
from edge.settings import SettingsError, load

CONFIG = Path(__file__).resolve().parents[2] / "config" / "edge.toml"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.9", "::"])
def test_the_operator_page_is_open_to_anyone_on_this_machine_only(host: str) -> None:
    told = load(CONFIG)
    told = replace(told, web=replace(told.web, host=host, readers="anyone"))
    with pytest.raises(SettingsError, match="readers"):
        asyncio.run(run(told))


def test_as_shipped_the_operator_page_is_for_operators() -> None:
    assert load(CONFIG).web.readers == "operators"
