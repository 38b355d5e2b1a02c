"""The live view: pictures of a page as it changes."""

import asyncio
import base64
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Self

from playwright.async_api import Error, Page

from workstation.errors import InvalidArgument
from workstation.interface import Frame, ImageFormat, Picture
from workstation.local.browser.devtools import devtools
from workstation.local.browser.pictures import image_size


async def watch(
    page: Page, ended: "asyncio.Future[Any]", *, frames_per_second: float, fastest: float, quality: int
) -> AsyncGenerator[Frame]:
    """Stream JPEG pictures of a page until it `ended` or the stream is closed; the first comes at once.

    At most `frames_per_second` come, and none that the caller was too slow for. Any number of callers may watch the same
    page. Raises `InvalidArgument` for a rate above `fastest`, or not above 0, and a quality outside 1 to 100. Wrap it
    in `contextlib.aclosing`.
    """
    if not 0 < frames_per_second <= fastest:
        raise InvalidArgument(f"frames_per_second is above 0 and at most {fastest:g}, not {frames_per_second:g}")
    if not 1 <= quality <= 100:
        raise InvalidArgument(f"quality is from 1 to 100, not {quality}")
    screencast = _Screencast(page, ended, 1 / frames_per_second, quality)
    try:
        async with screencast:
            while (frame := await screencast.next()) is not None:
                yield frame
    except Error:
        if not screencast.over:
            raise


class _Screencast:
    """Chromium's pictures of a page, of which only the latest is kept.

    Chromium sends three and holds back until they are acknowledged, so that a last change might never be seen. Here none
    is acknowledged: what comes after the first says that the page changes, and a fresh one is had by beginning anew.
    """

    def __init__(self, page: Page, ended: "asyncio.Future[Any]", interval: float, quality: int) -> None:
        self._page, self._ended, self._interval, self._quality = page, ended, interval, quality
        self._latest = self._told = b""
        self._came = 0
        self._stir = asyncio.Event()
        self._over = asyncio.Event()
        self._due = 0.0

    @property
    def over(self) -> bool:
        """Whether the page was closed, or crashed."""
        return self._over.is_set() or self._page.is_closed()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            for event in ("close", "crash"):
                self._page.on(event, self._end)
                opened.callback(self._page.remove_listener, event, self._end)
            self._ended.add_done_callback(self._end)
            opened.callback(self._ended.remove_done_callback, self._end)
            self._session = await opened.enter_async_context(devtools(self._page))
            self._session.on("Page.screencastFrame", self._receive)
            await self._begin()
            self._opened = opened.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the session, and with it Chromium's pictures."""
        await self._opened.aclose()

    async def next(self) -> Frame | None:
        """The page as it is now, once it differs from the last frame and that is old enough; None when it is closed."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._due):
                await self._over.wait()
        if self._came > 1 and not self.over:
            await self._begin_anew()
        while not self.over and self._latest == self._told:
            self._stir.clear()
            await self._stir.wait()
        self._told = self._latest
        self._due = asyncio.get_running_loop().time() + self._interval
        return None if self.over else _frame(self._latest)

    async def _begin(self) -> None:
        self._came, self._latest = 0, self._told
        await self._session.send("Page.startScreencast", {"format": "jpeg", "quality": self._quality})

    async def _begin_anew(self) -> None:
        await self._session.send("Page.stopScreencast")
        await self._begin()

    def _receive(self, given: dict[str, Any]) -> None:
        self._latest = base64.b64decode(given["data"])
        self._came += 1
        self._stir.set()

    def _end(self, _: object) -> None:
        self._over.set()
        self._stir.set()


def _frame(data: bytes) -> Frame:
    width, height = image_size(ImageFormat.JPEG, data)
    picture = Picture(format=ImageFormat.JPEG, data=data, width=width, height=height)
    return Frame(picture=picture, captured_ns=time.time_ns())
