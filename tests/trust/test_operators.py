"""Passwords, and codes from a phone that count once: against RFC 6238, RFC 4226 and an independent implementation."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from hypothesis import given
from hypothesis import strategies as st

from edge.trust import operators
from edge.trust.interval import ClockState, Interval
from edge.trust.operators import Operator, Role, UnfitError

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
STEP = operators.step_of(NOW.timestamp())
SECRET = bytes(range(20))
ANNA = Operator("anna", Role.OPERATOR, bytes(16), bytes(32), SECRET)


def test_codes_are_those_of_the_rfc() -> None:
    secret = b"12345678901234567890"
    hotp = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
    assert [operators.code_of(secret, step) for step in range(10)] == hotp
    for seconds, code in ((59, "94287082"), (1111111109, "07081804"), (20000000000, "65353130")):
        assert operators.code_of(secret, operators.step_of(seconds)) == code[2:]


@given(st.binary(min_size=20, max_size=20), st.integers(0, 2**33))
def test_codes_are_those_of_another_implementation(secret: bytes, seconds: int) -> None:
    theirs = TOTP(secret, 6, SHA1(), 30).generate(seconds).decode()
    assert operators.code_of(secret, operators.step_of(seconds)) == theirs


def test_a_code_is_good_for_its_half_minute_and_its_neighbours() -> None:
    steps = operators.window(Interval.exactly(NOW))
    assert steps is not None
    good = [off for off in range(-4, 5) if operators.taken(ANNA, operators.code_of(SECRET, STEP + off), steps)]
    assert good == [-1, 0, 1]


def test_a_code_counts_once_and_so_does_every_older_one() -> None:
    steps = operators.window(Interval.exactly(NOW))
    assert steps is not None
    used = ANNA.after(STEP)
    assert operators.taken(used, operators.code_of(SECRET, STEP), steps) is None
    assert operators.taken(used, operators.code_of(SECRET, STEP - 1), steps) is None
    assert operators.taken(used, operators.code_of(SECRET, STEP + 1), steps) == STEP + 1
    assert used.after(STEP - 5).used == STEP


@pytest.mark.parametrize("code", ["", "12345", "1234567", "١٢٣٤٥٦", "12345a", "\n12345", "123456\n", " " * 6])
def test_what_is_no_code_is_none(code: str) -> None:
    assert operators.taken(ANNA, code, range(10)) is None
    assert operators.taken_pair(ANNA, code, code, range(10)) is None


def test_a_clock_with_a_floor_only_asks_for_two_codes() -> None:
    floor = Interval(NOW, None, ClockState.FLOOR)
    assert operators.window(floor) is None
    wide = Interval(NOW, NOW + timedelta(minutes=5), ClockState.HELD)
    assert operators.window(wide) is None
    later = STEP + 9 * 2880
    pair = (operators.code_of(SECRET, later - 1), operators.code_of(SECRET, later))
    assert operators.taken_pair(ANNA, *pair, operators.searched(floor, 0)) == later
    assert operators.taken_pair(ANNA, pair[1], pair[0], range(later - 5, later + 5)) is None
    assert operators.taken_pair(ANNA.after(later), *pair, range(later - 5, later + 5)) is None
    assert operators.taken_pair(ANNA, *pair, operators.searched(floor, later)) is None


def test_a_password_is_salted_and_proved() -> None:
    salt = bytes(range(16))
    anna = dataclasses.replace(ANNA, salt=salt, password=operators.hashed("correct horse é", salt))
    assert operators.proves(anna, "correct horse é")
    assert operators.proves(anna, "correct horse e\u0301")  # the same letter, written otherwise
    assert not operators.proves(anna, "correct horse e")
    assert not operators.proves(None, "correct horse é")
    assert operators.hashed("x", bytes(16)) != operators.hashed("x", salt)


def test_the_empty_password_of_nobody_opens_nothing() -> None:
    assert not operators.proves(operators.NOBODY, "")
    assert not operators.proves(None, "")


@pytest.mark.parametrize(
    "password", ["", "short", "aaaaaaaaaaaa", "abababababab", "x" * 129, "Anna is my name", "\ud800" * 12]
)
def test_a_simple_password_is_not_taken(password: str) -> None:
    with pytest.raises(UnfitError):
        operators.fit(password, "anna")


@pytest.mark.parametrize("name", ["", "a", "Anna", "an na", "anna\n", "../x", "a" * 33, "änna", "-a", "1a"])
def test_a_name_is_plain(name: str) -> None:
    with pytest.raises(UnfitError):
        operators.named(name)


def test_operators_are_read_as_they_were_written() -> None:
    both = (ANNA.after(77), dataclasses.replace(ANNA, name="bo", role=Role.ADMIN))
    assert operators.read(operators.written(both)) == both


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Anna"},
        {"role": "root"},
        {"salt": ""},
        {"salt": "zz" * 16},
        {"secret": "00"},
        {"used": -1},
        {"used": True},
        {"used": "1"},
        {"password": None},
    ],
    ids=str,
)
def test_a_damaged_table_is_no_table(change: dict[str, object]) -> None:
    table = json.loads(operators.written([ANNA]))
    table["operators"][0] |= change
    with pytest.raises(ValueError):
        operators.read(json.dumps(table))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 2}', '{"version": 1}', '{"version": 1, "operators": [1]}']
)
def test_something_else_is_no_table(text: str) -> None:
    with pytest.raises(ValueError):
        operators.read(text)


def test_roles_include_each_other_upwards() -> None:
    assert [[a.includes(b) for b in Role] for a in Role] == [[True, False, False], [True, True, False], [True] * 3]


def test_the_phone_is_told_what_the_gate_computes() -> None:
    address = urlsplit(operators.address("anna", "gate-1", SECRET))
    told = {name: values[0] for name, values in parse_qs(address.query).items()}
    assert (address.scheme, address.netloc, address.path) == ("otpauth", "totp", "/gate-1:anna")
    assert told["digits"] == "6"
    assert told["period"] == "30"
    import base64

    assert base64.b32decode(told["secret"]) == SECRET


def test_secrets_are_not_shown() -> None:
    assert SECRET.hex() not in repr(ANNA)
    assert repr(SECRET) not in repr(ANNA)


def test_a_name_that_nobody_has_has_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    open_to_all = dataclasses.replace(operators.NOBODY, password=operators.hashed("guessed it", bytes(16)))
    monkeypatch.setattr(operators, "NOBODY", open_to_all)
    assert not operators.proves(None, "guessed it")
