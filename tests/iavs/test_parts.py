"""Multipart bodies: what is in them, and that none of them costs more than a look."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.iavs.asking import LIMIT
from edge.iavs.parts import HEAD, MOST, parts

Story = Any
FORM = "multipart/form-data; boundary=b"


def part(name: str, content: bytes = b"x", more: bytes = b"") -> bytes:
    return (
        b'--b\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + more + b"\r\n\r\n" + content + b"\r\n"
    )


def test_parts_are_found_by_their_names() -> None:
    raw = b"preamble\r\n" + part("bir", b'{"a": 1}', b"\r\nContent-Type: Application/JSON; charset=utf-8")
    raw += part("subjectID", b"anna\r\n--not-b") + b"--b--\r\nepilogue"
    assert [(each.name, each.kind, each.content) for each in parts(FORM, raw)] == [
        ("bir", "application/json", b'{"a": 1}'),
        ("subjectID", "text/plain", b"anna\r\n--not-b"),
    ]
    quoted = b'--x y\r\ncontent-disposition: form-data; filename="f"; name=bir\r\n\r\n\r\n--x y--'
    assert [each.name for each in parts('multipart/form-data; Boundary="x y"; charset=utf-8', quoted)] == ["bir"]
    assert parts(FORM, b"--b\r\n\r\nwithout a name\r\n--b--") == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        part("bir"),
        part("bir")[:-6],
        part("bir") * (MOST + 1) + b"--b--",
        part("bir", more=b"\r\nX: " + bytes(HEAD)) + b"--b--",
        b"--bc\r\n\r\nx\r\n--b--",
        part("bir", b"YQ==", b"\r\nContent-Transfer-Encoding: base64") + b"--b--",
    ],
    ids=["empty", "not closed", "cut short", "too many", "long head", "another boundary", "coded"],
)
def test_what_is_no_multipart_body_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="part"):
        parts(FORM, raw)


def test_a_part_within_a_part_is_text() -> None:
    inner = b"--c\r\nContent-Disposition: form-data; name=subjectID\r\n\r\nx\r\n--c--"
    raw = part("bir", inner, b"\r\nContent-Type: multipart/mixed; boundary=c") + b"--b--"
    assert [(each.name, each.content) for each in parts(FORM, raw)] == [("bir", inner)]


@pytest.mark.parametrize("raw", [b"--b\r\n\r\n", b"--b\r\n", b"--b--\r\n", b"\r\n--b\r\na:b", b"--b\r\n;;;; name=" * 9])
def test_a_large_body_of_any_make_costs_a_few_calls(raw: bytes) -> None:
    whole = (raw * (LIMIT // len(raw) + 1))[:LIMIT]
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        parts(FORM, whole)
    except ValueError:
        pass
    finally:
        sys.setprofile(None)
    assert calls < 40 * MOST


@given(raw=st.lists(st.sampled_from([b"--b", b"--", b"\r\n", b"\r\n\r\n", part("bir"), b"x", b"\x00"])).map(b"".join))
def test_bytes_are_parts_or_refused(raw: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert all(each.name == "bir" for each in parts(FORM, raw))


def test_a_body_of_very_many_parts_is_refused_by_the_door(story: Story) -> None:
    async def told(gate: Any) -> None:
        import json

        sample = json.dumps(gate.bir(gate.face(6))).encode()
        many = part("bir", sample, b"\r\nContent-Type: application/json") * (MOST + 1) + b"--b--"
        answer = await gate.client.post("/checkQuality", content=many, headers={"content-type": FORM})
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_INPUT")
        assert "parts" in answer.json()["detail"]

    story(told)
