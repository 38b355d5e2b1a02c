"""Playwright's driver: the process of node's that turns our calls into Chromium's protocol."""

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path

from playwright._impl import transport
from playwright._repo_version import version
from playwright.async_api import Playwright, async_playwright

from workstation.errors import SandboxUnavailable

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
_home: ContextVar[Path] = ContextVar("_home")


class Driver:
    """One driver, whose temporary files lie in `home`; what `start` began `stop` ends, in whatever state it is."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._starting: asyncio.Future[Playwright] | None = None

    async def start(self) -> Playwright:
        """Start it. Raises `SandboxUnavailable`."""
        # Playwright gives the driver all of our environment, keys and passwords included, and offers no other way.
        transport.get_driver_env = _environment  # type: ignore[attr-defined]
        _home.set(self._home)
        self._starting = asyncio.ensure_future(async_playwright().start())
        try:
            return await asyncio.shield(self._starting)
        except Exception as error:  # Playwright has no class of its own for a driver that ends at once
            raise SandboxUnavailable(f"Playwright's driver does not start: {error}") from error

    async def stop(self) -> None:
        """End it; one that does not end when asked is killed."""
        if self._starting is None:
            return
        stopping = asyncio.ensure_future(_stop(self._starting))
        try:
            await asyncio.wait([stopping], timeout=STOP_SECONDS)
        finally:
            if not stopping.done():
                await self._kill(stopping)

    async def _kill(self, stopping: asyncio.Future[None]) -> None:
        await asyncio.to_thread(_kill_all, self._home)
        await asyncio.wait([stopping], timeout=STOP_SECONDS)
        if not stopping.done():
            stopping.cancel()
            log.error("Playwright's driver does not end")


async def _stop(starting: asyncio.Future[Playwright]) -> None:
    await asyncio.wait([starting])
    if not starting.cancelled() and starting.exception() is None:
        await starting.result().stop()


def _kill_all(home: Path) -> None:
    """Kill what lives there: Playwright does not say which process it started."""
    mark = f"\0HOME={home}\0".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(FileNotFoundError, PermissionError, ProcessLookupError):
            if mark in b"\0" + Path(f"/proc/{pid}/environ").read_bytes():
                os.kill(int(pid), signal.SIGKILL)


def _environment() -> dict[str, str]:
    home = str(_home.get())
    return {
        "PATH": os.defpath,
        "HOME": home,
        "TMPDIR": home,
        "LANG": "C.UTF-8",
        "PW_LANG_NAME": "python",
        "PW_LANG_NAME_VERSION": f"{sys.version_info.major}.{sys.version_info.minor}",
        "PW_CLI_DISPLAY_VERSION": version,
    }
