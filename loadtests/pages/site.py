"""The pages on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

from loadtests.pages import counter, dashboard, login, manual, news, shop, table

SHOWN = {
    "60-row table": "/table",
    "login form": "/login",
    "news front page": "/news",
    "shop, 100 products": "/shop",
    "documentation": "/manual",
    "dashboard with frames": "/dashboard",
}
"""The pages that are compared, and where they are."""

COUNTER = "/counter"
_DOCUMENTS = {
    "/table": table.page,
    "/login": login.page,
    "/news": news.page,
    "/shop": shop.page,
    "/manual": manual.page,
    "/dashboard": dashboard.page,
    "/dashboard/activity": dashboard.activity,
    "/dashboard/support": dashboard.support,
    COUNTER: counter.page,
}
_PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001f61738"
    "550000000049454e44ae426082"
)
"""A black pixel as PNG."""


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """Serve all pages; gives the port on 127.0.0.1."""
    application = web.Application()
    for path, page in _DOCUMENTS.items():
        application.router.add_get(path, _answer(page().encode(), "text/html"))
    application.router.add_get("/images/{name}", _answer(_PICTURE, "image/png"))
    runner = web.AppRunner(application, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _answer(body: bytes, kind: str) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8" if kind == "text/html" else None)

    return answer
