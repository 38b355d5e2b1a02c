"""One Chromium from its start to its end, with its jail, its way out and its driver."""

import asyncio
import os
import select
import tempfile
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from playwright.async_api import Browser as Chromium
from playwright.async_api import Playwright

from workstation.egress import Door, EgressProxy
from workstation.errors import SandboxUnavailable
from workstation.local.browser.asking import teach
from workstation.local.browser.driver import Driver
from workstation.local.browser.exchange import Exchange
from workstation.local.browser.launching import Stand
from workstation.local.browser.plan import DOWNLOADS, BrowserPlan
from workstation.local.jail.cgroups import GroupLimits
from workstation.local.jail.jail import PROXY_PORT, Jail, JailBuilder

HEAR_SECONDS = 1.0
_ZYGOTE = b"--type=zygote"
"""Whom Chromium has fork all of its renderers: without them it shows no page, and does not notice."""
_ARGUMENTS = (
    # No UDP at all: WebRTC would otherwise go around the proxy, in the jail into the void.
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-crash-reporter",
    "--no-pings",
)
_UNWANTED = ("--disable-ipc-flooding-protection",)
"""Playwright's, against tests that are too quick; ours are pages that nobody vouches for."""


class Running:
    """Chromium with all that belongs to it, open as an async context manager; none of it outlives the rest."""

    chromium: Chromium
    door: Door | None = None

    def __init__(self, executable: Path, place: Exchange, limits: GroupLimits, egress: EgressProxy | None) -> None:
        self._plan = BrowserPlan(executable, place.exchange)
        self._place, self._limits, self._egress = place, limits, egress

    async def __aenter__(self) -> Self:
        """Raises `SandboxUnavailable`, or Playwright's `Error` with what Chromium said."""
        async with AsyncExitStack() as opened:
            await self._open(opened)
            self._opened = opened.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave nothing of it."""
        await self._opened.aclose()

    @property
    def alive(self) -> bool:
        """Whether Chromium, its jail and the driver are all there."""
        return self._jail.alive and self.chromium.is_connected() and not _is_dead(self._stand.driver)

    async def _open(self, opened: AsyncExitStack) -> None:
        directory = Path(opened.enter_context(tempfile.TemporaryDirectory(dir=self._place.place)))
        self._stand = Stand(directory / "stand")
        opened.callback(self._stand.close)
        self._stand.open()
        try:
            async with asyncio.TaskGroup() as starting:  # both at once: each takes a while
                building = starting.create_task(self._build(opened))
                driving = starting.create_task(self._drive(opened, directory))
            self._jail = building.result()
            self._open_door(opened)
            async with asyncio.TaskGroup() as starting:
                starting.create_task(self._stand.hand_over(self._jail, self._plan))
                self.chromium = await self._launch(driving.result())
        except ExceptionGroup as group:
            raise _first(group) from group
        opened.push_async_callback(self._hear_of_end)
        for pid in self._jail.processes(_ZYGOTE):
            self._watch(opened, pid)
        opened.callback(self._jail.kill)

    def _watch(self, opened: AsyncExitStack, pid: int) -> None:
        """End all with a process without which Chromium only seems to live."""
        loop = asyncio.get_running_loop()
        pidfd = os.pidfd_open(pid)
        opened.callback(os.close, pidfd)
        opened.callback(loop.remove_reader, pidfd)

        def ended() -> None:
            loop.remove_reader(pidfd)
            self._jail.kill()

        loop.add_reader(pidfd, ended)

    async def _hear_of_end(self) -> None:
        """Let the driver tell all who use Chromium that it is gone, before the driver goes itself."""
        gone = asyncio.Event()
        self.chromium.once("disconnected", lambda _: gone.set())
        if self.chromium.is_connected() and not _is_dead(self._stand.driver):
            with suppress(TimeoutError):
                async with asyncio.timeout(HEAR_SECONDS):
                    await gone.wait()

    async def _build(self, opened: AsyncExitStack) -> Jail:
        listens = self._egress is not None
        builder = await opened.enter_async_context(JailBuilder(self._plan, self._limits, listens=listens))
        jail = await builder.build()
        opened.push_async_callback(jail.destroy)
        return jail

    async def _drive(self, opened: AsyncExitStack, home: Path) -> Playwright:
        driver = Driver(home)
        opened.push_async_callback(driver.stop)
        playwright = await driver.start()
        await teach(playwright)
        return playwright

    def _open_door(self, opened: AsyncExitStack) -> None:
        if self._egress is not None and self._jail.listener is not None:
            self.door = self._egress.open_door(self._jail.listener, client="browser")
            opened.push_async_callback(self.door.close)

    async def _launch(self, playwright: Playwright) -> Chromium:
        return await playwright.chromium.launch(
            executable_path=self._stand.program,
            args=_ARGUMENTS,
            ignore_default_args=_UNWANTED,
            chromium_sandbox=True,
            # Also without a way out: it is what sends requests to this machine's own addresses the same way.
            proxy={"server": f"http://127.0.0.1:{PROXY_PORT}"},
            downloads_path=self._plan.exchange / DOWNLOADS,
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
        )


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    """What to tell of several failures: ours says more than what came of it elsewhere."""
    ours = group.subgroup(SandboxUnavailable)
    failure: BaseException = ours or group
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    assert isinstance(failure, Exception)
    return failure


def _is_dead(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
