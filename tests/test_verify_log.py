"""The independent verifier against a good log and many ways to tamper with it."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import io
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import cast

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from edge.audit.check import check_chain, check_entries, check_pruned
from edge.audit.checkpoint import Checkpoint, Head, key_id, parse, statement
from edge.audit.entry import Event, Kind, LogError, Quality, Value, decode, encode
from edge.audit.export import bundles, sequence, tiles
from edge.audit.proof import prove
from edge.audit.proof import read as read_proof
from edge.audit.receipt import number_of, text_of
from edge.audit.receipt import read as read_receipt
from edge.audit.sealing import SealingPolicy
from edge.audit.succession import succeeded, succession_statement
from edge.audit.tree import Frontier, consistency, leaf_hash
from edge.audit.witness import cosign_statement, cosigned
from edge.devices.checkpoints import SqliteCheckpoints
from edge.devices.journal import Follower, LastHead, SqliteJournal
from edge.devices.simulated_token import SimulatedToken
from edge.devices.token import to_pem
from edge.errors import DeviceError
from edge.sealer import Sealer
from edge.sync.batch import Ack
from edge.sync.batch import sign as sign_ack
from edge.trust.interval import Interval

ROOT = Path(__file__).resolve().parents[1]
ORIGIN = "urn:gate:test:site:gate"
KEY = ec.derive_private_key(12345, ec.SECP256R1())
OTHER_KEY = ec.derive_private_key(54321, ec.SECP256R1())
SIZES = (8, 16, 25)
ENTRIES = 30
SCRIPT = ROOT / "scripts" / "verify_log.py"
VERIFIED, TAMPERED, INCOMPLETE, UNKNOWN_KEY, USAGE = 0, 1, 2, 3, 64


class SteadyClock:
    """A second passes with every look."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 5, 4, 12, tzinfo=UTC)

    def now(self) -> Interval:
        self.moment += timedelta(seconds=1)
        return Interval.exactly(self.moment)

    def raise_floor(self, moment: datetime) -> None:
        pass

    def monotonic(self) -> float:
        return self.moment.timestamp() % 10000


def write_log(folder: Path, sizes: tuple[int, ...] = SIZES, entries: int = ENTRIES, word: str = "expired") -> None:
    """A log of so many entries with checkpoints at these sizes."""

    async def told() -> None:
        clock = SteadyClock()
        checkpoints = SqliteCheckpoints(folder / "checkpoints.db")
        last = LastHead.of(checkpoints.last())
        journal = SqliteJournal.open(folder / "journal.db", ORIGIN, "gate", clock, last)
        log = Follower(folder / "journal.db")
        token = SimulatedToken(ORIGIN, KEY)
        sealer = Sealer(ORIGIN, SealingPolicy(), log, checkpoints, token, clock)
        while log.size() < entries:
            await journal.append(Event(Kind.DENIED, {"reason": word, "number": log.size()}))
            if log.size() in sizes:
                await sealer.seal()
        for part in (log, journal, checkpoints):  # the last one out leaves one file
            part.close()

    asyncio.run(told())


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good log, written once."""
    folder = tmp_path_factory.mktemp("log")
    write_log(folder)
    (folder / "gate.pem").write_bytes(to_pem(SimulatedToken(ORIGIN, KEY).enrolled))
    (folder / "other.pem").write_bytes(to_pem(SimulatedToken(ORIGIN, OTHER_KEY).enrolled))
    return folder


@pytest.fixture
def log(good: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(good, tmp_path / "log"))


@dataclass(frozen=True)
class Result:
    """What the verifier says."""

    returncode: int
    stdout: str
    stderr: str


def verifier() -> ModuleType:
    """The script as a module: a process for each of these tests would take longer than the tests."""
    spec = importlib.util.spec_from_file_location("verify_log_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def verify(*arguments: object) -> Result:
    """Run the verifier; any exception that it lets out fails the test."""
    said, complained = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(complained):
        try:
            status = VERIFIER.main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            status = int(str(leaving.code))
    return Result(status, said.getvalue(), complained.getvalue())


VERIFIER = verifier()


def verify_live(folder: Path, *more: object, key: str = "gate.pem") -> Result:
    files = ("--journal", folder / "journal.db", "--checkpoints", folder / "checkpoints.db")
    return verify(*files, "--key", folder / key, *more)


def export(folder: Path) -> Path:
    """The log as one file."""
    reader, checkpoints = Follower(folder / "journal.db"), SqliteCheckpoints(folder / "checkpoints.db")
    out = folder / "log.cborseq"
    out.write_bytes(b"".join(sequence(ORIGIN, 1, reader.rows(0, 1000), checkpoints.after(0, 0, 100))))
    reader.close()
    checkpoints.close()
    return out


# --- tools of somebody who tampers, up to holding the real key


def sign(head: Head, path: tuple[bytes, ...] | None = (), key: ec.EllipticCurvePrivateKey = KEY) -> Checkpoint:
    kid = key_id(SimulatedToken(ORIGIN, key).enrolled)
    r, s = decode_dss_signature(key.sign(statement(head, kid), ec.ECDSA(hashes.SHA256())))
    return Checkpoint(head, kid, path, r.to_bytes(32) + s.to_bytes(32))


def entries_of(folder: Path) -> list[bytes]:
    with closing(sqlite3.connect(folder / "journal.db")) as file:
        return [row[0] for row in file.execute("SELECT entry FROM leaf ORDER BY ix")]


def put_entries(folder: Path, entries: list[bytes]) -> None:
    """Replace all entries, with a tree that fits them."""
    frontier, rows = Frontier(), []
    for index, entry in enumerate(entries):
        frontier, done = frontier.append(leaf_hash(entry))
        rows.append((index, entry, b"".join(done)))
    with closing(sqlite3.connect(folder / "journal.db")) as file, file:
        file.execute("DELETE FROM leaf")
        file.executemany("INSERT INTO leaf(ix, entry, nodes) VALUES (?, ?, ?)", rows)


def checkpoints_of(folder: Path) -> list[Checkpoint]:
    with closing(sqlite3.connect(folder / "checkpoints.db")) as file:
        return [parse(row[0]) for row in file.execute("SELECT cose FROM checkpoint ORDER BY epoch, size")]


def put_checkpoints(folder: Path, checkpoints: list[Checkpoint]) -> None:
    with closing(sqlite3.connect(folder / "checkpoints.db")) as file, file:
        file.execute("DELETE FROM checkpoint")
        for one in checkpoints:
            row = (one.head.epoch, one.head.size, one.head.root, one.encode(), one.head.at_s)
            file.execute("INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?)", row)


def seal_anew(folder: Path, sizes: tuple[int, ...], key: ec.EllipticCurvePrivateKey = KEY) -> None:
    """Sign a fresh chain of checkpoints over the entries that are there now."""
    leaves = [leaf_hash(entry) for entry in entries_of(folder)]
    nodes: dict[tuple[int, int], bytes] = {}
    frontier = Frontier()
    for index, leaf in enumerate(leaves):
        frontier, done = frontier.append(leaf)
        nodes |= {(level, index >> level): node for level, node in enumerate(done)}
    sealed: list[Checkpoint] = []
    for size in sizes:
        frontier = Frontier()
        for leaf in leaves[:size]:
            frontier, _ = frontier.append(leaf)
        previous = sealed[-1] if sealed else None
        older, digest = (previous.head.size, previous.digest) if previous else (0, b"")
        head = Head(ORIGIN, 1, size, frontier.root(), older, digest, at_s=1)
        sealed.append(sign(head, consistency(older, size, lambda level, index: nodes[level, index]), key))
    put_checkpoints(folder, sealed)


def changed(entry: bytes) -> bytes:
    """The same entry, telling a lie."""
    return encode(replace(decode(entry), fields={"reason": "granted"}))


def renumbered(entry: bytes, index: int) -> bytes:
    return encode(replace(decode(entry), index=index))


# --- the good log


def test_a_good_log_is_verified_and_its_tail_counted(log: Path) -> None:
    result = verify_live(log)
    assert (result.returncode, result.stderr) == (VERIFIED, "")
    assert "log verified: 30 entries, 25 sealed by 3 checkpoints, 5 not sealed yet" in result.stdout


def test_a_log_is_verified_while_the_gate_writes(log: Path) -> None:
    journal = SqliteJournal.open(log / "journal.db", ORIGIN, "gate", SteadyClock())
    asyncio.run(journal.append(Event(Kind.BOOT)))
    assert verify_live(log).returncode == VERIFIED
    journal.close()


def test_an_export_is_verified(log: Path) -> None:
    assert verify("--export", export(log), "--key", log / "gate.pem").returncode == VERIFIED


def test_tiles_are_verified(log: Path) -> None:
    folder = write_tiles(log)
    result = verify("--tiles", folder, "--key", log / "gate.pem")
    assert (result.returncode, result.stderr) == (VERIFIED, "")
    (folder / "tile/0/000.p/25").write_bytes(bytes(25 * 32))
    assert verify("--tiles", folder, "--key", log / "gate.pem").returncode == TAMPERED


def write_tiles(log: Path) -> Path:
    reader, folder = Follower(log / "journal.db"), log / "tiles"
    last = checkpoints_of(log)[-1]
    files = dict(tiles(25, reader.node)) | dict(bundles(reader.read(0, 25)))
    files |= {"checkpoint": last.text().encode()}
    files |= {"checkpoints.cborseq": b"".join(cbor2.dumps(one.encode()) for one in checkpoints_of(log))}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    reader.close()
    return folder


@pytest.mark.parametrize("index", [0, 7, 13, 24])
@pytest.mark.parametrize("blind", [(), ("--blind",)])
def test_the_proof_of_one_entry_stands_alone(log: Path, index: int, blind: tuple[str, ...]) -> None:
    proof = log / "entry.proof"
    assert verify_live(log, "--prove", index, "--out", proof, *blind).returncode == VERIFIED
    result = verify("--proof", proof, "--key", log / "gate.pem")
    assert (result.returncode, result.stderr) == (VERIFIED, "")
    assert ("reason" in result.stdout) is not bool(blind)
    fields = cbor2.loads(proof.read_bytes())
    for name, lie in (("index", (index + 1) % 16), ("entry" if not blind else "leaf", bytes(32))):
        proof.write_bytes(cbor2.dumps({**fields, name: lie}, canonical=True))
        assert verify("--proof", proof, "--key", log / "gate.pem").returncode == TAMPERED
    assert verify("--proof", proof, "--key", log / "other.pem").returncode in (TAMPERED, UNKNOWN_KEY)


@pytest.mark.parametrize("blind", [False, True])
def test_the_gate_makes_the_same_proof_as_the_verifier(log: Path, blind: bool) -> None:
    reader = Follower(log / "journal.db")
    (entry,), path = reader.read(13, 1), reader.inclusion(13, 16)
    reader.close()
    made = prove(13, entry, path, checkpoints_of(log)[1], blind=blind)
    assert (
        verify_live(log, "--prove", 13, "--out", log / "entry.proof", *(["--blind"] if blind else [])).returncode == 0
    )
    assert made.encode() == (log / "entry.proof").read_bytes()
    again = read_proof(made.encode())
    point = SimulatedToken(ORIGIN, KEY).enrolled
    assert (again.verify(point) is None) is blind
    assert len(made.encode()) < 1200  # fits a code that a telephone reads
    for wrong in (made.encode()[:-1], b"", cbor2.dumps({"format": "edge-gate proof"}), cbor2.dumps([1])):
        with pytest.raises(LogError):
            read_proof(wrong)
    with pytest.raises(LogError):
        replace(again, index=12).verify(point)


def receipt_of(log: Path, index: int, checkpoint: int) -> str:
    """What the person of this entry took away."""
    reader, covering = Follower(log / "journal.db"), checkpoints_of(log)[checkpoint]
    (entry,), path = reader.read(index, 1), reader.inclusion(index, covering.head.size)
    reader.close()
    return text_of(prove(index, entry, path, covering, blind=True))


@pytest.mark.parametrize(("index", "checkpoint"), [(0, 0), (13, 1), (24, 2)])
def test_a_receipt_is_verified_offline_and_finds_its_entry(log: Path, index: int, checkpoint: int) -> None:
    text, key = receipt_of(log, index, checkpoint), ("--key", log / "gate.pem")
    alone = verify("--receipt", text, *key)
    assert (alone.returncode, alone.stderr) == (VERIFIED, "")
    assert "expired" not in alone.stdout
    assert re.search(r", sealed 2026-05-04T12:0\d:\d\dZ \(clock synchronised\)$", alone.stdout.strip())
    number = number_of(read_receipt(text))
    (log / "receipt.txt").write_text(text + "\n")
    for given in (text, number, number.lower(), log / "receipt.txt"):
        found = verify_live(log, "--receipt", given)
        assert (found.returncode, found.stderr) == (VERIFIED, "")
        said = (
            rf"receipt {number}: entry {index}, 2026-05-04T12:0\d:\d\dZ \(clock synchronised\): refused, reason expired"
        )
        assert re.search(said, found.stdout), found.stdout
        assert found.stdout.index("log verified") < found.stdout.index("reason expired")
    assert verify("--export", export(log), *key, "--receipt", text).returncode == VERIFIED
    assert verify("--receipt", text, "--key", log / "other.pem").returncode == UNKNOWN_KEY
    assert verify("--receipt", number, *key).returncode == INCOMPLETE
    signature = text[:-40] + ("A" if text[-40] != "A" else "B") + text[-39:]
    forged = verify_live(log, "--receipt", signature)
    assert (forged.returncode, "the receipt is not as a gate gave it" in forged.stderr) == (TAMPERED, True)
    (log / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" * 50)
    for wrong in (text[:-9], "GATE1:", "nonsense", "1-2", f"1--{index}-AAAAAAAA", log / "photo.jpg"):
        for told in (verify_live(log, "--receipt", wrong), verify("--receipt", wrong, *key)):
            assert (told.returncode, told.stderr[:17]) == (USAGE, "NO SUCH RECEIPT: "), wrong
    for wrong in ("1-999-AAAAAAAA", f"1-{index}-AAAAAAAA", "2-0-AAAAAAAA"):
        told = verify_live(log, "--receipt", wrong)
        assert (told.returncode, told.stderr[:17]) == (INCOMPLETE, "NO SUCH RECEIPT: "), wrong
        assert "reason" not in told.stdout


def test_a_number_that_was_written_down_by_hand_is_read(log: Path) -> None:
    number = number_of(read_receipt(receipt_of(log, 13, 1)))
    epoch, index, letters = number.split("-")
    by_hand = f" {epoch} - {index} - {letters.lower().replace('o', '0').replace('i', '1').replace('b', '8')}"
    for dash in ("-", "\u2011", "\u2013", "\u2212"):
        assert verify_live(log, "--receipt", by_hand.replace("-", dash)).returncode == VERIFIED


def test_nothing_is_said_of_a_receipt_before_the_log_is_found_to_be_good(log: Path) -> None:
    number = number_of(read_receipt(receipt_of(log, 3, 0)))
    change_an_entry_and_the_whole_tree(log)
    told = verify_live(log, "--receipt", number)
    assert (told.returncode, "expired" in told.stdout) == (TAMPERED, False)


def test_what_followed_on_a_refusal_is_said_with_its_receipt(log: Path) -> None:
    entries = entries_of(log)
    later: list[tuple[int, Kind, dict[str, Value]]] = [
        (15, Kind.OVERRIDE, {"visit": 13, "why": "identity-checked"}),
        (16, Kind.TAKEN, {"visit": 15}),
        (17, Kind.OVERRIDE, {"visit": 12, "why": "drill"}),
    ]
    for index, kind, fields in later:
        entries[index] = encode(replace(decode(entries[index]), kind=kind, fields=fields))
    entries[13] = encode(replace(decode(entries[13]), quality=Quality.FLOOR))
    put_entries(log, entries)
    seal_anew(log, SIZES)
    told = verify_live(log, "--receipt", number_of(read_receipt(receipt_of(log, 13, 1))))
    assert told.returncode == VERIFIED, told.stderr
    said = told.stdout[told.stdout.index("receipt 1-13") :].split("; ")
    assert [part.partition(", ")[0] for part in said] == [said[0].partition(", ")[0], "then entry 15", "then entry 16"]
    assert ", not before 2026-05-04T12:" in said[0]
    assert said[1].endswith("an operator let the person in all the same, reason identity-checked")
    assert said[2].strip().endswith("the person went through")
    unsealed = leaf_hash(entries[28])
    told = verify_live(log, "--receipt", f"1-28-{base64.b32encode(unsealed[:5]).decode()}")
    assert (told.returncode, "not sealed yet: no signature" in told.stdout) == (VERIFIED, True)


def test_a_receipt_of_a_refusal_that_was_taken_out_shows_the_log_to_be_tampered_with(log: Path) -> None:
    """With the real key, and a log that is good in itself."""
    text = receipt_of(log, 13, 2)
    entries = entries_of(log)
    del entries[13]
    put_entries(log, [renumbered(entry, index) for index, entry in enumerate(entries)])
    seal_anew(log, (8, 16, 29))
    assert verify_live(log).returncode == VERIFIED
    told = verify_live(log, "--receipt", text)
    assert (told.returncode, "entry 13 is not the one of the receipt" in told.stderr) == (TAMPERED, True)
    put_entries(log, entries_of(log)[:12])
    seal_anew(log, (8, 12))
    assert verify_live(log).returncode == VERIFIED
    assert "entry 13 is missing: somebody has a receipt" in verify_live(log, "--receipt", text).stderr


def test_a_receipt_is_compared_with_the_whole_log_and_not_with_its_entry_only(log: Path) -> None:
    text = receipt_of(log, 3, 2)
    entries = entries_of(log)
    put_entries(log, [*entries[:20], changed(entries[20]), *entries[21:]])
    seal_anew(log, SIZES)
    told = verify_live(log, "--receipt", text)
    assert (told.returncode, "somebody else holds" in told.stderr) == (TAMPERED, True)


def test_a_receipt_under_a_key_that_the_log_introduces_is_good_with_the_log(log: Path) -> None:
    countersign(log, go_over(log), KEY)
    text = receipt_of(log, 26, 3)
    told = verify_live(log, "--receipt", text)
    assert (told.returncode, told.stderr) == (VERIFIED, "")
    assert "refused, reason expired" in told.stdout
    assert verify("--receipt", text, "--key", log / "gate.pem").returncode == UNKNOWN_KEY
    forged = text[:-40] + ("A" if text[-40] != "A" else "B") + text[-39:]
    told = verify_live(log, "--receipt", forged)
    assert (told.returncode, "the receipt is not as a gate gave it" in told.stderr) == (TAMPERED, True)


def test_an_unsealed_entry_cannot_be_proved_yet(log: Path) -> None:
    assert verify_live(log, "--prove", 28, "--out", log / "entry.proof").returncode == INCOMPLETE


def test_wrong_usage_has_a_status_of_its_own(log: Path) -> None:
    assert verify("--key", log / "gate.pem").returncode == 64


# --- ways to tamper, each with the status and a word of what is said


def flip_a_bit(log: Path) -> None:
    entries = entries_of(log)
    entries[5] = bytes([*entries[5][:-1], entries[5][-1] ^ 1])
    with closing(sqlite3.connect(log / "journal.db")) as file, file:
        file.execute("UPDATE leaf SET entry = ? WHERE ix = 5", (entries[5],))


def change_an_entry_and_not_the_nodes(log: Path) -> None:
    with closing(sqlite3.connect(log / "journal.db")) as file, file:
        file.execute("UPDATE leaf SET entry = ? WHERE ix = 5", (changed(entries_of(log)[5]),))


def change_an_entry_and_the_whole_tree(log: Path) -> None:
    entries = entries_of(log)
    entries[20] = changed(entries[20])
    put_entries(log, entries)


def change_a_kept_node(log: Path) -> None:
    with closing(sqlite3.connect(log / "journal.db")) as file, file:
        file.execute("UPDATE leaf SET nodes = zeroblob(length(nodes)) WHERE ix = 27")


def delete_an_entry(log: Path) -> None:
    with closing(sqlite3.connect(log / "journal.db")) as file, file:
        file.execute("DELETE FROM leaf WHERE ix = 11")


def delete_an_entry_and_close_the_gap(log: Path) -> None:
    entries = entries_of(log)
    del entries[11]
    put_entries(log, [renumbered(entry, index) for index, entry in enumerate(entries)])


def delete_and_keep_the_numbers(log: Path) -> None:
    entries = entries_of(log)
    del entries[11]
    put_entries(log, entries)


def reorder_two(log: Path) -> None:
    entries = entries_of(log)
    entries[3], entries[4] = renumbered(entries[4], 3), renumbered(entries[3], 4)
    put_entries(log, entries)


def insert_one(log: Path) -> None:
    entries = entries_of(log)
    entries.insert(9, entries[9])
    put_entries(log, [renumbered(entry, index) for index, entry in enumerate(entries)])


def write_an_entry_twice(log: Path) -> None:
    entries = entries_of(log)
    entries[28] = entries[27]
    put_entries(log, entries)


def cut_below_the_last_checkpoint(log: Path) -> None:
    put_entries(log, entries_of(log)[:20])


def cut_everything(log: Path) -> None:
    put_entries(log, [])


def cut_and_drop_the_last_checkpoint_with_a_witness(log: Path) -> None:
    (log / "held.cose").write_bytes(checkpoints_of(log)[-1].encode())
    put_entries(log, entries_of(log)[:20])
    put_checkpoints(log, checkpoints_of(log)[:-1])


def truncate_and_sign_again_with_the_real_key(log: Path) -> None:
    (log / "held.cose").write_bytes(checkpoints_of(log)[-1].encode())
    put_entries(log, entries_of(log)[:20])
    seal_anew(log, (8, 16, 20))


def truncate_sign_again_and_grow_past_the_old_size(log: Path) -> None:
    (log / "held.cose").write_bytes(checkpoints_of(log)[-1].encode())
    entries = entries_of(log)
    put_entries(log, entries[:20] + [changed(entry) for entry in entries[20:]])
    seal_anew(log, (8, 16, 30))


def rewrite_and_sign_again_with_the_real_key(log: Path) -> None:
    (log / "held.cose").write_bytes(checkpoints_of(log)[1].encode())
    entries = entries_of(log)
    entries[2] = changed(entries[2])
    put_entries(log, entries)
    seal_anew(log, SIZES)


def forge_a_witnessed_head(log: Path) -> None:
    head = replace(checkpoints_of(log)[-1].head, size=999)
    (log / "held.cose").write_bytes(replace(checkpoints_of(log)[-1], head=head).encode())


def an_older_card(log: Path) -> None:
    (log / "held.cose").write_bytes(checkpoints_of(log)[-1].encode())
    put_entries(log, entries_of(log)[:16])
    put_checkpoints(log, checkpoints_of(log)[:2])


def an_older_journal_only(log: Path) -> None:
    put_entries(log, entries_of(log)[:10])


def sign_with_a_foreign_key(log: Path) -> None:
    seal_anew(log, SIZES, OTHER_KEY)


def sign_one_with_a_foreign_key(log: Path) -> None:
    good = checkpoints_of(log)
    put_checkpoints(log, [*good[:2], sign(good[2].head, good[2].path, OTHER_KEY)])


def sign_with_a_foreign_key_under_our_id(log: Path) -> None:
    good = checkpoints_of(log)
    put_checkpoints(log, [*good[:2], replace(good[2], signature=sign(good[2].head, (), OTHER_KEY).signature)])


def flip_a_signature(log: Path) -> None:
    good = checkpoints_of(log)
    flipped = bytes([good[1].signature[0] ^ 1, *good[1].signature[1:]])
    put_checkpoints(log, [good[0], replace(good[1], signature=flipped), good[2]])


def lie_about_a_size(log: Path) -> None:
    good = checkpoints_of(log)
    put_checkpoints(log, [*good[:2], replace(good[2], head=replace(good[2].head, size=24))])


def lie_about_a_size_with_the_real_key(log: Path) -> None:
    good = checkpoints_of(log)
    put_checkpoints(log, [*good[:2], sign(replace(good[2].head, size=24), good[2].path)])


def lie_about_a_root_with_the_real_key(log: Path) -> None:
    good = checkpoints_of(log)
    put_checkpoints(log, [*good[:2], sign(replace(good[2].head, root=bytes(32)), good[2].path)])


def take_out_a_checkpoint(log: Path) -> None:
    good = checkpoints_of(log)
    put_checkpoints(log, [good[0], good[2]])


def put_in_a_checkpoint(log: Path) -> None:
    good = checkpoints_of(log)
    head = replace(good[1].head, size=10, root=bytes(32))
    put_checkpoints(log, [good[0], sign(head, good[1].path), *good[1:]])


def fork_the_last_checkpoint(log: Path) -> None:
    entries = entries_of(log)
    (log / "held.cose").write_bytes(checkpoints_of(log)[-1].encode())
    put_entries(log, [*entries[:24], changed(entries[24]), *entries[25:]])
    seal_anew(log, SIZES)


def change_a_consistency_proof(log: Path) -> None:
    good = checkpoints_of(log)
    put_checkpoints(log, [*good[:2], replace(good[2], path=(bytes(32), *(good[2].path or ())[1:]))])


def swap_epochs(log: Path) -> None:
    put_entries(log, [encode(replace(decode(entry), epoch=2)) for entry in entries_of(log)])


def swap_epochs_in_the_checkpoints(log: Path) -> None:
    good = checkpoints_of(log)
    put_checkpoints(log, [replace(one, head=replace(one.head, epoch=2)) for one in good])


def a_checkpoint_of_another_gate(log: Path) -> None:
    good = checkpoints_of(log)
    head = replace(good[2].head, origin="urn:gate:test:site:other")
    put_checkpoints(log, [*good[:2], sign(head, good[2].path)])


def file_a_checkpoint_under_another_size(log: Path) -> None:
    with closing(sqlite3.connect(log / "checkpoints.db")) as file, file:
        file.execute("UPDATE checkpoint SET size = 24 WHERE size = 25")


def write_an_entry_in_another_encoding(log: Path) -> None:
    entries = entries_of(log)
    entries[29] = b"\xbf" + entries[29][1:] + b"\xff"
    put_entries(log, entries)


def add_bytes_after_an_entry(log: Path) -> None:
    entries = entries_of(log)
    entries[29] += b"\x00"
    put_entries(log, entries)


def write_nonsense_over_a_page(log: Path) -> None:
    with (log / "journal.db").open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\x99" * 4096)


def take_away_what_an_entry_says(log: Path) -> None:
    with closing(sqlite3.connect(log / "journal.db")) as file, file:
        file.execute("UPDATE leaf SET entry = NULL WHERE ix = 5")


def remove_the_checkpoints(log: Path) -> None:
    put_checkpoints(log, [])


def remove_a_file(log: Path) -> None:
    (log / "checkpoints.db").unlink()


def move_a_receipt_to_another_checkpoint(log: Path) -> None:
    cosign(log, [OTHER_KEY])
    good = checkpoints_of(log)
    put_checkpoints(log, [good[0], replace(good[1], extras=good[2].extras), good[2]])


def move_a_receipt_without_its_path(log: Path) -> None:
    good = checkpoints_of(log)
    bare = cosigned(good[2].bare(), bytes(8), 77, bytes(64))
    put_checkpoints(log, [good[0], replace(good[1], extras=bare.extras), good[2]])


def put_nonsense_among_the_receipts(log: Path) -> None:
    good = checkpoints_of(log)
    put_checkpoints(log, [*good[:2], good[2].with_extra(394, [b"\x99"])])


def change_the_path_of_a_receipt(log: Path) -> None:
    good = checkpoints_of(log)
    lying = cosigned(replace(good[2], path=(bytes(32),)), bytes(8), 77, bytes(64))
    put_checkpoints(log, [*good[:2], replace(good[2], extras=lying.extras)])


def go_over(log: Path) -> Checkpoint:
    """An entry that introduces another key, sealed by the real one; then a checkpoint by that other key."""
    point = SimulatedToken(ORIGIN, OTHER_KEY).enrolled
    entries = entries_of(log)
    entries[20] = encode(replace(decode(entries[20]), kind=Kind.KEY_ROTATION, fields={"point": point}))
    put_entries(log, entries)
    seal_anew(log, (*SIZES, ENTRIES))
    *before, last = checkpoints_of(log)
    put_checkpoints(log, [*before, first := sign(last.head, last.path, OTHER_KEY)])
    return first


def countersign(log: Path, first: Checkpoint, key: ec.EllipticCurvePrivateKey) -> None:
    kid = key_id(SimulatedToken(ORIGIN, KEY).enrolled)
    r, s = decode_dss_signature(key.sign(succession_statement(first, kid), ec.ECDSA(hashes.SHA256())))
    put_checkpoints(log, [*checkpoints_of(log)[:-1], succeeded(first, kid, r.to_bytes(32) + s.to_bytes(32))])


def go_over_to_another_key_without_the_old_one(log: Path) -> None:
    go_over(log)


def go_over_to_another_key_that_countersigns_itself(log: Path) -> None:
    countersign(log, go_over(log), OTHER_KEY)


def go_over_and_move_the_countersignature(log: Path) -> None:
    countersign(log, go_over(log), KEY)
    *before, last = checkpoints_of(log)
    put_checkpoints(log, [*before, replace(sign(last.head, last.path, OTHER_KEY), extras=last.extras)])


def test_a_key_that_the_old_one_countersigned_is_believed(log: Path) -> None:
    countersign(log, go_over(log), KEY)
    told = verify_live(log)
    assert (told.returncode, told.stderr) == (VERIFIED, "")


def begin_an_epoch_with_another_key(log: Path, said: bool) -> Result:
    """A damaged file, and somebody who starts anew with a key of his own; both keys are given to the verifier."""
    (log / "journal.db").rename(log / "kept.db")
    clock, checkpoints = SteadyClock(), SqliteCheckpoints(log / "checkpoints.db")
    last = checkpoints.last()
    assert last is not None
    journal = SqliteJournal.open(log / "journal.db", ORIGIN, "gate", clock, LastHead.of(last))
    kept, reader = Follower(log / "kept.db"), Follower(log / "journal.db")
    if said:
        kid = key_id(SimulatedToken(ORIGIN, OTHER_KEY).enrolled)
        lost: dict[str, Value] = {
            "key": "lost",
            "kid": kid,
            "old": last.kid,
            "size": kept.size(),
            "root": kept.root(kept.size()),
        }
        asyncio.run(journal.append(Event(Kind.KEY_ROTATION, lost)))
    token = SimulatedToken(ORIGIN, OTHER_KEY)
    asyncio.run(Sealer(ORIGIN, SealingPolicy(), reader, checkpoints, token, clock).seal())
    for part in (kept, reader, journal, checkpoints):
        part.close()
    return verify_live(log, "--journal", log / "kept.db", "--key", log / "other.pem")


@pytest.mark.parametrize("said", [False, True])
def test_an_epoch_with_another_key_says_that_the_old_one_was_lost(log: Path, said: bool) -> None:
    told = begin_an_epoch_with_another_key(log, said)
    assert told.returncode == (VERIFIED if said else TAMPERED), told.stderr
    assert said or "sealed by another key, and no entry says why" in told.stderr


CORPUS: list[tuple[Callable[[Path], None], int, str]] = [
    (flip_a_bit, TAMPERED, "entry 5"),
    (change_an_entry_and_not_the_nodes, TAMPERED, "entry 5"),
    (change_an_entry_and_the_whole_tree, TAMPERED, "from 16 to 24"),
    (change_a_kept_node, TAMPERED, "entry 27"),
    (delete_an_entry, TAMPERED, "entry 11"),
    (delete_an_entry_and_close_the_gap, TAMPERED, "from 8 to 15"),
    (delete_and_keep_the_numbers, TAMPERED, "entry 11"),
    (reorder_two, TAMPERED, "from 0 to 7"),
    (insert_one, TAMPERED, "from 8 to 15"),
    (write_an_entry_twice, TAMPERED, "entry 28"),
    (cut_below_the_last_checkpoint, TAMPERED, "entry 20 is missing"),
    (cut_everything, TAMPERED, "entry 0 is missing"),
    (cut_and_drop_the_last_checkpoint_with_a_witness, TAMPERED, "entry 20 is missing"),
    (truncate_and_sign_again_with_the_real_key, TAMPERED, "entry 20 is missing"),
    (truncate_sign_again_and_grow_past_the_old_size, TAMPERED, "somebody else holds"),
    (rewrite_and_sign_again_with_the_real_key, TAMPERED, "somebody else holds"),
    (forge_a_witnessed_head, TAMPERED, ""),
    (an_older_card, TAMPERED, "entry 16 is missing"),
    (an_older_journal_only, TAMPERED, "entry 10 is missing"),
    (sign_with_a_foreign_key, UNKNOWN_KEY, "unknown key"),
    (sign_one_with_a_foreign_key, UNKNOWN_KEY, "checkpoint 25"),
    (sign_with_a_foreign_key_under_our_id, TAMPERED, "wrong signature"),
    (flip_a_signature, TAMPERED, "checkpoint 16"),
    (lie_about_a_size, TAMPERED, "checkpoint"),
    (lie_about_a_size_with_the_real_key, TAMPERED, "from 16 to 23"),
    (lie_about_a_root_with_the_real_key, TAMPERED, "from 16 to 24"),
    (take_out_a_checkpoint, TAMPERED, "predecessor"),
    (put_in_a_checkpoint, TAMPERED, ""),
    (fork_the_last_checkpoint, TAMPERED, "somebody else holds"),
    (change_a_consistency_proof, TAMPERED, "does not continue"),
    (swap_epochs, TAMPERED, "epoch"),
    (swap_epochs_in_the_checkpoints, TAMPERED, ""),
    (a_checkpoint_of_another_gate, TAMPERED, "other"),
    (file_a_checkpoint_under_another_size, TAMPERED, "another size"),
    (write_an_entry_in_another_encoding, TAMPERED, "entry 29"),
    (add_bytes_after_an_entry, TAMPERED, "entry 29"),
    (write_nonsense_over_a_page, TAMPERED, ""),
    (take_away_what_an_entry_says, TAMPERED, "entry 5"),
    (move_a_receipt_to_another_checkpoint, TAMPERED, "receipt of checkpoint 16"),
    (move_a_receipt_without_its_path, TAMPERED, "it is of another checkpoint"),
    (put_nonsense_among_the_receipts, TAMPERED, "a receipt is not CBOR"),
    (change_the_path_of_a_receipt, TAMPERED, "its path is another one"),
    (go_over_to_another_key_without_the_old_one, TAMPERED, "without the old one"),
    (go_over_to_another_key_that_countersigns_itself, TAMPERED, "without the old one"),
    (go_over_and_move_the_countersignature, TAMPERED, "without the old one"),
    (remove_the_checkpoints, INCOMPLETE, "nothing is sealed"),
    (remove_a_file, INCOMPLETE, "checkpoints.db"),
]


@pytest.mark.parametrize(("tamper", "status", "said"), CORPUS, ids=[case[0].__name__ for case in CORPUS])
def test_tampering_is_found(log: Path, tamper: Callable[[Path], None], status: int, said: str) -> None:
    tamper(log)
    held = ("--held", log / "held.cose") if (log / "held.cose").exists() else ()
    result = verify_live(log, *held)
    assert result.returncode == status, result.stdout + result.stderr
    assert said in result.stderr
    assert "log verified" not in result.stdout


def test_a_cut_off_export_is_incomplete_and_a_changed_one_tampered(log: Path) -> None:
    out = export(log)
    whole = out.read_bytes()
    for length in (len(whole) - 1, len(whole) - 5, len(whole) // 2, 60):
        out.write_bytes(whole[:length])
        assert verify("--export", out, "--key", log / "gate.pem").returncode == INCOMPLETE, length
    place = whole.index(b"expired", len(whole) // 3)
    out.write_bytes(whole[:place] + b"granted" + whole[place + 7 :])
    result = verify("--export", out, "--key", log / "gate.pem")
    assert result.returncode == TAMPERED
    assert "from" in result.stderr


def test_a_new_epoch_that_goes_on_from_a_head_that_was_taken_out_is_seen(log: Path) -> None:
    """The last head of the old epoch is taken out; the new epoch is chained to the one before, with the real key."""
    (log / "journal.db").rename(log / "kept.db")
    write_log(log, sizes=(4,), entries=6)
    (*old, _), new = (heads := checkpoints_of(log))[:-1], heads[-1]
    put_checkpoints(log, [*old, sign(replace(new.head, previous_digest=old[-1].digest))])
    told = verify_live(log, "--journal", log / "kept.db")
    assert (told.returncode, "is not among the checkpoints" in told.stderr) == (TAMPERED, True)


def test_a_second_epoch_needs_the_entries_of_the_first_to_be_complete(log: Path) -> None:
    (log / "journal.db").rename(log / "kept.db")
    write_log(log, sizes=(4,), entries=6)
    alone = verify_live(log)
    assert (alone.returncode, "epoch 1" in alone.stderr) == (INCOMPLETE, True)
    both = verify_live(log, "--journal", log / "kept.db")
    assert (both.returncode, both.stderr) == (VERIFIED, "")
    assert "log verified: 36 entries, 29 sealed by 4 checkpoints, 7 not sealed yet" in both.stdout


def erase(folder: Path, *indices: int) -> None:
    """Take away what these entries say, as pruning does."""
    with closing(sqlite3.connect(folder / "journal.db")) as file, file:
        file.executemany("UPDATE leaf SET entry = NULL WHERE ix = ?", [(index,) for index in indices])


def the_gate_says(folder: Path) -> str:
    """What ``edge audit verify`` finds; empty when all is good."""
    log, checkpoints = Follower(folder / "journal.db"), SqliteCheckpoints(folder / "checkpoints.db")
    try:
        heads = check_chain(checkpoints.after(0, 0, 99), [SimulatedToken(ORIGIN, KEY).enrolled], ORIGIN)
        check_entries(log.rows(0, log.size()), 1, heads)
    except LogError as error:
        return str(error)
    finally:
        log.close()
        checkpoints.close()
    return ""


def test_runs_of_pruned_entries_are_counted_range_by_range() -> None:
    """A benefit point keeps some entries for years: what is gone is held as runs, not one by one."""
    check_pruned([(0, 4), (6, 9)], [(0, 9, 9)])
    check_pruned([(0, 9)], [(0, 4, 5), (5, 9, 5)])
    for gone, told, said in (
        ([(0, 9)], [(0, 4, 5), (5, 9, 4)], "5 entries from 5 to 9 are gone, and 4 were pruned"),
        ([(0, 9)], [(0, 4, 4), (5, 9, 5)], "5 entries from 0 to 4 are gone, and 4 were pruned"),
        ([(2, 9)], [(3, 9, 7)], "entry 2 was taken away"),
        ([(0, 9)], [(0, 4, 5), (6, 9, 4)], "entry 5 was taken away"),
        ([(3, 3)], [], "entry 3 was taken away"),
    ):
        with pytest.raises(LogError, match=said):
            check_pruned(gone, told)


def test_the_gate_and_the_verifier_miss_the_same_entries(log: Path) -> None:
    """What is gone was pruned, and no more is gone than was: also where the ledger stays in the middle of a range."""
    journal = SqliteJournal.open(log / "journal.db", ORIGIN, "gate", SteadyClock())
    asyncio.run(journal.append_all([Event(Kind.COMMIT), Event(Kind.DENIED)] * 5))
    for below in (33, 39):
        asyncio.run(journal.prune(below=below, sealed=99))
    journal.close()
    whole = shutil.copytree(log, log.with_name("whole"))
    good = verify_live(log)
    assert (good.returncode, the_gate_says(log)) == (VERIFIED, "")
    erase(log, 30)  # a commit: who received is asked for months
    assert "are gone, and 31 were pruned" in the_gate_says(log)
    found = verify_live(log)
    assert (found.returncode, "are gone, and 31 were pruned" in found.stderr) == (TAMPERED, True)
    erase(whole, 39)
    assert "entry 39 was taken away, and no entry says so" in the_gate_says(whole)
    found = verify_live(whole)
    assert (found.returncode, "entry 39 of 42 was taken away" in found.stderr) == (TAMPERED, True)


def test_pruned_entries_leave_all_proofs_in_place(log: Path) -> None:
    before = verify_live(log, "--prove", 3, "--out", log / "entry.proof")
    assert before.returncode == VERIFIED
    journal = SqliteJournal.open(log / "journal.db", ORIGIN, "gate", SteadyClock())
    receipt = asyncio.run(journal.prune(below=28, sealed=25))
    assert receipt is not None
    assert receipt.index == ENTRIES
    assert asyncio.run(journal.prune(below=28, sealed=25)) is None
    asyncio.run(journal.append(Event(Kind.DENIED)))
    journal.close()
    again = SqliteJournal.open(log / "journal.db", ORIGIN, "gate", SteadyClock())
    assert again.epoch == 1
    again.close()
    result = verify_live(log)
    assert (result.returncode, result.stderr) == (VERIFIED, "")
    assert "25 entries were pruned" in result.stdout
    assert verify("--proof", log / "entry.proof", "--key", log / "gate.pem").returncode == VERIFIED
    assert verify_live(log, "--prove", 3, "--out", log / "blind.proof").returncode == VERIFIED
    assert verify("--proof", log / "blind.proof", "--key", log / "gate.pem").returncode == VERIFIED
    assert verify("--export", export(log), "--key", log / "gate.pem").returncode == VERIFIED
    reader = Follower(log / "journal.db")
    pruning = reader.entries(ENTRIES, 1)[0]
    reader.close()
    assert (pruning.kind, pruning.fields) == (Kind.PRUNED, {"first": 0, "last": 24, "count": 25})


def cosign(
    log: Path, keys: list[ec.EllipticCurvePrivateKey], by: list[ec.EllipticCurvePrivateKey] | None = None
) -> None:
    """Have these witnesses cosign the newest checkpoint, or others in their name."""
    checkpoints = checkpoints_of(log)
    for key, signer in zip(keys, by or keys, strict=True):
        kid = key_id(SimulatedToken(ORIGIN, key).enrolled)
        signed = cosign_statement(checkpoints[-1], kid, 77)
        r, s = decode_dss_signature(signer.sign(signed, ec.ECDSA(hashes.SHA256())))
        checkpoints[-1] = cosigned(checkpoints[-1], kid, 77, r.to_bytes(32) + s.to_bytes(32))
    put_checkpoints(log, checkpoints)


def test_witnesses_are_counted_and_a_forged_one_is_found(log: Path) -> None:
    neighbours = [ec.derive_private_key(number, ec.SECP256R1()) for number in (71, 72, 73)]
    for number, key in enumerate(neighbours):
        (log / f"{number}.pem").write_bytes(to_pem(SimulatedToken(ORIGIN, key).enrolled))
    policy = log / "witnesses.toml"
    policy.write_text('quorum = 2\nkeys = ["0.pem", "1.pem", "2.pem"]\n')
    assert verify_live(log, "--witnesses", policy).returncode == INCOMPLETE
    cosign(log, neighbours[:2])
    good = verify_live(log, "--witnesses", policy)
    assert (good.returncode, "cosigned by 2 of 3 witnesses" in good.stdout) == (VERIFIED, True)
    assert verify_live(log).returncode == VERIFIED
    cosign(log, neighbours[2:], [OTHER_KEY])
    forged = verify_live(log, "--witnesses", policy)
    assert (forged.returncode, "forged" in forged.stderr) == (TAMPERED, True)


def test_what_the_collector_signed_travels_with_the_export(log: Path) -> None:
    collector, reader = ec.derive_private_key(99, ec.SECP256R1()), Follower(log / "journal.db")
    (log / "collector.pem").write_bytes(to_pem(SimulatedToken(ORIGIN, collector).enrolled))
    checkpoints = SqliteCheckpoints(log / "checkpoints.db")
    rows, heads = reader.rows(0, 99), checkpoints.after(0, 0, 99)

    def told(ack: Ack, *more: object) -> Result:
        out = log / "log.cborseq"
        out.write_bytes(b"".join(sequence(ORIGIN, 1, rows, heads, acknowledged=sign_ack(ack, collector))))
        return verify("--export", out, "--key", log / "gate.pem", *more)

    good, key = Ack(ORIGIN, 1, 28, reader.root(28), 25, b"12345678", 1), ("--key", log / "collector.pem")
    reader.close()
    checkpoints.close()
    assert "its key was not given" in told(good).stdout
    verified = told(good, *key)
    assert (verified.returncode, "the collector signed for 28 entries" in verified.stdout) == (VERIFIED, True)
    assert told(replace(good, root=bytes(32)), *key).returncode == TAMPERED
    assert "entry 30 is missing" in told(replace(good, size=31), *key).stderr


def test_what_the_collector_signed_of_an_epoch_or_a_log_that_is_not_here_is_seen(log: Path) -> None:
    collector, reader = ec.derive_private_key(99, ec.SECP256R1()), Follower(log / "journal.db")
    (log / "collector.pem").write_bytes(to_pem(SimulatedToken(ORIGIN, collector).enrolled))
    checkpoints = SqliteCheckpoints(log / "checkpoints.db")
    rows, heads = reader.rows(0, 99), checkpoints.after(0, 0, 99)
    reader.close()
    checkpoints.close()
    for ack, said in (
        (Ack(ORIGIN, 2, 900, bytes(32), 900, b"x", 1), "somebody else holds a head of epoch 2"),
        (Ack("urn:gate:test:site:other", 1, 9, bytes(32), 9, b"x", 1), "what the collector signed is of another log"),
        (Ack(ORIGIN, 1, 8, bytes(32), 8, b"x", 1), "is not the one whose head somebody else holds"),
    ):
        out = log / "log.cborseq"
        out.write_bytes(b"".join(sequence(ORIGIN, 1, rows, heads, acknowledged=sign_ack(ack, collector))))
        found = verify("--export", out, "--key", log / "gate.pem", "--key", log / "collector.pem")
        assert (found.returncode, said in found.stderr) == (TAMPERED, True), found.stderr


def write_tagged(folder: Path, collector: ec.EllipticCurvePrivateKey) -> None:
    """Ten entries of which four are sealed, with tags, over two starts."""
    point = collector.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    clock, checkpoints = SteadyClock(), SqliteCheckpoints(folder / "checkpoints.db")
    log = Follower(folder / "journal.db")
    for start in range(2):
        journal = SqliteJournal.open(folder / "journal.db", ORIGIN, "gate", clock, collector=point)
        for number in range(4):
            asyncio.run(journal.append(Event(Kind.DENIED, {"reason": "expired", "number": number})))
            if (start, number) == (0, 2):
                sealer = Sealer(ORIGIN, SealingPolicy(), log, checkpoints, SimulatedToken(ORIGIN, KEY), clock)
                asyncio.run(sealer.seal())
        if start:
            log.close()
        journal.close()
    checkpoints.close()


def test_entries_without_a_seal_have_tags_that_only_the_gate_could_make(tmp_path: Path) -> None:
    collector = ec.generate_private_key(ec.SECP256R1())
    for name, key in (("collector.pem", collector), ("other-collector.pem", KEY)):
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (tmp_path / name).write_bytes(pem)
    (tmp_path / "gate.pem").write_bytes(to_pem(SimulatedToken(ORIGIN, KEY).enrolled))
    write_tagged(tmp_path, collector)
    check = ("--collector", tmp_path / "collector.pem")
    good = verify_live(tmp_path, *check)
    assert (good.returncode, good.stderr) == (VERIFIED, "")
    assert "10 entries, 4 sealed" in good.stdout
    assert verify_live(tmp_path, "--collector", tmp_path / "other-collector.pem").returncode == TAMPERED
    with closing(sqlite3.connect(tmp_path / "journal.db")) as file:
        tags = file.execute("SELECT tag, ix FROM leaf").fetchall()
    entries = entries_of(tmp_path)
    for index in (4, 7, 9):
        told = [*entries[:index], changed(entries[index]), *entries[index + 1 :]]
        put_entries(tmp_path, told)
        with closing(sqlite3.connect(tmp_path / "journal.db")) as file, file:
            file.executemany("UPDATE leaf SET tag = ? WHERE ix = ?", tags)
        assert verify_live(tmp_path).returncode == VERIFIED  # nothing covers it yet: without the tags nobody can tell
        result = verify_live(tmp_path, *check)
        assert (result.returncode, f"entry {index} has a wrong tag" in result.stderr) == (TAMPERED, True)


def test_a_pruning_that_is_the_first_write_after_an_error_has_a_tag_too(tmp_path: Path) -> None:
    collector = ec.generate_private_key(ec.SECP256R1())
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key = tmp_path / "collector.pem"
    key.write_bytes(collector.private_bytes(pem, private, serialization.NoEncryption()))
    (tmp_path / "gate.pem").write_bytes(to_pem(SimulatedToken(ORIGIN, KEY).enrolled))
    write_tagged(tmp_path, collector)
    point = collector.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    journal = SqliteJournal.open(tmp_path / "journal.db", ORIGIN, "gate", SteadyClock(), collector=point)
    asyncio.run(journal.append(Event(Kind.DENIED)))
    with pytest.raises(DeviceError, match="not written"):
        asyncio.run(journal.append(Event(Kind.DENIED, {"picture": cast(Value, 0.5)})))
    asyncio.run(journal.prune(below=4, sealed=4))
    asyncio.run(journal.append(Event(Kind.DENIED)))
    journal.close()
    found = verify_live(tmp_path, "--collector", key)
    assert (found.returncode, found.stderr) == (VERIFIED, "")


def test_the_verifier_runs_where_there_is_nothing_of_the_gate(log: Path) -> None:
    source = SCRIPT.read_text()
    copy = log / "verify_log.py"
    copy.write_text(source)
    files = ("--journal", log / "journal.db", "--checkpoints", log / "checkpoints.db", "--key", log / "gate.pem")
    command = [sys.executable, "-I", str(copy), *map(str, files)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd="/")
    assert (result.returncode, result.stderr) == (VERIFIED, "")
    assert "import edge" not in source
    assert "from edge" not in source


@pytest.mark.parametrize(
    "cbor", ["raise ImportError('No module named cbor2')", "def loads(encoded): pass"], ids=["none", "an old one"]
)
def test_a_missing_package_is_no_verdict_about_the_log(tmp_path: Path, cbor: str) -> None:
    (tmp_path / "cbor2.py").write_text(f"{cbor}\n")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == USAGE
    assert "pip install cbor2 cryptography" in done.stderr
    assert "Traceback" not in done.stderr
