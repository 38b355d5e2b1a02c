"""Whether the employee may work: a person may have paused it or its tenant, or the budget of the day is spent.

While it is paused it begins no step, action or cycle and asks no model. What it is at stops before the next of these, in the
middle of an attempt, and goes on from its record once it may: a pause is nobody's failure.
"""

import asyncio

from agent.errors import Paused


class Pause:
    """The pause of one launch of one employee."""

    def __init__(self) -> None:
        self._over = asyncio.Event()
        self._over.set()
        self._cut = False

    @property
    def on(self) -> bool:
        """Whether the employee is paused."""
        return not self._over.is_set()

    def set(self, *, paused: bool) -> None:
        """Pause, or go on."""
        if paused and not self._cut:
            self._over.clear()
        elif not paused:
            self._over.set()

    def check(self) -> None:
        """Raise `Paused` while the employee is paused."""
        if self.on:
            raise Paused("the employee is paused")

    async def over(self) -> None:
        """Wait until the employee may work. At a drain, what waits is for the next launch: raises `CancelledError`."""
        waited = self.on
        await self._over.wait()
        if waited and self._cut:
            raise asyncio.CancelledError

    def cut(self) -> None:
        """Let nothing wait any more, for the process is to end."""
        self._cut = True
        self._over.set()
