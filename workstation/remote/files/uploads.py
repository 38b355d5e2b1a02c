"""Uploads: the content of a file or an archive on its way to a workstation.

An upload is a stream of `start`, data and `end`. One that stops without `end` is withdrawn, and changes nothing there.
The workstation's initial metadata comes with its answer, or before it, when it refuses and no more is to be sent.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from workstation.errors import WorkstationUnavailable
from workstation.remote.connection import Connection
from workstation.remote.files.messages import PIECE_BYTES

WAITING_PARTS = 2
"""Parts that wait to be sent: one is sent while the next is made."""
WITHDRAWAL_SECONDS = 5.0
"""How long to wait for the word that a withdrawn upload left nothing behind."""


async def upload[Answer](
    connection: Connection,
    method: Callable[..., Any],
    message: Callable[..., Any],
    start: Any,
    content: bytes | AsyncIterable[bytes],
    *,
    seconds: float,
) -> Answer:
    """Send `content` between parts made by `message`; the answer to its end may take `seconds`.

    If `content` raises or we are cancelled, the upload is withdrawn, and returns when the workstation is done with that.
    """
    parts = _Parts(message(start=start))

    async def begun(request: Any, **options: Any) -> Answer:
        call = method(request, **options)
        async with _running(call.initial_metadata()) as metadata:
            metadata.add_done_callback(parts.refuse)
            answer: Answer = await call
        return answer

    call: Coroutine[Any, Any, Answer] = connection.ask(begun, parts.taken(), seconds=None)
    async with _running(call) as answer:
        answer.add_done_callback(parts.refuse)
        try:
            await _give(parts, message, content)
        except BaseException:
            parts.close()
            await asyncio.wait([answer], timeout=WITHDRAWAL_SECONDS)
            raise
        parts.close()
        await asyncio.wait([answer], timeout=seconds)
        if not answer.done():
            raise WorkstationUnavailable(f"no answer {seconds:g} s after all was sent; it may have been done")
        return answer.result()


class _Parts:
    """The parts of an upload on their way into its call."""

    def __init__(self, start: Any) -> None:
        self._waiting: asyncio.Queue[Any] = asyncio.Queue()
        self._room = asyncio.Semaphore(WAITING_PARTS)
        self._refused = False
        self._waiting.put_nowait(start)

    async def give(self, part: Any) -> bool:
        """Send a part when there is room for it; false when the call is over and takes none."""
        await self._room.acquire()
        self._waiting.put_nowait(part)
        return not self._refused

    def close(self) -> None:
        """Send nothing after what waits."""
        self._waiting.put_nowait(None)

    def refuse(self, _: object) -> None:
        """The call is over, or about to be."""
        self._refused = True
        self._room.release()

    async def taken(self) -> AsyncIterator[Any]:
        """The parts for the call, which asks for the next when one is sent."""
        yield await self._waiting.get()
        while (part := await self._waiting.get()) is not None:
            yield part
            self._room.release()


async def _give(parts: _Parts, message: Callable[..., Any], content: bytes | AsyncIterable[bytes]) -> None:
    async with aclosing(_pieces(content)) as pieces:
        async for piece in pieces:
            if not await parts.give(piece):
                return
    await parts.give(message(end=True))


async def _pieces(content: bytes | AsyncIterable[bytes]) -> AsyncGenerator[bytes | memoryview]:
    """The content in pieces that the wire takes, small ones together."""
    if isinstance(content, bytes):
        for piece in _short(content):
            yield piece
        return
    buffer = bytearray()
    async for piece in content:
        if len(buffer) + len(piece) < PIECE_BYTES:
            buffer += piece
            continue
        if buffer:
            yield bytes(buffer)
            buffer.clear()
        for short in _short(piece):
            yield short
    if buffer:
        yield bytes(buffer)


def _short(data: bytes) -> Iterator[bytes | memoryview]:
    """A piece as it is, or its parts, which are not copied; what may change is."""
    whole = data if isinstance(data, bytes) else bytes(memoryview(data))
    if len(whole) <= PIECE_BYTES:
        yield whole
        return
    for start in range(0, len(whole), PIECE_BYTES):
        yield memoryview(whole)[start : start + PIECE_BYTES]


@asynccontextmanager
async def _running[Answer](call: Coroutine[Any, Any, Answer]) -> AsyncIterator[asyncio.Task[Answer]]:
    task = asyncio.ensure_future(call)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # retrieved: who needs it has it
