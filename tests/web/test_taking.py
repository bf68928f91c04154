"""What operators take away and look up: an export that verifies, the visit that a receipt is about."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from edge.audit import receipt
from edge.audit.entry import Kind, decode
from edge.audit.export import read
from edge.audit.proof import prove
from edge.devices.checkpoints import CheckpointReader
from edge.settings import Web
from edge.trust.operators import Role

Folder = Any  # of conftest.py
Run = Callable[[Coroutine[Any, Any, Any]], Any]
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
            for odd in ("", "GATE1:", "GATE1:A", text[:-1], text + "A", text.lower(), "HTTPS://EXAMPLE.ORG"):
                assert (await found(odd)).get("no") == "none", odd

    run(story())


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
