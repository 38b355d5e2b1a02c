"""A listener of the proxy, and whoever comes in by it."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from workstation.egress.account import Account
from workstation.egress.dialer import Dialer
from workstation.egress.exchange import Exchange
from workstation.egress.limits import EgressLimits
from workstation.egress.policy import EgressPolicy
from workstation.egress.wire import ClientWire, readable

_log = logging.getLogger("workstation.egress")
_PAUSE_SECONDS = 0.1
# The listener is broken; every other error of accept(2) is about one connection, or passes.
_BROKEN = frozenset((errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP))


class Door(Account):
    """Serves the connections that a listening socket accepts until it is closed; an async context manager.

    Its listener may belong to another network namespace: it is accepted from, and its address means nothing here.
    """

    def __init__(
        self,
        listener: socket.socket,
        client: str,
        *,
        limits: EgressLimits,
        dialer: Dialer,
        policy: Callable[[], EgressPolicy],
        closed: Callable[["Door"], None],
    ) -> None:
        super().__init__(client, limits)
        listener.setblocking(False)
        self._listener, self._dialer, self._policy = listener, dialer, policy
        self._task = asyncio.get_running_loop().create_task(self._serve(), name=f"egress of {client}")
        self._task.add_done_callback(lambda _: closed(self))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def cut(self) -> None:
        """Begin to close the door."""
        self._task.cancel()

    async def close(self) -> None:
        """Cut the door's connections and close its listener; a path that this was bound to is left to its owner."""
        self.cut()
        await asyncio.wait([self._task])
        self._listener.close()

    async def _serve(self) -> None:
        room = asyncio.Semaphore(self.limits.connections)
        try:
            async with asyncio.TaskGroup() as connections:
                while True:
                    await room.acquire()
                    wire = ClientWire(await self._accept(), self.limits)
                    connection = connections.create_task(self._converse(wire))
                    connection.add_done_callback(partial(_leave, wire, room))
        except Exception:  # noqa: BLE001 - a fault of one door is none of the others
            _log.exception("the door of %s is closed by a fault of ours", self.client)
        finally:
            self._listener.close()

    async def _accept(self) -> socket.socket:
        while True:
            await readable(self._listener)
            try:
                return self._listener.accept()[0]
            except BlockingIOError:
                continue  # the client went away again
            except OSError as error:
                if error.errno in _BROKEN:
                    raise
                _log.warning("the door of %s could not accept a connection: %s", self.client, error.strerror)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _converse(self, wire: ClientWire) -> None:
        """Serve one request of a client after another."""
        try:
            while await wire.begins() and await Exchange(self, wire, self._dialer, self._policy).run():
                pass
            await wire.linger()
        except asyncio.CancelledError:
            wire.cut()
            raise
        except Exception:  # noqa: BLE001 - a fault of one connection is none of the others
            _log.exception("a connection of %s ended by a fault of ours", self.client)
            wire.cut()


def _leave(wire: ClientWire, room: asyncio.Semaphore, _: asyncio.Task[None]) -> None:
    # Called for a connection whose task was cancelled before it began as well.
    wire.close()
    room.release()
