"""Pictures of the pages, for whoever records a run: each kiosk screen in each language, and the operator's page.

The screens are posed, so that all of them are seen whatever happened in the run; words, styles and scripts are those of
the gate, and the operator's page tells the log of the run. Taken by Debian's chromium, driven by playwright, which
``scripts/setup dev`` brings.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.biometric.values import Hint
from edge.demo.port import free_port
from edge.devices.checkpoints import CheckpointReader
from edge.devices.follower import Follower
from edge.errors import Reason
from edge.settings import Settings
from edge.web.board import Board
from edge.web.counter import Counter
from edge.web.desk import Desk
from edge.web.kiosk import Face, Screen
from edge.web.languages import known
from edge.web.machine import Machine
from edge.web.pages import application
from edge.web.server import serve

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

POSES = {
    "idle": Face(Screen.IDLE),
    "reading": Face(Screen.READING),
    "look": Face(Screen.LOOK),
    "closer": Face(Screen.LOOK, hint=Hint.CLOSER),
    "into-the-middle": Face(Screen.LOOK, hint=Hint.MIDDLE),
    "welcome": Face(Screen.WELCOME),
    "refused": Face(Screen.REFUSED, Reason.EXPIRED),
    "step-back": Face(Screen.STEP_BACK),
    "assisted": Face(Screen.ASSISTED, Reason.REFERRED),
    "alarm": Face(Screen.ALARM),
    "fire": Face(Screen.FIRE),
    "out-of-service": Face(Screen.OUT_OF_SERVICE),
    "closed": Face(Screen.CLOSED),
}
_SIZES = {"": (1280, 800), "-phone": (390, 844)}


class Posed(Board):
    """A board whose kiosk shows what it is told to."""

    pose = Face(Screen.IDLE)

    def face(self) -> Face:
        """The pose."""
        return self.pose

    def hold(self, pose: Face) -> None:
        """Show this from now on."""
        self.pose = pose
        self._wake()


def possible() -> bool:
    """Whether this machine has a browser and what drives it."""
    with contextlib.suppress(ImportError):
        import playwright.async_api  # noqa: F401 -- only asked whether it is there

        return shutil.which("chromium") is not None
    return False


def write(folder: Path, settings: Settings, operator: str = "") -> list[Path]:
    """Take all pictures into this folder; ``operator``: address of the page of a gate at work, else it is posed too."""
    folder.mkdir(parents=True, exist_ok=True)
    return asyncio.run(_written(folder, settings, operator))


async def _written(folder: Path, settings: Settings, operator: str) -> list[Path]:
    port = free_port()
    web = replace(settings.web, port=port, languages=known(), readers="anyone")
    async with _served(replace(settings, web=web)) as board, _browser() as browser:
        address, written = f"http://{web.host}:{port}", []
        for language in known():
            page = await _opened(browser, f"{address}/kiosk?lang={language}")
            for name, pose in POSES.items():
                board.hold(pose)
                hint = pose.hint.value if pose.hint else ""
                shown = f'body[data-screen="{pose.screen.value}"][data-hint="{hint}"]'
                await page.wait_for_selector(shown, state="attached")
                written.append(folder / f"kiosk-{name}-{language}.png")
                await page.screenshot(path=written[-1], animations="disabled")
            await page.close()
        for end, size in _SIZES.items():
            page = await _opened(browser, operator or f"{address}/", *size)
            await page.wait_for_selector("#visit-rows tr, #no-visits:not([hidden])")
            written.append(folder / f"operator{end}.png")
            await page.screenshot(path=written[-1], full_page=True, animations="disabled")
        return written


@contextlib.asynccontextmanager
async def _served(settings: Settings) -> AsyncIterator[Posed]:
    """The pages over the log of the run."""
    log, checkpoints = Follower(settings.paths.journal), CheckpointReader(settings.paths.checkpoints)
    board = Posed(log, checkpoints)
    desk = Desk(Counter(settings.paths.operators_socket), open_to_read=True)
    pages = application(board, settings.site, settings.web, desk, Machine(settings.paths.state))
    ready = asyncio.Event()
    tasks = [asyncio.create_task(board.follow()), asyncio.create_task(serve(pages, board, settings.web, ready))]
    try:
        await ready.wait()
        yield board
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        log.close()
        checkpoints.close()


@contextlib.asynccontextmanager
async def _browser() -> AsyncIterator[Browser]:
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


async def _opened(browser: Browser, address: str, width: int = 1280, height: int = 800) -> Page:
    page = await browser.new_page(viewport={"width": width, "height": height})
    await page.goto(address)
    return page
