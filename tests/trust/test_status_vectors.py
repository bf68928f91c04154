"""The vectors of the IETF draft on token status lists; skipped where they are not at hand."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path

import pytest

from edge.errors import Refusal
from edge.trust.cbor import decode
from edge.trust.keys import from_jwk
from edge.trust.status import StatusList, inflated, open_status_list

SHARED = Path(os.environ.get("EDGE_SHARED", Path(__file__).parents[2] / ".." / "shared"))
FOLDER = SHARED / "vectors" / "ietf-oauth-status-list"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the draft's vectors are not at hand")
URI = "https://example.com/statuslists/1"
PLACES = (0, 1993, 25460, 159495, 495669, 554353, 645645, 723232, 854545, 934534, 1000345)
SCATTERED = (
    *(0, 1993, 35460, 459495, 595669, 754353, 845645, 923232, 924445, 934534, 1004534, 1000345),
    *(1030203, 1030204, 1030205),
)
SET = {
    "encoding1_long": dict.fromkeys(PLACES, 1),
    "encoding2_long": dict(zip(PLACES, (1, 2, 1, 3, 1, 1, 2, 1, 1, 2, 3), strict=True)),
    "encoding4": dict(zip(SCATTERED, range(1, 16), strict=True)),
}


def text(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def hexadecimal(name: str) -> bytes:
    return bytes.fromhex("".join(re.findall(r"^[0-9a-f]+$", text(name).replace("encoded:", ""), re.MULTILINE)))


def listed(name: str) -> StatusList:
    """A list of the draft that has no signature."""
    from datetime import UTC, datetime

    found = decode(hexadecimal(f"status_list_{name}_cbor"))
    return StatusList(URI, found["bits"], datetime.now(UTC), None, None, inflated(found["lst"]))


@pytest.mark.parametrize("name", ["encoding1_long", "encoding2_long", "encoding4", "encoding8"])
def test_json_and_cbor_are_the_same_list(name: str) -> None:
    said = re.search(r"\{.*\}", text(f"status_list_{name}_json"), re.DOTALL)
    assert said is not None
    members = json.loads(re.sub(r"\n\s*", "", said[0]))
    packed = base64.urlsafe_b64decode(members["lst"] + "=" * (-len(members["lst"]) % 4))
    here = listed(name)
    assert (members["bits"], inflated(packed)) == (here.bits, here.statuses)


@pytest.mark.parametrize("name", SET)
def test_each_status_is_where_the_draft_says(name: str) -> None:
    here = listed(name)
    found = {index: here.status(index) for index in range(1 << 20) if here.status(index)}
    assert found == SET[name]


def test_eight_bits_hold_every_value() -> None:
    here = listed("encoding8")
    assert {here.status(index) for index in range(1 << 20)} == set(range(256))


def test_the_signed_list_verifies_and_says_what_the_draft_says() -> None:
    keys = [from_jwk(json.loads((FOLDER / "public_jwk.json").read_text(encoding="utf-8")))]
    here = open_status_list(hexadecimal("status_list_cwt"), keys, URI)
    assert (here.bits, here.uri) == (1, URI)
    assert [here.status(index) for index in range(16)] == [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]
    for spoiled in (bytearray(hexadecimal("status_list_cwt")),):
        spoiled[90] ^= 1
        with pytest.raises(Refusal):
            open_status_list(bytes(spoiled), keys, URI)
