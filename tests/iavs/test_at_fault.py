"""What is wrong with files of the services stays with the services: pages and lock-down go on, and it is said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge.app import iavs
from edge.app.checks.identity import services_of
from edge.errors import DeviceError
from edge.settings import Settings, SettingsError

Site = Callable[[Path], Settings]


def damaged(gallery: Path) -> None:
    gallery.parent.mkdir(parents=True, exist_ok=True)
    gallery.write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1500):
        if true():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError


def test_a_damaged_gallery_is_said_and_tried_again(tmp_path: Path, site: Site) -> None:
    settings = site(tmp_path)
    damaged(settings.paths.gallery)
    part = iavs.Part(settings)

    async def story() -> None:
        running = asyncio.create_task(part.run())
        await until(lambda: bool(part.trouble) or running.done())
        assert not running.done(), running.exception()
        assert part.trouble.startswith("gallery: cannot be opened")
        settings.paths.gallery.unlink()
        await until(lambda: not part.trouble)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(story())


def test_a_gallery_that_did_not_open_is_let_go_of(tmp_path: Path, site: Site) -> None:
    settings = site(tmp_path)
    damaged(settings.paths.gallery)
    with pytest.raises(DeviceError, match="gallery"):
        asyncio.run(iavs.run(settings))
    settings.paths.gallery.unlink()

    async def served() -> None:
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(iavs.run(settings, ready=ready))
        await until(lambda: ready.done() or running.done())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert ready.done()

    asyncio.run(served())


def test_the_technician_is_told_what_edge_web_would_not_start_with(tmp_path: Path, site: Site) -> None:
    settings = site(tmp_path)
    (said,) = services_of(settings)
    assert (said.well, said.said) == (True, "1 keys may sign access tokens")
    assert not said.remedy
    assert not list(services_of(replace(settings, iavs=replace(settings.iavs, enabled=False))))
    first = json.loads((tmp_path / "issuers.json").read_text(encoding="utf-8"))["keys"][0]
    for iss, remedy in ({}, True), ({"iss": "https://hr"}, False):
        listed = {"keys": [first | iss, first | {"kid": "second"} | iss]}
        (tmp_path / "issuers.json").write_text(json.dumps(listed), encoding="utf-8")
        (said,) = services_of(settings)
        assert (said.well, "every issuer's name" in said.remedy) == (True, remedy)
    for wrong, word in (
        ({"audience": ""}, "iavs.audience"),
        ({"issuers": tmp_path / "absent.json"}, "absent.json"),
        ({"signers": tmp_path / "edge.toml"}, "not a JWK set"),
        ({"lanes": ("nobody's",)}, "nobody's"),
    ):
        spoilt = replace(settings, iavs=replace(settings.iavs, **wrong))
        (said,) = services_of(spoilt)
        assert not said.well
        assert word in said.said
        assert "edge-web" in said.remedy
        with pytest.raises(SettingsError):
            asyncio.run(iavs.run(spoilt))
