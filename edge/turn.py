"""Whose turn it is at the entrance: one person at the camera, or one whom an operator lets in, and never both.

Rules:

1. Whoever shows a card has the turn until it is written down what became of that, and who is let in until they went.
   So nothing opens by an operator's word under the eyes of somebody else who was just told to look.
2. An operator does not wait for it: when it is taken, nothing opens. Who came meanwhile waits until it is given back.
3. Who was refused has it no more, though the card is still held up: an operator lets them in at once.
"""

from __future__ import annotations

import asyncio


class Turn:
    """One at a time. ``async with`` it to wait for it and to give it back."""

    def __init__(self) -> None:
        self._given_back = asyncio.Event()
        self._given_back.set()

    @property
    def taken(self) -> bool:
        """Whether somebody has it."""
        return not self._given_back.is_set()

    def take(self) -> None:
        """Have it from now on.

        Raises:
            RuntimeError: somebody else has it.
        """
        if self.taken:
            raise RuntimeError("somebody else is served")
        self._given_back.clear()

    def give_back(self) -> None:
        """Whoever waits may take it."""
        self._given_back.set()

    async def free(self) -> None:
        """Wait until nobody has it."""
        while self.taken:
            await self._given_back.wait()

    async def __aenter__(self) -> None:
        await self.free()
        self.take()

    async def __aexit__(self, *_: object) -> None:
        self.give_back()
