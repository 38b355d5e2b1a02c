"""Whether the employee may work: a person may have paused it or its tenant, or the budget of the day is spent.

While it is paused it begins no step, action or cycle and asks no model. What it is at stops before the next of these, in the
middle of an attempt, and goes on from its record once it may: a pause is nobody's failure.
"""

import asyncio

from agent.errors import Paused


class Pause:
    """The pause of one launch of one employee, which is `on` or not."""

    def __init__(self) -> None:
        self.on = False
        self._moved = asyncio.Event()
        self._moved.set()
        self._cut = False

    def set(self, *, paused: bool) -> None:
        """Pause, or go on."""
        self.on = paused
        self._tell()

    def cut(self) -> None:
        """Let nothing wait any more, for the process is to end."""
        self._cut = True
        self._tell()

    def check(self) -> None:
        """Raise `Paused` while the employee is paused."""
        if self.on:
            raise Paused("the employee is paused")

    async def over(self) -> None:
        """Wait until the employee may work. At a drain, what waits is for the next launch: raises `CancelledError`."""
        while self.on:
            if self._cut:
                raise asyncio.CancelledError
            await self._moved.wait()

    def _tell(self) -> None:
        if self.on and not self._cut:
            self._moved.clear()
        else:
            self._moved.set()
