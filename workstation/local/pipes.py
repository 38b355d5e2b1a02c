"""Pipes to and from jailed programs: read as they fill, written as they empty, never waited on."""

import asyncio
import os
from collections.abc import Callable

READ_BYTES = 64 << 10
_FULL_READS = 32
"""More than an unprivileged process can have in a pipe (1 MiB, see pipe(7))."""


class ReadEnd:
    """Calls `take` with what comes out of `descriptor`, which it owns, until the end or `close`."""

    def __init__(self, descriptor: int, take: Callable[[bytes], None]) -> None:
        self._descriptor, self._take = descriptor, take
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self.read)

    def read(self) -> bool:
        """Take what is there; whether there was anything."""
        if self.ended.done():
            return False
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # a terminal whose last program is gone says EIO
            data = b""
        if not data:
            self.close()
            return False
        self._take(data)
        return True

    def drain(self) -> None:
        """Take what is there already and read no more: somebody else may hold the other end, and for ever."""
        for _ in range(_FULL_READS):
            if not self.read():
                break
        self.close()

    def close(self) -> None:
        """Read no more."""
        if not self.ended.done():
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self.ended.set_result(None)


class WriteEnd:
    """Writes to `descriptor`, which it owns, as fast as the other side reads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._room: asyncio.Future[None] | None = None
        os.set_blocking(descriptor, False)

    async def write(self, data: bytes | memoryview) -> int:
        """Write a piece of `data`, waiting for room; how much it was. Raises BrokenPipeError when nobody reads any more."""
        while self._descriptor >= 0:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                await self._wait_for_room()
            except OSError as error:
                raise BrokenPipeError from error
        raise BrokenPipeError

    def close(self) -> None:
        """Write no more; the other side reads the end."""
        if self._descriptor >= 0:
            self._loop.remove_writer(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            self._tell_room()

    async def _wait_for_room(self) -> None:
        self._room = self._loop.create_future()
        self._loop.add_writer(self._descriptor, self._tell_room)
        try:
            await self._room
        finally:
            if self._descriptor >= 0:
                self._loop.remove_writer(self._descriptor)

    def _tell_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
