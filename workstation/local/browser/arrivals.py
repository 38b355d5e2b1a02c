"""Arrivals: files that Chromium is writing, before they are in the workspace."""

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from playwright.async_api import Download as Given
from playwright.async_api import Error

from workstation.errors import FileSystemError, WorkstationError
from workstation.local.threads import Stop, Threads

_PIECE_BYTES = 1 << 20
_GROWING = ".crdownload"
"""What Chromium appends to the name of a file that is not complete."""
_REASONS = {"canceled": "it was cancelled"}


class Arrival:
    """A file in Chromium's `directory`, from its first byte to its removal.

    Chromium is not trusted: what stands there under the file's name may be anything, and is never followed.
    """

    def __init__(self, given: Given, directory: Path) -> None:
        self._given, self._directory = given, directory
        # Playwright tells the path of a complete file only, but a file must be watched while it grows.
        self._name = Path(given._impl_obj._artifact._initializer["absolutePath"]).name
        self._names = (self._name, self._name + _GROWING)

    @asynccontextmanager
    async def ending(self) -> AsyncIterator[Callable[[float], Awaitable[bool]]]:
        """Give a function that waits some seconds for the end and says whether it came; raises why the file failed."""
        ending = asyncio.ensure_future(self._given.failure())

        async def ended(seconds: float) -> bool:
            await asyncio.wait([ending], timeout=seconds)
            if ending.done() and (failure := ending.result()):
                raise WorkstationError(f"the download failed: {_REASONS.get(failure, failure)}")
            return ending.done()

        try:
            yield ended
        finally:
            ending.cancel()
            await asyncio.wait([ending])
            if not ending.cancelled():
                ending.exception()  # retrieved, so that the loop does not report it

    def size(self) -> int:
        """Bytes so far."""
        for name in self._names:
            with suppress(FileNotFoundError):
                return os.stat(self._directory / name, follow_symlinks=False).st_size
        return 0  # not begun

    async def content(self, most_bytes: int) -> AsyncGenerator[bytes]:
        """The bytes of the file, as long as it is now; raises `FileSystemError` for what is no file."""
        threads = Threads()  # a thread that still reads when the descriptor is closed would read what is opened next
        descriptor = self._open()
        try:
            left = min(os.fstat(descriptor).st_size, most_bytes)
            while left and (piece := await threads.run(partial(_read, descriptor, min(left, _PIECE_BYTES)))):
                left -= len(piece)
                yield piece
        finally:
            os.close(descriptor)

    async def remove(self) -> None:
        """Have Chromium stop, and remove what it wrote."""
        try:
            with suppress(Error):  # it is complete, or Chromium is gone
                await self._given.cancel()
                await self._given.failure()  # one whose last byte came is not cancelled, and gets its last name later
        finally:
            for name in reversed(self._names):  # one that gets its last name meanwhile is met under it
                (self._directory / name).unlink(missing_ok=True)

    def _open(self) -> int:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self._directory / self._name, flags)
        except OSError as error:
            raise FileSystemError(f"what was downloaded cannot be read: {error.strerror}", path=self._name) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileSystemError("what was downloaded is no file", path=self._name)
        return descriptor


def _read(descriptor: int, most: int, _: Stop) -> bytes:
    return os.read(descriptor, most)
