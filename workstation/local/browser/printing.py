"""Pages as PDF."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import suppress

from playwright.async_api import CDPSession, Error, Page

from workstation.errors import LimitExceeded
from workstation.local.browser.devtools import devtools

_PIECE_BYTES = 1 << 20
_CLOSE_SECONDS = 1.0


async def print_pdf(page: Page, *, most_bytes: int) -> AsyncGenerator[bytes]:
    """Print a page and stream the PDF in pieces of at most 1 MiB.

    Takes as long as the page lets it: the caller bounds the time. Raises `LimitExceeded` as soon as there are more than
    `most_bytes`, and Playwright's `Error` when the page is gone. Wrap it in `contextlib.aclosing`.
    """
    async with devtools(page) as session:
        options = {"transferMode": "ReturnAsStream", "printBackground": True, "preferCSSPageSize": True}
        printed = await session.send("Page.printToPDF", options)
        try:
            sent = 0
            while piece := await _read(session, printed["stream"]):
                sent += len(piece)
                if sent > most_bytes:
                    message = f"the PDF has more than the {most_bytes} bytes it may have"
                    raise LimitExceeded(message, limit="pdf_bytes", allowed=most_bytes)
                yield piece
        finally:
            with suppress(Error, TimeoutError):  # the page is gone, and the stream with it, or answers nobody
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await session.send("IO.close", {"handle": printed["stream"]})


async def _read(session: CDPSession, stream: str) -> bytes:
    """The next piece; empty at the end."""
    while True:
        read = await session.send("IO.read", {"handle": stream, "size": _PIECE_BYTES})
        piece = base64.b64decode(read["data"]) if read.get("base64Encoded") else read["data"].encode()
        if piece or read["eof"]:
            return piece
