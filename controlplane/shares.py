"""Shares of what is there once for all: whoever brings much waits behind itself, and takes nobody else's place."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Shares:
    """Lets at most `each` blocks of one key run at a time; more of that key wait, in the order in which they came."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._doors: dict[Hashable, asyncio.Semaphore] = {}
        self._here: dict[Hashable, int] = {}

    @asynccontextmanager
    async def of(self, key: Hashable) -> AsyncIterator[None]:
        """The block takes one of the key's places. How many may wait for one is the caller's to bound."""
        door = self._doors.setdefault(key, asyncio.Semaphore(self._each))
        self._here[key] = self._here.get(key, 0) + 1
        try:
            async with door:
                yield
        finally:
            self._here[key] -= 1
            if not self._here[key]:
                del self._here[key], self._doors[key]
