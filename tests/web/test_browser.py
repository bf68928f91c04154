"""The pages in a real browser: every screen in every language, operators at work, without serious faults of access."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import unicodedata
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from edge import wire
from edge.app.tickets import IDLE_S
from edge.audit.entry import Kind
from edge.audit.export import read as read_export
from edge.biometric.values import Hint
from edge.demo.configuration import settings as demo_settings
from edge.demo.configuration import text as written
from edge.devices.checkpoints import CheckpointReader
from edge.devices.journal import SqliteJournal
from edge.devices.simulated import SimulatedClock
from edge.errors import Reason
from edge.passage import Indication
from edge.settings import Models, Mqtt, Web
from edge.trust.operators import Role
from edge.web import board as board_module
from edge.web import stream as stream_module
from edge.web.kiosk import Face, Screen
from edge.web.languages import Saying, load

playwright = pytest.importorskip("playwright.async_api", reason="the browser's driver comes with scripts/setup dev")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium comes with scripts/setup dev")

Folder = Any  # of conftest.py
Page = Any  # of a browser
LANGUAGES = ("en", "fr", "ar", "hi", "am")
ORIGIN, KEY = "urn:gate:a:b:c", ec.derive_private_key(12345, ec.SECP256R1())
LETTERS = {"ar": "ARABIC", "hi": "DEVANAGARI", "am": "ETHIOPIC"}
PASSWORD = "correct horse battery"
BAD = ("serious", "critical")


def story(told: Callable[..., Coroutine[Any, Any, None]], *given: Any) -> None:
    """Run it to its end, for at most four minutes: browsers on a busy machine take theirs."""

    async def bounded() -> None:
        async with asyncio.timeout(240):
            await told(*given)

    asyncio.run(bounded())


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Any]:
    async with playwright.async_playwright() as driver:
        chromium = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield chromium
        finally:
            await chromium.close()


async def opened(
    chromium: Any, url: str, *, width: int = 1280, height: int = 800, script: str = "", **more: Any
) -> Page:
    """A page of its own, which fails the test when a script of ours fails; ``script`` runs before those."""
    context = await chromium.new_context(viewport={"width": width, "height": height}, **more)
    page = await context.new_page()
    page.set_default_timeout(60_000)
    if script:
        await page.add_init_script(script)
    page.on("pageerror", lambda error: pytest.fail(f"{url}: {error}"))
    await page.goto(url)
    return page


async def pictured(page: Page, name: str, **more: Any) -> None:
    """A screenshot, where somebody wants to look at them: in the folder EDGE_SCREENSHOTS."""
    if folder := os.environ.get("EDGE_SCREENSHOTS"):
        await page.screenshot(path=str(Path(folder) / f"{name}.png"), animations="disabled", **more)


async def faults(page: Page) -> list[str]:
    """Serious findings of axe, one line each."""
    script = resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    await page.evaluate(script)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {node['target']} {node.get('failureSummary', '')}"
        for one in found["violations"]
        if one["impact"] in BAD
        for node in one["nodes"]
    ]


# the kiosk


async def shows(page: Page, screen: str) -> None:
    await page.wait_for_selector(f'body[data-screen="{screen}"]', state="attached")


async def says(page: Page, words: Saying) -> None:
    await page.wait_for_function(
        "([say, step]) => by('say').textContent === say && by('step').textContent === step", arg=[words.say, words.step]
    )


async def fits(page: Page) -> bool:
    """Whether all words are on the screen."""
    return bool(
        await page.evaluate(
            "(() => { const main = document.querySelector('main');"
            "return main.scrollHeight <= main.clientHeight + 1 && main.scrollWidth <= main.clientWidth + 1; })()"
        )
    )


async def reads(page: Page) -> dict[str, str]:
    """What stands there, and in which language and direction."""
    told: dict[str, str] = await page.evaluate(
        "({ say: document.getElementById('say').textContent, step: document.getElementById('step').textContent,"
        " lang: document.documentElement.lang, dir: document.documentElement.dir })"
    )
    return told


async def fonts(page: Page) -> set[str]:
    """Which fonts the words are set in."""
    line = await page.context.new_cdp_session(page)
    await line.send("DOM.enable")
    await line.send("CSS.enable")
    root = (await line.send("DOM.getDocument"))["root"]["nodeId"]
    node = (await line.send("DOM.querySelector", {"nodeId": root, "selector": "#say"}))["nodeId"]
    used = (await line.send("CSS.getPlatformFontsForNode", {"nodeId": node}))["fonts"]
    return {font["familyName"] for font in used}


async def reach(stand: Any, screen: Screen) -> None:
    """Bring the gate to this screen; the reason, where there is one, has been read when it is over."""
    match screen:
        case Screen.REFUSED:
            await stand.put(Kind.DENIED, reason="expired")
            stand.show(Indication.REFUSED)
        case Screen.ASSISTED:
            stand.show(Indication.READING)
            await stand.put(Kind.DENIED, reason="referred")
            stand.show(Indication.REFUSED)
        case Screen.WELCOME:
            await stand.put(Kind.GRANTED)
            stand.show(Indication.WELCOME)
        case Screen.FIRE:
            await stand.put(Kind.FIRE)
        case Screen.CLOSED:
            await stand.put(Kind.COMMAND, what="lock-down", outcome="obeyed", on=True)
            await stand.read()
            stand.show(Indication.READING)
            stand.show(Indication.READY)
        case _:
            names = {one.value: one for one in Indication} | {"idle": Indication.READY}
            stand.show(names[screen.value])
    await stand.read()


@pytest.mark.parametrize(
    ("size", "languages"),
    [((1280, 800), LANGUAGES), ((600, 1024), ("fr", "ar"))],  # the longest words, and the other direction
    ids=["landscape", "portrait"],
)
def test_every_screen_in_every_language(size: tuple[int, int], languages: tuple[str, ...], folder: Folder) -> None:
    async def told() -> None:
        web = Web("127.0.0.1", 0, languages=LANGUAGES, readers="anyone")
        async with folder.stand(web, port=True) as stand, browser() as chromium:
            stand.show(Indication.READY)
            await stand.read()
            pages = {
                code: await opened(chromium, f"{stand.url}/kiosk?lang={code}", width=size[0], height=size[1])
                for code in languages
            }
            order = [Screen.IDLE, Screen.READING, Screen.LOOK, Screen.WELCOME, Screen.REFUSED, Screen.ASSISTED]
            order += [Screen.ALARM, Screen.STEP_BACK, Screen.OUT_OF_SERVICE, Screen.CLOSED, Screen.FIRE]
            for screen in order:
                await reach(stand, screen)
                for code, page in pages.items():
                    await shows(page, screen.value)
                    words = load([code])[0].of(stand.board.face())
                    await says(page, words)
                    read = await reads(page)
                    assert (read["say"], read["step"]) == (words.say, words.step)
                    assert (read["lang"], read["dir"]) == (code, "rtl" if code == "ar" else "ltr")
                    assert await fits(page), (screen, code)
                    name = f"kiosk-{screen.value}-{code}-{'x'.join(map(str, size))}"
                    await pictured(page, name)
            assert set(Screen) == set(order)

    story(told)


def test_at_a_dispenser_nobody_is_told_to_go_through(folder: Folder) -> None:
    async def told() -> None:
        web = Web("127.0.0.1", 0, languages=LANGUAGES, readers="anyone")
        async with folder.stand(web, port=True, dispenser=True) as stand, browser() as chromium:
            stand.show(Indication.LOOK)
            await stand.read()
            for code in ("", "fr", "ar"):
                page = await opened(chromium, f"{stand.url}/kiosk?lang={code}", width=800, height=480)
                await reach(stand, Screen.WELCOME)
                await shows(page, "welcome")
                handed_out = load([code or "en"])[0].screens["welcome-dispenser"]
                assert (await reads(page))["step"] == handed_out.step
                assert await fits(page)
                await pictured(page, f"dispenser-welcome-{code}")

    story(told)


def test_every_script_has_letters(folder: Folder) -> None:
    async def told() -> None:
        async with folder.stand(port=True) as stand, browser() as chromium:
            stand.show(Indication.READY)
            await stand.read()
            for code, script in LETTERS.items():
                page = await opened(chromium, f"{stand.url}/kiosk?lang={code}")
                await shows(page, "idle")
                read = await reads(page)
                assert any(unicodedata.name(letter, "").startswith(script) for letter in read["say"])
                assert any(family.startswith("Noto") for family in await fonts(page)), (code, await fonts(page))

    story(told)


def test_hints_move_the_face_on_the_screen(folder: Folder) -> None:
    async def told() -> None:
        async with folder.stand(port=True) as stand, browser() as chromium:
            stand.show(Indication.LOOK)
            await stand.read()
            page = await opened(chromium, stand.url + "/kiosk")
            for hint in Hint:
                stand.show(Indication.LOOK)
                stand.board.hinted(hint)
                await page.wait_for_selector(f'body[data-hint="{hint.value}"]', state="attached")
                assert (await reads(page))["say"] == load(["en"])[0].of(stand.board.face()).say
                assert await fits(page)
                await pictured(page, f"hint-{hint.value}")
            assert await page.locator("img, video, canvas").count() == 0  # no picture of anybody

    story(told)


@pytest.mark.parametrize("first", ["en", "ar"])
def test_the_kiosk_has_no_serious_fault_of_access(first: str, folder: Folder) -> None:
    async def told() -> None:
        web = Web("127.0.0.1", 0, languages=(first, *(one for one in LANGUAGES if one != first)), readers="anyone")
        async with folder.stand(web, port=True, receipts=True) as stand, browser() as chromium:
            stand.show(Indication.READY)
            await stand.put(Kind.BOOT, attacks_detected=False)
            await stand.read()
            page = await opened(chromium, stand.url + "/kiosk")
            order = [Screen.IDLE, Screen.READING, Screen.LOOK, Screen.WELCOME, Screen.ASSISTED, Screen.REFUSED]
            order += [Screen.ALARM, Screen.STEP_BACK, Screen.OUT_OF_SERVICE, Screen.CLOSED, Screen.FIRE]
            assert set(order) == set(Screen)
            for screen in order:
                await reach(stand, screen)
                await shows(page, screen.value)
                assert await faults(page) == [], screen
                if screen is Screen.REFUSED:
                    await stand.seal()
                    await page.wait_for_selector("#receipt-code svg")
                    assert await faults(page) == [], "with a receipt"

    story(told)


def test_nothing_moves_for_those_who_ask_for_rest(folder: Folder) -> None:
    async def told() -> None:
        async with folder.stand(port=True) as stand, browser() as chromium:
            stand.show(Indication.READY)
            await stand.read()
            count = "document.getAnimations().length"
            moving = await opened(chromium, stand.url + "/kiosk")
            still = await opened(chromium, stand.url + "/kiosk", reduced_motion="reduce")
            for page in (moving, still):
                await shows(page, "idle")
            assert await moving.evaluate(count) > 0
            assert await still.evaluate(count) == 0

    story(told)


VOICES = """
    window.said = [];
    const voice = { lang: "fr-FR", localService: true, name: "a voice" };
    const far = { lang: "en-GB", localService: false, name: "of a network" };
    let speaking = null;
    window.ended = () => { const one = speaking; speaking = null; if (one) one.onend(); };
    Object.defineProperty(window, "speechSynthesis", { value: {
        getVoices: () => [far, voice],
        cancel() { if (speaking) said.push(["", "cut off"]); speaking = null; },
        speak: (one) => { speaking = one; said.push([one.lang, one.text]); } } });
    window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
"""


def aloud(words: Saying) -> str:
    """With a pause between what is so and what to do."""
    pause = "" if unicodedata.category(words.say[-1]).startswith("P") else "."
    return f"{words.say}{pause} {words.step}"


async def heard(page: Page) -> list[str]:
    """What the voice has said."""
    return [text for _, text in await page.evaluate("said")]


def test_sentences_are_spoken_by_a_voice_of_the_machine(folder: Folder) -> None:
    async def told() -> None:
        web = Web("127.0.0.1", 0, speech=True, readers="anyone")
        async with folder.stand(web, port=True) as stand, browser() as chromium:
            stand.show(Indication.READY)
            await stand.read()
            pages = []
            for code in ("fr", "en"):
                page = await (await chromium.new_context()).new_page()
                await page.add_init_script(VOICES)
                await page.goto(f"{stand.url}/kiosk?lang={code}")
                await shows(page, "idle")
                pages.append(page)
            stand.show(Indication.LOOK)
            for page in pages:
                await shows(page, "look")
            french = load(["fr"])[0]
            look = french.screens["look"]
            assert await pages[0].evaluate("said") == [["fr-FR", aloud(look)]]
            assert await pages[1].evaluate("said") == []  # what is said at the gate goes to no network
            for hint in (Hint.CLOSER, Hint.STILL, Hint.BACK):
                stand.board.hinted(hint)
                await pages[0].wait_for_selector(f'body[data-hint="{hint.value}"]', state="attached")
            assert await pages[0].get_attribute("#first", "aria-live") == "polite"
            assert len(await heard(pages[0])) == 1, "it is heard to its end"
            await pages[0].evaluate("ended()")
            back = french.hints[Hint.BACK.value]
            assert (await heard(pages[0]))[1:] == [aloud(back)], "then the newest alone"
            await stand.put(Kind.FIRE)
            await shows(pages[0], "fire")
            assert (await heard(pages[0]))[2:] == ["cut off", aloud(french.screens["fire"])]
            assert await pages[0].get_attribute("#first", "aria-live") == "assertive"

    story(told)


def test_who_does_not_see_hears_of_the_receipt_letter_by_letter(folder: Folder) -> None:
    async def told() -> None:
        web = Web("127.0.0.1", 0, languages=("fr",), speech=True, readers="anyone")
        async with folder.stand(web, port=True, receipts=True) as stand, browser() as chromium:
            stand.show(Indication.READY)
            await stand.read()
            page = await (await chromium.new_context()).new_page()
            await page.add_init_script(VOICES)
            await page.goto(stand.url + "/kiosk")
            await shows(page, "idle")
            stand.show(Indication.READING)
            await shows(page, "reading")
            await page.evaluate("ended()")
            await stand.put(Kind.DENIED, reason="expired", salt=bytes(16))
            stand.show(Indication.REFUSED)
            await shows(page, "refused")
            await stand.seal()
            await page.wait_for_selector("#receipt-code svg")
            number, words = await page.inner_text("#receipt-number"), load(["fr"])[0].receipt
            letters = ", ".join(" ".join(part) for part in number.split("-"))
            for _ in range(3):  # what is said before it, each to its end
                if not (await heard(page))[-1].endswith(letters):
                    await page.evaluate("ended()")
            assert (await heard(page))[-1] == f"{aloud(words)} {letters}"
            assert letters in await page.locator('[role="status"]:has(#receipt)').inner_text()
            stand.show(Indication.READING)
            await shows(page, "reading")
            assert "cut off" in await heard(page), "the next person does not hear it"

    story(told)


def test_a_tone_that_could_not_be_heard_is_not_made_up_for(folder: Folder) -> None:
    counted = """
        window.tones = 0;
        window.AudioContext = class extends AudioContext {
            constructor() { super(); window.context = this; this.suspend(); }
            createOscillator() { window.tones += 1; return super.createOscillator(); }
            resume() { return window.touched ? super.resume() : Promise.resolve(); }
        };
    """

    async def told() -> None:
        web = Web("127.0.0.1", 0, sound=True, readers="anyone")
        async with folder.stand(web, port=True) as stand, browser() as chromium:
            stand.show(Indication.READY)
            await stand.read()
            page = await (await chromium.new_context()).new_page()
            await page.add_init_script(counted)
            await page.goto(stand.url + "/kiosk")
            for indication in (Indication.READING, Indication.LOOK, Indication.WELCOME):
                stand.show(indication)
                await shows(page, indication.value)
            assert await page.evaluate("[context.state, tones]") == ["suspended", 0]
            await page.evaluate("window.touched = true, context.resume()")
            await page.wait_for_function("context.state === 'running'")
            assert await page.evaluate("tones") == 0
            stand.show(Indication.ALARM)
            await shows(page, "alarm")
            assert await page.evaluate("tones") == 3

    story(told)


def test_letters_keep_their_size_while_languages_take_turns(folder: Folder) -> None:
    async def told() -> None:
        longest_last = ("en", "ar", "hi", "am", "fr")
        web = Web("127.0.0.1", 0, languages=longest_last, readers="anyone")
        async with folder.stand(web, port=True) as stand, browser() as chromium:
            stand.show(Indication.READY)
            await stand.read()
            by_hand = "window.setInterval = () => 0;"  # whose turn it is the test says
            page = await opened(chromium, stand.url + "/kiosk", width=800, height=480, script=by_hand)
            for reason in (Reason.NOT_ENROLLED, Reason.PROBE_QUALITY):
                stand.show(Indication.READING)
                await stand.put(Kind.DENIED, reason=reason.code)
                stand.show(Indication.REFUSED)
                await shows(page, "refused")
                await says(page, load(["en"])[0].of(Face(Screen.REFUSED, reason)))
                sizes = set()
                for code in longest_last[1:]:
                    assert await page.get_attribute("#other", "lang") == code
                    sizes.add(await page.evaluate("getComputedStyle(document.getElementById('say')).fontSize"))
                    assert await fits(page), code
                    await page.evaluate("other()")
                assert len(sizes) == 1, reason

    story(told)


def test_nobody_leaves_the_screen_zoomed_or_marked_for_the_next(folder: Folder) -> None:
    async def told() -> None:
        async with folder.stand(port=True) as stand, browser() as chromium:
            page = await opened(chromium, stand.url + "/kiosk", has_touch=True)
            line = await page.context.new_cdp_session(page)
            centre = {"x": 640, "y": 400, "scaleFactor": 3.0, "gestureSourceType": "touch"}
            await line.send("Input.synthesizePinchGesture", centre)
            assert await page.evaluate("visualViewport.scale") == 1
            await page.mouse.dblclick(900, 400)
            assert await page.evaluate("String(getSelection())") == ""

    story(told)


def test_motion_costs_no_layout_and_no_paint(folder: Folder) -> None:
    css = (folder.package / "static" / "kiosk.css").read_text(encoding="utf-8")
    moved = {
        name
        for block in re.findall(r"@keyframes \w+ \{((?:[^{}]*\{[^{}]*\})*)\s*\}", css)
        for name in re.findall(r"([a-z-]+):", block)
    }
    assert moved <= {"transform", "opacity"}
    assert "transition" not in css


def test_a_receipt_from_a_long_log_is_readable_on_a_small_screen(folder: Folder, tmp_path: Path) -> None:
    import zxingcpp
    from PIL import Image

    from edge.audit import receipt
    from edge.audit.checkpoint import Checkpoint, Head, key_id, statement
    from edge.audit.proof import Proof
    from edge.devices.simulated_token import SimulatedToken

    async def told() -> None:
        web = Web("127.0.0.1", 0, languages=LANGUAGES, readers="anyone")
        async with folder.stand(web, port=True, receipts=True) as stand, browser() as chromium:
            head = Head(ORIGIN, 12, 1_048_576, bytes(32), 1_048_560, os.urandom(32), at_s=1_780_000_000)
            token, kid = SimulatedToken(ORIGIN, KEY), key_id(stand.point)
            checkpoint = Checkpoint(head, kid, None, await token.sign(statement(head, kid)))
            path = tuple(os.urandom(32) for _ in range(20))
            proof = Proof(1_000_000, os.urandom(32), None, path, checkpoint)
            stand.show(Indication.READING)
            await stand.put(Kind.DENIED, reason="not-enrolled")
            stand.show(Indication.REFUSED)
            await stand.read()
            for code in ("en", "fr", "ar"):
                page = await opened(chromium, f"{stand.url}/kiosk?lang={code},hi", width=800, height=480)
                await shows(page, "refused")
                stand.board.receipt = receipt.number_of(proof), receipt.text_of(proof)
                stand.board.called({"camera": (True, code)})
                await page.wait_for_selector("#receipt-code svg")
                assert await fits(page), code
                await pictured(page, f"kiosk-receipt-800x480-{code}")
                shot = tmp_path / "receipt.png"
                await page.screenshot(path=shot, animations="disabled")
                found = zxingcpp.read_barcodes(Image.open(shot).convert("L"))
                assert found[0].text == receipt.text_of(proof), code
                assert await page.inner_text("#receipt-number") == receipt.number_of(proof)

    story(told)


def test_who_is_refused_may_photograph_a_receipt(folder: Folder, tmp_path: Path) -> None:
    import zxingcpp
    from PIL import Image

    from edge.audit import receipt

    async def told() -> None:
        web = Web("127.0.0.1", 0, languages=("ar", "en"), readers="anyone")
        async with folder.stand(web, port=True, receipts=True) as stand, browser() as chromium:
            stand.show(Indication.READY)
            await stand.read()
            page = await opened(chromium, stand.url + "/kiosk")
            stand.show(Indication.READING)
            visit = await stand.put(Kind.DENIED, reason="expired", salt=bytes(16))
            stand.show(Indication.REFUSED)
            await shows(page, "refused")
            assert await page.locator("#receipt").is_hidden()
            await stand.seal()
            await page.wait_for_selector("#receipt-code svg")
            assert await fits(page)
            await pictured(page, "kiosk-receipt")
            shot = tmp_path / "receipt.png"
            await page.screenshot(path=shot, animations="disabled")
            found = zxingcpp.read_barcodes(Image.open(shot).convert("L"))
            proof = receipt.read(found[0].text)
            assert proof.index == visit.index
            assert proof.verify(stand.point) is None
            assert await page.inner_text("#receipt-number") == receipt.number_of(proof)
            stand.show(Indication.READY)
            stand.show(Indication.READING)  # the next person sees nothing of it
            await shows(page, "reading")
            assert await page.locator("#receipt").is_hidden()

    story(told)


def test_the_screen_changes_with_the_panel_and_not_when_somebody_looks_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the entry on disk to the changed page nothing waits for a clock; ``scripts/bench`` measures it."""

    async def told() -> None:
        async with folder.stand(port=True) as stand, browser() as chromium:
            page = await opened(chromium, stand.url + "/kiosk", script="window.setInterval = () => 0;")
            stand.board.shown(Indication.READY)
            await stand.read()
            await shows(page, "idle")
            monkeypatch.setattr(board_module, "LOOK_S", 1000.0)
            monkeypatch.setattr(stream_module, "KIOSK_S", 1000.0)
            for reason in (Reason.NO_MATCH, Reason.EXPIRED):
                stand.board.shown(Indication.LOOK)
                await shows(page, "look")
                await stand.put(Kind.DENIED, reason=reason.code)
                stand.board.shown(Indication.REFUSED)
                await says(page, load(["en"])[0].of(Face(Screen.REFUSED, reason)))

    story(told)


def test_the_kiosk_recovers_by_itself_when_edge_web_is_killed(tmp_path: Path, free_port: Callable[[], int]) -> None:
    async def told() -> None:
        port = free_port()
        models = Models("best", tmp_path, 1)
        mqtt = Mqtt(False, "", 0, Path(), Path(), "", Path())
        told = demo_settings(
            tmp_path, profile="pilot", models=models, root="", module=Path("none.so"), mqtt=mqtt, port=port
        )
        (tmp_path / "edge.toml").write_text(written(told), encoding="utf-8")
        told.paths.journal.parent.mkdir(parents=True)
        journal = SqliteJournal.open(told.paths.journal, told.site.origin, "gate-1", SimulatedClock(), None)
        web = started(tmp_path / "edge.toml")
        speaking = asyncio.create_task(spoken(told.paths.panel_socket))
        try:
            async with browser() as chromium:
                await answers(port)
                page = await opened(chromium, f"http://127.0.0.1:{port}/kiosk")
                operator = await opened(chromium, f"http://127.0.0.1:{port}/")
                await shows(page, "idle")
                web.send_signal(signal.SIGKILL)
                web.wait()
                await shows(page, "connecting")
                await operator.wait_for_selector('#state[data-state="bad"]')
                web = started(tmp_path / "edge.toml")
                await shows(page, "idle")
                await operator.wait_for_selector('#state[data-state="good"]')
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
            web.kill()
            web.wait()
            journal.close()

    story(told)


def started(config: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "edge", "run", "web", "--config", str(config)])


async def answers(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)


async def spoken(ear: Path) -> None:
    """The gate says once a second what its panel shows."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth:
        mouth.setblocking(False)
        while True:
            with contextlib.suppress(OSError):
                mouth.sendto(wire.encode(wire.Shown(Indication.READY)), str(ear))
            await asyncio.sleep(0.5)


# operators


def test_an_operator_enrols_lets_somebody_in_locks_down_and_takes_the_log(folder: Folder) -> None:
    async def told() -> None:
        async with folder.stand(Web("127.0.0.1", 0), port=True) as stand, browser() as chromium:
            stand.clock.moment = datetime.now(UTC) - timedelta(minutes=9)  # codes need to move on
            stand.show(Indication.READY)
            await stand.read()
            page = await opened(chromium, stand.url + "/")
            assert page.url == stand.url + "/login"
            phone = await enrolling(stand, page)
            await logging_in(stand, page, phone)
            visit = await stand.put(Kind.DENIED, reason="unreadable")
            await page.click("button.let-in")
            assert await faults(page) == []
            await pictured(page, "operator-override")
            await page.fill("#order-code", "000000")
            await page.keyboard.press("Enter")
            await page.wait_for_selector("#order-said:has-text('wrong')")
            assert stand.way.receipts == []
            await page.focus("#order-code")
            await page.keyboard.type(as_shown(phone.next()))
            await page.keyboard.press("Enter")
            await page.wait_for_selector("#done:has-text('entry')")
            entry = stand.log.entries(stand.way.receipts[0].index, 1)[0]
            assert (entry.kind, entry.fields["visit"], entry.fields["by"]) == (Kind.OVERRIDE, visit.index, "anna")
            await page.click("#lock-down")
            await page.select_option("#order-why", "drill")
            await page.fill("#order-code", phone.next())
            await page.click("#order-do")
            await page.wait_for_selector("#closed:visible")
            assert stand.commands.locked_down()
            assert await faults(page) == []
            await pictured(page, "operator-locked-down", full_page=True)
            await page.click("#lift")
            await page.fill("#order-code", phone.next())
            await page.click("#order-do")
            await page.wait_for_selector("#closed", state="hidden")
            assert not stand.commands.locked_down()
            await page.click("#export")
            await page.fill("#order-code", phone.next())
            async with page.expect_download() as coming:
                await page.click("#order-do")
            file = await (await coming.value).path()
            assert (await coming.value).suggested_filename == "north.log"
            taken = read_export(await asyncio.to_thread(Path(file).read_bytes))
            assert len(taken.entries) == stand.log.size()
            await page.set_viewport_size({"width": 390, "height": 844})
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert await faults(page) == []
            await pictured(page, "operator-phone", full_page=True)
            await page.click("#log-out")
            await page.wait_for_url(stand.url + "/login")

    story(told)


async def enrolling(stand: Any, page: Page) -> Any:
    """By keyboard alone."""
    setup = await stand.setup()
    await page.goto(stand.url + "/enrol")
    assert await faults(page) == []
    for text in (setup, "password", "password"):
        await page.keyboard.type(text)
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#said:has-text('too easy')")
    for place in ("#password", "#password-2"):
        await page.fill(place, PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#code-picture svg")
    assert await faults(page) == []
    await pictured(page, "operator-enrol")
    phone = stand.phone((await page.inner_text("#key")).replace(" ", ""))
    assert (await page.get_attribute("#app", "href") or "").startswith("otpauth://totp/")
    await page.keyboard.type(as_shown(phone.next()))
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#done a")
    await page.keyboard.press("Enter")
    await page.wait_for_url(stand.url + "/login")
    return phone


async def logging_in(stand: Any, page: Page, phone: Any) -> None:
    assert await faults(page) == []
    await pictured(page, "operator-login")
    for text in ("anna", "wrong password", phone.next()):
        await page.keyboard.type(text)
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#said:has-text('wrong')")
    await page.fill("#password", PASSWORD)
    await page.focus("#code")
    await page.keyboard.type(as_shown(phone.next()))
    await page.keyboard.press("Enter")
    await page.wait_for_url(stand.url + "/")
    await page.wait_for_selector("#who:has-text('anna (admin)')")


def as_shown(code: str) -> str:
    """As an app shows a code, and as it is pasted."""
    return f" {code[:3]} {code[3:]} "


def test_without_the_time_the_page_asks_for_two_codes(folder: Folder) -> None:
    from edge.trust.interval import ClockState

    async def told() -> None:
        async with folder.stand(Web("127.0.0.1", 0), port=True) as stand, browser() as chromium:
            phone = await stand.enrolled()
            stand.clock.state = ClockState.FLOOR
            stand.operators._told.clear()
            page = await opened(chromium, stand.url + "/login")
            await page.fill("#name", "anna")
            await page.fill("#password", PASSWORD)
            await page.fill("#code", phone.next())
            await page.keyboard.press("Enter")
            await page.wait_for_selector("#second-code:visible")
            first = phone.next()
            await page.fill("#code", first)
            await page.fill("#code-2", phone.next())
            await page.keyboard.press("Enter")
            await page.wait_for_url(stand.url + "/")

    story(told)


PAGES = Path(board_module.__file__).parent


@contextlib.asynccontextmanager
async def at_work(folder: Folder, role: Role = Role.ADMIN) -> AsyncIterator[tuple[Any, Any, Page]]:
    """The gate, anna's phone, and the page she is logged in at."""
    async with folder.stand(Web("127.0.0.1", 0), port=True) as stand, browser() as chromium:
        stand.show(Indication.READY)
        phone = await stand.enrolled(role=role)
        await stand.read()
        page = await opened(chromium, stand.url + "/login")
        for place, text in (("#name", "anna"), ("#password", PASSWORD), ("#code", phone.next())):
            await page.fill(place, text)
        await page.keyboard.press("Enter")
        await page.wait_for_selector(f"#who:has-text('anna ({role.value})')")
        yield stand, phone, page


def test_a_gate_without_the_time_offers_to_let_in_for_as_long_as_the_profile_says(folder: Folder) -> None:
    from edge.trust.interval import ClockState

    async def told() -> None:
        async with at_work(folder) as (stand, _, page):
            stand.clock.state = ClockState.FLOOR  # and nine months late
            await stand.put(Kind.CONFIGURATION, lane="card", overrule_s=120)
            await stand.put(Kind.DENIED, reason="unreadable")
            await page.wait_for_selector("button.let-in")
            await stand.put(Kind.CONFIGURATION, lane="card", overrule_s=0)
            await page.wait_for_selector("button.let-in", state="detached")
            stand.clock.ticks -= 100  # what is written now was written a while ago
            await stand.put(Kind.CONFIGURATION, lane="card", overrule_s=60)
            await stand.put(Kind.DENIED, reason="expired")
            await page.wait_for_selector("#visit-rows tr:has-text('validity')")
            stand.clock.ticks += 100
            await page.reload()
            await page.wait_for_selector("#visit-rows tr:has-text('validity')")
            await page.wait_for_selector("#who:has-text('anna')")
            assert await page.locator("button.let-in").count() == 0

    story(told)


def test_how_old_the_trust_list_is_goes_by_the_gate_s_clock(folder: Folder) -> None:
    from edge.trust.interval import ClockState

    async def told() -> None:
        async with at_work(folder) as (stand, _, page):
            issued = int((stand.clock.moment - timedelta(days=29)).timestamp())
            stand.clock.state = ClockState.FLOOR
            await stand.put(Kind.CONFIGURATION, lane="card", profile="turnstile", trust_warn_s=7 * 86400)
            await stand.put(Kind.TRUST_UPDATE, version=12, issuers=4, start=True, issued=issued)
            await stand.put(Kind.GRANTED, clock="floor", stages={"read": 12_000, "verify": 900})
            await page.wait_for_selector("#trust:has-text('(at least 29 days ago) – old')")
            assert (await page.inner_text("#trust")).startswith("version 12, 4 issuers, issued Oct 24, 2026")
            assert await page.inner_text("#status-age") == "no list is here"
            fresh = {"issued": issued + 28 * 86400, "status_issued": issued + 27 * 86400}
            await stand.put(Kind.STATUS_UPDATE, version=12, issuers=4, **fresh)
            await page.wait_for_selector("#trust:has-text('(at least 24 h ago)')")
            assert "old" not in await page.inner_text("#trust")
            assert "oldest list, issued" in await page.inner_text("#status-age")
            await pictured(page, "operator-facts", full_page=True)

    story(told)


def test_an_alarm_stands_above_everything_until_somebody_has_seen_it(folder: Folder) -> None:
    async def told() -> None:
        async with at_work(folder) as (stand, _, page):
            await page.wait_for_selector('#state[data-state="good"]')
            title = await page.title()
            await stand.put(Kind.GRANTED)
            await page.wait_for_selector("#visit-rows tr")
            await stand.put(Kind.DURESS)
            for _ in range(2):
                await stand.put(Kind.DOOR_FORCED)
            stand.show(Indication.ALARM)
            await page.wait_for_selector("#alarm-duress")
            await page.wait_for_selector("#alarm-door-forced [role=alert]:has-text('2 times')")
            await page.wait_for_selector('#state[data-state="bad"]:has-text("Alarm")')
            assert "In service" not in await page.inner_text("#state")
            assert await page.title() == "⚠ " + title
            assert await page.inner_text("#newest") == ""  # a grant is not read out
            assert await page.evaluate("document.querySelector('#alarms').getBoundingClientRect().top") < 200
            assert await faults(page) == []
            await pictured(page, "operator-alarm")
            await page.set_viewport_size({"width": 390, "height": 844})
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert await faults(page) == []
            await pictured(page, "operator-alarm-phone")
            for kind in ("duress", "door-forced"):
                await page.click(f"#alarm-{kind} button")
            stand.show(Indication.READY)
            await page.wait_for_selector('#state[data-state="good"]')
            assert await page.locator(".alarm").count() == 0
            assert await page.title() == title
            await page.reload()
            await page.wait_for_selector("#visit-rows tr")
            await page.wait_for_selector('#state[data-state="good"]')
            assert await page.locator(".alarm").count() == 0  # it was seen here
            await stand.put(Kind.DENIED, reason="expired")
            await page.wait_for_selector("#newest:has-text('validity')", state="attached")
            await stand.put(Kind.DOOR_FORCED)
            await page.wait_for_selector("#alarm-door-forced")
            assert "times" not in await page.inner_text("#alarm-door-forced")
            await stand.put(Kind.FIRE)
            await page.wait_for_selector('#state[data-state="bad"]:has-text("Fire alarm")')

    story(told)


def test_what_only_operators_may_learn_is_on_no_page_that_anyone_may_read(folder: Folder) -> None:
    async def told() -> None:
        async with folder.stand(port=True) as stand, browser() as chromium:
            stand.show(Indication.READY)
            await stand.put(Kind.DURESS)
            await stand.read()
            page = await opened(chromium, stand.url + "/")
            for kind in (Kind.NOTICED, Kind.DURESS, Kind.TAMPER):
                await stand.put(kind)
            await page.wait_for_selector("#alarm-tamper")
            assert await page.locator(".alarm").count() == 1
            text = await page.inner_text("body")
            assert "threat" not in text
            assert "watches for" not in text

    story(told)


def test_who_is_at_a_place_on_the_page_stays_there(folder: Folder) -> None:
    async def told() -> None:
        async with at_work(folder) as (stand, _, page):
            await stand.put(Kind.DEVICE_LOST, device="token", detail="unplugged")
            await stand.put(Kind.DENIED, reason="unreadable", stages={"read": 5000})
            await page.focus("button.let-in")
            await page.wait_for_selector("#latency-rows tr")
            await page.evaluate(
                "window.places = ['.let-in', '#devices li', '#refusals li', '#latency-rows tr', '#trust', '#busy svg']"
                ".map(one => document.querySelector(one)); places.push(places[4].firstChild)"
            )
            for _ in range(3):
                await stand.put(Kind.EXIT_REQUEST)
                await page.evaluate("offer()")
            await page.wait_for_selector("#events li:nth-child(3)")
            assert await page.evaluate("places.every(one => one.isConnected)")
            assert await page.evaluate("document.activeElement === places[0]")
            await stand.put(Kind.GRANTED)  # somebody else has come
            await page.wait_for_selector("button.let-in", state="detached")
            assert await page.evaluate("document.activeElement.id") == "visits"

    story(told)


def test_who_only_reads_is_warned_before_being_logged_out(folder: Folder) -> None:
    """A screen reader's own keys are not the page's to hear."""
    assert f"LEAVING_MS = {round(IDLE_S / 60) - 2} * 60000" in (PAGES / "static" / "acting.js").read_text(
        encoding="utf-8"
    )

    async def told() -> None:
        async with at_work(folder) as (_, _, page):
            await page.evaluate("wasHere = Date.now() - LEAVING_MS + 5000; leaving()")
            assert await page.locator("#leaving").is_hidden()
            await page.evaluate("wasHere = Date.now() - LEAVING_MS - 5000; leaving()")
            await page.wait_for_selector("#leaving:has-text('two minutes')")
            async with page.expect_response("**/act/here") as said:
                await page.focus("#stay")  # with Tab, with the pointer, with a reader's cursor
            assert (await said.value).ok
            await page.wait_for_selector("#leaving", state="hidden")
            assert await page.evaluate("document.activeElement.id") == "visits"

    story(told)


def test_the_drawing_of_the_last_four_hours_is_of_these(folder: Folder) -> None:
    async def told() -> None:
        async with at_work(folder) as (stand, _, page):
            await stand.put(Kind.GRANTED)
            await page.wait_for_selector("#busy svg[aria-label*='1 granted and 0 denied']")
            assert await page.locator("#busy-rows tr").count() == 1
            stand.clock.moment += timedelta(hours=6)
            await stand.put(Kind.EXIT_REQUEST)
            await page.wait_for_selector("#busy svg[aria-label='In the last four hours nobody came.']")
            assert await page.locator("#busy-rows tr").count() == 0
            await stand.put(Kind.DENIED, reason="expired")
            await page.click("#busy-table summary")
            assert (await page.inner_text("#busy-rows tr")).split()[1:] == ["0", "1"]
            assert await faults(page) == []

    story(told)


def test_a_lock_down_that_could_not_be_written_down_is_said_to_be_one(folder: Folder) -> None:
    async def told() -> None:
        async with at_work(folder) as (stand, phone, page):
            await page.click("#lock-down")
            await page.fill("#order-code", phone.next())
            stand.journal._damage = "the disk is full"
            await page.click("#order-do")
            await page.wait_for_selector("#order-said:has-text('locked down, but')")
            assert "the disk is full" in await page.inner_text("#order-said")
            assert stand.commands.locked_down()
            await page.click("#order-not")
            await page.wait_for_selector("#closed:visible")
            stand.board.called({"camera": (True, "")})  # what is told later of something else does not take it back
            await page.wait_for_selector("#devices li:has-text('camera')")
            assert await page.locator("#closed").is_visible()

    story(told)


def test_an_operator_looks_a_receipt_up(folder: Folder) -> None:
    from edge.audit import receipt
    from edge.audit.proof import prove

    async def told() -> None:
        async with at_work(folder, Role.OPERATOR) as (stand, _, page):
            visit = await stand.put(Kind.DENIED, reason="expired", salt=bytes(16))
            await stand.seal()
            checkpoints = CheckpointReader(folder.path / "checkpoints.db")
            covering = checkpoints.covering(stand.log.epoch(), visit.index)
            checkpoints.close()
            assert covering is not None
            path = stand.log.inclusion(visit.index, covering.head.size)
            text = receipt.text_of(prove(visit.index, stand.log.read(visit.index, 1)[0], path, covering, blind=True))
            await page.fill("#receipt-text", f"  {text}\n")
            await page.click("#receipt button")
            await page.wait_for_selector(f"#receipt-said:has-text('Entry {visit.index}')")
            assert "validity has ended" in await page.inner_text("#receipt-said")
            await page.fill("#receipt-text", text[:-9])
            await page.click("#receipt button")
            await page.wait_for_selector("#receipt-said:has-text('not a receipt')")
            assert await faults(page) == []

    story(told)


def test_the_operator_page_is_light_and_is_painted_before_anything_is_known(folder: Folder) -> None:
    """What is waited for before the first paint is the page and one small file; scripts and entries come after it."""

    async def told() -> None:
        async with folder.stand(port=True) as stand, browser() as chromium:
            stand.show(Indication.READY)
            for number in range(200):
                await stand.put(Kind.DENIED, reason="no-match", stages={"read": number})
            await stand.read()
            page = await opened(chromium, stand.url + "/")
            await page.wait_for_selector("#visit-rows tr")
            files = await page.evaluate(
                "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
                ".map(one => [one.name, one.decodedBodySize, one.renderBlockingStatus])"
            )
            weigh = {name.removeprefix(stand.url): size for name, size, _ in files if not name.endswith("/events")}
            assert weigh["/"] > 0
            assert weigh["/static/operator.js"] > 0
            assert sum(weigh.values()) <= 300_000
            awaited = [name.removeprefix(stand.url) for name, _, waits in files if waits == "blocking"]
            assert [name for name in awaited if name != "/"] == ["/static/operator.css"]

    story(told)


def test_who_has_not_logged_in_is_offered_nothing_to_do(folder: Folder) -> None:
    async def told() -> None:
        async with folder.stand(port=True) as stand, browser() as chromium:
            stand.show(Indication.READY)
            await stand.read()
            stand.clock.moment = datetime.now(UTC)
            await stand.put(Kind.DENIED, reason="no-match")
            page = await opened(chromium, stand.url + "/")
            await page.wait_for_selector("#log-in:visible")
            await page.wait_for_selector("#visit-rows tr")
            assert await page.locator("button:visible").all_text_contents() == ["Look up"]

    story(told)


def test_what_the_log_says_never_becomes_markup(folder: Folder) -> None:
    async def told() -> None:
        async with folder.stand(port=True) as stand, browser() as chromium:
            stand.show(Indication.READY)
            await stand.read()
            page = await opened(chromium, stand.url + "/")
            evil = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
            await stand.put(Kind.DEVICE_LOST, device=evil, detail=evil)
            await stand.put(Kind.DENIED, reason=evil)
            await page.wait_for_selector("#events li:has-text('does not answer')")
            await page.wait_for_selector("#visit-rows tr")
            assert await page.locator("img").count() == 0
            assert "owned" not in await page.title()

    story(told)
