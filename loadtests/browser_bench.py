"""What each part of the browser's figures needs: pages, our browser, and those that it is measured beside."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.browser_mcp import PlaywrightMcp, installed_peers, playwright_mcp
from loadtests.children import Child, PeerFailed, running_module
from loadtests.database import temporary_home
from loadtests.pages.site import COUNTER, serving
from workstation.egress import EgressPolicy, EgressProxy, EgressRule
from workstation.local.browser.browser import LocalBrowser
from workstation.local.browser.engine import Engine
from workstation.local.browser.requirements import find_chromium
from workstation.local.files import LocalFileSystem

HOST = "127.0.0.1"
PAGE = "bench"


@dataclass(frozen=True, slots=True)
class Bench:
    """All of it for one run; `peers` is where playwright-mcp is installed, None when `missing` says why it is not."""

    origin: str
    home: Path
    files: LocalFileSystem
    egress: EgressProxy
    executable: Path
    plain: Child
    peers: Path | None
    missing: str

    def url(self, path: str) -> str:
        """The address of a page of the site."""
        return self.origin + path

    def engine(self) -> Engine:
        """A Chromium of ours, not started yet."""
        return Engine(self.egress)

    def browser(self, engine: Engine | None = None) -> LocalBrowser:
        """A browser as an employee has it, in an engine of its own unless one is given."""
        return LocalBrowser(self.files, egress=self.egress, engine=engine)

    async def ask_plain(self, what: str, **how: object) -> Any:
        """Let plain Playwright do something; gives milliseconds, or what there is to count."""
        return (await self.plain.ask({"do": what, **how}))["value"]

    def mcp(self) -> AbstractAsyncContextManager[PlaywrightMcp]:
        """A new session with playwright-mcp, where it is installed."""
        assert self.peers is not None
        return playwright_mcp(self.peers, self.executable, self.home)


@asynccontextmanager
async def prepared() -> AsyncIterator[Bench]:
    """Serve the pages and get the peers ready. Raises `SandboxUnavailable` when there is no Chromium."""
    executable = find_chromium()
    with temporary_home() as home:
        (home / "workspace").mkdir(0o700)
        async with (
            serving() as port,
            EgressProxy(EgressPolicy((EgressRule(HOST, ports=(port,), private=True),))) as egress,
            LocalFileSystem(home / "workspace") as files,
            running_module("loadtests.browser_plain", str(executable)) as plain,
        ):
            origin = f"http://{HOST}:{port}"
            peers, missing = await _peers(executable, home, origin + COUNTER)
            yield Bench(origin, home, files, egress, executable, plain, peers, missing)


async def _peers(executable: Path, home: Path, url: str) -> tuple[Path | None, str]:
    """Install them and see that they work here."""
    try:
        peers = await installed_peers()
        async with playwright_mcp(peers, executable, home) as mcp:
            await mcp.call("browser_navigate", url=url)
    except PeerFailed as error:
        return None, str(error)
    return peers, ""
