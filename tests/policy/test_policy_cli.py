"""At the desk: a profile is checked, compared and tried out on a log; lists and cycles are kept; disputes are found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.app.chosen import configuration
from edge.audit.entry import Entry, Event, Kind, Quality, Value, encode
from edge.audit.export import sequence
from edge.audit.tree import leaf_hash
from edge.cli import main
from edge.cli.policy import policy_in
from edge.policy.ledger import Reservation, finishing, opening, reserving
from edge.sync.office import Office
from edge.trust.cycles import Cycle

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ROOT / "config" / "profiles"
FRIDAY = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
GOOD: dict[str, Value] = {"trust_age_s": 60, "unsealed": 0, "unsealed_s": 0, "validity": "valid", "reference": True}
FACED: dict[str, Value] = {**GOOD, "bona_fide": 9_900, "score": 9_500, "threshold": 9_300}
CYCLE = Cycle("benefit", "2026-11", 1, 1, datetime(2027, 1, 31, tzinfo=UTC))


def export(path: Path, events: Sequence[tuple[Event, datetime]], origin: str = "urn:gate:t:s:g") -> Path:
    """A log as ``edge audit export`` writes it."""
    told = [
        Entry(n, 1, int(at.timestamp() * 1000), Quality.SYNCED, 0, 1, e.kind, "g", e.fields, e.subject)
        for n, (e, at) in enumerate(events)
    ]
    encoded = [encode(entry) for entry in told]
    path.write_bytes(b"".join(sequence(origin, 1, [(one, leaf_hash(one)) for one in encoded], [])))
    return path


def visit(subject: int, at: datetime, facts: Mapping[str, Value], reason: str | None = None) -> tuple[Event, datetime]:
    kind = Kind.GRANTED if reason is None else Kind.DENIED
    second = int(at.timestamp())
    fields: dict[str, Value] = {"reason": reason, "facts": facts, "lower": second, "upper": second}
    return Event(kind, fields, bytes([subject]) * 16), at


def under(profile: Path, at: datetime = FRIDAY) -> tuple[Event, datetime]:
    """From here on the gate has this policy."""
    return configuration(policy_in(profile), None), at


def taken(index: int, at: datetime) -> tuple[Event, datetime]:
    return Event(Kind.TAKEN, {"visit": index}), at


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Friday morning under the turnstile's own profile: two people, one of whom comes back, and one is referred."""
    hour = timedelta(hours=1)
    return export(
        tmp_path / "log",
        [
            visit(1, FRIDAY, {"refusal": "unreadable"}, "unreadable"),
            under(PROFILES / "turnstile.toml"),
            visit(1, FRIDAY, FACED),
            taken(2, FRIDAY),
            visit(2, FRIDAY + hour, FACED),
            taken(4, FRIDAY + hour),
            visit(1, FRIDAY + 2 * hour, FACED),
            taken(6, FRIDAY + 2 * hour),
            visit(3, FRIDAY + 2 * hour, {**GOOD, "tries": 3}, "referred"),
            visit(1, FRIDAY + 15 * hour, FACED),
            taken(9, FRIDAY + 15 * hour),
        ],
    )


def changed(path: Path, *changes: tuple[str, str], more: str = "") -> Path:
    """The turnstile's profile with a few changes."""
    text = (PROFILES / "turnstile.toml").read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text + more, encoding="utf-8")
    return path


def test_a_profile_is_checked_and_every_fault_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", *(str(path) for path in sorted(PROFILES.glob("*.toml")))]) == 0
    bad = changed(
        tmp_path / "bad.toml",
        ('timezone = "UTC"', 'timezone = "Mars/Olympus"'),
        ("holidays = []", 'holidays = ["easter"]'),
        more='[[rules.hours]]\nopen = ["mon 9-5"]\ngroups = ["ghosts"]\n',
    )
    assert main(["policy", "check", str(bad)]) == 1
    told = capsys.readouterr().out
    for said in ("Mars/Olympus", "easter", "mon 9-5", "ghosts"):
        assert said in told
    misspelt = changed(tmp_path / "misspelt.toml", ("reset_h = 12.0", "reset_hours = 12.0"))
    assert main(["policy", "check", str(misspelt)]) == 2
    assert "unknown key policy.rules.passback.reset_hours" in capsys.readouterr().err


def test_what_differs_is_told_in_words_and_the_version_has_to_grow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = PROFILES / "turnstile.toml"
    after = changed(tmp_path / "after.toml", ("tries = 3", "tries = 5"), ('kind = "hard"', 'kind = "soft"'))
    assert main(["policy", "diff", str(before), str(after)]) == 1
    told = capsys.readouterr()
    assert "tries: 3 → 5   (failed comparisons of one card before a person decides)" in told.out
    assert "rules.passback.kind: hard → soft   (what happens to who is inside already)" in told.out
    assert "does not grow" in told.err
    grown = changed(tmp_path / "grown.toml", ("tries = 3", "tries = 5"), ("version = 1", "version = 2"))
    assert main(["policy", "diff", str(before), str(grown)]) == 0
    assert main(["policy", "diff", str(before), str(before)]) == 0


def test_another_policy_is_tried_on_a_log(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "simulate", str(PROFILES / "turnstile.toml"), str(log)]) == 0
    told = capsys.readouterr().out
    assert "entry 6: granted → denied (passed-before)" in told, "inside since two hours"
    assert "entry 9" not in told, "thirteen hours later nobody is"
    assert "6 decisions, 1 would be others under 'turnstile', version 1" in told
    patient = changed(
        tmp_path / "patient.toml",
        ("tries = 3", "tries = 5"),
        ('kind = "hard"', 'kind = "soft"'),
        ('timezone = "UTC"', 'timezone = "Africa/Addis_Ababa"'),
        more='[[rules.hours]]\nopen = ["mon-fri 10:00-20:00"]\n',
    )
    assert main(["policy", "simulate", str(patient), str(log)]) == 0
    told = capsys.readouterr().out
    assert "entry 2: granted → denied (outside-hours)" in told, "half past nine in Addis Ababa"
    assert "entry 4" not in told
    assert "entry 8: denied (referred) → unknown: the face was not looked at" in told
    assert "entry 9: granted → denied (outside-hours)" in told


def test_what_the_log_does_not_tell_is_not_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The policy before had no groups of these: nobody was in them then, and nobody can tell who was."""
    before = changed(tmp_path / "before.toml", more='[[rules.groups]]\nname = "visitor"\nlisted = "visitor"\n')
    facts: dict[str, Value] = {**FACED, "groups": ["visitor"]}
    late: dict[str, Value] = {**FACED, "groups": [], "status_age_s": 1, "card_status": "revoked"}
    log = export(
        tmp_path / "log",
        [
            under(before),
            visit(1, FRIDAY, facts),
            taken(1, FRIDAY),
            visit(2, FRIDAY, facts, None),
            visit(3, FRIDAY, late, "revoked"),
        ],
    )

    def told(*changes: tuple[str, str], more: str = "") -> str:
        listed = 'listed = "visitor"\n'
        other = changed(tmp_path / "other.toml", *changes, more=f'[[rules.groups]]\nname = "visitor"\n{listed}{more}')
        assert main(["policy", "simulate", str(other), str(log)]) == 0
        return capsys.readouterr().out

    barred = '[[rules.groups]]\nname = "barred"\nlisted = "barred"\n'
    deny = ("check_one_in = 0", 'check_one_in = 0\ndeny = ["barred"]')
    unknown = "unknown: the log does not tell who is in which of these groups"
    for found in (
        told(deny, more=barred),
        told(more=barred + '[[rules.second]]\ngroups = ["barred"]\nby = ["visitor"]\n'),
    ):
        assert f"entry 1: granted → {unknown}" in found
        assert "entry 4" not in found, "a card that is withdrawn is refused whoever has it"
    assert "0 would be others" in told(("within_s = 120", "within_s = 60")), "the groups are the same ones"
    watched = ("check_one_in = 0", 'check_one_in = 0\nwatch = ["barred"]')
    assert "0 would be others" in told(watched, ('bypass = ["bypass"]', "bypass = []"), more=barred), (
        "it decides nothing"
    )
    assert "0 would be others" in told(('bypass = ["bypass"]', "bypass = []"), more=barred), "no rule names them"
    assert "entry 1: granted → unknown: the log tells of no lot" in told(("check_one_in = 0", "check_one_in = 9"))
    escorted = told(more='[[rules.second]]\ngroups = ["visitor"]\nby = ["bypass"]\n')
    assert "entry 1: granted → unknown" in escorted
    many = "".join(f'[[rules.groups]]\nname = "g{n}"\nlisted = "g{n}"\n' for n in range(9))
    some = ", ".join(f'"g{n}"' for n in range(9))
    assert f"entry 1: granted → {unknown}" in told(
        ("check_one_in = 0", f"check_one_in = 0\ndeny = [{some}]"), more=many
    ), "more groups than can be tried"


def test_who_would_have_been_refused_is_not_inside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hour = timedelta(hours=1)
    log = export(
        tmp_path / "log",
        [
            visit(1, FRIDAY, {**FACED, "score": 9_310}),
            taken(0, FRIDAY),
            visit(1, FRIDAY + hour, {**FACED, "trust_age_s": 25 * 3600}),
            taken(2, FRIDAY + hour),
        ],
    )
    strict = changed(tmp_path / "strict.toml", ("attack_threshold = 0.5", "attack_threshold = 0.995"))
    assert main(["policy", "simulate", str(strict), str(log)]) == 0
    told = capsys.readouterr().out
    assert "entry 2: granted → denied (presentation-attack)" in told
    assert "passed-before" not in told


def test_two_points_that_reserved_for_one_person_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def point(name: str, *marks: bytes) -> str:
        events = [opening(CYCLE)]
        for mark in marks:
            events.append(reserving(mark, CYCLE, 0))
            events.append(finishing(Reservation(mark, 1, 1, 0, len(events) - 1), 1, "taken"))
        return str(export(tmp_path / name, [(event, FRIDAY) for event in events], f"urn:gate:t:s:{name}"))

    a, b = point("a", b"m" * 16, b"n" * 16), point("b", b"o" * 16, b"m" * 16)
    assert main(["policy", "disputes", a, b]) == 1
    told = capsys.readouterr().out
    assert f"{b'm'.hex() * 16}: entry 1 of urn:gate:t:s:a stands" in told
    assert "entry 3 of urn:gate:t:s:b is flagged" in told
    assert "4 reservations, 1 disputes" in told
    assert main(["policy", "disputes", a]) == 0


def test_lists_and_cycles_are_kept_at_the_desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, key = tmp_path / "office", tmp_path / "site-key"
    key.write_bytes(b"site key of thirty-two bytes ....")
    Office.begin(place, "pilot")
    common = [str(place), "hall", "staff", "https://id.example", "741", "852"]
    assert main(["policy", "enlist", *common, "--site-key", str(key)]) == 0
    assert main(["policy", "strike", *common[:-1], "--site-key", str(key)]) == 0
    cycle = ["policy", "cycle", str(place), "hall", "rice", "2026-11", "--disputed-until", "2027-01-31"]
    assert main(cycle) == 0
    assert "cycle 1: rice 2026-11 is open at hall" in capsys.readouterr().out
    book = json.loads((place / "office.json").read_text())
    assert len(book["members"]["hall"]["staff"]) == 1
    assert book["cycles"]["hall"]["rice"]["number"] == 1
    assert "741" not in json.dumps(book["members"])
    assert main([*cycle[:5], "--close"]) == 0
    assert main([*cycle[:5], "--close"]) == 1
    assert main(cycle[:6]) == 1, "a cycle without a dispute window"
    assert main(["policy", "check", str(tmp_path / "nowhere.toml")]) == 2
