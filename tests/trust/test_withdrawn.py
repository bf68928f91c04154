"""A withdrawn card is refused without a network, and a list never goes back."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from edge.decision import Facts, Policy, admit
from edge.errors import Reason, Refusal
from edge.trust import cose
from edge.trust.cbor import Tagged, encode
from edge.trust.charter import write_charter
from edge.trust.cose import make_sign1, signer
from edge.trust.interval import ClockState, Interval
from edge.trust.keys import spki
from edge.trust.list import write_list
from edge.trust.signed import Purpose, seal, unseal
from edge.trust.status import TYPE
from edge.trust.whole import CHARTER, CONFIRMATION, MAIN, Whole, hashes_path, mark, open_whole, write_confirmation
from edge.trust.withdrawn import (
    UNLISTED,
    Card,
    CardStatus,
    Found,
    keyed,
    ordered,
    short,
    write_denied,
    write_hashes,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HERE = Interval(NOW, None, ClockState.FLOOR)
DAY = timedelta(days=1)
TIMES = (NOW - DAY, NOW + 20 * DAY)
ISS, OTHER, LAND = "https://id.example", "https://other.example", "https://land.example"
URI = "https://id.example/status/1"
ROOT, LIVE, STATE = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
KEYS = {iss: ed25519.Ed25519PrivateKey.generate() for iss in (ISS, OTHER, LAND)}
SITE_KEY = b"site key of thirty-two bytes ...."
POLICY_KEYS: dict[str, Any] = {"status_refuse_h": 168.0, "status_unknown": "refer"}


def a_list(*issuers: str, version: int = 1, by: Any = ROOT, times: tuple[datetime, datetime] = TIMES) -> bytes:
    entries = [{"iss": iss, "keys": [{"public": spki(KEYS[iss].public_key())}]} for iss in issuers]
    issued, expires = (int(moment.timestamp()) for moment in times)
    document = {"version": version, "issued_at": issued, "expires": expires, "issuers": entries}
    return write_list(document, signer(by))


def a_charter(version: int = 1, **authorities: tuple[Any, list[str]]) -> bytes:
    named = [
        {"name": name, "public": spki(key.public_key()), "issuers": issuers}
        for name, (key, issuers) in authorities.items()
    ]
    return write_charter(version, [spki(LIVE.public_key())], named, [], TIMES, signer(ROOT))


def statuses(revoked: bytes, iss: str = ISS, issued: datetime = NOW - DAY, **more: Any) -> bytes:
    claims = {2: URI, 6: int(issued.timestamp()), 65533: {"bits": 2, "lst": zlib.compress(revoked)}}
    claims |= {int(name[1:]): value for name, value in more.items()}
    array = make_sign1(encode(claims), signer(KEYS[iss]), {cose.TYP: TYPE})
    return encode(Tagged(cose.SIGN1, array))


STATUS_PATH = f"status/{mark(ISS)}/one.cwt"
HASHES_PATH, DENIED_PATH = f"hashes/{mark(OTHER)}.cose", "denied/lobby.cose"
FILES: dict[str, bytes] = {
    MAIN: a_list(ISS, OTHER),
    CHARTER: a_charter(),
    STATUS_PATH: statuses(b"\x24"),  # 0 valid, 1 invalid, 2 suspended, 3 valid
    f"hashes/{mark(OTHER)}.cose": write_hashes(3, OTHER, [short(OTHER, b"card-7")], TIMES, signer(LIVE)),
    "denied/lobby.cose": write_denied(1, "lobby", [keyed(SITE_KEY, ISS, b"banned")], TIMES, signer(LIVE)),
}


def opened(
    files: Mapping[str, bytes] = FILES, before: Whole | None = None, floors: Mapping[str, int] | None = None
) -> Whole:
    known = dict(before.floors) if before else dict(floors or {})
    return open_whole(files, [spki(ROOT.public_key())], known, site="lobby", before=before)


def about(whole: Whole, iss: str, name: bytes, index: int | None = None, uri: str = URI, now: Interval = HERE) -> Found:
    status = None if index is None else {"status_list": {"idx": index, "uri": uri}}
    return whole.withdrawn.about(Card(iss, (name,), status), now, SITE_KEY)


@pytest.mark.parametrize(
    ("iss", "name", "index", "status"),
    [
        (ISS, b"x", 0, CardStatus.VALID),
        (ISS, b"x", 1, CardStatus.REVOKED),
        (ISS, b"x", 2, CardStatus.SUSPENDED),
        (ISS, b"x", None, CardStatus.UNLISTED),
        (ISS, b"banned", 0, CardStatus.DENIED),
        (OTHER, b"card-7", None, CardStatus.REVOKED),
        (OTHER, b"card-8", None, CardStatus.VALID),
        (OTHER, b"x", 0, CardStatus.UNKNOWN),
        (LAND, b"card-7", None, CardStatus.UNLISTED),
    ],
)
def test_what_the_lists_say(iss: str, name: bytes, index: int | None, status: CardStatus) -> None:
    assert about(opened(), iss, name, index).status is status


def test_the_issuer_speaks_before_the_site() -> None:
    """In this order: status list, hash list, site's own list; the first that is against the card is the reason."""
    denied = write_denied(1, "lobby", [keyed(SITE_KEY, one, b"card-7") for one in (ISS, OTHER)], TIMES, signer(LIVE))
    whole = opened({**FILES, "denied/lobby.cose": denied})
    assert about(whole, ISS, b"card-7", 1).status is CardStatus.REVOKED
    assert about(whole, OTHER, b"card-7").status is CardStatus.REVOKED
    assert about(whole, ISS, b"card-7", 0).status is CardStatus.DENIED
    assert about(whole, ISS, b"card-7", 2).status is CardStatus.SUSPENDED
    assert about(whole, ISS, b"card-7", 0, URI + "0").status is CardStatus.DENIED
    assert about(whole, LAND, b"card-7").status is CardStatus.UNLISTED


def test_an_address_that_nobody_brought_is_unknown() -> None:
    assert about(opened(), ISS, b"x", 0, URI + "0").status is CardStatus.UNKNOWN


def test_a_list_past_its_end_still_revokes_but_clears_nobody() -> None:
    whole = opened({**FILES, STATUS_PATH: statuses(b"\x24", _4=int((NOW - timedelta(hours=1)).timestamp()))})
    assert about(whole, ISS, b"x", 0).status is CardStatus.UNKNOWN
    assert about(whole, ISS, b"x", 1).status is CardStatus.REVOKED
    later = Interval(NOW + 30 * DAY, None, ClockState.FLOOR)
    assert about(opened(), OTHER, b"card-8", now=later).status is CardStatus.UNKNOWN
    assert about(opened(), OTHER, b"card-7", now=later).status is CardStatus.REVOKED


def test_an_index_beyond_the_list_and_a_claim_that_says_nothing_are_refused() -> None:
    with pytest.raises(Refusal) as caught:
        about(opened(), ISS, b"x", 4)
    assert caught.value.reason is Reason.BAD_CLAIM
    nothing: tuple[Any, ...] = ({}, {"status_list": {"uri": URI}}, {"status_list": {"uri": URI, "idx": True}}, [], 7)
    for claim in nothing:
        with pytest.raises(Refusal):
            opened().withdrawn.about(Card(ISS, (), claim), HERE, SITE_KEY)


def test_a_status_that_is_said_in_another_way_is_unknown() -> None:
    other = {"identifier_list": {"id": b"x", "uri": URI}}
    assert opened().withdrawn.about(Card(ISS, (b"x",), other), HERE, SITE_KEY).status is CardStatus.UNKNOWN
    both = {**other, "status_list": {"uri": URI, "idx": 1}}
    assert opened().withdrawn.about(Card(ISS, (b"x",), both), HERE, SITE_KEY).status is CardStatus.REVOKED


def test_an_older_status_list_is_not_taken() -> None:
    now = opened()
    older = {**FILES, STATUS_PATH: statuses(b"\0", issued=NOW - 2 * DAY)}
    kept = opened(older, now)
    assert about(kept, ISS, b"x", 1).status is CardStatus.REVOKED
    assert any("older" in fault for fault in kept.faults)
    after_a_restart = opened(older, None, now.floors)
    assert about(after_a_restart, ISS, b"x", 1).status is CardStatus.UNKNOWN
    newer = opened({**FILES, STATUS_PATH: statuses(b"\0", issued=NOW)}, now)
    assert about(newer, ISS, b"x", 1).status is CardStatus.VALID


def test_a_status_list_of_another_issuer_says_nothing_about_this_one() -> None:
    whole = opened({**FILES, STATUS_PATH: statuses(b"\0", iss=OTHER)})
    assert about(whole, ISS, b"x", 0).status is CardStatus.UNKNOWN
    assert any("not signed by its issuer" in fault for fault in whole.faults)


def certified(ca: Any, key: Any, names: str, ends: datetime = NOW + DAY, of_authority: bool = False) -> bytes:
    """A certificate by ``ca`` that names an issuer, or of an authority."""
    called = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("ca", names)]
    builder = x509.CertificateBuilder(called[0], called[0 if of_authority else 1], key.public_key(), 5)
    builder = builder.not_valid_before(NOW - 90 * DAY).not_valid_after(ends)
    builder = builder.add_extension(x509.BasicConstraints(of_authority, None), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(names)]), False)
    return builder.sign(ca, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def by_roots(chain: bytes, root: bytes, signer_key: Any, **said: Any) -> Whole:
    """A trust list with an issuer that is pinned by a root, and the status list that it signed."""
    entry = {"iss": ISS, "roots": [root], "keys": [{"public": spki(LEAF.public_key()), **said}] if said else []}
    issued, expires = (int(moment.timestamp()) for moment in TIMES)
    main = write_list({"version": 1, "issued_at": issued, "expires": expires, "issuers": [entry]}, signer(ROOT))
    claims = {2: URI, 6: int((NOW - DAY).timestamp()), 65533: {"bits": 2, "lst": zlib.compress(b"\x24")}}
    array = make_sign1(encode(claims), signer(signer_key), {cose.TYP: TYPE, cose.X5CHAIN: chain})
    return opened({MAIN: main, STATUS_PATH: encode(Tagged(cose.SIGN1, array))})


CA, LEAF = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def test_an_issuer_that_is_pinned_by_a_root_signs_its_status_list_with_a_chain() -> None:
    root = certified(CA, CA, "ca", NOW + 900 * DAY, of_authority=True)
    good = by_roots(certified(CA, LEAF, ISS), root, LEAF)
    assert good.faults == ()
    assert [about(good, ISS, b"x", index).status for index in (0, 1)] == [CardStatus.VALID, CardStatus.REVOKED]
    bad = {
        "bad-signature": by_roots(certified(CA, LEAF, ISS), root, KEYS[OTHER]),
        "does not name the issuer": by_roots(certified(CA, LEAF, OTHER), root, LEAF),
        "does not lead to a pinned root": by_roots(certified(LEAF, LEAF, ISS), root, LEAF),
        "outside its validity": by_roots(certified(CA, LEAF, ISS, NOW - 2 * DAY), root, LEAF),
        "not signed by its issuer": by_roots(
            certified(CA, LEAF, ISS), root, LEAF, compromised_since=int((NOW + DAY).timestamp())
        ),
    }
    for why, whole in bad.items():
        assert why in whole.faults[0]
        assert about(whole, ISS, b"x", 1).status is CardStatus.UNKNOWN


def test_a_status_list_goes_with_the_key_that_signed_it() -> None:
    key = {"public": spki(KEYS[ISS].public_key())}
    document = {"version": 1, "issued_at": int(TIMES[0].timestamp()), "expires": int(TIMES[1].timestamp())}

    def with_keys(version: int, *keys: Mapping[str, Any]) -> dict[str, bytes]:
        entry = {"iss": ISS, "keys": list(keys)}
        return {**FILES, MAIN: write_list({**document, "version": version, "issuers": [entry]}, signer(ROOT))}

    before = opened(with_keys(1, key))
    assert about(before, ISS, b"x", 0).status is CardStatus.VALID
    for keys in ([{**key, "compromised_since": 1}], [key, {**key, "compromised_since": 1}]):
        now = opened(with_keys(2, *keys), before=before)
        assert about(now, ISS, b"x", 0).status is CardStatus.UNKNOWN
        assert f"{STATUS_PATH}: signed by a key that is compromised" in now.faults


def test_lists_go_with_the_live_key_that_signed_them() -> None:
    """As they would at the next start; one key more changes nothing."""
    before, new = opened(), ec.generate_private_key(ec.SECP256R1())

    def with_live(*keys: Any) -> Whole:
        charter = write_charter(2, [spki(key.public_key()) for key in keys], [], [], TIMES, signer(ROOT))
        return opened({**FILES, CHARTER: charter}, before)

    more = with_live(new, LIVE)
    assert more.faults == ()
    assert about(more, OTHER, b"card-8").status is CardStatus.VALID
    assert about(more, ISS, b"banned", 0).status is CardStatus.DENIED
    other = with_live(new)
    assert about(other, OTHER, b"card-8").status is CardStatus.UNKNOWN
    assert about(other, ISS, b"x", 0).status is CardStatus.UNKNOWN
    assert [f"{path}: bad-signature" in " ".join(other.faults) for path in (HASHES_PATH, DENIED_PATH)] == [True, True]


def test_a_status_list_goes_with_a_key_that_is_not_on_the_trust_list_any_more() -> None:
    before = opened()
    document = {"version": 2, "issued_at": int(TIMES[0].timestamp()), "expires": int(TIMES[1].timestamp())}
    entry = {"iss": ISS, "keys": [{"public": spki(KEYS[OTHER].public_key())}]}
    now = opened({**FILES, MAIN: write_list({**document, "issuers": [entry]}, signer(ROOT))}, before)
    assert about(before, ISS, b"x", 0).status is CardStatus.VALID
    assert about(now, ISS, b"x", 0).status is CardStatus.UNKNOWN


def test_an_older_hash_list_or_charter_is_not_taken() -> None:
    now = opened()
    path = f"hashes/{mark(OTHER)}.cose"
    kept = opened({**FILES, path: write_hashes(2, OTHER, [], TIMES, signer(LIVE))}, now)
    assert about(kept, OTHER, b"card-7").status is CardStatus.REVOKED
    with pytest.raises(Refusal, match="older"):
        opened({**FILES, CHARTER: a_charter()}, None, {CHARTER: 2})
    with pytest.raises(Refusal, match="missing"):
        opened({MAIN: FILES[MAIN]}, now)


def test_a_hash_list_out_of_order_or_signed_by_a_stranger_is_not_taken() -> None:
    path = f"hashes/{mark(OTHER)}.cose"
    members = {"version": 9, "iss": OTHER, "hashes": b"b" * 8 + b"a" * 8}
    for bad in (seal(Purpose.HASHES, members, TIMES, signer(LIVE)), write_hashes(9, OTHER, [], TIMES, signer(STATE))):
        whole = opened({**FILES, path: bad}, opened())
        assert about(whole, OTHER, b"card-7").status is CardStatus.REVOKED
        assert whole.faults


OLD: dict[str, bytes] = {
    STATUS_PATH: statuses(b"\0", issued=NOW - 9 * DAY),
    HASHES_PATH: write_hashes(2, OTHER, [], TIMES, signer(LIVE)),
    DENIED_PATH: write_denied(0, "lobby", [], TIMES, signer(LIVE)),
}
NEW_NAMES = {
    "the same names": {path: path for path in OLD},
    "other names": {STATUS_PATH: f"status/{mark(ISS)}/zzz.cwt", HASHES_PATH: "hashes/zzz.cose"},
    "names before": {STATUS_PATH: f"status/{mark(ISS)}/0.cwt", HASHES_PATH: "hashes/0.cose"},
    "no names": {},
}


def confirmed(files: Mapping[str, bytes], issued: datetime = NOW - DAY) -> dict[str, bytes]:
    return {**files, CONFIRMATION: write_confirmation(files, (issued, NOW + 20 * DAY), signer(LIVE))}


def without(files: Mapping[str, bytes], *gone: str) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if path not in gone}


@pytest.mark.parametrize("beside", [True, False], ids=["beside the newest", "in place of the newest"])
@pytest.mark.parametrize("names", NEW_NAMES.values(), ids=NEW_NAMES)
def test_an_old_list_is_not_believed_under_whatever_name(names: dict[str, str], beside: bool) -> None:
    """Who brings the files was broken into: all of them are signed, and none is the newest."""
    whole = opened(confirmed(FILES))
    brought = {**(FILES if beside else without(FILES, *OLD)), **{new: OLD[old] for old, new in names.items()}}
    for found in (opened(brought, whole), opened(brought, opened(brought, whole))):
        assert about(found, ISS, b"x", 1).status is CardStatus.REVOKED
        assert about(found, OTHER, b"card-7").status is CardStatus.REVOKED
        assert about(found, ISS, b"banned", 0).status is CardStatus.DENIED
        assert about(found, ISS, b"x", 0).status is CardStatus.VALID
        assert found.faults or (beside and not names)


@pytest.mark.parametrize("names", NEW_NAMES.values(), ids=NEW_NAMES)
def test_what_was_in_force_before_a_restart_is_missed_and_not_taken_for_nothing(names: dict[str, str]) -> None:
    floors = opened(confirmed(FILES)).floors
    found = opened({**without(FILES, *OLD), **{new: OLD[old] for old, new in names.items()}}, None, floors)
    for card in ((ISS, b"x", 1), (OTHER, b"card-7"), (ISS, b"banned", 0), (OTHER, b"card-8"), (ISS, b"x", 0)):
        assert about(found, *card).status is CardStatus.UNKNOWN
    assert any("missing" in fault or "older" in fault for fault in found.faults)


def test_noise_where_a_list_was_in_force_is_missed_too() -> None:
    floors = opened().floors
    found = opened({**FILES, HASHES_PATH: b"noise", DENIED_PATH: b"noise"}, None, floors)
    assert about(found, OTHER, b"card-8").status is CardStatus.UNKNOWN
    assert about(found, ISS, b"x", 0).status is CardStatus.UNKNOWN
    assert about(found, ISS, b"x", 1).status is CardStatus.REVOKED


@pytest.mark.parametrize("restarted", [False, True])
def test_a_list_goes_when_a_confirmation_says_so(restarted: bool) -> None:
    whole = opened(confirmed(FILES))
    fewer = without(FILES, *OLD)
    found = opened(confirmed(fewer, NOW), None if restarted else whole, whole.floors)
    assert about(found, ISS, b"x", 1).status is CardStatus.UNKNOWN  # the card names a list
    assert about(found, OTHER, b"card-7").status is CardStatus.UNLISTED
    assert about(found, ISS, b"banned").status is CardStatus.UNLISTED
    assert found.faults == ()
    again = opened(confirmed(FILES, NOW + timedelta(hours=1)), found)
    assert about(again, OTHER, b"card-7").status is CardStatus.REVOKED


def test_an_older_confirmation_takes_nothing_away() -> None:
    fewer = without(FILES, *OLD)
    before = confirmed(fewer, NOW - 2 * DAY)
    whole = opened(confirmed(FILES), opened(before))
    found = opened(before, whole)
    assert about(found, OTHER, b"card-7").status is CardStatus.REVOKED
    assert about(found, ISS, b"banned", 0).status is CardStatus.DENIED
    assert about(found, ISS, b"x", 1).status is CardStatus.REVOKED


def test_an_issuers_other_name_is_no_way_around_its_newest_list() -> None:
    entry = {"iss": ISS, "aliases": ["www.id.example"], "keys": [{"public": spki(KEYS[ISS].public_key())}]}
    times = {"issued_at": int((NOW - DAY).timestamp()), "expires": int((NOW + DAY).timestamp())}
    named = {**FILES, MAIN: write_list({"version": 2, **times, "issuers": [entry]}, signer(ROOT))}
    whole = opened(named)
    other = f"status/{mark('www.id.example')}/one.cwt"
    assert about(opened({**named, other: OLD[STATUS_PATH]}, whole), ISS, b"x", 1).status is CardStatus.REVOKED
    moved = {**without(named, STATUS_PATH), other: OLD[STATUS_PATH]}
    assert about(opened(moved, None, whole.floors), ISS, b"x", 1).status is CardStatus.UNKNOWN
    newer = {**named, other: statuses(b"\0", issued=NOW)}
    assert about(opened(newer, whole), ISS, b"x", 1).status is CardStatus.VALID


def test_another_sites_list_in_the_place_of_ours_changes_nothing() -> None:
    foreign = write_denied(5, "airport", [], TIMES, signer(LIVE))
    found = opened({**FILES, DENIED_PATH: foreign}, opened())
    assert about(found, ISS, b"banned", 0).status is CardStatus.DENIED
    assert any("another site" in fault for fault in found.faults)
    assert opened(FILES, found).faults == ()


def test_the_site_list_of_another_site_is_not_ours() -> None:
    foreign = write_denied(5, "airport", [keyed(SITE_KEY, ISS, b"x")], TIMES, signer(LIVE))
    whole = opened({**FILES, "denied/lobby.cose": foreign, "denied/airport.cose": foreign})
    assert about(whole, ISS, b"x").status is CardStatus.UNLISTED


def test_whoever_finds_the_site_list_learns_no_name() -> None:
    assert keyed(SITE_KEY, ISS, b"1234567890") != keyed(b"another key", ISS, b"1234567890")
    assert b"banned" not in FILES["denied/lobby.cose"]


def test_a_document_is_good_for_one_purpose_only() -> None:
    from edge.trust.keys import pinned

    keys = [pinned(LIVE.public_key())]
    sealed = seal(Purpose.COMMAND, {"version": 1, "iss": OTHER, "hashes": b""}, TIMES, signer(LIVE))
    with pytest.raises(Refusal, match="not as a withdrawn-hashes"):
        unseal(Purpose.HASHES, sealed, keys, ("version", "iss", "hashes"))


def test_an_authority_speaks_for_its_own_issuers_only() -> None:
    files = {MAIN: a_list(ISS), CHARTER: a_charter(land=(STATE, [LAND])), "issuers/land.cose": a_list(LAND, by=STATE)}
    assert {issuer.name for issuer in opened(files).trust.issuers} == {ISS, LAND}
    greedy = opened({**files, "issuers/land.cose": a_list(LAND, OTHER, by=STATE)})
    assert {issuer.name for issuer in greedy.trust.issuers} == {ISS, LAND}
    assert any("issuers of others" in fault for fault in greedy.faults)
    foreign = opened({**files, "issuers/land.cose": a_list(LAND, by=LIVE)})
    assert {issuer.name for issuer in foreign.trust.issuers} == {ISS}
    replaced = opened({**files, CHARTER: a_charter(2, land=(LIVE, [LAND]))}, opened(files))
    assert {issuer.name for issuer in replaced.trust.issuers} == {ISS}  # what the old key signed does not stay


def test_a_confirmation_makes_the_list_fresh_and_only_of_these_files() -> None:
    old = {MAIN: a_list(ISS, times=(NOW - 90 * DAY, NOW + DAY)), CHARTER: a_charter()}
    fresh = {**old, CONFIRMATION: write_confirmation(old, TIMES, signer(LIVE))}
    assert opened(old).trust.issued_at == NOW - 90 * DAY
    assert opened(fresh).trust.issued_at == NOW - DAY
    kept_back = {**fresh, f"hashes/{mark(ISS)}.cose": write_hashes(1, ISS, [], TIMES, signer(LIVE))}
    assert opened(kept_back).trust.issued_at == NOW - 90 * DAY
    rogue = {**old, CONFIRMATION: write_confirmation(old, TIMES, signer(STATE))}
    assert opened(rogue).trust.issued_at == NOW - 90 * DAY


def test_no_confirmation_makes_anything_fresher_than_its_end() -> None:
    def confirmed(main_ends: datetime, charter_ends: datetime) -> Whole:
        began = NOW - 90 * DAY
        charter = write_charter(1, [spki(LIVE.public_key())], [], [], (began, charter_ends), signer(ROOT))
        files = {MAIN: a_list(ISS, times=(began, main_ends)), CHARTER: charter}
        return opened({**files, CONFIRMATION: write_confirmation(files, TIMES, signer(LIVE))})

    later = NOW + 9 * DAY
    good, old_list, old_charter = (
        confirmed(*ends) for ends in ((later, later), (NOW - 30 * DAY, later), (later, NOW - 40 * DAY))
    )
    assert good.trust.age_s(HERE) == DAY.total_seconds()
    assert good.faults == ()
    assert old_list.trust.age_s(HERE) == 30 * DAY.total_seconds()
    assert old_list.trust.ended(HERE)
    assert old_list.faults == ("issuers/main.cose: ended 2026-10-23",)
    assert old_charter.trust.age_s(HERE) == 40 * DAY.total_seconds()
    assert old_charter.faults == ("charter.cose: ended 2026-10-13",)


@pytest.mark.parametrize("ended", ["list", "charter"])
def test_an_issuer_ages_from_the_end_of_its_authoritys_list(ended: str) -> None:
    began, over, good = NOW - 900 * DAY, NOW - 600 * DAY, NOW + 9 * DAY
    named = [{"name": "land", "public": spki(STATE.public_key()), "issuers": [LAND]}]
    times = (began, over if ended == "charter" else good)
    charter = write_charter(1, [spki(LIVE.public_key())], named, [], times, signer(ROOT))
    own = a_list(LAND, by=STATE, times=(began, over if ended == "list" else good))
    whole = opened({MAIN: a_list(ISS), CHARTER: charter, "issuers/land.cose": own})
    assert whole.trust.age_s(HERE) == whole.trust.age_s(HERE, ISS) == DAY.total_seconds()
    assert whole.trust.age_s(HERE, LAND) == 600 * DAY.total_seconds()
    assert (whole.trust.ended(HERE, ISS), whole.trust.ended(HERE, LAND)) == (False, True)
    assert whole.faults == ({"list": "issuers/land.cose", "charter": "charter.cose"}[ended] + ": ended 2025-04-01",)


def test_only_roots_and_live_keys_say_what_time_it_is() -> None:
    far, known = NOW + 4000 * DAY, NOW - DAY
    ends = (far, far + DAY)
    charter = a_charter(land=(STATE, [LAND]))
    files = {MAIN: a_list(ISS), CHARTER: charter}
    assert opened({**files, STATUS_PATH: statuses(b"\x24", issued=far)}).signed_at == known
    assert opened({**files, "issuers/land.cose": a_list(LAND, by=STATE, times=ends)}).signed_at == known
    assert opened({**files, hashes_path(ISS): write_hashes(1, ISS, [], ends, signer(LIVE))}).signed_at == far


def test_the_time_that_was_signed_is_capped_by_the_end_of_the_document() -> None:
    far = (NOW + 4000 * DAY, NOW + 4001 * DAY)
    assert opened({MAIN: a_list(ISS, times=far)}).signed_at == NOW + 4000 * DAY
    assert opened().signed_at == NOW - DAY


@pytest.mark.parametrize("path", [MAIN, CHARTER])
def test_noise_in_place_of_what_counts_refuses_the_whole(path: str) -> None:
    for noise in (b"", b"\xd2\x84", FILES[path][:-1], FILES[path] + b"\0", bytes(100)):
        with pytest.raises(Refusal) as caught:
            opened({**FILES, path: noise})
        assert caught.value.reason is Reason.NO_TRUST


@given(st.sets(st.binary(min_size=8, max_size=8), max_size=60), st.binary(min_size=8, max_size=8))
def test_the_search_finds_exactly_what_is_there(hashes: set[bytes], other: bytes) -> None:
    packed = b"".join(sorted(hashes))
    from edge.trust.withdrawn import Hashes

    here = Hashes(packed, 8, 1, NOW, NOW + DAY)
    assert ordered(packed, 8)
    assert all(one in here for one in hashes)
    assert (other in here) == (other in hashes)


def facts(found: Found) -> Facts:
    good = Facts(trust_age_s=60, unsealed=0, unsealed_s=0, validity="valid", reference=True)
    good = replace(good, bona_fide=9000, score=9500, threshold=9300)
    return replace(good, card_status=found.status.value, status_age_s=found.age_s)


def policy(unknown: str) -> Policy:
    given: dict[str, Any] = {"status_unknown": unknown, "status_refuse_h": 24.0}
    return Policy("t", 0.001, "required", 0.5, 1, 5, 3, 60, 20, (40, 225), "accept", 60, 168, 720, 24, 1000, **given)


HOUR = 3600


@pytest.mark.parametrize(
    ("found", "unknown", "reason"),
    [
        (UNLISTED, "refuse", None),
        (Found(CardStatus.VALID, 23 * HOUR), "refuse", None),
        (Found(CardStatus.VALID, 25 * HOUR), "refuse", Reason.STATUS_UNKNOWN),
        (Found(CardStatus.VALID, 25 * HOUR), "refer", Reason.REFERRED),
        (Found(CardStatus.VALID, 25 * HOUR), "accept", None),
        (Found(CardStatus.UNKNOWN), "refuse", Reason.STATUS_UNKNOWN),
        (Found(CardStatus.UNKNOWN), "accept", None),
        (Found(CardStatus.REVOKED, 999 * HOUR), "accept", Reason.REVOKED),
        (Found(CardStatus.SUSPENDED, 1), "accept", Reason.SUSPENDED),
        (Found(CardStatus.DENIED, 1), "accept", Reason.DENIED_HERE),
    ],
)
def test_the_profile_decides_about_what_is_unknown(found: Found, unknown: str, reason: Reason | None) -> None:
    assert admit(policy(unknown), facts(found)) is reason


def test_a_gate_that_is_locked_down_admits_nobody() -> None:
    assert admit(policy("accept"), replace(facts(UNLISTED), locked_down=True)) is Reason.LOCKED_DOWN


def test_a_status_list_with_a_false_time_counts_and_is_no_floor_under_the_right_one() -> None:
    false = NOW + timedelta(days=100)
    files = {MAIN: FILES[MAIN], CHARTER: FILES[CHARTER], STATUS_PATH: statuses(b"\x24", issued=false)}
    roots = [spki(ROOT.public_key())]
    whole = open_whole(files, roots, {}, site="lobby", false_times={int(false.timestamp())})
    assert len(whole.withdrawn.statuses) == 1
    right = {**files, STATUS_PATH: statuses(b"\x24", issued=NOW)}
    assert open_whole(right, roots, whole.floors, site="lobby").faults == ()
    kept = open_whole(files, roots, {}, site="lobby").floors
    assert "older than the one in force" in str(open_whole(right, roots, kept, site="lobby").faults)
