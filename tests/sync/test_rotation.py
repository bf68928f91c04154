"""Root, targets and live keys are replaced, and every gate follows; a replacement that is not in order is refused."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from edge.demo.broker import PUBLISHER
from edge.devices.trusted import Trusted
from edge.devices.truststore import TrustReader, TrustStore
from edge.errors import Refusal
from edge.sync import bundle
from edge.sync.book import OfficeError
from edge.sync.connection import Connection, Message
from edge.sync.metadata import Repository, public_of, signer_of
from edge.sync.office import Office
from edge.sync.updates import PREFIX, Haste, Keeper, Updates, offer

GATE = "demo/lobby/gate-1"
ISS, OTHER = "https://id.example", "https://other.example"
HASTE = Haste(spread_s=0, least_s=0, absent_s=0.15, again_s=0.1, again_most_s=0.3)
WHAT = ["root", "targets", "live", "root-2", "targets-3"]


def an_issuer() -> dict[str, Any]:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return {"keys": [{"public": pem, "kids": ["k"]}]}


class Gate:
    """Both sides of a gate that was set up with the first root."""

    def __init__(self, folder: Path, office: Office) -> None:
        self.store, self._anchor = folder / "trust.db", office.anchor()
        self.trusted = Trusted(TrustReader(self.store), [office.list_key()], folder / "floors", site="lobby")

    def keeper(self) -> Keeper:
        return Keeper(TrustStore(self.store), self._anchor, lambda: datetime.now(UTC))

    def take(self, files: Mapping[str, bytes]) -> bool:
        """From a stick."""
        keeper = self.keeper()
        try:
            return keeper.take(bundle.fetch_from(bundle.unpack(bundle.pack(files))))
        finally:
            keeper.close()

    def refuses(self, files: Mapping[str, bytes], why: str) -> None:
        before = self.issuers()
        with pytest.raises(Refusal, match=why):
            self.take(files)
        assert self.issuers() == before

    def issuers(self) -> set[str]:
        self.trusted.reload()
        found = self.trusted.current
        return set() if found is None else {issuer.name for issuer in found.issuers}


@pytest.fixture
def office(tmp_path: Path) -> Office:
    made = Office.begin(tmp_path / "office", f"r{time.monotonic_ns()}")
    made.book.add_issuer(ISS, an_issuer())
    made.publish()
    return made


@pytest.fixture
def gate(office: Office, tmp_path: Path) -> Gate:
    (tmp_path / "gate").mkdir()
    made = Gate(tmp_path / "gate", office)
    assert made.take(office.current())
    return made


@pytest.fixture
def stolen(office: Office, tmp_path: Path) -> Office:
    """The whole desk as it was before, in a thief's hands."""
    shutil.copytree(office.folder, tmp_path / "stolen")
    return Office(tmp_path / "stolen")


def newest_root(office: Office) -> dict[str, Any]:
    root: dict[str, Any] = json.loads(office.anchor())["signed"]
    return root


@pytest.mark.parametrize("what", WHAT)
def test_a_gate_follows_new_keys_from_a_stick(office: Office, gate: Gate, stolen: Office, what: str) -> None:
    before = newest_root(office)
    names = office.rotate(what)
    office.book.add_issuer(OTHER, an_issuer())
    office.publish()
    assert gate.take(office.current())
    assert gate.issuers() == {ISS, OTHER}
    after = newest_root(office)
    assert after["version"] == before["version"] + 1
    for role, entry in after["roles"].items():
        assert entry["threshold"] == before["roles"][role]["threshold"]
        assert len(entry["keyids"]) == len(before["roles"][role]["keyids"])
    gone = {key for entry in before["roles"].values() for key in entry["keyids"]} - set(after["keys"])
    assert len(gone) == len(names)
    assert not list(office.keys.folder.glob("*.next.*"))


@pytest.mark.parametrize("what", ["root", "targets", "live"])
def test_what_the_old_keys_sign_later_is_refused(office: Office, gate: Gate, stolen: Office, what: str) -> None:
    office.rotate(what)
    office.publish()
    assert gate.take(office.current())
    for number in range(5):
        stolen.book.add_issuer(f"{OTHER}/{number}", an_issuer())
        stolen.publish(datetime.now(UTC) + timedelta(days=1))
    with_new_roots = {**stolen.current(), **Repository.read(office.published()).root_files()}
    if what == "root":
        stolen.rotate("root")  # the old root keys make a successor of their own
        gate.refuses({**with_new_roots, **forged_successor(stolen, office)}, "UnsignedMetadata")
    else:
        gate.refuses(with_new_roots, "UnsignedMetadata")


def forged_successor(stolen: Office, office: Office) -> dict[str, bytes]:
    """The root after the newest, signed by keys that were good before."""
    repository = Repository.read(office.published())
    names = ("root-1", "root-2", "root-3")
    repository.sign("root", [one for name in names if (one := stolen.keys.signing(name))], later())
    return {f"m/{newest_root(office)['version'] + 1}.root.json": list(repository.root_files().values())[-1]}


def later() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=99)


def some_keys(count: int) -> list[Any]:
    return [ec.generate_private_key(ec.SECP256R1()) for _ in range(count)]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (0, 3, "UnsignedMetadata"),  # the old keys did not agree
        (1, 3, "UnsignedMetadata"),  # one of them did
        (3, 0, "UnsignedMetadata"),  # the new ones do not speak for themselves
        (3, 1, "UnsignedMetadata"),
    ],
)
def test_a_root_that_too_few_signed_is_refused(office: Office, gate: Gate, old: int, new: int, why: str) -> None:
    repository, keys = Repository.read(office.published()), some_keys(3)
    olds = [one for name in ("root-1", "root-2", "root-3") if (one := office.keys.signing(name))]
    for number, key in enumerate(keys, 1):
        repository.swap(public_of(office.keys.public(f"root-{number}")), public_of(key.public_key()))
    repository.sign("root", [*olds[:old], *(signer_of(key) for key in keys[:new])], later())
    files = {**office.current(), **repository.root_files()}
    gate.refuses(files, why)


def test_a_root_that_the_live_and_targets_keys_signed_is_refused(office: Office, gate: Gate) -> None:
    repository = Repository.read(office.published())
    others = [one for name in ("live", "targets-1", "targets-2") if (one := office.keys.signing(name))]
    repository.sign("root", others, later())
    gate.refuses({**office.current(), **repository.root_files()}, "UnsignedMetadata")


def test_a_root_that_leaves_one_out_is_refused(office: Office, gate: Gate) -> None:
    office.rotate("root-1")
    office.rotate("root-2")
    files = office.current()
    files["m/2.root.json"] = files.pop("m/3.root.json")
    gate.refuses(files, "BadVersionNumber|UnsignedMetadata")


def test_a_gate_that_missed_all_of_it_follows_step_by_step(office: Office, gate: Gate) -> None:
    for what in (*WHAT, "live", "root"):
        office.rotate(what)
    office.book.remove_issuer(ISS)
    office.book.add_issuer(OTHER, an_issuer())
    office.publish()
    assert gate.take(office.current())
    assert gate.issuers() == {OTHER}


@pytest.fixture
def lines(site: Any) -> Iterator[tuple[Connection, Connection]]:
    out, inward = Connection(site.link(PUBLISHER), PUBLISHER), Connection(site.link(GATE), GATE)
    out.open()
    inward.open()
    yield out, inward
    out.close()
    inward.close()


def test_a_gate_follows_new_keys_over_the_broker(
    lines: tuple[Connection, Connection], office: Office, gate: Gate
) -> None:
    out, inward = lines
    for what in ("root", "live", "targets"):
        updates = Updates(office.name, gate.keeper, HASTE)
        office.rotate(what)
        office.book.add_issuer(f"{OTHER}/{what}", an_issuer())
        offer(out, office.name, office.publish())
        updates.hear()
        end = time.monotonic() + 60
        while not updates.taken:  # a message that comes late counts as absent, and is looked for again
            assert time.monotonic() < end, updates.trouble
            updates.serve(inward)
        updates.close()
        assert updates.trouble == ""
        assert f"{OTHER}/{what}" in gate.issuers()


def test_a_forged_root_on_the_broker_changes_nothing(
    lines: tuple[Connection, Connection], office: Office, gate: Gate
) -> None:
    out, inward = lines
    offer(out, office.name, office.current())
    repository, keys = Repository.read(office.published()), some_keys(3)
    for number, key in enumerate(keys, 1):
        repository.swap(public_of(office.keys.public(f"root-{number}")), public_of(key.public_key()))
    repository.sign("root", [signer_of(key) for key in keys], later())
    forged = repository.root_files()["m/2.root.json"]
    out.publish(Message(f"{PREFIX}/{office.name}/m/2.root.json", forged, retain=True))
    while out.in_flight:
        out.turn(0.05)
    updates = Updates(office.name, gate.keeper, replace(HASTE, absent_s=5.0))
    updates.hear()
    updates.serve(inward)
    updates.close()
    assert "UnsignedMetadata" in updates.trouble
    assert gate.issuers() == {ISS}


def test_a_lost_root_key_is_replaced_by_the_two_that_are_left(office: Office, gate: Gate) -> None:
    (office.keys.folder / "root-2.pem").unlink()
    assert office.rotate("root-2") == ("root-2",)
    (office.keys.folder / "root-1.pem").unlink()  # the new one and the third are two
    office.rotate("root-1")
    office.publish()
    assert gate.take(office.current())


def test_two_lost_root_keys_are_too_many(office: Office) -> None:
    before = office.published()
    for number in (1, 2):
        (office.keys.folder / f"root-{number}.pem").unlink()
    with pytest.raises(OfficeError, match="2 of the keys root-1, root-2, root-3"):
        office.rotate("root")
    assert office.published() == before


def test_nothing_changes_when_a_key_for_the_publication_is_missing(office: Office) -> None:
    before, pem = office.published(), (office.keys.folder / "live.pub").read_bytes()
    for number in (1, 2):
        (office.keys.folder / f"targets-{number}.pem").unlink()
    with pytest.raises(OfficeError, match="targets-1, targets-2, targets-3"):
        office.rotate("live")
    assert office.published() == before
    assert (office.keys.folder / "live.pub").read_bytes() == pem
    for what in ("list", "everything", "root-4", "issuers-x"):
        with pytest.raises(OfficeError, match="is not root, targets, live"):
            office.rotate(what)


def test_a_key_that_is_not_on_the_desk_keeps_its_place(office: Office, gate: Gate) -> None:
    """Who is away with a key is not forgotten by the next root."""
    third = public_of(office.keys.public("root-3")).keyid
    (office.keys.folder / "root-3.pem").rename(office.folder / "away.pem")
    office.rotate("root-1")
    assert third in newest_root(office)["roles"]["root"]["keyids"]
    assert gate.take(office.current()) or newest_root(office)["version"] == 2


def killed(office: Office, *, published: bool) -> None:
    """As a rotation leaves the desk that is interrupted before or after the new root is written."""
    for kind in (".pem", ".pub"):
        source = office.keys.folder / f"root-2{kind}"
        shutil.copy(source, office.folder / f"old{kind}")
    office.rotate("root-2")
    for kind in (".pem", ".pub"):
        (office.keys.folder / f"root-2{kind}").rename(office.keys.folder / f"root-2.next{kind}")
        shutil.copy(office.folder / f"old{kind}", office.keys.folder / f"root-2{kind}")
    if not published:
        (office.folder / "published" / "m" / "2.root.json").unlink()


@pytest.mark.parametrize("published", [True, False])
def test_an_interrupted_rotation_ends_with_the_keys_that_count(office: Office, *, published: bool) -> None:
    old = office.keys.public("root-2")
    killed(office, published=published)
    Office(office.folder).publish()
    assert not list(office.keys.folder.glob("*.next.*"))
    assert (office.keys.public("root-2") == old) is not published
    again = Office(office.folder)
    again.rotate("root-1")  # two of three agree, whichever they are
    assert newest_root(again)["version"] == (3 if published else 2)


def test_a_public_key_that_was_put_onto_the_desk_comes_into_no_root(office: Office) -> None:
    key = some_keys(1)[0]
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (office.keys.folder / "root-3.pem").write_bytes(pem)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (office.keys.folder / "root-3.pub").write_bytes(public)
    office.rotate("root-1")
    assert public_of(key.public_key()).keyid not in newest_root(office)["keys"]
    with pytest.raises(OfficeError, match="does not know the key"):
        office.rotate("root-3")


def test_the_list_key_is_replaced_in_two_steps_and_a_forgotten_gate_keeps_what_it_has(
    office: Office, gate: Gate, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    forgotten = Gate(tmp_path / "other", office)
    assert forgotten.take(office.current())
    assert forgotten.issuers() == {ISS}
    old, coming = office.list_key(), office.rotate_list()
    office.rotate("live")  # meanwhile; nothing that waits is lost
    assert coming != old == office.list_key()
    told = Trusted(TrustReader(gate.store), [old, coming], tmp_path / "told", site="lobby")
    assert office.rotate_list() == ""
    assert office.list_key() == coming
    office.book.add_issuer(OTHER, an_issuer())
    office.publish()
    assert gate.take(office.current())
    assert forgotten.take(office.current())
    assert told.reload()
    assert told.current is not None
    assert {issuer.name for issuer in told.current.issuers} == {ISS, OTHER}
    assert forgotten.issuers() == {ISS}
    after = Trusted(TrustReader(gate.store), [coming], tmp_path / "after", site="lobby")
    assert after.reload()  # nothing of the old key is left
    assert after.whole is not None
    assert after.whole.faults == ()
