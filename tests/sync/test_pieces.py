"""Files larger than a message: cut, put together, and bounded whatever the broker says."""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from edge.demo.broker import PUBLISHER
from edge.devices.trusted import Trusted
from edge.devices.truststore import TrustReader, TrustStore
from edge.sync.connection import Connection, Message
from edge.sync.office import Office
from edge.sync.pieces import PIECE, cut, whole
from edge.sync.updates import PREFIX, Haste, Keeper, Updates, offer
from edge.trust import cose
from edge.trust.cbor import Tagged, encode
from edge.trust.cose import make_sign1, signer
from edge.trust.interval import Interval
from edge.trust.status import TYPE
from edge.trust.withdrawn import Card, CardStatus

GATE, ISS, URI = "demo/lobby/gate-1", "https://id.example", "https://id.example/status/1"
CARDS = 10_000_000
HASTE = Haste(spread_s=0, least_s=0, absent_s=0.15, again_s=0.1, again_most_s=0.3)
PATIENT = replace(HASTE, absent_s=5.0)
SIZES = st.one_of(st.integers(0, 3), st.integers(-3, 3).map(lambda by: 2 * PIECE + by), st.integers(0, 4 * PIECE))


@given(size=SIZES, more=st.sampled_from([0, 1, PIECE]))
def test_what_is_cut_is_put_together(size: int, more: int) -> None:
    data = random.Random(size).randbytes(size)
    pieces = dict(cut("t/list", data))
    assert all(len(piece) <= PIECE for piece in pieces.values())
    assert whole(pieces.get, "t/list", size + more) == data


@given(limit=st.integers(0, 5 * PIECE), piece=st.sampled_from([PIECE - 1, PIECE, PIECE + 1, 4 * PIECE]))
def test_endless_pieces_end_at_the_limit(limit: int, piece: int) -> None:
    asked = []

    def bring(path: str) -> bytes:
        asked.append(path)
        return bytes(piece)

    found = whole(bring, "t/list", limit)
    assert found is not None
    assert len(found) <= limit + 1
    assert len(asked) <= 1 + limit // PIECE


class Way:
    """An operator with a list of ten million cards, one in a hundred withdrawn, and a gate behind a real broker."""

    def __init__(self, site: Any, folder: Path) -> None:
        self.key = ed25519.Ed25519PrivateKey.generate()
        self.office = Office.begin(folder / "office", f"r{time.monotonic_ns()}")
        pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.office.book.add_issuer(ISS, {"keys": [{"public": pem, "kids": ["k"]}]})
        chance = random.Random(169)
        self.withdrawn = sorted({chance.randrange(CARDS) for _ in range(CARDS // 100)})
        self.office.publish()
        self.out, self.inward = (Connection(site.link(name), name) for name in (PUBLISHER, GATE))
        self.out.open()
        self.inward.open()
        self.keeper = Keeper(TrustStore(folder / "trust.db"), self.office.anchor(), lambda: datetime.now(UTC))
        self.trusted = Trusted(TrustReader(folder / "trust.db"), [self.office.list_key()], folder / "floors")

    def published(self) -> dict[str, bytes]:
        """What the operator has, with the list in it."""
        statuses = bytearray(CARDS // 8)
        for index in self.withdrawn:
            statuses[index // 8] |= 1 << index % 8
        claims = {2: URI, 6: int(time.time()), 65533: {"bits": 1, "lst": zlib.compress(bytes(statuses), 9)}}
        token = encode(Tagged(cose.SIGN1, make_sign1(encode(claims), signer(self.key), {cose.TYP: TYPE})))
        self.office.lists.list_status(ISS, token)
        return dict(self.office.publish())

    def took(self) -> bool:
        """Whether one look of the gate brought it, or a patient one: a message that comes late counts as absent."""
        return self._look(HASTE) == "" or self._look(PATIENT) == ""

    def refused(self, why: str) -> bool:
        """Whether it is not taken, for this reason."""
        return why in self._look(HASTE) or why in self._look(PATIENT)

    def _look(self, haste: Haste) -> str:
        updates = Updates(self.office.name, lambda: self.keeper, haste)
        updates.hear()
        updates.serve(self.inward)
        self.trusted.reload()
        return updates.trouble

    def status(self, index: int) -> CardStatus:
        """What the gate knows about a card of the issuer."""
        assert self.trusted.whole is not None
        card = Card(ISS, (b"x",), {"status_list": {"idx": index, "uri": URI}})
        now = Interval.exactly(datetime.now(UTC))
        return self.trusted.whole.withdrawn.about(card, now, b"site key").status

    def close(self) -> None:
        for each in (self.out, self.inward, self.keeper):
            each.close()


@pytest.fixture
def way(site: Any, tmp_path: Path) -> Iterator[Way]:
    made = Way(site, tmp_path)
    yield made
    made.close()


def test_a_list_of_ten_million_cards_arrives_in_pieces_through_a_broker(way: Way) -> None:
    names = [f"card-{number}" for number in range(40_000)]
    way.office.book.withdraw(ISS, names)
    files = way.published()
    (status,) = (path for path in files if "/status/" in path)
    (hashes,) = (path for path in files if "/hashes/" in path)
    assert len(files[status]) > 2 * PIECE  # 135 KiB
    assert len(files[hashes]) > 256 << 10  # more than one message may have
    assert offer(way.out, way.office.name, files) == len(files)
    assert way.took()
    assert {way.status(index) for index in way.withdrawn[:1000]} == {CardStatus.REVOKED}
    fine = set(range(1000)) - set(way.withdrawn)
    assert {way.status(index) for index in fine} == {CardStatus.VALID}
    assert way.trusted.whole is not None
    found = way.trusted.whole.withdrawn.about(Card(ISS, (b"card-7",)), Interval.exactly(datetime.now(UTC)), b"")
    assert found.status is CardStatus.REVOKED


@pytest.mark.parametrize("wrong", ["missing", "altered", "longer", "swapped"])
def test_a_wrong_piece_leaves_the_whole_old_state_in_force(way: Way, wrong: str) -> None:
    offer(way.out, way.office.name, way.office.current())
    assert way.took()
    before = way.trusted.whole
    files = way.published()
    (status,) = (path for path in files if "/status/" in path)
    pieces = list(cut(status, files[status]))
    (first, a), (second, b), *_ = pieces
    said = {"missing": [(second, b"")], "altered": [(second, a)], "longer": [(second, b + a)]}
    said["swapped"] = [(first, b), (second, a)]
    offer(way.out, way.office.name, files)
    put(way, said[wrong])
    assert way.refused("Length")
    assert way.trusted.whole is before
    put(way, pieces)
    assert way.took()
    assert way.status(way.withdrawn[0]) is CardStatus.REVOKED


def put(way: Way, pieces: list[tuple[str, bytes]]) -> None:
    for path, data in pieces:
        way.out.publish(Message(f"{PREFIX}/{way.office.name}/{path}", data, retain=True))
    while way.out.in_flight:
        way.out.turn(0.05)
