"""What a lane without cards asks of the models: the profile's rates, in a gallery of any size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.app.check import gallery_of
from edge.app.chosen import lane_of, policy_of
from edge.app.manifest import manifest_of
from edge.biometric.gallery import fmr_for
from edge.biometric.values import ReferenceKind
from edge.decision import Policy
from edge.devices.simulated import SimulatedClock
from edge.errors import Refusal
from edge.settings import Models, Settings, SettingsError, load, profile

ROOT = Path(__file__).parents[2]
MODEL = "omz-face-reid-0095"


@pytest.fixture
def settings() -> Settings:
    read = load(ROOT / "config" / "edge.toml")
    return replace(read, models=Models("best", ROOT / "models", 1))


def staff(settings: Settings) -> Policy:
    return profile("staff", Policy, settings.source)


def test_among_few_the_false_match_rate_decides_and_among_many_the_identification_rate(settings: Settings) -> None:
    manifest, policy = manifest_of(settings), staff(settings)
    lane = lane_of(policy, manifest, bytes(32))
    assert lane is not None
    assert lane.threshold(MODEL, 1) == lane.threshold(MODEL, 10) == manifest.threshold(MODEL, ReferenceKind.FULL, 0.001)
    many = manifest.threshold(MODEL, ReferenceKind.FULL, fmr_for(0.01, 500))
    assert lane.threshold(MODEL, 500) == many > lane.threshold(MODEL, 10)


def test_where_the_models_were_not_measured_there_is_no_threshold(settings: Settings) -> None:
    lane = lane_of(staff(settings), manifest_of(settings), bytes(32))
    assert lane is not None
    with pytest.raises(Refusal, match="not-measured: omz-face-reid-0095, full reference: measured for"):
        lane.threshold(MODEL, 5000)


def test_the_log_calls_a_candidate_otherwise_every_month_and_at_every_site(settings: Settings) -> None:
    clock = SimulatedClock()
    manifest, policy, name = manifest_of(settings), staff(settings), bytes(range(16))
    lane, elsewhere = lane_of(policy, manifest, bytes(32)), lane_of(policy, manifest, bytes(31) + b"1")
    assert lane is not None
    assert elsewhere is not None
    first = lane.pseudonym(name, clock.now())
    assert len(first) == 16
    assert first == lane.pseudonym(name, clock.now()) != elsewhere.pseudonym(name, clock.now())
    clock.go(40 * 86400)
    assert first != lane.pseudonym(name, clock.now())
    assert first != name


def test_a_gate_for_cards_has_no_lane_and_a_lane_needs_a_gallery(settings: Settings, tmp_path: Path) -> None:
    assert lane_of(profile("pilot", Policy, settings.source), manifest_of(settings), bytes(32)) is None
    (tmp_path / "profiles").mkdir()
    text = (ROOT / "config" / "profiles" / "staff.toml").read_text().replace('gallery = "staff"', 'gallery = ""')
    (tmp_path / "profiles" / "staff.toml").write_text(text)
    site = replace(settings.site, profile="staff")
    with pytest.raises(SettingsError, match="profile staff: a lane without cards needs a gallery"):
        policy_of(replace(settings, site=site, source=tmp_path / "edge.toml"))


@pytest.mark.parametrize(
    ("given", "well", "said"),
    [
        ({"enabled": True, "lanes": ("staff",)}, True, "its people pass without a card"),
        ({"enabled": True, "at_gate": ("staff",)}, False, "nobody hands gallery staff to this gate"),
        ({"enabled": False, "lanes": ("staff",)}, False, "nobody hands gallery staff to this gate"),
    ],
)
def test_edge_check_says_whether_the_gallery_comes_to_the_gate(
    settings: Settings, given: dict[str, Any], well: bool, said: str
) -> None:
    site = replace(settings.site, profile="staff")
    found = list(gallery_of(replace(settings, site=site, iavs=replace(settings.iavs, **given))))
    assert [(each.device, each.well) for each in found] == [("gallery", well)]
    assert said in found[0].said
    assert bool(found[0].remedy) is not well
    assert list(gallery_of(settings)) == []
