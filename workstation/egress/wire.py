"""One side of a request: a socket whose bytes are events of h11. Nothing is kept beyond one read and one head."""

import asyncio
import re
import socket
import struct
from contextlib import suppress
from http import HTTPStatus

import h11

from workstation.egress.endings import Ending, failed, invalid, limited
from workstation.egress.limits import EgressLimits

READ_BYTES = 64 << 10
_LINGER_SECONDS, _LINGER_BYTES = 1.0, 1 << 20
_EVENTS_IN_TURN = 64
"""Chunks of a byte each make thousands of events of one read."""
_INFORMATIONAL = 16
"""More answers of 1xx than any server has reason to give before its real one."""
# h11 joins folded lines and lets control characters pass; a request that has them means to be read in two ways.
_TWOFOLD = re.compile(rb"\n[ \t]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")
_MOST_REASON = 400


async def readable(sock: socket.socket) -> None:
    """Wait until there is something to read or to accept; nothing is taken, so nothing is lost with a cancelled waiter."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(sock)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class Wire:
    """A connection; what goes wrong on it is raised as an `Ending`."""

    def __init__(self, sock: socket.socket, http: h11.Connection, head_bytes: int) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.http = http
        self._socket, self._head_bytes = sock, head_bytes
        self._loop = asyncio.get_running_loop()
        self._events = 0
        self._ended = False

    async def read(self) -> bytes:
        """The next bytes; b'' at the end."""
        await asyncio.sleep(0)  # a socket that always has some would have the loop to itself
        try:
            data = await self._loop.sock_recv(self._socket, READ_BYTES)
        except OSError as error:
            raise self._broken() from error
        self._ended = not data
        return data

    async def write(self, data: bytes) -> None:
        """Send `data`; returns when the kernel has all of it."""
        try:
            await self._loop.sock_sendall(self._socket, data)
        except OSError as error:
            raise self._broken() from error

    async def event(self) -> h11.Event | None:
        """The next event of the other side; None when it has said all."""
        self._events += 1
        if not self._events % _EVENTS_IN_TURN:
            await asyncio.sleep(0)
        while (event := self._next()) is h11.NEED_DATA:
            self.http.receive_data(await self.read())
        return event if isinstance(event, h11.Event) else None

    async def send(self, event: h11.Event) -> None:
        """Send an event."""
        try:
            data = self.http.send(event)
        except h11.LocalProtocolError:
            raise failed(502, "it cannot be passed on as valid HTTP") from None  # its text quotes headers
        if data:
            await self.write(data)

    def unread(self) -> bytes:
        """What came behind the last event and is no longer HTTP."""
        return self.http.trailing_data[0]

    def finish(self) -> None:
        """Send nothing more; the other side reads the end."""
        with suppress(OSError):  # it is gone already
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def cut(self) -> None:
        """Close the connection so that the other side sees it break: what it has is not all.

        A unix socket cannot show it; only a client of HTTP/1.0 on one takes such an answer for a whole one.
        """
        if self._socket.fileno() >= 0 and self._socket.family != socket.AF_UNIX:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    async def _head(self) -> tuple[h11.Event | None, bytes]:
        """The next event, which is a head or the end of the connection, and its bytes as they came."""
        head = bytearray(self.unread())
        while (event := self._next()) is h11.NEED_DATA:
            data = await self.read()
            head += data
            self.http.receive_data(data)
        del head[len(head) - len(self.unread()) :]
        if len(head) > self._head_bytes:
            raise self._invalid(431)
        return event if isinstance(event, h11.Event) else None, bytes(head)

    def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self.http.next_event()
        except h11.RemoteProtocolError as error:
            # Not from the error, whose text quotes headers.
            raise (self._broken() if self._ended else self._invalid(error.error_status_hint)) from None

    def _invalid(self, status: int) -> Ending:
        raise NotImplementedError

    def _broken(self) -> Ending:
        raise NotImplementedError


class ClientWire(Wire):
    """The side of a client, which asks."""

    def __init__(self, sock: socket.socket, limits: EgressLimits) -> None:
        super().__init__(sock, h11.Connection(h11.SERVER, limits.head_bytes), limits.head_bytes)
        self._limits = limits
        self._is_head = False

    async def begins(self) -> bool:
        """Wait for the first byte of a request; False if none comes."""
        await asyncio.sleep(0)  # a client that sent a thousand requests at once takes turns with others
        if not self.unread():
            try:
                async with asyncio.timeout(self._limits.idle_seconds):
                    self.http.receive_data(await self.read())
            except (TimeoutError, Ending):
                return False
        return bool(self.unread())

    async def request(self) -> h11.Request:
        """The head of the request that began."""
        self._is_head = False
        seconds = self._limits.head_seconds
        try:
            async with asyncio.timeout(seconds):
                request, head = await self._head()
        except TimeoutError:
            raise limited(408, f"its head was not complete after {seconds:g} seconds") from None
        if not isinstance(request, h11.Request):
            raise self._broken()
        self._is_head = request.method == b"HEAD"
        if _TWOFOLD.search(head):
            raise invalid("it has folded lines or control characters")
        return request

    async def gone(self) -> bool:
        """Wait until the client closes the connection (True) or sends what is no part of this request (False)."""
        if self.unread():
            return False
        await readable(self._socket)
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def answer(self, status: int, outcome: str, text: str) -> None:
        """Answer in the name of the proxy, and close the connection afterwards unless the whole request was read.

        The text is the reason phrase as well: of an answer to CONNECT, clients tell nothing but that.
        """
        body = text.encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        headers.append(("X-Empla-Egress", outcome))
        if self.http.their_state in (h11.IDLE, h11.SEND_BODY, h11.ERROR):
            headers.append(("Connection", "close"))
        reason = _UNPRINTABLE.sub(" ", text).strip().encode("ascii", "replace")[:_MOST_REASON]
        head = self.http.send(h11.Response(status_code=status, reason=reason, headers=headers))
        assert head is not None
        rest = b"" if self._is_head else self.http.send(h11.Data(data=body)) or b""
        await self.write(head + rest + (self.http.send(h11.EndOfMessage()) or b""))

    def next(self) -> bool:
        """Get ready for another request on this connection; whether there can be one."""
        if self.http.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            return False
        self.http.start_next_cycle()
        return True

    async def linger(self) -> None:
        """Let the client read the answer before the connection goes: closed on unread bytes, TCP would take it back."""
        self.finish()
        with suppress(TimeoutError, Ending):
            async with asyncio.timeout(_LINGER_SECONDS):
                left = _LINGER_BYTES
                while left > 0 and (data := await self.read()):
                    left -= len(data)

    def _invalid(self, status: int) -> Ending:
        return invalid("it is no valid HTTP request", status)

    def _broken(self) -> Ending:
        return failed(0, "the client went away")


class UpstreamWire(Wire):
    """The side of a server, which answers."""

    def __init__(self, sock: socket.socket, limits: EgressLimits) -> None:
        super().__init__(sock, h11.Connection(h11.CLIENT, limits.head_bytes), limits.head_bytes)

    async def response(self) -> h11.Response | h11.InformationalResponse:
        """The head of the answer, or of the switch to another protocol; other provisional answers are left out."""
        for _ in range(_INFORMATIONAL):
            response, _head = await self._head()
            if isinstance(response, h11.Response):
                return response
            if not isinstance(response, h11.InformationalResponse):
                raise self._broken()
            if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
                return response
        raise self._invalid(502)

    def _invalid(self, status: int) -> Ending:
        del status  # says what is wrong with a request
        return failed(502, "the server's answer is not valid HTTP, or its head is too large")

    def _broken(self) -> Ending:
        return failed(502, "the server closed the connection before its answer was complete")
