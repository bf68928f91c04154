"""The configuration: every key documented, every mistake named."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from edge.decision import Policy
from edge.policy.rules import Rules
from edge.settings import Camera, Settings, SettingsError, load, profile, read_toml, section

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "config" / "edge.toml"
PROFILES = ("pilot", "turnstile", "benefit", "egate", "staff")
OUTPUTS = ("lock_pin", "red_pin", "green_pin", "amber_pin", "buzzer_pin")
INPUTS = ("door_pin", "beam_1_pin", "beam_2_pin", "exit_request_pin", "fire_pin", "tamper_pin")


@pytest.fixture(scope="module")
def example() -> Settings:
    """The configuration that is also its documentation."""
    return load(EXAMPLE)


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    copy = tmp_path / "edge.toml"
    copy.write_bytes(EXAMPLE.read_bytes())
    return copy


def spoil(path: Path, line: str, instead: str) -> Path:
    """``path`` with one line replaced."""
    text = path.read_text(encoding="utf-8")
    assert re.search(f"^{re.escape(line)}", text, re.MULTILINE), line
    path.write_text(re.sub(f"^{re.escape(line)}.*$", lambda _: instead, text, count=1, flags=re.MULTILINE), "utf-8")
    return path


def policies() -> dict[str, Policy]:
    """The policies of all profiles."""
    return {name: profile(name, Policy, EXAMPLE) for name in PROFILES}


def test_the_documented_configuration_loads(example: Settings) -> None:
    assert example.site.origin == "urn:gate:example:main-building:north-1"
    assert example.paths.journal == Path("/var/lib/edge-gate/gate/journal.db")
    assert example.source == EXAMPLE


def test_sections_and_keys_stand_in_the_order_of_the_types() -> None:
    tables = read_toml(EXAMPLE)
    kinds = {f.name: f.type for f in dataclasses.fields(Settings) if f.name != "source"}
    assert list(tables) == list(kinds)


def test_every_key_of_every_section_is_documented(example: Settings) -> None:
    tables = read_toml(EXAMPLE)
    for name in tables:
        assert set(tables[name]) == {f.name for f in dataclasses.fields(getattr(example, name))}, name


@pytest.mark.parametrize(
    "path", [EXAMPLE, *(EXAMPLE.parent / "profiles" / f"{name}.toml" for name in PROFILES)], ids=str
)
def test_every_group_of_keys_says_why(path: Path) -> None:
    """Each stretch of keys begins with a comment; a key deeper in it shares that comment."""
    before = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if re.match(r"\w+ = ", line):
            assert before.startswith("#") or re.match(r"\w+ = ", before), line
        before = line


def test_a_relative_path_starts_beside_the_file(edited: Path) -> None:
    assert load(edited).trust.list == edited.parent / "trust.cbor"


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        ("fps = 15.0", "fsp = 15.0", "unknown key camera.fsp"),
        ("fps = 15.0", "", "missing key camera.fps"),
        ("fps = 15.0", 'fps = "many"', "camera.fps should be a number"),
        ("lock_pin = 17", "lock_pin = 17.5", "gate.lock_pin should be a whole number"),
        ("lock_pin = 17", "lock_pin = true", "gate.lock_pin should be a whole number"),
        ("enabled = false", "enabled = 0", "mqtt.enabled should be true or false"),
        ('kind = "picamera2"', 'kind = "webcam"', "camera.kind should be one of 'picamera2', 'opencv', 'footage'"),
        ('host = "127.0.0.1"', "host = 1", "web.host should be a text"),
        ('host = "127.0.0.1"', 'host = ""', "web.host should be an address like 192.168.1.20, not ''"),
        ('host = "127.0.0.1"', 'host = "0"', "web.host should be an address"),
        ('host = "127.0.0.1"', 'host = "gate.example.org"', "web.host should be an address"),
        ('languages = ["en"]', 'languages = "en"', "web.languages should be a list"),
        ('languages = ["en"]', "languages = [1]", "web.languages should be a text"),
        ('list = "trust.cbor"', "list = 7", "trust.list should be a path"),
        ('tenant = "example"', 'tenant = "Foo Bar"', "site.tenant should be 1 to 40 lower-case letters"),
        ("[seal]", "[seel]", "unknown key seel"),
    ],
)
def test_a_mistake_is_named_by_its_key(edited: Path, line: str, instead: str, said: str) -> None:
    spoil(edited, line, instead)
    with pytest.raises(SettingsError, match=re.escape(said)):
        load(edited)


@pytest.mark.parametrize(("written", "read"), [("localhost", "127.0.0.1"), ("::0", "::"), ("fd00::09", "fd00::9")])
def test_an_address_is_read_in_its_one_way_of_writing(edited: Path, written: str, read: str) -> None:
    spoil(edited, 'host = "127.0.0.1"', f'host = "{written}"')
    assert load(edited).web.host == read


def test_a_missing_section_is_named(edited: Path) -> None:
    text = edited.read_text(encoding="utf-8")
    edited.write_text(text[: text.index("[web]")], encoding="utf-8")
    with pytest.raises(SettingsError, match="missing key web"):
        load(edited)


def test_a_value_instead_of_a_section_is_named(edited: Path) -> None:
    text = edited.read_text(encoding="utf-8")
    edited.write_text("web = 3\n" + text[: text.index("[web]")], encoding="utf-8")
    with pytest.raises(SettingsError, match=re.escape("[web] should be a table")):
        load(edited)


@pytest.mark.parametrize(("content", "said"), [(b"[site", "edge.toml"), (b"\xff\xfe", "edge.toml")])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "edge.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=said):
        load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: No such file"):
        load(tmp_path / "nowhere.toml")


def test_a_number_may_be_written_without_its_point() -> None:
    table = {"kind": "opencv", "source": "0", "width": 1280, "height": 720, "fps": 15, "frozen_s": 2}
    camera = section(Camera, table, "camera", ROOT, "here")
    assert (camera.fps, type(camera.fps)) == (15.0, float)


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_loads_and_is_called_like_its_file(name: str) -> None:
    assert policies()[name].name == name


def test_no_profile_file_is_left_untested() -> None:
    assert {path.stem for path in (EXAMPLE.parent / "profiles").iterdir()} == set(PROFILES)


def test_a_profile_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match=r"profiles/palace\.toml"):
        profile("palace", Policy, EXAMPLE)


def test_only_the_pilot_runs_without_attack_detection() -> None:
    without = {name for name, policy in policies().items() if policy.attack_detection == "optional"}
    assert without == {"pilot"}


def test_the_border_is_the_strictest() -> None:
    found = policies()
    egate = found.pop("egate")
    assert egate.clock_floor == "refer"
    for policy in found.values():
        assert egate.fmr < policy.fmr <= 0.001
        assert egate.trust_refuse_h < policy.trust_refuse_h
        assert egate.unsealed_h < policy.unsealed_h


def test_a_profile_warns_before_it_refuses_and_survives_a_sealing_interval(example: Settings) -> None:
    for policy in policies().values():
        assert 0 < policy.trust_warn_h < policy.trust_refuse_h
        assert policy.unsealed_h * 3600 > 2 * example.seal.after_s
        assert policy.unsealed_entries > 2 * example.seal.entries
        low, high = policy.brightness
        assert 0 <= low < high <= 255


def test_the_lock_hangs_on_a_pin_that_is_pulled_down_while_the_board_starts(example: Settings) -> None:
    """BCM 0 to 8 are pulled up at reset: an active-high lock there would open at every start."""
    assert 9 <= example.gate.lock_pin <= 27


def test_no_pin_has_two_roles(example: Settings) -> None:
    pins = [getattr(example.gate, role) for role in (*OUTPUTS, *INPUTS)]
    assert len(set(pins)) == len(pins)


def test_the_wiring_table_of_the_readme_is_the_configuration(example: Settings) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = {key: int(pin) for pin, key in re.findall(r"^\| (\d+) \| `(\w+_pin)` ", readme, re.MULTILINE)}
    assert told == {role: getattr(example.gate, role) for role in (*OUTPUTS, *INPUTS)}


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("release_s", "release_s = 86400"),
        ("held_s", "held_s = nan"),
        ("lock_pin", "lock_pin = -3"),
        ("lock_pin", "lock_pin = 28"),
        ("after_s", "after_s = inf"),
        ("uncertainty_s", "uncertainty_s = -1"),
    ],
)
def test_a_number_that_means_nothing_is_named(edited: Path, line: str, instead: str) -> None:
    with pytest.raises(SettingsError, match=line):
        load(spoil(edited, line, instead))


def test_nobody_has_so_much_longer_that_the_gate_stands_open() -> None:
    assert section(Rules, {"slow_s": 60.0}, "policy.rules", ROOT, "here").slow_s == 60.0
    with pytest.raises(SettingsError, match="slow_s should be a number from 0 to 60"):
        section(Rules, {"slow_s": 61.0}, "policy.rules", ROOT, "here")


@pytest.mark.parametrize(
    "instead", ["fmr = 5.0", "fmr = nan", "tries = -1", "unsealed_h = nan", "attack_threshold = 1.5"]
)
def test_a_policy_that_means_nothing_is_named(tmp_path: Path, instead: str) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "pilot.toml").write_bytes((ROOT / "config" / "profiles" / "pilot.toml").read_bytes())
    spoil(tmp_path / "profiles" / "pilot.toml", instead.split(" ")[0] + " =", instead)
    with pytest.raises(SettingsError, match=instead.split(" ")[0]):
        profile("pilot", Policy, tmp_path / "edge.toml")
