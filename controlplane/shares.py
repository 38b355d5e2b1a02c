"""Shares of what is there once for all: whoever brings much waits behind itself, and takes nobody else's place."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager

from controlplane.errors import Busy

MAX_REST_SECONDS = 1.0


class Shares:
    """Lets at most `each` blocks of one key run at a time; more of that key wait, in the order in which they came.

    While some wait, a place stays empty for `rest` times as long as it was taken, a second at most: so a line without end
    leaves some of everything to others, and the more the busier the machine is.
    """

    def __init__(self, each: int, *, rest: float = 0.0) -> None:
        self._each, self._rest = each, rest
        self._doors: dict[Hashable, asyncio.Semaphore] = {}
        self._here: dict[Hashable, int] = {}

    @asynccontextmanager
    async def of(self, key: Hashable) -> AsyncIterator[None]:
        """The block takes one of the key's places. How many may wait for one is the caller's to bound."""
        door = self._doors.setdefault(key, asyncio.Semaphore(self._each))
        self._here[key] = self._here.get(key, 0) + 1
        try:
            await door.acquire()
            taken_at = time.monotonic()
            try:
                yield
            finally:
                self._give_back(door, time.monotonic() - taken_at, others_wait=self._here[key] > self._each)
        finally:
            self._here[key] -= 1
            if not self._here[key]:
                del self._here[key], self._doors[key]

    def _give_back(self, door: asyncio.Semaphore, taken: float, *, others_wait: bool) -> None:
        if others_wait and self._rest:
            seconds = min(MAX_REST_SECONDS, self._rest * taken)
            asyncio.get_running_loop().call_later(seconds, door.release)
        else:
            door.release()


@contextmanager
def counted[Whose](counts: Counter[Whose], whose: Whose, most: int) -> Iterator[None]:
    """Count the block as one of at most so many at once; raises `Busy` when there are."""
    if counts[whose] >= most:
        raise Busy("too many of these at once; try again")
    counts[whose] += 1
    try:
        yield
    finally:
        counts[whose] -= 1
        if not counts[whose]:
            del counts[whose]
