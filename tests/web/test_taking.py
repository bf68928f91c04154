"""What operators take away and look up: an export that verifies, the visit that a receipt is about."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from edge.app.web import exported
from edge.audit import receipt
from edge.audit.checkpoint import Checkpoint, Head
from edge.audit.entry import Kind, decode, deterministic
from edge.audit.export import read
from edge.audit.proof import prove
from edge.devices.checkpoints import CheckpointReader, SqliteCheckpoints
from edge.settings import Web
from edge.trust.operators import Role

Folder = Any  # of conftest.py
Run = Callable[[Coroutine[Any, Any, Any]], Any]
ORIGIN = "urn:gate:a:b:c"
WEB = Web("127.0.0.1", 0)


def pieces(text: str) -> list[str]:
    """A receipt as the page sends it."""
    return [text[at : at + 250] for at in range(0, len(text), 250)]


def receipt_of(stand: Any, folder: Folder, index: int) -> str:
    """The receipt of an entry, as the kiosk shows it."""
    checkpoints = CheckpointReader(folder.path / "checkpoints.db")
    covering = checkpoints.covering(stand.log.epoch(), index)
    assert covering is not None
    path = stand.log.inclusion(index, covering.head.size)
    checkpoints.close()
    return receipt.text_of(prove(index, stand.log.read(index, 1)[0], path, covering, blind=True))


def test_a_receipt_finds_its_visit_and_nothing_else(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            phone = await stand.enrolled(role=Role.OPERATOR)
            token = await stand.logged_in(phone)
            await stand.put(Kind.EXIT_REQUEST)
            visit = await stand.put(Kind.DENIED, reason="expired", salt=bytes(16))
            other = await stand.put(Kind.EXIT_REQUEST)
            await stand.seal()

            async def found(text: str) -> dict[str, Any]:
                answer = await stand.act("receipt", token, text=pieces(text))
                assert answer.status_code in (200, 422), answer.text
                told: dict[str, Any] = answer.json()
                return told

            text = receipt_of(stand, folder, visit.index)
            told = await found(text)
            assert told["found"] == "here"
            assert (told["entry"]["index"], told["entry"]["reason"]) == (visit.index, "expired")
            await stand.put(Kind.EXIT_REQUEST)  # the log goes on, the receipt stays good
            assert (await found(f"  {text}\n"))["found"] == "here"
            assert (await found(receipt_of(stand, folder, other.index)))["found"] == "none"  # no visit
            forged = receipt.read(text)
            for wrong in (replace(forged, leaf=bytes(32)), replace(forged, path=(bytes(32), *forged.path[1:]))):
                assert (await found(receipt.text_of(wrong)))["found"] == "another"
            number = receipt.number_of(forged)
            written = number.lower().replace("-", " \u2013 ").replace("o", "0").replace("i", "1").replace("b", "8")
            for as_written in (number, written):
                assert (await found(as_written))["entry"]["reason"] == "expired", as_written
            epoch, index, letters = number.split("-")
            for unwritten in (
                f"{epoch}-{other.index}-{letters}",
                f"{epoch}-{index}-AAAAAAAA",
                f"{epoch}-999999-{letters}",
            ):
                assert (await found(unwritten))["found"] == "none", unwritten
            assert (await found(f"7-{index}-{letters}"))["found"] == "another-epoch"
            for odd in (
                f"{epoch}-{index}",
                f"{epoch}-{index}-{letters[:5]}",
                f"-1-{index}-{letters}",
                "1-\u0663-AAAAAAAA",
            ):
                assert (await found(odd)).get("no") == "none", odd
            for odd in ("", "GATE1:", "GATE1:A", text[:-1], text + "A", text.lower(), "HTTPS://EXAMPLE.ORG"):
                assert (await found(odd)).get("no") == "none", odd

    run(story())


def sealed(path: Path, many: int) -> None:
    """A log's life: one checkpoint after the other, which nobody verifies here."""
    store, root = SqliteCheckpoints(path), bytes(32)
    with store._reading.asking() as file:
        assert file is not None
        heads = (Head(ORIGIN, 0, size, root, size - 1, root, 1_780_000_000 + size) for size in range(1, many + 1))
        rows = ((h.epoch, h.size, root, Checkpoint(h, bytes(8), None, bytes(64)).encode(), h.at_s) for h in heads)
        file.execute("BEGIN")
        file.executemany("INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?)", rows)
        file.execute("COMMIT")
    store.close()


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_long_log_is_taken_away_while_the_pages_go_on(folder: Folder) -> None:
    """Months of checkpoints: one piece of memory, and nobody waits, for none of it is made where pages are served."""
    many = int(os.environ.get("EDGE_CHECKPOINTS", "40000"))
    sealed(folder.path / "checkpoints.db", many)

    makers: list[int] = []

    def noted(*places: Any) -> Iterator[bytes]:
        for item in exported(*places):
            makers.append(threading.get_ident())
            yield item

    folder.sequence = noted

    async def story() -> None:
        async with folder.stand(WEB, port=True) as stand:
            phone = await stand.enrolled()
            token = await stand.logged_in(phone)
            link = (await stand.act("export", token, why="audit", codes=[phone.next()])).json()["link"]
            ticket = {"Cookie": f"edge-operator={stand.client.cookies['edge-operator']}"}
            before, most, size, last = resident(), 0, 0, b""
            patient = httpx.AsyncClient(headers=ticket, timeout=60)
            async with patient as client, client.stream("GET", stand.url + link) as answer:
                assert answer.status_code == 200
                async for piece in answer.aiter_bytes():
                    size, last, most = size + len(piece), (last + piece)[-64:], max(most, resident())
            assert last.endswith(deterministic(["end", 1 + stand.log.size() + many]))
            assert size > many * 200
            assert most - before < 30e6, f"{(most - before) / 1e6:.1f} MB"
            assert len(makers) > many
            assert threading.get_ident() not in makers

    asyncio.run(story())


def test_an_export_holds_the_whole_log_in_order(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand(WEB) as stand:
            phone = await stand.enrolled()
            token = await stand.logged_in(phone)
            for _ in range(300):
                await stand.put(Kind.EXIT_REQUEST)
            told = (await stand.act("export", token, why="audit", codes=[phone.next()])).json()
            taken = read((await stand.client.get(told["link"])).content)
            assert [decode(entry).index for entry in taken.entries if entry] == list(range(stand.log.size()))
            last = decode(taken.entries[-1] or b"")
            assert (last.kind, last.index, last.fields["why"]) == (Kind.EXPORT, told["entry"], "audit")

    run(story())
