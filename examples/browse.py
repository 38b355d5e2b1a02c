"""A sandboxed browser of one's own, in this process or in a sidecar: what uses it cannot tell which.

    python examples/browse.py https://example.com ./files
    python examples/browse.py https://example.com ./files --sidecar

Prints the page as a tree of what can be acted on and as text, and saves it as page.pdf in the directory ./files. Only the
page's own host can be reached; --private allows it to be on this machine or in this network.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from agent.errors import SidecarUnavailable
from agent.identity import Identity
from agent.local_sidecars import SidecarProcesses
from empla import rpc
from empla.v1 import control_pb2, sidecar_pb2, sidecar_pb2_grpc
from workstation.egress import EgressPolicy, EgressProxy, EgressRule
from workstation.errors import WorkstationError
from workstation.interface import Browser, FileSystem
from workstation.local.browser.browser import LocalBrowser
from workstation.local.files import LocalFileSystem
from workstation.remote.dialing import dialing

MEMORY_BYTES = 2 << 30
LEASE_SECONDS = 600


@asynccontextmanager
async def browser_here(files: FileSystem, rule: EgressRule) -> AsyncIterator[Browser]:
    """Chromium in a jail of this process."""
    async with EgressProxy(EgressPolicy((rule,))) as egress, LocalBrowser(files, egress=egress) as browser:
        yield browser


@asynccontextmanager
async def browser_in_sidecar(workspace: Path, rule: EgressRule) -> AsyncIterator[Browser]:
    """Chromium in a process that is leased, serves gRPC on a unix socket, and ends with the block."""
    owner = Identity(employee_id=uuid4(), tenant_id=uuid4(), epoch=1)
    async with AsyncExitStack() as opened:
        sidecars = await opened.enter_async_context(SidecarProcesses(owner, workspace))
        lease = await sidecars.acquire(
            control_pb2.SIDECAR_KIND_BROWSER, memory_bytes=MEMORY_BYTES, idle_ttl=LEASE_SECONDS
        )
        workstation = await opened.enter_async_context(dialing(lease.address, lease.token))
        channel = await opened.enter_async_context(rpc.dialing(lease.address, lease.token))
        allowed = control_pb2.EgressRule(domain=rule.domain, ports=rule.ports, private=rule.private)
        configuration = sidecar_pb2.SidecarConfiguration(egress=[allowed])
        await sidecar_pb2_grpc.SidecarControlStub(channel).Configure(configuration, timeout=30)
        yield workstation.browser


async def show(browser: Browser, files: FileSystem, url: str) -> None:
    """Open the page, print what is on it, and keep it."""
    page = await browser.open_page("first", url=url)
    print(f"{page.title} ({page.status}) at {page.url}\n")
    print((await browser.snapshot(page.page_id, max_characters=4000)).text, end="\n\n")
    print((await browser.read_text(page.page_id)).text, end="\n\n")
    saved = await files.write("page.pdf", browser.pdf(page.page_id))
    print(f"{saved.path}: {saved.size} bytes")


async def main() -> None:
    """See above."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("url", help="a page, with http:// or https://")
    asked.add_argument("workspace", type=Path, help="an existing directory for what is kept")
    asked.add_argument("--sidecar", action="store_true", help="run the browser in a process of its own")
    asked.add_argument("--private", action="store_true", help="the page is on this machine or in this network")
    said = asked.parse_args()
    try:
        where = urlsplit(said.url)
        port = where.port or (443 if where.scheme == "https" else 80)
        rule = EgressRule(where.hostname or "", (port,), private=said.private)
        async with LocalFileSystem(said.workspace) as files:
            place = browser_in_sidecar(said.workspace.absolute(), rule) if said.sidecar else browser_here(files, rule)
            async with place as browser:
                await show(browser, files, said.url)
    except (ValueError, WorkstationError, SidecarUnavailable) as error:
        asked.error(str(error))


if __name__ == "__main__":
    asyncio.run(main())
