"""How long a request may take: in each of its steps, and in all."""

import asyncio
from types import TracebackType

from workstation.egress.endings import Ending, limited


class Clock:
    """A block that ends with the `Ending` of the step that took too long, or with that of whoever stopped it."""

    def __init__(self, total: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + total
        self._timeout = asyncio.timeout_at(self._end)
        self._late = self._too_long = limited(504, f"it was not done after {total:g} seconds")
        self._seconds = total
        self._over = False

    async def __aenter__(self) -> "Clock":
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise self._late from None

    def allow(self, seconds: float, late: Ending) -> None:
        """Give the step that now begins `seconds`; it ends with `late` after them."""
        if not self._over:
            self._seconds, self._late = seconds, late
            self.touch()

    def touch(self) -> None:
        """Give the step its seconds anew: there was progress."""
        if self._over or self._timeout.expired():
            return
        when = self._loop.time() + self._seconds
        if when >= self._end:
            when, self._late = self._end, self._too_long
        self._timeout.reschedule(when)

    def stop(self, why: Ending) -> None:
        """End the block now."""
        if not self._over and not self._timeout.expired():
            self._over, self._late = True, why
            self._timeout.reschedule(self._loop.time())
