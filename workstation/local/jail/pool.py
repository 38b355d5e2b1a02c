"""A few jails kept warm, so that a program or a session starts without waiting for one to be built.

Each is used once. They cost some 10 MB each, so none is kept before the first use, nor long after the last.
"""

import asyncio
import logging
from collections import deque

from workstation.errors import SandboxUnavailable
from workstation.local.jail.jail import Jail, JailBuilder

log = logging.getLogger(__name__)

IDLE_SECONDS = 300.0
REFILL_SECONDS = 0.005
"""Whoever took a jail is to start first: building the next one keeps this process busy for a moment."""
ALONE_SECONDS = 5.0
"""After the first jail, where it was begun before anybody asked, until another is built without being asked for: many
workstations may begin at once, most of them for one program, and second jails would keep others from their first."""
PRELOAD_SECONDS = 0.2
"""A jail that nobody took for so long learns what a session needs; sooner it would be in a program's way."""


class WarmPool:
    """Keeps `size` jails ready once one was taken; run `keep` as a task."""

    def __init__(self, builder: JailBuilder, size: int) -> None:
        self._builder = builder
        self._size = size
        self._ready: deque[Jail] = deque()
        self._taken = asyncio.Event()
        self._first: asyncio.Future[Jail | None] | None = None

    async def take(self) -> Jail:
        """A jail of one's own: a warm one if there is one. Raises `SandboxUnavailable`."""
        try:
            return await self._come() or await self._warm() or await self._builder.build()
        finally:
            self._taken.set()  # only now: whoever takes the first one shall not share the processors with the next

    def begin(self) -> None:
        """Build the first jail before it is asked for; whoever asks meanwhile waits for it."""
        if self._first is None:
            self._first = asyncio.get_running_loop().create_future()
            self._taken.set()

    async def keep(self) -> None:
        """Build what is missing and drop what nobody wants, until cancelled."""
        try:
            while True:
                await self._taken.wait()
                try:
                    await (self._bring() if self._is_awaited else self._serve())
                except Exception:
                    log.exception("keeping sandboxes warm failed by a fault of ours")  # they are built when asked for
        finally:
            if self._first is not None and not self._first.done():
                self._first.set_result(None)
            await self._drop()

    @property
    def _is_awaited(self) -> bool:
        return self._first is not None and not self._first.done()

    async def _bring(self) -> None:
        """Build the first; without one, whoever waits for it builds its own and is told why there is none."""
        assert self._first is not None
        first, jail = self._first, None
        try:
            jail = await self._builder.build()
        finally:
            self._taken.clear()
            if not first.done():
                first.set_result(jail)
        await self._taken.wait()
        self._taken.clear()
        await self._nobody_came(ALONE_SECONDS)
        self._taken.set()

    async def _come(self) -> Jail | None:
        """The first jail, if it was begun and nobody has it."""
        if (first := self._first) is None:
            return None
        await asyncio.wait([first])  # not the future itself: whoever leaves must not take it along
        if self._first is not first:  # another was faster
            return None
        self._first, jail = None, first.result()
        if jail is None or jail.alive:
            return jail
        await jail.destroy()
        return None

    async def _warm(self) -> Jail | None:
        while self._ready:
            jail = self._ready.popleft()
            if jail.alive:
                return jail
            await jail.destroy()
        return None

    async def _serve(self) -> None:
        """While jails are being taken, see that there are some."""
        while self._taken.is_set():
            await asyncio.sleep(REFILL_SECONDS)
            self._taken.clear()
            await self._fill()
            if await self._nobody_came(PRELOAD_SECONDS):
                for jail in self._ready:
                    jail.preload()
                await self._nobody_came(IDLE_SECONDS)
        await self._drop()

    async def _nobody_came(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._taken.wait()
        except TimeoutError:
            return True
        return False

    async def _fill(self) -> None:
        try:
            async with asyncio.TaskGroup() as building:
                for _ in range(self._size - len(self._ready)):
                    building.create_task(self._add())
        except* SandboxUnavailable as group:  # whoever takes the next one is told; here it is only a preparation
            log.warning("no warm sandbox: %s", group.exceptions[0])

    async def _add(self) -> None:
        self._ready.append(await self._builder.build())

    async def _drop(self) -> None:
        if self._first is not None and self._first.done():
            first, self._first = self._first.result(), None
            if first is not None:
                await first.destroy()
        while self._ready:
            await self._ready.popleft().destroy()
