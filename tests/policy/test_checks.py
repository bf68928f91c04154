"""Each rule of a site, against the facts that it is asked about; and every fact that is missing is against."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import product
from types import SimpleNamespace
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.credential import Credential
from edge.errors import Reason
from edge.policy.checks import (
    BEFORE_FACE,
    LAST,
    SCALE,
    accompanied,
    entitled,
    flags,
    in_hours,
    in_zone,
    not_denied,
    not_drawn,
    not_inside,
    overrules,
    room_left,
)
from edge.policy.differences import MEANING, differences
from edge.policy.facts import SiteFacts
from edge.policy.faults import faults
from edge.policy.hours import DAY
from edge.policy.person import groups_of, untold_of, years
from edge.policy.rules import NEVER, Group, Hours, Overruling, Passback, Rules, Second, Zone
from edge.trust.interval import ClockState, Interval

NOBODY = SiteFacts()
FRIDAY_NOON = (date(2026, 11, 20) - date(1970, 1, 1)).days * DAY + 12 * 60
STAFF = Group("staff", claim="category", values=("staff",))
FULL = Rules(
    hours=(Hours(("mon-fri 07:00-19:00",)), Hours(("daily 00:00-24:00",), ("guard",))),
    groups=tuple(Group(name, listed=name) for name in ("staff", "guard", "visitor", "host", "denied", "adult", "vip")),
    zones=(Zone("inside", groups=("staff", "guard", "visitor"), needs=("adult",), capacity=2),),
    deny=("denied",),
    watch=("vip",),
    duress=("vip",),
    passback=Passback("hard", again_s=30, bypass=("guard",)),
    second=(Second(("visitor",), ("host",), 30),),
    check_one_in=50,
    check_spared=("guard",),
    programme="rice",
)
GOOD = SiteFacts(
    zone="inside",
    groups=("adult", "staff"),
    local_from=FRIDAY_NOON,
    local_to=FRIDAY_NOON,
    alone=False,
    inside=1,
    drawn=9_999,
    cycle=3,
    benefit="free",
)


def against(rules: Rules, facts: SiteFacts) -> Reason | None:
    return next((reason for check in (*BEFORE_FACE, *LAST) if (reason := check(rules, facts)) is not None), None)


def test_a_site_without_rules_asks_for_nothing() -> None:
    assert against(Rules(), NOBODY) is None
    assert flags(Rules(), NOBODY) == frozenset()


def test_who_keeps_every_rule_is_admitted() -> None:
    assert against(FULL, GOOD) is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"local_from": FRIDAY_NOON + DAY, "local_to": FRIDAY_NOON + DAY}, Reason.OUTSIDE_HOURS),
        ({"local_to": None}, Reason.TIME_UNSURE),
        ({"local_from": None}, Reason.TIME_UNSURE),
        ({"groups": ("adult", "denied", "staff")}, Reason.DENIED_HERE),
        ({"groups": ("adult",)}, Reason.NOT_PERMITTED),
        ({"groups": ("staff",)}, Reason.NOT_PERMITTED),
        ({"groups": None}, Reason.STATUS_UNKNOWN),
        ({"untold": ("denied",)}, Reason.STATUS_UNKNOWN),
        ({"untold": ("visitor",)}, Reason.SECOND_NEEDED),
        ({"groups": ("adult", "denied", "staff"), "untold": ("denied",)}, Reason.DENIED_HERE),
        ({"zone": "cellar"}, Reason.NOT_PERMITTED),
        ({"zone": None}, Reason.NOT_PERMITTED),
        ({"passed_s": 3600, "passed_zone": "inside"}, Reason.PASSED_BEFORE),
        ({"passed_s": 29, "passed_zone": "outside"}, Reason.PASSED_BEFORE),
        ({"inside": 2}, Reason.FULL),
        ({"inside": None}, Reason.FULL),
        ({"cycle": None}, Reason.NO_CYCLE),
        ({"benefit": "received"}, Reason.ALREADY_RECEIVED),
        ({"benefit": "reserved"}, Reason.ALREADY_RECEIVED),
        ({"benefit": "lost"}, Reason.REFERRED),
        ({"benefit": None}, Reason.REFERRED),
        ({"groups": ("adult", "visitor")}, Reason.SECOND_NEEDED),
        ({"groups": ("adult", "visitor"), "second_s": 31}, Reason.SECOND_NEEDED),
        ({"drawn": 199}, Reason.SECONDARY_CHECK),
        ({"drawn": None}, Reason.SECONDARY_CHECK),
    ],
)
def test_one_fact_that_is_wrong_or_missing_is_against(changed: dict[str, object], reason: Reason) -> None:
    assert against(FULL, replace(GOOD, **changed)) is reason  # type: ignore[arg-type] # each is what its field takes


@pytest.mark.parametrize(
    "changed",
    [
        {"passed_s": 12 * 3600, "passed_zone": "inside"},  # reset
        {"passed_s": 60, "passed_zone": "outside"},
        {"groups": ("adult", "guard"), "passed_s": 5, "passed_zone": "inside", "drawn": 0},
        {"groups": ("adult", "guard"), "local_from": FRIDAY_NOON + DAY, "local_to": FRIDAY_NOON + DAY},
        {"groups": ("adult", "visitor"), "second_s": 30},
        {"drawn": 200},
    ],
)
def test_what_a_rule_allows_is_admitted(changed: dict[str, object]) -> None:
    assert against(FULL, replace(GOOD, **changed)) is None  # type: ignore[arg-type]


def test_with_only_a_floor_the_profile_decides_and_the_entry_says_so() -> None:
    floor = replace(GOOD, local_to=None)
    for said, reason in (("accept", None), ("refer", Reason.TIME_UNSURE), ("refuse", Reason.OUTSIDE_HOURS)):
        rules = replace(FULL, hours_floor=said)  # type: ignore[arg-type]
        assert in_hours(rules, floor) is reason
        assert "hours-unsure" in flags(rules, floor)


def test_soft_antipassback_admits_and_flags() -> None:
    rules = replace(FULL, passback=Passback("soft", silent_s=60))
    inside = replace(GOOD, passed_s=60, passed_zone="inside")
    assert not_inside(rules, inside) is None
    assert flags(rules, inside) == {"passed-before"}
    assert "alone" in flags(rules, replace(inside, alone=True))


def test_a_gate_that_hears_no_other_gate_says_so_and_may_refer() -> None:
    rules = replace(FULL, passback=Passback("hard", silent_s=60, alone="refer"))
    assert not_inside(rules, replace(GOOD, alone=True)) is Reason.REFERRED
    assert not_inside(rules, replace(GOOD, alone=None)) is Reason.REFERRED
    assert not_inside(rules, GOOD) is None
    lone = replace(rules, passback=replace(rules.passback, alone="accept"))
    assert not_inside(lone, replace(GOOD, alone=True)) is None
    assert "alone" in flags(lone, replace(GOOD, alone=True))


def test_where_nobody_can_tell_who_is_denied_or_needs_a_host_nobody_is_taken_for_neither() -> None:
    denying = Rules(groups=FULL.groups, deny=("denied",))
    assert not_denied(denying, NOBODY) is Reason.STATUS_UNKNOWN, "a lane without cards knows no groups"
    assert not_denied(denying, SiteFacts(groups=(), untold=("vip",))) is None, "that list is not asked about"
    assert not_denied(Rules(), NOBODY) is None
    escorted = Rules(groups=FULL.groups, second=(Second(("visitor",), ("host",)),))
    assert accompanied(escorted, NOBODY) is Reason.SECOND_NEEDED
    assert accompanied(escorted, SiteFacts(groups=(), untold=("visitor",), second_s=1)) is Reason.SECOND_NEEDED
    assert accompanied(escorted, SiteFacts(groups=())) is None


def test_a_badge_that_is_shown_for_somebody_else_opens_for_nobody_whatever_the_facts() -> None:
    rules = replace(FULL, assist=("staff",))
    for changed in ({}, {"passed_s": 1, "passed_zone": "inside"}, {"benefit": "received"}, {"drawn": 0}, {"inside": 9}):
        facts = replace(GOOD, assists=7, **changed)
        assert against(rules, facts) is Reason.ASSISTING
        assert against(FULL, facts) is (against(FULL, replace(facts, assists=None))), "who is in no such group"
    denied = replace(GOOD, assists=7, groups=("staff", "denied"))
    assert against(rules, denied) is Reason.DENIED_HERE


def test_a_watched_or_threatened_person_is_served_as_anybody_else() -> None:
    assert against(FULL, replace(GOOD, groups=("adult", "staff", "vip"))) is None
    assert flags(FULL, replace(GOOD, groups=("adult", "staff", "vip"))) == {"watched"}


def test_only_what_the_policy_names_can_be_overruled_and_some_things_never() -> None:
    rules = Rules(overrule=Overruling(("referred", "no-match", "bad-signature"), 60))
    assert overrules(rules, Reason.NO_MATCH, 60) is None
    assert overrules(rules, Reason.NO_MATCH, 61) is Reason.REFERRED
    assert overrules(rules, Reason.NO_MATCH, -1) is Reason.REFERRED
    assert overrules(rules, None, 1) is Reason.REFERRED
    for reason in (Reason.REVOKED, Reason.EXPIRED, Reason.PRESENTATION_ATTACK):
        assert overrules(rules, reason, 1) is reason
    for reason in NEVER:
        assert overrules(Rules(overrule=Overruling((reason.code,))), reason, 1) is reason
    may = Rules(overrule=Overruling(("expired",)))
    assert overrules(may, Reason.EXPIRED, 1) is None, "a profile that names it may"


@given(drawn=st.integers(0, SCALE - 1), one_in=st.sampled_from([1, 2, 10, 50, 1000]))
def test_the_lot_falls_on_one_in_so_many(drawn: int, one_in: int) -> None:
    rules = Rules(check_one_in=one_in)
    hit = not_drawn(rules, SiteFacts(drawn=drawn)) is Reason.SECONDARY_CHECK
    assert hit == (drawn < SCALE / one_in)


@given(
    facts=st.builds(
        SiteFacts,
        zone=st.sampled_from([None, "inside", "cellar"]),
        groups=st.none() | st.sets(st.sampled_from(["staff", "adult", "visitor", "denied", "guard"])).map(tuple),
        passed_s=st.none() | st.integers(0, 100_000),
        passed_zone=st.sampled_from([None, "inside", "outside"]),
        inside=st.none() | st.integers(0, 3),
        second_s=st.none() | st.integers(0, 60),
        drawn=st.none() | st.integers(0, 9_999),
    )
)
def test_a_grant_is_an_and_over_all_rules(facts: SiteFacts) -> None:
    """Whatever the facts: admitted by all rules together exactly when each rule alone admits."""
    singly = [check(FULL, facts) for check in (*BEFORE_FACE, *LAST)]
    assert (against(FULL, facts) is None) == all(reason is None for reason in singly)


def test_a_full_year_older_on_the_birthday_and_on_the_first_of_march_of_a_leap_child() -> None:
    assert years(date(2008, 11, 22), date(2026, 11, 21)) == 17
    assert years(date(2008, 11, 22), date(2026, 11, 22)) == 18
    assert years(date(2008, 2, 29), date(2026, 2, 28)) == 17
    assert years(date(2008, 2, 29), date(2026, 3, 1)) == 18


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (Rules(hours=(Hours(("mon 7-8",)),)), "hours[0]: 'mon 7-8' is not like"),
        (Rules(hours=(Hours(()),)), "hours[0]: never open"),
        (Rules(holidays=("Easter",)), "holidays: 'Easter'"),
        (Rules(deny=("crooks",)), "deny: nobody can be in 'crooks'"),
        (Rules(second=(Second(("a",), ()),)), "second[0]: says not"),
        (Rules(groups=(Group("x"),)), "groups.x: nobody can get in"),
        (Rules(groups=(Group("x", claim="category"),)), "groups.x: the claim 'category' without values"),
        (Rules(groups=(Group("x", listed="x", values=("1",)),)), "groups.x: values without a claim"),
        (Rules(groups=(Group("x", age_from=18, age_below=12),)), "groups.x: nobody is both"),
        (Rules(groups=(STAFF, STAFF)), "groups: 'staff' stands there twice"),
        (Rules(zones=(Zone("a"), Zone("a"))), "zones: 'a' stands there twice"),
        (Rules(overrule=Overruling(("nonsense",))), "overrule: 'nonsense' is no reason"),
        (Rules(overrule=Overruling(("bad-signature",))), "overrule: 'bad-signature' can be overruled by nobody"),
        (Rules(groups=(STAFF,), slow=("staff",)), "slow: groups without slow_s"),
        (Rules(groups=(STAFF,), assist=("staff",)), "assist: nothing may be overruled"),
        (Rules(assist=("staff",)), "assist: nobody can be in 'staff'"),
        (Rules(check_one_in=20_000), "check_one_in: at most"),
        (Rules(passback=Passback("hard", reset_h=0)), "passback: reset_h = 0"),
        (Rules(passback=Passback("soft", alone="refer")), "passback: alone = 'refer'"),
    ],
)
def test_what_cannot_mean_anything_is_found_at_the_desk(rules: Rules, said: str) -> None:
    assert any(fault.startswith(said) for fault in faults(rules)), faults(rules)


def test_good_rules_have_no_fault() -> None:
    assert faults(FULL) == faults(Rules()) == ()


def test_every_difference_is_told_with_what_it_means() -> None:
    told = list(differences(Rules(), FULL, "rules."))
    assert len(told) == len(set(told))
    assert "rules.passback.kind: off → hard   (what happens to who is inside already)" in told
    assert any(line.startswith("rules.zones: + name inside") for line in told)
    assert all(line.split(":")[0] in MEANING for line in told)
    assert list(differences(FULL, FULL)) == []


def test_no_rule_reads_what_it_is_not_told() -> None:
    """Two facts that differ only where no rule looks are decided the same."""
    for check, other in product((not_denied, in_zone, room_left, entitled, accompanied), (0, 77)):
        assert check(FULL, replace(GOOD, drawn=other)) is check(FULL, GOOD)


def test_an_age_is_old_enough_by_the_earliest_and_young_enough_by_the_latest_that_now_can_be() -> None:
    born = SimpleNamespace(date_of_birth=date(2008, 11, 22), attributes={}, others={})
    card = cast(Credential, SimpleNamespace(identity=born, issuer="x"))
    rules = Rules(groups=(Group("adult", age_from=18), Group("minor", age_below=18)))
    day = datetime(2026, 11, 21, 12, tzinfo=UTC)
    for upper, found in (
        (day, ("minor",)),
        (day + timedelta(days=2), ()),
        (None, ()),
    ):
        assert groups_of(rules, card, None, Interval(day, upper, ClockState.HELD)) == found
    later = day + timedelta(days=1)
    assert groups_of(rules, card, frozenset(), Interval(later, None, ClockState.FLOOR)) == ("adult",)


def test_a_birthday_begins_at_midnight_on_the_wall_clock_of_the_site() -> None:
    born = SimpleNamespace(date_of_birth=date(2008, 11, 22), attributes={}, others={})
    card = cast(Credential, SimpleNamespace(identity=born, issuer="x"))
    rules = Rules(groups=(Group("adult", age_from=18), Group("minor", age_below=18)))
    for zone, last_minute in (
        ("Pacific/Auckland", datetime(2026, 11, 21, 10, 59, tzinfo=UTC)),
        ("Pacific/Honolulu", datetime(2026, 11, 22, 9, 59, tzinfo=UTC)),
    ):
        for moment, found in ((last_minute, ("minor",)), (last_minute + timedelta(minutes=1), ("adult",))):
            now = Interval(moment, moment, ClockState.SYNCED)
            assert groups_of(rules, card, frozenset(), now, ZoneInfo(zone)) == found


def test_without_lists_it_is_said_of_which_groups_nobody_can_tell() -> None:
    rules = Rules(
        groups=(Group("a", listed="a", claim="issuer", values=("x",)), Group("b", listed="b"), Group("c", age_from=18))
    )
    assert untold_of(rules, ("a",), None) == ("b",)
    assert untold_of(rules, ("a", "b"), None) is None
    assert untold_of(rules, (), frozenset()) is None
    assert untold_of(Rules(), None, None) is None
