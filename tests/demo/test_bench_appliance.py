"""The measurement of the whole appliance measures what it says, on a minute that is a few seconds long."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edge.bench import appliance
from edge.demo.stage import ROOT, Wanted, models_of
from edge.errors import DeviceError

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    try:
        if not models_of(Wanted())[1]:
            pytest.skip("the turnstile asks for attack detection: edge models pull --set standard")
    except DeviceError as error:
        pytest.skip(str(error))
    for _ in range(3):  # a busy machine may not see whoever comes: that it never does is a fault
        measured = appliance.measure(Console(quiet=True), minutes=0.1)
        if measured["throughput"]["refused"] == [] and measured["screen_ms"]["n"] >= 2:
            break
    return measured


def test_everybody_who_comes_is_decided_about_and_let_through(found: dict[str, Any]) -> None:
    crowd = found["throughput"]
    assert (crowd["people"], crowd["let_through"], crowd["refused"]) == (2, 2, [])
    assert crowd["decision_ms"]["p50"] > 1.0


def test_the_kiosk_is_told_after_the_lights(found: dict[str, Any]) -> None:
    """As a promise within 100 ms, on a machine that does nothing else."""
    assert found["screen_ms"]["n"] >= 2
    assert found["screen_ms"]["p50"] <= found["screen_ms"]["p95"]


def test_the_log_and_what_is_sealed_and_sent_is_written_to_a_disk(found: dict[str, Any]) -> None:
    wrote = found["throughput"]["written_mb_per_1000"]
    assert set(wrote) == set(appliance.WRITERS)
    if Path("/var/tmp").stat().st_dev != Path("/dev/shm").stat().st_dev:
        assert wrote["gate"] > 0.0


def test_the_page_is_counted_with_all_that_it_loads(found: dict[str, Any]) -> None:
    page = found["page"]
    assert page["files"] >= 5
    assert 0 < page["first_byte_ms"] <= page["complete_ms"]
    assert 10.0 < page["kb"] < 300.0


def test_how_often_the_kiosk_draws_is_told_where_there_is_a_browser(found: dict[str, Any]) -> None:
    drawn = found["frames"]
    if shutil.which("chromium") is None or drawn is None:
        pytest.skip("no Chromium, or nothing that steers it")
    assert drawn["per_s"] > 0  # as a promise it is none: the machine of the tests has no graphics card
    assert drawn["slower"] == appliance.SLOWER


def test_every_process_was_ready_and_every_target_has_a_verdict(found: dict[str, Any]) -> None:
    assert set(found["ready_s"]) == {"vision", "gate", "seal", "sync", "web"}
    assert all(isinstance(target["met"], bool) for target in found["targets"])


def test_the_sandbox_of_each_unit_is_within_its_limit() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd")
    found = appliance.exposures(ROOT / "systemd")
    assert set(found) == set(appliance.EXPOSURE)
    assert all(found[name] <= most for name, most in appliance.EXPOSURE.items())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('<link rel="stylesheet" href="/static/operator.css">', {"/static/operator.css"}),
        ('<script type="module" src="/static/operator.js"></script>', {"/static/operator.js"}),
        ('import { draw } from "./charts.js";', {"/static/charts.js"}),
        ('<a href="/kiosk">', set()),
    ],
)
def test_what_a_page_names_is_found(text: str, names: set[str]) -> None:
    assert appliance.named(text) == names
