"""Many large requests at once: the memory that screen and operator page live in is kept for them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edge.iavs.door import AT_ONCE, LARGE

Story = Any


@pytest.mark.parametrize("path", ["/checkQuality", "/v1/verify"])
def test_more_large_requests_than_there_is_memory_for_are_told_to_come_back(story: Story, path: str) -> None:
    async def told(gate: Any) -> None:
        here, go_on = asyncio.Semaphore(0), asyncio.Event()

        class Slow:
            async def admit(self, request: Any, scope: str) -> Any:
                here.release()
                await go_on.wait()
                return await known.admit(request, scope)

        known, gate.services.door._access = gate.services.door._access, Slow()
        for facade in gate.services.door._facades.values():
            facade._access = gate.services.door._access
        large = b" " * (LARGE + 1) + b"{}"

        async def pieces() -> Any:
            yield b"{}"

        post = gate.client.post
        held = [asyncio.create_task(post(path, content=large)) for _ in range(AT_ONCE - 1)]
        held.append(asyncio.create_task(post(path, content=pieces())))
        for _ in held:
            await here.acquire()
        for ask in (post(path, content=large), post(path, content=pieces())):
            answer = await ask
            assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
            assert answer.headers["Retry-After"]
            assert answer.headers["Cache-Control"] == "no-store"
        small = asyncio.create_task(gate.client.get("/queryCapabilities"))
        await here.acquire()
        go_on.set()
        assert (await small).status_code == 200
        assert 503 not in [each.status_code for each in await asyncio.gather(*held)]
        assert (await post(path, content=large)).status_code != 503

    story(told)
