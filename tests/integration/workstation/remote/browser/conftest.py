"""A real Browser, served through a socket whose connections can be cut."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from empla import rpc
from empla.v1 import workstation_pb2_grpc
from tests.cable import Cable, cabled
from tests.conformance.browsing import Tab, document, fresh_page_id
from tests.conformance.conftest import make_workspace
from tests.conformance.sites import Site, Sites, open_sites
from workstation.egress import EgressProxy
from workstation.interface import Frame
from workstation.local.browser.browser import LocalBrowser, default_limits
from workstation.local.browser.engine import Engine
from workstation.local.files import LocalFileSystem
from workstation.remote.browser.client import RemoteBrowser
from workstation.remote.browser.servicer import BrowserServicer
from workstation.remote.connection import Connection
from workstation.remote.errors import to_status

type OpenLine = Callable[..., AbstractAsyncContextManager["Line"]]

PATIENCE = 2.0
"""Seconds that the client waits for the server."""


async def eventually(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)


class CountingBrowser(LocalBrowser):
    """Counts the streams that are open."""

    views = prints = 0

    async def live_view(self, page_id: str, **options: Any) -> AsyncGenerator[Frame]:
        self.views += 1
        try:
            async with aclosing(super().live_view(page_id, **options)) as frames:
                async for frame in frames:
                    yield frame
        finally:
            self.views -= 1

    async def pdf(self, page_id: str) -> AsyncGenerator[bytes]:
        self.prints += 1
        try:
            async with aclosing(super().pdf(page_id)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self.prints -= 1


@dataclass
class Line:
    """A Browser, and how it is reached; `calls` are the RPCs that came to it."""

    local: CountingBrowser
    remote: RemoteBrowser
    cable: Cable
    connection: Connection
    calls: list[str]
    site: Site

    async def tab(self, body: str, *, on: LocalBrowser | None = None) -> Tab:
        tab = Tab(on or self.remote, fresh_page_id())
        await tab.browser.open_page(tab.page_id, url=self.site.show(document(body)))
        return tab

    async def asked(self, name: str, times: int = 1) -> None:
        """Wait until the RPC of that name came so often."""
        await eventually(lambda: self.calls.count(name) >= times)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def sites() -> AsyncIterator[Sites]:
    with tempfile.TemporaryDirectory() as directory:
        async with open_sites(Path(directory)) as opened:
            yield opened


@pytest.fixture
def site(sites: Sites) -> Site:
    return sites.http


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def engine(sites: Sites) -> AsyncIterator[Engine]:
    async with EgressProxy(sites.policy, resolve=sites.names) as egress, Engine(egress) as opened:
        yield opened


@pytest.fixture
def open_line(engine: Engine, site: Site, short_directory: Path) -> OpenLine:
    """Serve a Browser over an empty workspace, with other limits than the usual ones."""

    @asynccontextmanager
    async def opened(**limits: Any) -> AsyncIterator[Line]:
        calls: list[str] = []

        async def authenticate(method: str, metadata: Any) -> str:
            calls.append(method.rpartition("/")[2])
            return "somebody"

        place, allowed = short_directory / "server", replace(default_limits(), **limits)
        async with (
            LocalFileSystem(make_workspace(short_directory / "workspace")) as files,
            CountingBrowser(files, egress=None, engine=engine, limits=allowed) as local,
            rpc.serving(
                f"unix:{place}",
                {
                    "empla.v1.Browser": partial(
                        workstation_pb2_grpc.add_BrowserServicer_to_server, BrowserServicer(local)
                    )
                },
                authenticate=authenticate,
                translate=to_status,
                grace=1.0,
                max_message_bytes=8 << 20,
            ),
            cabled(f"{short_directory}/cable", str(place)) as cable,
            rpc.dialing(f"unix:{short_directory}/cable", "token", max_message_bytes=8 << 20) as channel,
        ):
            connection = Connection(channel, patience=PATIENCE)
            yield Line(local, RemoteBrowser(connection), cable, connection, calls, site)
            await eventually(lambda: not (local.views or local.prints))

    return opened


@pytest_asyncio.fixture(loop_scope="package")
async def line(open_line: OpenLine) -> AsyncIterator[Line]:
    async with open_line() as opened:
        yield opened
