"""Events on the wire, with hostile text inside."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from edge.audit.entry import Kind
from edge.web.standing import TEXT_LIMIT, Told
from edge.web.stream import entry, event, last_event_id


@given(st.text(), st.text())
def test_no_text_can_end_an_event_early_or_begin_another(device: str, detail: str) -> None:
    told = Told(7, None, Kind.DEVICE_LOST, {"device": device, "detail": detail})
    body = event("entry", entry(told), "1-7").decode("utf-8", "surrogatepass")
    lines = body.split("\n")
    assert lines[0] == "id: 1-7"
    assert lines[1] == "event: entry"
    assert lines[3:] == ["", ""]
    assert "\r" not in body
    assert json.loads(lines[2].removeprefix("data: "))["detail"] == detail[:TEXT_LIMIT]


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1))
def test_a_name_of_an_entry_is_read_back(epoch: int, index: int) -> None:
    assert last_event_id(f"{epoch}-{index}") == (epoch, index)


@given(st.text())
def test_any_other_name_is_none_or_a_pair(text: str) -> None:
    named = last_event_id(text)
    assert named is None or text.split("-") == [text.split("-")[0], text.split("-")[1]]
