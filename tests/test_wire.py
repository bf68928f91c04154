"""What the processes say to each other: exactly one message, exactly its fields, nothing after it."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import wire
from edge.biometric.values import (
    Comparison,
    Enrolled,
    Identification,
    LightCode,
    Picture,
    Probe,
    ProbeQuality,
    ReferenceKind,
    Template,
)
from edge.passage import Indication
from edge.ports import Code

MESSAGES: list[wire.Message] = [
    wire.AskCode(1.0),
    wire.AskModels(),
    wire.AskProbe(ProbeQuality(), 7, 3.0),
    wire.AskProbe(ProbeQuality(light=LightCode(1.5, 0.2, (True, False))), 7, 3.0, Picture(b"picture")),
    wire.AskComparison(Picture(b"picture"), 1),
    wire.AskComparison(Template(b"template", "model"), 1),
    wire.AskComparison(Template(b"template", "model", Picture(b"one", (b"two",)), (("other", b"third"),)), 1),
    wire.AskComparison(Enrolled("staff", "issuer 1"), 1),
    wire.AskEnrolled("staff", "issuer 1"),
    wire.AskSearch("staff", 1),
    wire.Forget(),
    wire.Done(),
    wire.Refused("no-match", ""),
    wire.Failed("camera", "gone"),
    wire.Health("token", ok=False, detail="pulled out"),
    wire.Shown(Indication.LOOK),
    Code("text", 1, 2.0, 3),
    Probe(1, 2, 3.0, 4.0, 5.0, 6.0, None, {"detect": 1}),
    Comparison(1, 0.5, "model", ReferenceKind.SMALL, {}),
    Identification(1, bytes(16), 0.5, 20, "model", {"search": 1}),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message: wire.Message) -> None:
    assert wire.decode(wire.encode(message)) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_bytes_after_a_message_end_the_conversation(message: wire.Message) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(wire.encode(message) + b"\x00")


@pytest.mark.parametrize(
    "said",
    [
        ["AskCode", {}],
        ["AskCode", {"deadline_s": "1"}],
        ["AskCode", {"deadline_s": True}],
        ["AskCode", {"deadline_s": 1.0, "more": 1}],
        ["Unknown", {}],
        ["AskComparison", {"reference": ["Probe", {}], "probe": 1}],
        ["Health", {"device": "token", "ok": 1, "detail": ""}],
        ["Shown", {"indication": "open-sesame"}],
        [],
        {},
        7,
    ],
)
def test_something_else_than_a_message_is_refused(said: object) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(cbor2.dumps(said))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(body: bytes) -> None:
    try:
        wire.decode(body)
    except wire.WireError:
        return


def test_a_message_too_long_is_not_sent() -> None:
    with pytest.raises(wire.WireError):
        wire.encode(wire.AskComparison(Picture(bytes(wire.LIMIT)), 1))
