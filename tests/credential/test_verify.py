"""A card is verified, or refused for exactly one reason."""

from __future__ import annotations

import dataclasses
import itertools
import json
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.biometric.values import Picture, Template
from edge.credential import Credential, base45, verify
from edge.credential.issue import (
    DIALECTS,
    HEX_TEXT,
    SPEC_EXAMPLE,
    SPEC_TABLE,
    Dialect,
    issue,
    pack,
    payload,
    signer,
    tagged,
)
from edge.errors import Reason, Refusal
from edge.trust import cose
from edge.trust.cbor import Tagged, decode, encode
from edge.trust.interval import ClockState, Interval, Validity
from edge.trust.keys import Key, pinned
from edge.trust.list import Issuer, TrustList
from edge.trust.profile import Profile

Mint = Any
Minting = Callable[..., Any]
WEBP = b"RIFF\x2a\x00\x00\x00WEBPVP8 " + bytes(30)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize("curve", ["Ed25519", "P-256"])
def test_a_card_in_every_dialect_is_verified(minting: Minting, p256: Any, dialect: Dialect, curve: str) -> None:
    mint = minting() if curve == "Ed25519" else minting(private=p256)
    credential = mint.verify(mint.card(dialect))
    assert credential.issuer == "https://id.example"
    assert credential.alg == {"Ed25519": "EdDSA", "P-256": "ES256"}[curve]
    assert credential.identity.full_name == "Ada Example"
    assert isinstance(credential.reference, Picture)
    assert credential.validity is Validity.VALID
    assert credential.subject == b"https://id.example\x003918592438"


def test_the_dialect_is_reported(mint: Mint) -> None:
    assert mint.verify(mint.card(SPEC_TABLE)).dialect == "18, map-169, bytes face"
    assert mint.verify(mint.card(SPEC_EXAMPLE)).dialect == "61/18, bstr-169, bytes face"
    assert mint.verify(mint.card(HEX_TEXT)).dialect == "61/18, hex text, bstr-169, bytes face"
    bare = Dialect("bare", (), compression="none")
    assert mint.verify(mint.card(bare)).dialect.startswith("untagged, not compressed")


def test_a_kid_outside_the_protected_header_is_flagged(mint: Mint) -> None:
    assert mint.verify(mint.card(SPEC_EXAMPLE)).flags == {"kid-unprotected"}


def test_only_verify_makes_a_credential(mint: Mint) -> None:
    real = mint.verify(mint.card())
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(real, issuer="https://other.example")
    members = {f.name: getattr(real, f.name) for f in dataclasses.fields(real)}
    with pytest.raises(TypeError, match="only verify"):
        Credential(**members, seal=object())


def test_no_personal_data_in_the_representation(mint: Mint) -> None:
    shown = repr(mint.verify(mint.card()))
    assert "Ada" not in shown
    assert "3918592438" not in shown
    assert "19840418" not in shown


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("https://example.org/x", "web address"),
        ("HTTPS://EXAMPLE.ORG/X", "web address"),
        ("HC1:6BFOXN*TS0BI$ZD4N9:9S6RCVN5+O30K3", "COVID"),
        (
            "NZCP:/1/2KCEVIQEIVVWK6JNGEASNICZAEP2KALYDZSGSZB2O5SWEOTOPJRXALTDN53GSZBRHEXGQZLBNR2GQLTOPICRUYMBTI",
            "New Zealand",
        ),
        ("eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln~WyJz~", "SD-JWT"),
        ("mdoc:owBjMS4wAYIB", "mdoc"),
        ('{"name": "x"}', "JSON"),
        ("HELLO WORLD", ""),
        ("", ""),
        ("😀", ""),
    ],
    ids=["url", "URL", "dcc", "nzcp", "sd-jwt", "mdl", "json", "words", "empty", "emoji"],
)
def test_what_is_not_a_credential_is_named(mint: Mint, text: str, named: str) -> None:
    with pytest.raises(Refusal) as caught:
        mint.verify(text)
    assert caught.value.reason is Reason.NOT_A_CREDENTIAL
    assert named in caught.value.detail


def test_json_that_pixelpass_packed_is_named(mint: Mint) -> None:
    with pytest.raises(Refusal, match="packed by PixelPass"):
        mint.verify(base45.encode(zlib.compress(json.dumps({"credential": {}}).encode())))


def test_claims_that_nobody_signed_are_no_credential(mint: Mint) -> None:
    assert mint.refused(pack(payload(mint.claims))) is Reason.NOT_A_CREDENTIAL


def test_a_signed_token_without_claim_169_is_no_credential(mint: Mint) -> None:
    content = encode({1: "https://id.example", 4: 2_000_000_000})
    text = pack(tagged(cose.make_sign1(content, signer(mint.private, "key-1")), (18,)))
    assert mint.refused(text) is Reason.NOT_A_CREDENTIAL


def test_an_unknown_issuer_is_refused(mint: Mint) -> None:
    assert mint.refused(mint.card(iss="https://elsewhere.example")) is Reason.UNKNOWN_ISSUER


def test_an_unknown_key_is_refused(minting: Minting, mint: Mint) -> None:
    stranger = minting(private=ed25519.Ed25519PrivateKey.generate(), kid="key-2")
    assert mint.refused(stranger.card()) is Reason.UNKNOWN_KEY


def test_an_expired_card_of_a_forgotten_key_is_expired(minting: Minting, mint: Mint) -> None:
    stranger = minting(private=ed25519.Ed25519PrivateKey.generate(), kid="key-2")
    assert mint.refused(stranger.card(), at=mint.now + timedelta(days=400)) is Reason.EXPIRED


def test_a_key_that_only_has_the_right_name_is_refused(minting: Minting, mint: Mint) -> None:
    imposter = minting(private=ed25519.Ed25519PrivateKey.generate())
    assert mint.refused(imposter.card()) is Reason.BAD_SIGNATURE


def test_issuer_a_cannot_sign_for_issuer_b(minting: Minting) -> None:
    """The binding of key to issuer: B's key is on the list, under the same name, and still signs for B only."""
    theirs = ed25519.Ed25519PrivateKey.generate()
    neighbour = Issuer(("https://b.example",), (pinned(theirs.public_key(), kids=("key-1", "key-b")),))
    mint = minting(others=(neighbour,))
    for kid, reason in (("key-1", Reason.BAD_SIGNATURE), ("key-b", Reason.UNKNOWN_KEY)):
        assert mint.refused(issue(mint.claims, signer(theirs, kid))) is reason


def test_the_algorithm_is_the_one_pinned_on_the_key(mint: Mint) -> None:
    """A signature that verifies under the key, by an algorithm number that is not the key's."""
    for number in (-7, -35, -37):
        lying = dataclasses.replace(signer(mint.private, "key-1"), number=number)
        assert mint.refused(issue(mint.claims, lying)) is Reason.BAD_SIGNATURE


def test_an_unknown_algorithm_is_unsupported(mint: Mint) -> None:
    for number in (-259, -65535, 5, 1):
        lying = dataclasses.replace(signer(mint.private, "key-1"), number=number)
        assert mint.refused(issue(mint.claims, lying)) is Reason.UNSUPPORTED


def test_the_fully_specified_number_means_the_same(mint: Mint) -> None:
    text = issue(mint.claims, dataclasses.replace(signer(mint.private, "key-1"), number=-19))
    assert mint.verify(text).alg == "EdDSA"


def test_an_algorithm_outside_the_protected_header_is_refused(mint: Mint) -> None:
    content = payload(mint.claims)
    signature = mint.private.sign(cose.sig_structure(b"", content))
    text = pack(tagged([b"", {1: -8, 4: b"key-1"}, content, signature], (18,)))
    assert mint.refused(text) is Reason.UNREADABLE


@pytest.mark.parametrize(
    ("protected", "unprotected", "reason"),
    [
        ({2: [99], 99: 1}, {}, Reason.UNSUPPORTED),
        ({2: ["x"], "x": 1}, {}, Reason.UNSUPPORTED),
        ({2: [4]}, {4: b"key-1"}, Reason.UNREADABLE),
        ({2: []}, {}, Reason.UNREADABLE),
        ({2: [1, 1]}, {}, Reason.UNREADABLE),
        ({2: 1}, {}, Reason.UNREADABLE),
        ({}, {2: [1]}, Reason.UNREADABLE),
    ],
    ids=["number", "text", "absent", "empty", "twice", "no list", "unprotected"],
)
def test_critical_headers_are_obeyed(mint: Mint, protected: Any, unprotected: Any, reason: Reason) -> None:
    body = cose.make_sign1(payload(mint.claims), signer(mint.private), protected, unprotected)
    assert mint.refused(pack(tagged(body, (18,)))) is reason


def test_a_critical_header_that_is_understood_is_read(mint: Mint) -> None:
    body = cose.make_sign1(payload(mint.claims), signer(mint.private), {2: [1, 4], 4: b"key-1"})
    assert mint.verify(pack(tagged(body, (18,)))).issuer


@pytest.mark.parametrize("tags", [(17,), (97,), (61, 17), (96,)])
def test_other_kinds_of_message_are_unsupported(mint: Mint, tags: tuple[int, ...]) -> None:
    assert mint.refused(mint.card(Dialect("other", tags))) is Reason.UNSUPPORTED


@pytest.mark.parametrize("tags", [(18, 61), (61, 61), (18, 18), (61, 18, 18), (55799, 18), (24,)])
def test_tags_in_another_order_are_refused(mint: Mint, tags: tuple[int, ...]) -> None:
    assert mint.refused(mint.card(Dialect("other", tags))) in (Reason.UNREADABLE, Reason.NOT_A_CREDENTIAL)


def test_bytes_after_the_end_are_refused_at_all_four_levels(mint: Mint, minting: Minting) -> None:
    by = signer(mint.private, "key-1")
    content = payload(mint.claims, SPEC_EXAMPLE)
    good = tagged(cose.make_sign1(content, by, {4: b"key-1"}), (18,))
    assert mint.verify(pack(good))
    inner = {**decode(content)}
    inner[169] += b"\x00"
    protected = encode({1: -8, 4: b"key-1"}) + b"\x00"
    signature = mint.private.sign(cose.sig_structure(protected, content))
    cards = {
        "zlib": base45.encode(zlib.compress(good) + b"\x00"),
        "message": pack(good + b"\x00"),
        "protected": pack(tagged([protected, {}, content, signature], (18,))),
        "payload": pack(tagged(cose.make_sign1(content + b"\x00", by, {4: b"key-1"}), (18,))),
        "claim 169": pack(tagged(cose.make_sign1(encode(inner), by, {4: b"key-1"}), (18,))),
    }
    assert {mint.refused(text) for text in cards.values()} == {Reason.UNREADABLE}
    lenient = minting(profile=Profile(trailing=True))
    assert "trailing" in lenient.verify(cards["zlib"]).flags


def test_every_flipped_bit_of_a_card_is_noticed(mint: Mint) -> None:
    """Each byte of each region changed: nothing verifies."""
    body = cose.make_sign1(payload(mint.claims), signer(mint.private), {4: b"key-1"})
    good = tagged(body, (18,))
    mint.verify(pack(good))
    for at, bit in itertools.product(range(len(good)), (0, 7)):
        changed = bytearray(good)
        changed[at] ^= 1 << bit
        assert mint.refused(pack(bytes(changed))), at


def test_a_changed_character_of_the_code_is_noticed(mint: Mint) -> None:
    """Or it is one of the few bits of padding that a compressed stream has, and the card is the same."""
    text = mint.card()
    good = mint.verify(text).digest
    unnoticed = 0
    for at in range(len(text)):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        try:
            assert mint.verify(changed).digest == good
        except Refusal:
            continue
        unnoticed += 1
    assert unnoticed <= 1


def test_time_is_an_interval(mint: Mint) -> None:
    card, exp = mint.card(), mint.now + timedelta(days=365)
    skew = timedelta(seconds=120)
    assert mint.verify(card, at=exp + skew - timedelta(seconds=1))
    assert mint.refused(card, at=exp + skew) is Reason.EXPIRED
    early = mint.now - timedelta(days=1) - skew
    assert mint.verify(card, at=early)
    assert mint.refused(card, at=early - timedelta(seconds=1)) is Reason.NOT_YET_VALID
    floor = Interval(mint.now, None, ClockState.FLOOR)
    unsure = verify(card, mint.trust, floor)
    assert unsure.validity is Validity.UNSURE
    assert "time-unsure" in unsure.flags
    with pytest.raises(Refusal, match="expired"):
        verify(card, mint.trust, Interval(exp + skew, None, ClockState.FLOOR))
    early_floor = Interval(mint.now - timedelta(days=900), None, ClockState.FLOOR)
    assert verify(card, mint.trust, early_floor).validity is Validity.UNSURE


def test_a_card_from_the_future_is_not_yet_valid(mint: Mint) -> None:
    assert mint.refused(mint.card(nbf=None, iat=mint.now + timedelta(hours=1))) is Reason.NOT_YET_VALID


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": "2027-01-01"},
        {"exp": 1_780_000_000_000},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": -1},
        {"exp": 2**63 - 1},
        {"exp": True},
        {"exp": Tagged(0, "2027-01-01T00:00:00Z")},
        {"exp": None},
        {"nbf": b"1"},
        {"iat": "1"},
        {"iss": 5},
        {"id": {}},
        {"cti": 7},
        {"aud": 7},
    ],
    ids=lambda claims: f"{claims}".split(" object")[0],
)
def test_a_claim_that_decides_is_exact_or_refused(mint: Mint, claims: dict[str, Any]) -> None:
    assert mint.refused(mint.card(**claims)) is Reason.BAD_CLAIM


def test_times_may_be_fractions_or_tagged(mint: Mint) -> None:
    end = (mint.now + timedelta(days=1)).timestamp()
    assert mint.verify(mint.card(exp=end + 0.9)).expires == mint.now + timedelta(days=1)
    assert mint.verify(mint.card(exp=Tagged(1, int(end)))).expires == mint.now + timedelta(days=1)


def test_a_card_without_end_needs_the_issuers_profile(minting: Minting, mint: Mint) -> None:
    text = mint.card(exp=None)
    assert mint.refused(text) is Reason.BAD_CLAIM
    aged = minting(profile=Profile(no_expiry=True, max_age_days=30))
    assert aged.verify(text).expires == mint.now + timedelta(days=29)
    assert aged.refused(text, at=mint.now + timedelta(days=30)) is Reason.EXPIRED
    assert aged.refused(mint.card(exp=None, iat=None)) is Reason.BAD_CLAIM
    assert minting(profile=Profile(no_expiry=True)).verify(text).expires is None


def test_a_card_for_somebody_else_is_refused(mint: Mint) -> None:
    text = mint.card(aud=["urn:gate:1", "urn:gate:2"])
    assert mint.verify(text, audience="urn:gate:2")
    assert mint.refused(text, audience="urn:gate:3") is Reason.WRONG_AUDIENCE


def test_a_withdrawn_key_is_refused(mint: Mint) -> None:
    def with_key(**dates: Any) -> TrustList:
        key = pinned(mint.private.public_key(), kids=("key-1",), **dates)
        return TrustList((Issuer(("https://id.example",), (key,)),))

    now = Interval.exactly(mint.now)
    day = timedelta(days=1)
    for dates in (
        {"compromised_since": mint.now - 2 * day},
        {"not_after": mint.now - day},
        {"not_before": mint.now},
    ):
        with pytest.raises(Refusal) as caught:
            verify(mint.card(), with_key(**dates), now)
        assert caught.value.reason is Reason.KEY_WITHDRAWN
    assert verify(mint.card(), with_key(compromised_since=mint.now), now).alg == "EdDSA"
    with pytest.raises(Refusal, match="key-withdrawn"):
        verify(mint.card(iat=None), with_key(compromised_since=mint.now), now)


def test_a_card_without_kid_needs_an_issuer_with_one_key(mint: Mint) -> None:
    text = issue(mint.claims, signer(mint.private))
    assert mint.verify(text).kid == ""
    two: tuple[Key, ...] = (
        pinned(mint.private.public_key()),
        pinned(ed25519.Ed25519PrivateKey.generate().public_key()),
    )
    with pytest.raises(Refusal, match="unknown-key"):
        verify(text, TrustList((Issuer(("https://id.example",), two),)), Interval.exactly(mint.now))


def test_a_card_without_issuer_needs_a_key_pinned_without_one(mint: Mint) -> None:
    text = mint.card(iss=None)
    assert mint.refused(text) is Reason.UNKNOWN_ISSUER
    nameless = Issuer((), (pinned(mint.private.public_key(), kids=("key-1",)),))
    assert verify(text, TrustList((nameless,)), Interval.exactly(mint.now)).issuer == ""
    with pytest.raises(Refusal, match="unknown-issuer"):
        verify(mint.card(iss=""), TrustList((nameless,)), Interval.exactly(mint.now))


def test_a_key_is_found_by_any_form_of_its_name(mint: Mint) -> None:
    raw = bytes(range(200, 232))
    trust = TrustList((Issuer(("https://id.example",), (pinned(mint.private.public_key(), kids=(raw,)),)),))
    import base64

    for kid in (raw, base64.urlsafe_b64encode(raw).rstrip(b"="), raw.hex().encode(), raw.hex().upper().encode()):
        text = issue(mint.claims, signer(mint.private, kid))
        assert verify(text, trust, Interval.exactly(mint.now)).kid == kid.hex()


def test_a_kid_in_text_and_a_kid_in_both_headers_are_read(mint: Mint) -> None:
    body = cose.make_sign1(payload(mint.claims), signer(mint.private), {4: "key-1"}, {4: b"other"})
    assert "kid-differs" in mint.verify(pack(tagged(body, (18,)))).flags
    body = cose.make_sign1(payload(mint.claims), signer(mint.private), {4: b"other"}, {4: b"key-1"})
    assert mint.refused(pack(tagged(body, (18,)))) is Reason.UNKNOWN_KEY


def test_rs256_counts_only_where_the_issuer_is_allowed_it(minting: Minting) -> None:
    private = rsa.generate_private_key(65537, 2048)
    by = signer(private, "key-1", "RS256")
    for profile, reason in ((Profile(), Reason.UNSUPPORTED), (Profile(allow=frozenset({"RS256"})), None)):
        key = pinned(private.public_key(), "RS256", ("key-1",))
        trust = TrustList((Issuer(("https://id.example",), (key,), profile=profile),))
        text = issue(minting().claims, by)
        if reason is None:
            assert verify(text, trust, Interval.exactly(minting().now)).alg == "RS256"
        else:
            with pytest.raises(Refusal, match=reason.code):
                verify(text, trust, Interval.exactly(minting().now))


def test_an_ecdsa_signature_has_its_exact_length(minting: Minting, p256: Any) -> None:
    from cryptography.hazmat.primitives import hashes

    mint = minting(private=p256)
    der = dataclasses.replace(signer(p256, "key-1"), sign=lambda message: p256.sign(message, ec.ECDSA(hashes.SHA256())))
    text = issue(mint.claims, der)
    assert mint.refused(text) is Reason.BAD_SIGNATURE
    assert minting(private=p256, profile=Profile(der_signatures=True)).verify(text)
    body = cose.make_sign1(payload(mint.claims), signer(p256), {4: b"key-1"})
    for made in (bytes(64), b"\xff" * 64, bytes(32) + b"\x01" * 32, b"\x01" * 96, b""):
        assert mint.refused(pack(tagged([*body[:3], made], (18,)))) is Reason.BAD_SIGNATURE


def test_bombs_are_refused(mint: Mint) -> None:
    assert mint.refused("0" * 4297) is Reason.TOO_LARGE
    assert mint.refused(base45.encode(zlib.compress(bytes(5_000_000), 9))[:4296]) is Reason.TOO_LARGE
    assert mint.refused(pack(b"\xd2\x84" + b"\x81" * 60)) is Reason.TOO_LARGE
    assert mint.refused(pack(b"\xd2\x9b" + b"\xff" * 8)) is Reason.UNREADABLE
    assert mint.refused(pack(b"\x99\x10\x00" + bytes(4096))) is Reason.TOO_LARGE
    cut = base45.decode(mint.card())
    assert mint.refused(base45.encode(cut[: len(cut) // 2])) is Reason.UNREADABLE
    damaged = bytearray(cut)
    damaged[20] ^= 0xFF
    assert mint.refused(base45.encode(bytes(damaged))) is Reason.UNREADABLE


def test_a_line_end_of_a_scanner_is_passed_over_and_a_space_is_a_digit(mint: Mint) -> None:
    text = mint.card()
    assert mint.verify(f"\t{text}\r\n")
    assert mint.refused(f" {text}") in (Reason.NOT_A_CREDENTIAL, Reason.UNREADABLE)


def test_a_prefix_counts_only_where_it_is_configured(mint: Mint) -> None:
    text = "NID1:" + mint.card()
    assert mint.refused(text) is Reason.NOT_A_CREDENTIAL
    assert mint.verify(text, prefixes=("NID1:",)).dialect.startswith("18, prefix NID1:")


def test_a_template_is_handed_on_as_such(mint: Mint) -> None:
    face = {"data": b"\x01\x02", "format": 1, "subformat": 100, "issuer": "arcface 1.0"}
    assert mint.verify(mint.card(face=face)).reference == Template(b"\x01\x02", "arcface 1.0")
    both = mint.verify(mint.card(face=[face, mint.claims["face"]])).reference
    assert both == Template(b"\x01\x02", "arcface 1.0", Picture(mint.claims["face"]))
    assert mint.verify(mint.card(face=None)).reference is None


def test_every_template_and_picture_of_a_card_is_handed_on_in_its_order(mint: Mint) -> None:
    def of(model: str, data: bytes) -> dict[str, Any]:
        return {"data": data, "format": 1, "subformat": 100, "issuer": model}

    jpeg = b"\xff\xd8\xff" + bytes(40)
    face = [of("old 1", b"\x01"), WEBP, of("new 2", b"\x02"), jpeg]
    reference = mint.verify(mint.card(face=face)).reference
    assert reference == Template(b"\x01", "old 1", Picture(WEBP, (jpeg,)), (("new 2", b"\x02"),))
    assert mint.verify(mint.card(face=[b"no picture", jpeg])).reference == Picture(jpeg)


@pytest.mark.parametrize("called", [{"format": 1, "subformat": 1}, {"format": 1}, {"format": 2}, {"format": "BioHash"}])
def test_a_picture_that_the_card_calls_something_else_is_a_picture(mint: Mint, called: dict[str, Any]) -> None:
    credential = mint.verify(mint.card(face={"data": WEBP, **called}))
    assert credential.reference == Picture(WEBP)
    assert "picture is of another kind than it says" in credential.flags
    assert mint.verify(mint.card(face={"data": b"template", **called})).reference is None


def test_the_head_of_a_data_uri_is_short(mint: Mint) -> None:
    def shown(head: str) -> Any:
        return mint.verify(mint.card(face=f"data:{head};base64,/9j/AAAA")).reference

    assert shown("image/jpeg") == shown("image/jpeg;charset=utf-8") == Picture(b"\xff\xd8\xff\x00\x00\x00")
    assert shown("image/jpeg;name=" + "a" * 200) is None
    assert mint.verify(mint.card(face="data:" + "a" * 20_000)).reference is None
    assert mint.verify(mint.card(face="data:" + ";a" * 10_000)).reference is None


@pytest.mark.parametrize("window", [10, 16, 18, 22])
@pytest.mark.parametrize("quality", [0, 1, 2, 5, 11])
def test_a_card_is_read_however_brotli_packed_it(mint: Mint, quality: int, window: int) -> None:
    brotli = pytest.importorskip("brotli")
    raw = base45.decode(mint.card(dataclasses.replace(SPEC_TABLE, compression="none")))
    packed = brotli.compress(raw, quality=quality, lgwin=window)
    assert "Brotli" in mint.verify(base45.encode(packed)).dialect


def test_the_trace_tells_bytes_and_microseconds(mint: Mint) -> None:
    ticks = itertools.count()
    trace = mint.verify(mint.card(), stopwatch=lambda: next(ticks) / 1000).trace
    assert [stage.name for stage in trace] == ["base45", "inflate", "cose", "claims", "signature", "identity"]
    assert all(stage.took_us == 1000 for stage in trace)
    assert trace[0].bytes_in == len(mint.card())


GOOD = decode(
    payload({"iss": "https://id.example", "exp": 1_900_000_000, "id": "1", "full_name": "A", "face": b"\xff\xd8\xff"})
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=40)
    | st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(0, 70) | st.text(max_size=6), inner, max_size=4)
        | st.builds(Tagged, st.sampled_from([0, 1, 2, 24, 100, 1004]), inner)
    ),
    max_leaves=12,
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(key=st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 169, 65535]), value=VALUES, inner=st.integers(0, 70) | st.none())
def test_any_signed_claims_give_a_credential_or_a_refusal(mint: Mint, key: int, value: Any, inner: int | None) -> None:
    claims = {**GOOD, 169: {**GOOD[169]}}
    if inner is None:
        claims[key] = value
    else:
        claims[169][inner] = value
    body = cose.make_sign1(encode(claims), signer(mint.private, "key-1"), {4: b"key-1"})
    try:
        assert mint.verify(pack(tagged(body, (18,)))).issuer == "https://id.example"
    except Refusal as refusal:
        assert refusal.reason in Reason


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    at=st.integers(0, 260),
    length=st.integers(0, 30),
    stretch=st.binary(max_size=30),
    level=st.sampled_from(["text", "zlib", "cbor"]),
)
def test_any_replaced_stretch_gives_a_credential_or_a_refusal(
    mint: Mint, at: int, length: int, stretch: bytes, level: str
) -> None:
    text = mint.card()
    if level == "text":
        changed = text[:at] + stretch.decode("latin-1") + text[at + length :]
    else:
        data = base45.decode(text)
        if level == "zlib":
            changed = base45.encode(data[:at] + stretch + data[at + length :])
        else:
            data = zlib.decompress(data)
            changed = pack(data[:at] + stretch + data[at + length :])
    try:
        assert mint.verify(changed).identity.full_name == "Ada Example"
    except Refusal as refusal:
        assert refusal.reason in Reason
