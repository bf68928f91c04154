"""The policy: an AND over facts, where what is missing is a reason against."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.audit.entry import Kind
from edge.decision import AccessDecision, Facts, Policy, admit, entry, facts_of, overruled, scaled
from edge.devices.simulated import SimulatedClock
from edge.errors import Reason
from edge.policy.hours import DAY
from edge.policy.rules import Group, Hours, Overruling, Passback, Rules, Second
from edge.settings import profile

POLICY = Policy(
    name="turnstile",
    fmr=0.001,
    attack_detection="required",
    attack_threshold=0.5,
    attack_frames=5,
    capture_s=6.0,
    tries=3,
    eyes_px=60.0,
    sharpness=20.0,
    brightness=(40.0, 225.0),
    clock_floor="accept",
    skew_s=120,
    trust_warn_h=168.0,
    trust_refuse_h=720.0,
    unsealed_h=24.0,
    unsealed_entries=1000,
)
GOOD = Facts(
    trust_age_s=60,
    unsealed=0,
    unsealed_s=0,
    validity="valid",
    reference=True,
    bona_fide=9000,
    score=9500,
    threshold=9300,
)


def test_a_person_against_whom_nothing_stands_is_admitted() -> None:
    assert admit(POLICY, GOOD) is None


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (replace(GOOD, refusal="bad-signature"), Reason.BAD_SIGNATURE),
        (replace(GOOD, trust_age_s=720 * 3600 + 1), Reason.NO_TRUST),
        (replace(GOOD, trust_age_s=None), Reason.NO_TRUST),
        (replace(GOOD, unsealed=1001), Reason.UNSEALED_TOO_LONG),
        (replace(GOOD, unsealed_s=24 * 3600 + 1), Reason.UNSEALED_TOO_LONG),
        (replace(GOOD, validity="expired"), Reason.EXPIRED),
        (replace(GOOD, validity="not-yet"), Reason.NOT_YET_VALID),
        (replace(GOOD, reference=False), Reason.NO_REFERENCE),
        (replace(GOOD, tries=3), Reason.REFERRED),
        (replace(GOOD, bona_fide=4999), Reason.PRESENTATION_ATTACK),
        (replace(GOOD, score=9299), Reason.NO_MATCH),
    ],
)
def test_one_fact_against_is_the_decision(facts: Facts, reason: Reason) -> None:
    assert admit(POLICY, facts) is reason


@pytest.mark.parametrize(
    "missing", ["trust_age_s", "unsealed", "unsealed_s", "validity", "reference", "bona_fide", "score", "threshold"]
)
def test_a_missing_fact_is_never_a_pass(missing: str) -> None:
    without: dict[str, Any] = {missing: None}
    assert admit(POLICY, replace(GOOD, **without)) is not None


def test_no_facts_at_all_is_no_grant() -> None:
    assert admit(POLICY, Facts()) is not None


def test_only_a_policy_that_says_so_does_without_attack_detection() -> None:
    pilot = replace(POLICY, attack_detection="optional")
    assert admit(pilot, replace(GOOD, bona_fide=None)) is None
    assert admit(pilot, replace(GOOD, bona_fide=100)) is Reason.PRESENTATION_ATTACK


def test_what_an_unsure_clock_means_is_the_profile_s_to_say() -> None:
    unsure = replace(GOOD, validity="unsure")
    assert admit(POLICY, unsure) is None
    assert admit(replace(POLICY, clock_floor="refer"), unsure) is Reason.TIME_UNSURE


@given(
    st.builds(
        Facts,
        refusal=st.none() | st.sampled_from([r.code for r in Reason]),
        trust_age_s=st.none() | st.integers(0, 10**7),
        unsealed=st.integers(0, 2000),
        unsealed_s=st.integers(0, 200_000),
        validity=st.none() | st.sampled_from(["valid", "unsure", "expired", "not-yet"]),
        tries=st.integers(0, 5),
        reference=st.none() | st.booleans(),
        bona_fide=st.none() | st.integers(0, 10_000),
        score=st.none() | st.integers(-10_000, 10_000),
        threshold=st.none() | st.integers(0, 10_000),
    )
)
def test_a_grant_means_every_fact_was_there_and_good(facts: Facts) -> None:
    if admit(POLICY, facts) is None:
        assert facts.refusal is None
        assert facts.validity in ("valid", "unsure")
        assert facts.reference is True
        assert facts.score is not None
        assert facts.threshold is not None
        assert facts.score >= facts.threshold
        assert facts.bona_fide is not None
        assert facts.bona_fide >= scaled(POLICY.attack_threshold)


@given(st.integers(-10_000, 10_000), st.none() | st.integers(0, 10_000))
def test_a_replay_from_the_entry_decides_the_same(score: int, bona_fide: int | None) -> None:
    facts = replace(GOOD, score=score, bona_fide=bona_fide)
    decision = AccessDecision(SimulatedClock().now(), admit(POLICY, facts), facts)
    event = entry(decision, POLICY)
    assert event.kind is (Kind.GRANTED if decision.granted else Kind.DENIED)
    told = event.fields["facts"]
    assert isinstance(told, dict)
    assert admit(POLICY, facts_of(told)) is decision.reason


def test_changing_one_rule_changes_the_digest() -> None:
    others: list[dict[str, Any]] = [
        {"fmr": 0.01},
        {"tries": 4},
        {"clock_floor": "refer"},
        {"brightness": (41.0, 225.0)},
    ]
    assert len({POLICY.digest} | {replace(POLICY, **other).digest for other in others}) == 5


def test_a_key_that_is_added_later_changes_no_policy_that_does_not_name_it() -> None:
    @dataclass(frozen=True)
    class Later(Policy):
        added: int = 0

    later = Later(**{each.name: getattr(POLICY, each.name) for each in fields(POLICY)})
    assert later.digest == POLICY.digest
    assert replace(later, added=1).digest != POLICY.digest
    passback = replace(POLICY, rules=Rules(passback=Passback(again_s=1)))
    assert len({POLICY.digest, passback.digest, replace(POLICY, rules=SITE).digest}) == 3


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "config" / "profiles").glob("*.toml")))
def test_every_profile_that_ships_can_be_read(path: Path) -> None:
    policy = profile(path.stem, Policy, path.parents[1] / "edge.toml")
    assert policy.name == path.stem
    assert set(tomllib.loads(path.read_text())) == {f.name for f in fields(Policy)}
    assert policy.attack_detection == "required" or policy.name == "pilot"


def test_the_salt_of_a_decision_is_told_and_changes_nothing_else() -> None:
    decision = AccessDecision(SimulatedClock().now(), None, GOOD)
    plain, salted = entry(decision, POLICY), entry(decision, POLICY, bytes(16))
    assert "salt" not in plain.fields
    assert dict(salted.fields) == {**plain.fields, "salt": bytes(16)}


# people of a gallery

STAFF = replace(POLICY, gallery="staff", lane="gallery")
SEEN = Facts(unsealed=0, unsealed_s=0, bona_fide=9000, score=9500, threshold=9300, among=20)


def test_a_gallery_may_know_the_face_that_a_card_does_not_carry() -> None:
    assert admit(POLICY, replace(GOOD, reference=False, enrolled=True)) is None
    assert admit(POLICY, replace(GOOD, reference=None, enrolled=None)) is Reason.NO_REFERENCE
    assert admit(POLICY, replace(GOOD, reference=False, enrolled=False)) is Reason.NO_REFERENCE
    assert admit(POLICY, replace(GOOD, reference=False, enrolled=True, score=9299)) is Reason.NO_MATCH


def test_a_lane_admits_whom_it_recognises() -> None:
    assert admit(STAFF, SEEN) is None


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (replace(SEEN, score=9299), Reason.NOT_RECOGNISED),
        (replace(SEEN, bona_fide=4999), Reason.PRESENTATION_ATTACK),
        (replace(SEEN, bona_fide=None), Reason.NO_ATTACK_DETECTION),
        (replace(SEEN, locked_down=True), Reason.LOCKED_DOWN),
        (replace(SEEN, unsealed=1001), Reason.UNSEALED_TOO_LONG),
        (replace(SEEN, unsealed=None), Reason.UNSEALED_TOO_LONG),
        (replace(SEEN, score=None), Reason.MODEL_FAULT),
        (replace(SEEN, threshold=None), Reason.MODEL_FAULT),
        (replace(SEEN, among=None), Reason.MODEL_FAULT),
        (replace(SEEN, among=0), Reason.MODEL_FAULT),
        (replace(SEEN, refusal="gallery-fault"), Reason.GALLERY_FAULT),
        (GOOD, Reason.MODEL_FAULT),
    ],
)
def test_one_fact_against_closes_a_lane(facts: Facts, reason: Reason) -> None:
    assert admit(STAFF, facts) is reason


def test_what_opens_a_lane_opens_no_gate_for_cards() -> None:
    assert admit(POLICY, SEEN) is not None
    assert admit(replace(POLICY, gallery="staff"), SEEN) is not None
    assert admit(replace(STAFF, tasks=1), SEEN) is Reason.TASK_NOT_DONE


# what an operator may overrule

SITE = Rules(
    hours=(Hours(("mon-fri 07:00-19:00",)),),
    groups=(Group("barred", listed="barred"), Group("visitor", listed="visitor"), Group("host", listed="host")),
    deny=("barred",),
    second=(Second(("visitor",), ("host",)),),
    check_one_in=100,
    overrule=Overruling(("outside-hours", "no-match", "referred", "time-unsure", "expired", "task-not-done")),
)
THURSDAY, SATURDAY = 12 * 60, 2 * DAY + 12 * 60
AT_SITE = replace(GOOD, groups=(), local_from=THURSDAY, local_to=THURSDAY, drawn=9_999)
LATE = replace(AT_SITE, local_from=SATURDAY, local_to=SATURDAY, bona_fide=None, score=None, threshold=None)


def what_stands(facts: Facts, rules: Rules = SITE, **changed: Any) -> Reason | None:
    policy = replace(POLICY, rules=rules, **changed)
    decision = AccessDecision(SimulatedClock().now(), admit(policy, facts), facts)
    assert decision.reason is not None
    return overruled(policy, entry(decision, policy).fields, 1)


@pytest.mark.parametrize(
    ("facts", "behind"),
    [
        (replace(LATE, groups=("barred",)), Reason.DENIED_HERE),
        (replace(LATE, groups=("visitor",)), Reason.SECOND_NEEDED),
        (replace(LATE, drawn=3), Reason.SECONDARY_CHECK),
        (replace(LATE, bona_fide=100), Reason.PRESENTATION_ATTACK),
        (replace(AT_SITE, score=100, groups=("visitor",)), Reason.SECOND_NEEDED),
        (replace(AT_SITE, tries=3, card_status="valid", status_age_s=10**8, groups=("barred",)), Reason.DENIED_HERE),
    ],
)
def test_an_operator_who_overrules_one_reason_overrules_no_other_behind_it(facts: Facts, behind: Reason) -> None:
    assert what_stands(facts) is behind
    alone = replace(facts, groups=(), drawn=9_999, bona_fide=facts.bona_fide and 9_900)
    assert what_stands(alone) is None, "nothing else stood against this one"


def test_an_unsure_clock_over_a_withdrawn_card_is_overruled_by_nobody() -> None:
    for status, behind in (
        ("revoked", Reason.REVOKED),
        ("suspended", Reason.SUSPENDED),
        ("denied", Reason.DENIED_HERE),
    ):
        facts = replace(AT_SITE, validity="unsure", card_status=status)
        assert admit(replace(POLICY, rules=SITE, clock_floor="refer"), facts) is Reason.TIME_UNSURE
        assert what_stands(facts, clock_floor="refer") is behind
    assert what_stands(replace(AT_SITE, validity="unsure"), clock_floor="refer") is None


def test_a_stale_status_hides_no_benefit_that_was_received() -> None:
    rules = Rules(programme="rice", overrule=SITE.overrule)
    stale = replace(AT_SITE, card_status="unknown", cycle=3, benefit="free")
    assert what_stands(stale, rules) is None
    assert what_stands(replace(stale, benefit="received"), rules) is Reason.ALREADY_RECEIVED
    assert what_stands(replace(stale, benefit="reserved"), rules) is Reason.ALREADY_RECEIVED
    assert what_stands(replace(stale, cycle=None), rules) is Reason.NO_CYCLE


def test_a_card_that_was_never_verified_is_let_in_by_nobody_whatever_the_policy_names() -> None:
    refused = Facts(trust_age_s=60, unsealed=0, unsealed_s=0, refusal="expired", groups=())
    assert what_stands(refused) is Reason.EXPIRED


def test_who_was_not_recognised_in_a_lane_may_be_let_in_where_nothing_else_stands() -> None:
    rules = Rules(overrule=Overruling(("not-recognised",)))
    unknown = replace(SEEN, score=100)
    assert what_stands(unknown, rules, gallery="staff", lane="gallery") is None
    assert what_stands(unknown, SITE, gallery="staff", lane="gallery") is not None


def test_a_trust_list_too_old_for_the_machine_is_young_enough_for_a_person() -> None:
    rules = Rules(overrule=Overruling(("referred",)))
    for age_h, reason in ((23, None), (25, Reason.REFERRED), (721, Reason.NO_TRUST)):
        facts = replace(GOOD, trust_age_s=age_h * 3600)
        assert admit(replace(POLICY, trust_refer_h=24.0), facts) is reason
        assert admit(POLICY, facts) is (reason if age_h > 720 else None)
        if reason is not None:
            stands = what_stands(facts, rules, trust_refer_h=24.0)
            assert stands is (None if reason is Reason.REFERRED else reason)
