from __future__ import annotations

import base64
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.vision.leaks import leaks
from edge.vision.simulated import paint

FACE = np.full((96, 96, 3), 110, np.uint8)
paint(FACE, 1, (48, 44), 34)
TEMPLATE = np.random.default_rng(0).normal(0, 0.09, 128).astype(np.float32)
CODE = "NCFOXNB%F2$K+1PD*Q8:" * 20


def kinds(*places: Path, **known: bytes) -> set[str]:
    return {leak.kind for leak in leaks(places, known)}


def test_a_clean_run_has_no_findings(tmp_path: Path) -> None:
    (tmp_path / "gate.log").write_text("visit entry=7 outcome=granted score=0.953 detect=4.1ms embed=6.2ms\n" * 50)
    (tmp_path / "journal.db").write_bytes(bytes(range(256)) * 40)
    assert leaks([tmp_path]) == []


@pytest.mark.parametrize("form", [".jpg", ".png", ".webp", ".avif", ".jp2"])
def test_a_crop_written_on_an_error_path_is_found(tmp_path: Path, form: str) -> None:
    cv2.imwrite(str(tmp_path / f"debug{form}"), FACE)
    (tmp_path / f"debug{form}").rename(tmp_path / "core.dmp")
    assert any("picture" in kind for kind in kinds(tmp_path))


def test_a_picture_inside_another_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(bytes(4000) + cv2.imencode(".webp", FACE)[1].tobytes() + bytes(100))
    (leak,) = leaks([tmp_path])
    assert (leak.kind, leak.offset) == ("WebP picture", 4000)


@pytest.mark.parametrize("written", [str(TEMPLATE.tolist()), str(TEMPLATE), " ".join(f"{v:.4f}" for v in TEMPLATE)])
def test_a_template_in_a_log_line_is_found(tmp_path: Path, written: str) -> None:
    (tmp_path / "vision.log").write_text(f"compare failed for {written}\n")
    assert kinds(tmp_path) == {"template in text"}


def test_an_array_of_pixels_is_found(tmp_path: Path) -> None:
    np.save(tmp_path / "frame.npy", FACE)
    assert "array" in kinds(tmp_path)


def test_a_code_text_is_found(tmp_path: Path) -> None:
    (tmp_path / "gate.log").write_text(f"could not verify {CODE}\n")
    assert "code text" in kinds(tmp_path)


@pytest.mark.parametrize(
    "encode",
    [bytes, lambda b: b.hex().encode(), base64.b64encode, lambda b: base64.b64encode(b"xx" + b)],
    ids=["plain", "hexadecimal", "base64", "base64 shifted"],
)
def test_what_is_known_is_found_in_each_of_its_disguises(tmp_path: Path, encode: Callable[[bytes], bytes]) -> None:
    (tmp_path / "state").write_bytes(b"\0" * 11 + encode(TEMPLATE.tobytes()) + b"\0" * 11)
    assert any(kind.startswith("template") for kind in kinds(tmp_path, template=TEMPLATE.tobytes()))


def test_a_finding_does_not_quote_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"Anna Example")
    (leak,) = leaks([tmp_path], {"name of the holder": b"Anna Example"})
    assert "Anna" not in repr(leak)


def test_what_is_too_short_to_be_found_for_sure_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too short"):
        leaks([tmp_path], {"name": b"Anna"})


VISIT = """
import asyncio, logging, sys
from pathlib import Path
import cv2, numpy as np
from edge import settings
from edge.biometric.values import Picture, ProbeQuality
from edge.devices.vision import VisionClient
from edge.errors import DeviceError, Refusal
from edge.vision.server import Vision
from edge.vision.simulated import PaintSessions, paint

logging.basicConfig(level=logging.DEBUG)
stage, card = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()

async def visit():
    vision = Vision(settings.Camera("footage", str(stage), 640, 360, 50.0, 60.0), PaintSessions())
    running = asyncio.create_task(vision.run(Path("vision.sock")))
    while not Path("vision.sock").exists():
        await asyncio.sleep(0.01)
    client = VisionClient(Path("vision.sock"), grace_s=30.0, answer_s=60.0)
    for reference in (Picture(card), Picture(card[:200]), Picture(b"no picture")):
        probe = await client.probe(ProbeQuality(), 0, 50.0)
        try:
            await client.compare(reference, probe)
        except Refusal:
            pass
        await client.forget()
    try:
        await client.compare(Picture(card), probe)
    except DeviceError:
        pass
    await client.close()
    running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        pass

asyncio.run(visit(), debug=True)
"""


def test_visits_that_succeed_and_fail_leave_no_picture_and_no_template(tmp_path: Path) -> None:
    stage, work = tmp_path / "stage", tmp_path / "work"
    stage.mkdir()
    work.mkdir()
    scene = np.full((1, 360, 640, 3), 110, np.uint8)
    paint(scene[0], 1, (320, 140), 70)
    np.save(stage / "person.npy", scene)
    (stage / "playing").write_text("person.npy loop\n")
    card = cv2.imencode(".webp", FACE)[1].tobytes()
    (stage / "card.webp").write_bytes(card)
    command = [sys.executable, "-c", textwrap.dedent(VISIT), str(stage), str(stage / "card.webp")]
    with (work / "vision.log").open("wb") as log:
        done = subprocess.run(command, cwd=work, stdout=log, stderr=log, timeout=240, check=False)
    assert done.returncode == 0, (work / "vision.log").read_text()[-2000:]
    assert leaks([work], {"card": card, "row of the scene": scene[0, 140, 250:390].tobytes()}) == []
