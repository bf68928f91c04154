"""What the log says, added up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from edge.audit.entry import Entry, Kind, Quality, Value
from edge.errors import Reason
from edge.web.charted import Charted
from edge.web.standing import BUCKETS_S, Standing, Told, detail, kind_name, sentence

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def told(kind: Kind | int, index: int = 0, **fields: Value) -> Told:
    return Told(index, NOON, kind, fields)


def after(*entries: Told) -> Standing:
    standing = Standing()
    for entry in entries:
        standing = standing.after(entry)
    return standing


def test_visits_and_refusals_are_counted() -> None:
    standing = after(
        told(Kind.GRANTED, 0),
        told(Kind.DENIED, 1, reason="expired"),
        told(Kind.DENIED, 2, reason="expired"),
        told(Kind.DENIED, 3, reason="no-match"),
    )
    assert standing.size == 4
    assert standing.kinds == {Kind.GRANTED: 1, Kind.DENIED: 3}
    assert standing.refusals == {"expired": 2, "no-match": 1}


def test_a_device_is_lost_until_it_is_back() -> None:
    lost = told(Kind.DEVICE_LOST, 0, device="token", detail="unplugged")
    back = told(Kind.DEVICE_BACK, 1, device="token", detail="")
    assert not after(lost).devices["token"].ok
    assert after(lost).devices["token"].detail == "unplugged"
    assert after(lost, back).devices["token"].ok


def test_a_start_of_the_gate_forgets_what_was_lost_before() -> None:
    next_boot = Told(2, NOON, Kind.CONFIGURATION, {}, boot=2)
    standing = after(told(Kind.DEVICE_LOST, 0, device="camera"), told(Kind.FIRE, 1), next_boot)
    assert standing.booted_at == NOON
    assert standing.devices == {}
    assert not standing.fire


def test_attack_detection_is_unknown_until_an_entry_says_it() -> None:
    assert after(told(Kind.BOOT)).detects_attacks is None
    assert after(told(Kind.BOOT, attacks_detected=False)).detects_attacks is False
    assert after(told(Kind.GRANTED, attacks_detected=True)).detects_attacks is True
    assert after(told(Kind.GRANTED, attacks_detected=True), told(Kind.EXIT_REQUEST, 1)).detects_attacks is True


def test_durations_fall_into_their_buckets() -> None:
    standing = after(told(Kind.GRANTED, 0, stages={"read": 90_000}), told(Kind.TAKEN, 1, whole_us=400_000))
    assert [n for n, s in zip(standing.stages["read"].up_to, BUCKETS_S, strict=True) if s in (0.05, 0.1)] == [0, 1]
    assert (standing.whole.count, standing.whole.total_us) == (1, 400_000)
    assert standing.whole.up_to == tuple(int(upper >= 0.5) for upper in BUCKETS_S)


def test_malformed_fields_are_passed_over() -> None:
    standing = after(
        told(Kind.DENIED, 0, reason=7, stages="fast", attacks_detected="yes", profile=None),
        told(Kind.TAKEN, 1, whole_us=True),
        told(Kind.DENIED, 2, stages={"read": -1, "verify": "x"}),
    )
    assert standing.refusals == {"not-told": 2}
    assert standing.whole.count == 0
    assert standing.stages == {}
    assert standing.detects_attacks is None


def test_the_pages_never_see_who_it_was() -> None:
    entry = Entry(
        0, 1, 1_800_000_000_000, Quality.SYNCED, 0, 1, Kind.GRANTED, "north", {}, subject=b"s" * 16, issuer=b"kid"
    )
    assert "sss" not in repr(Told.of(entry).__dict__)
    assert not hasattr(Told.of(entry), "subject")


def test_a_time_that_nobody_knows_is_none() -> None:
    for wall_ms, quality in ((1_000, Quality.UNKNOWN), (2**62, Quality.SYNCED)):
        assert Told.of(Entry(0, 1, wall_ms, quality, 0, 1, Kind.BOOT, "north", {})).at is None


def test_a_start_of_the_gate_makes_no_list_younger() -> None:
    issued = NOON - timedelta(days=29)
    started = told(Kind.TRUST_UPDATE, 0, version=3, issuers=2, start=True, issued=int(issued.timestamp()))
    standing = after(told(Kind.CONFIGURATION, lane="card", trust_warn_s=7 * 86400), started)
    assert (standing.trust_at, standing.status_at) == (issued, None)
    assert standing.trust_old(NOON)
    assert not standing.trust_old(issued + timedelta(days=6))
    assert standing.trust_old(None) is None
    assert sentence(started) == "The trust list in force was recorded."
    listed = told(Kind.STATUS_UPDATE, 1, version=3, issued=int(issued.timestamp()), status_issued=1_780_000_000)
    assert standing.after(listed).status_at == datetime.fromtimestamp(1_780_000_000, UTC)
    assert standing.after(told(Kind.TRUST_UPDATE, 1, version=3, issued="x")).trust_at is None


def test_the_gate_s_clock_goes_on_after_the_newest_entry() -> None:
    standing = after(Told(0, NOON, Kind.BOOT, monotonic_ms=50_000))
    assert standing.now(110.0) == NOON + timedelta(minutes=1)
    assert standing.now(40.0) is None  # another start of the machine
    assert standing.after(Told(1, None, Kind.BOOT, boot=2, monotonic_ms=1)).now(60.0) is None
    assert after().now(1.0) is None


def test_the_drawing_ends_now_and_not_at_the_last_visit() -> None:
    charted = Charted().after(told(Kind.GRANTED, 0)).after(told(Kind.DENIED, 1))
    slot = int(NOON.timestamp()) // 300 * 300
    assert charted.rows(None) == {"now": None, "rows": [[slot, 1, 1]]}
    assert charted.rows(NOON + timedelta(hours=3)) == {"now": slot + 3 * 3600, "rows": [[slot, 1, 1]]}
    assert charted.rows(NOON + timedelta(hours=4)) == {"now": slot + 4 * 3600, "rows": []}


def test_one_entry_whose_clock_stood_ahead_leaves_nobody_out_of_the_drawing() -> None:
    ahead = replace(told(Kind.GRANTED, 1), at=NOON + timedelta(days=400))
    charted = (
        Charted().after(told(Kind.GRANTED, 0)).after(ahead).after(told(Kind.DENIED, 2)).after(told(Kind.DENIED, 3))
    )
    assert charted.rows(NOON)["rows"] == [[int(NOON.timestamp()) // 300 * 300, 0, 2]]


def test_what_the_gate_tells_is_said_in_words() -> None:
    trust = told(Kind.TRUST_UPDATE, version=12, issuers=4, digest=b"d" * 32)
    assert detail(trust) == after(trust).trust == "version 12, 4 issuers"
    assert detail(told(Kind.CLOCK_STEP, seconds=-3)) == "by -3 s"
    assert detail(told(Kind.EPOCH_OPEN, why="the log is missing")) == "the log is missing"
    configuration = told(Kind.CONFIGURATION, profile="pilot", fmr="0.001", policy=b"d" * 32)
    assert detail(configuration) == "profile pilot, false match rate 0.001"
    assert detail(told(Kind.DEVICE_LOST, device="token", detail="unplugged")) == "unplugged"


def test_every_kind_and_reason_has_a_sentence() -> None:
    for kind in Kind:
        assert sentence(told(kind)).endswith(".")
    for reason in Reason:
        assert sentence(told(Kind.DENIED, reason=reason.code)) == reason.operator
    assert sentence(told(Kind.DENIED, reason="from-the-future")) == "Refused: from-the-future."
    assert sentence(told(999)) == "Kind 999."
    assert kind_name(999) == "kind-999"


def test_a_lane_without_cards_is_one_until_the_configuration_says_otherwise() -> None:
    lane, models = told(Kind.CONFIGURATION, 0, lane="gallery"), told(Kind.CONFIGURATION, 1, set="standard")
    assert not after().lane
    assert after(lane, models, told(Kind.DENIED, 2, reason="not-recognised")).lane
    assert not after(lane, told(Kind.CONFIGURATION, 1, lane="card")).lane
