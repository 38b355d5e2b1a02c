"""A socket in front of another one: what goes through it can be cut, refused, held up and swallowed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PIECE = 16 << 10
LOOPBACK = "127.0.0.1"


class Cable:
    """Leads from `place` to the unix socket `target`.

    `place` is a unix socket too, or a port of the loopback address. `target` is where new connections go. With `cut_after`
    each one breaks when so many bytes have come back through it. While `refusing` none is taken; while `frozen` they stand
    and nothing comes through, as when a machine is gone without a goodbye; while `mute` what the server says is lost. From
    when `last_heard` goes through a connection to the server, what comes back through that one is lost: once.
    """

    def __init__(self, place: str | int, target: str) -> None:
        self.place, self.target, self.cut_after = place, target, 0
        self.refusing = self.mute = False
        self.last_heard = b""
        self.connections = 0
        self._thawed, self._over = asyncio.Event(), asyncio.Event()
        self._thawed.set()
        self._lines: set[_Line] = set()

    @property
    def silent(self) -> int:
        """Connections that stand and through which nothing comes back any more."""
        return sum(line.silent or line.mute for line in self._lines)

    def cut(self) -> None:
        """Break all connections."""
        for line in self._lines:
            line.cut()

    def silence(self) -> None:
        """Swallow for good what goes through the connections that there are, both ways; they stand. New ones work."""
        for line in self._lines:
            line.silent = True

    def lose_answers(self) -> None:
        """Swallow for good what comes back through the connections that there are. New ones work."""
        for line in self._lines:
            line.mute = True

    def freeze(self) -> None:
        """Carry nothing any more, in connections that are there and in new ones."""
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    def end(self) -> None:
        """Break all connections, those that stand still too."""
        self._over.set()
        self.thaw()
        self.cut()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        self.connections += 1
        there, back = await asyncio.open_unix_connection(self.target)
        line = _Line(writer, back)
        self._lines.add(line)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(line, reader, back, answers=False))
                both.create_task(self._carry(line, there, writer, answers=True))
        finally:
            self._lines.discard(line)
            line.cut()

    async def _carry(
        self, line: "_Line", source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        carried = 0
        try:
            while data := await source.read(PIECE):
                await self._thawed.wait()
                if line.silent or (answers and (self.mute or line.mute)):
                    continue
                if not answers and self.last_heard and self.last_heard in data:
                    line.mute, self.last_heard = True, b""
                sink.write(data)
                await sink.drain()
                carried += len(data)
                if answers and 0 < self.cut_after <= carried:
                    break
        except ConnectionError:
            pass  # it was cut
        # While nothing comes through, no goodbye does either.
        await self._thawed.wait()
        if line.silent:
            await self._over.wait()
        sink.transport.abort()


class _Line:
    """One connection through a cable."""

    def __init__(self, *ends: asyncio.StreamWriter) -> None:
        self.silent = self.mute = False
        self._ends = ends

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()


@asynccontextmanager
async def cabled(place: str, target: str) -> AsyncIterator[Cable]:
    """Lay a cable from the socket `place` to the socket `target`."""
    cable = Cable(place, target)
    server = await asyncio.start_unix_server(cable.accept, place)
    async with _laid(cable, server):
        yield cable


@asynccontextmanager
async def cabled_over_tcp(target: str) -> AsyncIterator[Cable]:
    """Lay a cable from a port of the loopback address to the socket `target`."""
    cable = Cable(0, target)
    server = await asyncio.start_server(cable.accept, LOOPBACK, 0)
    cable.place = server.sockets[0].getsockname()[1]
    async with _laid(cable, server):
        yield cable


@asynccontextmanager
async def _laid(cable: Cable, server: asyncio.Server) -> AsyncIterator[None]:
    try:
        yield
    finally:
        server.close()
        cable.end()
        await server.wait_closed()
