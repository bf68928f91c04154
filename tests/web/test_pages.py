"""The pages, asked by a friend."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, cast

import pytest

from edge.audit.entry import Entry, Event, Kind, Quality
from edge.devices.checkpoints import CheckpointReader
from edge.devices.follower import Follower
from edge.devices.journal import LastHead
from edge.errors import Reason
from edge.passage import Indication
from edge.ports import Log
from edge.web import board as board_module
from edge.web import roll as roll_module
from edge.web import stream
from edge.web.kiosk import Screen
from edge.web.machine import Health

Folder = Any  # of conftest.py
Run = Callable[[Coroutine[Any, Any, Any]], Any]
SAMPLE = re.compile(r'^([a-z_]+)((?:\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\})?) (-?[0-9.e+]+)$')


def test_health_is_good_only_when_the_gate_says_so(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            await stand.read()
            silent = await stand.client.get("/health")
            assert silent.status_code == 503
            stand.show(Indication.READY)
            good = await stand.client.get("/health")
            assert good.status_code == 200
            assert good.json()["serving"] is True
            assert good.json()["log"] == {"entries": 1, "sealed": 0, "trouble": ""}
            await stand.put(Kind.DEVICE_LOST, device="token", detail="unplugged")
            await stand.read()
            assert (await stand.client.get("/health")).json()["lost"] == {"token": "unplugged"}
            stand.show(Indication.OUT_OF_SERVICE)
            assert (await stand.client.get("/health")).status_code == 503

    run(story())


def test_every_device_is_listed_as_the_gate_says_it_is(
    folder: Folder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roll_module, "EVERY_S", 0.05)

    async def story() -> None:
        async with folder.stand(roll=True) as stand:
            stand.devices |= {"camera": (True, ""), "token": (False, "unplugged"), "gate": (True, "")}
            await stand.put(Kind.DEVICE_LOST, device="camera", detail="no frame")  # it is back by now
            await stand.put(Kind.DEVICE_LOST, device="broker", detail="away")
            await stand.read()
            await stand.until(lambda: len(stand.board.devices()) == 4)
            found = {name: (device.ok, device.detail) for name, device in stand.board.devices().items()}
            assert found == {
                "broker": (False, "away"),
                "camera": (True, ""),
                "gate": (True, ""),
                "token": (False, "unplugged"),
            }
            assert (await stand.client.get("/health")).json()["lost"] == {"broker": "away", "token": "unplugged"}
            stand.devices.clear()
            await stand.until(lambda: len(stand.board.devices()) == 2)  # what the log knows stays

    run(story())


def test_a_lock_down_that_could_not_be_written_down_is_shown(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            stand.show(Indication.READY)
            await stand.put(Kind.COMMAND, what="lock-down", on=False, outcome="obeyed")
            await stand.read()
            assert stand.board.locked_down() is False
            stand.board.called({}, True)  # as the gate says when it is asked; the entry never comes
            assert stand.board.face().screen is Screen.CLOSED
            assert stream.standing(stand.board, Health())["closed"] is True
            assert "edge_locked_down 1" in (await stand.client.get("/metrics")).text
            await stand.read()
            assert stand.board.face().screen is Screen.CLOSED, "nor does any other entry say that it is open"

    run(story())


def test_an_entry_about_the_lock_down_is_news_before_the_gate_is_asked_again(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            await stand.read()
            for closed in (True, False):
                stand.board.called({}, not closed)
                await stand.put(Kind.COMMAND, what="lock-down", on=closed, outcome="obeyed")
                await stand.read()
                assert stand.board.locked_down() is closed

    run(story())


def test_a_log_that_cannot_be_read_is_said_and_read_again(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            stand.show(Indication.READY)
            await stand.read()
            journal = folder.path / "journal.db"
            journal.rename(folder.path / "away.db")
            journal.mkdir()
            await stand.until(lambda: bool(stand.board.trouble))
            answer = await stand.client.get("/health")
            assert answer.status_code == 503
            assert "journal" in answer.json()["log"]["trouble"]
            journal.rmdir()
            (folder.path / "away.db").rename(journal)
            await stand.until(lambda: not stand.board.trouble)

    run(story())


def samples(text: str) -> dict[str, float]:
    """Read the exposition format naively: HELP, TYPE, then samples of that family and no other."""
    found: dict[str, float] = {}
    family = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            assert family not in {name.partition("{")[0] for name in found}
        elif line.startswith("# TYPE "):
            assert line.split()[2] == family
            assert line.split()[3] in ("counter", "gauge", "histogram")
        else:
            match = SAMPLE.match(line)
            assert match, line
            assert match[1] == family or match[1] in {f"{family}_{part}" for part in ("bucket", "sum", "count")}
            assert match[1] + match[2] not in found
            found[match[1] + match[2]] = float(match[3])
    return found


def test_metrics_can_be_read_and_are_true(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            await stand.put(Kind.BOOT, attacks_detected=False)
            visit = await stand.put(Kind.GRANTED, stages={"read": 12_000, "verify": 900})
            await stand.put(Kind.TAKEN, visit=visit.index, whole_us=240_000)
            await stand.put(Kind.DENIED, reason="no-match")
            await stand.put(Kind.DEVICE_LOST, device='odd "name"\\\nof two lines', detail="")
            await stand.read()
            answer = await stand.client.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            found = samples(answer.text)
            assert found['edge_visits_total{outcome="granted"}'] == 1
            assert found['edge_refusals_total{reason="no-match"}'] == 1
            assert found['edge_refusals_total{reason="expired"}'] == 0
            assert found['edge_passages_total{outcome="taken"}'] == 1
            assert found['edge_visit_seconds_bucket{le="0.25"}'] == 1
            assert found['edge_visit_seconds_bucket{le="0.1"}'] == 0
            assert found["edge_visit_seconds_sum"] == pytest.approx(0.24)
            assert found['edge_stage_seconds_count{stage="read"}'] == 1
            assert found["edge_log_entries"] == 6
            assert found["edge_attack_detection_active"] == 0
            assert found['edge_device_up{device="odd \\"name\\"\\\\\\nof two lines"}'] == 0
            assert 10e6 < found["process_resident_memory_bytes"] < 1e11  # of the whole test run

    run(story())


def test_nobody_learns_from_counts_that_a_card_stood_for_a_threat(folder: Folder, run: Run) -> None:
    """Whoever forces a person may ask before and after: with quiet entries or without, the counts are the same."""

    async def counts(stand: Any) -> list[float]:
        await stand.read()
        found = samples((await stand.client.get("/metrics")).text)
        log = (await stand.client.get("/health")).json()["log"]
        entries, sealed = found["edge_log_entries"], found["edge_log_sealed_entries"]
        return [entries, entries - sealed, log["entries"], log["entries"] - log["sealed"]]

    async def grown(stand: Any, *, quiet: bool) -> list[float]:
        before = await counts(stand)
        visit = await stand.put(Kind.GRANTED, profile="x")
        if quiet:
            await stand.put(Kind.DURESS, granted=True, visit=visit.index)
            await stand.put(Kind.NOTICED, visit=visit.index)
        await stand.put(Kind.TAKEN, visit=visit.index)
        return [then - now for now, then in zip(before, await counts(stand), strict=True)]

    async def story() -> None:
        async with folder.stand() as stand:
            await stand.put(Kind.BOOT)
            stand.show(Indication.READY)
            assert await grown(stand, quiet=False) == [3, 3, 3, 3]  # the visit, its passage, and one by which we read
            assert await grown(stand, quiet=True) == [3, 3, 3, 3]

    run(story())


def test_the_metrics_are_those_of_the_readme(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            await stand.put(Kind.BOOT)
            await stand.put(Kind.CONFIGURATION, lane="card", trust_warn_s=3600)
            await stand.put(Kind.STATUS_UPDATE, version=3, issued=1_780_000_000, status_issued=1_780_000_000)
            await stand.put(Kind.COMMAND, what="lock-down", on=True, outcome="obeyed")
            await stand.read()
            families = set(re.findall(r"^# HELP (\S+)", (await stand.client.get("/metrics")).text, re.MULTILINE))
            readme = (folder.package / "README.md").read_text(encoding="utf-8")
            assert families == set(re.findall(r"^\| `((?:edge|process)_\w+)`", readme, re.MULTILINE))

    run(story())


def test_what_only_operators_may_learn_is_not_among_the_metrics(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            for kind in (Kind.DURESS, Kind.NOTICED, Kind.TAMPER):
                await stand.put(kind)
            await stand.read()
            found = samples((await stand.client.get("/metrics")).text)
            assert found['edge_events_total{kind="tamper"}'] == 1
            assert not any("duress" in name or "noticed" in name for name in found)

    run(story())


def test_an_old_trust_list_is_old_also_after_a_start(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            issued = int(stand.clock.moment.timestamp()) - 29 * 86400
            await stand.put(Kind.CONFIGURATION, lane="card", trust_warn_s=7 * 86400)
            await stand.put(Kind.TRUST_UPDATE, version=3, issuers=2, start=True, issued=issued)
            await stand.read()
            found = samples((await stand.client.get("/metrics")).text)
            assert found["edge_trust_updated_timestamp_seconds"] == issued
            assert found["edge_trust_old"] == 1
            told = stream.standing(stand.board, Health())
            assert told["trust_age_s"] == pytest.approx(29 * 86400, abs=60)
            assert told["trust_old"] is True
            assert told["status_at"] is None

    run(story())


def test_the_operator_page_names_the_gate_and_starts_with_a_warning(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            page = (await stand.client.get("/")).text
            assert "<h1>Harbour &lt;office&gt; · north</h1>" in page
            assert "It is not known yet whether attacks by photo or screen are detected." in page
            for landmark in ("<header", "<main", "<footer", 'role="status"', 'role="log"', 'lang="en"', "skip"):
                assert landmark in page
            size = len(page)
            for file in ("operator.css", "operator.js", "icon.svg"):
                size += len((await stand.client.get(f"/static/{file}")).content)
            assert size < 30_000

    run(story())


def test_the_kiosk_page_speaks_its_first_language_before_it_is_connected(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            page = (await stand.client.get("/kiosk?lang=ar,en")).text
            assert '<html lang="ar" dir="rtl">' in page
            assert "لحظة من فضلك" in page
            assert "{" not in page
            assert (await stand.client.get("/kiosk?lang=xx")).status_code == 404
            assert (await stand.client.get("/kiosk?lang=../../x")).status_code == 404

    run(story())


def test_after_a_restart_the_same_is_known(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            await stand.put(Kind.BOOT)
            await stand.put(Kind.DEVICE_LOST, device="token", detail="unplugged")
            codes = [reason.code for reason in Reason][:5]
            await stand.put_many(Event(Kind.DENIED, {"reason": codes[number % 5]}) for number in range(300))
            await stand.read()
            before = stand.board.standing
        async with folder.stand() as stand:
            await stand.until(lambda: stand.board.standing.size >= before.size)
            assert replace(stand.board.standing, boot=before.boot) == before
            assert stand.board.face().reason is None

    run(story())


def test_old_entries_are_not_added_up_for_ever(folder: Folder, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "HISTORY", 400)

    async def story() -> None:
        async with folder.stand() as stand:
            await stand.put_many([Event(Kind.EXIT_REQUEST)] * 1000)
        async with folder.stand() as stand:
            await stand.until(lambda: stand.board.standing.size == 1000)
            assert stand.board.standing.kinds[Kind.EXIT_REQUEST] == 400

    run(story())


def test_what_was_said_long_ago_and_still_holds_is_known_after_a_restart(
    folder: Folder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_module, "HISTORY", 400)

    async def story() -> None:
        async with folder.stand() as stand:
            await stand.put(Kind.CONFIGURATION, lane="gallery", profile="egate", overrule_s=90)
            for version in (3, 4):
                await stand.put_many([Event(Kind.EXIT_REQUEST)] * 300)
                await stand.put(Kind.TRUST_UPDATE, version=version, issuers=2, issued=1_780_000_000 + version)
            await stand.put(Kind.COMMAND, what="lock-down", on=True, outcome="obeyed")
            await stand.put_many([Event(Kind.EXIT_REQUEST)] * 900)
            board = board_module.Board(stand.log, CheckpointReader(folder.path / "none.db"))
            following = asyncio.create_task(board.follow())
            while board.epoch is None:
                await board.news(board.turn, 0.1)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            known = board.standing
            assert (known.profile, known.lane, known.overrule_s, known.closed) == ("egate", True, 90, True)
            assert known.trust == "version 4, 2 issuers"
            assert known.size == stand.log.size()
            assert known.kinds[Kind.EXIT_REQUEST] == 400

    run(story())


def test_only_the_last_start_of_the_gate_is_added_up(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            await stand.put_many([Event(Kind.EXIT_REQUEST)] * 300)
        async with folder.stand() as stand:
            await stand.put_many([Event(Kind.DENIED, {"reason": "expired"})] * 250)
            await stand.read()
            board = board_module.Board(stand.log, CheckpointReader(folder.path / "none.db"))
            following = asyncio.create_task(board.follow())
            while board.epoch is None:
                await board.news(board.turn, 0.1)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            assert board.standing.kinds == {Kind.DENIED: 250, Kind.EXIT_REQUEST: 1}

    run(story())


def test_a_new_epoch_of_the_log_begins_afresh(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            for _ in range(5):
                await stand.put(Kind.EXIT_REQUEST)
            await stand.read()
            first = stand.board.epoch
        ahead = LastHead(first, 99, b"r" * 32, b"d" * 32)
        async with folder.stand(last=ahead) as stand:
            await stand.read()
            assert stand.board.epoch == first + 1
            assert Kind.EPOCH_OPEN in stand.board.standing.kinds

    run(story())


class Memory:
    """A log that a test can exchange at will."""

    def __init__(self) -> None:
        self.kinds: list[Kind] = []

    def epoch(self) -> int:
        return 1

    def size(self) -> int:
        return len(self.kinds)

    def entries(self, first: int, count: int) -> list[Entry]:
        some = list(enumerate(self.kinds))[first : first + count]
        return [Entry(index, 1, 0, Quality.SYNCED, 0, 1, kind, "north", {}) for index, kind in some]


def test_a_page_that_is_open_begins_afresh_with_another_log(folder: Folder, run: Run) -> None:
    async def story() -> None:
        log, checkpoints = Memory(), CheckpointReader(folder.path / "none.db")
        log.kinds = [Kind.EXIT_REQUEST] * 5
        board = board_module.Board(cast(Log, log), checkpoints)
        following = asyncio.create_task(board.follow())
        events = stream.entries(board, None)
        told: list[tuple[str, int]] = []

        async def until(last: tuple[str, int]) -> None:
            while not told or told[-1] != last:
                name, _, rest = (await anext(events)).decode().partition("event: ")[2].partition("\ndata: ")
                if name in ("entry", "fresh"):
                    told.append((name, json.loads(rest).get("index", -1)))

        await until(("entry", 4))
        log.kinds = [Kind.FIRE, Kind.FIRE_OVER]
        await until(("entry", 1))
        assert told[5:] == [("fresh", -1), ("entry", 0), ("entry", 1)]
        for before in ((1, 4), (0, 1)):  # of another log: the page forgets what it shows of that
            named = stream.entries(board, before)
            assert [(await anext(named)).split(b"\n")[0] for _ in range(3)] == [
                b"retry: 1000",
                b"event: fresh",
                b"id: 1-0",
            ]
        named = stream.entries(board, (1, 0))
        assert [(await anext(named)).split(b"\n")[0] for _ in range(2)] == [b"retry: 1000", b"id: 1-1"]
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    run(story())


def test_a_log_that_was_put_in_the_place_of_another_is_read_afresh(folder: Folder, run: Run) -> None:
    async def story() -> None:
        log, checkpoints = Memory(), CheckpointReader(folder.path / "none.db")
        board = board_module.Board(cast(Log, log), checkpoints)
        following = asyncio.create_task(board.follow())
        for kinds in ([Kind.EXIT_REQUEST] * 5, [Kind.FIRE]):
            log.kinds = kinds
            while board.standing.size != len(kinds):
                await board.news(board.turn, 0.1)
        while board.face().screen is not Screen.FIRE:
            await board.news(board.turn, 0.1)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    run(story())


class Busy(Memory):
    """A log to which something is added after every look."""

    def entries(self, first: int, count: int) -> list[Entry]:
        found = super().entries(first, count)
        if len(self.kinds) < 50:
            self.kinds.append(Kind.EXIT_REQUEST)
        return found


def test_nothing_is_missed_while_the_gate_is_busy(folder: Folder, run: Run) -> None:
    async def story() -> None:
        board = board_module.Board(cast(Log, Busy()), CheckpointReader(folder.path / "none.db"))
        following = asyncio.create_task(board.follow())
        while board.standing.size < 50:
            await board.news(board.turn, 0.1)
        assert board.standing.kinds == {Kind.EXIT_REQUEST: 50}
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    run(story())


def test_pruned_entries_are_passed_over(folder: Folder, run: Run) -> None:
    class Pruned(Memory):
        def entries(self, first: int, count: int) -> list[Entry]:
            return [entry for entry in super().entries(first, count) if entry.index >= 450]

    async def story() -> None:
        log = Pruned()
        log.kinds = [Kind.EXIT_REQUEST] * 460
        board = board_module.Board(cast(Log, log), CheckpointReader(folder.path / "none.db"))
        following = asyncio.create_task(board.follow())
        while board.standing.size < 460:
            await board.news(board.turn, 0.1)
        assert board.standing.kinds == {Kind.EXIT_REQUEST: 10}
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    run(story())


def test_before_the_gate_first_ran_the_pages_are_there(folder: Folder, run: Run) -> None:
    async def story() -> None:
        follower, checkpoints = Follower(folder.path / "none.db"), CheckpointReader(folder.path / "none either.db")
        board = board_module.Board(follower, checkpoints)
        following = asyncio.create_task(board.follow())
        while board.sealed is None:
            await board.news(board.turn, 0.1)
        assert board.trouble == ""
        assert board.standing.size == 0
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    run(story())


def test_health_holds_no_more_than_it_should(folder: Folder, run: Run) -> None:
    async def story() -> None:
        async with folder.stand() as stand:
            await stand.put(Kind.GRANTED, name="Mwangi", stages={"read": 5})
            await stand.read()
            for path in ("/health", "/metrics"):
                assert "Mwangi" not in (await stand.client.get(path)).text
            assert "Mwangi" not in repr(stand.board.recent)

    run(story())
