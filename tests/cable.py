"""A socket in front of another one: what goes through it can be cut, refused, held up and swallowed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PIECE = 16 << 10


class Cable:
    """Leads from the unix socket `place` to another.

    `target` is where new connections go. With `cut_after` each one breaks when so many bytes have come back through it.
    While `refusing` none is taken; while `frozen` they stand and nothing comes through, as when a machine is gone without
    a goodbye; while `mute` what the server says is lost.
    """

    def __init__(self, place: str, target: str) -> None:
        self.place, self.target, self.cut_after = place, target, 0
        self.refusing = self.mute = False
        self.connections = 0
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Break all connections."""
        for writer in self._writers:
            writer.transport.abort()

    def freeze(self) -> None:
        """Carry nothing any more, in connections that are there and in new ones."""
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        self.connections += 1
        there, back = await asyncio.open_unix_connection(self.target)
        mine = {writer, back}
        self._writers |= mine
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(reader, back, answers=False))
                both.create_task(self._carry(there, writer, answers=True))
        finally:
            self._writers -= mine
            for end in mine:
                end.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        carried = 0
        try:
            while data := await source.read(PIECE):
                await self._thawed.wait()
                if answers and self.mute:
                    continue
                sink.write(data)
                await sink.drain()
                carried += len(data)
                if answers and 0 < self.cut_after <= carried:
                    break
        except ConnectionError:
            pass  # it was cut
        await self._thawed.wait()  # while nothing comes through, no goodbye does either
        sink.transport.abort()


@asynccontextmanager
async def cabled(place: str, target: str) -> AsyncIterator[Cable]:
    """Lay a cable from the socket `place` to the socket `target`."""
    cable = Cable(place, target)
    server = await asyncio.start_unix_server(cable.accept, place)
    try:
        yield cable
    finally:
        server.close()
        cable.thaw()
        cable.cut()
        await server.wait_closed()
