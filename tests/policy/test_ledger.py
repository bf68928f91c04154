"""One benefit for each person, programme and cycle; who received it can be forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from edge.audit.entry import Entry, Event, Kind, Quality, Value, decode, encode
from edge.errors import Reason, Refusal
from edge.policy.ledger import (
    Claim,
    ForgottenError,
    Ledger,
    LedgerKey,
    Reservation,
    claims,
    dispensed,
    disputes,
    finishing,
    opening,
    reserving,
)
from edge.policy.presence import MOST, Pass, Presence, passes
from edge.sync.book import OfficeError
from edge.sync.office import Office
from edge.trust.cose import signer
from edge.trust.cycles import Cycle, open_cycles, write_cycles
from edge.trust.keys import pinned
from edge.trust.members import membership, open_members, write_members
from edge.trust.whole import open_whole
from edge.trust.withdrawn import Card

NOW = datetime(2026, 11, 22, tzinfo=UTC)
TIMES = (NOW, NOW + timedelta(days=30))
RICE = Cycle("rice", "2026-11", 7, 2, NOW + timedelta(days=60))
KEY = LedgerKey(1, b"k" * 32)
LIVE, OTHER = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
KEYS = [pinned(LIVE.public_key())]
SITE_KEY = b"site key of thirty-two bytes ...."


def entry(index: int, kind: Kind, fields: Mapping[str, Value], subject: bytes | None = None, at_s: int = 0) -> Entry:
    return Entry(index, 1, at_s * 1000, Quality.SYNCED, 0, 1, kind, "gate", fields, subject)


def log(*events: Event) -> list[Entry]:
    return [entry(index, event.kind, event.fields) for index, event in enumerate(events)]


def test_the_mark_of_a_person_is_another_one_in_each_programme_cycle_and_site() -> None:
    marks = {
        key.mark(person, cycle)
        for key in (KEY, LedgerKey(1, b"x" * 32))
        for person in (b"a", b"ab")
        for cycle in (
            RICE,
            Cycle("oil", "2026-11", 7, 2, RICE.disputed_until),
            Cycle("rice", "2026-12", 7, 2, RICE.disputed_until),
            Cycle("rice", "2026-11", 8, 2, RICE.disputed_until),
        )
    }
    assert len(marks) == 16
    assert all(len(mark) == 16 for mark in marks)


def test_a_later_key_makes_the_same_marks_and_an_earlier_one_is_gone() -> None:
    later = KEY.at(7)
    assert later.mark(b"a", RICE) == KEY.mark(b"a", RICE)
    gone = KEY.at(8)
    with pytest.raises(ForgottenError):
        gone.mark(b"a", RICE)
    assert KEY.at(9).at(12) == KEY.at(12)


def test_reserved_then_received_and_free_again_only_after_a_release() -> None:
    mark, other = KEY.mark(b"a", RICE), KEY.mark(b"b", RICE)
    ledger = Ledger(log(opening(RICE), reserving(mark, RICE, 10)))
    assert (ledger.benefit(mark), ledger.benefit(other)) == ("reserved", "free")
    (reservation,) = ledger.unfinished
    assert reservation == Reservation(mark, 7, 2, 10, 1)
    for count, found in ((0, "free"), (1, "received"), (2, "received"), (None, "received")):
        finished = finishing(reservation, count, "resumed")
        again = Ledger(log(opening(RICE), reserving(mark, RICE, 10), finished))
        assert (again.benefit(mark), again.unfinished) == (found, ())


@pytest.mark.parametrize(("count", "sure"), [(1, False), (2, True), (3, True), (None, False)])
def test_a_commit_says_whether_anybody_is_sure(count: int | None, sure: bool) -> None:
    event = finishing(Reservation(bytes(16), 7, 2, 10, 1), count, "resumed")
    assert (event.kind, event.fields["sure"], event.fields["dispensed"]) == (Kind.COMMIT, sure, count)


def test_the_dispensers_count_says_what_came_and_one_that_ran_backwards_says_nothing() -> None:
    reservation = Reservation(bytes(16), 7, 2, 10, 1)
    assert [dispensed(reservation, count) for count in (10, 11, 12, 9, None)] == [0, 1, 2, None, None]
    assert dispensed(Reservation(bytes(16), 7, 2, None, 1), 12) is None


def test_a_log_that_does_not_reach_back_to_the_opening_is_not_the_ledger() -> None:
    assert Ledger(log(opening(RICE))).knows(RICE)
    assert not Ledger(log(reserving(bytes(16), RICE, 1))).knows(RICE)


def test_no_entry_of_the_ledger_holds_a_name() -> None:
    for event in (opening(RICE), reserving(KEY.mark(b"Amina 7412589630", RICE), RICE, 3)):
        written = encode(entry(0, event.kind, event.fields))
        assert b"Amina" not in written
        assert b"7412589630" not in written
        assert decode(written).fields == event.fields


@given(st.lists(st.sampled_from(["reserve", "commit", "release", "other"]), max_size=30))
def test_whatever_the_log_holds_a_mark_is_free_only_before_its_reservation_or_after_a_release(steps: list[str]) -> None:
    mark, events, state = b"m" * 16, [opening(RICE)], "free"
    for step in steps:
        reservation = Reservation(mark, 7, 1, 0, max(0, len(events) - 1))
        match step:
            case "reserve" if state == "free":
                events.append(reserving(mark, RICE, 0))
                state = "reserved"
            case "commit" if state == "reserved":
                events.append(finishing(reservation, 1, "taken"))
                state = "received"
            case "release" if state == "reserved":
                events.append(finishing(reservation, 0, "not_taken"))
                state = "free"
            case "other":
                events.insert(1, Event(Kind.DENIED, {"mark": mark}))
    assert Ledger(log(*events)).benefit(mark) == state


def test_of_two_points_the_earlier_sealed_reservation_stands_and_the_later_is_flagged() -> None:
    mark = b"m" * 16
    a, b, c = Claim(mark, "urn:a", 9, 2000), Claim(mark, "urn:b", 3, 1000), Claim(mark, "urn:c", 1, None)
    (dispute,) = disputes([a, b, c, Claim(b"n" * 16, "urn:a", 10, 1)])
    assert (dispute.stands, dispute.flagged) == (b, (a, c))
    assert disputes([a, Claim(mark, "urn:b", 3, 1000, released=True)]) == ()


@given(st.permutations(range(5)))
def test_who_stands_does_not_depend_on_whose_log_is_read_first(order: list[int]) -> None:
    told = [Claim(b"m" * 16, f"urn:{n}", n, 1000 + n // 2) for n in range(5)]
    (dispute,) = disputes([told[place] for place in order])
    assert dispute.stands == told[0]
    assert dispute.flagged == tuple(told[1:])


def test_the_reservations_of_a_log_are_dated_by_the_first_checkpoint_that_covers_them() -> None:
    mark, other = b"m" * 16, b"n" * 16
    entries = log(opening(RICE), reserving(mark, RICE, 0), reserving(other, RICE, 0))
    entries.append(entry(3, Kind.RELEASE, {"reservation": 2, "mark": other}))
    found = claims("urn:a", entries, [(2, 500), (1, 400), (4, 600)])
    assert found == (Claim(mark, "urn:a", 1, 500), Claim(other, "urn:a", 2, 600, released=True))
    assert claims("urn:a", entries, [])[0].sealed_s is None


def test_a_cycle_is_opened_by_a_signed_message_and_by_nothing_else() -> None:
    data = write_cycles(4, "hall", [RICE], TIMES, signer(LIVE))
    assert open_cycles(data, KEYS, 4).open == {"rice": RICE}
    for keys, known, reason in (([pinned(OTHER.public_key())], 0, Reason.BAD_SIGNATURE), (KEYS, 5, Reason.NO_TRUST)):
        with pytest.raises(Refusal) as refused:
            open_cycles(data, keys, known)
        assert refused.value.reason is reason


@pytest.mark.parametrize(
    "cycles",
    [
        [RICE, RICE],
        [RICE, Cycle("oil", "x", 7, 1, NOW)],
        [Cycle("", "x", 1, 1, NOW)],
        [Cycle("rice", "x", 0, 1, NOW)],
        [Cycle("rice", "x", 1, 0, NOW)],
        [Cycle("rice", "x", 1, 1001, NOW)],
    ],
)
def test_cycles_that_cannot_be_are_refused(cycles: list[Cycle]) -> None:
    with pytest.raises(Refusal) as refused:
        open_cycles(write_cycles(1, "hall", cycles, TIMES, signer(LIVE)), KEYS)
    assert refused.value.reason is Reason.BAD_CLAIM


def test_a_list_of_members_finds_its_members_and_holds_no_name() -> None:
    lists = {name: [membership(SITE_KEY, name, "https://id.example", b"741")] for name in ("staff", "duress")}
    data = write_members(2, "hall", lists | {"empty": []}, TIMES, signer(LIVE))
    members = open_members(data, KEYS, 2)
    assert members.of(Card("https://id.example", (b"cti", b"741")), SITE_KEY) == {"staff", "duress"}
    assert members.of(Card("https://other.example", (b"741",)), SITE_KEY) == frozenset()
    assert members.of(Card("https://id.example", (b"741",)), b"another key") == frozenset()
    assert lists["staff"] != lists["duress"], "the same card has unrelated hashes in two lists"
    assert b"741" not in data


@pytest.mark.parametrize("lists", [{"staff": [b"short"]}, {f"list {number}": [bytes(16)] for number in range(65)}])
def test_lists_that_cannot_be_are_refused(lists: Any) -> None:
    data = write_members(1, "hall", lists, TIMES, signer(LIVE))
    with pytest.raises(Refusal):
        open_members(data, KEYS)


def test_presence_is_made_of_passages_and_an_open_grant_counts_as_one() -> None:
    a, b, c, d = (bytes([number]) * 16 for number in range(1, 5))
    zone: dict[str, Value] = {"facts": {"zone": "inside"}}
    told = [
        entry(0, Kind.GRANTED, zone, a, 100),
        entry(1, Kind.TAKEN, {"visit": 0}),
        entry(2, Kind.GRANTED, zone, b, 110),
        entry(3, Kind.NOT_TAKEN, {"visit": 2}),
        entry(4, Kind.OVERRIDE, zone, c, 120),
        entry(5, Kind.TAKEN, {"visit": 4}),
        entry(6, Kind.DENIED, zone, b, 125),
        entry(7, Kind.GRANTED, {"facts": {}}, b, 126),
        entry(8, Kind.TAKEN, {"visit": 7}),
        entry(9, Kind.GRANTED, zone, d, 130),
    ]
    assert list(passes(told)) == [Pass(a, "inside", 100), Pass(c, "inside", 120), Pass(d, "inside", 130)]
    presence = Presence(passes(told))
    assert presence.inside("inside", 0) == 3
    assert presence.inside("inside", 121) == 1
    assert presence.last((b, a), 160) == (Pass(a, "inside", 100), 60)
    assert presence.last((b,), 160) is None


def test_an_older_pass_that_comes_late_moves_nothing_and_the_oldest_goes_first() -> None:
    presence = Presence([Pass(b"a", "inside", 200)])
    assert not presence.hear(Pass(b"a", "outside", 100, 100))
    assert presence.last((b"a",), 200) == (Pass(b"a", "inside", 200), 0)
    for number in range(MOST):
        presence.went((number.to_bytes(4),), "inside", 300 + number)
    assert presence.last((b"a",), 400) is None
    assert presence.inside("inside", 0) == MOST


def test_lists_and_cycles_of_the_site_come_with_everything_else_that_is_signed(tmp_path: Any) -> None:
    """From the operator's desk to what the gate believes; those of another site stay there."""
    office = Office.begin(tmp_path / "office", "pilot")
    book = office.book
    book.enlist("hall", SITE_KEY, "staff", "https://id.example", ["741", "852"])
    book.strike("hall", SITE_KEY, "staff", "https://id.example", ["852"])
    book.enlist("mill", SITE_KEY, "staff", "https://id.example", ["963"])
    assert book.open_cycle("hall", "rice", "2026-10", 1, RICE.disputed_until) == 1
    assert book.open_cycle("mill", "rice", "2026-10", 1, RICE.disputed_until) == 2
    assert book.open_cycle("hall", "rice", "2026-11", 2, RICE.disputed_until) == 3
    book.save()
    office.publish(NOW)
    files = Office(tmp_path / "office").lists.files()
    whole = open_whole(files, [office.list_key()], {}, site="hall")
    assert whole.faults == ()
    assert whole.members.of(Card("https://id.example", (b"741",)), SITE_KEY) == {"staff"}
    assert whole.members.of(Card("https://id.example", (b"852",)), SITE_KEY) == frozenset()
    assert whole.members.of(Card("https://id.example", (b"963",)), SITE_KEY) == frozenset()
    assert {name: (one.cycle, one.number) for name, one in whole.cycles.open.items()} == {"rice": ("2026-11", 3)}
    swapped = files | {"members/hall.cose": files["members/mill.cose"]}
    found = open_whole(swapped, [office.list_key()], whole.floors, site="hall", before=whole)
    assert any("another site" in fault for fault in found.faults)
    assert found.members == whole.members, "a list for somebody else leaves ours in force"
    book.close_cycle("hall", "rice")
    with pytest.raises(OfficeError):
        book.close_cycle("hall", "rice")


def test_the_outcome_of_something_else_closes_no_grant() -> None:
    """A door that was opened by command, and a grant that the disk did not take in time."""
    zone: dict[str, Value] = {"facts": {"zone": "inside"}}
    a, b = bytes([1]) * 16, bytes([2]) * 16
    late: dict[str, Value] = {"why": "the grant was not written in time"}
    told = [entry(0, Kind.GRANTED, zone, a, 100), entry(1, Kind.NOT_TAKEN, {"command": 0})]
    assert list(passes(told)) == [Pass(a, "inside", 100)]
    told += [entry(2, Kind.NOT_TAKEN, late), entry(3, Kind.NOT_TAKEN, late, b)]
    assert list(passes(told)) == [Pass(a, "inside", 100)], "of nobody, and of somebody else"
    told += [entry(4, Kind.GRANTED, zone, b, 110), entry(5, Kind.NOT_TAKEN, late, b)]
    assert list(passes(told)) == [Pass(a, "inside", 100)], "the disk wrote it all the same"


def test_other_points_hear_who_received_in_the_open_cycle_and_not_in_older_ones() -> None:
    a, b, c = (bytes([number]) * 16 for number in range(1, 4))
    told: list[Event] = []
    for mark, number, came in ((a, 1, 1), (b, 2, 1), (c, 2, 0)):
        cycle = Cycle("rice", str(number), number, 1, RICE.disputed_until)
        told.append(reserving(mark, cycle, None))
        told.append(finishing(Reservation(mark, number, 1, None, len(told) - 1), came, "taken"))
    ledger = Ledger(log(*told))
    assert (ledger.received(1), ledger.received(2), ledger.received(3)) == ((a,), (b,), ())


def test_who_received_in_a_cycle_whose_key_is_gone_takes_no_room_any_more() -> None:
    told: list[Event] = []
    marks = {number: bytes([number]) * 16 for number in (1, 2, 3)}
    for number, mark in marks.items():
        told.append(reserving(mark, Cycle("rice", str(number), number, 1, RICE.disputed_until), None))
        told.append(finishing(Reservation(mark, number, 1, None, len(told) - 1), 1, "taken"))
    ledger = Ledger(log(*told))
    ledger.forget(3)
    assert [ledger.received(number) for number in marks] == [(), (), (marks[3],)]
    assert [ledger.benefit(mark) for mark in marks.values()] == ["free", "free", "received"]


def test_a_passage_whose_outcome_was_lost_moves_no_later_one() -> None:
    a = bytes([1]) * 16
    told = [
        entry(0, Kind.GRANTED, {"facts": {"zone": "inside"}}, a, 100),
        entry(1, Kind.GRANTED, {"facts": {"zone": "outside"}}, a, 200),
        entry(2, Kind.TAKEN, {"visit": 1}),
    ]
    assert [each.zone for each in passes(told)] == ["inside", "outside"]
    assert Presence(passes(told)).inside("inside", 0) == 0


def test_two_gates_whose_clocks_are_days_apart_agree_about_who_went_last() -> None:
    ahead, behind = Presence(), Presence()
    for each in ahead.went((b"a",), "inside", 900_000):
        behind.hear(Pass(each.subject, each.zone, 100, each.turn))
    for each in behind.went((b"a",), "outside", 160):
        ahead.hear(Pass(each.subject, each.zone, 900_060, each.turn))
    assert ahead.last((b"a",), 900_100) == (Pass(b"a", "outside", 900_060), 40)
    assert behind.last((b"a",), 200) == (Pass(b"a", "outside", 160), 40)
    (back,) = behind.went((b"a",), "inside", 170)
    assert ahead.hear(Pass(b"a", "inside", 900_059, back.turn)), "the way took a second"
    assert ahead.inside("inside", 0) == 1


def test_who_leaves_under_another_months_name_is_inside_nowhere() -> None:
    presence = Presence([Pass(b"october", "inside", 100)])
    moved = presence.went((b"november", b"october"), "inside", 200)[1]
    assert presence.inside("inside", 0) == 1
    neighbour = Presence(told=[Pass(b"october", "inside", 100, 100)])
    assert neighbour.hear(moved)
    assert neighbour.inside("inside", 0) == 0
    presence.went((b"november", b"october"), "outside", 300)
    assert presence.inside("inside", 0) == 0
    assert presence.last((b"october", b"november"), 300) == (Pass(b"november", "outside", 300), 0)


def test_what_is_told_again_stays_where_it_is_and_what_is_old_goes() -> None:
    presence = Presence([Pass(b"a", "inside", 100), Pass(b"b", "inside", 110)])
    assert not presence.hear(Pass(b"a", "inside", 100, 100))
    assert [each.subject for each in presence.known()] == [b"a", b"b"]
    assert [each.subject for each in presence.known(105)] == [b"b"]
    presence.forget(105)
    assert [each.subject for each in presence.known()] == [b"b"]


def test_who_left_by_another_gate_is_not_inside() -> None:
    presence = Presence([Pass(b"a", "inside", 100), Pass(b"b", "inside", 110), Pass(b"a", "outside", 120)])
    assert (presence.inside("inside", 0), presence.inside("outside", 0)) == (1, 1)
    assert presence.known()[-1] == Pass(b"a", "outside", 120)
