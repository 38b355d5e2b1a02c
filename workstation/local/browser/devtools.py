"""Sessions with Chromium's own protocol, for what Playwright has no words for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from playwright.async_api import CDPSession, Error, Frame, Page

_DETACH_SECONDS = 1.0


@asynccontextmanager
async def devtools(target: Page | Frame) -> AsyncIterator[CDPSession]:
    """Speak to a page, or to a frame that runs in a process of its own; raises Playwright's `Error` for other frames."""
    context = target.context if isinstance(target, Page) else target.page.context
    session = await context.new_cdp_session(target)
    try:
        yield session
    finally:
        # The page may be gone, and with it the session, or too busy to answer: then the session ends with the page.
        with suppress(Error, TimeoutError):
            async with asyncio.timeout(_DETACH_SECONDS):
                await session.detach()
