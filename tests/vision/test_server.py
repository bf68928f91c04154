from __future__ import annotations

import asyncio
import gc
import struct
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import segno

from edge import settings, wire
from edge.biometric.enrolled import Seals
from edge.biometric.values import (
    Comparison,
    Enrolled,
    Hint,
    Identification,
    ModelSet,
    Picture,
    Probe,
    ProbeQuality,
    ReferenceKind,
)
from edge.errors import DeviceError
from edge.iavs.handing import Handing
from edge.ports import Code
from edge.vision import server as server_module
from edge.vision.enrolled import Galleries
from edge.vision.frames import Pixels
from edge.vision.models import Sessions
from edge.vision.server import Vision
from edge.vision.simulated import PaintDetector, PaintSessions, paint

Run = Callable[[Coroutine[Any, Any, Any]], Any]
TEXT = "NCFOXN" * 40
WANTED = ProbeQuality()


class Stage:
    """Footage for a camera, switched while it plays."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        empty = np.full((360, 640, 3), 110, np.uint8)
        person, other, card = empty.copy(), empty.copy(), empty.copy()
        paint(person, 1, (320, 140), 70)
        paint(other, 1, (160, 140), 70)
        paint(other, 2, (480, 140), 70)
        bits = np.array([list(row) for row in segno.make_qr(TEXT, error="l").matrix], np.uint8)
        page = np.pad(np.where(bits == 1, 25, 230).astype(np.uint8), 4, constant_values=230)
        page = np.asarray(cv2.resize(page, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST), np.uint8)
        card[10 : 10 + page.shape[0], 10 : 10 + page.shape[1]] = page[:, :, None]
        both = person.copy()
        both[10 : 10 + page.shape[0], 400 : 400 + page.shape[1]] = page[: 360 - 10, : 640 - 400, None]
        for name, scene in {"empty": empty, "person": person, "two": other, "card": card}.items():
            np.save(folder / f"{name}.npy", scene[None])
        self.play("empty.npy loop")

    def play(self, line: str) -> None:
        (self.folder / "next").write_text(line + "\n")
        (self.folder / "next").replace(self.folder / "playing")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def chosen(stage: Stage, frozen_s: float = 60.0) -> settings.Camera:
    return settings.Camera("footage", str(stage.folder), 640, 360, 50.0, frozen_s)


@asynccontextmanager
async def serving(
    stage: Stage,
    sessions: Sessions | DeviceError | None = None,
    galleries: Galleries | None = None,
    *,
    frozen_s: float = 60.0,
) -> AsyncIterator[tuple[Vision, Path]]:
    vision = Vision(chosen(stage, frozen_s), sessions or PaintSessions(), galleries=galleries)
    path = stage.folder / "vision.sock"
    running = asyncio.create_task(vision.run(path))
    while not path.exists():  # noqa: ASYNC110 -- a file, not an event
        await asyncio.sleep(0.01)
    try:
        yield vision, path
    finally:
        for gate in Gate.all:
            gate.leave()
        Gate.all.clear()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert not path.exists()


class Gate:
    """The other end, without manners of its own."""

    all: ClassVar[list[Gate]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.hints: list[Hint] = []
        self.all.append(self)

    @classmethod
    async def at(cls, path: Path) -> Gate:
        return cls(*await asyncio.open_unix_connection(path))

    async def ask(self, question: wire.Message) -> wire.Message:
        await wire.send(self.writer, question)
        while isinstance(answer := await wire.receive(self.reader), wire.Hinted):
            self.hints.append(answer.hint)
        return answer

    async def is_cut_off(self) -> bool:
        with suppress(ConnectionError):
            return await self.reader.read() == b""
        return True

    def leave(self) -> None:
        self.writer.close()


def card(who: int) -> Picture:
    picture = np.full((96, 96, 3), 110, np.uint8)
    paint(picture, who, (48, 44), 34)
    return Picture(cv2.imencode(".png", picture)[1].tobytes())


async def probed(gate: Gate, newer_than: int = 0) -> Probe:
    answer = await gate.ask(wire.AskProbe(WANTED, newer_than, 50.0))
    assert isinstance(answer, Probe), answer
    return answer


async def until(true: Callable[[], object]) -> None:
    while not true():  # noqa: ASYNC110 -- a state, not an event
        await asyncio.sleep(0.01)


def test_a_visit_from_code_to_comparison(run: Run, stage: Stage) -> None:
    async def story() -> None:
        async with serving(stage) as (vision, path):
            gate = await Gate.at(path)
            stage.play("card.npy loop")
            code = await gate.ask(wire.AskCode(50.0))
            assert isinstance(code, Code)
            assert code.text == TEXT
            assert isinstance(await gate.ask(wire.AskModels()), ModelSet)
            stage.play("person.npy loop")
            probe = await probed(gate, code.frame - 1)
            assert probe.frame >= code.frame
            comparison = await gate.ask(wire.AskComparison(card(1), probe.number))
            assert isinstance(comparison, Comparison)
            assert comparison.score == pytest.approx(1.0)
            assert comparison.probe == probe.number
            assert await gate.ask(wire.Forget()) == wire.Done()
            assert isinstance(await gate.ask(wire.AskComparison(card(1), probe.number)), wire.Failed)
            assert vision.conditions() == {"camera": "", "models": ""}
            assert vision.alive()
            begun, over = threading.Event(), threading.Event()

            def slow() -> None:
                begun.set()
                over.wait(60)

            vision._worker.submit(slow)
            await until(begun.is_set)
            vision._worker_back_at -= 31.0
            assert not vision.alive()
            over.set()
            await until(vision.alive)

    run(story())


def test_no_code_before_the_deadline_is_nothing_to_report(run: Run, stage: Stage) -> None:
    async def story() -> None:
        async with serving(stage) as (_, path):
            assert await (await Gate.at(path)).ask(wire.AskCode(0.2)) == wire.Done()

    run(story())


def test_a_code_that_is_read_while_the_question_ends_is_answered_all_the_same(run: Run, stage: Stage) -> None:
    """It counts once: whoever was not told of it now would never be."""

    async def story() -> None:
        async with serving(stage) as (vision, path):
            look, begun = vision._reader.code, list[Code]()

            def slow(frame: Any) -> Code | None:
                found = look(frame)
                if found is not None:
                    begun.append(found)
                    time.sleep(0.6)  # longer than the question
                return found

            vision._reader.code = slow  # type: ignore[method-assign] # a look that takes its time
            gate = await Gate.at(path)
            stage.play("card.npy loop")
            answer: wire.Message = wire.Done()
            while not begun:
                answer = await gate.ask(wire.AskCode(0.5))
            assert answer == begun[0]

    run(story())


def test_a_code_held_up_during_the_visit_does_not_count_again(run: Run, stage: Stage) -> None:
    async def story() -> None:
        stage.play("card.npy loop")
        async with serving(stage) as (_, path):
            gate = await Gate.at(path)
            assert isinstance(await gate.ask(wire.AskCode(50.0)), Code)
            refused = await gate.ask(wire.AskProbe(WANTED, 0, 1.0))
            assert isinstance(refused, wire.Refused)
            await asyncio.sleep(0.5)
            assert await gate.ask(wire.AskCode(0.3)) == wire.Done()

    run(story())


@pytest.mark.parametrize(("scene", "reason"), [("empty", "no-biometric-probe"), ("two", "several-faces")])
def test_a_probe_that_does_not_come_is_refused_with_its_reason(
    run: Run, stage: Stage, later: Callable[[float], None], scene: str, reason: str
) -> None:
    async def story() -> None:
        stage.play(f"{scene}.npy loop")
        async with serving(stage) as (vision, path):
            gate = await Gate.at(path)
            asking = asyncio.create_task(gate.ask(wire.AskProbe(WANTED, 0, 30.0)))
            await until(lambda: gate.hints if scene == "two" else vision._read_number)  # somebody has looked
            later(31.0)
            answer = await asking
            assert isinstance(answer, wire.Refused)
            assert answer.reason == reason

    run(story())


@pytest.mark.parametrize("line", ["gone", "empty.npy freeze"])
def test_a_camera_that_fails_under_a_question_fails_it(run: Run, stage: Stage, line: str) -> None:
    async def story() -> None:
        async with serving(stage, frozen_s=1.0) as (vision, path):
            gate = await Gate.at(path)
            while await gate.ask(wire.AskCode(0.1)) != wire.Done():
                pass
            asking = asyncio.create_task(gate.ask(wire.AskProbe(WANTED, 0, 50.0)))
            await asyncio.sleep(0.1)
            stage.play(line)
            answer = await asking
            assert isinstance(answer, wire.Failed)
            assert answer.device == "camera"
            await until(lambda: vision.conditions()["camera"])
            stage.play("person.npy loop")
            answer = await gate.ask(wire.AskProbe(WANTED, 0, 50.0))
            while not isinstance(answer, Probe):  # once it is back
                answer = await gate.ask(wire.AskProbe(WANTED, 0, 50.0))

    run(story())


def test_while_a_probe_is_awaited_the_gate_hears_what_would_help(
    run: Run, stage: Stage, later: Callable[[float], None]
) -> None:
    async def story() -> None:
        stage.play("two.npy loop")
        async with serving(stage) as (_, path):
            gate = await Gate.at(path)
            asking = asyncio.create_task(gate.ask(wire.AskProbe(WANTED, 0, 30.0)))
            await until(lambda: gate.hints)
            stage.play("empty.npy loop")
            await until(lambda: len(gate.hints) > 1)
            later(31.0)
            assert isinstance(await asking, wire.Refused)
            assert gate.hints == [Hint.ALONE, Hint.LOOK]

    run(story())


def test_models_that_do_not_load_are_told_for_each_question_about_faces(run: Run, stage: Stage) -> None:
    async def story() -> None:
        async with serving(stage, DeviceError("models", "self-test failed")) as (vision, path):
            gate = await Gate.at(path)
            for question in (wire.AskModels(), wire.AskProbe(WANTED, 0, 1.0), wire.AskComparison(card(1), 1)):
                assert await gate.ask(question) == wire.Failed("models", "self-test failed")
            assert vision.conditions()["models"] == "self-test failed"

    run(story())


@pytest.mark.parametrize(
    "noise",
    [
        struct.pack(">I", wire.LIMIT + 1),
        struct.pack(">I", 2**32 - 1),
        struct.pack(">I", 5) + b"\xff\xfe\x00ab",
        struct.pack(">I", 0),
        b"GET / HTTP/1.1\r\n\r\n",
        *(struct.pack(">I", len(body)) + body for body in (wire.encode(wire.Done()), wire.encode(wire.AskCode(-1.0)))),
        *(
            struct.pack(">I", len(body)) + body
            for body in (wire.encode(wire.AskCode(float("nan"))), wire.encode(wire.AskCode(1e9)))
        ),
    ],
)
def test_who_speaks_something_else_is_cut_off_and_the_next_is_served(run: Run, stage: Stage, noise: bytes) -> None:
    async def story() -> None:
        async with serving(stage) as (_, path):
            stranger = await Gate.at(path)
            stranger.writer.write(noise)
            assert await stranger.is_cut_off()
            assert isinstance(await (await Gate.at(path)).ask(wire.AskModels()), ModelSet)

    run(story())


def test_who_asks_before_the_answer_is_cut_off(run: Run, stage: Stage) -> None:
    async def story() -> None:
        async with serving(stage) as (_, path):
            gate = await Gate.at(path)
            await wire.send(gate.writer, wire.AskCode(50.0))
            await asyncio.sleep(0.05)
            await wire.send(gate.writer, wire.AskModels())
            assert await gate.is_cut_off()

    run(story())


def test_a_second_client_is_turned_away_and_the_first_is_not_disturbed(run: Run, stage: Stage) -> None:
    async def story() -> None:
        async with serving(stage) as (_, path):
            gate = await Gate.at(path)
            assert isinstance(await gate.ask(wire.AskModels()), ModelSet)
            assert await (await Gate.at(path)).is_cut_off()
            assert isinstance(await gate.ask(wire.AskModels()), ModelSet)

    run(story())


def test_when_the_gate_goes_mid_question_everything_is_forgotten_and_the_next_is_served(
    run: Run, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_LEAVING_S", 50.0)

    async def story() -> None:
        stage.play("person.npy loop")
        async with serving(stage) as (vision, path):
            gate = await Gate.at(path)
            probe = await probed(gate)
            await wire.send(gate.writer, wire.AskCode(30.0))
            await asyncio.sleep(0.05)
            gate.leave()
            answer = await (await Gate.at(path)).ask(wire.AskComparison(card(1), probe.number))
            assert isinstance(answer, wire.Failed)
            assert vision._faces is not None
            assert vision._faces._templates == {}

    run(story())


def test_what_nobody_expected_ends_the_connection_without_quoting_anybody(
    run: Run, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    class Careless(PaintSessions):
        @property
        def models(self) -> ModelSet:
            raise KeyError("Anna Schmidt")

        @models.setter
        def models(self, value: ModelSet) -> None: ...

    async def story() -> None:
        sessions = object.__new__(Careless)
        async with serving(stage, sessions) as (_, path):
            gate = await Gate.at(path)
            await wire.send(gate.writer, wire.AskModels())
            assert await gate.is_cut_off()

    run(story())
    assert "KeyError" in caplog.text
    assert "Exception in callback" not in caplog.text
    assert "Schmidt" not in caplog.text


def test_pixels_of_a_visit_are_gone_after_it(run: Run, stage: Stage) -> None:
    seen: list[weakref.ref[Pixels]] = []

    class Noticing(PaintDetector):
        def detect(self, image: Pixels) -> list[Any]:
            seen.append(weakref.ref(image))
            return super().detect(image)

    async def story() -> None:
        stage.play("person.npy loop")
        async with serving(stage, PaintSessions(detector=Noticing())) as (_, path):
            gate = await Gate.at(path)
            probe = await probed(gate)
            await gate.ask(wire.AskComparison(card(1), probe.number))
            await gate.ask(wire.Forget())
            assert seen
            await until(lambda: gc.collect() >= 0 and all(ref() is None for ref in seen))

    run(story())


def test_a_reference_that_is_none_is_refused_before_anybody_is_asked_to_look(run: Run, stage: Stage) -> None:
    async def story() -> None:
        async with serving(stage) as (_, path):
            gate = await Gate.at(path)
            answer = await gate.ask(wire.AskProbe(WANTED, 0, 59.0, Picture(b"no picture")))
            assert isinstance(answer, wire.Refused)
            assert answer.reason == "reference-unusable"  # and not, a minute later, that nobody came

    run(story())


def test_the_reference_is_looked_at_while_the_face_is_awaited(run: Run, stage: Stage) -> None:
    looks: list[tuple[int, ...]] = []

    class Noticing(PaintDetector):
        def detect(self, image: Pixels) -> list[Any]:
            looks.append(image.shape)
            return super().detect(image)

    async def story() -> None:
        async with serving(stage, PaintSessions(detector=Noticing())) as (vision, path):
            gate = await Gate.at(path)
            asking = asyncio.create_task(gate.ask(wire.AskProbe(WANTED, 0, 50.0, card(1))))
            await until(lambda: vision._faces is not None and vision._faces._prepared is not None)
            stage.play("person.npy loop")
            probe = await asking
            assert isinstance(probe, Probe)
            looks.clear()
            answer = await gate.ask(wire.AskComparison(card(1), probe.number))
            assert isinstance(answer, Comparison)
            assert answer.score == pytest.approx(1.0)
            assert "prepare" in answer.took_us
            assert looks == []  # it was looked at by then

    run(story())


def test_a_gallery_is_asked_over_the_same_socket(run: Run, stage: Stage) -> None:
    hand, seals = Handing(stage.folder / "faces", Seals(bytes(32)), ("staff",), ("staff",)), Seals(bytes(32))
    hand.begin()
    one, two = np.eye(8, dtype=np.float32)[1:3]
    hand.hand_over(seals.card("staff", "issuer 1"), {"paint-1": one})
    hand.hand_over(seals.lane("staff", "anna"), {"paint-1": one})
    hand.hand_over(seals.lane("staff", "ben"), {"paint-1": two})

    async def story() -> None:
        async with serving(stage, galleries=Galleries(stage.folder / "faces", seals)) as (_, path):
            gate = await Gate.at(path)
            assert await gate.ask(wire.AskEnrolled("staff", "issuer 1")) == wire.Done()
            unknown = await gate.ask(wire.AskEnrolled("staff", "issuer 2"))
            assert isinstance(unknown, wire.Refused)
            assert unknown.reason == "not-enrolled"
            stage.play("person.npy loop")
            probe = await probed(gate)
            comparison = await gate.ask(wire.AskComparison(Enrolled("staff", "issuer 1"), probe.number))
            assert isinstance(comparison, Comparison)
            assert comparison.kind is ReferenceKind.GALLERY
            assert comparison.score == pytest.approx(1.0)
            found = await gate.ask(wire.AskSearch("staff", probe.number))
            assert isinstance(found, Identification)
            assert (found.candidate, found.among) == (seals.lane("staff", "anna").name, 2)
            elsewhere = await gate.ask(wire.AskSearch("guests", probe.number))
            assert isinstance(elsewhere, wire.Refused)
            assert elsewhere.reason == "gallery-fault"
            assert await gate.ask(wire.Forget()) == wire.Done()
            assert isinstance(await gate.ask(wire.AskSearch("staff", probe.number)), wire.Failed)

    run(story())


def test_a_hint_that_holds_no_more_is_taken_back(run: Run, stage: Stage) -> None:
    async def story() -> None:
        async with serving(stage) as (_, path):
            gate = await Gate.at(path)
            far = np.full((360, 640, 3), 110, np.uint8)
            paint(far, 1, (320, 140), 30)
            np.save(stage.folder / "far.npy", far[None])
            stage.play("far.npy loop")
            wanted = replace(WANTED, frames=60)  # so many that a good face is looked at for a while
            asking = asyncio.create_task(gate.ask(wire.AskProbe(wanted, 0, 50.0)))
            await until(lambda: gate.hints)
            stage.play("person.npy loop")
            assert isinstance(await asking, Probe)
            assert gate.hints[0] is Hint.CLOSER
            assert gate.hints[-1] is Hint.LOOK

    run(story())
