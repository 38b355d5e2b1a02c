"""One jailed Chromium for all tests here, pages of a site on loopback, and a workspace for each test."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import BrowserContext, Page

from workstation.egress import EgressPolicy, EgressProxy, EgressRule
from workstation.interface import FileSystem
from workstation.local.browser.engine import Engine
from workstation.local.files import LocalFileSystem

type Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
type OpenPage = Callable[..., Awaitable[Page]]

PATIENCE = 20.0


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


class Site:
    """A server on loopback; every answer has an address of its own."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[web.Request] = []
        self._answers: dict[str, Answer] = {}
        self._numbers = itertools.count(1)

    def serve(self, answer: Answer, host: str = "127.0.0.1") -> str:
        path = f"/{next(self._numbers)}"
        self._answers[path] = answer
        return f"http://{host}:{self.port}{path}"

    def show(self, body: str | bytes, *, host: str = "127.0.0.1", **headers: str) -> str:
        async def answer(request: web.Request) -> web.Response:
            given = {"Content-Type": "text/html; charset=utf-8"}
            given |= {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(body=body.encode() if isinstance(body, str) else body, headers=given)

        return self.serve(answer, host)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        found = self._answers.get(request.path)
        return web.Response(status=404) if found is None else await found(request)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def site() -> AsyncIterator[Site]:
    opened = Site()
    application = web.Application(client_max_size=256 << 20)
    application.router.add_route("*", "/{path:.*}", opened.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    opened.port = int(runner.addresses[0][1])
    yield opened
    await runner.cleanup()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def egress(site: Site) -> AsyncIterator[EgressProxy]:
    async def resolve(name: str) -> tuple[str, ...]:
        return ("127.0.0.1",)

    rules = tuple(EgressRule(name, (site.port,), private=True) for name in ("127.0.0.1", "other.test"))
    async with EgressProxy(EgressPolicy(rules), resolve=resolve) as opened:
        yield opened


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def engine(egress: EgressProxy) -> AsyncIterator[Engine]:
    async with Engine(egress) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="package")
async def context(engine: Engine) -> AsyncIterator[BrowserContext]:
    opened = await (await engine.chromium()).new_context(viewport={"width": 800, "height": 600})
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="package")
async def open_page(context: BrowserContext, site: Site) -> OpenPage:
    """Open a page with this body."""

    async def opened(body: str = "") -> Page:
        page = await context.new_page()
        await page.goto(site.show(f"<!doctype html><title>A page</title>{body}"))
        return page

    return opened


@pytest_asyncio.fixture(loop_scope="package")
async def files(jailable_workspace: Path) -> AsyncIterator[FileSystem]:
    async with LocalFileSystem(jailable_workspace) as opened:
        yield opened


@pytest.fixture
def workspace(jailable_workspace: Path) -> Path:
    return jailable_workspace
