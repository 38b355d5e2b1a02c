"""Engine: one Chromium that is kept warm in its jail, and Playwright's driver that speaks to it."""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from playwright.async_api import Browser as Chromium
from playwright.async_api import Error

from workstation.egress import Door, EgressProxy
from workstation.errors import SandboxUnavailable, WorkstationUnavailable
from workstation.local.browser.exchange import Exchange
from workstation.local.browser.requirements import explain, find_chromium
from workstation.local.browser.running import Running
from workstation.local.jail.cgroups import GroupLimits
from workstation.local.threads import Threads

START_SECONDS = 30.0


def default_limits() -> GroupLimits:
    """What Chromium with all its pages may use; for want of memory one page dies, as a rule the largest."""
    cpus = float(os.cpu_count() or 1)
    return GroupLimits(memory_bytes=2 << 30, processes=1024, cpus=cpus, ends_together=False)


class Engine:
    """Starts Chromium when it is first asked for and another when that one died; an async context manager.

    `exchange` is a directory that Chromium sees under the same path: `exchange / "downloads"` it writes (whatever stands
    there may be of its making, links too), `exchange / "uploads"` it reads, in files that others may read. Without an
    `egress` proxy it reaches nothing at all. `executable` takes the place of the Chromium that is found.
    One that is not `shared` serves one Browser only, which may then decide about all that Chromium asks for. Chromium has
    one clipboard: the Browsers of one that is shared can paste what another has copied.
    """

    def __init__(
        self,
        egress: EgressProxy | None,
        *,
        limits: GroupLimits | None = None,
        executable: Path | None = None,
        shared: bool = True,
    ) -> None:
        self._egress, self._executable, self.shared = egress, executable, shared
        self._limits = limits or default_limits()
        self._changing = asyncio.Lock()
        self._running: Running | None = None
        self._open = False

    async def __aenter__(self) -> Self:
        """Nothing is started yet. Raises `SandboxUnavailable` when there can be no place for Chromium's files."""
        self._place = Exchange()
        threads = Threads()
        try:
            await threads.run(lambda _: self._place.open())
        except asyncio.CancelledError:
            await threads.run(lambda _: self._place.close())
            raise
        self.exchange, self._open = self._place.exchange, True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End Chromium and the driver, and remove their files."""
        self._open = False
        try:
            async with self._changing:
                await self._end()
        finally:
            await Threads().run(lambda _: self._place.close())

    @property
    def sandboxed(self) -> bool:
        """Whether Chromium runs in its own sandbox, within ours: it is never started in another way."""
        return True

    @property
    def door(self) -> Door | None:
        """Chromium's only way out; None without an egress proxy, and while no Chromium runs."""
        return self._running.door if self._running is not None else None

    async def chromium(self) -> Chromium:
        """A living Chromium. Raises `SandboxUnavailable`, and `WorkstationUnavailable` when the engine is closed."""
        async with self._changing:
            if not self._open:
                raise WorkstationUnavailable("this browser is not open")
            if self._running is None or not self._running.alive:
                await self._end()
                self._running = await self._start()
            return self._running.chromium

    def lives(self, chromium: Chromium) -> bool:
        """Whether this Chromium is the one that runs, with its jail and its driver, whose end Playwright does not notice."""
        return self._running is not None and self._running.chromium is chromium and self._running.alive

    async def rest(self) -> None:
        """End Chromium and the driver if there is no context in it; the next `chromium()` starts another."""
        async with self._changing:
            if self._running is not None and not (self._running.alive and self._running.chromium.contexts):
                await self._end()

    async def discard(self, chromium: Chromium) -> None:
        """End this Chromium, which seems to live and answers nobody; the next `chromium()` starts another."""
        async with self._changing:
            if self._running is not None and self._running.chromium is chromium:
                await self._end()

    async def _start(self) -> Running:
        executable = await asyncio.to_thread(find_chromium, self._executable)
        async with AsyncExitStack() as opened:
            running = Running(executable, self._place, self._limits, self._egress)
            try:
                async with asyncio.timeout(START_SECONDS):
                    await opened.enter_async_context(running)
            except TimeoutError:
                raise SandboxUnavailable(f"Chromium did not start within {START_SECONDS:g} s") from None
            except Error as error:
                raise SandboxUnavailable(explain(error.message)) from error
            except OSError as error:
                raise SandboxUnavailable(f"Chromium cannot be started: {error}") from error
            opened.pop_all()
        return running

    async def _end(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running.close()
