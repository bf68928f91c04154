"""Base45 is what RFC 9285 says, and what an independent package does."""

from __future__ import annotations

import base45 as oracle  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.credential import base45
from edge.errors import Reason, Refusal


@given(st.binary(min_size=1, max_size=600))
def test_what_is_written_is_read_here_and_by_the_oracle(data: bytes) -> None:
    text = base45.encode(data)
    assert text == oracle.b45encode(data).decode()
    assert base45.decode(text) == data


@given(st.text(alphabet=base45.ALPHABET, min_size=1, max_size=30))
def test_what_the_oracle_refuses_is_refused(text: str) -> None:
    try:
        expected = oracle.b45decode(text)
    except ValueError:
        expected = None
    try:
        assert base45.decode(text) == expected
    except Refusal:
        assert expected is None


@pytest.mark.parametrize(
    ("data", "text"), [(b"AB", "BB8"), (b"Hello!!", "%69 VD92EX0"), (b"base-45", "UJCLQE7W581"), (b"ietf!", "QED8WEX0")]
)
def test_the_examples_of_the_standard(data: bytes, text: str) -> None:
    assert base45.encode(data) == text
    assert base45.decode(text) == data


@pytest.mark.parametrize("text", ["", "A", "GGW", ":::", "AB8A", "bb8", "BB8\n", "ä", "::", "BB8::"])
def test_what_is_not_base45_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        base45.decode(text)
    assert caught.value.reason is Reason.NOT_A_CREDENTIAL
