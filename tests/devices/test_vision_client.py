from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import wire
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
from edge.devices.vision import VisionClient
from edge.errors import DeviceError, Reason, Refusal
from edge.ports import Code, Faces, Reader

Run = Callable[[Coroutine[Any, Any, Any]], Any]
WANTED = ProbeQuality()


def code(frame: int, **changes: Any) -> Code:
    values: dict[str, Any] = {"text": "NCFX", "frame": frame, "seen_at": time.monotonic(), "took_us": 900}
    return Code(**values | changes)


def probe(**changes: Any) -> Probe:
    values: dict[str, Any] = {
        "number": 5,
        "frame": 11,
        "seen_at": time.monotonic(),
        "eyes_px": 80.0,
        "sharpness": 90.0,
        "brightness": 120.0,
        "bona_fide": None,
        "took_us": {"detect": 4000},
    }
    return Probe(**values | changes)


def comparison(**changes: Any) -> Comparison:
    values: dict[str, Any] = {
        "probe": 5,
        "score": 0.9,
        "model": "m-1",
        "kind": ReferenceKind.SMALL,
        "took_us": {"compare": 10},
    }
    return Comparison(**values | changes)


SILENCE = 0.0
"""An answer that does not come for as long as the client stays."""


@asynccontextmanager
async def answering(
    path: Path, *answers: wire.Message | bytes | float | None, grace_s: float = 20.0, answer_s: float = 20.0
) -> AsyncIterator[VisionClient]:
    """A vision that gives these answers whatever it is asked: a message, bytes, silence, or goodbye.

    The client's deadlines are long, so that a slow machine is not taken for a silent vision.
    """
    script = iter(answers)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                answer = next(script, None)  # drawn first: a client that gave up before it asked has had its silence
                await wire.receive(reader)
                match answer:
                    case None:
                        return
                    case float():
                        await reader.read()
                        return
                    case bytes(noise):
                        writer.write(noise)
                    case message:
                        await wire.send(writer, message)
        except (EOFError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(talk, path)
    client = VisionClient(path, grace_s=grace_s, answer_s=answer_s)
    try:
        yield client
    finally:
        await client.close()
        server.close()
        await asyncio.sleep(0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vision.sock"


READ_AT = time.monotonic()


def told_now(lie: wire.Message) -> wire.Message:
    """A lie that was made when this file was read, as if it were new: what is a minute old is refused for that."""
    if not isinstance(lie, Code | Probe):
        return lie
    return replace(lie, seen_at=lie.seen_at + time.monotonic() - READ_AT)


def failing(
    run: Run, path: Path, ask: Callable[[VisionClient], Coroutine[Any, Any, Any]], *answers: Any
) -> DeviceError:
    async def story() -> None:
        async with answering(path, *answers) as client:
            await ask(client)

    with pytest.raises(DeviceError) as caught:
        run(story())
    assert caught.value.device == "camera"
    return caught.value


def test_the_client_is_a_reader_and_an_eye_for_faces(path: Path) -> None:
    # The type checker is the judge here.
    def serves(reader: Reader, faces: Faces) -> None: ...

    client = VisionClient(path)
    serves(client, client)


def test_silence_before_the_deadline_is_asked_again(run: Run, path: Path) -> None:
    async def story() -> None:
        async with answering(path, wire.Done(), wire.Done(), code(3)) as client:
            assert (await client.code()).frame == 3

    run(story())


def test_a_whole_visit(run: Run, path: Path) -> None:
    async def story() -> None:
        async with answering(path, code(10), ModelSet("m", {}), probe(), comparison(), wire.Done()) as client:
            shown = await client.code()
            assert (await client.models()).name == "m"
            seen = await client.probe(WANTED, shown.frame, 20.0)
            assert (await client.compare(Picture(b""), seen)).score == 0.9
            await client.forget()

    run(story())


def test_hints_on_the_way_are_passed_on_and_are_no_answer(run: Run, path: Path) -> None:
    heard: list[Hint] = []

    async def story() -> None:
        async with answering(path, hints + wire_bytes(probe())) as client:
            client._hinted = heard.append
            assert (await client.probe(WANTED, 10, 20.0)).number == 5

    hints = wire_bytes(wire.Hinted(Hint.CLOSER)) + wire_bytes(wire.Hinted(Hint.STILL))
    run(story())
    assert heard == [Hint.CLOSER, Hint.STILL]


def wire_bytes(message: wire.Message) -> bytes:
    body = wire.encode(message)
    return len(body).to_bytes(4, "big") + body


def test_a_refusal_comes_through(run: Run, path: Path) -> None:
    async def story() -> None:
        async with answering(path, wire.Refused("several-faces", "2 faces")) as client:
            await client.probe(WANTED, 0, 20.0)

    with pytest.raises(Refusal) as caught:
        run(story())
    assert caught.value.reason is Reason.SEVERAL_FACES
    assert caught.value.detail == "2 faces"


def test_a_failed_device_comes_through_under_its_own_name(run: Run, path: Path) -> None:
    async def story() -> None:
        async with answering(path, wire.Failed("models", "self-test failed")) as client:
            await client.models()

    with pytest.raises(DeviceError, match="self-test") as caught:
        run(story())
    assert caught.value.device == "models"


def test_nobody_at_the_socket_is_a_device_error(run: Run, path: Path) -> None:
    async def story() -> None:
        await VisionClient(path).code()

    with pytest.raises(DeviceError, match="does not answer"):
        run(story())


def test_a_vision_that_hangs_is_a_device_error_after_our_own_deadline(run: Run, path: Path) -> None:
    async def story() -> None:
        async with answering(path, SILENCE, grace_s=0.1, answer_s=0.2) as client:
            await client.models()  # the silence lasts until we leave

    with pytest.raises(DeviceError) as caught:
        run(story())
    assert (caught.value.device, caught.value.message) == ("camera", "edge-vision does not answer")


@pytest.mark.parametrize(
    ("answer", "told"),
    [(None, "ended the connection"), (b"\xff" * 8, "in our language"), (b"\0\0\0\2\x81\x00", "in our language")],
)
def test_a_vision_that_leaves_or_babbles_is_a_device_error_at_once(
    run: Run, path: Path, answer: Any, told: str
) -> None:
    error = failing(run, path, lambda client: client.models(), answer)
    assert "does not answer" in error.message
    assert told in error.message  # the answer, and no deadline, is the reason


def test_after_a_failure_the_next_question_connects_anew(run: Run, path: Path) -> None:
    async def story() -> None:
        async with answering(path, SILENCE, ModelSet("m", {}), grace_s=0.1) as client:
            with pytest.raises(DeviceError):
                await client.probe(WANTED, 0, 0.1)
            assert (await client.models()).name == "m"

    run(story())


def test_forgetting_cannot_fail(run: Run, path: Path) -> None:
    async def story() -> None:
        async with answering(path, probe(), SILENCE, grace_s=0.1, answer_s=0.1) as client:
            await client.forget()
            await client.probe(WANTED, 10, 20.0)
            await client.forget()

    run(story())


def test_whoever_stops_waiting_leaves_no_answer_behind_for_the_next_question(run: Run, path: Path) -> None:
    async def story() -> None:
        async with answering(path, SILENCE, code(9), ModelSet("m", {})) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.code()
            assert (await client.code()).frame == 9

    run(story())


@pytest.mark.parametrize(
    "lie",
    [
        probe(frame=10),
        probe(frame=3),
        probe(seen_at=time.monotonic() + 3600),
        probe(seen_at=0.0 if time.monotonic() > 120 else -120.0),
        probe(eyes_px=10.0),
        probe(bona_fide=1.5),
        probe(bona_fide=float("nan")),
        probe(eyes_px=float("nan")),
        probe(took_us={"Anna Example, 1984": 1}),
        probe(took_us={"detect": 1 << 80}),
        probe(took_us={"detect": -1}),
        comparison(),
        wire.Done(),
    ],
)
def test_a_probe_that_cannot_be_true_is_a_device_error(run: Run, path: Path, lie: wire.Message) -> None:
    assert "gave" in failing(run, path, lambda client: client.probe(WANTED, 10, 20.0), told_now(lie)).message


@pytest.mark.parametrize(
    "lie",
    [
        comparison(probe=6),
        comparison(score=1.5),
        comparison(score=float("nan")),
        comparison(took_us={"anna": 1}),
        probe(),
        wire.Done(),
    ],
)
def test_a_comparison_that_cannot_be_true_is_a_device_error(run: Run, path: Path, lie: wire.Message) -> None:
    failing(run, path, lambda client: client.compare(Picture(b""), probe()), lie)


@pytest.mark.parametrize(
    "lie", [code(7), code(6), code(8, seen_at=1e12), code(8, took_us=-1), probe(), wire.Refused("no-such-reason", "")]
)
def test_a_code_that_cannot_be_true_is_a_device_error(run: Run, path: Path, lie: wire.Message) -> None:
    async def twice(client: VisionClient) -> None:
        await client.code()
        await client.code()

    failing(run, path, twice, code(7), told_now(lie))


VISION = """
import asyncio, sys
from pathlib import Path
from edge import settings
from edge.vision.server import Vision
from edge.vision.simulated import PaintSessions

stage = Path(sys.argv[1])
camera = settings.Camera("footage", str(stage), 64, 48, 30.0, 1.0)
asyncio.run(Vision(camera, PaintSessions()).run(stage / "vision.sock"))
"""


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    np.save(tmp_path / "empty.npy", np.full((1, 48, 64, 3), 110, np.uint8))
    (tmp_path / "playing").write_text("empty.npy loop\n")
    return tmp_path


@pytest.fixture
def started(stage: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    children: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        children.append(subprocess.Popen([sys.executable, "-c", textwrap.dedent(VISION), str(stage)]))
        end = time.monotonic() + 60
        while not (stage / "vision.sock").exists() and time.monotonic() < end:
            time.sleep(0.02)
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.wait()


async def comes_back(client: VisionClient) -> None:
    """The old conversation ends first, and a new process binds before it listens: as many tries as it takes."""
    end = time.monotonic() + 40
    while True:
        try:
            assert (await client.models()).name == "paint"
        except DeviceError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)
        else:
            return


def test_a_killed_vision_is_a_device_error_and_a_new_one_is_found(
    run: Run, stage: Path, started: Callable[[], subprocess.Popen[bytes]]
) -> None:
    child = started()

    async def story() -> None:
        client = VisionClient(stage / "vision.sock")
        await comes_back(client)
        asking = asyncio.create_task(client.probe(WANTED, 0, 30.0))
        await asyncio.sleep(0.2)
        child.kill()
        with pytest.raises(DeviceError, match="does not answer"):
            await asking
        await asyncio.to_thread(child.wait)
        await asyncio.to_thread((stage / "vision.sock").unlink, missing_ok=True)
        await asyncio.to_thread(started)
        await comes_back(client)
        await client.close()

    run(story())


def test_a_hung_vision_is_a_device_error_within_the_deadline(
    run: Run, stage: Path, started: Callable[[], subprocess.Popen[bytes]]
) -> None:
    child = started()

    async def story() -> None:
        client = VisionClient(stage / "vision.sock", grace_s=0.2, answer_s=0.5)
        await comes_back(client)
        os.kill(child.pid, signal.SIGSTOP)
        with pytest.raises(DeviceError, match="does not answer"):
            async with asyncio.timeout(30):  # it stands still for good: the end is the client's own, or this one
                await client.probe(WANTED, 0, 0.5)
        os.kill(child.pid, signal.SIGCONT)
        await comes_back(client)
        await client.close()

    run(story())


def identified(**changes: Any) -> Identification:
    values: dict[str, Any] = {
        "probe": 5,
        "candidate": bytes(16),
        "score": 0.9,
        "among": 20,
        "model": "m-1",
        "took_us": {"search": 10},
    }
    return Identification(**values | changes)


def test_a_gallery_is_asked(run: Run, path: Path) -> None:
    async def story() -> None:
        refused = wire.Refused("not-enrolled", "")
        async with answering(path, wire.Done(), refused, identified()) as client:
            await client.enrolled(Enrolled("staff", "issuer 1"))
            with pytest.raises(Refusal) as caught:
                await client.enrolled(Enrolled("staff", "issuer 2"))
            assert caught.value.reason is Reason.NOT_ENROLLED
            assert (await client.search("staff", probe())).among == 20

    run(story())


@pytest.mark.parametrize(
    "lie",
    [
        identified(probe=6),
        identified(score=1.1),
        identified(score=float("nan")),
        identified(among=0),
        identified(candidate=b"anna"),
        comparison(),
        wire.Done(),
    ],
)
def test_a_search_that_cannot_be_is_a_fault(run: Run, path: Path, lie: wire.Message) -> None:
    failing(run, path, lambda client: client.search("staff", probe()), lie)


def test_a_person_is_known_by_no_other_word_than_that(run: Run, path: Path) -> None:
    failing(run, path, lambda client: client.enrolled(Enrolled("staff", "issuer 1")), comparison())
